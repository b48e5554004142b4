//! H.264 payloads: single NAL units, STAP-A and FU-A, as `packetization-mode=1` allows (RFC 6184 §5).
//!
//! Packet path. The other packet types are never negotiated; they are described as nothing. Only a sequence
//! parameter set shows the size, and only one that lies whole in its packet is read.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use super::Descriptor;
use super::bits::Bits;
use crate::ParseError;
use crate::reader::Reader;

/// Describes one payload.
///
/// # Errors
///
/// When the payload is empty, an aggregated unit is empty or does not fit, or a fragment has no header.
pub fn describe(payload: &[u8]) -> Result<Descriptor, ParseError> {
    let mut reader = Reader::new(payload);
    let mut descriptor = Descriptor::default();
    match reader.u8()? & UNIT_TYPE_MASK {
        unit_type @ 1..=23 => observe(unit_type, reader.rest(), &mut descriptor),
        STAP_A => observe_aggregate(reader, &mut descriptor)?,
        FU_A => {
            let header = reader.u8()?;
            if header & FRAGMENT_START != 0 {
                observe(header & UNIT_TYPE_MASK, reader.rest(), &mut descriptor);
            }
        }
        _ => {}
    }
    Ok(descriptor)
}

/// Reads the aggregated units one by one (RFC 6184 §5.7.1).
fn observe_aggregate(mut reader: Reader<'_>, descriptor: &mut Descriptor) -> Result<(), ParseError> {
    loop {
        let declared = usize::from(reader.u16()?);
        let available = reader.rest().len();
        let unit = reader.take(declared).map_err(|_| ParseError::Length { declared, available })?;
        let Some((header, body)) = unit.split_first() else {
            return Err(ParseError::Malformed("size of an aggregated unit: it may not be empty"));
        };
        observe(header & UNIT_TYPE_MASK, body, descriptor);
        if reader.rest().is_empty() {
            return Ok(());
        }
    }
}

/// Notes what the beginning of one NAL unit shows; `body` follows the unit's header and may be cut.
fn observe(unit_type: u8, body: &[u8], descriptor: &mut Descriptor) {
    // `first_mb_in_slice` is an Exp-Golomb number: zero is a single one bit (ITU-T H.264 §7.3.3).
    let is_first_slice = || body.first().is_some_and(|byte| byte & 0x80 != 0);
    match unit_type {
        SLICE | SLICE_PARTITION_A => descriptor.frame_start |= is_first_slice(),
        SLICE_IDR => {
            descriptor.frame_start |= is_first_slice();
            descriptor.keyframe |= is_first_slice();
        }
        SEQUENCE_PARAMETERS => {
            descriptor.frame_start = true;
            descriptor.keyframe = true;
            descriptor.size = sequence_size(body).or(descriptor.size);
        }
        // What may stand in front of a picture's first slice (ITU-T H.264 §7.4.1.2.3).
        6 | 8 | 9 | 14..=18 => descriptor.frame_start = true,
        _ => {}
    }
}

/// Reads the cropped size out of a sequence parameter set (ITU-T H.264 §7.3.2.1.1).
fn sequence_size(body: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::escaped(body);
    let profile = bits.number(8)?;
    bits.skip(16)?; // constraint flags, level
    bits.golomb()?; // seq_parameter_set_id
    let chroma =
        if HIGH_PROFILES.contains(&profile) { skip_high_profile_fields(&mut bits)? } else { CHROMA_420 };
    bits.golomb()?; // log2_max_frame_num_minus4
    skip_picture_order(&mut bits)?;
    bits.golomb()?; // max_num_ref_frames
    bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
    let width_in_blocks = bits.golomb()?.checked_add(1)?;
    let height_in_map_units = bits.golomb()?.checked_add(1)?;
    let fields_per_map_unit = if bits.flag()? {
        1
    } else {
        bits.skip(1)?; // mb_adaptive_frame_field_flag
        2
    };
    bits.skip(1)?; // direct_8x8_inference_flag
    let width = width_in_blocks.checked_mul(BLOCK_PIXELS)?;
    let height = height_in_map_units.checked_mul(BLOCK_PIXELS)?.checked_mul(fields_per_map_unit)?;
    let (crop_width, crop_height) = if bits.flag()? {
        let (unit_width, unit_height) = crop_unit(chroma);
        let across = bits.golomb()?.checked_add(bits.golomb()?)?.checked_mul(unit_width)?;
        let down = bits.golomb()?.checked_add(bits.golomb()?)?.checked_mul(unit_height)?;
        (across, down.checked_mul(fields_per_map_unit)?)
    } else {
        (0, 0)
    };
    super::size(width.checked_sub(crop_width)?, height.checked_sub(crop_height)?)
}

