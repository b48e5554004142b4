//! H.264 pictures as RTP payloads (RFC 6184, `packetization-mode=1`), with the send time in front and filler behind.
//!
//! A picture is one slice. Where it fits one packet with everything in front of it, that packet is an aggregate of
//! parameter sets, the send time and the slice; else the slice is fragmented behind such an aggregate. Filler
//! units follow (ITU-T H.264 §7.3.2.7: they may stand nowhere else). The send time's message is as long as the
//! first packet needs it to be, so that all packets of a picture have one length, or two that are a byte apart.

use rtp::MonoTime;

use super::payloads::{PAYLOAD_BYTES_MAX, Payloads, near_equal};
use crate::stamp;

/// One picture to send.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// The units that a keyframe needs in front of it; none for other pictures.
    pub parameter_sets: &'a [&'a [u8]],
    /// The only slice, with its unit header, without start code.
    pub slice: &'a [u8],
    /// When it is sent.
    pub sent: MonoTime,
}

/// Writes a picture as payloads of about `target` bytes together (off by half a packet at most), or more where the
/// picture alone takes more.
pub fn packetise(picture: &Picture<'_>, target: usize, out: &mut Payloads) {
    let aggregate = picture.front_bytes().saturating_add(aggregated(picture.slice));
    if aggregate <= PAYLOAD_BYTES_MAX {
        packetise_whole(picture, target, out);
    } else {
        packetise_fragmented(picture, target, out);
    }
}

impl Picture<'_> {
    /// The shortest packet in front of the slice: an aggregate of the parameter sets and the send time.
    fn front_bytes(&self) -> usize {
        let parameter_sets = self.parameter_sets.iter().map(|unit| aggregated(unit));
        parameter_sets.sum::<usize>().saturating_add(1 + LENGTH_BYTES + stamp::SEI_BYTES_MIN)
    }

    /// Writes the aggregate in front, `length` bytes long; the slice is its last unit if it is given.
    fn write_front(&self, slice: Option<&[u8]>, length: usize, bytes: &mut Vec<u8>) {
        let importance = self.slice.first().copied().unwrap_or(0) & IMPORTANCE_MASK;
        let behind = slice.map_or(0, aggregated);
        let spare = length.saturating_sub(self.front_bytes()).saturating_sub(behind);
        let sei_bytes = stamp::SEI_BYTES_MIN.saturating_add(spare);
        bytes.push(STAP_A | importance);
        for unit in self.parameter_sets {
            write_length(unit.len(), bytes);
            bytes.extend_from_slice(unit);
        }
        write_length(sei_bytes, bytes);
        stamp::sei(self.sent, sei_bytes, bytes);
        if let Some(slice) = slice {
            write_length(slice.len(), bytes);
            bytes.extend_from_slice(slice);
        }
    }
}

/// The slice fits the first packet; the others are filler.
fn packetise_whole(picture: &Picture<'_>, target: usize, out: &mut Payloads) {
    let least = picture.front_bytes().saturating_add(aggregated(picture.slice));
    let count = target.div_ceil(PAYLOAD_BYTES_MAX).max(1);
    let even = target / count;
    let (count, total) = if even >= least {
        (count, target)
    } else {
        // The first packet is the longest: the others follow its length.
        let count = rounded(target, least).max(1);
        (count, least.saturating_mul(count))
    };
    let mut lengths = near_equal(total, count);
    let first = lengths.next().unwrap_or(least);
    out.push(|bytes| picture.write_front(Some(picture.slice), first, bytes));
    write_filler(lengths, out);
}

