//! The VP8 payload descriptor and frame header (RFC 7741 §4).
//!
//! Packet path. A rewriter that drops frames keeps picture ids and TL0PICIDX unbroken with [`patch`]; a number
//! is overwritten in place, never widened, so that offsets stay true.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use super::Descriptor;
use crate::ParseError;
use crate::reader::Reader;

/// The numbers that a rewriter changes, and where they are in the payload.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Vp8Fields {
    /// The picture id, when the descriptor has one.
    pub picture_id: Option<PictureId>,
    /// The running index of temporal base layer frames, when the descriptor has one.
    pub tl0_picture_index: Option<Tl0PictureIndex>,
}

/// A picture id.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PictureId {
    /// Its value: 15 bits when wide, else 7.
    pub value: u16,
    /// Whether it takes two bytes.
    pub wide: bool,
    /// Where it begins in the payload.
    pub offset: u8,
}

/// The running index of temporal base layer frames (TL0PICIDX).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Tl0PictureIndex {
    /// Its value.
    pub value: u8,
    /// Where it is in the payload.
    pub offset: u8,
}

/// Describes one payload.
///
/// # Errors
///
/// When the descriptor is cut short, or nothing follows it.
pub fn describe(payload: &[u8]) -> Result<Descriptor, ParseError> {
    let mut reader = Reader::new(payload);
    let first = reader.u8()?;
    let mut descriptor = Descriptor {
        frame_start: first & (START_OF_PARTITION | PARTITION_MASK) == START_OF_PARTITION,
        vp8: Some(Vp8Fields::default()),
        ..Descriptor::default()
    };
    if first & EXTENDED != 0 {
        read_extension(payload, &mut reader, &mut descriptor)?;
    }
    let frame = reader.rest();
    let Some(&frame_header) = frame.first() else {
        return Err(ParseError::Truncated { expected: 1, came: 0 });
    };
    if descriptor.frame_start && frame_header & INTER_FRAME == 0 {
        descriptor.keyframe = true;
        descriptor.size = key_frame_size(frame);
    }
    Ok(descriptor)
}

/// Overwrites the numbers that `fields` found, in a copy of the payload. Each keeps its field's width: a narrow
/// picture id takes the low seven bits.
pub fn patch(payload_copy: &mut [u8], fields: &Vp8Fields, picture_id: u16, tl0_picture_index: u8) {
    if let Some(field) = fields.picture_id
        && let Some(place) = payload_copy.get_mut(usize::from(field.offset)..)
    {
        let [high, low] = picture_id.to_be_bytes();
        match place {
            [first, second, ..] if field.wide => (*first, *second) = (WIDE_PICTURE_ID | high, low),
            [only, ..] if !field.wide => *only = low & !WIDE_PICTURE_ID,
            _ => {}
        }
    }
    if let Some(field) = fields.tl0_picture_index
        && let Some(place) = payload_copy.get_mut(usize::from(field.offset))
    {
        *place = tl0_picture_index;
    }
}

/// Reads the optional part: picture id, TL0PICIDX, temporal layer.
fn read_extension(
    payload: &[u8],
    reader: &mut Reader<'_>,
    descriptor: &mut Descriptor,
) -> Result<(), ParseError> {
    let offset = |reader: &Reader<'_>| {
        u8::try_from(payload.len().saturating_sub(reader.rest().len())).unwrap_or(u8::MAX)
    };
    let present = reader.u8()?;
    let mut fields = Vp8Fields::default();
    if present & HAS_PICTURE_ID != 0 {
        let offset = offset(reader);
        let first = reader.u8()?;
        let wide = first & WIDE_PICTURE_ID != 0;
        let high_or_only = first & !WIDE_PICTURE_ID;
        let value =
            if wide { u16::from_be_bytes([high_or_only, reader.u8()?]) } else { u16::from(high_or_only) };
        fields.picture_id = Some(PictureId { value, wide, offset });
    }
    if present & HAS_TL0_PICTURE_INDEX != 0 {
        let offset = offset(reader);
        fields.tl0_picture_index = Some(Tl0PictureIndex { value: reader.u8()?, offset });
    }
    if present & (HAS_TEMPORAL_LAYER | HAS_KEY_INDEX) != 0 {
        let layers = reader.u8()?;
        if present & HAS_TEMPORAL_LAYER != 0 {
            descriptor.temporal = layers >> 6;
            descriptor.layer_sync = layers & LAYER_SYNC != 0;
        }
    }
    descriptor.vp8 = Some(fields);
    Ok(())
}

