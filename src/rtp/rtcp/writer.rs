//! Builds a compound in the caller's buffer.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use super::extended::{REFERENCE_ANSWERS, ReferenceAnswer};
use super::feedback::{REMB_NAME, pack_bitrate};
use super::report::ITEM_CNAME;
use super::{
    APPLICATION_LAYER, BYE, COUNT_MASK, EXTENDED_REPORT, FULL_INTRA_REQUEST, GENERIC_NACK, PADDING_BIT,
    PAYLOAD_FEEDBACK, PICTURE_LOSS, RECEIVER_REPORT, ReportBlock, SENDER_REPORT, SOURCE_DESCRIPTION,
    SenderInfo, TRANSPORT_CC, TRANSPORT_FEEDBACK, TransportCcFeedback, VERSION,
};
use crate::{SeqNo, Ssrc};

/// Appends packets to a compound. Each method returns `false`, and leaves the compound as it was, when the
/// packet does not fit the buffer or its count field.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    /// Makes a writer at the front of `out`.
    #[must_use]
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, length: 0 }
    }

    /// Appends a sender report with at most 31 blocks (RFC 3550 §6.4.1).
    pub fn sender_report(&mut self, info: SenderInfo, reports: &[ReportBlock]) -> bool {
        self.append(SENDER_REPORT, reports.len(), |sink| {
            sink.u32(info.ssrc.0)?;
            sink.bytes(&info.ntp.0.to_be_bytes())?;
            sink.u32(info.rtp.0)?;
            sink.u32(info.packets)?;
            sink.u32(info.octets)?;
            reports.iter().try_for_each(|report| sink.bytes(&report.to_bytes()))
        })
    }

    /// Appends a receiver report with at most 31 blocks (RFC 3550 §6.4.2).
    pub fn receiver_report(&mut self, ssrc: Ssrc, reports: &[ReportBlock]) -> bool {
        self.append(RECEIVER_REPORT, reports.len(), |sink| {
            sink.u32(ssrc.0)?;
            reports.iter().try_for_each(|report| sink.bytes(&report.to_bytes()))
        })
    }

    /// Appends a source description with one canonical name of at most 255 bytes (RFC 3550 §6.5.1).
    pub fn sdes_cname(&mut self, ssrc: Ssrc, cname: &str) -> bool {
        self.append(SOURCE_DESCRIPTION, 1, |sink| {
            sink.u32(ssrc.0)?;
            sink.bytes(&[ITEM_CNAME, u8::try_from(cname.len()).ok()?])?;
            sink.bytes(cname.as_bytes())?;
            sink.u8(0)?; // the end of the list; more zeros fill the word
            sink.align()
        })
    }

    /// Appends a goodbye (RFC 3550 §6.6).
    pub fn bye(&mut self, ssrc: Ssrc) -> bool {
        self.append(BYE, 1, |sink| sink.u32(ssrc.0))
    }

    /// Appends an extended report that answers a receiver's reference time (RFC 3611 §4.5).
    pub fn reference_answer(&mut self, sender: Ssrc, answer: ReferenceAnswer) -> bool {
        self.append(EXTENDED_REPORT, 0, |sink| {
            sink.u32(sender.0)?;
            // The length of a block counts its words after the first: three for one answer.
            sink.bytes(&[REFERENCE_ANSWERS, 0, 0, 3])?;
            sink.u32(answer.ssrc.0)?;
            sink.u32(answer.last_rr)?;
            sink.u32(answer.delay_since_last_rr)
        })
    }

    /// Appends a generic NACK for numbers in rising order (RFC 4585 §6.2.1); writes nothing when there are none.
    pub fn nack(&mut self, sender: Ssrc, media: Ssrc, lost: &[SeqNo]) -> bool {
        if lost.is_empty() {
            return true;
        }
        self.append(TRANSPORT_FEEDBACK, usize::from(GENERIC_NACK), |sink| {
            sink.u32(sender.0)?;
            sink.u32(media.0)?;
            let mut left = lost;
            while let Some((&first, following)) = left.split_first() {
                let covered = following.iter().take_while(|seq| mask_bit(first, **seq).is_some()).count();
                let (in_mask, rest) = following.split_at_checked(covered)?;
                let mask =
                    in_mask.iter().filter_map(|&seq| mask_bit(first, seq)).fold(0, |mask, bit| mask | bit);
                sink.u16(first.0)?;
                sink.u16(mask)?;
                left = rest;
            }
            Some(())
        })
    }

    /// Appends a picture loss indication (RFC 4585 §6.3.1).
    pub fn pli(&mut self, sender: Ssrc, media: Ssrc) -> bool {
        self.append(PAYLOAD_FEEDBACK, usize::from(PICTURE_LOSS), |sink| {
            sink.u32(sender.0)?;
            sink.u32(media.0)
        })
    }

    /// Appends a full intra request (RFC 5104 §4.3.1); `command` rises by one with each new request.
    pub fn fir(&mut self, sender: Ssrc, media: Ssrc, command: u8) -> bool {
        self.append(PAYLOAD_FEEDBACK, usize::from(FULL_INTRA_REQUEST), |sink| {
            sink.u32(sender.0)?;
            sink.u32(0)?; // "media source" is not used (RFC 5104 §4.3.1.2)
            sink.u32(media.0)?;
            sink.bytes(&[command, 0, 0, 0])
        })
    }

    /// Appends the receiver's estimate for the given sources, rounded down to 18 significant bits.
    pub fn remb(&mut self, sender: Ssrc, bitrate_bps: u64, ssrcs: &[Ssrc]) -> bool {
        self.append(PAYLOAD_FEEDBACK, usize::from(APPLICATION_LAYER), |sink| {
            sink.u32(sender.0)?;
            sink.u32(0)?; // "media source" is not used
            sink.bytes(REMB_NAME)?;
            sink.u32((u32::from(u8::try_from(ssrcs.len()).ok()?) << 24) | pack_bitrate(bitrate_bps))?;
            ssrcs.iter().try_for_each(|ssrc| sink.u32(ssrc.0))
        })
    }

    /// Appends transport-wide feedback.
    pub fn transport_cc(&mut self, sender: Ssrc, media: Ssrc, feedback: &TransportCcFeedback<'_>) -> bool {
        self.append(TRANSPORT_FEEDBACK, usize::from(TRANSPORT_CC), |sink| {
            sink.u32(sender.0)?;
            sink.u32(media.0)?;
            feedback.write(sink)
        })
    }

    /// Returns the length of the compound in bytes: a multiple of four.
    #[must_use]
    pub const fn finish(self) -> usize {
        self.length
    }

    /// Appends one packet whose body the closure writes, padding it to whole words.
    fn append(
        &mut self,
        packet_type: u8,
        count: usize,
        body: impl FnOnce(&mut Sink<'_>) -> Option<()>,
    ) -> bool {
        let written = self.try_append(packet_type, count, body);
        if let Some(length) = written {
            self.length = self.length.saturating_add(length);
        }
        written.is_some()
    }

    fn try_append(
        &mut self,
        packet_type: u8,
        count: usize,
        body: impl FnOnce(&mut Sink<'_>) -> Option<()>,
    ) -> Option<usize> {
        let count = u8::try_from(count).ok().filter(|count| *count <= COUNT_MASK)?;
        let mut sink = Sink { out: self.out.get_mut(self.length..)?, used: 0 };
        sink.u32(0)?; // the header, when the length is known
        body(&mut sink)?;
        let unpadded = sink.used;
        let padding = unpadded.next_multiple_of(4).saturating_sub(unpadded);
        sink.align()?;
        let length = sink.used;
        let mut flags = (VERSION << 6) | count;
        if padding > 0 {
            flags |= PADDING_BIT;
            *sink.out.get_mut(length.saturating_sub(1))? = u8::try_from(padding).ok()?;
        }
        let words = u16::try_from((length / 4).saturating_sub(1)).ok()?;
        let [words_high, words_low] = words.to_be_bytes();
        *sink.out.first_chunk_mut()? = [flags, packet_type, words_high, words_low];
        Some(length)
    }
}

/// Where a body is written.
pub(super) struct Sink<'a> {
    out: &'a mut [u8],
    used: usize,
}

impl Sink<'_> {
    pub(super) fn u8(&mut self, value: u8) -> Option<()> {
        self.bytes(&[value])
    }

    pub(super) fn u16(&mut self, value: u16) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.used.checked_add(bytes.len())?;
        self.out.get_mut(self.used..end)?.copy_from_slice(bytes);
        self.used = end;
        Some(())
    }

    /// Fills the word with zeros.
    fn align(&mut self) -> Option<()> {
        let end = self.used.next_multiple_of(4);
        self.out.get_mut(self.used..end)?.fill(0);
        self.used = end;
        Some(())
    }
}

/// Returns the bit of a NACK entry's mask that stands for `seq`; `None` when the entry cannot hold it.
fn mask_bit(first: SeqNo, seq: SeqNo) -> Option<u16> {
    let distance = seq.distance(first).checked_sub(1)?;
    match u32::try_from(distance) {
        Ok(bit @ 0..=15) => Some(1 << bit),
        _ => None,
    }
}