/// The slice is cut into fragments, whose length the other packets follow.
fn packetise_fragmented(picture: &Picture<'_>, target: usize, out: &mut Payloads) {
    let body = picture.slice.get(1..).unwrap_or_default();
    let least = body.len().saturating_add(picture.front_bytes());
    let count = target.max(least).div_ceil(PAYLOAD_BYTES_MAX).max(2);
    let even = target.max(least) / count;
    let room = even.clamp(FRAGMENT_HEADER + 1, PAYLOAD_BYTES_MAX).saturating_sub(FRAGMENT_HEADER);
    let fragments = body.len().div_ceil(room).max(2);
    let length = (body.len() / fragments).saturating_add(FRAGMENT_HEADER);
    let front = length.max(picture.front_bytes());
    out.push(|bytes| picture.write_front(None, front, bytes));
    let header = picture.slice.first().copied().unwrap_or(0);
    let mut rest = body;
    write_fragments(header, near_equal(body.len(), fragments), out, |length, bytes| {
        let (part, following) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        bytes.extend_from_slice(part);
        rest = following;
    });
    let fillers = rounded(target.saturating_sub(out.total_bytes()), length);
    write_filler(std::iter::repeat_n(length, fillers), out);
}

/// Writes one filler unit in packets of the given lengths (ITU-T H.264 §7.3.2.7).
fn write_filler(mut lengths: impl ExactSizeIterator<Item = usize>, out: &mut Payloads) {
    let count = lengths.len();
    if count == 1 {
        let length = lengths.next().unwrap_or(0);
        return out.push(|bytes| {
            bytes.push(UNIT_FILLER);
            bytes.resize(bytes.len().saturating_add(length.saturating_sub(2)), FILL);
            bytes.push(STOP_BIT);
        });
    }
    let mut left = count;
    let parts = lengths.map(|length| length.saturating_sub(FRAGMENT_HEADER));
    write_fragments(UNIT_FILLER, parts, out, |length, bytes| {
        left = left.saturating_sub(1);
        let end = bytes.len().saturating_add(length);
        bytes.resize(end, FILL);
        if left == 0
            && let Some(last) = bytes.last_mut()
        {
            *last = STOP_BIT;
        }
    });
}

/// Writes at least two fragments of a unit; the closure appends so many bytes of its body (RFC 6184 §5.8).
fn write_fragments(
    header: u8,
    lengths: impl ExactSizeIterator<Item = usize>,
    out: &mut Payloads,
    mut write_part: impl FnMut(usize, &mut Vec<u8>),
) {
    let last = lengths.len().saturating_sub(1);
    for (index, length) in lengths.enumerate() {
        let place = if index == 0 {
            FRAGMENT_START
        } else if index == last {
            FRAGMENT_END
        } else {
            0
        };
        out.push(|bytes| {
            bytes.extend_from_slice(&[FU_A | (header & IMPORTANCE_MASK), place | (header & TYPE_MASK)]);
            write_part(length, bytes);
        });
    }
}

/// What a unit takes in an aggregate.
const fn aggregated(unit: &[u8]) -> usize {
    unit.len().saturating_add(LENGTH_BYTES)
}

fn write_length(length: usize, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
}

/// `dividend / divisor`, to the nearest.
const fn rounded(dividend: usize, divisor: usize) -> usize {
    match dividend.saturating_add(divisor / 2).checked_div(divisor) {
        Some(quotient) => quotient,
        None => 0,
    }
}

