//! The bridge to libraries that count in [`Instant`]: they only compare and add, so that one base stands for
//! [`MonoTime::ZERO`].

use rtp::MonoTime;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Returns a library's instant for one of ours.
pub(super) fn to_instant(time: MonoTime) -> Instant {
    base().checked_add(Duration::from_nanos(time.as_nanos())).unwrap_or_else(base)
}

/// Returns our time for one of a library's.
pub(super) fn from_instant(instant: Instant) -> MonoTime {
    let since = instant.saturating_duration_since(base());
    MonoTime::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}
