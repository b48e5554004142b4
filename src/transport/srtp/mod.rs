//! SRTP and SRTCP: one session's media keys, sealing and opening packets in place. Packet path.
//!
//! A handshake exports one block of keys for both directions ([`MasterKeys`]); [`MasterKeys::split`] gives the
//! two halves, one to seal with and one to open with. Each half is expanded once into session keys.
//!
//! Invariants: one key, SSRC and packet index seal exactly one byte string, ever, so the roll-over counter of
//! an SSRC is never reset and a sealer refuses an index twice; lengths are checked before authentication,
//! authentication before the replay window moves, and nothing is parsed before both. RFC 3711, RFC 7714.

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
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MasterKeys").field("profile", &self.profile).finish_non_exhaustive()
    }
}
