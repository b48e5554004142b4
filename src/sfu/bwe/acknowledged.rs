//! How fast data arrives: acknowledged bytes by arrival time. Packet path.
//!
//! Forty slots of 25 ms make a second. Every byte is counted once, because the send history gives each packet out
//! once; so a peer that lies about times moves bytes between slots, but adds none.

use crate::Bitrate;
use std::time::Duration;

const SLOT_US: i64 = 25_000;
const SLOTS: usize = 40;

/// Below this much time a rate is noise.
const SPAN_MIN: i64 = 4;

/// The last second of arrivals.
#[derive(Debug)]
pub(super) struct Acknowledged {
    bytes: [u32; SLOTS],
    /// The slot of the newest arrival and of the first one, counted from the clock's start.
    newest: i64,
    first: Option<i64>,
}

impl Acknowledged {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; SLOTS], newest: 0, first: None }
    }

    /// Reads what feedback reads; see [`crate::viewer::Viewer::warm_report`].
    pub(super) fn warm(&self) -> u64 {
        let first = self.bytes.first().copied().map_or(0, u64::from);
        first ^ u64::from(self.first.is_some())
    }

    /// Forgets everything: the peer's clock leapt.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }

    /// Counts a packet; one that arrived more than a second before the newest does not count.
    pub(super) fn add(&mut self, arrival_us: i64, size: u16) {
        let slot = arrival_us.div_euclid(SLOT_US);
        if self.first.is_none() {
            self.first = Some(slot);
            self.newest = slot;
        }
        let ahead = slot.saturating_sub(self.newest);
        for step in 1..=ahead.min(SLOTS as i64) {
            self.set(slot.saturating_sub(ahead.min(SLOTS as i64)).saturating_add(step), 0);
        }
        self.newest = self.newest.max(slot);
        if self.newest.saturating_sub(slot) < SLOTS as i64
            && let Some(bytes) = self.bytes.get_mut(index(slot))
        {
            *bytes = bytes.saturating_add(u32::from(size));
        }
    }

    /// Returns the rate over about the last `window`; `None` until there is enough of it.
    ///
    /// The newest slot is still filling and does not count.
    pub(super) fn rate(&self, window: Duration) -> Option<Bitrate> {
        let slots = i64::try_from(window.as_micros()).unwrap_or(i64::MAX) / SLOT_US;
        let known = self.newest.saturating_sub(self.first?);
        let span = slots.min(known).min(SLOTS as i64 - 1);
        if span < SPAN_MIN.min(slots) {
            return None;
        }
        let bytes = (1..=span).map(|back| self.slot(self.newest.saturating_sub(back))).sum();
        Some(Bitrate::of(bytes, Duration::from_micros(u64::try_from(span * SLOT_US).unwrap_or(1))))
    }

    fn slot(&self, slot: i64) -> u64 {
        self.bytes.get(index(slot)).copied().map_or(0, u64::from)
    }

    fn set(&mut self, slot: i64, value: u32) {
        if let Some(bytes) = self.bytes.get_mut(index(slot)) {
            *bytes = value;
        }
    }
}

fn index(slot: i64) -> usize {
    usize::try_from(slot.rem_euclid(SLOTS as i64)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_reads_as_itself_and_a_change_shows_in_the_short_window_first() {
        let mut acknowledged = Acknowledged::new();
        for packet in 0..200 {
            acknowledged.add(packet * 10_000, 1_250);
        }
        assert_eq!(acknowledged.rate(LONG), Some(Bitrate::from_kbps(1_000)));

        for packet in 0..5 {
            acknowledged.add(2_000_000 + packet * 50_000, 1_250);
        }

        assert!(acknowledged.rate(SHORT).unwrap() < Bitrate::from_kbps(400));
        assert!(acknowledged.rate(LONG).unwrap() > Bitrate::from_kbps(500));
    }

    #[test]
    fn silence_empties_the_window() {
        let mut acknowledged = Acknowledged::new();
        acknowledged.add(0, 1_250);
        acknowledged.add(10_000_000, 1_250);

        assert_eq!(acknowledged.rate(LONG), Some(Bitrate::ZERO));
    }

    #[test]
    fn leaps_in_time_neither_overflow_nor_spin() {
        let mut acknowledged = Acknowledged::new();
        for at in [0, i64::MAX, i64::MIN, -1, i64::MAX - 1] {
            acknowledged.add(at, u16::MAX);
        }

        assert!(acknowledged.rate(LONG).is_some());
    }

    const LONG: Duration = Duration::from_millis(500);
    const SHORT: Duration = Duration::from_millis(200);
}
