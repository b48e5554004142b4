//! The one place that reads the machine's clocks.
//!
//! Everything below is told a [`MonoTime`]; it counts from the start of the process, so that every thread agrees.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rtp::{MediaClock, MonoTime, NtpTime};

/// Reads the monotonic clock; copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    media: MediaClock,
}

impl Clock {
    /// Starts the clock: monotonic time begins here, and the server media clock is tied to the wall clock once.
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let base = NtpTime::from_unix_nanos(u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX));
        // One second of room, so that "long before the start" can be said with an unsigned number.
        Self { start: Instant::now(), media: MediaClock::new(base, HEAD_START) }
    }

    /// Returns the present instant.
    pub(crate) fn now(&self) -> MonoTime {
        HEAD_START + self.start.elapsed()
    }

    /// Returns an instant of the machine's clock as one of ours.
    pub(crate) fn at(&self, instant: Instant) -> MonoTime {
        HEAD_START + instant.saturating_duration_since(self.start)
    }

    /// Returns the server media clock.
    pub(crate) const fn media(&self) -> MediaClock {
        self.media
    }
}

const HEAD_START: MonoTime = MonoTime::from_millis(1_000);
