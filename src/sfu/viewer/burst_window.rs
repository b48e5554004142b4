//! How far a burst may be ahead of what the viewer says it got. Packet path.
//!
//! A viewer that joins begins with a burst of which nobody knows whether its path takes it. What arrives is the only
//! answer, so each byte that arrived makes room for others: for four while the path's queue stays short; once that was
//! long, for about one, a little more or less as the queue shrinks or grows. So the path stays busy and its queue short,
//! and nothing of the burst is lost in it.

use std::time::Duration;

use rtp::MonoTime;

/// What a burst may still send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BurstWindow {
    /// In bytes; `None` where nobody says what arrives.
    room: Option<u64>,
    /// When something arrived last.
    widened: MonoTime,
    /// Whether the path's queue was long since the burst began.
    was_long: bool,
}

impl BurstWindow {
    /// Makes the window of a viewer that has said nothing yet.
    pub(crate) const fn new() -> Self {
        Self { room: None, widened: MonoTime::ZERO, was_long: false }
    }

    /// Takes note that so many bytes arrived, and how long the path's queue was for the newest of them. Without a burst
    /// `is_bursting` it is opened for the next one.
    pub(crate) fn widen(&mut self, now: MonoTime, (received, queue): (u64, Duration), is_bursting: bool) {
        if received > 0 || self.room.is_none() {
            self.widened = now;
        }
        self.was_long &= is_bursting;
        self.was_long |= queue > QUEUE_LONG;
        let percent = if self.was_long { percent_at(queue) } else { OPENING_PERCENT };
        let room = self.room.filter(|_| is_bursting).unwrap_or(OPENING_BYTES);
        self.room = Some(room.saturating_add(received.saturating_mul(percent) / 100));
    }

    /// Takes note that so many bytes were sent.
    pub(crate) fn note_sent(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.room = self.room.map(|room| room.saturating_sub(bytes));
    }

    /// Says whether the burst has to wait for a report. A viewer that sends none gets it at last.
    pub(crate) fn is_shut(&self, now: MonoTime) -> bool {
        self.room == Some(0) && now.since(self.widened) < REPORT_MAX
    }
}

/// Returns for how much more each hundred bytes that arrived make room: for as many at [`QUEUE_LONG`].
fn percent_at(queue: Duration) -> u64 {
    let per_long = queue.as_nanos().saturating_mul(SLOPE_PERCENT) / QUEUE_LONG.as_nanos();
    let less = u64::try_from(per_long).unwrap_or(u64::MAX);
    PERCENT_MAX.saturating_sub(less).max(PERCENT_MIN)
}

/// What goes out before the first report, besides the keyframe: what a short queue of a slow path holds.
const OPENING_BYTES: u64 = 24_000;
/// What each hundred bytes that arrived make room for while the queue is short.
const OPENING_PERCENT: u64 = 400;
/// A queue that more than jitter has made.
const QUEUE_LONG: Duration = Duration::from_millis(30);
/// What they make room for once it was long: so much without a queue, so much less for each [`QUEUE_LONG`] of it, and at
/// least so much.
const PERCENT_MAX: u64 = 150;
const SLOPE_PERCENT: u128 = 50;
const PERCENT_MIN: u64 = 50;
/// How long a report is waited for.
const REPORT_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_makes_room_for_four_until_the_queue_is_long_and_then_for_about_one() {
        let mut window = BurstWindow::new();
        let mut makes = |received, queue_ms, is_bursting| {
            let before = window.room.filter(|_| is_bursting).unwrap_or(OPENING_BYTES);
            window.widen(MonoTime::ZERO, (received, Duration::from_millis(queue_ms)), is_bursting);
            window.room.unwrap() - before
        };

        assert_eq!(makes(1_000, 29, true), 4_000);
        assert_eq!(makes(1_000, 45, true), 750);
        assert_eq!(makes(1_000, 500, true), 500);
        assert_eq!(makes(1_000, 30, true), 1_000);
        assert_eq!(makes(1_000, 0, true), 1_500);
        assert_eq!(makes(1_000, 0, false), 4_000, "the next burst's begins");
    }

    #[test]
    fn who_reports_nothing_gets_the_burst_after_a_second() {
        let at = MonoTime::from_millis;
        let mut window = BurstWindow::new();
        window.note_sent(50_000);
        assert!(!window.is_shut(at(99)), "nobody promised reports");

        window.widen(at(100), (0, Duration::ZERO), false);
        assert!(!window.is_shut(at(101)));
        window.note_sent(50_000);

        assert!([101, 1_099].map(at).iter().all(|now| window.is_shut(*now)));
        assert!(!window.is_shut(at(1_100)));
    }
}
