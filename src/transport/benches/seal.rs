//! What SRTP costs: sealing what goes to viewers, opening what comes from publishers and viewers.
//!
//! Budget, CPU time, as a ratio to the bare cipher under as many keys in the same run, copy of the packet included on
//! both sides: sealing or opening a packet of 1,200 bytes costs at most 1.3 times bare AES-128-GCM, AES-256-GCM or
//! AES-CTR with HMAC-SHA1. RTCP is short, so its share of fixed cost is larger: 300 ns a compound, 800 with the
//! HMAC; a viewer sends and receives one for 17 packets or more.
//!
//! `cargo bench --locked -p nearcast-transport --bench seal`
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a bench may end its process")]

#[path = "../../rtp/benches/budget/mod.rs"]
mod budget;

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use budget::{Bench, Budget, Chunk, Each, OverBudget, cpu_time};
use transport::dtls::Role;
use transport::srtp::{MasterKeys, Opener, Profile, SRTP_OVERHEAD, Sealer};

fn main() -> Result<(), OverBudget> {
    let mut bench = Bench::new("seal");
    bare(&mut bench);
    for names in NAMES {
        seal_rtp(&mut bench, &names);
        open_rtp(&mut bench, &names);
        rtcp(&mut bench, &names);
    }
    bench.finish()
}

/// The parts of one profile, and the bare cipher that they are compared with.
struct Names {
    profile: Profile,
    bare: &'static str,
    bare_one_key: &'static str,
    seal_rtp: &'static str,
    open_rtp: &'static str,
    seal_rtcp: &'static str,
    open_rtcp: &'static str,
}

const NAMES: [Names; 3] = [
    Names {
        profile: Profile::Aes128Gcm,
        bare: "bare_aes128_gcm",
        bare_one_key: "bare_aes128_gcm_one_key",
        seal_rtp: "seal_rtp_aes128_gcm",
        open_rtp: "open_rtp_aes128_gcm",
        seal_rtcp: "seal_rtcp_aes128_gcm",
        open_rtcp: "open_rtcp_aes128_gcm",
    },
    Names {
        profile: Profile::Aes256Gcm,
        bare: "bare_aes256_gcm",
        bare_one_key: "bare_aes256_gcm_one_key",
        seal_rtp: "seal_rtp_aes256_gcm",
        open_rtp: "open_rtp_aes256_gcm",
        seal_rtcp: "seal_rtcp_aes256_gcm",
        open_rtcp: "open_rtcp_aes256_gcm",
    },
    Names {
        profile: Profile::Aes128CmSha1,
        bare: "bare_aes128_cm_sha1",
        bare_one_key: "bare_aes128_cm_sha1_one_key",
        seal_rtp: "seal_rtp_aes128_cm_sha1",
        open_rtp: "open_rtp_aes128_cm_sha1",
        seal_rtcp: "seal_rtcp_aes128_cm_sha1",
        open_rtcp: "open_rtcp_aes128_cm_sha1",
    },
];

fn bare(bench: &mut Bench) {
    for Names { profile, bare, bare_one_key, .. } in NAMES {
        for (name, count) in [(bare, KEYS), (bare_one_key, 1)] {
            let mut ciphers: Vec<Bare> = (0..count).map(|key| Bare::new(profile, key)).collect();
            let packet = rtp_packet(0);
            let mut out = vec![0; packet.len() + SRTP_OVERHEAD];
            let mut number: u64 = 0;
            bench.part(name, Budget::Reference, chunk(packet.len()), || {
                cpu_time(|| {
                    for key in 0..KEYS {
                        number += 1;
                        out[..packet.len()].copy_from_slice(black_box(&packet));
                        ciphers[key % count].seal(number, black_box(&mut out));
                    }
                })
            });
        }
    }
}

/// One packet to each of the viewers in turn, as fan-out does with the newest packet.
fn seal_rtp(bench: &mut Bench, names: &Names) {
    let mut sealers: Vec<Sealer> = (0..KEYS).map(|key| halves(names.profile, key).0).collect();
    let mut packet = rtp_packet(0);
    let mut out = vec![0; packet.len() + SRTP_OVERHEAD];
    let mut seq: u16 = 0;
    bench.part(names.seal_rtp, Budget::Times(1.3, names.bare), chunk(packet.len()), || {
        seq = seq.wrapping_add(1);
        packet[2..4].copy_from_slice(&seq.to_be_bytes());
        cpu_time(|| {
            for sealer in &mut sealers {
                out[..packet.len()].copy_from_slice(black_box(&packet));
                black_box(sealer.seal_rtp(&mut out, packet.len()).unwrap());
            }
        })
    });
}

/// The packets of one publisher.
fn open_rtp(bench: &mut Bench, names: &Names) {
    let (mut sealer, mut opener) = halves(names.profile, 0);
    let mut seq: u16 = 0;
    let length = rtp_packet(0).len();
    bench.part(names.open_rtp, Budget::Times(1.3, names.bare_one_key), chunk(length), || {
        let mut sealed: Vec<Vec<u8>> = (0..KEYS)
            .map(|_| {
                seq = seq.wrapping_add(1);
                with_room(rtp_packet(seq), |buffer, len| sealer.seal_rtp(buffer, len))
            })
            .collect();
        cpu_time(|| {
            for packet in &mut sealed {
                assert_eq!(opener.open_rtp(black_box(packet)), Ok(length));
            }
        })
    });
}

