//! RTCP: a borrowed parse of a compound and a writer into the caller's buffer (RFC 3550 §6, RFC 4585, RFC 5104, RFC 8888).
//!
//! Packet path. [`packets`] walks a decrypted compound without allocating; what a packet lists (report blocks,
//! lost numbers, arrivals) is an iterator over the bytes present, whatever its count fields claim.
//! [`Writer`] is the way back. Reduced-size packets are accepted (RFC 5506).
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

mod congestion;
mod extended;
mod feedback;
mod report;
mod transport_cc;
mod writer;

pub use congestion::{CongestionView, Fate, PacketReport, PacketReports};
pub use extended::ReferenceAnswer;
pub use feedback::{FirTargets, NackIter, Ssrcs};
pub use report::{Cnames, ReportBlock, ReportBlocks, SenderInfo};
pub use transport_cc::{Statuses, TransportCcFeedback, TransportCcView};
pub use writer::Writer;

use crate::reader::Reader;
use crate::{NtpTime, ParseError, RtpTimestamp, Ssrc};

/// One packet of a compound, borrowed.
#[derive(Clone, Debug)]
pub enum Packet<'a> {
    /// What a sender sent, and what it receives (RFC 3550 §6.4.1).
    SenderReport {
        /// The sender.
        ssrc: Ssrc,
        /// The wall time of the report.
        ntp: NtpTime,
        /// The same instant in ticks of the sender's media clock.
        rtp: RtpTimestamp,
        /// Packets sent since the start.
        packets: u32,
        /// Payload bytes sent since the start.
        octets: u32,
        /// What the sender receives.
        reports: ReportBlocks<'a>,
    },
    /// What a receiver receives (RFC 3550 §6.4.2).
    ReceiverReport {
        /// The receiver.
        ssrc: Ssrc,
        /// One block for each source that it receives.
        reports: ReportBlocks<'a>,
    },
    /// The canonical names of sources (RFC 3550 §6.5); other items are skipped.
    Sdes {
        /// Sources with their names.
        cnames: Cnames<'a>,
    },
    /// Sources that leave (RFC 3550 §6.6).
    Bye {
        /// The leaving sources.
        ssrcs: Ssrcs<'a>,
    },
    /// Lost packets to send again (RFC 4585 §6.2.1).
    Nack {
        /// The source that lost them.
        media: Ssrc,
        /// Their sequence numbers.
        lost: NackIter<'a>,
    },
    /// A picture was lost: a keyframe is wanted (RFC 4585 §6.3.1).
    Pli {
        /// The source to give the keyframe.
        media: Ssrc,
    },
    /// A keyframe is wanted (RFC 5104 §4.3.1).
    Fir {
        /// The sources to give one.
        targets: FirTargets<'a>,
    },
    /// The receiver's estimate of its bandwidth (draft-alvestrand-rmcat-remb-03).
    Remb {
        /// Bits per second; saturates.
        bitrate_bps: u64,
        /// The sources that share it.
        ssrcs: Ssrcs<'a>,
    },
    /// When the packets of a session arrived (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    TransportCc(TransportCcView<'a>),
    /// Which packets arrived, by source (RFC 8888).
    Congestion(CongestionView<'a>),
    /// An extended report (RFC 3611 §2), as far as we use it.
    Extended {
        /// The receiver.
        ssrc: Ssrc,
        /// Its wall time, to be answered; `None` when it carries other blocks only.
        reference: Option<NtpTime>,
    },
    /// A packet of another type, well-formed as far as its header shows.
    Other,
}

/// Walks the packets of a decrypted compound; ends after the first error.
#[must_use]
pub const fn packets(compound: &[u8]) -> Packets<'_> {
    Packets { rest: compound }
}

/// The iterator of [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = split_packet(self.rest).and_then(|(header, body, rest)| {
            self.rest = rest;
            parse_packet(header, body)
        });
        if parsed.is_err() {
            self.rest = &[];
        }
        Some(parsed)
    }
}

#[derive(Clone, Copy)]
struct Header {
    /// Reports, sources or the feedback format, by packet type.
    count: u8,
    packet_type: u8,
}

