//! The contexts against `rtc-srtp`, an independent implementation, and against hostile packets.

use super::*;
use crate::DropReason;
use rtc_srtp::context::Context;
use rtc_srtp::crypto::providers::AwsLcRsCrypto;
use rtc_srtp::protection_profile::ProtectionProfile;
use std::collections::BTreeSet;

const PROFILES: [Profile; 3] = [Profile::Aes128Gcm, Profile::Aes256Gcm, Profile::Aes128CmSha1];
const SSRC: u32 = 0x1234_5678;

#[test]
fn an_independent_receiver_opens_100_000_packets_over_the_sequence_wrap() {
    for profile in PROFILES {
        let keys = master_keys(profile);
        let (mut sealer, _) = keys.split(Role::Server).unwrap();
        let mut oracle = oracle(&keys, Role::Server);

        for number in 0..100_000_u32 {
            let packet = rtp_packet(SSRC, number as u16, 1 + number as usize % 40);
            let mut buffer = with_room(&packet);

            let len = sealer.seal_rtp(&mut buffer, packet.len()).unwrap();

            let opened = oracle.decrypt_rtp(&buffer[..len]).unwrap();
            assert_eq!(opened[..], packet[..], "{profile:?} packet {number}");
        }
    }
}

#[test]
fn packets_of_an_independent_sender_open_over_the_sequence_wrap() {
    for profile in PROFILES {
        let keys = master_keys(profile);
        let (_, mut opener) = keys.split(Role::Server).unwrap();
        let mut oracle = oracle(&keys, Role::Client);

        for number in 0..100_000_u32 {
            let packet = rtp_packet(SSRC, number as u16, 1 + number as usize % 40);
            let mut sealed = oracle.encrypt_rtp(&packet).unwrap().to_vec();

            let len = opener.open_rtp(&mut sealed).unwrap();

            assert_eq!(sealed[..len], packet[..], "{profile:?} packet {number}");
        }
    }
}

#[test]
fn control_packets_pass_both_ways_in_both_roles() {
    for profile in PROFILES {
        for (side, other) in [(Role::Server, Role::Client), (Role::Client, Role::Server)] {
            let keys = master_keys(profile);
            let (mut sealer, mut opener) = keys.split(side).unwrap();
            let mut theirs_in = oracle(&keys, side);
            let mut theirs_out = oracle(&keys, other);

            for words in 0..200_usize {
                let packet = rtcp_packet(SSRC, words % 50);
                let mut buffer = with_room(&packet);
                let len = sealer.seal_rtcp(&mut buffer, packet.len()).unwrap();
                assert!(len <= packet.len() + SRTP_OVERHEAD);
                assert_eq!(theirs_in.decrypt_rtcp(&buffer[..len]).unwrap()[..], packet[..]);

                let mut sealed = theirs_out.encrypt_rtcp(&packet).unwrap().to_vec();
                let len = opener.open_rtcp(&mut sealed).unwrap();
                assert_eq!(sealed[..len], packet[..]);
            }
        }
    }
}

#[test]
fn headers_with_sources_and_extensions_stay_readable_and_authentic() {
    for profile in PROFILES {
        let keys = master_keys(profile);
        let (mut sealer, _) = keys.split(Role::Server).unwrap();
        let (_, mut opener) = keys.split(Role::Client).unwrap();
        let mut packet = vec![0x92, 96, 0, 7, 0, 0, 0, 1];
        packet.extend_from_slice(&SSRC.to_be_bytes());
        packet.extend_from_slice(&[1, 1, 1, 1, 2, 2, 2, 2, 0xbe, 0xde, 0, 1, 0x10, 9, 0, 0]);
        let header_len = packet.len();
        packet.extend_from_slice(b"payload");
        let mut buffer = with_room(&packet);

        let len = sealer.seal_rtp(&mut buffer, packet.len()).unwrap();

        assert_eq!(buffer[..header_len], packet[..header_len]);
        assert_ne!(buffer[header_len..packet.len()], packet[header_len..]);
        let mut forged = buffer[..len].to_vec();
        forged[header_len - 3] ^= 1;
        assert_eq!(opener.open_rtp(&mut forged), Err(DropReason::SrtpTag));
        let opened = opener.open_rtp(&mut buffer[..len]).unwrap();
        assert_eq!(buffer[..opened], packet[..]);
    }
}

#[test]
fn a_replayed_packet_is_refused() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let rtp = sealed_rtp(&mut sealer, 1, 20);
        let rtcp = sealed_rtcp(&mut sealer, 4);

        assert!(opener.open_rtp(&mut rtp.clone()).is_ok());
        assert!(opener.open_rtcp(&mut rtcp.clone()).is_ok());

        assert_eq!(opener.open_rtp(&mut rtp.clone()), Err(DropReason::SrtpReplay));
        assert_eq!(opener.open_rtcp(&mut rtcp.clone()), Err(DropReason::SrtpReplay));
    }
}

