//! How long the picture of a viewer stood still: what a server withholds leaves no hole in the numbering, and is seen
//! only here.
//!
//! Packet path. A frame counts when its marker first comes, whether or not all of it did. Time is divided into spans:
//! who is in when one begins waits for a frame from then on, who joins later from its first frame on.

use rtp::{MonoTime, RtpTimestamp};
use std::time::Duration;

/// The picture of one viewer.
#[derive(Debug, Default)]
pub(super) struct Motion {
    /// The last frame, or the beginning of the span if that was later; none while nobody waits for a frame.
    since: Option<MonoTime>,
    shown: Option<RtpTimestamp>,
    /// Whether it stood still for too long in this span.
    froze: bool,
}

impl Motion {
    /// Begins a span.
    pub(super) const fn begin(&mut self, now: MonoTime) {
        self.since = Some(now);
        self.froze = false;
    }

    /// Notes the last packet of a frame. Says, once a span, that the wait for it was too long.
    pub(super) fn note_frame(&mut self, at: MonoTime, timestamp: RtpTimestamp) -> bool {
        if self.shown.replace(timestamp) == Some(timestamp) {
            return false;
        }
        let froze = self.look(at);
        // What came before the span began is noted after it, if it waited in the socket.
        self.since = Some(self.since.map_or(at, |since| since.max(at)));
        froze
    }

    /// Says, once a span, that the wait is too long by now.
    pub(super) fn look(&mut self, now: MonoTime) -> bool {
        let too_long = self.since.is_some_and(|since| now.since(since) > FREEZE);
        too_long && !std::mem::replace(&mut self.froze, true)
    }

    /// Ends the waiting, as [`Self::look`] would.
    pub(super) fn end(&mut self, now: MonoTime) -> bool {
        let froze = self.look(now);
        self.since = None;
        froze
    }
}

/// Nobody takes a longer one for a hiccup; the same as in the promise for paths that change.
const FREEZE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> MonoTime {
        MonoTime::from_millis(millis)
    }

    /// Frames at these moments, each with a timestamp of its own; how often it froze.
    fn frames(motion: &mut Motion, moments: impl IntoIterator<Item = u64>) -> usize {
        let moments = moments.into_iter();
        moments.filter(|at| motion.note_frame(ms(*at), RtpTimestamp(*at as u32 * 90))).count()
    }

    #[test]
    fn a_picture_that_moves_once_a_second_is_not_frozen() {
        let mut motion = Motion::default();
        motion.begin(ms(500));

        assert_eq!(frames(&mut motion, [1_500, 2_500, 3_500]), 0);
        assert!(!motion.look(ms(4_500)));
    }

    #[test]
    fn a_longer_gap_counts_once_a_span_wherever_it_lies() {
        let at_its_begin = (100..5_000).step_by(33).filter(|at| *at > 1_200);
        let amid = (100..5_000).step_by(33).filter(|at| !(2_000..3_100).contains(at) && *at < 3_900);
        for moments in [at_its_begin.collect::<Vec<_>>(), amid.collect()] {
            let mut motion = Motion::default();
            frames(&mut motion, [50]);
            motion.begin(ms(100));

            let counted = frames(&mut motion, moments) + usize::from(motion.look(ms(5_000)));

            assert_eq!(counted, 1);
        }
    }

    #[test]
    fn the_time_to_the_end_of_the_span_counts_and_the_next_span_is_another() {
        let mut motion = Motion::default();
        motion.begin(ms(0));
        assert_eq!(frames(&mut motion, [500]), 0);

        assert!(motion.look(ms(1_600)));
        assert!(!motion.look(ms(1_700)), "once");
        motion.begin(ms(1_700));
        assert!(!motion.look(ms(2_600)));
        assert!(motion.look(ms(2_800)));
    }

    #[test]
    fn who_has_never_had_a_frame_waits_from_the_begin_of_the_span() {
        let mut motion = Motion::default();
        motion.begin(ms(0));

        assert!(motion.look(ms(1_001)));
    }

    #[test]
    fn who_joins_late_or_leaves_early_does_not_wait_meanwhile() {
        let mut late = Motion::default();
        assert!(!late.look(ms(9_000)));
        assert_eq!(frames(&mut late, [9_000, 9_900]), 0);
        assert!(late.look(ms(11_000)), "and from its first frame on it does");

        let mut gone = Motion::default();
        gone.begin(ms(0));
        assert_eq!(frames(&mut gone, [500]), 0);
        assert!(!gone.end(ms(600)));
        assert!(!gone.look(ms(9_000)));
    }

    #[test]
    fn the_same_frame_again_is_no_motion() {
        let mut motion = Motion::default();
        motion.begin(ms(0));

        assert!(!motion.note_frame(ms(100), RtpTimestamp(1)));
        assert!(!motion.note_frame(ms(900), RtpTimestamp(1)));
        assert!(motion.note_frame(ms(1_200), RtpTimestamp(2)));
    }
}