/// Skips what only the high profiles have; returns the chroma format as cropping sees it.
fn skip_high_profile_fields(bits: &mut Bits<'_>) -> Option<u32> {
    let chroma = bits.golomb()?;
    let separate_planes = chroma == CHROMA_444 && bits.flag()?;
    bits.golomb()?; // bit_depth_luma_minus8
    bits.golomb()?; // bit_depth_chroma_minus8
    bits.skip(1)?; // qpprime_y_zero_transform_bypass_flag
    if bits.flag()? {
        let lists = if chroma == CHROMA_444 { 12 } else { 8 };
        for list in 0..lists {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(if separate_planes { MONOCHROME } else { chroma })
}

/// Skips a scaling list (ITU-T H.264 §7.3.2.1.1.1): it ends early where a scale becomes zero.
fn skip_scaling_list(bits: &mut Bits<'_>, length: u32) -> Option<()> {
    let mut scale = 8_i32;
    for _ in 0..length {
        scale = scale.checked_add(bits.signed_golomb()?)?.rem_euclid(256);
        if scale == 0 {
            break;
        }
    }
    Some(())
}

fn skip_picture_order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.golomb()? {
        0 => {
            bits.golomb()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            bits.skip(1)?; // delta_pic_order_always_zero_flag
            bits.golomb()?; // offset_for_non_ref_pic
            bits.golomb()?; // offset_for_top_to_bottom_field
            let cycle = bits.golomb()?;
            for _ in 0..u8::try_from(cycle).ok()? {
                bits.golomb()?; // offset_for_ref_frame
            }
        }
        _ => {}
    }
    Some(())
}

const fn crop_unit(chroma: u32) -> (u32, u32) {
    match chroma {
        CHROMA_420 => (2, 2),
        CHROMA_422 => (2, 1),
        _ => (1, 1),
    }
}

const UNIT_TYPE_MASK: u8 = 0x1f;
const SLICE: u8 = 1;
const SLICE_PARTITION_A: u8 = 2;
const SLICE_IDR: u8 = 5;
const SEQUENCE_PARAMETERS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FRAGMENT_START: u8 = 0x80;

const HIGH_PROFILES: [u32; 13] = [44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244];
const MONOCHROME: u32 = 0;
const CHROMA_420: u32 = 1;
const CHROMA_422: u32 = 2;
const CHROMA_444: u32 = 3;
const BLOCK_PIXELS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::super::tests::{bytes, from_bits};
    use super::*;

    #[test]
    fn a_parameter_set_begins_a_keyframe_and_shows_the_cropped_size() {
        let aggregate = "18 0019 6764000bacb202a33c44d80880000003008000000a078a1524 0005 68ebccb22c";

        let descriptor = describe(&bytes(aggregate)).unwrap();

        let expected =
            Descriptor { frame_start: true, keyframe: true, size: Some((322, 182)), ..Descriptor::default() };
        assert_eq!(descriptor, expected);
    }

    #[test]
    fn sizes_of_other_chroma_formats_and_scaling_lists_are_read() {
        for (parameters, size) in [
            ("677a000cbcd941519e222f011000000300100000030140f1429960", (322, 182)),
            ("67f4000c919b282a33c7c5e022000003000200000300281e28532c", (322, 182)),
            ("67640015acd941533c45e022000003000200000300283e28532c", (322, 184)),
        ] {
            assert_eq!(describe(&bytes(parameters)).unwrap().size, Some(size), "{parameters}");
        }
    }

    #[test]
    fn scaling_lists_are_skipped_on_the_way_to_the_size() {
        let fields = [
            "01100100 00000000 00001011 1", // profile 100, level 1.1, identifier 0
            "010 1 1 0 1",                  // 4:2:0, eight bits twice, no bypass, with lists
            "1",
            &"010".repeat(16), // a list of 16: every step is +1
            "00000",           // five lists that are absent
            "1",
            &"1".repeat(64),             // a list of 64: every step is 0
            "1 000010001",               // a list whose first scale is zero: it ends there
            "1 011 1 0",                 // frame number, order type 2, references
            "000010100 000010101 1 0 0", // 20 by 21 blocks, frames, no cropping
        ];

        let size = sequence_size(&from_bits(&fields.concat()));

        assert_eq!(size, Some((320, 336)));
    }

    #[test]
    fn a_parameter_set_that_is_cut_begins_a_keyframe_of_unknown_size() {
        let descriptor = describe(&bytes("6764000bac")).unwrap();

        assert!(descriptor.keyframe);
        assert_eq!(descriptor.size, None);
    }

    #[test]
    fn a_keyframe_begins_with_the_first_fragment_of_its_first_slice() {
        let first = describe(&bytes("7c85 88 84")).unwrap();
        let second_slice = describe(&bytes("7c85 40 84")).unwrap();
        let continued = describe(&bytes("7c05 88 84")).unwrap();
        let last = describe(&bytes("7c45 88 84")).unwrap();

        assert!(first.keyframe && first.frame_start);
        for later in [second_slice, continued, last] {
            assert_eq!(later, Descriptor::default());
        }
    }

    #[test]
    fn an_ordinary_slice_begins_a_frame_and_no_keyframe() {
        let descriptor = describe(&bytes("41 9a")).unwrap();

        assert!(descriptor.frame_start && !descriptor.keyframe);
    }

    #[test]
    fn a_delimiter_begins_a_frame() {
        assert!(describe(&bytes("09 f0")).unwrap().frame_start);
    }

    #[test]
    fn an_aggregated_unit_that_is_empty_or_does_not_fit_is_refused() {
        let empty = describe(&bytes("18 0000 0001 67"));
        let too_long = describe(&bytes("18 00ff 6742c01e"));
        let cut = describe(&bytes("18 0001 67 00"));

        assert!(matches!(empty, Err(ParseError::Malformed(_))));
        assert_eq!(too_long, Err(ParseError::Length { declared: 255, available: 4 }));
        assert!(matches!(cut, Err(ParseError::Truncated { .. })));
    }

    #[test]
    fn a_payload_without_its_headers_is_refused() {
        for cut in ["", "18", "7c"] {
            assert!(matches!(describe(&bytes(cut)), Err(ParseError::Truncated { .. })), "{cut}");
        }
    }

    #[test]
    fn an_aggregated_unit_of_its_header_alone_is_taken() {
        assert!(describe(&bytes("18 0001 67")).unwrap().keyframe);
    }
}
