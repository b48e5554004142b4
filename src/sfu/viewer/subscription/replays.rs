//! Limits how often a viewer is given packets of a ring again.

use std::time::Duration;

use rtp::MonoTime;

/// How often a viewer's wish for a keyframe is answered from the ring: a path that breaks every burst shall not get
/// one after the other.
#[derive(Debug)]
pub(super) struct Replays {
    /// When the last burst began, and when the last one for a wish.
    last: Option<MonoTime>,
    last_answer: Option<MonoTime>,
    pause: Duration,
}

impl Default for Replays {
    fn default() -> Self {
        Self { last: None, last_answer: None, pause: REPLAY_INTERVAL }
    }
}

impl Replays {
    /// Says whether a wish may be answered now, and if so counts it.
    pub(super) fn take(&mut self, now: MonoTime) -> bool {
        if self.last.is_some_and(|last| now.since(last) < self.pause) {
            return false;
        }
        let in_a_row = self.last_answer.replace(now).is_some_and(|last| now.since(last) < REPLAY_MEMORY);
        self.pause = if in_a_row { (self.pause * 2).min(REPLAY_MEMORY / 2) } else { REPLAY_INTERVAL };
        true
    }

    /// Notes that a burst begins.
    pub(super) fn note(&mut self, now: MonoTime) {
        self.last = Some(now);
    }
}

/// How soon after a burst a viewer's wish for a keyframe is answered from the ring again; it doubles each time.
const REPLAY_INTERVAL: Duration = Duration::from_secs(1);
/// When wishes stop to count as following each other.
const REPLAY_MEMORY: Duration = Duration::from_secs(8);
