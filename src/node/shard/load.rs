//! How busy a shard is: the share of time that it does not sleep.
//!
//! Wall time, not CPU time: a thread that waits for its turn on a crowded core is as late as one that works.

use std::time::Duration;

use rtp::MonoTime;

/// A share of time in thousandths, 0 to 1,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Busy(pub(crate) u16);

impl Busy {
    fn of(slept: Duration, passed: Duration) -> Self {
        let awake = passed.saturating_sub(slept).as_nanos();
        let share = (awake * 1_000).checked_div(passed.as_nanos()).unwrap_or_default();
        Self(u16::try_from(share.min(1_000)).unwrap_or(1_000))
    }

    const fn toward(self, newer: Self) -> Self {
        // Both are at most 1,000, so neither sum nor result leaves 16 bits.
        Self((self.0 * 3 + newer.0) / 4)
    }
}

/// The meter of one shard.
#[derive(Debug)]
pub(super) struct Load {
    began: MonoTime,
    slept: Duration,
    recent: Busy,
    windows: u32,
    sum: u32,
    mean: Option<Busy>,
}

impl Load {
    pub(super) const fn new(now: MonoTime) -> Self {
        Self { began: now, slept: Duration::ZERO, recent: Busy(0), windows: 0, sum: 0, mean: None }
    }

    /// Notes a sleep that ended now.
    pub(super) fn note_sleep(&mut self, now: MonoTime, slept: Duration) {
        self.slept += slept;
        let passed = now.since(self.began);
        if passed < WINDOW {
            return;
        }
        let busy = Busy::of(self.slept, passed);
        self.recent = self.recent.toward(busy);
        self.began = now;
        self.slept = Duration::ZERO;
        // A window that a long turn has stretched weighs as much as it lasted.
        let weight = u32::try_from(passed.as_nanos() / WINDOW.as_nanos()).unwrap_or(1).min(MEAN_WINDOWS);
        self.windows += weight;
        self.sum += weight * u32::from(busy.0);
        if self.windows >= MEAN_WINDOWS {
            self.mean = Some(Busy(u16::try_from(self.sum / self.windows).unwrap_or(1_000)));
            self.windows = 0;
            self.sum = 0;
        }
    }

    /// Returns the share of about the last 100 ms.
    pub(super) const fn recent(&self) -> Busy {
        self.recent
    }

    /// Takes the mean of a second, once when it is complete.
    pub(super) const fn take_mean(&mut self) -> Option<Busy> {
        self.mean.take()
    }
}

const WINDOW: Duration = Duration::from_millis(25);

/// One second of windows.
const MEAN_WINDOWS: u32 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    /// Works and sleeps in turns of 10 ms for a while.
    fn run(load: &mut Load, now: &mut MonoTime, work_ms: u64, turns: u32) {
        for _ in 0..turns {
            *now = *now + Duration::from_millis(10);
            load.note_sleep(*now, Duration::from_millis(10 - work_ms));
        }
    }

    #[test]
    fn the_mean_of_a_second_is_the_share_not_slept() {
        let mut now = MonoTime::from_millis(1_000);
        let mut load = Load::new(now);

        run(&mut load, &mut now, 7, 130);

        let mean = load.take_mean().unwrap();
        assert!((690..=710).contains(&mean.0), "{mean:?}");
        assert_eq!(load.take_mean(), None);
    }

    #[test]
    fn the_recent_share_follows_within_a_few_windows() {
        let mut now = MonoTime::from_millis(1_000);
        let mut load = Load::new(now);
        run(&mut load, &mut now, 0, 50);
        assert_eq!(load.recent(), Busy(0));

        run(&mut load, &mut now, 9, 40);

        assert!(load.recent() > Busy(800), "{:?}", load.recent());
    }

    #[test]
    fn one_turn_without_sleep_for_seconds_counts_as_full() {
        let mut now = MonoTime::from_millis(1_000);
        let mut load = Load::new(now);

        now = now + Duration::from_secs(3);
        load.note_sleep(now, Duration::ZERO);

        assert_eq!(load.take_mean(), Some(Busy(1_000)));
    }
}
