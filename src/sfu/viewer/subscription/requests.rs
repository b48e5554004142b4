//! Limits for how many keyframes one viewer makes the publisher pay for.

use std::time::Duration;

use rtp::MonoTime;

use super::Subscription;
use crate::LayerIndex;
use crate::viewer::ViewerOutput;

/// What a viewer may still ask the publisher for. A keyframe costs everybody in the room: it is some ten times as large
/// as other frames, and the encoder takes that from the picture's quality. So what a viewer cannot use, because it
/// reads nothing or its path breaks each one, comes as seldom as keyframes do by themselves.
#[derive(Debug)]
pub(super) struct Requests {
    saved: u32,
    /// Since when the next one is being earned.
    since: MonoTime,
}

impl Default for Requests {
    fn default() -> Self {
        Self { saved: SAVED_MAX, since: MonoTime::ZERO }
    }
}

impl Requests {
    /// Takes one request; false when there were too many lately.
    fn take(&mut self, now: MonoTime) -> bool {
        let earned = now.since(self.since).as_nanos() / EARNED_EVERY.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.saved = self.saved.saturating_add(earned).min(SAVED_MAX);
        self.since = if self.saved == SAVED_MAX { now } else { self.since + EARNED_EVERY * earned };
        let allowed = self.saved > 0;
        self.saved = self.saved.saturating_sub(1);
        allowed
    }
}

impl Subscription {
    /// Asks the publisher for a keyframe of a layer, unless this viewer's share of them is used up.
    pub(super) fn request_keyframe(&mut self, now: MonoTime, layer: LayerIndex) {
        if self.requests.take(now) {
            self.push(ViewerOutput::RequestKeyframe(layer));
        }
    }
}

/// Requests that may follow each other: a join, and a few accidents in a row.
const SAVED_MAX: u32 = 6;
/// How often another one is earned: no more often than most publishers make keyframes without being asked.
const EARNED_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_requests_follow_each_other_and_then_one_in_five_seconds() {
        let mut requests = Requests::default();
        let taken = |requests: &mut Requests, from: u64, to: u64| {
            (from..to).filter(|millis| requests.take(MonoTime::from_millis(*millis))).count()
        };

        assert_eq!(taken(&mut requests, 100_000, 104_999), 6);
        assert_eq!(taken(&mut requests, 105_000, 205_000), 20);
        // What is saved up meanwhile is bounded.
        assert_eq!(taken(&mut requests, 900_000, 901_000), 6);
    }
}
