//! One media packet as the packet ring keeps it. Packet path.
//!
//! A packet is parsed once, when it arrives: what every viewer needs stands in fields, the bytes that are copied
//! to viewers (payload and carried header extensions) lie inline behind them, so that a slot of the ring is one
//! block of memory and storing allocates nothing.
//!
//! **Padding.** A packet without payload (padding that a sender uses as a bandwidth probe) is stored and
//! announced like any other, with an empty [`Packet::payload`] ([`Packet::is_padding`]). The viewer's side drops
//! it on purpose and closes its numbering over it: were it not announced, its sequence number would look like a
//! loss for ever.
//!
//! **Invariants.** A stored packet never changes. `seq` and `timestamp` are the layer's own unbroken numbering:
//! when a publisher changes its SSRC in mid-session, the publisher's side continues both, so the numbers need
//! not be those on the wire.

use std::fmt;
use std::ops::Range;

use rtp::codec::Codec;
use rtp::extension::Extension;
use rtp::payload::Descriptor;
use rtp::{ExtSeq, MonoTime, RtpTimestamp};

/// The most bytes of payload and carried extensions that a packet may have: a 1,500-byte datagram without its
/// 12-byte RTP header.
pub const PACKET_BYTES_MAX: usize = 1_488;

/// What header, extensions and tag take of a viewer's path, about.
const HEADER_BYTES: usize = 48;

/// The header extensions that are carried from publisher to viewer. Transport-wide numbers, MID and RID are
/// made anew or left out, because they belong to one path.
pub const CARRIED: [Extension; 5] = [
    Extension::AudioLevel,
    Extension::VideoOrientation,
    Extension::PlayoutDelay,
    Extension::AbsCaptureTime,
    Extension::DependencyDescriptor,
];

/// A stored packet.
pub struct Packet {
    /// The layer's unwrapped sequence number.
    pub seq: ExtSeq,
    /// The sampling time in ticks of the codec's clock.
    pub timestamp: RtpTimestamp,
    /// The RTP marker: for video the last packet of a frame, for audio the first after silence.
    pub marker: bool,
    /// The codec that the payload type names.
    pub codec: Codec,
    /// When the packet arrived; for a repaired packet, when its retransmission arrived.
    pub arrival: MonoTime,
    /// What the payload shows: frame start, keyframe, temporal layer, VP8 fields to patch.
    pub descriptor: Descriptor,
    payload_len: u16,
    primary: Option<Span>,
    carried: [Span; CARRIED.len()],
    bytes: [u8; PACKET_BYTES_MAX],
}

impl Packet {
    /// Copies the parts into a packet; bytes past [`PACKET_BYTES_MAX`] are lost, so the ring checks
    /// [`Parts::bytes`] first.
    pub(crate) fn assemble(parts: &Parts<'_>) -> Self {
        let mut packet = Self {
            seq: parts.seq,
            timestamp: parts.timestamp,
            marker: parts.marker,
            codec: parts.codec,
            arrival: parts.arrival,
            descriptor: parts.descriptor,
            payload_len: 0,
            primary: parts.primary.as_ref().map(Span::of),
            carried: [Span::default(); CARRIED.len()],
            bytes: [0; PACKET_BYTES_MAX],
        };
        let mut at = packet.put(0, parts.payload);
        packet.payload_len = at;
        for (index, value) in parts.carried.iter().enumerate() {
            let Some(value) = value else { continue };
            let end = packet.put(at, value);
            if let Some(span) = packet.carried.get_mut(index) {
                *span = Span { start: at, end };
            }
            at = end;
        }
        packet
    }

