//! The two directions of SRTP and SRTCP of one session, behind the library.

use rtc_srtp::context::Context;
use rtc_srtp::crypto::providers::AwsLcRsCrypto;
use rtc_srtp::protection_profile::ProtectionProfile;
use std::fmt;

/// A protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `AES_CM_128_HMAC_SHA1_80`.
    Aes128CmSha1,
    /// `AEAD_AES_256_GCM`.
    Aes256Gcm,
    /// `AEAD_AES_128_GCM`.
    Aes128Gcm,
}

impl Profile {
    /// What Chromium offers, in its order.
    pub const CHROMIUM: [Self; 3] = [Self::Aes128CmSha1, Self::Aes256Gcm, Self::Aes128Gcm];

    /// Returns the registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128CmSha1 => "AES_CM_128_HMAC_SHA1_80",
            Self::Aes256Gcm => "AEAD_AES_256_GCM",
            Self::Aes128Gcm => "AEAD_AES_128_GCM",
        }
    }

    const fn to_library(self) -> ProtectionProfile {
        match self {
            Self::Aes128CmSha1 => ProtectionProfile::Aes128CmHmacSha1_80,
            Self::Aes256Gcm => ProtectionProfile::AeadAes256Gcm,
            Self::Aes128Gcm => ProtectionProfile::AeadAes128Gcm,
        }
    }

    /// Returns how many bytes DTLS exports for both directions.
    pub(super) fn material_bytes(self) -> usize {
        let profile = self.to_library();
        profile.key_len().saturating_add(profile.salt_len()).saturating_mul(2)
    }
}

/// What was not a packet of this session: forged, repeated too late, or malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet could not be opened or sealed")]
pub struct SrtpError;

/// Both directions.
pub(super) struct Srtp {
    profile: Profile,
    outgoing: Context,
    incoming: Context,
}

impl fmt::Debug for Srtp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Srtp").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl Srtp {
    /// Divides exported material: client key, server key, client salt, server salt (RFC 5764 §4.2).
    pub(super) fn new(profile: Profile, material: &[u8], is_client: bool) -> Option<Self> {
        let library = profile.to_library();
        let (client_key, rest) = material.split_at_checked(library.key_len())?;
        let (server_key, rest) = rest.split_at_checked(library.key_len())?;
        let (client_salt, server_salt) = rest.split_at_checked(library.salt_len())?;
        let client = context(library, client_key, client_salt)?;
        let server = context(library, server_key, server_salt)?;
        let (outgoing, incoming) = if is_client { (client, server) } else { (server, client) };
        Some(Self { profile, outgoing, incoming })
    }

    pub(super) const fn profile(&self) -> Profile {
        self.profile
    }

    /// Replaces a packet by its sealed form.
    pub(super) fn seal_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        let sealed = self.outgoing.encrypt_rtp(packet).map_err(|_| SrtpError)?;
        replace(packet, &sealed);
        Ok(())
    }

    /// Replaces a compound by its sealed form.
    pub(super) fn seal_rtcp(&mut self, compound: &mut Vec<u8>) -> Result<(), SrtpError> {
        let sealed = self.outgoing.encrypt_rtcp(compound).map_err(|_| SrtpError)?;
        replace(compound, &sealed);
        Ok(())
    }

    /// Writes a packet's plain form to `out`.
    pub(super) fn open_rtp(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), SrtpError> {
        let plain = self.incoming.decrypt_rtp(packet).map_err(|_| SrtpError)?;
        replace(out, &plain);
        Ok(())
    }

    /// Writes a compound's plain form to `out`.
    pub(super) fn open_rtcp(&mut self, compound: &[u8], out: &mut Vec<u8>) -> Result<(), SrtpError> {
        let plain = self.incoming.decrypt_rtcp(compound).map_err(|_| SrtpError)?;
        replace(out, &plain);
        Ok(())
    }
}

fn replace(out: &mut Vec<u8>, bytes: &[u8]) {
    out.clear();
    out.extend_from_slice(bytes);
}

fn context(profile: ProtectionProfile, key: &[u8], salt: &[u8]) -> Option<Context> {
    // Replays are no threat to a load test, and it opens only a sample of what comes.
    Context::new(key, salt, profile, None, None, &AwsLcRsCrypto).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(profile: Profile) -> (Srtp, Srtp) {
        let material: Vec<u8> = (0..).take(profile.material_bytes()).collect();
        (Srtp::new(profile, &material, true).unwrap(), Srtp::new(profile, &material, false).unwrap())
    }

    fn packet(seq: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 96, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3];
        packet[2..4].copy_from_slice(&seq.to_be_bytes());
        packet
    }

    #[test]
    fn a_sample_of_a_long_stream_opens_over_the_wrap_in_every_profile() {
        for profile in Profile::CHROMIUM {
            let (mut client, mut server) = pair(profile);
            let mut plain = Vec::new();

            for seq in 60_000..140_000_u32 {
                let mut sealed = packet(seq as u16);
                client.seal_rtp(&mut sealed).unwrap();
                if seq % 8_191 == 0 || seq == 60_000 {
                    server.open_rtp(&sealed, &mut plain).unwrap();
                    assert_eq!(plain, packet(seq as u16), "{profile:?} {seq}");
                }
            }
        }
    }

    #[test]
    fn a_forged_byte_is_refused() {
        for profile in Profile::CHROMIUM {
            let (mut client, mut server) = pair(profile);
            let mut sealed = packet(1);
            client.seal_rtp(&mut sealed).unwrap();
            *sealed.last_mut().unwrap() ^= 1;

            assert_eq!(server.open_rtp(&sealed, &mut Vec::new()), Err(SrtpError));
        }
    }

    #[test]
    fn control_packets_open_on_the_other_side() {
        let (mut client, mut server) = pair(Profile::Aes128Gcm);
        let plain = vec![0x80, 201, 0, 1, 0, 0, 0, 7];
        let mut sealed = plain.clone();
        client.seal_rtcp(&mut sealed).unwrap();
        let mut opened = Vec::new();

        server.open_rtcp(&sealed, &mut opened).unwrap();

        assert_eq!(opened, plain);
    }

    #[test]
    fn too_little_material_is_refused() {
        assert!(Srtp::new(Profile::Aes128Gcm, &[0; 20], true).is_none());
    }
}
