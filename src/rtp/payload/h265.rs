//! H.265 payloads: single NAL units, aggregation packets and fragmentation units (RFC 7798 §4.4).
//!
//! Packet path. Decoding order numbers are taken to be absent (`sprop-max-don-diff=0`), as WebRTC sends them.
//! Only a sequence parameter set shows the size, and only one that lies whole in its packet is read.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use super::Descriptor;
use super::bits::Bits;
use crate::ParseError;
use crate::reader::Reader;

/// Describes one payload.
///
/// # Errors
///
/// When the header is cut short or has the forbidden temporal id, an aggregated unit is shorter than its header
/// or does not fit, or a fragment has no header.
pub fn describe(payload: &[u8]) -> Result<Descriptor, ParseError> {
    let mut reader = Reader::new(payload);
    let header: [u8; UNIT_HEADER] = reader.array()?;
    let [_, layers] = header;
    let Some(temporal) = (layers & TEMPORAL_MASK).checked_sub(1) else {
        return Err(ParseError::Malformed("temporal id of an H.265 unit: it may not be zero"));
    };
    let mut descriptor = Descriptor { temporal, spatial: layer_id(header), ..Descriptor::default() };
    match unit_type(header) {
        AGGREGATION => observe_aggregate(reader, &mut descriptor)?,
        FRAGMENTATION => {
            let fragment = reader.u8()?;
            if fragment & FRAGMENT_START != 0 {
                observe(fragment & UNIT_TYPE_MASK, reader.rest(), &mut descriptor);
            }
        }
        single => observe(single, reader.rest(), &mut descriptor),
    }
    Ok(descriptor)
}

/// Reads the aggregated units one by one (RFC 7798 §4.4.2).
fn observe_aggregate(mut reader: Reader<'_>, descriptor: &mut Descriptor) -> Result<(), ParseError> {
    loop {
        let declared = usize::from(reader.u16()?);
        let available = reader.rest().len();
        let unit = reader.take(declared).map_err(|_| ParseError::Length { declared, available })?;
        let Some((header, body)) = unit.split_first_chunk() else {
            return Err(ParseError::Malformed("size of an aggregated unit: it has to hold a header"));
        };
        observe(unit_type(*header), body, descriptor);
        if reader.rest().is_empty() {
            return Ok(());
        }
    }
}

/// Notes what the beginning of one NAL unit shows; `body` follows the unit's header and may be cut.
fn observe(unit_type: u8, body: &[u8], descriptor: &mut Descriptor) {
    let is_first_slice = || body.first().is_some_and(|byte| byte & FIRST_SLICE_IN_PICTURE != 0);
    match unit_type {
        0..=LAST_SLICE if is_first_slice() => {
            descriptor.frame_start = true;
            descriptor.keyframe |= RANDOM_ACCESS.contains(&unit_type);
            descriptor.layer_sync |= SUB_LAYER_ACCESS.contains(&unit_type);
        }
        VIDEO_PARAMETERS => {
            descriptor.frame_start = true;
            descriptor.keyframe = true;
        }
        SEQUENCE_PARAMETERS => {
            descriptor.frame_start = true;
            descriptor.keyframe = true;
            descriptor.size = sequence_size(body).or(descriptor.size);
        }
        PICTURE_PARAMETERS | DELIMITER | PREFIX_SEI => descriptor.frame_start = true,
        _ => {}
    }
}

const fn unit_type([first, _]: [u8; UNIT_HEADER]) -> u8 {
    (first >> 1) & UNIT_TYPE_MASK
}

const fn layer_id([first, second]: [u8; UNIT_HEADER]) -> u8 {
    ((first & 1) << 5) | (second >> 3)
}

/// Reads the size inside the conformance window out of a sequence parameter set (ITU-T H.265 §7.3.2.2.1).
fn sequence_size(body: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::escaped(body);
    bits.skip(4)?; // sps_video_parameter_set_id
    let sub_layers = bits.number(3)?; // sps_max_sub_layers_minus1
    bits.skip(1)?; // sps_temporal_id_nesting_flag
    skip_profile_tier_level(&mut bits, sub_layers)?;
    bits.golomb()?; // sps_seq_parameter_set_id
    let chroma = bits.golomb()?;
    if chroma == CHROMA_444 {
        bits.skip(1)?; // separate_colour_plane_flag
    }
    let width = bits.golomb()?;
    let height = bits.golomb()?;
    let (crop_width, crop_height) = if bits.flag()? {
        let (unit_width, unit_height) = match chroma {
            CHROMA_420 => (2, 2),
            CHROMA_422 => (2, 1),
            _ => (1, 1),
        };
        let across = bits.golomb()?.checked_add(bits.golomb()?)?.checked_mul(unit_width)?;
        let down = bits.golomb()?.checked_add(bits.golomb()?)?.checked_mul(unit_height)?;
        (across, down)
    } else {
        (0, 0)
    };
    super::size(width.checked_sub(crop_width)?, height.checked_sub(crop_height)?)
}

