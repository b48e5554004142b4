//! Limits for how many keyframes one viewer makes the publisher pay for.

use std::time::Duration;

use rtp::MonoTime;

use super::{REQUEST_INTERVAL, Subscription};
use crate::viewer::ViewerOutput;
use crate::{LayerIndex, Rings};

/// What a viewer may still ask the publisher for. A keyframe costs everybody in the room: it is some ten times as large
/// as other frames, and the encoder takes that from the picture's quality. So who goes on asking, because it reads
/// nothing or its path breaks each one, has to live with those that come anyway; a few are saved up again once it stops.
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
    /// Takes one request; false when there were too many lately and the layer's newest keyframe, which came then, is
    /// not old.
    fn take(&mut self, now: MonoTime, newest: Option<MonoTime>) -> bool {
        let earned = now.since(self.since).as_nanos() / EARNED_AFTER.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.saved = self.saved.saturating_add(earned).min(SAVED_MAX);
        self.since = now;
        let is_saved = self.saved > 0;
        self.saved = self.saved.saturating_sub(1);
        is_saved || newest.is_none_or(|at| now.since(at) >= OLD)
    }
}

impl Subscription {
    /// Asks the publisher for a keyframe of a layer, unless this viewer has asked for too many.
    pub(super) fn request_keyframe(&mut self, now: MonoTime, rings: &Rings, layer: LayerIndex) {
        let newest = rings.get(self.kind, layer).gop().map(|gop| gop.arrival);
        if self.requests.take(now, newest) {
            self.push(ViewerOutput::RequestKeyframe(layer));
        }
    }

    /// Asks for one, unless that was done lately; says whether it was.
    pub(super) fn ask_seldom(&mut self, now: MonoTime, rings: &Rings, layer: LayerIndex) -> bool {
        let asks = self.last_wanted.is_none_or(|at| now.since(at) >= REQUEST_INTERVAL);
        if asks {
            self.last_wanted = Some(now);
            self.request_keyframe(now, rings, layer);
        }
        asks
    }
}

/// Requests that may follow each other: a join, and a few accidents in a row.
const SAVED_MAX: u32 = 6;
/// How long a viewer asks for nothing to earn another one.
const EARNED_AFTER: Duration = Duration::from_secs(5);
/// How old the newest keyframe is when anybody may ask for another: most publishers make them as often by themselves.
const OLD: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_requests_follow_each_other_and_then_a_keyframe_has_to_be_old() {
        let mut requests = Requests::default();
        let mut newest = MonoTime::from_millis(99_000);
        let mut taken = |from: u64, to: u64| {
            let mut count = 0;
            for millis in from..to {
                let now = MonoTime::from_millis(millis);
                if requests.take(now, Some(newest)) {
                    (newest, count) = (now, count + 1);
                }
            }
            count
        };

        assert_eq!(taken(100_000, 104_000), 6);
        assert_eq!(taken(104_000, 204_000), 20);
        // Who asks for nothing for a while may ask again, and what is saved up is bounded.
        assert_eq!(taken(211_000, 212_000), 1);
        assert_eq!(taken(900_000, 901_000), 6);
    }

    #[test]
    fn who_asks_without_end_gets_no_more_than_come_anyway() {
        let mut requests = Requests::default();
        let taken = |millis: &u64| {
            let newest = MonoTime::from_millis(millis / 4_000 * 4_000);
            requests.take(MonoTime::from_millis(*millis), Some(newest))
        };

        assert_eq!((0..60_000).filter(taken).count(), 6);
    }
}
