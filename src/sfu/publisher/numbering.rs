//! One unbroken numbering of a layer, whatever its publisher does to the numbers on the wire. Packet path.
//!
//! Sequence numbers are unwrapped around the highest one seen. When the source changes (another SSRC takes the
//! layer) or leaps (RFC 3550 appendix A.1: two packets in a row far from the others), the next packet follows
//! the highest one directly, and timestamps go on as time has gone on. Viewers therefore never see a publisher's
//! restart within a session.

use std::time::Duration;

use rtp::{ExtSeq, MonoTime, RtpTimestamp, SeqNo};

use crate::drop_reason::DropReason;

/// Beyond this distance from the highest number a packet is no longer late or after loss (RFC 3550 appendix A.1,
/// `MAX_DROPOUT`).
const LEAP: i16 = 3_000;

/// Beyond this difference from the passing of time, a timestamp after a restart belongs to another time line.
const TIMELINE_TOLERANCE: Duration = Duration::from_secs(1);

/// A packet's number and time in the layer's own numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: ExtSeq,
    pub(super) timestamp: RtpTimestamp,
    /// True when no packet of the layer has a higher number.
    pub(super) newest: bool,
    /// True for the first packet after the source changed or leapt.
    pub(super) restarted: bool,
}

/// The highest packet so far, from which all others are counted.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    wire: SeqNo,
    seq: ExtSeq,
    timestamp: RtpTimestamp,
    at: MonoTime,
}

/// The numbering of one layer.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    anchor: Option<Anchor>,
    /// What is added to timestamps on the wire.
    timestamp_offset: u32,
    /// The next packet begins another source.
    restart: bool,
    /// The number that would confirm a leap.
    leap: Option<SeqNo>,
    /// The first number of the present source; the holes below it are another's.
    floor: ExtSeq,
}

impl Numbering {
    /// Places a packet of the media source.
    ///
    /// # Errors
    /// When it leaps and nothing has confirmed the leap yet, or lies before the source's first packet and would
    /// fill a hole that another source left.
    pub(super) fn place(&mut self, now: MonoTime, wire: Wire) -> Result<Place, DropReason> {
        let Some(anchor) = self.anchor else {
            return Ok(self.begin(now, wire, ExtSeq((1 << 16) | u64::from(wire.seq.0))));
        };
        let distance = wire.seq.distance(anchor.wire);
        let leaps = !(-LEAP..=LEAP).contains(&distance);
        if self.restart || (leaps && self.leap == Some(wire.seq)) {
            self.continue_timeline(now, anchor, wire);
            self.floor = anchor.seq.plus(1);
            let place = self.begin(now, wire, self.floor);
            return Ok(Place { restarted: true, ..place });
        }
        if leaps {
            self.leap = Some(wire.seq.plus(1));
            return Err(DropReason::SequenceLeap);
        }
        self.leap = None;
        let seq = ExtSeq(anchor.seq.0.saturating_add_signed(i64::from(distance)));
        if distance > 0 {
            return Ok(self.begin(now, wire, seq));
        }
        if seq < self.floor {
            return Err(DropReason::TooOld);
        }
        Ok(Place { seq, timestamp: self.timestamp(wire.timestamp), newest: false, restarted: false })
    }

    /// Places a packet that a retransmission brought.
    ///
    /// # Errors
    /// Before the first packet of the media source, and when it lies too far from the newest one to be told from
    /// an older cycle.
    pub(super) fn place_repaired(&self, wire: Wire) -> Result<Place, DropReason> {
        let anchor = self.anchor.filter(|_| !self.restart).ok_or(DropReason::UnknownRtx)?;
        let distance = wire.seq.distance(anchor.wire);
        let seq = ExtSeq(anchor.seq.0.saturating_add_signed(i64::from(distance)));
        if !(-LEAP..=LEAP).contains(&distance) || seq < self.floor {
            return Err(DropReason::TooOld);
        }
        Ok(Place { seq, timestamp: self.timestamp(wire.timestamp), newest: distance > 0, restarted: false })
    }

    /// Makes the next packet follow the highest one, because another source takes the layer.
    pub(super) const fn restart(&mut self) {
        self.restart = self.anchor.is_some();
        self.leap = None;
    }

    /// Returns the number on the wire of a packet of the present source.
    pub(super) fn wire(&self, seq: ExtSeq) -> SeqNo {
        // Both numberings advance together, so their distance is the same for every packet of one source.
        self.anchor.map_or_else(
            || seq.wire(),
            |anchor| SeqNo(anchor.wire.0.wrapping_add(seq.wire().0.wrapping_sub(anchor.seq.wire().0))),
        )
    }

    /// Returns a timestamp of the present source in the layer's own time line.
    pub(super) const fn timestamp(&self, wire: RtpTimestamp) -> RtpTimestamp {
        wire.plus(self.timestamp_offset)
    }

    /// Takes the packet as the highest one.
    fn begin(&mut self, now: MonoTime, wire: Wire, seq: ExtSeq) -> Place {
        let timestamp = self.timestamp(wire.timestamp);
        self.anchor = Some(Anchor { wire: wire.seq, seq, timestamp, at: now });
        self.restart = false;
        self.leap = None;
        Place { seq, timestamp, newest: true, restarted: false }
    }

