use super::*;
use crate::extension::{Extension, ExtensionMap, ExtensionWriter};

#[test]
fn every_field_of_a_plain_packet_is_read() {
    let bytes = packet(0x80, b"media");

    let view = RtpView::parse(&bytes).unwrap();

    assert_eq!(view.payload_type, PayloadType(96));
    assert!(view.marker);
    assert_eq!(view.seq, SeqNo(0x1234));
    assert_eq!(view.timestamp, RtpTimestamp(0x0102_0304));
    assert_eq!(view.ssrc, Ssrc(0x0a0b_0c0d));
    assert!(view.extensions.is_empty());
    assert_eq!(view.payload, b"media");
    assert_eq!(view.padding, 0);
}

#[test]
fn a_written_header_is_read_back() {
    let header = OutgoingHeader {
        payload_type: PayloadType(127),
        marker: true,
        seq: SeqNo(65_535),
        timestamp: RtpTimestamp(u32::MAX),
        ssrc: Ssrc(7),
    };
    let mut out = [0xaa; 16];

    let length = header.write(false, false, &mut out);

    assert_eq!(length, Some(12));
    assert_eq!(out[12..], [0xaa; 4], "nothing behind the header is touched");
    let view = RtpView::parse(&out[..12]).unwrap();
    let read = OutgoingHeader {
        payload_type: view.payload_type,
        marker: view.marker,
        seq: view.seq,
        timestamp: view.timestamp,
        ssrc: view.ssrc,
    };
    assert_eq!(read, header);
}

#[test]
fn a_written_header_announces_the_extension_and_the_padding_behind_it() {
    let header = OutgoingHeader {
        payload_type: PayloadType(96),
        marker: false,
        seq: SeqNo(1),
        timestamp: RtpTimestamp(2),
        ssrc: Ssrc(3),
    };
    let mut out = [0; 64];
    let mut map = ExtensionMap::new();
    map.insert(4, Extension::Mid);

    header.write(true, true, &mut out).unwrap();
    let mut extensions = ExtensionWriter::new(&mut out[12..]);
    assert!(extensions.push(4, b"0"));
    let block = extensions.finish();
    let end = 12 + block + 3;
    out[12 + block..end].copy_from_slice(&[0x55, 0, 2]);

    let view = RtpView::parse(&out[..end]).unwrap();
    assert_eq!(view.extensions.find(&map, Extension::Mid), Some(&b"0"[..]));
    assert_eq!(view.payload, [0x55]);
    assert_eq!(view.padding, 2);
}

#[test]
fn a_header_is_not_written_into_less_than_twelve_bytes() {
    let header = OutgoingHeader {
        payload_type: PayloadType(0),
        marker: false,
        seq: SeqNo(0),
        timestamp: RtpTimestamp(0),
        ssrc: Ssrc(0),
    };

    assert_eq!(header.write(false, false, &mut [0; 11]), None);
}

#[test]
fn csrcs_are_skipped() {
    let mut body = vec![0xee; 8];
    body.extend(b"media");

    let parsed = packet(0x82, &body);

    assert_eq!(RtpView::parse(&parsed).unwrap().payload, b"media");
}

#[test]
fn fifteen_csrcs_in_twelve_bytes_are_refused() {
    assert_eq!(
        RtpView::parse(&packet(0x8f, &[])).unwrap_err(),
        ParseError::Truncated { expected: 60, came: 0 }
    );
}

#[test]
fn an_extension_longer_than_the_packet_is_refused() {
    let parsed = packet(0x90, &[0xbe, 0xde, 0, 16, 1, 2, 3, 4]);

    assert_eq!(RtpView::parse(&parsed).unwrap_err(), ParseError::Length { declared: 64, available: 4 });
}

#[test]
fn a_padding_count_larger_than_the_payload_is_refused() {
    let parsed = packet(0xa0, &[1, 2, 3, 5]);

    assert_eq!(RtpView::parse(&parsed).unwrap_err(), ParseError::Padding { padding: 5, available: 4 });
}

#[test]
fn a_padding_count_of_zero_is_refused() {
    let parsed = packet(0xa0, &[1, 2, 3, 0]);

    assert_eq!(RtpView::parse(&parsed).unwrap_err(), ParseError::Padding { padding: 0, available: 4 });
}

#[test]
fn padding_without_a_byte_to_count_it_is_refused() {
    assert_eq!(
        RtpView::parse(&packet(0xa0, &[])).unwrap_err(),
        ParseError::Padding { padding: 0, available: 0 }
    );
}

#[test]
fn a_packet_of_padding_alone_has_an_empty_payload() {
    let mut body = vec![0; 254];
    body.push(255);

    let parsed = packet(0xa0, &body);

    let view = RtpView::parse(&parsed).unwrap();
    assert!(view.payload.is_empty());
    assert_eq!(view.padding, 255);
}

#[test]
fn another_version_is_refused() {
    assert_eq!(RtpView::parse(&packet(0x40, b"media")).unwrap_err(), ParseError::Version(1));
}

#[test]
fn every_cut_of_the_fixed_header_is_refused() {
    let whole = packet(0x80, &[]);

    for length in 0..whole.len() {
        assert!(
            matches!(RtpView::parse(&whole[..length]), Err(ParseError::Truncated { .. })),
            "{length} bytes"
        );
    }
}

/// A packet with the marker set, payload type 96, and everything behind the fixed header given.
fn packet(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flags, 0x80 | 96, 0x12, 0x34, 1, 2, 3, 4, 0x0a, 0x0b, 0x0c, 0x0d];
    bytes.extend(body);
    bytes
}
