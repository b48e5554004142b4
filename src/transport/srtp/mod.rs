//! SRTP and SRTCP: one session's media keys, sealing and opening packets in place. Packet path.
//!
//! A handshake exports one block of keys for both directions ([`MasterKeys`]); [`MasterKeys::split`] gives the
//! two halves, one to seal with and one to open with. Each half is expanded once into session keys.
//!
//! Invariants: one key, SSRC and packet index seal exactly one byte string, ever, so the roll-over counter of
//! an SSRC is never reset and a sealer refuses an index twice; lengths are checked before authentication,
//! authentication before the replay window moves, and nothing is parsed before both. RFC 3711, RFC 7714.

mod aead;
mod counter_mode;
mod kdf;
mod opener;
mod replay;
mod sealer;

pub use opener::Opener;
pub use sealer::Sealer;

use crate::dtls::Role;
use aead::RtpNonce;
use std::fmt;

/// The most bytes that sealing adds to an RTP or RTCP packet: the GCM tag and the SRTCP index.
pub const SRTP_OVERHEAD: usize = 20;

/// An SRTP protection profile that we speak (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `AEAD_AES_128_GCM`.
    Aes128Gcm,
    /// `AEAD_AES_256_GCM`.
    Aes256Gcm,
    /// `AES_CM_128_HMAC_SHA1_80`, the slow one.
    Aes128CmSha1,
}

impl Profile {
    /// Returns the profile's registered name, as browsers report it in `srtpCipher`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "AEAD_AES_128_GCM",
            Self::Aes256Gcm => "AEAD_AES_256_GCM",
            Self::Aes128CmSha1 => "AES_CM_128_HMAC_SHA1_80",
        }
    }

    /// Returns the length of a master key in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes128CmSha1 => 16,
            Self::Aes256Gcm => 32,
        }
    }

    /// Returns the length of a master salt in bytes.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 12,
            Self::Aes128CmSha1 => 14,
        }
    }

    /// Returns the length of the authentication tag in bytes.
    #[must_use]
    pub const fn tag_len(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 16,
            Self::Aes128CmSha1 => 10,
        }
    }
}

/// The keying material that a handshake exports: client key, server key, client salt, server salt.
#[derive(Clone)]
pub struct MasterKeys {
    profile: Profile,
    material: Vec<u8>,
}

impl MasterKeys {
    /// Wraps the exporter's bytes; `None` when they have not the profile's length.
    #[must_use]
    pub fn new(profile: Profile, material: &[u8]) -> Option<Self> {
        let expected = 2 * (profile.key_len() + profile.salt_len());
        (material.len() == expected).then(|| Self { profile, material: material.to_vec() })
    }