    /// Moves the timestamp offset so that time goes on as it has passed, unless the source kept its time line.
    fn continue_timeline(&mut self, now: MonoTime, anchor: Anchor, wire: Wire) {
        let passed = ticks(now.since(anchor.at), wire.clock_rate);
        let expected = anchor.timestamp.plus(passed);
        let error = self.timestamp(wire.timestamp).distance(expected).unsigned_abs();
        if error > ticks(TIMELINE_TOLERANCE, wire.clock_rate) {
            self.timestamp_offset = expected.0.wrapping_sub(wire.timestamp.0);
        }
    }
}

/// A packet's numbers on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    pub(super) seq: SeqNo,
    pub(super) timestamp: RtpTimestamp,
    /// Timestamp ticks a second.
    pub(super) clock_rate: u32,
}

/// Returns a duration in timestamp ticks; wraps as timestamps do.
fn ticks(duration: Duration, clock_rate: u32) -> u32 {
    let ticks = duration.as_nanos().saturating_mul(u128::from(clock_rate)) / 1_000_000_000;
    u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_by_one_across_the_wrap() {
        let mut numbering = Numbering::default();

        let before = numbering.place(at(0), wire(65_535, 0)).unwrap();
        let after = numbering.place(at(10), wire(0, 900)).unwrap();
        let late = numbering.place(at(11), wire(65_534, 0)).unwrap();

        assert_eq!(after.seq, before.seq.plus(1));
        assert_eq!(before.seq.since(late.seq), 1);
        assert!(after.newest && !late.newest);
    }

    #[test]
    fn another_source_follows_the_highest_packet_in_number_and_in_time() {
        let mut numbering = Numbering::default();
        let last = numbering.place(at(0), wire(500, 90_000)).unwrap();

        numbering.restart();
        let first = numbering.place(at(100), wire(40_000, 3_000_000_000)).unwrap();
        let second = numbering.place(at(133), wire(40_001, 3_000_003_000)).unwrap();

        assert!(first.restarted && !second.restarted);
        assert_eq!((first.seq, second.seq), (last.seq.plus(1), last.seq.plus(2)));
        assert_eq!(first.timestamp, RtpTimestamp(90_000 + 9_000));
        assert_eq!(second.timestamp, RtpTimestamp(90_000 + 12_000));
        assert_eq!(numbering.wire(second.seq), SeqNo(40_001));
    }

    #[test]
    fn late_packet_of_another_source_does_not_fill_the_holes_of_the_last() {
        let mut numbering = Numbering::default();
        numbering.place(at(0), wire(500, 0)).unwrap();

        numbering.restart();
        numbering.place(at(1), wire(41, 0)).unwrap();

        assert_eq!(numbering.place(at(2), wire(40, 0)), Err(DropReason::TooOld));
        assert_eq!(numbering.place_repaired(wire(39, 0)), Err(DropReason::TooOld));
    }

    #[test]
    fn source_that_keeps_its_time_line_keeps_its_timestamps() {
        let mut numbering = Numbering::default();
        numbering.place(at(0), wire(500, 90_000)).unwrap();

        numbering.restart();
        let first = numbering.place(at(2_000), wire(7, 90_000 + 180_500)).unwrap();

        assert_eq!(first.timestamp, RtpTimestamp(90_000 + 180_500));
    }

    #[test]
    fn one_stray_number_is_refused_and_two_in_a_row_are_followed() {
        let mut numbering = Numbering::default();
        let last = numbering.place(at(0), wire(100, 0)).unwrap();

        assert_eq!(numbering.place(at(1), wire(20_000, 0)), Err(DropReason::SequenceLeap));
        assert_eq!(numbering.place(at(2), wire(101, 0)).unwrap().seq, last.seq.plus(1));
        assert_eq!(numbering.place(at(3), wire(20_001, 0)), Err(DropReason::SequenceLeap));
        let followed = numbering.place(at(4), wire(20_002, 0)).unwrap();

        assert!(followed.restarted);
        assert_eq!(followed.seq, last.seq.plus(2));
    }

    #[test]
    fn repaired_packet_takes_the_place_that_its_original_had() {
        let mut numbering = Numbering::default();
        let first = numbering.place(at(0), wire(65_534, 0)).unwrap();
        numbering.place(at(1), wire(1, 0)).unwrap();

        let repaired = numbering.place_repaired(wire(65_535, 0)).unwrap();

        assert_eq!(repaired.seq, first.seq.plus(1));
        assert_eq!(numbering.place_repaired(wire(30_000, 0)), Err(DropReason::TooOld));
        assert_eq!(numbering.wire(repaired.seq), SeqNo(65_535));
    }

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_millis(millis)
    }

    fn wire(seq: u16, timestamp: u32) -> Wire {
        Wire { seq: SeqNo(seq), timestamp: RtpTimestamp(timestamp), clock_rate: 90_000 }
    }
}
