//! What was sent lately: transport-wide number to time, size, run and probe. Packet path.
//!
//! A ring of 8-byte slots, indexed by the low bits of the unwrapped number. A slot is valid while its number lies
//! within [`HISTORY`] of the highest sent. Feedback may name any number at any time: what was never sent, has left
//! the ring, or was acknowledged before is told apart and changes nothing.

use rtp::{ExtSeq, MonoTime, SeqNo, SeqUnwrapper};

use super::{Cluster, Sent};

/// How many packets are remembered: 3.6 s of a usual viewer, a second of 10 Mbit/s, which is a long round trip and the
/// time that feedback gathers; 8 KiB. It is most of what a viewer takes.
pub(super) const HISTORY: usize = 1_024;

/// How many slots a line of the cache holds, and of how many lines a report mostly speaks: a tenth of a second.
const SLOTS_PER_LINE: u64 = 8;
const REPORTED_LINES: u64 = 4;

/// The ring.
#[derive(Debug)]
pub(super) struct History {
    slots: Vec<Slot>,
    unwrapper: SeqUnwrapper,
    /// The lowest number ever sent: a peer cannot acknowledge the time before.
    first: Option<ExtSeq>,
}

/// A packet that feedback spoke of for the first time, or that it called lost before and received now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// When it was sent, in microseconds of the server's clock.
    pub(super) sent_us: i64,
    /// Bytes on the wire.
    pub(super) size: u16,
    /// The low bits of the run that carried it: neighbours with one value went out together.
    pub(super) run: u8,
    /// The probe that it belongs to.
    pub(super) cluster: Option<Cluster>,
    /// Whether an earlier feedback said that it was lost.
    pub(super) was_lost: bool,
}

/// What one status of a feedback packet means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// News about a packet.
    News(Status),
    /// Known already.
    Known,
    /// Left the ring, or was never sent under this number.
    Stale,
    /// Higher than what was sent: the peer lies or is confused.
    Future,
}

impl History {
    /// The bytes of the ring.
    pub(super) const FOOTPRINT: usize = HISTORY * size_of::<Slot>();

    pub(super) fn new() -> Self {
        Self { slots: vec![Slot::EMPTY; HISTORY], unwrapper: SeqUnwrapper::new(), first: None }
    }

    /// Remembers a packet. Numbers rise by one; what a caller skips is marked as never sent.
    pub(super) fn insert(&mut self, now: MonoTime, sent: &Sent) {
        let before = self.unwrapper.highest();
        let seq = self.unwrapper.unwrap(sent.seq);
        self.first.get_or_insert(seq);
        if let Some(before) = before
            && seq > before
        {
            let skipped = seq.since(before).saturating_sub(1).min(HISTORY as u64);
            for distance in 1..=skipped {
                self.set(ExtSeq(seq.0.saturating_sub(distance)), Slot::EMPTY);
            }
        }
        self.set(seq, Slot::new(now, sent));
    }

    /// Reads where the next packet will be noted; see [`crate::viewer::Viewer::warm`].
    pub(super) fn warm(&self) -> u64 {
        let next = self.unwrapper.highest().map_or(0, |seq| seq.0.wrapping_add(1));
        let at = usize::try_from(next % HISTORY as u64).unwrap_or_default();
        self.slots.get(at).map_or(0, |slot| u64::from(slot.packed)) ^ u64::from(self.first.is_some())
    }

    /// Reads where the newest packets were noted, of which feedback speaks.
    pub(super) fn warm_report(&self) -> u64 {
        let highest = self.unwrapper.highest().map_or(0, |seq| seq.0);
        let newest = (0..REPORTED_LINES).map(|line| highest.wrapping_sub(line * SLOTS_PER_LINE));
        newest.fold(0, |read, seq| {
            let at = usize::try_from(seq % HISTORY as u64).unwrap_or_default();
            read ^ self.slots.get(at).map_or(0, |slot| u64::from(slot.packed))
        })
    }

    /// Notes what feedback says of a number.
    pub(super) fn acknowledge(&mut self, now: MonoTime, wire: SeqNo, received: bool) -> Lookup {
        let (Some(highest), Some(first)) = (self.unwrapper.highest(), self.first) else {
            return Lookup::Future;
        };
        let seq = self.unwrapper.peek(wire);
        if seq > highest {
            return Lookup::Future;
        }
        if seq < first || highest.since(seq) >= HISTORY as u64 {
            return Lookup::Stale;
        }
        let Some(slot) = self.slot(seq) else { return Lookup::Stale };
        let state = slot.state();
        match (state, received) {
            (EMPTY, _) => Lookup::Stale,
            (IN_FLIGHT, _) | (LOST, true) => {
                slot.set_state(if received { RECEIVED } else { LOST });
                Lookup::News(slot.status(now, state == LOST))
            }
            _ => Lookup::Known,
        }
    }

    fn slot(&mut self, seq: ExtSeq) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(seq.0 % HISTORY as u64).unwrap_or_default())
    }

    fn set(&mut self, seq: ExtSeq, value: Slot) {
        if let Some(slot) = self.slot(seq) {
            *slot = value;
        }
    }
}

