//! When the first keyframe is complete: the moment at which a player shows its first picture.

use rtp::{Codec, ExtSeq, RtpTimestamp, SeqNo, SeqUnwrapper, payload};

/// Watches the opened packets of one track until a keyframe is complete.
#[derive(Debug, Default)]
pub(super) struct FirstKeyframe {
    unwrapper: SeqUnwrapper,
    candidate: Option<Candidate>,
    complete: bool,
}

#[derive(Debug)]
struct Candidate {
    timestamp: RtpTimestamp,
    first: ExtSeq,
    last: Option<ExtSeq>,
    /// What arrived of it, in any order.
    arrived: Vec<ExtSeq>,
}

/// The header of an opened packet, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened<'a> {
    pub(super) seq: SeqNo,
    pub(super) timestamp: RtpTimestamp,
    pub(super) marker: bool,
    pub(super) payload: &'a [u8],
}

impl FirstKeyframe {
    /// Says whether a keyframe was complete.
    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Notes a packet; `true` once, when it completes the first keyframe.
    pub(super) fn note(&mut self, codec: Codec, packet: Opened<'_>) -> bool {
        if self.complete {
            return false;
        }
        let seq = self.unwrapper.unwrap(packet.seq);
        let begins = payload::describe(codec, packet.payload).is_ok_and(|descriptor| descriptor.keyframe);
        self.begin(seq, packet.timestamp, begins);
        let Some(candidate) = &mut self.candidate else { return false };
        if candidate.timestamp != packet.timestamp {
            return false;
        }
        if !candidate.arrived.contains(&seq) && candidate.arrived.len() < PACKETS_MAX {
            candidate.arrived.push(seq);
        }
        if packet.marker {
            candidate.last = Some(seq);
        }
        self.complete = candidate.is_complete();
        self.complete
    }

    fn begin(&mut self, seq: ExtSeq, timestamp: RtpTimestamp, begins: bool) {
        match &mut self.candidate {
            // Parameter sets and the picture's first slice each say that they begin it.
            Some(candidate) if begins && candidate.timestamp == timestamp => {
                candidate.first = candidate.first.min(seq);
            }
            candidate if begins => {
                *candidate = Some(Candidate { timestamp, first: seq, last: None, arrived: Vec::new() });
            }
            _ => {}
        }
    }
}

impl Candidate {
    fn is_complete(&self) -> bool {
        let Some(last) = self.last else { return false };
        let expected = last.since(self.first).saturating_add(1);
        let arrived = self.arrived.iter().filter(|seq| (self.first..=last).contains(*seq)).count();
        u64::try_from(arrived).is_ok_and(|arrived| arrived >= expected)
    }
}

/// Some megabytes.
const PACKETS_MAX: usize = 4_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// First and later packets of VP8 frames: start of the first partition, keyframe or not.
    const KEY: &[u8] = &[0x10, 0x50, 0x52, 0x00, 0x9d, 0x01, 0x2a, 0x42, 0x01, 0xb6, 0x00];
    const DELTA: &[u8] = &[0x10, 0x31, 0x9d];
    const MORE: &[u8] = &[0x00, 0x31, 0x9d];

    fn note(watch: &mut FirstKeyframe, seq: u16, timestamp: u32, marker: bool, payload: &[u8]) -> bool {
        let timestamp = RtpTimestamp(timestamp);
        watch.note(Codec::Vp8, Opened { seq: SeqNo(seq), timestamp, marker, payload })
    }

    #[test]
    fn the_last_packet_of_a_keyframe_completes_it_whatever_the_order() {
        let mut watch = FirstKeyframe::default();

        assert!(!note(&mut watch, 5, 90, false, DELTA));
        assert!(!note(&mut watch, 6, 180, false, KEY));
        assert!(!note(&mut watch, 8, 180, true, MORE));
        assert!(note(&mut watch, 7, 180, false, MORE));

        assert!(watch.is_complete());
        assert!(!note(&mut watch, 9, 270, true, KEY), "once");
    }

    #[test]
    fn a_keyframe_with_a_hole_is_not_complete_and_the_next_one_counts() {
        let mut watch = FirstKeyframe::default();
        note(&mut watch, 6, 180, false, KEY);
        note(&mut watch, 8, 180, true, MORE);

        assert!(!note(&mut watch, 9, 270, true, DELTA));
        assert!(note(&mut watch, 10, 360, true, KEY));
    }

    #[test]
    fn other_frames_never_complete() {
        let mut watch = FirstKeyframe::default();

        assert!((0..200).all(|seq| !note(&mut watch, seq, u32::from(seq), true, DELTA)));
        assert!(!watch.is_complete());
    }

    #[test]
    fn parameter_sets_belong_to_the_keyframe_that_follows() {
        let mut watch = FirstKeyframe::default();
        let mut note = |seq: u16, marker, payload: &[u8]| {
            let packet = Opened { seq: SeqNo(seq), timestamp: RtpTimestamp(1), marker, payload };
            watch.note(Codec::H264, packet)
        };

        assert!(!note(3, false, &[0x67, 0x42, 0x00]));
        assert!(!note(5, true, &[0x65, 0x88, 0x84]), "the picture parameters are missing");
        assert!(note(4, false, &[0x68, 0xce]));
    }
}
