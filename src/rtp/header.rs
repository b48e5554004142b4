//! The RTP header: a borrowed view of what came, and the fixed part of what goes (RFC 3550 §5.1).
//!
//! Packet path. [`RtpView::parse`] checks every length before it borrows, so that later readers of the view
//! cannot run out of bytes; CSRCs are skipped, because the server neither mixes nor shows them.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use crate::extension::Extensions;
use crate::reader::Reader;
use crate::{ParseError, PayloadType, RtpTimestamp, SeqNo, Ssrc};

/// A received packet, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct RtpView<'a> {
    /// The payload type.
    pub payload_type: PayloadType,
    /// The marker bit: for video, the last packet of a frame.
    pub marker: bool,
    /// The sequence number.
    pub seq: SeqNo,
    /// The timestamp, in ticks of the codec's clock.
    pub timestamp: RtpTimestamp,
    /// The sender's source number.
    pub ssrc: Ssrc,
    /// The header extension elements; empty when there are none or their profile is unknown.
    pub extensions: Extensions<'a>,
    /// The payload without its padding.
    pub payload: &'a [u8],
    /// How many bytes of padding followed the payload.
    pub padding: u8,
}

impl<'a> RtpView<'a> {
    /// Parses one decrypted packet.
    ///
    /// # Errors
    ///
    /// When the version is not 2, when the CSRC list or the extension block does not fit, or when the padding
    /// count is zero or larger than what follows the header.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(bytes);
        let [flags, marker_and_type] = reader.array()?;
        let version = flags >> 6;
        if version != VERSION {
            return Err(ParseError::Version(version));
        }
        let seq = SeqNo(reader.u16()?);
        let timestamp = RtpTimestamp(reader.u32()?);
        let ssrc = Ssrc(reader.u32()?);
        reader.take(usize::from(flags & CSRC_COUNT_MASK).saturating_mul(4))?;
        let extensions = match flags & EXTENSION_BIT {
            0 => Extensions::EMPTY,
            _ => read_extensions(&mut reader)?,
        };
        let (payload, padding) = match flags & PADDING_BIT {
            0 => (reader.rest(), 0),
            _ => strip_padding(reader.rest())?,
        };
        Ok(Self {
            payload_type: PayloadType(marker_and_type & PAYLOAD_TYPE_MASK),
            marker: marker_and_type & MARKER_BIT != 0,
            seq,
            timestamp,
            ssrc,
            extensions,
            payload,
            padding,
        })
    }
}

/// The fixed header of a packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingHeader {
    /// The payload type; its low seven bits are written.
    pub payload_type: PayloadType,
    /// The marker bit.
    pub marker: bool,
    /// The sequence number.
    pub seq: SeqNo,
    /// The timestamp.
    pub timestamp: RtpTimestamp,
    /// The source number.
    pub ssrc: Ssrc,
}

impl OutgoingHeader {
    /// Bytes that [`Self::write`] writes.
    pub const LENGTH: usize = 12;

    /// Writes the twelve bytes to the front of `out` and returns 12; `None` when `out` is shorter.
    ///
    /// `extension` and `padding` set the bits that announce what the caller appends.
    #[must_use]
    pub fn write(&self, extension: bool, padding: bool, out: &mut [u8]) -> Option<usize> {
        let header = out.first_chunk_mut::<{ Self::LENGTH }>()?;
        let extension_bit = if extension { EXTENSION_BIT } else { 0 };
        let padding_bit = if padding { PADDING_BIT } else { 0 };
        let marker_bit = if self.marker { MARKER_BIT } else { 0 };
        let [seq_high, seq_low] = self.seq.0.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.0.to_be_bytes();
        let [s0, s1, s2, s3] = self.ssrc.0.to_be_bytes();
        *header = [
            (VERSION << 6) | extension_bit | padding_bit,
            marker_bit | (self.payload_type.0 & PAYLOAD_TYPE_MASK),
            seq_high,
            seq_low,
            t0,
            t1,
            t2,
            t3,
            s0,
            s1,
            s2,
            s3,
        ];
        Some(Self::LENGTH)
    }
}

fn read_extensions<'a>(reader: &mut Reader<'a>) -> Result<Extensions<'a>, ParseError> {
    let profile = reader.u16()?;
    let declared = usize::from(reader.u16()?).saturating_mul(4);
    let available = reader.rest().len();
    let block = reader.take(declared).map_err(|_| ParseError::Length { declared, available })?;
    Ok(Extensions::new(profile, block))
}

fn strip_padding(bytes: &[u8]) -> Result<(&[u8], u8), ParseError> {
    let count = bytes.last().copied().unwrap_or(0);
    let (padding, available) = (usize::from(count), bytes.len());
    match available.checked_sub(padding).and_then(|kept| bytes.get(..kept)) {
        Some(payload) if count > 0 => Ok((payload, count)),
        _ => Err(ParseError::Padding { padding, available }),
    }
}

const VERSION: u8 = 2;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const CSRC_COUNT_MASK: u8 = 0x0f;
const MARKER_BIT: u8 = 0x80;
const PAYLOAD_TYPE_MASK: u8 = 0x7f;

#[cfg(test)]
mod tests;
