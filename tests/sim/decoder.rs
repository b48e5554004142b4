//! From packets to pictures: which frames are whole, and which of them a decoder can use.
//!
//! A frame is whole when its first packet, its last (the marker) and all between are there. It can be decoded when
//! what it refers to was: for VP8 (RFC 7741 §4.2) a keyframe refers to nothing, a frame of the base temporal layer to
//! the one before it by TL0PICIDX, a layer sync to the base frame of its own TL0PICIDX, any other frame to the
//! picture before it. What is undecodable waits for repair; once a later frame can be decoded and has waited for
//! [`PATIENCE_US`], the missing ones are given up, as a jitter buffer does whose time has come.

use std::collections::BTreeMap;

use crate::wire::{Stamp, Vp8};

/// How long a whole, decodable frame waits for missing ones before it.
const PATIENCE_US: u64 = 100_000;
/// Packets that are kept (libwebrtc's packet buffer).
const PACKETS_MAX: usize = 2_048;

/// A media packet as the decoder's side sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    /// `None` for padding alone.
    pub(crate) content: Option<(Vp8, Stamp)>,
}

/// A picture that was shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// When, in microseconds.
    pub at_us: u64,
    /// The layer that it was made in.
    pub layer: u8,
    /// The camera's count.
    pub frame: u32,
    /// Whether it was a keyframe.
    pub keyframe: bool,
    /// Its place on the outgoing time line.
    pub timestamp: u32,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    last: u64,
    timestamp: u32,
    vp8: Vp8,
    stamp: Stamp,
    whole_us: u64,
}

/// The jitter buffer and the decoder behind it.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    pieces: BTreeMap<u64, Piece>,
    /// Whole frames by their first packet.
    frames: BTreeMap<u64, Frame>,
    /// The last packet of the newest decoded frame.
    decoded: Option<u64>,
    /// The TL0PICIDX of the newest decoded base frame, and the picture id of the newest frame of all.
    base: Option<u8>,
    picture: Option<u16>,
}

impl Decoder {
    /// Takes a packet that came for the first time.
    ///
    /// # Errors
    /// What no sender may do.
    pub(crate) fn handle_piece(&mut self, now_us: u64, seq: u64, piece: Piece) -> Result<(), String> {
        if self.decoded.is_some_and(|decoded| seq <= decoded) {
            return Ok(());
        }
        self.pieces.insert(seq, piece);
        while self.pieces.len() > PACKETS_MAX {
            self.pieces.pop_first();
        }
        self.gather(now_us, seq)
    }

    /// Shows what can be shown now.
    pub(crate) fn poll(&mut self, now_us: u64) -> Option<Shown> {
        let next = self.frames.iter().find_map(|(first, frame)| {
            let waited = now_us.saturating_sub(frame.whole_us) >= PATIENCE_US;
            let usable = self.is_decodable(frame) && (waited || self.follows(*first));
            usable.then_some((*first, *frame))
        });
        let (first, frame) = next?;
        self.frames = self.frames.split_off(&(first + 1));
        self.pieces = self.pieces.split_off(&(frame.last + 1));
        self.decoded = Some(frame.last);
        self.picture = Some(frame.vp8.picture);
        if frame.vp8.keyframe || frame.vp8.temporal == 0 {
            self.base = Some(frame.vp8.tl0);
        }
        Some(Shown {
            at_us: now_us,
            layer: frame.stamp.layer,
            frame: frame.stamp.frame,
            keyframe: frame.vp8.keyframe,
            timestamp: frame.timestamp,
        })
    }

    /// Says whether nothing was ever decoded.
    pub(crate) fn is_dark(&self) -> bool {
        self.decoded.is_none()
    }

    /// The first number that is still of use.
    pub(crate) fn floor(&self) -> u64 {
        self.decoded.map_or(0, |decoded| decoded + 1)
    }

    fn is_decodable(&self, frame: &Frame) -> bool {
        let Vp8 { keyframe, temporal, tl0, sync, picture, .. } = frame.vp8;
        let base = self.base;
        match (keyframe, temporal, sync) {
            (true, ..) => true,
            (_, 0, _) => base == Some(tl0.wrapping_sub(1)),
            (_, _, true) => base == Some(tl0),
            (_, _, false) => base == Some(tl0) && self.picture == Some(picture.wrapping_sub(1) & 0x7fff),
        }
    }

    /// Says whether nothing can be missing between the newest decoded frame and this packet.
    fn follows(&self, first: u64) -> bool {
        let Some(decoded) = self.decoded else { return true };
        (decoded + 1..first).all(|seq| self.pieces.get(&seq).is_some_and(|piece| piece.content.is_none()))
    }

