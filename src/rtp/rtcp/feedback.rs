//! Feedback messages: lost packets, keyframe requests, the receiver's estimate (RFC 4585, RFC 5104, REMB).
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use super::Packet;
use crate::reader::Reader;
use crate::{ParseError, SeqNo, Ssrc};

/// A list of sources.
#[derive(Clone, Debug)]
pub struct Ssrcs<'a> {
    words: std::slice::ChunksExact<'a, u8>,
}

impl<'a> Ssrcs<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { words: bytes.chunks_exact(4) }
    }
}

impl Iterator for Ssrcs<'_> {
    type Item = Ssrc;

    fn next(&mut self) -> Option<Ssrc> {
        let word = self.words.next()?.first_chunk()?;
        Some(Ssrc(u32::from_be_bytes(*word)))
    }
}

/// The lost sequence numbers of a generic NACK, in the order of its entries (RFC 4585 §6.2.1).
///
/// At most 17 for each four bytes of the packet.
#[derive(Clone, Debug)]
pub struct NackIter<'a> {
    entries: std::slice::ChunksExact<'a, u8>,
    /// The number of the mask's bit 0, and the bits that are not given out yet.
    following: SeqNo,
    mask: u16,
}

impl<'a> NackIter<'a> {
    pub(super) fn new(entries: &'a [u8]) -> Self {
        Self { entries: entries.chunks_exact(4), following: SeqNo(0), mask: 0 }
    }
}

impl Iterator for NackIter<'_> {
    type Item = SeqNo;

    fn next(&mut self) -> Option<SeqNo> {
        if self.mask == 0 {
            let &[id_high, id_low, mask_high, mask_low] = self.entries.next()?.first_chunk()?;
            let first = SeqNo(u16::from_be_bytes([id_high, id_low]));
            self.following = first.plus(1);
            self.mask = u16::from_be_bytes([mask_high, mask_low]);
            return Some(first);
        }
        let bit = self.mask.trailing_zeros();
        self.mask &= self.mask.wrapping_sub(1);
        u16::try_from(bit).ok().map(|distance| self.following.plus(distance))
    }
}

/// The sources that a full intra request names (RFC 5104 §4.3.1.1). The command numbers are skipped: requests
/// are merged and limited anyway, so a repeated command does no harm.
#[derive(Clone, Debug)]
pub struct FirTargets<'a> {
    entries: std::slice::ChunksExact<'a, u8>,
}

impl<'a> FirTargets<'a> {
    pub(super) fn new(entries: &'a [u8]) -> Self {
        Self { entries: entries.chunks_exact(8) }
    }
}

impl Iterator for FirTargets<'_> {
    type Item = Ssrc;

    fn next(&mut self) -> Option<Ssrc> {
        let source = self.entries.next()?.first_chunk()?;
        Some(Ssrc(u32::from_be_bytes(*source)))
    }
}

/// Parses application layer feedback: REMB, or something that we do not know.
pub(super) fn parse_application(body: &[u8]) -> Result<Packet<'_>, ParseError> {
    let mut reader = Reader::new(body);
    let _sender_and_media = reader.u64()?;
    if reader.take(REMB_NAME.len()).ok() != Some(REMB_NAME) {
        return Ok(Packet::Other);
    }
    let count = reader.u8()?;
    let packed = reader.u24()?;
    let bitrate_bps = expand_bitrate(u64::from(packed & REMB_MANTISSA_MAX), packed >> REMB_MANTISSA_BITS);
    let listed = usize::from(count).saturating_mul(4);
    let sources = reader.rest();
    Ok(Packet::Remb { bitrate_bps, ssrcs: Ssrcs::new(sources.get(..listed).unwrap_or(sources)) })
}

/// Returns `mantissa · 2^exponent`, saturating.
fn expand_bitrate(mantissa: u64, exponent: u32) -> u64 {
    if mantissa == 0 {
        return 0;
    }
    if exponent > mantissa.leading_zeros() { u64::MAX } else { mantissa << exponent }
}

/// Returns the largest representable (exponent, mantissa) that does not exceed the bitrate.
pub(super) fn pack_bitrate(bitrate_bps: u64) -> u32 {
    let significant = u64::BITS.saturating_sub(bitrate_bps.leading_zeros());
    let exponent = significant.saturating_sub(REMB_MANTISSA_BITS);
    let mantissa = u32::try_from(bitrate_bps >> exponent).unwrap_or(REMB_MANTISSA_MAX);
    (exponent << REMB_MANTISSA_BITS) | mantissa
}

pub(super) const REMB_NAME: &[u8] = b"REMB";
const REMB_MANTISSA_BITS: u32 = 18;
const REMB_MANTISSA_MAX: u32 = 0x3_ffff;
