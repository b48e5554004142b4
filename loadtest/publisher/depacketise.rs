//! The way back from payloads to what a decoder reads, for tests.

use rtp::Codec;

/// Appends one frame's payloads as the decoder's file format has them: Annex B for H.264, one IVF frame for VP8.
pub(crate) fn append<'a>(codec: Codec, payloads: impl Iterator<Item = &'a [u8]>, file: &mut Vec<u8>) {
    if codec == Codec::H264 {
        for unit in units(payloads) {
            file.extend_from_slice(&[0, 0, 0, 1]);
            file.extend_from_slice(&unit);
        }
        return;
    }
    let frame: Vec<u8> = payloads.flat_map(|payload| payload[6..].iter().copied()).collect();
    file.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_le_bytes());
    file.extend_from_slice(&[0; 8]);
    file.extend_from_slice(&frame);
}

/// Takes the NAL units out of aggregates and fragments (RFC 6184 §5.6–5.8); refuses what is not well-formed.
pub(crate) fn units<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut units = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for payload in payloads {
        let (indicator, kind) = (payload[0] & 0xe0, payload[0] & 0x1f);
        assert!(open.is_none() || kind == 28, "a fragmented unit ends first");
        match kind {
            24 => units.extend(aggregated(&payload[1..])),
            28 => {
                let (first, last) = (payload[1] & 0x80 != 0, payload[1] & 0x40 != 0);
                assert_eq!(first, open.is_none());
                let unit = open.get_or_insert_with(|| vec![indicator | (payload[1] & 0x1f)]);
                unit.extend_from_slice(&payload[2..]);
                if last {
                    units.extend(open.take());
                }
            }
            _ => units.push(payload.to_vec()),
        }
    }
    assert!(open.is_none(), "a fragmented unit has an end");
    units
}

fn aggregated(mut rest: &[u8]) -> Vec<Vec<u8>> {
    let mut units = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        units.push(rest[2..2 + length].to_vec());
        rest = &rest[2 + length..];
    }
    units
}
