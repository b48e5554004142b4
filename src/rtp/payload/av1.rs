//! AV1 payloads: the aggregation header and the OBU elements behind it (AV1 RTP specification v1.0 §4).
//!
//! Packet path. Layers come from OBU extension headers; where the dependency descriptor is negotiated, it knows
//! more.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use super::Descriptor;
use super::bits::Bits;
use crate::ParseError;
use crate::reader::Reader;

/// Describes one payload.
///
/// # Errors
///
/// When there is no element, an element does not fit, or a size has more than eight bytes or 32 bits.
pub fn describe(payload: &[u8]) -> Result<Descriptor, ParseError> {
    let mut reader = Reader::new(payload);
    let aggregation = reader.u8()?;
    if reader.rest().is_empty() {
        return Err(ParseError::Truncated { expected: 1, came: 0 });
    }
    let mut seen = Seen::default();
    let mut is_continued = aggregation & CONTINUES != 0;
    let mut count = (aggregation >> 4) & ELEMENT_COUNT_MASK;
    while !reader.rest().is_empty() {
        let element =
            if count == 1 { reader.take(reader.rest().len())? } else { sized_element(&mut reader)? };
        count = count.saturating_sub(1);
        if !is_continued {
            seen.observe(element);
        }
        is_continued = false;
    }
    let starts_sequence = aggregation & (NEW_SEQUENCE | CONTINUES) == NEW_SEQUENCE;
    let (temporal, spatial) = seen.layers.unwrap_or((0, 0));
    Ok(Descriptor {
        frame_start: seen.frame_start && spatial == 0,
        keyframe: starts_sequence && seen.sequence_header,
        temporal,
        spatial,
        size: seen.size,
        ..Descriptor::default()
    })
}

/// What the elements that begin in one packet show.
#[derive(Default)]
struct Seen {
    frame_start: bool,
    sequence_header: bool,
    /// Temporal and spatial layer of the first OBU that names them.
    layers: Option<(u8, u8)>,
    size: Option<(u16, u16)>,
}

impl Seen {
    /// Notes one OBU; one that is cut inside its header shows nothing.
    fn observe(&mut self, element: &[u8]) {
        let mut reader = Reader::new(element);
        let Ok(header) = reader.u8() else { return };
        if header & OBU_HAS_EXTENSION != 0 {
            let Ok(extension) = reader.u8() else { return };
            self.layers.get_or_insert((extension >> 5, (extension >> 3) & 3));
        }
        if header & OBU_HAS_SIZE != 0 && leb128(&mut reader).is_err() {
            return;
        }
        match (header >> 3) & OBU_TYPE_MASK {
            OBU_SEQUENCE_HEADER => {
                self.frame_start = true;
                self.sequence_header = true;
                self.size = sequence_size(reader.rest()).or(self.size);
            }
            OBU_TEMPORAL_DELIMITER | OBU_FRAME_HEADER | OBU_FRAME => self.frame_start = true,
            _ => {}
        }
    }
}

fn sized_element<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], ParseError> {
    let declared = leb128(reader)?;
    let available = reader.rest().len();
    reader.take(declared).map_err(|_| ParseError::Length { declared, available })
}

/// Reads a `leb128` number (AV1 bitstream specification §4.10.5) of at most 32 bits.
fn leb128(reader: &mut Reader<'_>) -> Result<usize, ParseError> {
    let mut value = 0_u64;
    for place in 0..LEB128_BYTES_MAX {
        let byte = reader.u8()?;
        value |= u64::from(byte & 0x7f) << place.saturating_mul(7);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok().and_then(|value| usize::try_from(value).ok());
            return value.ok_or(ParseError::Malformed("AV1 element size: at most 32 bits"));
        }
    }
    Err(ParseError::Malformed("AV1 element size: at most eight bytes"))
}

/// Reads the largest frame size out of a sequence header (AV1 bitstream specification §5.5.1).
fn sequence_size(body: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(body);
    bits.skip(4)?; // seq_profile, still_picture
    let is_reduced = bits.flag()?;
    if is_reduced {
        bits.skip(5)?; // seq_level_idx
    } else {
        skip_operating_points(&mut bits)?;
    }
    let width_bits = u8::try_from(bits.number(4)?).ok()?.checked_add(1)?;
    let height_bits = u8::try_from(bits.number(4)?).ok()?.checked_add(1)?;
    let width = bits.number(width_bits)?.checked_add(1)?;
    let height = bits.number(height_bits)?.checked_add(1)?;
    super::size(width, height)
}

