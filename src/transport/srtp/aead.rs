//! AES-GCM of SRTP and SRTCP (RFC 7714). Packet path.

use super::kdf::{Label, derive, derive_into};
use super::{Profile, RTCP_HEADER_LEN, RTCP_INDEX_LEN};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// The keys of one direction, expanded. What a packet of either kind reads first stands in one line of the cache.
#[repr(C, align(64))]
pub(super) struct Keys {
    rtp_salt: [u8; NONCE_LEN],
    rtcp_salt: [u8; NONCE_LEN],
    rtp: LessSafeKey,
    rtcp: LessSafeKey,
}

impl Keys {
    pub(super) fn new(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Option<Self> {
        let expand = |label| {
            let mut bytes = [0; 32];
            let bytes = bytes.get_mut(..profile.key_len())?;
            derive_into(master_key, master_salt, label, bytes)?;
            let algorithm = if profile.key_len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
            Some(LessSafeKey::new(UnboundKey::new(algorithm, bytes).ok()?))
        };
        Some(Self {
            rtp: expand(Label::RtpKey)?,
            rtp_salt: derive(master_key, master_salt, Label::RtpSalt)?,
            rtcp: expand(Label::RtcpKey)?,
            rtcp_salt: derive(master_key, master_salt, Label::RtcpSalt)?,
        })
    }

    pub(super) fn warm(&self) -> u64 {
        self.rtp_salt.first().map_or(0, |byte| u64::from(*byte))
    }

    /// Seals `buffer[..len]`, whose header has `header_len` bytes; returns the new length.
    pub(super) fn seal_rtp(&self, nonce: RtpNonce, at: (usize, usize), buffer: &mut [u8]) -> Option<usize> {
        let (header_len, len) = at;
        let (header, rest) = buffer.split_at_mut_checked(header_len)?;
        let (payload, rest) = rest.split_at_mut_checked(len.checked_sub(header_len)?)?;
        let tag_out = rest.get_mut(..TAG_LEN)?;
        let nonce = nonce.salted(&self.rtp_salt);
        let tag = self.rtp.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload).ok()?;
        tag_out.copy_from_slice(tag.as_ref());
        Some(len + TAG_LEN)
    }

    /// Opens a whole packet; returns the new length.
    pub(super) fn open_rtp(&self, nonce: RtpNonce, header_len: usize, packet: &mut [u8]) -> Option<usize> {
        let (header, sealed) = packet.split_at_mut_checked(header_len)?;
        let payload =
            self.rtp.open_in_place(nonce.salted(&self.rtp_salt), Aad::from(&*header), sealed).ok()?;
        Some(header_len + payload.len())
    }

    /// Seals the compound packet `buffer[..len]`; `word` is the index with the E bit set.
    pub(super) fn seal_rtcp(&self, ssrc: u32, word: u32, at: usize, buffer: &mut [u8]) -> Option<usize> {
        let (header, rest) = buffer.split_at_mut_checked(RTCP_HEADER_LEN)?;
        let (payload, rest) = rest.split_at_mut_checked(at.checked_sub(RTCP_HEADER_LEN)?)?;
        let (tag_out, rest) = rest.split_at_mut_checked(TAG_LEN)?;
        let word_out = rest.get_mut(..RTCP_INDEX_LEN)?;
        let aad = rtcp_aad(header, word)?;
        let nonce = self.rtcp_nonce(ssrc, word);
        let tag = self.rtcp.seal_in_place_separate_tag(nonce, Aad::from(aad), payload).ok()?;
        tag_out.copy_from_slice(tag.as_ref());
        word_out.copy_from_slice(&word.to_be_bytes());
        Some(at + TAG_LEN + RTCP_INDEX_LEN)
    }

    /// Opens a whole compound packet; returns the new length.
    pub(super) fn open_rtcp(&self, ssrc: u32, word: u32, packet: &mut [u8]) -> Option<usize> {
        let sealed_end = packet.len().checked_sub(RTCP_INDEX_LEN)?;
        let (header, rest) = packet.split_at_mut_checked(RTCP_HEADER_LEN)?;
        let sealed = rest.get_mut(..sealed_end.checked_sub(RTCP_HEADER_LEN)?)?;
        let aad = rtcp_aad(header, word)?;
        let payload = self.rtcp.open_in_place(self.rtcp_nonce(ssrc, word), Aad::from(aad), sealed).ok()?;
        Some(RTCP_HEADER_LEN + payload.len())
    }

    fn rtcp_nonce(&self, ssrc: u32, word: u32) -> Nonce {
        let index = u64::from(word & !super::RTCP_E_BIT);
        RtpNonce { ssrc, index }.salted(&self.rtcp_salt)
    }
}

/// What makes a nonce unique under one key: the source and the packet index (RFC 7714 §8.1, §9.1).
///
/// The 48-bit index of RTP (roll-over counter, sequence number) and the 31-bit index of RTCP stand at the same
/// place, right-aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RtpNonce {
    pub(super) ssrc: u32,
    pub(super) index: u64,
}

impl RtpNonce {
    fn salted(self, salt: &[u8; NONCE_LEN]) -> Nonce {
        let plain = (u128::from(self.ssrc) << 48) | u128::from(self.index);
        let mut bytes = *salt;
        for (byte, plain) in bytes.iter_mut().zip(plain.to_be_bytes().iter().skip(16 - NONCE_LEN)) {
            *byte ^= plain;
        }
        Nonce::assume_unique_for_key(bytes)
    }
}

/// The associated data of an encrypted compound packet: its first eight bytes and the index word (RFC 7714 §9.2).
fn rtcp_aad(header: &[u8], word: u32) -> Option<[u8; RTCP_HEADER_LEN + RTCP_INDEX_LEN]> {
    let mut aad = [0; RTCP_HEADER_LEN + RTCP_INDEX_LEN];
    let (first, last) = aad.split_at_mut_checked(RTCP_HEADER_LEN)?;
    first.copy_from_slice(header.get(..RTCP_HEADER_LEN)?);
    last.copy_from_slice(&word.to_be_bytes());
    Some(aad)
}

const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
