//! The time that state machines are told.
//!
//! [`MonoTime`] is the only clock below the node: a count of nanoseconds that never steps back. [`NtpTime`] is
//! what goes on the wire in sender reports, and [`MediaClock`] is the one mapping between the two (the *server
//! media clock*): it is fixed when the node starts, so that a step of the wall clock never reaches a viewer.

use std::ops::Add;
use std::time::Duration;

/// A monotonic instant: nanoseconds since an arbitrary start, the same for every thread of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoTime(u64);

impl MonoTime {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// Makes an instant from nanoseconds since the clock's start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Makes an instant from milliseconds since the clock's start; saturates.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Returns the nanoseconds since the clock's start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns how long ago `earlier` was; zero when it lies in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MonoTime {
    type Output = Self;

    fn add(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A 64-bit NTP timestamp: seconds since 1900 and a binary fraction (RFC 3550 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Makes a timestamp from nanoseconds since the Unix epoch; wraps in 2036 as NTP does.
    #[must_use]
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        let seconds = (nanos / NANOS_PER_SECOND).wrapping_add(UNIX_EPOCH_IN_NTP_SECONDS);
        let fraction = ((nanos % NANOS_PER_SECOND) << 32) / NANOS_PER_SECOND;
        Self((seconds << 32) | fraction)
    }

    /// Returns the middle 32 bits, as report blocks carry them (RFC 3550 §6.4.1, LSR).
    #[must_use]
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// Returns the signed distance `self − other` in nanoseconds.
    #[must_use]
    pub const fn nanos_since(self, other: Self) -> i64 {
        let units = self.0.wrapping_sub(other.0).cast_signed();
        ((units as i128 * NANOS_PER_SECOND as i128) >> 32) as i64
    }

    /// Moves the timestamp by signed nanoseconds.
    #[must_use]
    pub const fn plus_nanos(self, nanos: i64) -> Self {
        // In two steps: a division of 128 bits would be the most of what writing a sending time costs.
        let (seconds, rest) = (nanos.div_euclid(SECOND), nanos.rem_euclid(SECOND));
        let units = (seconds << 32).wrapping_add((rest << 32) / SECOND);
        Self(self.0.wrapping_add(units.cast_unsigned()))
    }
}

/// The server media clock: one fixed mapping from [`MonoTime`] to [`NtpTime`].
#[derive(Clone, Copy, Debug)]
pub struct MediaClock {
    base: NtpTime,
    base_at: MonoTime,
}

impl MediaClock {
    /// Fixes the mapping: `base` is the wall time at the instant `base_at`.
    #[must_use]
    pub const fn new(base: NtpTime, base_at: MonoTime) -> Self {
        Self { base, base_at }
    }

    /// Returns the media time of an instant at or after the base.
    #[must_use]
    pub const fn ntp(&self, at: MonoTime) -> NtpTime {
        self.base.plus_nanos(at.0.wrapping_sub(self.base_at.0).cast_signed())
    }
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const SECOND: i64 = 1_000_000_000;
const UNIX_EPOCH_IN_NTP_SECONDS: u64 = 2_208_988_800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_since_a_later_instant_is_zero() {
        assert_eq!(MonoTime::from_millis(1).since(MonoTime::from_millis(2)), Duration::ZERO);
    }

    #[test]
    fn ntp_distance_survives_a_round_trip() {
        let start = NtpTime::from_unix_nanos(1_795_248_330_123_456_789);

        let later = start.plus_nanos(1_500_000_000);

        assert!((later.nanos_since(start) - 1_500_000_000).abs() <= 1);
        assert!((start.nanos_since(later) + 1_500_000_000).abs() <= 1);
    }

    #[test]
    fn media_clock_advances_with_the_monotonic_clock() {
        let clock = MediaClock::new(NtpTime::from_unix_nanos(0), MonoTime::from_millis(500));

        let distance =
            clock.ntp(MonoTime::from_millis(1_500)).nanos_since(clock.ntp(MonoTime::from_millis(500)));

        assert!((distance - 1_000_000_000).abs() <= 1);
    }
}