/// Skips `profile_tier_level(1, sub_layers)` (ITU-T H.265 §7.3.3).
fn skip_profile_tier_level(bits: &mut Bits<'_>, sub_layers: u32) -> Option<()> {
    bits.skip(PROFILE_BITS.saturating_add(LEVEL_BITS))?;
    if sub_layers == 0 {
        return Some(());
    }
    let mut to_skip = 0_u32;
    for _ in 0..sub_layers {
        if bits.flag()? {
            to_skip = to_skip.saturating_add(PROFILE_BITS);
        }
        if bits.flag()? {
            to_skip = to_skip.saturating_add(LEVEL_BITS);
        }
    }
    let reserved = SUB_LAYERS_MAX.saturating_sub(sub_layers).saturating_mul(2);
    bits.skip(reserved.saturating_add(to_skip))
}

const UNIT_HEADER: usize = 2;
const UNIT_TYPE_MASK: u8 = 0x3f;
const TEMPORAL_MASK: u8 = 0x07;
const LAST_SLICE: u8 = 31;
/// BLA, IDR, CRA and the reserved random access types.
const RANDOM_ACCESS: std::ops::RangeInclusive<u8> = 16..=23;
/// TSA and STSA: points where a receiver may take up a higher temporal layer.
const SUB_LAYER_ACCESS: std::ops::RangeInclusive<u8> = 2..=5;
const VIDEO_PARAMETERS: u8 = 32;
const SEQUENCE_PARAMETERS: u8 = 33;
const PICTURE_PARAMETERS: u8 = 34;
const DELIMITER: u8 = 35;
const PREFIX_SEI: u8 = 39;
const AGGREGATION: u8 = 48;
const FRAGMENTATION: u8 = 49;
const FRAGMENT_START: u8 = 0x80;
const FIRST_SLICE_IN_PICTURE: u8 = 0x80;

const CHROMA_420: u32 = 1;
const CHROMA_422: u32 = 2;
const CHROMA_444: u32 = 3;
const PROFILE_BITS: u32 = 88;
const LEVEL_BITS: u32 = 8;
const SUB_LAYERS_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::super::tests::{bytes, from_bits};
    use super::*;

    #[test]
    fn parameter_sets_begin_a_keyframe_and_show_the_cropped_size() {
        let aggregate = "6001 0018 40010c01ffff01600000030090000003000003003c928090 \
             002b 42010101600000030090000003000003003ca00a480b9c95964a924caf0168080000030008000003005040 \
             0007 4401c172b46240";

        let descriptor = describe(&bytes(aggregate)).unwrap();

        let expected =
            Descriptor { frame_start: true, keyframe: true, size: Some((322, 182)), ..Descriptor::default() };
        assert_eq!(descriptor, expected);
    }

    #[test]
    fn sub_layers_are_skipped_on_the_way_to_the_size() {
        let fields = [
            "0000 001 1",        // one sub-layer more
            &"0".repeat(96),     // the general profile and level
            "11 00000000000000", // the sub-layer has both, too
            &"0".repeat(96),     //
            "1 010",             // identifier 0, 4:2:0
            "0000000001010000001 00000000101101001 0",
        ];

        let size = sequence_size(&escape(&from_bits(&fields.concat())));

        assert_eq!(size, Some((640, 360)));
    }

    #[test]
    fn a_keyframe_begins_with_the_first_fragment_of_its_first_slice() {
        let first = describe(&bytes("6201 94 af0a")).unwrap();
        let second_slice = describe(&bytes("6201 94 2f0a")).unwrap();
        let continued = describe(&bytes("6201 14 af0a")).unwrap();

        assert!(first.keyframe && first.frame_start);
        for later in [second_slice, continued] {
            assert!(!later.keyframe && !later.frame_start);
        }
    }

    #[test]
    fn every_random_access_picture_begins_a_keyframe() {
        for (unit_type, keyframe) in
            [(15, false), (16, true), (18, true), (21, true), (23, true), (24, false)]
        {
            let descriptor = describe(&[unit_type << 1, 1, 0x80]).unwrap();

            assert_eq!(descriptor.keyframe, keyframe, "type {unit_type}");
        }
    }

    #[test]
    fn a_temporal_access_point_lets_receivers_move_up() {
        let access_point = describe(&bytes("0403 80")).unwrap();
        let ordinary = describe(&bytes("0203 80")).unwrap();

        assert_eq!((access_point.temporal, access_point.layer_sync), (2, true));
        assert_eq!((ordinary.temporal, ordinary.layer_sync), (2, false));
        assert!(ordinary.frame_start && !ordinary.keyframe);
    }

    #[test]
    fn the_forbidden_temporal_id_is_refused() {
        assert!(matches!(describe(&bytes("4000 01")), Err(ParseError::Malformed(_))));
    }

    #[test]
    fn an_aggregated_unit_without_header_or_room_is_refused() {
        for size in ["0000", "0001 40"] {
            let refused = describe(&bytes(&format!("6001 {size}")));

            assert!(matches!(refused, Err(ParseError::Malformed(_))), "size {size}");
        }
        assert_eq!(
            describe(&bytes("6001 00ff 4001")),
            Err(ParseError::Length { declared: 255, available: 2 })
        );
    }

    #[test]
    fn a_payload_without_its_headers_is_refused() {
        for cut in ["", "60", "6001", "6201"] {
            assert!(matches!(describe(&bytes(cut)), Err(ParseError::Truncated { .. })), "{cut}");
        }
    }

    fn escape(unit: &[u8]) -> Vec<u8> {
        let mut escaped: Vec<u8> = Vec::new();
        for &byte in unit {
            if byte <= 3 && escaped.ends_with(&[0, 0]) {
                escaped.push(3);
            }
            escaped.push(byte);
        }
        escaped
    }
}
