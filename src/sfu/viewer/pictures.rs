//! Keeps the picture numbers inside packets unbroken: picture id and TL0PICIDX of VP8 and VP9, and the frame
//! number of the dependency descriptor.
//!
//! Packet path. A VP8 receiver takes a jump of the picture id for a lost frame, so a frame that is withheld on
//! purpose closes the gap behind it (RFC 7741 §4.2). VP9 and the dependency descriptor name the frames that a
//! frame needs by their distance, so there the gap of a withheld frame must stay, and numbers move only at a
//! switch.

use rtp::{Codec, Extension};

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
    pub(crate) fn withhold(&mut self, codec: Codec, numbers: Numbers, offsets: &mut Offsets) {
        if codec == Codec::Vp8 && numbers.picture.is_some() && numbers.picture != self.withheld {
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
    /// The picture id.
    pub(crate) picture: Option<u16>,
    /// Whether the picture id has 15 bits, not 7.
    pub(crate) wide: bool,
    /// The running index of base layer frames, TL0PICIDX.
    pub(crate) tl0: Option<u8>,
    /// The frame number of the dependency descriptor.
    pub(crate) frame: Option<u16>,
}

impl Numbers {
    /// Reads the numbers of a packet.
    pub(crate) fn of(packet: &Packet) -> Self {
        let (picture, tl0) = match (packet.codec, packet.descriptor.vp8) {
            (Codec::Vp8, Some(fields)) => {
                let picture = fields.picture_id.map(|id| (id.value, id.wide));
                (picture, fields.tl0_picture_index.map(|index| index.value))
            }
            (Codec::Vp9, _) => {
                let fields = Vp9Fields::find(packet.payload());
                (fields.picture_id, fields.tl0.map(|(value, _)| value))
            }
            _ => (None, None),
        };
        let frame = match packet.carried(Extension::DependencyDescriptor) {
            Some(&[_, high, low, ..]) => Some(u16::from_be_bytes([high, low])),
            _ => None,
        };
        let (picture, wide) = picture.unzip();
        Self { picture, wide: wide.unwrap_or_default(), tl0, frame }
    }

    /// Returns the numbers as they go out.
    pub(crate) fn moved(self, offsets: Offsets) -> Self {
        let mask = if self.wide { 0x7fff } else { 0x7f };
        Self {
            picture: self.picture.map(|picture| picture.wrapping_add(offsets.picture) & mask),
            wide: self.wide,
            tl0: self.tl0.map(|tl0| tl0.wrapping_add(offsets.tl0)),
            frame: self.frame.map(|frame| frame.wrapping_add(offsets.frame)),
        }
    }
}

/// Where a VP9 payload carries its numbers (RFC 9628 §4.2).
#[derive(Clone, Copy, Debug, Default)]
struct Vp9Fields {
    /// The picture id, and whether it takes two bytes; it begins behind the first byte.
    picture_id: Option<(u16, bool)>,
    /// The running index of base layer frames, and where it is.
    tl0: Option<(u8, usize)>,
}

impl Vp9Fields {
    fn find(payload: &[u8]) -> Self {
        let mut fields = Self::default();
        let Some(&flags) = payload.first() else { return fields };
        let mut at = 1;
        if flags & VP9_HAS_PICTURE_ID != 0 {
            let Some(&high) = payload.get(at) else { return fields };
            let wide = high & VP9_WIDE != 0;
            let value = u16::from(high & !VP9_WIDE);
            let value = match payload.get(at + 1) {
                Some(&low) if wide => value << 8 | u16::from(low),
                _ => value,
            };
            fields.picture_id = Some((value, wide));
            at += if wide { 2 } else { 1 };
        }
        if flags & (VP9_HAS_LAYER | VP9_FLEXIBLE) == VP9_HAS_LAYER {
            fields.tl0 = payload.get(at + 1).map(|&value| (value, at + 1));
        }
        fields
    }
}

/// Overwrites the numbers in a copy of a VP9 payload; each keeps its field's width.
pub(crate) fn patch_vp9(payload: &mut [u8], picture: u16, tl0: u8) {
    let fields = Vp9Fields::find(payload);
    if let Some((_, at)) = fields.tl0
        && let Some(place) = payload.get_mut(at)
    {
        *place = tl0;
    }
    let [high, low] = picture.to_be_bytes();
    match (fields.picture_id, payload) {
        (Some((_, true)), [_, first, second, ..]) => (*first, *second) = (VP9_WIDE | high, low),
        (Some((_, false)), [_, only, ..]) => *only = low & !VP9_WIDE,
        _ => {}
    }
}

const VP9_HAS_PICTURE_ID: u8 = 0x80;
const VP9_HAS_LAYER: u8 = 0x20;
const VP9_FLEXIBLE: u8 = 0x10;
const VP9_WIDE: u8 = 0x80;

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

        pictures.withhold(Codec::Vp8, numbers(10, 4, 101), &mut offsets);
        pictures.withhold(Codec::Vp8, numbers(10, 4, 101), &mut offsets);

        assert_eq!(numbers(11, 5, 102).moved(offsets), numbers(10, 5, 102));
    }

    #[test]
    fn a_switch_between_fields_of_two_widths_continues_what_was_on_the_wire() {
        let (mut pictures, mut offsets) = (Pictures::default(), Offsets::default());
        let narrow = |picture| Numbers { wide: false, ..numbers(picture, 0, 0) };
        pictures.note(narrow(127), Offsets { picture: 4, ..offsets });

        pictures.join(numbers(30_000, 0, 0), &mut offsets);

        assert_eq!(narrow(127).moved(Offsets { picture: 4, ..Offsets::default() }).picture, Some(3));
        assert_eq!(numbers(30_000, 0, 0).moved(offsets).picture, Some(4));
    }

    #[test]
    fn a_withheld_frame_leaves_its_gap_where_distances_name_frames() {
        let (mut pictures, mut offsets) = (Pictures::default(), Offsets::default());

        pictures.withhold(Codec::Vp9, numbers(10, 4, 101), &mut offsets);

        assert_eq!(offsets, Offsets::default());
    }

    #[test]
    fn vp9_numbers_are_found_and_overwritten_in_their_own_width() {
        // Picture id of 15 bits, layer byte, TL0PICIDX; then the same with 7 bits; then flexible mode.
        let mut wide = [0xa8, 0x81, 0x02, 0x00, 0x07, 0xee];
        let mut narrow = [0xa8, 0x7f, 0x00, 0x07, 0xee];
        let mut flexible = [0xb8, 0x7f, 0x00, 0x07, 0xee];

        assert_eq!(found(&wide), (Some(0x102), Some(7)));
        assert_eq!(found(&narrow), (Some(0x7f), Some(7)));
        assert_eq!(found(&flexible), (Some(0x7f), None));

        patch_vp9(&mut wide, 0x7ffe, 9);
        patch_vp9(&mut narrow, 0x7ffe, 9);
        patch_vp9(&mut flexible, 0x7ffe, 9);

        assert_eq!(wide, [0xa8, 0xff, 0xfe, 0x00, 0x09, 0xee]);
        assert_eq!(narrow, [0xa8, 0x7e, 0x00, 0x09, 0xee]);
        assert_eq!(flexible, [0xb8, 0x7e, 0x00, 0x07, 0xee]);
    }

    #[test]
    fn a_vp9_payload_cut_short_is_left_alone() {
        for length in 0..5 {
            let mut payload = vec![0xa8_u8; length];
            patch_vp9(&mut payload, 1, 2);
            assert_eq!(payload.len(), length);
        }
    }

    fn found(payload: &[u8]) -> (Option<u16>, Option<u8>) {
        let fields = Vp9Fields::find(payload);
        (fields.picture_id.map(|(id, _)| id), fields.tl0.map(|(value, _)| value))
    }

    fn numbers(picture: u16, tl0: u8, frame: u16) -> Numbers {
        Numbers { picture: Some(picture), wide: true, tl0: Some(tl0), frame: Some(frame) }
    }
}
