//! The VP9 payload descriptor and the front of the frame header (RFC 9628 §4).
//!
//! Packet path. A picture of several spatial layers begins with the first packet of its lowest one.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use super::Descriptor;
use super::bits::Bits;
use crate::ParseError;
use crate::reader::Reader;

/// Describes one payload.
///
/// # Errors
///
/// When the descriptor is cut short, nothing follows it, or it lists more than three references.
pub fn describe(payload: &[u8]) -> Result<Descriptor, ParseError> {
    let mut reader = Reader::new(payload);
    let flags = reader.u8()?;
    let mut descriptor = Descriptor::default();
    if flags & HAS_PICTURE_ID != 0 && reader.u8()? & WIDE_PICTURE_ID != 0 {
        reader.u8()?;
    }
    if flags & HAS_LAYERS != 0 {
        let layers = reader.u8()?;
        descriptor.temporal = layers >> 5;
        descriptor.layer_sync = layers & LAYER_SYNC != 0;
        descriptor.spatial = (layers >> 1) & SPATIAL_MASK;
        if flags & FLEXIBLE == 0 {
            reader.u8()?; // TL0PICIDX
        }
    }
    if flags & (FLEXIBLE | PREDICTED) == FLEXIBLE | PREDICTED {
        skip_references(&mut reader)?;
    }
    if flags & HAS_STRUCTURE != 0 {
        descriptor.size = read_structure(&mut reader)?;
    }
    if reader.rest().is_empty() {
        return Err(ParseError::Truncated { expected: 1, came: 0 });
    }
    descriptor.frame_start = flags & START_OF_LAYER_FRAME != 0 && descriptor.spatial == 0;
    if descriptor.frame_start && flags & PREDICTED == 0 {
        // "Not predicted" is also said of intra-only frames, and by FFmpeg of every frame: the frame itself knows.
        let frame = reader.rest();
        descriptor.keyframe = is_key_frame(frame) != Some(false);
        descriptor.size = descriptor.size.or_else(|| key_frame_size(frame));
    }
    Ok(descriptor)
}

/// Skips the reference indices of the flexible mode: at most three (RFC 9628 §4.2).
fn skip_references(reader: &mut Reader<'_>) -> Result<(), ParseError> {
    for _ in 0..REFERENCES_MAX {
        if reader.u8()? & ANOTHER_REFERENCE == 0 {
            return Ok(());
        }
    }
    Err(ParseError::Malformed("number of VP9 references: at most three"))
}

/// Reads the scalability structure (RFC 9628 §4.2.1); returns the size of its highest spatial layer.
fn read_structure(reader: &mut Reader<'_>) -> Result<Option<(u16, u16)>, ParseError> {
    let flags = reader.u8()?;
    let mut size = None;
    if flags & STRUCTURE_HAS_SIZES != 0 {
        for _ in 0..=(flags >> 5) {
            let (width, height) = (reader.u16()?, reader.u16()?);
            size = super::size(u32::from(width), u32::from(height));
        }
    }
    if flags & STRUCTURE_HAS_PICTURES != 0 {
        for _ in 0..reader.u8()? {
            let references = (reader.u8()? >> 2) & 3;
            reader.take(usize::from(references))?;
        }
    }
    Ok(size)
}

/// Reads the front of the uncompressed header; `None` when this is not the beginning of one.
fn is_key_frame(frame: &[u8]) -> Option<bool> {
    read_frame_type(&mut Bits::new(frame)).map(|(_, is_key)| is_key)
}

/// Reads profile and type (VP9 bitstream specification §6.2).
fn read_frame_type(bits: &mut Bits<'_>) -> Option<(u32, bool)> {
    if bits.number(2)? != FRAME_MARKER {
        return None;
    }
    let profile = u32::from(bits.flag()?) | (u32::from(bits.flag()?) << 1);
    if profile == 3 {
        bits.skip(1)?; // reserved_zero
    }
    let (shows_existing, is_inter) = (bits.flag()?, bits.flag()?);
    Some((profile, !shows_existing && !is_inter))
}

/// Reads the size out of a key frame's uncompressed header (VP9 bitstream specification §6.2).
fn key_frame_size(frame: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(frame);
    let (profile, true) = read_frame_type(&mut bits)? else { return None };
    bits.skip(2)?; // show_frame, error_resilient_mode
    if bits.number(24)? != SYNC_CODE {
        return None;
    }
    skip_color(&mut bits, profile)?;
    let width = bits.number(16)?.checked_add(1)?;
    let height = bits.number(16)?.checked_add(1)?;
    super::size(width, height)
}

