//! When to ask the publisher for a keyframe of one layer.
//!
//! Everything that wants a keyframe (a joining viewer, a layer switch, a loss that was given up) meets here, and
//! the publisher hears of it at most once a second: unmerged requests double or triple its bitrate. A request
//! that nothing answers is repeated, because the request itself may be lost; but only a few times, because OBS
//! and ffmpeg answer none.

use std::time::Duration;

use rtp::MonoTime;

/// The least time between two requests for one layer.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often an unanswered request goes out in all.
const TRIES_MAX: u8 = 3;

/// The keyframe requests of one layer.
#[derive(Debug, Default)]
pub(super) struct KeyframeRequests {
    last_sent: Option<MonoTime>,
    /// How often the wish may still go out; zero when nobody wishes.
    tries_left: u8,
}

impl KeyframeRequests {
    /// Takes a wish. It goes out at once, or when the last request is a second old.
    pub(super) const fn request(&mut self) {
        self.tries_left = TRIES_MAX;
    }

    /// Takes note that a keyframe began, which answers every wish.
    pub(super) const fn handle_keyframe(&mut self) {
        self.tries_left = 0;
    }

    /// Takes note that the request went out.
    pub(super) const fn handle_sent(&mut self, now: MonoTime) {
        self.last_sent = Some(now);
        self.tries_left = self.tries_left.saturating_sub(1);
    }

    /// Returns when a request is due.
    pub(super) fn next_timeout(&self) -> Option<MonoTime> {
        if self.tries_left == 0 {
            return None;
        }
        Some(self.last_sent.map_or(MonoTime::ZERO, |sent| sent + INTERVAL))
    }

    /// Returns when a request went out last.
    pub(super) const fn last_sent(&self) -> Option<MonoTime> {
        self.last_sent
    }

    /// True when a request should go out now.
    pub(super) fn is_due(&self, now: MonoTime) -> bool {
        self.next_timeout().is_some_and(|due| due <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_wish_goes_out_at_once() {
        let mut requests = KeyframeRequests::default();
        assert!(!requests.is_due(at(5)));

        requests.request();

        assert!(requests.is_due(at(5)));
    }

    #[test]
    fn wishes_of_many_viewers_make_one_request_a_second() {
        let mut requests = KeyframeRequests::default();
        let mut sent = 0;

        for millis in 0..3_000 {
            requests.request();
            if requests.is_due(at(millis)) {
                requests.handle_sent(at(millis));
                sent += 1;
            }
        }

        assert_eq!(sent, 3);
    }

    #[test]
    fn wish_that_came_too_early_goes_out_later() {
        let mut requests = KeyframeRequests::default();
        requests.request();
        requests.handle_sent(at(0));
        requests.handle_keyframe();

        requests.request();

        assert!(!requests.is_due(at(999)));
        assert_eq!(requests.next_timeout(), Some(at(1_000)));
        assert!(requests.is_due(at(1_000)));
    }

    #[test]
    fn keyframe_answers_the_wish_before_it_goes_out_again() {
        let mut requests = KeyframeRequests::default();
        requests.request();
        requests.handle_sent(at(0));

        requests.handle_keyframe();

        assert_eq!(requests.next_timeout(), None);
    }

    #[test]
    fn unanswered_request_is_repeated_twice_and_then_given_up() {
        let mut requests = KeyframeRequests::default();
        requests.request();
        let mut sent = 0;

        for millis in 0..10_000 {
            if requests.is_due(at(millis)) {
                requests.handle_sent(at(millis));
                sent += 1;
            }
        }

        assert_eq!(sent, 3);
    }

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_millis(millis)
    }
}