/// One compound to and from each of the viewers in turn.
fn rtcp(bench: &mut Bench, names: &Names) {
    let mut halves: Vec<(Sealer, Opener)> = (0..KEYS).map(|key| halves(names.profile, key)).collect();
    let compound = rtcp_compound();
    let mut out = vec![0; compound.len() + SRTP_OVERHEAD];
    let budget = match names.profile {
        Profile::Aes128Gcm | Profile::Aes256Gcm => Budget::Nanos(300.0),
        Profile::Aes128CmSha1 => Budget::Nanos(800.0),
    };
    bench.part(names.seal_rtcp, budget, chunk(compound.len()), || {
        cpu_time(|| {
            for (sealer, _) in &mut halves {
                out[..compound.len()].copy_from_slice(black_box(&compound));
                black_box(sealer.seal_rtcp(&mut out, compound.len()).unwrap());
            }
        })
    });
    bench.part(names.open_rtcp, budget, chunk(compound.len()), || -> Duration {
        let mut sealed: Vec<Vec<u8>> = halves
            .iter_mut()
            .map(|(sealer, _)| with_room(compound.clone(), |buffer, len| sealer.seal_rtcp(buffer, len)))
            .collect();
        cpu_time(|| {
            for ((_, opener), packet) in halves.iter_mut().zip(&mut sealed) {
                assert_eq!(opener.open_rtcp(black_box(packet)), Ok(compound.len()));
            }
        })
    });
}

/// The cipher of a profile without SRTP around it.
enum Bare {
    Aead(Box<LessSafeKey>),
    CounterMode(Box<(EncryptingKey, hmac::Key)>),
}

impl Bare {
    fn new(profile: Profile, key: usize) -> Self {
        let bytes = [key as u8 ^ (key >> 8) as u8; 32];
        let aead = |algorithm: &'static Algorithm| {
            let key = UnboundKey::new(algorithm, &bytes[..algorithm.key_len()]).unwrap();
            Self::Aead(Box::new(LessSafeKey::new(key)))
        };
        match profile {
            Profile::Aes128Gcm => aead(&AES_128_GCM),
            Profile::Aes256Gcm => aead(&AES_256_GCM),
            Profile::Aes128CmSha1 => {
                let cipher = UnboundCipherKey::new(&AES_128, &bytes[..16]).unwrap();
                let tag = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes[..20]);
                Self::CounterMode(Box::new((EncryptingKey::ctr(cipher).unwrap(), tag)))
            }
        }
    }

    fn seal(&mut self, number: u64, out: &mut [u8]) {
        let end = out.len() - SRTP_OVERHEAD;
        let (packet, room) = out.split_at_mut(end);
        match self {
            Self::Aead(key) => {
                let (header, payload) = packet.split_at_mut(HEADER_BYTES);
                let mut nonce = [0; 12];
                nonce[4..].copy_from_slice(&number.to_be_bytes());
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload).unwrap();
                room[..16].copy_from_slice(tag.as_ref());
            }
            Self::CounterMode(keys) => {
                let (cipher, tag) = &**keys;
                let block = (u128::from(number) << 16).to_be_bytes();
                let context = EncryptionContext::Iv128(FixedLength::from(block));
                cipher.less_safe_encrypt(&mut packet[HEADER_BYTES..], context).unwrap();
                room[..10].copy_from_slice(&hmac::sign(tag, packet).as_ref()[..10]);
            }
        }
    }
}

/// What the server seals with and what the client opens with: the same keys.
fn halves(profile: Profile, key: usize) -> (Sealer, Opener) {
    let mut material = vec![0x5a; 2 * (profile.key_len() + profile.salt_len())];
    material[..8].copy_from_slice(&(key as u64).to_be_bytes());
    material[profile.key_len()..][..8].copy_from_slice(&(key as u64 + 1).to_be_bytes());
    let keys = MasterKeys::new(profile, &material).unwrap();
    (keys.split(Role::Server).unwrap().0, keys.split(Role::Client).unwrap().1)
}

fn with_room(mut packet: Vec<u8>, seal: impl FnOnce(&mut [u8], usize) -> Option<usize>) -> Vec<u8> {
    let length = packet.len();
    packet.resize(length + SRTP_OVERHEAD, 0);
    let sealed = seal(&mut packet, length).unwrap();
    packet.truncate(sealed);
    packet
}

/// 1,200 bytes of payload behind a header with transport-wide number and send time.
fn rtp_packet(seq: u16) -> Vec<u8> {
    let mut packet = vec![0x90, 96];
    packet.extend(seq.to_be_bytes());
    packet.extend([0, 0, 0x5a, 0x5a, 0, 0, 0x11, 0x11]);
    packet.extend([0xbe, 0xde, 0, 2, 0x21, 0, 7, 0x32, 1, 2, 3, 0]);
    packet.resize(HEADER_BYTES + 1_200, 0x5a);
    packet
}

/// As long as a viewer's report with its name, feedback on 17 packets and a NACK.
fn rtcp_compound() -> Vec<u8> {
    let mut compound = vec![0x81, 201, 0, 7];
    compound.resize(148, 0x5a);
    compound
}

const fn chunk(bytes: usize) -> Chunk {
    Chunk { operations: KEYS as u64, each: Each::Bytes(bytes) }
}

const HEADER_BYTES: usize = 24;
/// Viewers of a shard whose keys take turns: more than the first-level cache holds.
const KEYS: usize = 500;
