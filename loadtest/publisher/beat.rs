//! What is due at a fixed rate, by absolute deadlines: a late call never moves the ones that follow.

use rtp::MonoTime;

/// A fixed rate from a start on. Its deadlines are numbered from zero.
#[derive(Clone, Debug)]
pub struct Beat {
    start: MonoTime,
    per_second: u64,
    next: u64,
}

impl Beat {
    /// Makes a beat; a rate of zero counts as one.
    #[must_use]
    pub fn new(start: MonoTime, per_second: u32) -> Self {
        Self { start, per_second: u64::from(per_second.max(1)), next: 0 }
    }

    /// Returns the number of the next deadline if it is due, and begins to wait for the one behind it.
    ///
    /// What is late by more than [`BEHIND_MAX`] deadlines is left out: its numbers are never returned.
    pub fn take(&mut self, now: MonoTime) -> Option<u64> {
        if now < self.next_due() {
            return None;
        }
        let elapsed = now.since(self.start).as_nanos();
        let present = elapsed.saturating_mul(u128::from(self.per_second)) / u128::from(NANOS);
        let oldest = u64::try_from(present).unwrap_or(u64::MAX).saturating_sub(BEHIND_MAX);
        let number = self.next.max(oldest);
        self.next = number.saturating_add(1);
        Some(number)
    }

    /// Returns when the next deadline is.
    #[must_use]
    pub fn next_due(&self) -> MonoTime {
        let nanos =
            u128::from(self.next).saturating_mul(u128::from(NANOS)).div_ceil(u128::from(self.per_second));
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        MonoTime::from_nanos(self.start.as_nanos().saturating_add(nanos))
    }

    /// Returns the rate.
    #[must_use]
    pub const fn per_second(&self) -> u64 {
        self.per_second
    }
}

/// How many deadlines a late call makes up for; a publisher that was stopped for longer skips them.
pub const BEHIND_MAX: u64 = 4;

const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const START: MonoTime = MonoTime::from_millis(5_000);

    #[test]
    fn deadlines_do_not_drift_when_calls_are_late() {
        let mut beat = Beat::new(START, 30);
        let mut taken = 0;
        for millis in (0..10_000).step_by(7) {
            while beat.take(START + Duration::from_millis(millis)).is_some() {
                taken += 1;
            }
        }

        assert_eq!(taken, 300);
        assert_eq!(beat.next_due(), START + Duration::from_secs(10));
    }

    #[test]
    fn a_deadline_is_taken_once_it_is_due_and_not_before() {
        let mut beat = Beat::new(START, 30);

        assert_eq!(beat.take(MonoTime::ZERO), None);
        assert_eq!(beat.take(START), Some(0));
        let due = beat.next_due();
        assert_eq!(due, MonoTime::from_nanos(START.as_nanos() + 33_333_334));
        assert_eq!(beat.take(MonoTime::from_nanos(due.as_nanos() - 1)), None);
        assert_eq!(beat.take(due), Some(1));
    }

    #[test]
    fn what_is_too_late_is_left_out() {
        let mut beat = Beat::new(START, 10);
        let late = START + Duration::from_secs(2);

        let taken: Vec<_> = std::iter::from_fn(|| beat.take(late)).collect();

        assert_eq!(taken, [16, 17, 18, 19, 20]);
    }
}
