//! Reads a spec such as `delay=50ms,loss=5%,rate=1.5M` into a [`Config`].
//!
//! A spec changes what it names and leaves the rest as it was, which is what the lines on stdin need; `clear` takes
//! everything back. Every refusal names the value and a good one, and a refused spec changes nothing.

use std::time::Duration;

use super::config::{Bitrate, Chain, Config, Hold, Loss, QueueBound, Share};

/// Why a text is no spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A word that is no setting.
    #[error("there is no setting {0:?}: write some of {SETTINGS}")]
    Unknown(String),
    /// A value that its setting cannot have.
    #[error("{setting}={value} is not {expected}: write for example {example}")]
    Value {
        /// The setting's name.
        setting: String,
        /// What was written.
        value: String,
        /// What it should be.
        expected: &'static str,
        /// A good one.
        example: &'static str,
    },
    /// Values that are each good, but not together.
    #[error("{0}")]
    Together(String),
}

/// Every setting, with a good value.
pub const SETTINGS: &str = "delay=50ms, jitter=10ms, loss=5%, burst=3, p=1%, r=30%, good=0%, bad=100%, rate=1.5M, \
    queue=1s, reorder=1%, hold=20ms, duplicate=0.1%, blackout, clear";

/// The longest delay, hold or queue: beyond it nobody would wait, and the memory it takes grows with it.
pub const TIME_MAX: Duration = Duration::from_secs(30);
/// The longest mean run of losses.
const BURST_MAX: u32 = 1000;
/// The slowest and the fastest bottleneck, bits a second.
const RATES: std::ops::RangeInclusive<u64> = 1000..=100_000_000_000;
/// The largest queue in bytes.
const QUEUE_BYTES_MAX: u64 = 64 << 20;

impl Config {
    /// Returns this configuration, changed as the spec says.
    ///
    /// # Errors
    /// When a setting is unknown, a value is bad, or the values do not go together.
    pub fn changed_by(&self, spec: &str) -> Result<Self, Error> {
        let mut config = *self;
        for part in spec.split(',').map(str::trim) {
            let (setting, value) =
                part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value)));
            config.set(Part { setting: setting.trim(), value: value.map(str::trim) })?;
        }
        config.check()
    }

    fn set(&mut self, part: Part<'_>) -> Result<(), Error> {
        match part.setting {
            "clear" if part.value.is_none() => *self = Self::default(),
            "blackout" => self.blackout = part.switch()?,
            "delay" => self.delay = part.time()?,
            "jitter" => self.jitter = part.time()?,
            "hold" => self.hold = Hold(part.time()?),
            "reorder" => self.reorder = part.share()?,
            "duplicate" => self.duplicate = part.share()?,
            "rate" => self.rate = part.rate()?,
            "queue" => self.queue = part.queue()?,
            "loss" => self.loss = self.loss.with_share(part.share()?),
            "burst" => self.loss = self.loss.with_length(part.burst()?),
            "p" | "r" | "good" | "bad" => self.loss = self.loss.with_chain(part.setting, part.share()?),
            _ => return Err(Error::Unknown(part.whole())),
        }
        Ok(())
    }

    fn check(self) -> Result<Self, Error> {
        let Self { delay, jitter, .. } = self;
        if jitter > delay {
            return Err(Error::Together(format!(
                "jitter={jitter:?} is more than delay={delay:?}, and no packet arrives before it was sent: write for \
                 example delay={jitter:?},jitter={jitter:?}"
            )));
        }
        if let Loss::Bursts { share, length } = self.loss
            && share.billionths().saturating_mul(1 + u64::from(length))
                > Share::ONE.billionths().saturating_mul(u64::from(length))
        {
            return Err(Error::Together(format!(
                "loss={share} cannot come in runs of {length} on average: write a longer burst, or leave it out"
            )));
        }
        if let Loss::Chain(Chain { r, p, .. }) = self.loss
            && r == Share::ZERO
            && p > Share::ZERO
        {
            return Err(Error::Together(format!(
                "p={p} without r never leaves the bad state: write for example p={p},r=30%"
            )));
        }
        Ok(self)
    }
}

