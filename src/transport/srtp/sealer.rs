//! Sealing: what we send. Packet path.

use super::replay::Sources;
use super::{Cipher, RTCP_E_BIT, RTCP_HEADER_LEN, rtcp_ssrc, rtp_header};
use std::fmt;

/// The sending half of a session's keys, with the indices that it used.
#[repr(C)]
pub struct Sealer {
    cipher: Cipher,
    rtcp_index: u32,
    rtp: Sources<RTP_WINDOW_WORDS>,
}

impl Sealer {
    pub(super) fn new(cipher: Cipher) -> Self {
        Self { cipher, rtp: Sources::new(SOURCES_MAX), rtcp_index: 0 }
    }

    /// Reads what [`Self::seal_rtp`] reads; see [`crate::link::Link::warm`].
    pub(crate) fn warm(&self) -> u64 {
        self.rtp.warm() ^ self.cipher.warm()
    }

    /// Seals the RTP packet `buffer[..len]` in place; returns its new length.
    ///
    /// `None` when the packet is malformed, the buffer too short for the tag, the sources too many, or when the
    /// packet's index was sealed before: a nonce is never used twice (RFC 7714 §8.4).
    pub fn seal_rtp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        let header = rtp_header(buffer.get(..len)?)?;
        let window = self.rtp.window(header.ssrc)?;
        let index = window.extend(header.seq)?;
        if !window.is_fresh(index) || buffer.len() < len + self.cipher.profile().tag_len() {
            return None;
        }
        self.rtp.mark(header.ssrc, index);
        self.cipher.seal_rtp((header.ssrc, index), (header.len, len), buffer)
    }

    /// Seals the RTCP compound packet `buffer[..len]` in place; returns its new length.
    ///
    /// `None` when the packet is shorter than its fixed header, the buffer too short for the tag and the index,
    /// or when the 2³¹ indices of the key are used up.
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        let ssrc = rtcp_ssrc(buffer.get(..len)?)?;
        let index = self.rtcp_index.checked_add(1).filter(|index| index & RTCP_E_BIT == 0)?;
        if len < RTCP_HEADER_LEN || buffer.len() < len + self.cipher.profile().tag_len() + 4 {
            return None;
        }
        self.rtcp_index = index;
        self.cipher.seal_rtcp(ssrc, index | RTCP_E_BIT, len, buffer)
    }

    #[cfg(test)]
    pub(super) fn set_rtcp_index(&mut self, index: u32) {
        self.rtcp_index = index;
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sealer").field("profile", &self.cipher.profile()).finish_non_exhaustive()
    }
}

/// How far behind the newest a packet may still be sealed: 1,024 packets, a second of a fast layer, because a
/// packet that the publisher repeats late keeps its place.
const RTP_WINDOW_WORDS: usize = 16;
/// A viewer has four sources of ours: audio, video and their repairs.
const SOURCES_MAX: usize = 8;