    /// Returns the negotiated profile.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    #[cfg(test)]
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.profile == other.profile && self.material == other.material
    }

    /// Expands the keys into the half that a side seals with and the half that it opens with.
    ///
    /// `None` when the material is not what the profile needs.
    #[must_use]
    pub fn split(&self, side: Role) -> Option<(Sealer, Opener)> {
        let (keys, salts) = self.material.split_at_checked(2 * self.profile.key_len())?;
        let (client_key, server_key) = keys.split_at_checked(self.profile.key_len())?;
        let (client_salt, server_salt) = salts.split_at_checked(self.profile.salt_len())?;
        let client = Cipher::new(self.profile, client_key, client_salt)?;
        let server = Cipher::new(self.profile, server_key, server_salt)?;
        Some(match side {
            Role::Client => (Sealer::new(client), Opener::new(server)),
            Role::Server => (Sealer::new(server), Opener::new(client)),
        })
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MasterKeys").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// One direction's session keys.
enum Cipher {
    Aead(Profile, Box<aead::Keys>),
    CounterMode(Box<counter_mode::Keys>),
}

impl Cipher {
    fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Option<Self> {
        Some(match profile {
            Profile::Aes128Gcm | Profile::Aes256Gcm => {
                Self::Aead(profile, Box::new(aead::Keys::new(profile, key, salt)?))
            }
            Profile::Aes128CmSha1 => Self::CounterMode(Box::new(counter_mode::Keys::new(key, salt)?)),
        })
    }

    const fn profile(&self) -> Profile {
        match self {
            Self::Aead(profile, _) => *profile,
            Self::CounterMode(_) => Profile::Aes128CmSha1,
        }
    }

    /// Reads the first of the keys; the others follow them in memory.
    fn warm(&self) -> u64 {
        match self {
            Self::Aead(_, keys) => keys.warm(),
            Self::CounterMode(keys) => keys.warm(),
        }
    }

    fn seal_rtp(&self, (ssrc, index): (u32, u64), at: (usize, usize), buffer: &mut [u8]) -> Option<usize> {
        match self {
            Self::Aead(_, keys) => keys.seal_rtp(RtpNonce { ssrc, index }, at, buffer),
            Self::CounterMode(keys) => keys.seal_rtp((ssrc, index), at, buffer),
        }
    }

    fn open_rtp(&self, (ssrc, index): (u32, u64), header_len: usize, packet: &mut [u8]) -> Option<usize> {
        match self {
            Self::Aead(_, keys) => keys.open_rtp(RtpNonce { ssrc, index }, header_len, packet),
            Self::CounterMode(keys) => keys.open_rtp((ssrc, index), header_len, packet),
        }
    }

    fn seal_rtcp(&self, ssrc: u32, word: u32, len: usize, buffer: &mut [u8]) -> Option<usize> {
        match self {
            Self::Aead(_, keys) => keys.seal_rtcp(ssrc, word, len, buffer),
            Self::CounterMode(keys) => keys.seal_rtcp(ssrc, word, len, buffer),
        }
    }

    fn open_rtcp(&self, ssrc: u32, word: u32, packet: &mut [u8]) -> Option<usize> {
        match self {
            Self::Aead(_, keys) => keys.open_rtcp(ssrc, word, packet),
            Self::CounterMode(keys) => keys.open_rtcp(ssrc, word, packet),
        }
    }

    /// Returns the word with the E bit and the index: last under GCM, before the tag in counter mode.
    fn rtcp_word(&self, packet: &[u8]) -> Option<u32> {
        let after = match self {
            Self::Aead(..) => 0,
            Self::CounterMode(_) => Profile::Aes128CmSha1.tag_len(),
        };
        let end = packet.len().checked_sub(after)?;
        packet.get(..end)?.last_chunk().copied().map(u32::from_be_bytes)
    }
}

/// What sealing and opening need of an RTP header.
struct RtpHeader {
    ssrc: u32,
    seq: u16,
    /// Bytes up to the payload: fixed header, contributing sources and header extension.
    len: usize,
}

/// Reads an RTP header as far as the payload (RFC 3550 §5.1, §5.3.1).
fn rtp_header(packet: &[u8]) -> Option<RtpHeader> {
    let [first, _, s0, s1, _, _, _, _, c0, c1, c2, c3] = *packet.first_chunk::<12>()?;
    if first >> 6 != 2 {
        return None;
    }
    let mut len = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let [_, _, w0, w1] = *packet.get(len..)?.first_chunk::<4>()?;
        len += 4 + 4 * usize::from(u16::from_be_bytes([w0, w1]));
    }
    (len <= packet.len()).then_some(RtpHeader {
        ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        seq: u16::from_be_bytes([s0, s1]),
        len,
    })
}

/// Returns the sender of an RTCP compound packet (RFC 3550 §6.1).
fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let [first, _, _, _, ssrc @ ..] = *packet.first_chunk::<RTCP_HEADER_LEN>()?;
    (first >> 6 == 2).then_some(u32::from_be_bytes(ssrc))
}

/// The bytes of a compound packet that stay readable.
const RTCP_HEADER_LEN: usize = 8;
/// The word with the E bit and the index.
const RTCP_INDEX_LEN: usize = 4;
/// Says that the compound packet is encrypted; always set on the wire (RFC 3711 §3.4).
const RTCP_E_BIT: u32 = 1 << 31;

#[cfg(test)]
mod tests;
