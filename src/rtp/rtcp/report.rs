//! Sender and receiver reports and canonical names (RFC 3550 §6.4, §6.5).
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use crate::reader::Reader;
use crate::{NtpTime, ParseError, RtpTimestamp, Ssrc};

/// What a receiver says about one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source.
    pub ssrc: Ssrc,
    /// Packets lost since the previous report, in 1/256 of those expected.
    pub fraction_lost: u8,
    /// Packets lost since the start, −8,388,608..=8,388,607; negative when duplicates outnumber losses.
    pub cumulative_lost: i32,
    /// Cycles in the high half, the highest sequence number received in the low half.
    pub highest_seq: u32,
    /// Interarrival jitter in ticks of the media clock.
    pub jitter: u32,
    /// The middle 32 bits of the last sender report's NTP time; zero when none came.
    pub last_sr: u32,
    /// Time since that report, in 1/65,536 s.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    /// Bytes of a block on the wire.
    pub(super) const LENGTH: usize = 24;

    fn read(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(bytes);
        let ssrc = Ssrc(reader.u32()?);
        let fraction_lost = reader.u8()?;
        // Sign extension of 24 bits: into the high bytes, then back by an arithmetic shift.
        let cumulative_lost = (reader.u24()? << 8).cast_signed() >> 8;
        Ok(Self {
            ssrc,
            fraction_lost,
            cumulative_lost,
            highest_seq: reader.u32()?,
            jitter: reader.u32()?,
            last_sr: reader.u32()?,
            delay_since_last_sr: reader.u32()?,
        })
    }

    /// Returns the block's bytes; the cumulative loss is clamped to its 24 bits.
    pub(super) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned() & 0xff_ffff;
        let words = [
            self.ssrc.0,
            (u32::from(self.fraction_lost) << 24) | lost,
            self.highest_seq,
            self.jitter,
            self.last_sr,
            self.delay_since_last_sr,
        ];
        let mut bytes = [0; Self::LENGTH];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

/// The report blocks of one packet.
#[derive(Clone, Debug)]
pub struct ReportBlocks<'a> {
    blocks: std::slice::ChunksExact<'a, u8>,
}

impl<'a> ReportBlocks<'a> {
    pub(super) fn new(mut reader: Reader<'a>, count: u8) -> Result<Self, ParseError> {
        let bytes = reader.take(usize::from(count).saturating_mul(ReportBlock::LENGTH))?;
        Ok(Self { blocks: bytes.chunks_exact(ReportBlock::LENGTH) })
    }
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        self.blocks.next().and_then(|bytes| ReportBlock::read(bytes).ok())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.blocks.size_hint()
    }
}

/// The sender's part of a sender report (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// The sender.
    pub ssrc: Ssrc,
    /// The wall time of the report.
    pub ntp: NtpTime,
    /// The same instant in ticks of the media clock.
    pub rtp: RtpTimestamp,
    /// Packets sent since the start.
    pub packets: u32,
    /// Payload bytes sent since the start.
    pub octets: u32,
}

/// The sources of a description packet with their canonical names, as raw bytes.
///
/// Ends early where a chunk is malformed.
#[derive(Clone, Debug)]
pub struct Cnames<'a> {
    reader: Reader<'a>,
    chunks_left: u8,
}

impl<'a> Cnames<'a> {
    pub(super) const fn new(body: &'a [u8], count: u8) -> Self {
        Self { reader: Reader::new(body), chunks_left: count }
    }

    /// Reads one chunk: its source and, when an item gives it, its name.
    fn read_chunk(&mut self) -> Result<(Ssrc, Option<&'a [u8]>), ParseError> {
        let at_start = self.reader.rest().len();
        let ssrc = Ssrc(self.reader.u32()?);
        let mut name = None;
        loop {
            let item = self.reader.u8()?;
            if item == ITEM_END {
                break;
            }
            let length = self.reader.u8()?;
            let text = self.reader.take(usize::from(length))?;
            if item == ITEM_CNAME {
                name = Some(text);
            }
        }
        let used = at_start.saturating_sub(self.reader.rest().len());
        self.reader.take(used.next_multiple_of(4).saturating_sub(used))?;
        Ok((ssrc, name))
    }
}

impl<'a> Iterator for Cnames<'a> {
    type Item = (Ssrc, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(left) = self.chunks_left.checked_sub(1) {
            self.chunks_left = left;
            let Ok((ssrc, name)) = self.read_chunk() else {
                self.chunks_left = 0;
                return None;
            };
            if let Some(name) = name {
                return Some((ssrc, name));
            }
        }
        None
    }
}

const ITEM_END: u8 = 0;
pub(super) const ITEM_CNAME: u8 = 1;
