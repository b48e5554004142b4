//! Whether another viewer may come in: the door that closes before those inside are harmed.
//!
//! Two rules. A shard that was busy for more of a second than `max_busy_percent` closes the door, and it opens again when
//! every shard is [`OPENS_BELOW`] under that, so that it does not flap. And there are never more than `max_viewers`.
//! Neither is asked of publishers, for whom viewers also leave some of the `sessions_max` places: a show that cannot
//! begin helps no viewer.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use crate::registry::ShardId;
use crate::shard::load::Busy;

/// Why a session was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overload {
    /// A shard has no time left for another viewer.
    #[error("its busiest thread works {percent} % of the time")]
    Busy {
        /// Of the last second.
        percent: u16,
    },
    /// As many viewers watch as the operator allows.
    #[error("it serves the {limit} viewers that it may")]
    Viewers {
        /// `max_viewers` of the configuration.
        limit: usize,
    },
    /// As many sessions exist as the operator allows, or for a viewer: all but those that are kept for publishers.
    #[error("its {limit} places are taken, or kept for publishers")]
    Sessions {
        /// `sessions_max` of the configuration.
        limit: usize,
    },
}

/// The node's door for viewers.
#[derive(Debug)]
pub(crate) struct Admission {
    shards: Box<[AtomicU16]>,
    closes_above: Busy,
    is_closed: AtomicBool,
}

impl Admission {
    pub(crate) fn new(shards: usize, max_busy_percent: u16) -> Self {
        Self {
            shards: (0..shards).map(|_| AtomicU16::new(0)).collect(),
            closes_above: Busy(max_busy_percent.saturating_mul(10)),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Takes a shard's share of the last second.
    pub(crate) fn note(&self, shard: ShardId, busy: Busy) {
        if let Some(place) = self.shards.get(shard) {
            place.store(busy.0, Ordering::Relaxed);
        }
        let busiest = self.busiest();
        let was_closed = self.is_closed.load(Ordering::Relaxed);
        let stays_closed = busiest.0 >= self.closes_above.0.saturating_sub(OPENS_BELOW.0);
        let closed = if was_closed { stays_closed } else { busiest > self.closes_above };
        // Two shards may both see the change; the swap lets one of them tell.
        if closed != was_closed && self.is_closed.swap(closed, Ordering::Relaxed) == was_closed {
            let percent = busiest.0 / 10;
            if closed {
                tracing::warn!(percent, "new viewers were refused: a shard is too busy");
            } else {
                tracing::info!(percent, "new viewers were let in again");
            }
        }
    }

    /// Returns the share of the busiest shard in the last second.
    pub(crate) fn busiest(&self) -> Busy {
        Busy(self.shards.iter().map(|place| place.load(Ordering::Relaxed)).max().unwrap_or_default())
    }

    /// Says whether another viewer may come in as far as time goes.
    ///
    /// # Errors
    /// [`Overload::Busy`] while the door is closed.
    pub(crate) fn check(&self) -> Result<(), Overload> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(Overload::Busy { percent: self.busiest().0 / 10 });
        }
        Ok(())
    }
}

/// So far under what closes the door it opens again.
const OPENS_BELOW: Busy = Busy(150);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_closes_above_85_percent_and_opens_again_below_70() {
        let admission = Admission::new(2, 85);
        let after = |shard, busy| {
            admission.note(shard, Busy(busy));
            admission.check().is_ok()
        };

        assert!(after(0, 850));
        assert!(!after(1, 851));
        assert!(!after(1, 700));
        assert!(!after(0, 600), "the other shard is still at 70 %");
        assert!(after(1, 699));
        assert!(after(1, 800), "it closes at 85 %, not at 70 %");
    }

    #[test]
    fn an_operator_may_let_the_shards_work_harder() {
        let admission = Admission::new(1, 95);
        let after = |busy| {
            admission.note(0, Busy(busy));
            admission.check().is_ok()
        };

        assert!(after(950));
        assert!(!after(951));
        assert!(!after(800));
        assert!(after(799));
    }

    #[test]
    fn a_refusal_says_how_busy_the_busiest_shard_is() {
        let admission = Admission::new(2, 85);
        admission.note(0, Busy(100));
        admission.note(1, Busy(930));

        assert_eq!(admission.check(), Err(Overload::Busy { percent: 93 }));
    }
}
