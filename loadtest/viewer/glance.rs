//! What a sealed packet shows without its key: the header, and the transport-wide number in its extension.
//!
//! Packet path. The padding count is sealed, so that the full parser of `rtp` has to wait for the opened packet.

use rtp::{PayloadType, RtpTimestamp, SeqNo, Ssrc};

/// The header of a sealed packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    pub(super) payload_type: PayloadType,
    pub(super) marker: bool,
    /// Whether some of it is padding; how much is sealed.
    pub(super) padded: bool,
    pub(super) seq: SeqNo,
    pub(super) timestamp: RtpTimestamp,
    pub(super) ssrc: Ssrc,
    /// The value of the transport-wide sequence number, when the packet carries it.
    pub(super) transport_seq: Option<SeqNo>,
}

impl Glance {
    /// Reads a header; `transport_cc` is the identifier of the transport-wide number, zero when there is none.
    pub(super) fn read(packet: &[u8], transport_cc: u8) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<12>()?;
        let [flags, marker_and_type, q0, q1, t0, t1, t2, t3, s0, s1, s2, s3] = *header;
        if flags >> 6 != 2 {
            return None;
        }
        let rest = rest.get(usize::from(flags & 0x0f).saturating_mul(4)..)?;
        let transport_seq = if flags & EXTENSION_BIT == 0 || transport_cc == 0 {
            None
        } else {
            find_transport_seq(rest, transport_cc)
        };
        Some(Self {
            payload_type: PayloadType(marker_and_type & 0x7f),
            marker: marker_and_type & 0x80 != 0,
            padded: flags & PADDING_BIT != 0,
            seq: SeqNo(u16::from_be_bytes([q0, q1])),
            timestamp: RtpTimestamp(u32::from_be_bytes([t0, t1, t2, t3])),
            ssrc: Ssrc(u32::from_be_bytes([s0, s1, s2, s3])),
            transport_seq,
        })
    }
}

/// Walks the elements of either form (RFC 8285 §4.2, §4.3).
fn find_transport_seq(block: &[u8], wanted: u8) -> Option<SeqNo> {
    let (&[p0, p1, w0, w1], rest) = block.split_first_chunk::<4>()?;
    let words = usize::from(u16::from_be_bytes([w0, w1]));
    let mut rest = rest.get(..words.saturating_mul(4))?;
    let one_byte = match u16::from_be_bytes([p0, p1]) {
        0xbede => true,
        0x1000..=0x100f => false,
        _ => return None,
    };
    while let Some((&first, following)) = rest.split_first() {
        rest = following;
        if first == 0 {
            continue;
        }
        let (id, length) = if one_byte {
            (first >> 4, usize::from(first & 0x0f).saturating_add(1))
        } else {
            let (&length, following) = rest.split_first()?;
            rest = following;
            (first, usize::from(length))
        };
        let (value, following) = rest.split_at_checked(length)?;
        if id == wanted {
            return value.first_chunk().map(|bytes| SeqNo(u16::from_be_bytes(*bytes)));
        }
        rest = following;
    }
    None
}

const EXTENSION_BIT: u8 = 0x10;
const PADDING_BIT: u8 = 0x20;

#[cfg(test)]
mod tests {
    use super::*;
    use rtp::{ExtensionWriter, OutgoingHeader};

    fn packet(elements: &[(u8, &[u8])], padding: bool) -> Vec<u8> {
        let mut packet = vec![0; 200];
        let header = OutgoingHeader {
            payload_type: PayloadType(96),
            marker: true,
            seq: SeqNo(513),
            timestamp: RtpTimestamp(70_000),
            ssrc: Ssrc(9),
        };
        let start = header.write(!elements.is_empty(), padding, &mut packet).unwrap();
        let mut writer = ExtensionWriter::new(&mut packet[start..]);
        for (id, value) in elements {
            assert!(writer.push(*id, value));
        }
        let end = start + writer.finish();
        packet.truncate(end);
        packet.extend([0xff; 20]);
        packet
    }

    #[test]
    fn the_transport_wide_number_is_found_among_others_in_both_forms() {
        let one_byte = packet(&[(4, b"1"), (3, &[0x12, 0x34]), (2, &[1, 2, 3])], false);
        let two_byte = packet(&[(4, &[7; 20]), (3, &[0x12, 0x34])], true);

        for sealed in [one_byte, two_byte] {
            let glance = Glance::read(&sealed, 3).unwrap();

            assert_eq!(glance.transport_seq, Some(SeqNo(0x1234)));
            assert_eq!(
                (glance.seq, glance.timestamp, glance.ssrc),
                (SeqNo(513), RtpTimestamp(70_000), Ssrc(9))
            );
            assert_eq!((glance.payload_type, glance.marker), (PayloadType(96), true));
        }
    }

    #[test]
    fn a_packet_without_the_number_has_none() {
        for sealed in [packet(&[], false), packet(&[(4, b"1")], false)] {
            assert_eq!(Glance::read(&sealed, 3).unwrap().transport_seq, None);
        }
        assert_eq!(Glance::read(&packet(&[(3, &[1, 2])], false), 0).unwrap().transport_seq, None);
    }

    #[test]
    fn every_cut_of_a_packet_is_read_or_refused() {
        let whole = packet(&[(4, b"1"), (3, &[0x12, 0x34])], false);

        let read = (0..whole.len()).filter(|&length| Glance::read(&whole[..length], 3).is_some()).count();

        assert_eq!(read, whole.len() - 12);
    }
}