impl Loss {
    fn with_share(self, share: Share) -> Self {
        match self {
            Self::Bursts { length, .. } => Self::Bursts { share, length },
            Self::Even(_) | Self::Chain(_) => Self::Even(share),
        }
    }

    fn with_length(self, length: u32) -> Self {
        match self {
            Self::Even(share) | Self::Bursts { share, .. } => Self::Bursts { share, length },
            Self::Chain(_) => Self::Bursts { share: Share::ZERO, length },
        }
    }

    fn with_chain(self, setting: &str, share: Share) -> Self {
        let mut chain = match self {
            Self::Chain(chain) => chain,
            Self::Even(_) | Self::Bursts { .. } => {
                Chain { p: Share::ZERO, r: Share::ZERO, good: Share::ZERO, bad: Share::ONE }
            }
        };
        match setting {
            "p" => chain.p = share,
            "r" => chain.r = share,
            "good" => chain.good = share,
            _ => chain.bad = share,
        }
        Self::Chain(chain)
    }
}

/// One `setting=value`, or a setting alone.
#[derive(Clone, Copy)]
struct Part<'a> {
    setting: &'a str,
    value: Option<&'a str>,
}

impl Part<'_> {
    fn time(self) -> Result<Duration, Error> {
        let time = self.value.and_then(time);
        time.ok_or_else(|| self.not("a time up to 30 s", "delay=50ms"))
    }

    fn share(self) -> Result<Share, Error> {
        let billionths = self.value.and_then(|text| scaled(text.strip_suffix('%')?.trim(), 10_000_000));
        let share = billionths.filter(|share| *share <= Share::ONE.billionths()).map(Share::from_billionths);
        share.ok_or_else(|| self.not("a percentage from 0% to 100%", "loss=5%"))
    }

    fn rate(self) -> Result<Option<Bitrate>, Error> {
        if matches!(self.value, Some("none")) {
            return Ok(None);
        }
        let rate = self.value.and_then(rate).filter(|bits| RATES.contains(bits));
        rate.map(|bits| Some(Bitrate::from_bits_per_second(bits)))
            .ok_or_else(|| self.not("bits a second from 1k to 100G, or none", "rate=1.5M"))
    }

    fn queue(self) -> Result<QueueBound, Error> {
        let time = self.value.and_then(time).map(QueueBound::Time);
        time.or_else(|| self.value.and_then(bytes).map(QueueBound::Bytes))
            .ok_or_else(|| self.not("a time up to 30 s or a size up to 64MiB", "queue=1s or queue=64KiB"))
    }

    fn burst(self) -> Result<u32, Error> {
        let length = self.value.and_then(|text| text.parse().ok()).filter(|n| (1..=BURST_MAX).contains(n));
        length.ok_or_else(|| self.not("a mean number of packets from 1 to 1000", "burst=3"))
    }

    fn switch(self) -> Result<bool, Error> {
        match self.value {
            None | Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(_) => Err(self.not("on or off", "blackout=off")),
        }
    }

    fn not(self, expected: &'static str, example: &'static str) -> Error {
        let (setting, value) = (self.setting.to_owned(), self.value.unwrap_or_default().to_owned());
        Error::Value { setting, value, expected, example }
    }

    fn whole(self) -> String {
        self.value.map_or_else(|| self.setting.to_owned(), |value| format!("{}={value}", self.setting))
    }
}

fn time(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let nanos = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return None,
    };
    scaled(number, nanos).map(Duration::from_nanos).filter(|time| *time <= TIME_MAX)
}

fn rate(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let bits = match unit {
        "" | "bps" => 1,
        "k" | "kbps" => 1_000,
        "M" | "Mbps" => 1_000_000,
        "G" | "Gbps" => 1_000_000_000,
        _ => return None,
    };
    scaled(number, bits)
}

fn bytes(text: &str) -> Option<usize> {
    let (number, unit) = split_unit(text)?;
    let scale = match unit {
        "B" => 1,
        "kB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        _ => return None,
    };
    let bytes = scaled(number, scale).filter(|bytes| (1..=QUEUE_BYTES_MAX).contains(bytes))?;
    usize::try_from(bytes).ok()
}

