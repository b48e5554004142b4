//! AES counter mode with HMAC-SHA1 of SRTP and SRTCP (RFC 3711 §4.1.1, §4.2). Packet path.

use super::kdf::{Label, derive};
use super::{RTCP_HEADER_LEN, RTCP_INDEX_LEN};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac};

/// The keys of one direction, expanded.
pub(super) struct Keys {
    rtp: Secrets,
    rtcp: Secrets,
}

impl Keys {
    pub(super) fn new(master_key: &[u8], master_salt: &[u8]) -> Option<Self> {
        let secrets = |key, salt, tag| {
            let cipher_key = derive::<16>(master_key, master_salt, key)?;
            let tag_key = derive::<20>(master_key, master_salt, tag)?;
            Some(Secrets {
                cipher: EncryptingKey::ctr(UnboundCipherKey::new(&AES_128, &cipher_key).ok()?).ok()?,
                salt: derive(master_key, master_salt, salt)?,
                tag: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &tag_key),
            })
        };
        Some(Self {
            rtp: secrets(Label::RtpKey, Label::RtpSalt, Label::RtpTag)?,
            rtcp: secrets(Label::RtcpKey, Label::RtcpSalt, Label::RtcpTag)?,
        })
    }

    pub(super) fn warm(&self) -> u64 {
        self.rtp.salt.first().map_or(0, |byte| u64::from(*byte))
    }

    /// Seals `buffer[..len]`, whose header has `header_len` bytes; returns the new length.
    pub(super) fn seal_rtp(
        &self,
        (ssrc, index): (u32, u64),
        (header_len, len): (usize, usize),
        buffer: &mut [u8],
    ) -> Option<usize> {
        let (packet, rest) = buffer.split_at_mut_checked(len)?;
        let tag_out = rest.get_mut(..TAG_LEN)?;
        self.rtp.crypt((ssrc, index), packet.get_mut(header_len..)?)?;
        tag_out.copy_from_slice(&self.rtp.tag(packet, &roll_over(index))?);
        Some(len + TAG_LEN)
    }

    /// Opens a whole packet; returns the new length.
    pub(super) fn open_rtp(
        &self,
        (ssrc, index): (u32, u64),
        header_len: usize,
        packet: &mut [u8],
    ) -> Option<usize> {
        let len = packet.len().checked_sub(TAG_LEN)?;
        let (packet, tag) = packet.split_at_mut_checked(len)?;
        let expected = self.rtp.tag(packet, &roll_over(index))?;
        constant_time::verify_slices_are_equal(tag, &expected).ok()?;
        self.rtp.crypt((ssrc, index), packet.get_mut(header_len..)?)?;
        Some(len)
    }

    /// Seals the compound packet `buffer[..len]`; `word` is the index with the E bit set.
    pub(super) fn seal_rtcp(&self, ssrc: u32, word: u32, len: usize, buffer: &mut [u8]) -> Option<usize> {
        let index = u64::from(word & !super::RTCP_E_BIT);
        self.rtcp.crypt((ssrc, index), buffer.get_mut(RTCP_HEADER_LEN..len)?)?;
        let tag_at = len + RTCP_INDEX_LEN;
        buffer.get_mut(len..tag_at)?.copy_from_slice(&word.to_be_bytes());
        let tag = self.rtcp.tag(buffer.get(..tag_at)?, &[])?;
        buffer.get_mut(tag_at..tag_at + TAG_LEN)?.copy_from_slice(&tag);
        Some(tag_at + TAG_LEN)
    }

    /// Opens a whole compound packet; returns the new length.
    pub(super) fn open_rtcp(&self, ssrc: u32, word: u32, packet: &mut [u8]) -> Option<usize> {
        let (packet, tag) = packet.split_at_mut_checked(packet.len().checked_sub(TAG_LEN)?)?;
        let expected = self.rtcp.tag(packet, &[])?;
        constant_time::verify_slices_are_equal(tag, &expected).ok()?;
        let len = packet.len().checked_sub(RTCP_INDEX_LEN)?;
        let index = u64::from(word & !super::RTCP_E_BIT);
        self.rtcp.crypt((ssrc, index), packet.get_mut(RTCP_HEADER_LEN..len)?)?;
        Some(len)
    }
}

/// What protects one kind of packet.
struct Secrets {
    cipher: EncryptingKey,
    salt: [u8; SALT_LEN],
    tag: hmac::Key,
}

impl Secrets {
    /// Encrypts or decrypts, which is the same.
    fn crypt(&self, (ssrc, index): (u32, u64), bytes: &mut [u8]) -> Option<()> {
        let plain = (u128::from(ssrc) << 64) | (u128::from(index) << 16);
        let mut block = plain.to_be_bytes();
        for (byte, salt) in block.iter_mut().zip(&self.salt) {
            *byte ^= salt;
        }
        let context = EncryptionContext::Iv128(FixedLength::from(block));
        self.cipher.less_safe_encrypt(bytes, context).ok()?;
        Some(())
    }

    fn tag(&self, packet: &[u8], suffix: &[u8]) -> Option<[u8; TAG_LEN]> {
        let mut context = hmac::Context::with_key(&self.tag);
        context.update(packet);
        context.update(suffix);
        context.sign().as_ref().first_chunk().copied()
    }
}

/// The roll-over counter, which the tag covers although it is not in the packet.
fn roll_over(index: u64) -> [u8; 4] {
    let [.., a, b, c, d, _, _] = index.to_be_bytes();
    [a, b, c, d]
}

const SALT_LEN: usize = 14;
const TAG_LEN: usize = 10;
