//! Redundant audio: earlier frames repeated in front of the newest one (RFC 2198).
//!
//! Packet path. The newest block, the *primary*, is what a viewer without RED gets.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use std::ops::Range;

use crate::reader::Reader;
use crate::{ParseError, PayloadType};

/// Finds the primary block: its payload type and where it lies in `payload`.
///
/// # Errors
///
/// When the list of headers does not end, or the redundant blocks are longer than the payload.
pub fn primary(payload: &[u8]) -> Result<(PayloadType, Range<usize>), ParseError> {
    let mut reader = Reader::new(payload);
    let mut redundant = 0_usize;
    loop {
        let first = reader.u8()?;
        if first & FOLLOWED_BIT == 0 {
            let available = reader.rest().len();
            let Some(length) = available.checked_sub(redundant) else {
                return Err(ParseError::Length { declared: redundant, available });
            };
            let start = payload.len().saturating_sub(length);
            return Ok((PayloadType(first & PAYLOAD_TYPE_MASK), start..payload.len()));
        }
        let [_offset, offset_and_length, length_low] = reader.array()?;
        let length = u16::from_be_bytes([offset_and_length & LENGTH_HIGH_MASK, length_low]);
        redundant = redundant.saturating_add(usize::from(length));
    }
}

const FOLLOWED_BIT: u8 = 0x80;
const PAYLOAD_TYPE_MASK: u8 = 0x7f;
const LENGTH_HIGH_MASK: u8 = 0x03;

#[cfg(test)]
mod tests {
    use super::super::tests::bytes;
    use super::*;

    #[test]
    fn the_primary_block_alone_is_everything_behind_its_header() {
        assert_eq!(primary(&bytes("6f 780102")), Ok((PayloadType(111), 1..4)));
    }

    #[test]
    fn the_primary_block_stands_behind_the_redundant_ones() {
        let payload = bytes("ef 1e0002 ef 0f0003 6f aabb ccddee 7801");

        assert_eq!(primary(&payload), Ok((PayloadType(111), 14..16)));
    }

    #[test]
    fn a_length_of_ten_bits_is_read() {
        let mut payload = bytes("ef 0f03ff 6f");
        payload.extend([0; 1_023]);
        payload.push(0x78);

        assert_eq!(primary(&payload), Ok((PayloadType(111), 1_028..1_029)));
    }

    #[test]
    fn redundant_blocks_longer_than_the_payload_are_refused() {
        assert_eq!(
            primary(&bytes("ef 0f0003 6f 7801")),
            Err(ParseError::Length { declared: 3, available: 2 })
        );
    }

    #[test]
    fn headers_without_end_are_refused() {
        for cut in ["", "ef", "ef0f00", "ef0f0000", "efefefefefefefef"] {
            assert!(matches!(primary(&bytes(cut)), Err(ParseError::Truncated { .. })), "{cut}");
        }
    }
}