const TYPE_MASK: u8 = 0x1f;
/// `nal_ref_idc`.
const IMPORTANCE_MASK: u8 = 0x60;
const UNIT_FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const LENGTH_BYTES: usize = 2;
const FRAGMENT_HEADER: usize = 2;
const FRAGMENT_START: u8 = 0x80;
const FRAGMENT_END: u8 = 0x40;
const FILL: u8 = 0xff;
const STOP_BIT: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::depacketise::units;
    use rtp::Codec;

    const SENT: MonoTime = MonoTime::from_millis(77);
    const PARAMETER_SETS: [&[u8]; 2] = [&[0x67, 0x42, 0xc0, 0x1f], &[0x68, 0xce]];

    #[test]
    fn every_target_and_slice_gives_packets_of_one_length_or_two_a_byte_apart() {
        for slice_bytes in (1..1_150).step_by(7) {
            for target in [200, 1_200, 1_201, 1_250, 2_500, 10_417, 62_500] {
                let payloads = packetise(slice_bytes, &[], target);

                let lengths: Vec<_> = payloads.iter().map(<[u8]>::len).collect();
                let least = slice_bytes + 41;
                assert!(lengths.iter().all(|length| *length <= PAYLOAD_BYTES_MAX), "{lengths:?}");
                assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() <= 1, "{lengths:?}");
                let off = payloads.total_bytes().abs_diff(target.max(least));
                assert!(off <= lengths[0] / 2, "{slice_bytes} for {target}: {lengths:?}");
            }
        }
    }

    #[test]
    fn a_fragmented_picture_has_packets_of_its_fragments_length() {
        for slice_bytes in (1_150..9_000).step_by(113) {
            for target in [0, 2_500, 15_000, 62_500] {
                let payloads = packetise(slice_bytes, &PARAMETER_SETS, target);

                let lengths: Vec<_> = payloads.iter().map(<[u8]>::len).collect();
                assert!(lengths.iter().all(|length| *length <= PAYLOAD_BYTES_MAX), "{lengths:?}");
                assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() <= 1, "{lengths:?}");
                let off = target.saturating_sub(payloads.total_bytes());
                assert!(off <= lengths[0] / 2 + 1, "{slice_bytes} for {target}: {lengths:?}");
            }
        }
    }

    #[test]
    fn the_units_come_out_in_the_order_of_an_access_unit() {
        for slice_bytes in [100, 1_180, 5_000] {
            let slice = slice(slice_bytes);
            for target in [100, 1_700, 20_000] {
                let payloads = packetise(slice_bytes, &PARAMETER_SETS, target);

                let units = units(payloads.iter());
                let kinds: Vec<_> = units.iter().map(|unit| unit[0] & TYPE_MASK).collect();
                assert_eq!(kinds[..4], [7, 8, 6, 5]);
                assert!(kinds[4..].is_empty() || kinds[4..] == [12], "{kinds:?}");
                assert_eq!(units[..2], PARAMETER_SETS);
                assert_eq!(units[3], slice);
                assert!(units[4..].iter().all(|filler| is_filler(filler)));
            }
        }
    }

    #[test]
    fn the_first_payload_shows_the_time_and_no_other_does() {
        for slice_bytes in [100, 5_000] {
            let payloads = packetise(slice_bytes, &[], 9_000);

            let times: Vec<_> =
                payloads.iter().map(|payload| crate::stamp::find(Codec::H264, payload)).collect();
            assert_eq!(times[0], Some(SENT));
            assert!(times[1..].iter().all(Option::is_none));
        }
    }

    #[test]
    fn no_fragment_is_first_and_last_at_once() {
        for slice_bytes in [1_155, 1_160, 1_199, 1_200, 1_201] {
            for payload in packetise(slice_bytes, &PARAMETER_SETS, 0).iter() {
                let both = FRAGMENT_START | FRAGMENT_END;
                assert!(payload[0] & TYPE_MASK != FU_A || payload[1] & both != both, "{slice_bytes}");
            }
        }
    }

    fn packetise(slice_bytes: usize, parameter_sets: &[&[u8]], target: usize) -> Payloads {
        let mut payloads = Payloads::new();
        let slice = slice(slice_bytes);
        super::packetise(&Picture { parameter_sets, slice: &slice, sent: SENT }, target, &mut payloads);
        payloads
    }

    /// The slice of a keyframe; its bytes tell their place.
    fn slice(length: usize) -> Vec<u8> {
        let body = (1..length).map(|place| u8::try_from(place % 251).unwrap() | 4);
        std::iter::once(0x65).chain(body).collect()
    }

    fn is_filler(unit: &[u8]) -> bool {
        let (last, body) = unit[1..].split_last().unwrap();
        *last == STOP_BIT && body.iter().all(|byte| *byte == FILL)
    }
}