/// Splits one packet off: its header, its body without padding, and the rest of the compound.
fn split_packet(bytes: &[u8]) -> Result<(Header, &[u8], &[u8]), ParseError> {
    let mut reader = Reader::new(bytes);
    let [flags, packet_type] = reader.array()?;
    let version = flags >> 6;
    if version != VERSION {
        return Err(ParseError::Version(version));
    }
    let declared = usize::from(reader.u16()?).saturating_mul(4);
    let available = reader.rest().len();
    let body = reader.take(declared).map_err(|_| ParseError::Length { declared, available })?;
    let body = if flags & PADDING_BIT == 0 { body } else { strip_padding(body)? };
    Ok((Header { count: flags & COUNT_MASK, packet_type }, body, reader.rest()))
}

fn strip_padding(body: &[u8]) -> Result<&[u8], ParseError> {
    let padding = body.last().copied().map_or(0, usize::from);
    match body.len().checked_sub(padding).and_then(|kept| body.get(..kept)) {
        Some(kept) if padding > 0 => Ok(kept),
        _ => Err(ParseError::Padding { padding, available: body.len() }),
    }
}

fn parse_packet(header: Header, body: &[u8]) -> Result<Packet<'_>, ParseError> {
    let mut reader = Reader::new(body);
    match (header.packet_type, header.count) {
        (SENDER_REPORT, count) => Ok(Packet::SenderReport {
            ssrc: Ssrc(reader.u32()?),
            ntp: NtpTime(reader.u64()?),
            rtp: RtpTimestamp(reader.u32()?),
            packets: reader.u32()?,
            octets: reader.u32()?,
            reports: ReportBlocks::new(reader, count)?,
        }),
        (RECEIVER_REPORT, count) => Ok(Packet::ReceiverReport {
            ssrc: Ssrc(reader.u32()?),
            reports: ReportBlocks::new(reader, count)?,
        }),
        (SOURCE_DESCRIPTION, count) => Ok(Packet::Sdes { cnames: Cnames::new(body, count) }),
        (BYE, count) => {
            let listed = reader.take(usize::from(count).saturating_mul(4))?;
            Ok(Packet::Bye { ssrcs: Ssrcs::new(listed) })
        }
        (TRANSPORT_FEEDBACK, GENERIC_NACK) => {
            let _sender = reader.u32()?;
            Ok(Packet::Nack { media: Ssrc(reader.u32()?), lost: NackIter::new(reader.rest()) })
        }
        (TRANSPORT_FEEDBACK, TRANSPORT_CC) => TransportCcView::parse(body).map(Packet::TransportCc),
        (TRANSPORT_FEEDBACK, CONGESTION) => CongestionView::parse(body).map(Packet::Congestion),
        (PAYLOAD_FEEDBACK, PICTURE_LOSS) => {
            let _sender = reader.u32()?;
            Ok(Packet::Pli { media: Ssrc(reader.u32()?) })
        }
        (PAYLOAD_FEEDBACK, FULL_INTRA_REQUEST) => {
            let _sender_and_media = reader.u64()?;
            Ok(Packet::Fir { targets: FirTargets::new(reader.rest()) })
        }
        (PAYLOAD_FEEDBACK, APPLICATION_LAYER) => feedback::parse_application(body),
        (EXTENDED_REPORT, _) => {
            Ok(Packet::Extended { ssrc: Ssrc(reader.u32()?), reference: extended::reference_time(reader)? })
        }
        _ => Ok(Packet::Other),
    }
}

const VERSION: u8 = 2;
const PADDING_BIT: u8 = 0x20;
const COUNT_MASK: u8 = 0x1f;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const EXTENDED_REPORT: u8 = 207;

const GENERIC_NACK: u8 = 1;
const CONGESTION: u8 = 11;
const TRANSPORT_CC: u8 = 15;
const PICTURE_LOSS: u8 = 1;
const FULL_INTRA_REQUEST: u8 = 4;
const APPLICATION_LAYER: u8 = 15;

#[cfg(test)]
mod tests;