    /// Returns the payload without padding; empty for a packet of padding alone.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.payload_len)).unwrap_or_default()
    }

    /// True when the packet carries nothing: see the module's note on padding.
    #[must_use]
    pub const fn is_padding(&self) -> bool {
        self.payload_len == 0
    }

    /// Returns the bytes of a header extension that came with the packet, if it is one of [`CARRIED`].
    #[must_use]
    pub fn carried(&self, extension: Extension) -> Option<&[u8]> {
        let index = CARRIED.iter().position(|carried| *carried == extension)?;
        let span = self.carried.get(index).filter(|span| span.end > span.start)?;
        self.bytes.get(span.range())
    }

    /// Returns how many bytes the carried header extensions have together.
    #[must_use]
    pub fn carried_len(&self) -> usize {
        self.carried.iter().map(|span| usize::from(span.end.saturating_sub(span.start))).sum()
    }

    /// Returns about how many bytes a viewer's path takes it for.
    pub(crate) fn wire_len(&self) -> usize {
        self.payload().len().saturating_add(self.carried_len()).saturating_add(HEADER_BYTES)
    }

    /// Returns where in the payload the primary block lies, when this is a RED packet (RFC 2198 §3).
    #[must_use]
    pub fn red_primary(&self) -> Option<Range<usize>> {
        self.primary.map(Span::range)
    }

    /// Copies `value` to `at` and returns the index behind it; what does not fit is not copied.
    fn put(&mut self, at: u16, value: &[u8]) -> u16 {
        let start = usize::from(at);
        let end = start.saturating_add(value.len());
        let Some(slot) = self.bytes.get_mut(start..end) else {
            debug_assert!(false, "the ring refuses packets that do not fit");
            return at;
        };
        slot.copy_from_slice(value);
        u16::try_from(end).unwrap_or(at)
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Packet")
            .field("seq", &self.seq)
            .field("timestamp", &self.timestamp)
            .field("marker", &self.marker)
            .field("codec", &self.codec)
            .field("arrival", &self.arrival)
            .field("descriptor", &self.descriptor)
            .field("payload_len", &self.payload_len)
            .finish_non_exhaustive()
    }
}

/// What a packet is made of, borrowed from the datagram.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// See [`Packet::seq`].
    pub seq: ExtSeq,
    /// See [`Packet::timestamp`].
    pub timestamp: RtpTimestamp,
    /// See [`Packet::marker`].
    pub marker: bool,
    /// See [`Packet::codec`].
    pub codec: Codec,
    /// See [`Packet::arrival`].
    pub arrival: MonoTime,
    /// See [`Packet::descriptor`].
    pub descriptor: Descriptor,
    /// The payload without padding.
    pub payload: &'a [u8],
    /// The primary block of a RED payload, as a range of `payload`.
    pub primary: Option<Range<usize>>,
    /// The values of the [`CARRIED`] extensions, in that order.
    pub carried: [Option<&'a [u8]>; CARRIED.len()],
}

impl<'a> Parts<'a> {
    /// Makes the parts of a packet without marker and extensions.
    #[must_use]
    pub fn new(seq: ExtSeq, timestamp: RtpTimestamp, codec: Codec, payload: &'a [u8]) -> Self {
        Self {
            seq,
            timestamp,
            marker: false,
            codec,
            arrival: MonoTime::ZERO,
            descriptor: Descriptor::default(),
            payload,
            primary: None,
            carried: [None; CARRIED.len()],
        }
    }

    /// Returns how many bytes of a slot the packet needs.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let carried: usize = self.carried.iter().flatten().map(|value| value.len()).sum();
        self.payload.len().saturating_add(carried)
    }
}

/// A range of a packet's bytes. Two 16-bit numbers, since a slot is far smaller than 64 KiB.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u16,
    end: u16,
}

impl Span {
    fn of(range: &Range<usize>) -> Self {
        let [start, end] = [range.start, range.end].map(|at| u16::try_from(at).unwrap_or_default());
        Self { start, end }
    }

    const fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_and_carried_extensions_come_back_as_they_went_in() {
        let mut parts = Parts::new(ExtSeq(7), RtpTimestamp(9), Codec::Vp8, &[1, 2, 3]);
        parts.carried[1] = Some(&[4]);
        parts.carried[4] = Some(&[5, 6]);

        let packet = Packet::assemble(&parts);

        assert_eq!(packet.payload(), [1, 2, 3]);
        assert_eq!(packet.carried(Extension::VideoOrientation), Some([4].as_slice()));
        assert_eq!(packet.carried(Extension::DependencyDescriptor), Some([5, 6].as_slice()));
        assert_eq!(packet.carried(Extension::AudioLevel), None);
        assert_eq!(packet.carried(Extension::TransportCc), None);
    }

    #[test]
    fn packet_of_padding_alone_says_so() {
        let packet = Packet::assemble(&Parts::new(ExtSeq(7), RtpTimestamp(9), Codec::Vp8, &[]));

        assert!(packet.is_padding());
        assert!(packet.payload().is_empty());
    }

    #[test]
    fn packet_may_fill_its_slot_to_the_last_byte() {
        let bytes = [7; PACKET_BYTES_MAX];
        let mut parts = Parts::new(ExtSeq(7), RtpTimestamp(9), Codec::Av1, &bytes[..PACKET_BYTES_MAX - 1]);
        parts.carried[0] = Some(&[1]);

        let packet = Packet::assemble(&parts);

        assert_eq!(parts.bytes(), PACKET_BYTES_MAX);
        assert_eq!(packet.payload().len(), PACKET_BYTES_MAX - 1);
        assert_eq!(packet.carried(Extension::AudioLevel), Some([1].as_slice()));
    }
}