/// Skips timing, decoder model and operating points.
fn skip_operating_points(bits: &mut Bits<'_>) -> Option<()> {
    let mut delay_bits = None;
    if bits.flag()? {
        bits.skip(64)?; // num_units_in_display_tick, time_scale
        if bits.flag()? {
            bits.golomb()?; // num_ticks_per_picture_minus_1: uvlc has the form of an Exp-Golomb number
        }
        if bits.flag()? {
            delay_bits = Some(bits.number(5)?.checked_add(1)?);
            bits.skip(42)?; // num_units_in_decoding_tick and two more lengths
        }
    }
    let has_display_delay = bits.flag()?;
    for _ in 0..=bits.number(5)? {
        bits.skip(12)?; // operating_point_idc
        if bits.number(5)? > LEVEL_WITHOUT_TIER_MAX {
            bits.skip(1)?; // seq_tier
        }
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.skip(delay_bits.checked_mul(2)?.checked_add(1)?)?; // two delays, low_delay_mode_flag
        }
        if has_display_delay && bits.flag()? {
            bits.skip(4)?; // initial_display_delay_minus_1
        }
    }
    Some(())
}

const CONTINUES: u8 = 0x80;
const ELEMENT_COUNT_MASK: u8 = 0x03;
const NEW_SEQUENCE: u8 = 0x08;
const OBU_TYPE_MASK: u8 = 0x0f;
const OBU_HAS_EXTENSION: u8 = 0x04;
const OBU_HAS_SIZE: u8 = 0x02;
const OBU_SEQUENCE_HEADER: u8 = 1;
const OBU_TEMPORAL_DELIMITER: u8 = 2;
const OBU_FRAME_HEADER: u8 = 3;
const OBU_FRAME: u8 = 6;
const LEB128_BYTES_MAX: u32 = 8;
const LEVEL_WITHOUT_TIER_MAX: u32 = 7;

#[cfg(test)]
mod tests {
    use super::super::tests::{bytes, from_bits};
    use super::*;

    #[test]
    fn a_new_sequence_begins_a_keyframe_and_shows_the_size() {
        for encoder in ["28 0c 08 0000 00043d06d4daf9004032 30 10008340", "18 08 0000 00043d06d4fbf90040"] {
            let descriptor = describe(&bytes(encoder)).unwrap();

            assert!(descriptor.frame_start && descriptor.keyframe, "{encoder}");
            assert_eq!(descriptor.size, Some((322, 182)), "{encoder}");
        }
    }

    #[test]
    fn sized_elements_and_sized_units_are_read() {
        let descriptor = describe(&bytes("08 02 1200 0d 0a0b 000000043d06d4daf90040")).unwrap();

        assert!(descriptor.keyframe);
        assert_eq!(descriptor.size, Some((322, 182)));
    }

    #[test]
    fn timing_and_several_operating_points_are_skipped_on_the_way_to_the_size() {
        let fields = [
            "000 0 0", // profile, still_picture, reduced
            "1",
            &"0".repeat(64),
            "1 010 1", // timing_info, num_ticks_per_picture_minus_1 = 1, decoder model
            "00100",
            &"0".repeat(42),
            "1",     // delays of five bits, display delay
            "00001", // two operating points
            "000000000000 01000 1",
            "1 00000 00000 0",
            "1 0000",
            "000000000000 00111",
            "0",
            "0",
            "1001 1000",
            "1001111111 101100111",
        ];

        let size = sequence_size(&from_bits(&fields.concat()));

        assert_eq!(size, Some((640, 360)));
    }

    #[test]
    fn a_sequence_header_without_the_new_sequence_bit_is_no_keyframe() {
        let descriptor = describe(&bytes("10 08 0000 00043d06d4fbf90040")).unwrap();

        assert!(descriptor.frame_start && !descriptor.keyframe);
    }

    #[test]
    fn a_continued_element_shows_nothing() {
        assert_eq!(describe(&bytes("98 08 0000 00043d06d4fbf90040")).unwrap(), Descriptor::default());
    }

    #[test]
    fn the_unit_behind_a_continued_element_is_read() {
        assert!(describe(&bytes("a0 02 aabb 30 00")).unwrap().frame_start);
    }

    #[test]
    fn a_packet_that_continues_an_element_begins_no_sequence() {
        let descriptor = describe(&bytes("a8 02 aabb 08 0000 00043d06d4fbf90040")).unwrap();

        assert!(descriptor.frame_start && !descriptor.keyframe);
    }

    #[test]
    fn layers_come_from_the_unit_extension() {
        let descriptor = describe(&bytes("10 34 48 aabbcc")).unwrap();

        assert_eq!((descriptor.temporal, descriptor.spatial), (2, 1));
        assert!(!descriptor.frame_start, "a higher spatial layer does not begin the picture");
    }

    #[test]
    fn an_element_size_beyond_the_packet_is_refused() {
        assert_eq!(describe(&bytes("00 ff01 0a")), Err(ParseError::Length { declared: 255, available: 1 }));
    }

    #[test]
    fn an_element_size_that_does_not_end_is_refused() {
        assert!(matches!(describe(&bytes("00 8080808080808080 00")), Err(ParseError::Malformed(_))));
        assert!(matches!(describe(&bytes("00 ffffffffffffff7f")), Err(ParseError::Malformed(_))));
        assert!(matches!(describe(&bytes("00 808080")), Err(ParseError::Truncated { .. })));
    }

    #[test]
    fn a_payload_without_element_is_refused() {
        for cut in ["", "08"] {
            assert!(matches!(describe(&bytes(cut)), Err(ParseError::Truncated { .. })), "{cut}");
        }
    }
}
