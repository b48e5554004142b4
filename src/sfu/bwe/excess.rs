//! How much more is sent than passes: the bytes that were sent in a moment, against the time that the path took for what
//! arrived of them. Packet path.
//!
//! A queue that grows by a second each second and the loss of every other packet both say that twice as much is sent as
//! passes. The trend of the delay tells the first of them alone, and late where few packets arrive; a full queue grows no
//! more. Losses without a queue say nothing here: they may be a radio link's.

use std::time::Duration;

use super::history::Status;
use crate::Bitrate;

/// The last moments of sending, by the times of sending.
#[derive(Debug)]
pub(super) struct Excess {
    slots: [Slot; SLOTS],
    /// The newest slot, counted from the clock's start.
    newest: i64,
    /// The newest one in which a probe was sent.
    probed: Option<i64>,
}

/// What was sent in one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    sent: u32,
    arrived: u32,
    /// How long the last packet that arrived took, by two clocks.
    delay_us: Option<i64>,
}

impl Excess {
    pub(super) const fn new() -> Self {
        Self { slots: [Slot { sent: 0, arrived: 0, delay_us: None }; SLOTS], newest: 0, probed: None }
    }

    /// Takes what feedback says of one packet.
    pub(super) fn handle_status(&mut self, status: &Status, arrival: Option<Option<i64>>) {
        let slot = status.sent_us.div_euclid(SLOT_US);
        let ahead = slot.saturating_sub(self.newest);
        for step in 1..=ahead.min(SLOTS as i64) {
            let cleared = slot.saturating_sub(ahead.min(SLOTS as i64)).saturating_add(step);
            if let Some(place) = self.slots.get_mut(index(cleared)) {
                *place = Slot::default();
            }
        }
        self.newest = self.newest.max(slot);
        if self.newest.saturating_sub(slot) >= SLOTS as i64 {
            return;
        }
        if status.cluster.is_some() {
            self.probed = self.probed.max(Some(slot));
        }
        let Some(place) = self.slots.get_mut(index(slot)) else { return };
        let size = u32::from(status.size);
        if !status.was_lost {
            place.sent = place.sent.saturating_add(size);
        }
        if let Some(arrival) = arrival {
            place.arrived = place.arrived.saturating_add(size);
            place.delay_us =
                arrival.map(|arrival_us| arrival_us.saturating_sub(status.sent_us)).or(place.delay_us);
        }
    }

    /// Returns which part of what is sent passes, where that is far less than all of it. `queue` is the path's, without
    /// what jitter makes of it; who sends much less than its estimate has no part in it, and a probe
    /// sends more than passes on purpose.
    pub(super) fn choked(&self, queue: Duration, estimate: Bitrate) -> Option<f64> {
        let probes = self.probed.is_some_and(|slot| self.newest.saturating_sub(slot) < SLOTS as i64);
        if queue <= QUEUE || probes {
            return None;
        }
        let (sent, passed) = self.rates().filter(|_| !self.has_hole())?;
        let is_choked = sent > estimate.scaled(OURS) && sent > passed.scaled(FACTOR);
        is_choked.then(|| passed.as_bps() as f64 / sent.as_bps() as f64)
    }

    /// Says whether nothing at all arrived for a while: a path that is full still passes a part, a radio link may not.
    fn has_hole(&self) -> bool {
        let (mut run, mut longest) = (0_usize, 0);
        for slot in self.last().filter(|slot| slot.sent > 0) {
            run = if slot.arrived == 0 { run.saturating_add(1) } else { 0 };
            longest = longest.max(run);
        }
        longest >= HOLE_SLOTS
    }

    /// Returns what was sent and what of it passed, as rates, over the last slots.
    fn rates(&self) -> Option<(Bitrate, Bitrate)> {
        let (sent, arrived) = self.last().fold((0_u64, 0_u64), |(sent, arrived), slot| {
            (sent.saturating_add(u64::from(slot.sent)), arrived.saturating_add(u64::from(slot.arrived)))
        });
        let mut delays = self.last().filter_map(|slot| slot.delay_us);
        let last = delays.next()?;
        let first = delays.next_back()?;
        let span_us = (SLOTS as i64 - 1) * SLOT_US;
        let took_us = span_us.saturating_add(last.saturating_sub(first)).max(span_us / 4);
        let of = |bytes, us: i64| Bitrate::of(bytes, Duration::from_micros(us.unsigned_abs()));
        Some((of(sent, span_us), of(arrived, took_us)))
    }

