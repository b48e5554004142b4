//! Whether others send over the same bottleneck, and what is left to them. Packet path.
//!
//! Think of a second bottleneck, played beside the real one, that carries the estimate and nobody else's packets. What
//! a packet finds waiting there is the queue that is ours. A queue that is much longer was made by another's probe or
//! keyframe. One of them may be a path that became slower; several within a while are another sender.
//!
//! A probe takes for a moment what others leave, and of two viewers the one that sends more finds more. So who shares a path
//! claims what it needs for what it gets, and not what lies between that and a layer that is out of reach.

use std::time::Duration;

use rtp::MonoTime;

use super::history::Status;
use crate::Bitrate;

/// Rates beyond which nothing is of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enough {
    /// For everything that there is to send.
    pub ever: Option<Bitrate>,
    /// For what is being sent, where that is more than the least.
    pub now: Option<Bitrate>,
}

/// The detector.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// Bytes that wait before the bottleneck.
    backlog: f64,
    at_us: i64,
    /// The longest backlog found in the running slice of time and in the ones before, newest first.
    longest_ms: [f64; SLICES],
    slice_began_us: i64,
    /// When queues of others were there last, newest first.
    events: [Option<MonoTime>; EVENTS],
    shared: bool,
}

impl Sharing {
    /// Takes a packet that arrived, in the order of sending.
    pub(super) fn handle_received(&mut self, status: &Status, estimate: Bitrate) {
        let elapsed_us = status.sent_us.saturating_sub(self.at_us).max(0);
        self.at_us = self.at_us.max(status.sent_us);
        let bytes_per_ms = estimate.as_bps().max(1) as f64 / 8_000.0;
        let found = (self.backlog - elapsed_us as f64 / 1_000.0 * bytes_per_ms).max(0.0);
        self.backlog = (found + f64::from(status.size)).min(BACKLOG_MAX_MS * bytes_per_ms);
        if self.at_us.saturating_sub(self.slice_began_us) > SLICE_US {
            self.slice_began_us = self.at_us;
            self.longest_ms.rotate_right(1);
            let [newest, ..] = &mut self.longest_ms;
            *newest = 0.0;
        }
        // What leaves together waits for itself, and only the delay of its first packet is measured.
        if elapsed_us >= BURST_US {
            let [newest, ..] = &mut self.longest_ms;
            *newest = newest.max(found / bytes_per_ms);
        }
    }

    /// Compares the queue, jitter left out, with what explains it.
    pub(super) fn update(&mut self, now: MonoTime, queue: Duration) {
        let explained_ms = self.longest_ms.iter().copied().fold(0.0, f64::max);
        if queue.as_secs_f64() * 1_000.0 > UNEXPLAINED_MS + explained_ms * EXPLAINED_FACTOR {
            let [newest, ..] = &self.events;
            if newest.is_none_or(|at| now.since(at) >= EVENT) {
                self.events.rotate_right(1);
            }
            let [newest, ..] = &mut self.events;
            *newest = Some(now);
        }
        self.shared = self.events.iter().all(|event| event.is_some_and(|at| now.since(at) < SPAN));
    }

    /// Says whether others send over the same bottleneck.
    pub(super) const fn is_shared(&self) -> bool {
        self.shared
    }
}

/// A queue is another's where it is longer than so many times what explains it, and by this.
const UNEXPLAINED_MS: f64 = 12.0;
const EXPLAINED_FACTOR: f64 = 1.25;

/// What waits longer than this is gone.
const BACKLOG_MAX_MS: f64 = 3_000.0;

/// What explains a queue is kept for so many slices of time, as the measured queue is smoothed.
const SLICES: usize = 4;
const SLICE_US: i64 = 100_000;

/// Packets sent within this time are one point of the measured delay.
const BURST_US: i64 = 5_000;

/// Events nearer to each other than this are one.
const EVENT: Duration = Duration::from_millis(700);

/// So many events within this time are another sender: one that wants more probes every few seconds. A path that became
/// slower makes one or two.
const EVENTS: usize = 4;
const SPAN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_of_our_own_making_is_nobody_elses() {
        let mut sharing = Sharing::default();

        for probe in 0..4 {
            // For 200 ms at twice the estimate; the queue is as long then.
            send(&mut sharing, probe * 2_000..probe * 2_000 + 200, 2);
            sharing.update(MonoTime::from_millis(probe * 2_000 + 250), Duration::from_millis(190));
        }

        assert!(!sharing.is_shared());
    }

    #[test]
    fn four_queues_that_nothing_of_ours_explains_are_another_sender_for_a_while() {
        let mut sharing = Sharing::default();
        send(&mut sharing, 0..10_000, 1);
        let mut heard = |ms| {
            sharing.update(MonoTime::from_millis(ms), Duration::from_millis(40));
            sharing.is_shared()
        };

        assert!(!heard(1_000));
        assert!(!heard(1_400), "it is still the same");
        assert!(!heard(6_000) && !heard(11_000));
        assert!(heard(16_000));

        sharing.update(MonoTime::from_millis(61_399), Duration::ZERO);
        assert!(sharing.is_shared());
        sharing.update(MonoTime::from_millis(61_400), Duration::ZERO);
        assert!(!sharing.is_shared());
    }

    #[test]
    fn what_once_was_too_much_explains_no_queue_later() {
        let mut sharing = Sharing::default();
        // Ten minutes of twice what is believed to pass.
        send(&mut sharing, 0..600_000, 2);
        // A few seconds in which hardly anything is sent.
        for at_ms in (600_000..610_000).step_by(1_000) {
            send(&mut sharing, at_ms..at_ms + 10, 1);
        }

        for ms in [610_000, 611_000, 612_000, 613_000] {
            sharing.update(MonoTime::from_millis(ms), Duration::from_millis(40));
        }

        assert!(sharing.is_shared());
    }

    #[test]
    fn an_estimate_of_nothing_is_no_queue_for_ever() {
        let mut sharing = Sharing::default();
        let status = Status { sent_us: 1_000_000, size: 1_000, run: 0, cluster: None, was_lost: false };
        sharing.handle_received(&status, Bitrate::ZERO);

        send(&mut sharing, 1_010..3_000, 1);
        for ms in [3_000, 4_000, 5_000, 6_000] {
            sharing.update(MonoTime::from_millis(ms), Duration::from_millis(40));
        }

        assert!(sharing.is_shared());
    }

    /// Sends packets of 1,000 bytes, so many each ten milliseconds, over what is held for 800 kbit/s.
    fn send(sharing: &mut Sharing, span_ms: std::ops::Range<u64>, packets: u64) {
        for at_ms in span_ms.step_by(10) {
            for _ in 0..packets {
                let sent_us = i64::try_from(at_ms * 1_000).unwrap();
                let status = Status { sent_us, size: 1_000, run: 0, cluster: None, was_lost: false };
                sharing.handle_received(&status, Bitrate::from_kbps(800));
            }
        }
    }
}
