#![expect(clippy::arithmetic_side_effects, reason = "a test may end its process")]

use super::*;

#[test]
fn every_audio_packet_begins_a_frame_and_no_keyframe() {
    for codec in [Codec::Opus, Codec::Red] {
        let expected = Descriptor { frame_start: true, ..Descriptor::default() };

        assert_eq!(describe(codec, &[0x78, 1, 2]), Ok(expected));
        assert_eq!(describe(codec, &[]), Ok(expected), "comfort noise may be empty");
    }
}

#[test]
fn an_empty_video_payload_is_refused() {
    for codec in [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1] {
        assert!(describe(codec, &[]).is_err(), "{codec:?}");
    }
}

#[test]
fn a_size_has_neither_an_empty_nor_an_endless_side() {
    assert_eq!(size(1, 65_535), Some((1, 65_535)));
    assert_eq!(size(0, 1), None);
    assert_eq!(size(1, 65_536), None);
}

/// Turns hexadecimal digits into bytes; blanks separate fields.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|digit| !digit.is_whitespace()).collect();
    let nibble = |digit: char| u8::try_from(digit.to_digit(16).unwrap()).unwrap();
    digits.chunks(2).map(|pair| (nibble(pair[0]) << 4) | nibble(pair[1])).collect()
}

/// Turns binary digits into bytes, filled with zeros; blanks separate fields.
pub(super) fn from_bits(bits: &str) -> Vec<u8> {
    let bits: Vec<u8> = bits.bytes().filter(|bit| !bit.is_ascii_whitespace()).collect();
    let byte =
        |bits: &[u8]| bits.iter().fold(0, |value, bit| (value << 1) | (bit - b'0')) << (8 - bits.len());
    bits.chunks(8).map(byte).collect()
}
