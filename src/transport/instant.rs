//! The bridge from our time to that of the foreign engines, which count in [`Instant`].
//!
//! One base for the whole process, taken when it is first needed, stands for [`MonoTime::ZERO`]. The engines
//! only compare and subtract, so that the distance between the base and the true start does no harm.

use rtp::MonoTime;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Returns an engine's instant for one of ours.
pub(crate) fn to_instant(time: MonoTime) -> Instant {
    base().checked_add(Duration::from_nanos(time.as_nanos())).unwrap_or_else(base)
}

/// Returns our instant for one of an engine's; `None` for the far future, which is how engines say never.
pub(crate) fn from_instant(instant: Instant) -> Option<MonoTime> {
    let since = instant.saturating_duration_since(base());
    let nanos = u64::try_from(since.as_nanos()).ok()?;
    (since < NEVER).then_some(MonoTime::from_nanos(nanos))
}

fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

/// No server runs for eight years.
const NEVER: Duration = Duration::from_secs(8 * 365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_survives_the_round_trip() {
        for millis in [0, 1, 86_400_000, 365 * 86_400_000] {
            let time = MonoTime::from_millis(millis);

            assert_eq!(from_instant(to_instant(time)), Some(time));
        }
    }

    #[test]
    fn the_far_future_is_never() {
        assert_eq!(
            from_instant(to_instant(MonoTime::ZERO) + Duration::from_secs(10 * 365 * 24 * 60 * 60)),
            None
        );
    }
}
