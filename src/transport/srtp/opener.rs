//! Opening: what we receive. Packet path.

use super::replay::Sources;
use super::{Cipher, RTCP_E_BIT, RTCP_HEADER_LEN, RTCP_INDEX_LEN, rtcp_ssrc, rtp_header};
use crate::DropReason;
use std::fmt;

/// The receiving half of a session's keys, with the indices that it has seen.
pub struct Opener {
    cipher: Cipher,
    rtp: Sources<WINDOW_WORDS>,
    rtcp: Sources<WINDOW_WORDS>,
}

impl Opener {
    pub(super) fn new(cipher: Cipher) -> Self {
        Self { cipher, rtp: Sources::new(SOURCES_MAX), rtcp: Sources::new(SOURCES_MAX) }
    }

    /// Reads what [`Self::open_rtcp`] reads; see [`crate::link::Link::warm`].
    pub(crate) fn warm(&self) -> u64 {
        self.rtcp.warm() ^ self.cipher.warm()
    }

    /// Opens an SRTP packet in place; returns the length of the RTP packet.
    ///
    /// # Errors
    /// When the packet is too short or malformed, seen before, of a source too many, or not authentic. After an
    /// error the bytes of the packet are worthless.
    pub fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let header = rtp_header(packet).ok_or(DropReason::SrtpMalformed)?;
        if packet.len() < header.len + self.cipher.profile().tag_len() {
            return Err(DropReason::SrtpMalformed);
        }
        let window = self.rtp.window(header.ssrc).ok_or(DropReason::SrtpSources)?;
        let index = window.extend(header.seq).ok_or(DropReason::SrtpReplay)?;
        if !window.is_fresh(index) {
            return Err(DropReason::SrtpReplay);
        }
        let len =
            self.cipher.open_rtp((header.ssrc, index), header.len, packet).ok_or(DropReason::SrtpTag)?;
        self.rtp.mark(header.ssrc, index);
        Ok(len)
    }

    /// Opens an SRTCP packet in place; returns the length of the RTCP compound packet.
    ///
    /// # Errors
    /// As [`Opener::open_rtp`]; an unencrypted packet (E bit 0) counts as malformed.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let ssrc = rtcp_ssrc(packet).ok_or(DropReason::SrtpMalformed)?;
        if packet.len() < RTCP_HEADER_LEN + self.cipher.profile().tag_len() + RTCP_INDEX_LEN {
            return Err(DropReason::SrtpMalformed);
        }
        let word = self.cipher.rtcp_word(packet).ok_or(DropReason::SrtpMalformed)?;
        if word & RTCP_E_BIT == 0 {
            return Err(DropReason::SrtpMalformed);
        }
        let index = u64::from(word & !RTCP_E_BIT);
        let window = self.rtcp.window(ssrc).ok_or(DropReason::SrtpSources)?;
        if !window.is_fresh(index) {
            return Err(DropReason::SrtpReplay);
        }
        let len = self.cipher.open_rtcp(ssrc, word, packet).ok_or(DropReason::SrtpTag)?;
        self.rtcp.mark(ssrc, index);
        Ok(len)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Opener").field("profile", &self.cipher.profile()).finish_non_exhaustive()
    }
}

/// A window of 128 packets, twice what RFC 3711 §3.3.2 asks for.
const WINDOW_WORDS: usize = 2;
/// Four layers of video with their repairs and audio are ten; a peer that shows more is not ours.
const SOURCES_MAX: usize = 16;
