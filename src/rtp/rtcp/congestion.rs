//! Congestion control feedback: which packets of which sources arrived, and when (RFC 8888).
//!
//! The other form of what transport-wide feedback says: by source and its own sequence numbers, with arrivals counted
//! back from the instant of the report in 1/1,024 s. Counts in the packet are claims; what is iterated is what the
//! bytes hold.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use crate::reader::Reader;
use crate::{ParseError, SeqNo, Ssrc};

/// A received feedback packet, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct CongestionView<'a> {
    /// When the report was made: the middle 32 bits of the receiver's clock, wrapping.
    pub report_time: u32,
    blocks: &'a [u8],
}

/// What one packet met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketReport {
    /// Its source.
    pub ssrc: Ssrc,
    /// Its number there.
    pub seq: SeqNo,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It did not arrive.
    Lost,
    /// It arrived so long before the report, in 1/1,024 s.
    Arrived(u16),
    /// It arrived, nobody says when.
    ArrivedSometime,
}

impl<'a> CongestionView<'a> {
    /// Parses the body behind the RTCP header.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(body);
        let _sender = reader.u32()?;
        let length = reader.rest().len().saturating_sub(TIME_BYTES);
        let blocks = reader.take(length)?;
        Ok(Self { report_time: reader.u32()?, blocks })
    }

    /// Iterates over the reports, source by source in rising numbers; ends early where the bytes do.
    #[must_use]
    pub const fn reports(&self) -> PacketReports<'a> {
        PacketReports { blocks: Reader::new(self.blocks), ssrc: Ssrc(0), next: SeqNo(0), left: 0, odd: false }
    }
}

/// The iterator of [`CongestionView::reports`].
#[derive(Clone, Debug)]
pub struct PacketReports<'a> {
    blocks: Reader<'a>,
    ssrc: Ssrc,
    next: SeqNo,
    left: u16,
    /// Whether the block ends with half a word of nothing.
    odd: bool,
}

impl PacketReports<'_> {
    fn step(&mut self) -> Result<PacketReport, ParseError> {
        while self.left == 0 {
            if std::mem::take(&mut self.odd) {
                self.blocks.u16()?;
            }
            self.ssrc = Ssrc(self.blocks.u32()?);
            self.next = SeqNo(self.blocks.u16()?);
            self.left = self.blocks.u16()?;
            self.odd = self.left % 2 == 1;
        }
        let metric = self.blocks.u16()?;
        let seq = self.next;
        self.next = seq.plus(1);
        self.left = self.left.saturating_sub(1);
        let fate = match (metric & RECEIVED, metric & OFFSET_MASK) {
            (0, _) => Fate::Lost,
            (_, OFFSET_UNKNOWN_MIN..) => Fate::ArrivedSometime,
            (_, offset) => Fate::Arrived(offset),
        };
        Ok(PacketReport { ssrc: self.ssrc, seq, fate })
    }
}

impl Iterator for PacketReports<'_> {
    type Item = PacketReport;

    fn next(&mut self) -> Option<PacketReport> {
        let report = self.step();
        if report.is_err() {
            self.left = 0;
            self.odd = false;
            self.blocks = Reader::new(&[]);
        }
        report.ok()
    }
}

const TIME_BYTES: usize = 4;
const RECEIVED: u16 = 0x8000;
const OFFSET_MASK: u16 = 0x1fff;
/// The last two values mean "longer ago" and "not known" (RFC 8888 §3.1).
const OFFSET_UNKNOWN_MIN: u16 = 0x1ffe;