#[test]
fn late_packets_open_within_a_window_of_128() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let packets: Vec<_> = (0..200).map(|seq| sealed_rtp(&mut sealer, seq, 20)).collect();

        assert!(opener.open_rtp(&mut packets[199].clone()).is_ok());

        assert!(opener.open_rtp(&mut packets[72].clone()).is_ok());
        assert_eq!(opener.open_rtp(&mut packets[71].clone()), Err(DropReason::SrtpReplay));
    }
}

#[test]
fn every_flipped_bit_is_noticed_and_moves_no_window() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let rtp = sealed_rtp(&mut sealer, 1, 5);
        let rtcp = sealed_rtcp(&mut sealer, 2);

        for bit in 0..rtp.len() * 8 {
            let mut forged = rtp.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(opener.open_rtp(&mut forged).is_err(), "{profile:?} bit {bit}");
        }
        for bit in 0..rtcp.len() * 8 {
            let mut forged = rtcp.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(opener.open_rtcp(&mut forged).is_err(), "{profile:?} bit {bit}");
        }

        assert!(opener.open_rtp(&mut rtp.clone()).is_ok());
        assert!(opener.open_rtcp(&mut rtcp.clone()).is_ok());
    }
}

#[test]
fn packets_of_every_length_up_to_64_are_refused_before_authentication() {
    for profile in PROFILES {
        let (_, mut opener) = pair(profile);
        let rtp_least = 12 + profile.tag_len();
        let rtcp_least = 8 + profile.tag_len() + 4;

        for fill in [0x80_u8, 0x90, 0x9f, 0xff, 0x00] {
            for len in 0..=64_usize {
                let mut packet = vec![fill; len];
                let refused = opener.open_rtp(&mut packet).unwrap_err();
                if len < rtp_least {
                    assert_eq!(refused, DropReason::SrtpMalformed, "{profile:?} {len} {fill:#x}");
                }
                let mut packet = vec![fill; len];
                let refused = opener.open_rtcp(&mut packet).unwrap_err();
                if len < rtcp_least {
                    assert_eq!(refused, DropReason::SrtpMalformed, "{profile:?} {len} {fill:#x}");
                }
            }
        }
    }
}

#[test]
fn a_header_longer_than_the_packet_is_malformed() {
    for profile in PROFILES {
        let (_, mut opener) = pair(profile);
        let mut many_sources = rtp_packet(SSRC, 1, 30);
        many_sources[0] = 0x8f;
        let mut long_extension = rtp_packet(SSRC, 1, 30);
        long_extension[0] = 0x90;
        long_extension[12..16].copy_from_slice(&[0xbe, 0xde, 0xff, 0xff]);

        assert_eq!(opener.open_rtp(&mut many_sources), Err(DropReason::SrtpMalformed));
        assert_eq!(opener.open_rtp(&mut long_extension), Err(DropReason::SrtpMalformed));
    }
}

#[test]
fn an_unencrypted_control_packet_is_refused() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let mut packet = sealed_rtcp(&mut sealer, 4);
        let after = if profile == Profile::Aes128CmSha1 { profile.tag_len() } else { 0 };
        let word_at = packet.len() - after - 4;
        packet[word_at] &= 0x7f;

        assert_eq!(opener.open_rtcp(&mut packet), Err(DropReason::SrtpMalformed));
    }
}

#[test]
fn asvs_17_2_3_srtp_authenticated() {
    for profile in PROFILES {
        let (mut sealer, _) = pair(profile);
        let (_, mut stranger) =
            MasterKeys::new(profile, &vec![9; material_len(profile)]).unwrap().split(Role::Client).unwrap();

        assert_eq!(stranger.open_rtp(&mut sealed_rtp(&mut sealer, 1, 20)), Err(DropReason::SrtpTag));
        assert_eq!(stranger.open_rtcp(&mut sealed_rtcp(&mut sealer, 4)), Err(DropReason::SrtpTag));
    }
}

#[test]
fn strangers_cannot_fill_the_table_of_sources_but_a_peer_with_too_many_is_stopped() {
    for profile in PROFILES {
        let keys = master_keys(profile);
        let (_, mut opener) = keys.split(Role::Server).unwrap();
        let mut oracle = oracle(&keys, Role::Client);
        for ssrc in 0..1_000 {
            let mut forged = rtp_packet(ssrc, 1, 40);
            assert_eq!(opener.open_rtp(&mut forged), Err(DropReason::SrtpTag));
        }

        let outcomes: Vec<_> = (0..17_u32)
            .map(|ssrc| opener.open_rtp(&mut oracle.encrypt_rtp(&rtp_packet(ssrc, 1, 40)).unwrap().to_vec()))
            .collect();

        assert!(outcomes[..16].iter().all(Result::is_ok));
        assert_eq!(outcomes[16], Err(DropReason::SrtpSources));
    }
}