/// Eight bytes: the low 32 bits of the sending time in microseconds, and size, run, cluster and state.
#[derive(Clone, Copy, Debug)]
struct Slot {
    sent_us: u32,
    packed: u32,
}

impl Slot {
    const EMPTY: Self = Self { sent_us: 0, packed: EMPTY };

    fn new(now: MonoTime, sent: &Sent) -> Self {
        let size = u32::from(sent.size.min(SIZE_MAX));
        let run = u32::from(sent.run & 0xff);
        let cluster = sent.probe.map_or(0, |cluster| u32::from(cluster.number()));
        Self {
            sent_us: (micros(now) & 0xffff_ffff) as u32,
            packed: IN_FLIGHT | (cluster << CLUSTER_SHIFT) | (run << RUN_SHIFT) | (size << SIZE_SHIFT),
        }
    }

    const fn state(self) -> u32 {
        self.packed & STATE_MASK
    }

    const fn set_state(&mut self, state: u32) {
        self.packed = (self.packed & !STATE_MASK) | state;
    }

    fn status(self, now: MonoTime, was_lost: bool) -> Status {
        let now_us = micros(now);
        let age = ((now_us & 0xffff_ffff) as u32).wrapping_sub(self.sent_us);
        Status {
            sent_us: now_us.saturating_sub(i64::from(age)),
            size: (self.packed >> SIZE_SHIFT) as u16 & SIZE_MAX,
            run: (self.packed >> RUN_SHIFT & 0xff) as u8,
            cluster: Cluster::from_number((self.packed >> CLUSTER_SHIFT & CLUSTER_MASK) as u8),
            was_lost,
        }
    }
}

/// Returns an instant in microseconds.
pub(super) fn micros(at: MonoTime) -> i64 {
    i64::try_from(at.as_nanos() / 1_000).unwrap_or(i64::MAX)
}

const STATE_MASK: u32 = 3;
const EMPTY: u32 = 0;
const IN_FLIGHT: u32 = 1;
const LOST: u32 = 2;
const RECEIVED: u32 = 3;
const CLUSTER_SHIFT: u32 = 2;
const CLUSTER_MASK: u32 = 0x1f;
const RUN_SHIFT: u32 = 7;
const SIZE_SHIFT: u32 = 15;
/// A datagram is at most 1,500 bytes.
const SIZE_MAX: u16 = 0x7ff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_comes_back_as_it_was_sent() {
        let mut history = History::new();
        let cluster = Cluster::from_number(31);
        let sent = Sent { seq: SeqNo(65_535), size: 1_234, run: 0x1ff, probe: cluster };
        history.insert(MonoTime::from_millis(5_000_000), &sent);

        let lookup = history.acknowledge(MonoTime::from_millis(5_000_100), SeqNo(65_535), true);

        let expected = Status { sent_us: 5_000_000_000, size: 1_234, run: 0xff, cluster, was_lost: false };
        assert_eq!(lookup, Lookup::News(expected));
    }

    #[test]
    fn a_packet_is_news_once_and_once_more_when_it_comes_after_all() {
        let mut history = sent(10);

        assert!(matches!(history.acknowledge(NOW, SeqNo(3), false), Lookup::News(_)));
        assert_eq!(history.acknowledge(NOW, SeqNo(3), false), Lookup::Known);
        let late = history.acknowledge(NOW, SeqNo(3), true);
        assert!(matches!(late, Lookup::News(Status { was_lost: true, .. })));
        assert_eq!(history.acknowledge(NOW, SeqNo(3), true), Lookup::Known);
        assert_eq!(history.acknowledge(NOW, SeqNo(3), false), Lookup::Known);
    }

    #[test]
    fn numbers_that_were_never_sent_are_told_apart() {
        let mut history = sent(10);
        history.insert(NOW, &packet(12));

        assert_eq!(history.acknowledge(NOW, SeqNo(13), true), Lookup::Future);
        assert_eq!(history.acknowledge(NOW, SeqNo(30_000), true), Lookup::Future);
        assert_eq!(history.acknowledge(NOW, SeqNo(40_000), true), Lookup::Stale);
        assert_eq!(history.acknowledge(NOW, SeqNo(11), true), Lookup::Stale);
        assert_eq!(History::new().acknowledge(NOW, SeqNo(0), true), Lookup::Future);
    }

    #[test]
    fn a_number_that_left_the_ring_is_stale() {
        let mut history = sent(HISTORY as u16 + 5);

        assert_eq!(history.acknowledge(NOW, SeqNo(4), true), Lookup::Stale);
        assert!(matches!(history.acknowledge(NOW, SeqNo(5), true), Lookup::News(_)));
    }

    const NOW: MonoTime = MonoTime::from_millis(100);

    fn sent(count: u16) -> History {
        let mut history = History::new();
        (0..count).for_each(|seq| history.insert(NOW, &packet(seq)));
        history
    }

    fn packet(seq: u16) -> Sent {
        Sent { seq: SeqNo(seq), size: 1_200, run: seq / 4, probe: None }
    }
}