/// Skips `color_config` (VP9 bitstream specification §6.2.2).
fn skip_color(bits: &mut Bits<'_>, profile: u32) -> Option<()> {
    if profile >= 2 {
        bits.skip(1)?; // ten_or_twelve_bit
    }
    let has_subsampling = profile == 1 || profile == 3;
    match (bits.number(3)? == COLOR_SPACE_RGB, has_subsampling) {
        (true, true) => bits.skip(1),   // reserved_zero
        (true, false) => None,          // not allowed in this profile
        (false, true) => bits.skip(4),  // color_range, subsampling_x, subsampling_y, reserved_zero
        (false, false) => bits.skip(1), // color_range
    }
}

const HAS_PICTURE_ID: u8 = 0x80;
const PREDICTED: u8 = 0x40;
const HAS_LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const START_OF_LAYER_FRAME: u8 = 0x08;
const HAS_STRUCTURE: u8 = 0x02;
const WIDE_PICTURE_ID: u8 = 0x80;
const LAYER_SYNC: u8 = 0x10;
const SPATIAL_MASK: u8 = 0x07;
const ANOTHER_REFERENCE: u8 = 0x01;
const REFERENCES_MAX: usize = 3;
const STRUCTURE_HAS_SIZES: u8 = 0x10;
const STRUCTURE_HAS_PICTURES: u8 = 0x08;

const FRAME_MARKER: u32 = 2;
const SYNC_CODE: u32 = 0x49_83_42;
const COLOR_SPACE_RGB: u32 = 7;

#[cfg(test)]
mod tests {
    use super::super::tests::bytes;
    use super::*;

    #[test]
    fn a_key_frame_shows_its_size() {
        let descriptor = describe(&bytes("08 824983420014100b560638241c18")).unwrap();

        assert!(descriptor.frame_start && descriptor.keyframe);
        assert_eq!(descriptor.size, Some((322, 182)));
    }

    #[test]
    fn an_inter_frame_is_no_keyframe_even_where_the_descriptor_says_so() {
        let descriptor = describe(&bytes("08 86004092f0a125")).unwrap();

        assert!(descriptor.frame_start && !descriptor.keyframe);
        assert_eq!(descriptor.size, None);
    }

    #[test]
    fn layers_and_the_structure_of_the_flexible_mode_are_read() {
        let structure = "38 0140 00b4 0280 0168 02 04 01 00";

        let descriptor = describe(&bytes(&format!("ba 9234 30 {structure} 82498342"))).unwrap();

        let expected = Descriptor {
            frame_start: true,
            keyframe: true,
            temporal: 1,
            layer_sync: true,
            size: Some((640, 360)),
            ..Descriptor::default()
        };
        assert_eq!(descriptor, expected);
    }

    #[test]
    fn references_of_the_flexible_mode_are_skipped() {
        let descriptor = describe(&bytes("f8 12 44 03 05 04 86")).unwrap();

        assert_eq!((descriptor.temporal, descriptor.spatial, descriptor.keyframe), (2, 2, false));
        assert_eq!(
            describe(&bytes("f8 12 44 03 05 04")),
            Err(ParseError::Truncated { expected: 1, came: 0 })
        );
    }

    #[test]
    fn the_index_of_the_non_flexible_mode_is_skipped() {
        let descriptor = describe(&bytes("a8 12 20 07 824983420014100b5600")).unwrap();

        assert!(descriptor.keyframe);
        assert_eq!((descriptor.temporal, descriptor.size), (1, Some((322, 182))));
    }

    #[test]
    fn a_higher_spatial_layer_does_not_begin_the_picture() {
        let descriptor = describe(&bytes("a8 12 02 07 82498342")).unwrap();

        assert_eq!(descriptor.spatial, 1);
        assert!(!descriptor.frame_start && !descriptor.keyframe);
    }

    #[test]
    fn a_fourth_reference_is_refused() {
        let endless = describe(&bytes("d8 12 01 03 05 07 09"));

        assert!(matches!(endless, Err(ParseError::Malformed(_))));
    }

    #[test]
    fn a_descriptor_cut_after_each_byte_is_refused() {
        let whole = bytes("fa 9234 31 03 04 38 0140 00b4 0280 0168 01 04 01 82");

        assert!(describe(&whole).is_ok());
        for length in 0..whole.len() {
            assert!(describe(&whole[..length]).is_err(), "{length} bytes");
        }
    }
}
