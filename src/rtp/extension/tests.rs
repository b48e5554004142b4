#![expect(clippy::arithmetic_side_effects, reason = "a test may end its process")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn every_extension_is_found_by_its_name() {
    for extension in Extension::ALL {
        assert_eq!(Extension::from_uri(extension.uri()), Some(extension));
    }
    assert_eq!(Extension::from_uri("urn:ietf:params:rtp-hdrext:toffset"), None);
}

#[test]
fn a_map_answers_in_both_directions() {
    let mut map = ExtensionMap::new();

    assert!(map.insert(3, Extension::Mid));
    assert!(map.insert(200, Extension::Rid));

    assert_eq!(map.id(Extension::Mid), Some(3));
    assert_eq!(map.extension(3), Some(Extension::Mid));
    assert_eq!(map.id(Extension::Rid), Some(200));
    assert_eq!(map.extension(200), Some(Extension::Rid));
    assert_eq!(map.id(Extension::TransportCc), None);
    assert_eq!(map.extension(4), None);
    assert_eq!(map.iter().collect::<Vec<_>>(), [(3, Extension::Mid), (200, Extension::Rid)]);
}

#[test]
fn a_bound_identifier_or_extension_is_not_bound_again() {
    let mut map = ExtensionMap::new();
    assert!(map.insert(3, Extension::Mid));

    assert!(map.insert(3, Extension::Mid), "the same pair again does no harm");
    assert!(!map.insert(3, Extension::Rid));
    assert!(!map.insert(4, Extension::Mid));

    assert_eq!(map.iter().collect::<Vec<_>>(), [(3, Extension::Mid)]);
}

#[test]
fn reserved_identifiers_are_not_bound() {
    let mut map = ExtensionMap::new();

    assert!(!map.insert(0, Extension::Mid));
    assert!(!map.insert(15, Extension::Mid));
}

#[test]
fn one_byte_elements_are_read_across_padding() {
    let block = Extensions::new(0xbede, &[0x10, b'0', 0, 0, 0x31, 0xab, 0xcd, 0]);

    assert_eq!(block.iter().collect::<Vec<_>>(), [(1, &b"0"[..]), (3, &[0xab, 0xcd][..])]);
}

#[test]
fn two_byte_elements_may_be_empty_or_long() {
    let mut bytes = vec![4, 0, 0, 5, 20];
    bytes.extend([7; 20]);

    let block = Extensions::new(0x1003, &bytes);

    assert_eq!(block.iter().collect::<Vec<_>>(), [(4, &[][..]), (5, &[7; 20][..])]);
}

#[test]
fn nothing_behind_a_reserved_one_byte_identifier_is_read() {
    for reserved in [0xf0, 0x02] {
        let bytes = [0x10, b'0', reserved, 0x10, b'1', 0, 0, 0];
        let block = Extensions::new(0xbede, &bytes);

        assert_eq!(block.iter().collect::<Vec<_>>(), [(1, &b"0"[..])], "{reserved:#x}");
    }
}

#[test]
fn an_element_that_does_not_fit_ends_the_block() {
    let one_byte = Extensions::new(0xbede, &[0x10, b'0', 0x2f, 1]);
    let two_byte = Extensions::new(0x1000, &[1, 1, b'0', 2]);

    assert_eq!(one_byte.iter().collect::<Vec<_>>(), [(1, &b"0"[..])]);
    assert_eq!(two_byte.iter().collect::<Vec<_>>(), [(1, &b"0"[..])]);
}

#[test]
fn a_block_of_an_unknown_profile_is_empty() {
    assert!(Extensions::new(0xabcd, &[0x10, b'0', 0, 0]).is_empty());
}

#[test]
fn short_elements_are_written_in_the_one_byte_form() {
    let mut out = [0xee; 16];
    let mut writer = ExtensionWriter::new(&mut out);

    assert!(writer.push(1, b"0"));
    assert!(writer.push(14, &[0xab, 0xcd]));
    let length = writer.finish();

    assert_eq!(out[..length], [0xbe, 0xde, 0, 2, 0x10, b'0', 0xe1, 0xab, 0xcd, 0, 0, 0]);
}

#[test]
fn a_long_element_turns_the_block_into_the_two_byte_form() {
    let mut out = [0; 64];
    let mut writer = ExtensionWriter::new(&mut out);

    assert!(writer.push(1, b"0"));
    assert!(writer.push(2, &[0xab, 0xcd]));
    assert!(writer.push(3, &[9; 17]));
    assert!(writer.push(4, &[]));
    let length = writer.finish();

    assert_eq!(out[..4], [0x10, 0, 0, 7]);
    let expected = [(1, &b"0"[..]), (2, &[0xab, 0xcd]), (3, &[9; 17]), (4, &[])];
    assert_eq!(Extensions::new(0x1000, &out[4..length]).iter().collect::<Vec<_>>(), expected);
}

#[test]
fn an_element_without_room_changes_nothing() {
    let mut out = [0; 8];
    let mut writer = ExtensionWriter::new(&mut out);

    assert!(writer.push(1, &[1, 2, 3]));
    assert!(!writer.push(2, &[1]), "the block is full");
    assert!(!writer.push(2, &[]), "nor is there room for the wider form");
    let length = writer.finish();

    assert_eq!(out[..length], [0xbe, 0xde, 0, 1, 0x12, 1, 2, 3]);
}

#[test]
fn a_block_without_elements_has_no_length() {
    assert_eq!(ExtensionWriter::new(&mut [0; 8]).finish(), 0);
    assert_eq!(ExtensionWriter::new(&mut []).finish(), 0);
    assert!(!ExtensionWriter::new(&mut []).push(1, b"0"));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_was_pushed_is_what_is_read(
        elements in vec((1..=254_u8, vec(any::<u8>(), 0..40)), 1..8),
        room in 0..200_usize,
    ) {
        let mut out = vec![0xee; room];
        let mut pushed = Vec::new();

        let mut writer = ExtensionWriter::new(&mut out);
        for (id, value) in &elements {
            if writer.push(*id, value) {
                pushed.push((*id, &value[..]));
            }
        }
        let length = writer.finish();

        prop_assert_eq!(length % 4, 0);
        prop_assert_eq!(length == 0, pushed.is_empty());
        if length > 0 {
            let profile = u16::from_be_bytes([out[0], out[1]]);
            let words = u16::from_be_bytes([out[2], out[3]]);
            prop_assert_eq!(usize::from(words) * 4 + 4, length);
            let read: Vec<_> = Extensions::new(profile, &out[4..length]).iter().collect();
            prop_assert_eq!(read, pushed);
        }
    }
}

/// The same cases in every run, and few under Miri.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 8 } else { 256 },
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(8_285),
        ..ProptestConfig::default()
    }
}