/// Reads width and height behind a key frame's start code (RFC 6386 §9.1), without the scaling bits.
fn key_frame_size(frame: &[u8]) -> Option<(u16, u16)> {
    let &[_, _, _, 0x9d, 0x01, 0x2a, width_low, width_high, height_low, height_high] = frame.first_chunk()?
    else {
        return None;
    };
    let side = |low, high: u8| u16::from_le_bytes([low, high & SIDE_HIGH_MASK]);
    Some((side(width_low, width_high), side(height_low, height_high)))
}

const EXTENDED: u8 = 0x80;
const START_OF_PARTITION: u8 = 0x10;
const PARTITION_MASK: u8 = 0x07;
const HAS_PICTURE_ID: u8 = 0x80;
const HAS_TL0_PICTURE_INDEX: u8 = 0x40;
const HAS_TEMPORAL_LAYER: u8 = 0x20;
const HAS_KEY_INDEX: u8 = 0x10;
const WIDE_PICTURE_ID: u8 = 0x80;
const LAYER_SYNC: u8 = 0x20;
const INTER_FRAME: u8 = 0x01;
const SIDE_HIGH_MASK: u8 = 0x3f;

#[cfg(test)]
mod tests {
    use super::super::tests::bytes;
    use super::*;

    #[test]
    fn a_key_frame_shows_its_size() {
        let descriptor = describe(&bytes("908080009052009d012a4201b6000107")).unwrap();

        assert!(descriptor.frame_start && descriptor.keyframe);
        assert_eq!(descriptor.size, Some((322, 182)));
    }

    #[test]
    fn scaling_bits_are_no_part_of_the_size() {
        let descriptor = describe(&bytes("10 505200 9d012a 42c1 b640 00")).unwrap();

        assert_eq!(descriptor.size, Some((322, 182)));
    }

    #[test]
    fn every_optional_field_is_found_where_it_is() {
        let descriptor = describe(&bytes("90 f0 9234 56 a5 31")).unwrap();

        let expected = Descriptor {
            frame_start: true,
            temporal: 2,
            layer_sync: true,
            vp8: Some(Vp8Fields {
                picture_id: Some(PictureId { value: 0x1234, wide: true, offset: 2 }),
                tl0_picture_index: Some(Tl0PictureIndex { value: 0x56, offset: 4 }),
            }),
            ..Descriptor::default()
        };
        assert_eq!(descriptor, expected);
    }

    #[test]
    fn layer_bits_of_a_key_index_alone_are_no_layer() {
        let descriptor = describe(&bytes("90 10 e4 31")).unwrap();

        assert_eq!((descriptor.temporal, descriptor.layer_sync), (0, false));
        assert!(!descriptor.keyframe, "the frame begins behind the index");
    }

    #[test]
    fn only_the_first_packet_of_the_first_partition_begins_a_frame() {
        for (later, why) in [("80 80 01 00", "not a start"), ("91 80 01 00", "the second partition")] {
            let descriptor = describe(&bytes(later)).unwrap();

            assert!(!descriptor.frame_start && !descriptor.keyframe, "{why}");
        }
    }

    #[test]
    fn a_descriptor_cut_after_each_byte_is_refused() {
        let whole = bytes("90 f0 9234 56 a5 31");

        for length in 0..whole.len() - 1 {
            assert!(describe(&whole[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(describe(&whole[..6]), Err(ParseError::Truncated { expected: 1, came: 0 }));
    }

    #[test]
    fn patching_keeps_the_width_of_each_field() {
        let wide = bytes("90 f0 9234 56 a5 31 9d");
        let narrow = bytes("90 c0 12 56 31 9d");

        assert_eq!(patched(&wide, 0xffff, 0x01), bytes("90 f0 ffff 01 a5 31 9d"));
        assert_eq!(patched(&wide, 0x0102, 0x03), bytes("90 f0 8102 03 a5 31 9d"));
        assert_eq!(patched(&narrow, 0x7fff, 0x04), bytes("90 c0 7f 04 31 9d"));
    }

    #[test]
    fn patching_changes_nothing_without_fields_or_beyond_the_copy() {
        let plain = bytes("10 31 9d");
        assert_eq!(patched(&plain, 0x1234, 0x56), plain);

        let fields = describe(&bytes("90 f0 9234 56 a5 31")).unwrap().vp8.unwrap();
        let mut short = bytes("90 f0 92");
        patch(&mut short, &fields, 0x1111, 0x22);
        assert_eq!(short, bytes("90 f0 92"));
    }

    fn patched(payload: &[u8], picture_id: u16, tl0_picture_index: u8) -> Vec<u8> {
        let fields = describe(payload).unwrap().vp8.unwrap();
        let mut copy = payload.to_vec();
        patch(&mut copy, &fields, picture_id, tl0_picture_index);
        copy
    }
}