#[test]
fn nonce_never_reused() {
    let (mut sealer, _) = pair(Profile::Aes128Gcm);
    let mut sealed = BTreeSet::new();
    let mut unwrapped = [0_u64; 3];
    let mut state = 1_u64;
    let mut refused = 0;

    for _ in 0..200_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let source = (state >> 60) as usize % 3;
        let step = (state >> 40) % 40;
        let index = (unwrapped[source] + step).saturating_sub(20);
        let packet = rtp_packet(source as u32, index as u16, 8);
        let mut buffer = with_room(&packet);

        if sealer.seal_rtp(&mut buffer, packet.len()).is_some() {
            assert!(sealed.insert((source, index)), "source {source} index {index} sealed twice");
            unwrapped[source] = unwrapped[source].max(index);
        } else {
            refused += 1;
        }
    }

    assert!(refused > 10_000);
    assert!(unwrapped.iter().all(|&index| index > 3 << 16), "each source wrapped: {unwrapped:?}");
}

#[test]
fn control_indices_rise_and_end_with_the_life_of_the_key() {
    let (mut sealer, _) = pair(Profile::Aes256Gcm);
    let packet = rtcp_packet(SSRC, 4);
    let mut words = BTreeSet::new();
    for _ in 0..1_000 {
        let sealed = sealed_rtcp(&mut sealer, 4);
        assert!(words.insert(sealed[sealed.len() - 4..].to_vec()));
    }

    sealer.set_rtcp_index(RTCP_E_BIT - 2);

    assert!(sealer.seal_rtcp(&mut with_room(&packet), packet.len()).is_some());
    assert!(sealer.seal_rtcp(&mut with_room(&packet), packet.len()).is_none());
}

#[test]
fn a_buffer_without_room_for_the_tag_is_left_unsealed() {
    for profile in PROFILES {
        let (mut sealer, _) = pair(profile);
        let packet = rtp_packet(SSRC, 1, 20);
        let mut short = packet.clone();
        short.resize(packet.len() + profile.tag_len() - 1, 0);

        assert!(sealer.seal_rtp(&mut short, packet.len()).is_none());
        assert!(sealer.seal_rtp(&mut short, packet.len() + 100).is_none());
        assert_eq!(short[..packet.len()], packet[..]);
        assert!(sealer.seal_rtp(&mut with_room(&packet), packet.len()).is_some());
    }
}

#[test]
fn keying_material_of_a_wrong_length_is_refused() {
    for profile in PROFILES {
        assert!(MasterKeys::new(profile, &vec![0; material_len(profile) - 1]).is_none());
        assert!(MasterKeys::new(profile, &[]).is_none());
    }
}

fn material_len(profile: Profile) -> usize {
    2 * (profile.key_len() + profile.salt_len())
}

fn master_keys(profile: Profile) -> MasterKeys {
    let material: Vec<u8> = (0..material_len(profile)).map(|at| (at * 37 + 11) as u8).collect();
    MasterKeys::new(profile, &material).unwrap()
}

/// A sealer and the opener of the other side.
fn pair(profile: Profile) -> (Sealer, Opener) {
    let keys = master_keys(profile);
    (keys.split(Role::Server).unwrap().0, keys.split(Role::Client).unwrap().1)
}

/// The independent context with the keys that `writer` seals with.
fn oracle(keys: &MasterKeys, writer: Role) -> Context {
    let (key_len, salt_len) = (keys.profile.key_len(), keys.profile.salt_len());
    let (key_at, salt_at) = match writer {
        Role::Client => (0, 2 * key_len),
        Role::Server => (key_len, 2 * key_len + salt_len),
    };
    let profile = match keys.profile {
        Profile::Aes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Profile::Aes256Gcm => ProtectionProfile::AeadAes256Gcm,
        Profile::Aes128CmSha1 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let key = &keys.material[key_at..key_at + key_len];
    let salt = &keys.material[salt_at..salt_at + salt_len];
    Context::new(key, salt, profile, None, None, &AwsLcRsCrypto).unwrap()
}

fn rtp_packet(ssrc: u32, seq: u16, payload_len: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&seq.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend((0..payload_len).map(|at| at as u8));
    packet
}

fn rtcp_packet(ssrc: u32, words: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 204];
    packet.extend_from_slice(&(words as u16 + 2).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(b"test");
    packet.extend((0..4 * words).map(|at| at as u8));
    packet
}

fn with_room(packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + SRTP_OVERHEAD, 0xaa);
    buffer
}

fn sealed_rtp(sealer: &mut Sealer, seq: u16, payload_len: usize) -> Vec<u8> {
    let packet = rtp_packet(SSRC, seq, payload_len);
    let mut buffer = with_room(&packet);
    let len = sealer.seal_rtp(&mut buffer, packet.len()).unwrap();
    buffer.truncate(len);
    buffer
}

fn sealed_rtcp(sealer: &mut Sealer, words: usize) -> Vec<u8> {
    let packet = rtcp_packet(SSRC, words);
    let mut buffer = with_room(&packet);
    let len = sealer.seal_rtcp(&mut buffer, packet.len()).unwrap();
    buffer.truncate(len);
    buffer
}