    /// Gives the slots that are over, newest first.
    fn last(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        (1..SLOTS as i64).filter_map(|back| self.slots.get(index(self.newest.saturating_sub(back))))
    }
}

fn index(slot: i64) -> usize {
    usize::try_from(slot.rem_euclid(SLOTS as i64)).unwrap_or_default()
}

/// Nearly a quarter of a second: shorter, a keyframe that is spread over the path is too much of it; longer, a path that
/// has become slow is told of late.
const SLOT_US: i64 = 25_000;
const SLOTS: usize = 10;

/// Where something is sent in so many of them in a row, a path that is full passes a part.
const HOLE_SLOTS: usize = 3;

/// Without a queue of this, losses are not the path's for being full.
const QUEUE: Duration = Duration::from_millis(60);

/// So many times what passes is far more: keyframes and probes send a little more than the path carries for a moment.
const FACTOR: f64 = 1.75;

/// Who sends less than this part of its estimate has not filled the path, and yields to others in another way.
const OURS: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_grows_as_fast_as_time_goes_passes_half() {
        let mut excess = Excess::new();

        send(&mut excess, |ms| Some(ms * 1_000));

        let part = excess.choked(LONG, RATE).unwrap();
        assert!((0.45..0.55).contains(&part), "{part}");
    }

    #[test]
    fn a_full_queue_that_loses_every_other_packet_passes_half() {
        let mut excess = Excess::new();

        send(&mut excess, |ms| (ms % 20 == 0).then_some(200_000));

        let part = excess.choked(LONG, RATE).unwrap();
        assert!((0.45..0.55).contains(&part), "{part}");
    }

    #[test]
    fn losses_without_a_queue_and_a_queue_without_losses_choke_nobody() {
        let mut lossy = Excess::new();
        send(&mut lossy, |ms| (ms % 20 == 0).then_some(0));
        let mut standing = Excess::new();
        send(&mut standing, |_| Some(200_000));

        assert_eq!(lossy.choked(Duration::from_millis(40), RATE), None);
        assert_eq!(standing.choked(LONG, RATE), None);
    }

    #[test]
    fn a_moment_in_which_nothing_comes_chokes_nobody_as_a_full_path_passes_a_part() {
        let mut cut = Excess::new();
        send(&mut cut, |ms| (!(200..300).contains(&ms)).then_some(200_000 + ms * 500));
        let mut full = Excess::new();
        send(&mut full, |ms| (!(200..300).contains(&ms) || ms % 50 == 0).then_some(200_000 + ms * 500));

        assert_eq!(cut.choked(LONG, RATE), None);
        assert!(full.choked(LONG, RATE).is_some());
    }

    #[test]
    fn a_probe_chokes_nobody() {
        let mut excess = Excess::new();
        send(&mut excess, |ms| Some(ms * 1_000));

        let cluster = super::super::Cluster::from_number(1);
        excess.handle_status(&Status { cluster, ..status(200_000) }, Some(Some(400_000)));

        assert_eq!(excess.choked(LONG, RATE), None);
    }

    #[test]
    fn who_sends_a_third_of_its_estimate_is_choked_by_others() {
        let mut excess = Excess::new();

        send(&mut excess, |ms| Some(ms * 1_000));

        assert_eq!(excess.choked(LONG, RATE.scaled(3.0)), None);
    }

    #[test]
    fn a_packet_that_is_repaired_late_or_very_old_counts_once() {
        let mut excess = Excess::new();
        send(&mut excess, |ms| (ms % 20 == 0).then_some(0));
        let before = excess.rates().unwrap();

        excess.handle_status(&status(400_000 - SLOT_US * SLOTS as i64 * 2), Some(Some(500_000)));
        excess.handle_status(&Status { was_lost: true, ..status(150_000) }, Some(Some(150_000)));

        let after = excess.rates().unwrap();
        assert_eq!(after.0, before.0);
        assert!(after.1 > before.1);
    }

    const LONG: Duration = Duration::from_millis(200);
    const RATE: Bitrate = Bitrate::from_kbps(800);

    /// Sends 1,000 bytes each ten milliseconds for 400 ms; `delay_us` says how long the path takes for them.
    fn send(excess: &mut Excess, delay_us: impl Fn(i64) -> Option<i64>) {
        for ms in (0..400).step_by(10) {
            let arrival = delay_us(ms).map(|delay_us| Some(ms * 1_000 + delay_us));
            excess.handle_status(&status(ms * 1_000), arrival);
        }
    }

    fn status(sent_us: i64) -> Status {
        Status { sent_us, size: 1_000, run: 0, cluster: None, was_lost: false }
    }
}
