//! Keeps the picture numbers inside payloads unbroken: VP8 picture id and TL0PICIDX, AV1 frame number.
//!
//! Packet path. A VP8 decoder's jitter buffer takes a jump of the picture id for a lost frame, so a frame that
//! is withheld on purpose closes the gap behind it (RFC 7741 §4.2). The frame number of the dependency
//! descriptor is only moved at a switch: frames name the frames they need by their distance, so the gap of a
//! withheld frame must stay.

use rtp::Extension;

use super::rewriter::Offsets;
use crate::Packet;

/// The picture numbers of one outgoing source.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    /// What the newest forwarded packet carried, as it went out.
    last: Numbers,
    /// The source's picture id of the frame that is being withheld.
    withheld: Option<u16>,
}

impl Pictures {
    /// Goes over to another source, whose first packet follows the last forwarded one, and changes the offsets
    /// so that the numbers do too.
    pub(crate) fn join(&mut self, first: Numbers, offsets: &mut Offsets) {
        self.withheld = None;
        if let Some((picture, last)) = first.picture.zip(self.last.picture) {
            offsets.picture = last.wrapping_add(1).wrapping_sub(picture);
        }
        if let Some((tl0, last)) = first.tl0.zip(self.last.tl0) {
            offsets.tl0 = last.wrapping_add(1).wrapping_sub(tl0);
        }
        if let Some((frame, last)) = first.frame.zip(self.last.frame) {
            offsets.frame = last.wrapping_add(1).wrapping_sub(frame);
        }
    }

    /// Takes a packet of a withheld frame out of the numbering.
    pub(crate) fn withhold(&mut self, numbers: Numbers, offsets: &mut Offsets) {
        if numbers.picture.is_some() && numbers.picture != self.withheld {
            self.withheld = numbers.picture;
            offsets.picture = offsets.picture.wrapping_sub(1);
        }
    }

    /// Notes a forwarded packet that is newer than all before it.
    pub(crate) fn note(&mut self, numbers: Numbers, offsets: Offsets) {
        let out = numbers.moved(offsets);
        self.last.picture = out.picture.or(self.last.picture);
        self.last.tl0 = out.tl0.or(self.last.tl0);
        self.last.frame = out.frame.or(self.last.frame);
    }
}

/// The picture numbers of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The VP8 picture id, 7 or 15 bits.
    pub(crate) picture: Option<u16>,
    /// The VP8 TL0PICIDX.
    pub(crate) tl0: Option<u8>,
    /// The frame number of the dependency descriptor.
    pub(crate) frame: Option<u16>,
}

impl Numbers {
    /// Reads the numbers of a packet.
    pub(crate) fn of(packet: &Packet) -> Self {
        let vp8 = packet.descriptor.vp8.unwrap_or_default();
        let frame = match packet.carried(Extension::DependencyDescriptor) {
            Some(&[_, high, low, ..]) => Some(u16::from_be_bytes([high, low])),
            _ => None,
        };
        Self {
            picture: vp8.picture_id.map(|id| id.value),
            tl0: vp8.tl0_picture_index.map(|index| index.value),
            frame,
        }
    }

    /// Returns the numbers as they go out. A picture id has 15 bits here; the field's width cuts it further.
    pub(crate) fn moved(self, offsets: Offsets) -> Self {
        Self {
            picture: self.picture.map(|picture| picture.wrapping_add(offsets.picture) & PICTURE_ID_MASK),
            tl0: self.tl0.map(|tl0| tl0.wrapping_add(offsets.tl0)),
            frame: self.frame.map(|frame| frame.wrapping_add(offsets.frame)),
        }
    }
}

const PICTURE_ID_MASK: u16 = 0x7fff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_continues_every_number() {
        let (mut pictures, mut offsets) = (Pictures::default(), Offsets::default());
        pictures.note(numbers(32_767, 255, 65_535), offsets);

        pictures.join(numbers(9, 4, 100), &mut offsets);

        assert_eq!(numbers(9, 4, 100).moved(offsets), numbers(0, 0, 0));
        assert_eq!(numbers(10, 5, 101).moved(offsets), numbers(1, 1, 1));
    }

    #[test]
    fn a_withheld_frame_closes_the_picture_ids_once_however_many_packets_it_has() {
        let (mut pictures, mut offsets) = (Pictures::default(), Offsets::default());
        pictures.note(numbers(9, 4, 100), offsets);

        pictures.withhold(numbers(10, 4, 101), &mut offsets);
        pictures.withhold(numbers(10, 4, 101), &mut offsets);

        assert_eq!(numbers(11, 5, 102).moved(offsets), numbers(10, 5, 102));
    }

    fn numbers(picture: u16, tl0: u8, frame: u16) -> Numbers {
        Numbers { picture: Some(picture), tl0: Some(tl0), frame: Some(frame) }
    }
}