/// Parts `1.5M` into `1.5` and `M`.
fn split_unit(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    text.split_at_checked(end)
}

/// Reads a decimal number, times `scale`, without a detour through binary fractions.
fn scaled(text: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok());
    let places = u32::try_from(fraction.len()).ok().filter(|places| *places <= 9)?;
    let part = digits(fraction)??.checked_mul(scale)?.checked_div(10_u64.checked_pow(places)?)?;
    digits(whole)??.checked_mul(scale)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: &str) -> Config {
        Config::default().changed_by(spec).unwrap()
    }

    fn refusal(spec: &str) -> String {
        Config::default().changed_by(spec).unwrap_err().to_string()
    }

    #[test]
    fn every_setting_is_read_exactly() {
        let config = read(
            "delay=50ms, jitter=1.5ms,loss=0.0001%,burst=3,rate=1.5M,queue=64KiB,reorder=1%,hold=7ms,duplicate=0.1%",
        );

        assert_eq!((config.delay, config.jitter), (Duration::from_millis(50), Duration::from_micros(1500)));
        assert_eq!(config.loss, Loss::Bursts { share: Share::from_billionths(1000), length: 3 });
        assert_eq!(config.rate, Some(Bitrate::from_bits_per_second(1_500_000)));
        assert_eq!(config.queue, QueueBound::Bytes(65_536));
        assert_eq!(config.reorder, Share::from_billionths(10_000_000));
        assert_eq!(config.duplicate, Share::from_billionths(1_000_000));
        assert_eq!(config.hold, Hold(Duration::from_millis(7)));
        assert!(!config.blackout);
    }

    #[test]
    fn a_written_spec_reads_back_the_same() {
        let specs = [
            "clear",
            "delay=50ms,jitter=333us,loss=5%,rate=300k",
            "loss=12.3456789%,burst=4,rate=1234567,queue=1.5s,blackout",
            "p=1%,r=30%,good=0.5%,bad=80%,reorder=1%,hold=5ms,duplicate=0.1%,queue=1000B",
        ];
        for spec in specs {
            let config = read(spec);

            assert_eq!(read(&config.to_string()), config, "{spec} → {config}");
        }
    }

    #[test]
    fn a_spec_changes_only_what_it_names() {
        let before = read("delay=50ms,loss=5%,burst=3,blackout");

        let after = before.changed_by("rate=1M,loss=1%").unwrap();

        assert_eq!(after.to_string(), "clear,delay=50ms,loss=1%,burst=3,rate=1M,queue=200ms,blackout");
        assert!(!after.changed_by("blackout=off").unwrap().blackout);
        assert_eq!(after.changed_by("rate=none").unwrap().rate, None);
        assert_eq!(after.changed_by("clear").unwrap(), Config::default());
        assert_eq!(after.changed_by("clear,loss=1%").unwrap(), read("loss=1%"));
    }

    #[test]
    fn a_bad_value_is_named_together_with_a_good_one() {
        assert_eq!(refusal("delay=50"), "delay=50 is not a time up to 30 s: write for example delay=50ms");
        assert_eq!(
            refusal("loss=0.05"),
            "loss=0.05 is not a percentage from 0% to 100%: write for example loss=5%"
        );
        assert!(refusal("rate=fast").contains("rate=1.5M"));
        assert!(refusal("queue=1M").contains("queue=64KiB"));
        assert!(refusal("burst=0").contains("burst=3"));
        assert!(
            refusal("dely=5ms").starts_with("there is no setting \"dely=5ms\": write some of delay=50ms")
        );
        assert!(refusal("").starts_with("there is no setting \"\""));
        assert!(refusal("clear=1").contains("clear=1"));
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        for spec in [
            "delay=31s",
            "delay=-1ms",
            "delay=1e3ms",
            "delay=.ms",
            "delay=99999999999999999999s",
            "loss=101%",
            "loss=%",
            "rate=0",
            "rate=999",
            "rate=101G",
            "queue=65MiB",
            "burst=1001",
            "jitter=1ms",
            "loss=90%,burst=2",
            "p=1%",
            "blackout=5",
        ] {
            assert!(Config::default().changed_by(spec).is_err(), "{spec}");
        }
    }
}
