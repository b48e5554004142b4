//! The clocks of the machine: what publishers stamp with, what viewers read, what the kernel writes on arrivals.

use nix::time::{ClockId, clock_gettime};
use rtp::MonoTime;

/// Returns the time of `CLOCK_MONOTONIC`: nanoseconds since the machine's start, the same in every process.
#[must_use]
pub fn now() -> MonoTime {
    MonoTime::from_nanos(read(ClockId::CLOCK_MONOTONIC))
}

/// What turns the kernel's arrival times (`CLOCK_REALTIME`) into [`MonoTime`].
///
/// Taken anew every few milliseconds: the wall clock is slewed, and may step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    offset_ns: u64,
}

impl WallClock {
    /// Compares the two clocks.
    #[must_use]
    pub fn compare() -> Self {
        let mono = read(ClockId::CLOCK_MONOTONIC);
        Self { offset_ns: read(ClockId::CLOCK_REALTIME).saturating_sub(mono) }
    }

    /// Returns the monotonic time of a wall time in nanoseconds since 1970.
    #[must_use]
    pub const fn to_mono(self, wall_ns: u64) -> MonoTime {
        MonoTime::from_nanos(wall_ns.saturating_sub(self.offset_ns))
    }
}

/// Reads a clock in nanoseconds; zero when the machine has no such clock, which Linux does not know.
fn read(clock: ClockId) -> u64 {
    let Ok(time) = clock_gettime(clock) else { return 0 };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_as_wall_time_is_the_present() {
        let before = now();

        let wall = read(ClockId::CLOCK_REALTIME);
        let between = WallClock::compare().to_mono(wall);

        let slack = std::time::Duration::from_millis(50);
        assert!(between.since(before) <= now().since(before) + slack);
        assert!(before.since(between) <= slack, "comparing costs no more than its scheduling");
    }
}
