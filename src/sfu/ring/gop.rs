//! Where the newest group of pictures in a ring begins, how much of it is there, and when the next one is due.
//!
//! Packet path. Told once of each packet, in any order, so that nobody has to search a ring when a viewer joins.

use std::time::Duration;

use rtp::{Codec, ExtSeq, MonoTime, RtpTimestamp};

use super::temporal::{Tally, Temporal};
use crate::packet::Packet;

/// The newest group of pictures: a keyframe and everything since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gop {
    /// The packet that was recognised as the keyframe's; parameter sets of the same frame may lie before it.
    pub keyframe: ExtSeq,
    /// The keyframe's timestamp.
    pub timestamp: RtpTimestamp,
    /// When that packet arrived.
    pub arrival: MonoTime,
    /// The last packet up to which none is missing since the keyframe.
    pub whole: ExtSeq,
}

/// What is known of a ring's groups of pictures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tracker {
    newest: Option<ExtSeq>,
    gop: Option<Gop>,
    /// The distances of the last keyframes, newest first.
    intervals: [Option<Duration>; 2],
    tally: Tally,
}

impl Tracker {
    /// Takes note of a packet that is in the ring. `packet` gives packets of that ring.
    pub(super) fn note<'a>(&mut self, stored: &Packet, packet: impl Fn(ExtSeq) -> Option<&'a Packet>) {
        self.newest = self.newest.max(Some(stored.seq));
        if stored.descriptor.keyframe && stored.descriptor.frame_start {
            self.note_keyframe(stored);
        }
        self.tally.add(stored);
        let Some(gop) = &mut self.gop else { return };
        // Amortised: each packet is passed once.
        while packet(gop.whole.plus(1)).is_some() {
            gop.whole = gop.whole.plus(1);
        }
    }

    fn note_keyframe(&mut self, stored: &Packet) {
        let fresh = Gop {
            keyframe: stored.seq,
            timestamp: stored.timestamp,
            arrival: stored.arrival,
            whole: stored.seq,
        };
        match &mut self.gop {
            Some(known) if known.timestamp == stored.timestamp => {
                known.keyframe = known.keyframe.min(stored.seq);
            }
            Some(known) if stored.seq < known.keyframe => {}
            Some(known) => {
                let [last, _] = self.intervals;
                self.intervals = [Some(stored.arrival.since(known.arrival)), last];
                *known = fresh;
            }
            None => self.gop = Some(fresh),
        }
    }

    pub(super) const fn newest(&self) -> Option<ExtSeq> {
        self.newest
    }

    pub(super) fn temporal(&self) -> Temporal {
        self.tally.temporal()
    }

    pub(super) const fn gop(&self) -> Option<&Gop> {
        self.gop.as_ref()
    }

    /// Returns when the next keyframe should come, if the last ones came at regular distances.
    pub(super) fn next_keyframe(&self) -> Option<MonoTime> {
        let [Some(last), Some(before)] = self.intervals else { return None };
        let tolerance = (last / TOLERANCE_SHARE).max(TOLERANCE_MIN);
        let gop = self.gop.filter(|_| last.abs_diff(before) <= tolerance)?;
        Some(gop.arrival + last)
    }
}

/// Says whether the packet before a keyframe's start is missing where it may hold the parameter sets that a
/// decoder needs first.
pub(crate) fn lacks_beginning<'a>(packet: impl Fn(ExtSeq) -> Option<&'a Packet>, start: ExtSeq) -> bool {
    let needs_parameters = packet(start).is_some_and(|packet| {
        matches!(packet.codec, Codec::H264 | Codec::H265) && packet.descriptor.size.is_none()
    });
    needs_parameters && packet(ExtSeq(start.0.saturating_sub(1))).is_none()
}

/// Walks back from a keyframe's packet to the first one of its frame: an H.264 keyframe begins with a delimiter
/// or parameter sets, and packets may have changed places on the way.
pub(crate) fn frame_start<'a>(packet: impl Fn(ExtSeq) -> Option<&'a Packet>, keyframe: ExtSeq) -> ExtSeq {
    let Some(first) = packet(keyframe) else { return keyframe };
    let mut start = keyframe;
    for _ in 0..WALK_MAX {
        let before = ExtSeq(start.0.saturating_sub(1));
        match packet(before) {
            Some(earlier) if earlier.timestamp == first.timestamp && !earlier.is_padding() => start = before,
            _ => break,
        }
    }
    start
}

/// Delimiter, parameter sets and supplements of one keyframe, with room.
const WALK_MAX: usize = 16;
/// Two distances of keyframes are regular when they differ by at most this share of them, or by the least.
const TOLERANCE_SHARE: u32 = 20;
/// Jitter of the path and of the encoder.
const TOLERANCE_MIN: Duration = Duration::from_millis(50);
