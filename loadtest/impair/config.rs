//! What one direction of a bad network does, as data.
//!
//! [`Config`] is what the model obeys and what a spec such as `delay=50ms,loss=5%` is read into; its `Display` writes
//! a spec that reads back the same. Numbers are integers, so that one seed gives one run on every machine.

use std::fmt;
use std::time::Duration;

/// One direction of a path. The default carries everything at once and spoils nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Propagation delay.
    pub delay: Duration,
    /// How far the delay strays to either side, at most; never longer than `delay`.
    pub jitter: Duration,
    /// What is lost behind the bottleneck.
    pub loss: Loss,
    /// What the bottleneck carries; `None` is without a bottleneck.
    pub rate: Option<Bitrate>,
    /// What may wait before the bottleneck.
    pub queue: QueueBound,
    /// Share of packets held back so that later ones overtake them.
    pub reorder: Share,
    /// How long such a packet is held back.
    pub hold: Hold,
    /// Share of packets that arrive twice.
    pub duplicate: Share,
    /// Whether nothing at all comes through.
    pub blackout: bool,
}

/// How packets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Each packet by itself.
    Even(Share),
    /// A mean share, lost in runs of a mean length (simple Gilbert).
    Bursts {
        /// Mean share lost.
        share: Share,
        /// Mean packets in a run of losses, at least 1.
        length: u32,
    },
    /// The Gilbert–Elliott chain, spelled out.
    Chain(Chain),
}

impl Default for Loss {
    fn default() -> Self {
        Self::Even(Share::ZERO)
    }
}

/// The Gilbert–Elliott chain: two states, stepped once a packet, each with a loss of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Chance of going from good to bad.
    pub p: Share,
    /// Chance of going from bad to good.
    pub r: Share,
    /// Loss in the good state.
    pub good: Share,
    /// Loss in the bad state.
    pub bad: Share,
}

/// How much may wait before the bottleneck; what is beyond is dropped at the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueBound {
    /// As long as the bottleneck takes to send it.
    Time(Duration),
    /// So many bytes.
    Bytes(usize),
}

impl Default for QueueBound {
    /// 200 ms: between a modern home router and a bloated one.
    fn default() -> Self {
        Self::Time(Duration::from_millis(200))
    }
}

/// How long a packet is held back to be overtaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold(pub Duration);

impl Default for Hold {
    /// 20 ms: some packets of a video later, within a browser's patience for reordering.
    fn default() -> Self {
        Self(Duration::from_millis(20))
    }
}

/// A share from 0 to 1, in billionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// Never.
    pub const ZERO: Self = Self(0);
    /// Always.
    pub const ONE: Self = Self(1_000_000_000);

    /// Makes a share from billionths; more than all is all.
    #[must_use]
    pub fn from_billionths(billionths: u64) -> Self {
        u32::try_from(billionths).map_or(Self::ONE, |share| Self(share.min(Self::ONE.0)))
    }

    /// Returns the billionths.
    #[must_use]
    pub fn billionths(self) -> u64 {
        u64::from(self.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", Decimal { value: self.billionths(), places: 7 })
    }
}

/// Bits a second, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Makes a rate; zero becomes 1 bit/s, because a blackout says so by its name.
    #[must_use]
    pub fn from_bits_per_second(bits: u64) -> Self {
        Self(bits.max(1))
    }

    /// Returns bits a second.
    #[must_use]
    pub fn bits_per_second(self) -> u64 {
        self.0
    }

    /// Returns how long so many bytes take, rounded up to the nanosecond.
    #[must_use]
    pub fn duration_of(self, bytes: usize) -> Duration {
        let bit_nanos = (bytes as u128).saturating_mul(8 * 1_000_000_000);
        Duration::from_nanos(u64::try_from(bit_nanos.div_ceil(u128::from(self.0))).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1_000_000.. => write!(f, "{}M", Decimal { value: self.0, places: 6 }),
            _ => write!(f, "{}k", Decimal { value: self.0, places: 3 }),
        }
    }
}

impl fmt::Display for QueueBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{time:?}"),
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("clear")?;
        let clear = Self::default();
        if self.delay != clear.delay {
            write!(f, ",delay={:?}", self.delay)?;
        }
        if self.jitter != clear.jitter {
            write!(f, ",jitter={:?}", self.jitter)?;
        }
        match self.loss {
            Loss::Even(Share::ZERO) => {}
            Loss::Even(share) => write!(f, ",loss={share}")?,
            Loss::Bursts { share, length } => write!(f, ",loss={share},burst={length}")?,
            Loss::Chain(Chain { p, r, good, bad }) => write!(f, ",p={p},r={r},good={good},bad={bad}")?,
        }
        if let Some(rate) = self.rate {
            write!(f, ",rate={rate}")?;
        }
        if self.queue != clear.queue || self.rate.is_some() {
            write!(f, ",queue={}", self.queue)?;
        }
        if self.reorder != clear.reorder {
            write!(f, ",reorder={}", self.reorder)?;
        }
        if self.hold != clear.hold {
            write!(f, ",hold={:?}", self.hold.0)?;
        }
        if self.duplicate != clear.duplicate {
            write!(f, ",duplicate={}", self.duplicate)?;
        }
        if self.blackout { f.write_str(",blackout") } else { Ok(()) }
    }
}

/// An integer with so many decimal places, written without needless zeros.
struct Decimal {
    value: u64,
    places: u32,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10_u64.pow(self.places);
        let (whole, mut fraction) = (self.value / one, self.value % one);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let mut width = self.places as usize;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            width = width.saturating_sub(1);
        }
        write!(f, "{whole}.{fraction:0width$}")
    }
}
