//! The publisher's wall clock against the server media clock.
//!
//! Each sender report gives one sample: server time of its arrival minus the publisher's time in it, which is
//! the clocks' difference plus the report's time on the way. The least sample of the last half minute is the
//! best one. The offset in use moves towards it slowly, so that viewers never see their time line jump; all
//! tracks of the session share it, so that audio and video keep their distance.

use std::collections::VecDeque;
use std::time::Duration;

use rtp::{MonoTime, NtpTime};

/// How long a sample counts. Longer finds a better minimum, shorter follows a drifting clock: at 100 parts per
/// million the clocks part by 3 ms in this time.
const WINDOW: Duration = Duration::from_secs(30);

/// The most samples kept; the filter's queue rarely holds more than a few.
const SAMPLES_MAX: usize = 128;

/// How fast the offset moves, in nanoseconds a second: 5 ms, below what is seen or heard.
const SLEW_NANOS_PER_SECOND: u128 = 5_000_000;

/// A sample this far from the offset means that the publisher's clock was set, not that the report was late.
const STEP_NANOS: u64 = 1_000_000_000;

/// How many such samples in a row are believed.
const STEP_SAMPLES: u8 = 2;

/// The mapping from one publisher's clock to the server media clock.
#[derive(Debug, Default)]
pub(super) struct PublisherClock {
    /// Samples in rising order of time and of value: the first is the least in the window.
    minima: VecDeque<Sample>,
    offset: Option<Offset>,
    steps_seen: u8,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: MonoTime,
    nanos: i64,
}

/// The offset in use, and when it was last moved.
#[derive(Clone, Copy, Debug)]
struct Offset {
    nanos: i64,
    at: MonoTime,
}

impl PublisherClock {
    /// Takes a sender report that arrived at `now`, which is `server` in media time, and reads `publisher`.
    pub(super) fn handle_sender_report(&mut self, now: MonoTime, server: NtpTime, publisher: NtpTime) {
        let sample = Sample { at: now, nanos: server.nanos_since(publisher) };
        let Some(offset) = self.offset else {
            self.restart(sample);
            return;
        };
        if sample.nanos.abs_diff(offset.nanos) > STEP_NANOS {
            self.steps_seen = self.steps_seen.saturating_add(1);
            if self.steps_seen >= STEP_SAMPLES {
                self.restart(sample);
            }
            return;
        }
        self.steps_seen = 0;
        self.remember(sample);
        let least = self.minima.front().map_or(sample.nanos, |least| least.nanos);
        let reach = now.since(offset.at).as_nanos().saturating_mul(SLEW_NANOS_PER_SECOND) / 1_000_000_000;
        let reach = i64::try_from(reach).unwrap_or(i64::MAX);
        let step = least.saturating_sub(offset.nanos).clamp(reach.saturating_neg(), reach);
        self.offset = Some(Offset { nanos: offset.nanos.saturating_add(step), at: now });
    }

    /// Returns the server media time of an instant in the publisher's clock; `None` before the first report.
    pub(super) fn server_time(&self, publisher: NtpTime) -> Option<NtpTime> {
        self.offset.map(|offset| publisher.plus_nanos(offset.nanos))
    }

    fn restart(&mut self, sample: Sample) {
        self.minima.clear();
        self.minima.push_back(sample);
        self.offset = Some(Offset { nanos: sample.nanos, at: sample.at });
        self.steps_seen = 0;
    }

    fn remember(&mut self, sample: Sample) {
        while self.minima.back().is_some_and(|last| last.nanos >= sample.nanos) {
            self.minima.pop_back();
        }
        self.minima.push_back(sample);
        while self.minima.len() > SAMPLES_MAX
            || self.minima.front().is_some_and(|first| sample.at.since(first.at) > WINDOW)
        {
            self.minima.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    const MILLI: i64 = 1_000_000;

    #[test]
    fn before_the_first_report_there_is_no_mapping() {
        assert_eq!(PublisherClock::default().server_time(NtpTime(1 << 32)), None);
    }

    #[test]
    fn offset_settles_at_the_least_delay_however_the_reports_jitter() {
        let mut dice = ChaCha8Rng::seed_from_u64(3);
        let mut clock = PublisherClock::default();

        for second in 0..60 {
            report(&mut clock, second * 1_000, 20 + i64::from(dice.next_u32() % 40));
        }

        let error = error_millis(&clock);
        assert!((20..=23).contains(&error), "{error}");
    }

    #[test]
    fn mapping_never_moves_faster_than_five_milliseconds_a_second() {
        let mut clock = PublisherClock::default();
        report(&mut clock, 0, 200);
        let mut last = error_millis(&clock);

        for second in 1..60 {
            report(&mut clock, second * 1_000, 10);
            let moved = (last - error_millis(&clock)).abs();
            assert!(moved <= 5, "moved by {moved} ms in a second");
            last = error_millis(&clock);
        }

        assert_eq!(last, 10);
    }

    #[test]
    fn drifting_clock_is_followed() {
        let mut clock = PublisherClock::default();

        // 200 parts per million: 0.2 ms a second for 100 s.
        for second in 0..=100_i64 {
            report(&mut clock, second.cast_unsigned() * 1_000, 20 + second / 5);
        }

        let error = error_millis(&clock);
        assert!((33..=40).contains(&error), "{error}");
    }

    #[test]
    fn clock_that_was_set_is_believed_at_the_second_report() {
        let mut clock = PublisherClock::default();
        report(&mut clock, 0, 10);

        report(&mut clock, 1_000, 3_600_000);
        let after_one = error_millis(&clock);
        report(&mut clock, 2_000, 3_600_000);

        assert_eq!(after_one, 10);
        assert_eq!(error_millis(&clock), 3_600_000);
    }

    /// A report that arrives at `millis` and reads `delay` milliseconds less than the server's clock.
    fn report(clock: &mut PublisherClock, millis: u64, delay: i64) {
        let server = NtpTime(1 << 40).plus_nanos(millis.cast_signed() * MILLI);
        clock.handle_sender_report(MonoTime::from_millis(millis), server, server.plus_nanos(-delay * MILLI));
    }

    /// The mapping's offset, rounded to milliseconds.
    fn error_millis(clock: &PublisherClock) -> i64 {
        let instant = NtpTime(1 << 40);
        (clock.server_time(instant).unwrap().nanos_since(instant) + MILLI / 2) / MILLI
    }
}