    /// Puts the frame around a packet together, if it is whole.
    fn gather(&mut self, now_us: u64, seq: u64) -> Result<(), String> {
        let Some(Piece { timestamp, content: Some(_), .. }) = self.pieces.get(&seq).copied() else {
            return Ok(());
        };
        let mut first = seq;
        loop {
            let Some(piece) = self.pieces.get(&first).filter(|piece| piece.timestamp == timestamp) else {
                return Ok(());
            };
            match piece.content {
                Some((vp8, _)) if vp8.start => break,
                Some(_) => first -= 1,
                None => return Ok(()),
            }
        }
        let mut last = seq;
        loop {
            match self.pieces.get(&last).filter(|piece| piece.timestamp == timestamp) {
                None => return Ok(()),
                Some(piece) if piece.marker => break,
                Some(_) => last += 1,
            }
        }
        self.keep_whole(now_us, (first, last))
    }

    /// Checks a whole frame against what was sent, and keeps it.
    fn keep_whole(&mut self, now_us: u64, (first, last): (u64, u64)) -> Result<(), String> {
        let pieces: Vec<(Vp8, Stamp)> =
            self.pieces.range(first..=last).filter_map(|(_, piece)| piece.content).collect();
        let (vp8, stamp) = pieces[0];
        let right = pieces.iter().zip(0..).all(|((other, it), index)| {
            *it == Stamp { index, ..stamp } && (other.picture, other.tl0) == (vp8.picture, vp8.tl0)
        });
        if !right || pieces.len() != usize::from(stamp.count) {
            return Err(format!(
                "frame {} of layer {} is not as it was sent: {pieces:?}",
                stamp.frame, stamp.layer
            ));
        }
        let timestamp = self.pieces[&first].timestamp;
        self.frames.insert(first, Frame { last, timestamp, vp8, stamp, whole_us: now_us });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_frame_is_waited_for_and_then_given_up_if_nothing_needs_it() {
        let mut decoder = Decoder::default();
        feed(&mut decoder, 0, 0, (true, 0, 10, 10));
        feed(&mut decoder, 40_000, 2, (false, 0, 12, 11));
        assert_eq!(shown(&mut decoder, 40_000), [0]);

        assert!(shown(&mut decoder, 139_000).is_empty());
        assert_eq!(shown(&mut decoder, 141_000), [2]);
    }

    #[test]
    fn a_frame_whose_base_is_missing_is_never_shown_but_a_keyframe_is() {
        let mut decoder = Decoder::default();
        feed(&mut decoder, 0, 0, (true, 0, 10, 10));
        feed(&mut decoder, 40_000, 2, (false, 0, 12, 12));
        assert_eq!(shown(&mut decoder, 40_000), [0]);

        assert!(shown(&mut decoder, 1_000_000).is_empty());
        feed(&mut decoder, 1_000_000, 9, (true, 0, 19, 19));
        assert_eq!(shown(&mut decoder, 1_200_000), [9]);
    }

    #[test]
    fn a_frame_that_lacks_a_packet_becomes_whole_when_it_is_repaired() {
        let mut decoder = Decoder::default();
        let vp8 = Vp8 { start: true, keyframe: true, ..Vp8::default() };
        let stamp = |index| Stamp { layer: 0, frame: 1, index, count: 3 };
        let piece = |index, start, marker| Piece {
            timestamp: 5,
            marker,
            content: Some((Vp8 { start, keyframe: start, ..vp8 }, stamp(index))),
        };
        decoder.handle_piece(0, 100, piece(0, true, false)).unwrap();
        decoder.handle_piece(0, 102, piece(2, false, true)).unwrap();
        assert!(shown(&mut decoder, 0).is_empty());

        decoder.handle_piece(9, 101, piece(1, false, false)).unwrap();

        assert_eq!(shown(&mut decoder, 9), [1]);
    }

    #[test]
    fn a_frame_with_a_packet_of_another_is_reported() {
        let mut decoder = Decoder::default();
        let vp8 = Vp8 { start: true, keyframe: true, ..Vp8::default() };
        let stamp = Stamp { layer: 0, frame: 1, index: 0, count: 2 };
        let other = Stamp { layer: 1, index: 1, ..stamp };
        let piece = Piece { timestamp: 5, marker: false, content: Some((vp8, stamp)) };
        decoder.handle_piece(0, 100, piece).unwrap();

        let vp8 = Vp8 { start: false, keyframe: false, ..vp8 };
        let last = Piece { marker: true, content: Some((vp8, other)), ..piece };

        assert!(decoder.handle_piece(0, 101, last).is_err());
    }

    /// A frame of one packet: whether a keyframe, temporal layer, picture id, TL0PICIDX.
    fn feed(
        decoder: &mut Decoder,
        now_us: u64,
        seq: u64,
        (keyframe, temporal, picture, tl0): (bool, u8, u16, u8),
    ) {
        let vp8 = Vp8 { start: true, keyframe, picture, tl0, temporal, sync: false };
        let stamp = Stamp { layer: 0, frame: seq as u32, index: 0, count: 1 };
        let piece = Piece { timestamp: seq as u32, marker: true, content: Some((vp8, stamp)) };
        decoder.handle_piece(now_us, seq, piece).unwrap();
    }

    fn shown(decoder: &mut Decoder, now_us: u64) -> Vec<u32> {
        std::iter::from_fn(|| decoder.poll(now_us)).map(|shown| shown.frame).collect()
    }
}
