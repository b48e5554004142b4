//! Arbitrary bytes never make a parser panic, nor break what holds for any input.
//!
//! The seed is fixed, so that a gate is the same run every time; the fuzz targets search on.
#![expect(clippy::expect_used, reason = "a test may end its process")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

mod exercise;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn arbitrary_rtp_packets_are_survived(bytes in framed(0x80..=0xbf_u8, 0..=255_u8)) {
        exercise::rtp(&bytes);
    }

    #[test]
    fn arbitrary_rtcp_compounds_are_survived(bytes in compound()) {
        exercise::rtcp(&bytes);
    }

    #[test]
    fn arbitrary_payloads_are_survived(codec in 0..8_u8, mut bytes in vec(any::<u8>(), 0..200)) {
        bytes.insert(0, codec);
        exercise::payload(&bytes);
    }

    #[test]
    fn arbitrary_red_payloads_are_survived(bytes in vec(any::<u8>(), 0..200)) {
        exercise::red(&bytes);
    }

    #[test]
    fn bytes_without_any_shape_are_survived(bytes in vec(any::<u8>(), 0..400)) {
        exercise::rtp(&bytes);
        exercise::rtcp(&bytes);
        exercise::payload(&bytes);
        exercise::red(&bytes);
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 20 } else { 2_000 },
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2_198),
        ..ProptestConfig::default()
    }
}

/// Bytes behind two chosen ones, so that the version is mostly right.
fn framed(
    first: impl Strategy<Value = u8>,
    second: impl Strategy<Value = u8>,
) -> impl Strategy<Value = Vec<u8>> {
    (first, second, vec(any::<u8>(), 0..200)).prop_map(|(first, second, mut rest)| {
        rest.splice(0..0, [first, second]);
        rest
    })
}

/// Up to four packets with headers that mostly tell the truth about their length.
fn compound() -> impl Strategy<Value = Vec<u8>> {
    let packet = (0x80..=0xbf_u8, 199..=208_u8, vec(any::<u8>(), 0..80), 0..20_u16);
    vec(packet, 1..5).prop_map(|packets| {
        let mut bytes = Vec::new();
        for (first, packet_type, mut body, lie) in packets {
            body.truncate(body.len() / 4 * 4);
            let words = u16::try_from(body.len() / 4).unwrap_or(0).wrapping_add(u16::from(lie == 0));
            bytes.extend([first, packet_type]);
            bytes.extend(words.to_be_bytes());
            bytes.extend(body);
        }
        bytes
    })
}
