//! The send time inside the media, where any server passes it on: written by publishers, found by viewers.
//!
//! Nanoseconds of `CLOCK_MONOTONIC`, so both ends must run on one machine. In H.264 it is an SEI message of
//! unregistered user data in front of the picture (ITU-T H.264 §D.1.7); the number is written in hexadecimal,
//! because a byte that is never zero needs no emulation prevention and the message has one length always. In
//! VP8 it is the end of the bytes that trail the last partition, which decoders do not read (RFC 6386 §9.5).
//!
//! **Invariant:** [`sei`] appends exactly the length that it is asked for, and holds no two zero bytes in a row.

use rtp::{Codec, MonoTime};

/// The shortest [`sei`].
pub const SEI_BYTES_MIN: usize = 4 + IDENTITY.len() + DIGITS;

/// The length of a [`trailer`].
pub const TRAILER_BYTES: usize = MAGIC.len() + size_of::<u64>();

/// Appends an SEI unit of `length` bytes (at least [`SEI_BYTES_MIN`]) with the send time; what is more than the
/// time is filled.
pub fn sei(sent: MonoTime, length: usize, out: &mut Vec<u8>) {
    let mut body = length.max(SEI_BYTES_MIN).saturating_sub(3);
    out.push(UNIT_SEI);
    let mut tail: &[u8] = &[STOP_BIT];
    if body.is_multiple_of(SIZE_STEP) {
        // One more byte in the message would need one more in its size: an empty filler message takes two.
        body = body.saturating_sub(2);
        tail = &[MESSAGE_FILLER, 0, STOP_BIT];
    }
    let size = body.saturating_sub(body.div_ceil(SIZE_STEP));
    out.push(MESSAGE_USER_DATA);
    out.resize(out.len().saturating_add(size / SIZE_LIMIT), 0xff);
    out.push(u8::try_from(size % SIZE_LIMIT).unwrap_or(u8::MAX));
    out.extend_from_slice(&IDENTITY);
    out.extend((0..DIGITS).rev().map(|place| digit(sent.as_nanos() >> (4 * place))));
    out.resize(out.len().saturating_add(size.saturating_sub(IDENTITY.len() + DIGITS)), FILL);
    out.extend_from_slice(tail);
}

/// Returns the last bytes of a VP8 frame that shows its send time.
#[must_use]
pub fn trailer(sent: MonoTime) -> [u8; TRAILER_BYTES] {
    let mut bytes = [0; TRAILER_BYTES];
    let (magic, time) = bytes.split_at_mut(MAGIC.len());
    magic.copy_from_slice(&MAGIC);
    time.copy_from_slice(&sent.as_nanos().to_be_bytes());
    bytes
}

/// Finds the send time in one RTP payload (without header and padding), when the payload shows it: in H.264 the
/// first packet of a frame does, in VP8 the last one.
#[must_use]
pub fn find(codec: Codec, payload: &[u8]) -> Option<MonoTime> {
    match codec {
        Codec::H264 => find_in_packet(payload),
        Codec::Vp8 => find_trailer(payload),
        _ => None,
    }
}

/// Looks into a single unit, an aggregate, or the first fragment of a unit (RFC 6184 §5.6–5.8).
fn find_in_packet(payload: &[u8]) -> Option<MonoTime> {
    let (&header, rest) = payload.split_first()?;
    match header & TYPE_MASK {
        UNIT_SEI => find_in_message(rest),
        STAP_A => find_in_aggregate(rest),
        FU_A => {
            let (&fragment, rest) = rest.split_first()?;
            (fragment & !TYPE_MASK == FIRST_FRAGMENT && fragment & TYPE_MASK == UNIT_SEI)
                .then(|| find_in_message(rest))?
        }
        _ => None,
    }
}

fn find_in_aggregate(mut rest: &[u8]) -> Option<MonoTime> {
    loop {
        let (&length, units) = rest.split_first_chunk()?;
        let (unit, following) = units.split_at_checked(usize::from(u16::from_be_bytes(length)))?;
        if let Some((header, body)) = unit.split_first()
            && header & TYPE_MASK == UNIT_SEI
            && let Some(sent) = find_in_message(body)
        {
            return Some(sent);
        }
        rest = following;
    }
}

/// Reads the first message of an SEI unit; `body` follows the unit's header and may be cut behind the time.
fn find_in_message(body: &[u8]) -> Option<MonoTime> {
    let (&kind, size_and_data) = body.split_first()?;
    let steps = size_and_data.iter().take_while(|byte| **byte == 0xff).count();
    let data = size_and_data.get(steps.saturating_add(1)..)?;
    let digits = data.strip_prefix(&IDENTITY)?.first_chunk::<DIGITS>()?;
    let nanos = digits.iter().try_fold(0_u64, |number, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some((number << 4) | u64::from(value))
    })?;
    (kind == MESSAGE_USER_DATA).then(|| MonoTime::from_nanos(nanos))
}

fn find_trailer(payload: &[u8]) -> Option<MonoTime> {
    let bytes = payload.last_chunk::<TRAILER_BYTES>()?;
    let time = bytes.strip_prefix(&MAGIC)?.first_chunk()?;
    Some(MonoTime::from_nanos(u64::from_be_bytes(*time)))
}

/// The hexadecimal digit of the lowest four bits.
fn digit(value: u64) -> u8 {
    let value = u8::try_from(value & 0x0f).unwrap_or(0);
    if value < 10 { b'0'.saturating_add(value) } else { b'a'.saturating_add(value.saturating_sub(10)) }
}

/// Names our message: 5ab3e1c7-6f24-5d90-a86b-9d17c4f2738e. No byte is zero.
const IDENTITY: [u8; 16] =
    [0x5a, 0xb3, 0xe1, 0xc7, 0x6f, 0x24, 0x5d, 0x90, 0xa8, 0x6b, 0x9d, 0x17, 0xc4, 0xf2, 0x73, 0x8e];
/// Says that eight bytes of time follow and end the frame.
const MAGIC: [u8; 8] = *b"nc-sent\xa7";
/// Hexadecimal digits of 64 bits.
const DIGITS: usize = 16;

const TYPE_MASK: u8 = 0x1f;
const UNIT_SEI: u8 = 6;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// The start bit alone: the end bit may not stand beside it (RFC 6184 §5.8).
const FIRST_FRAGMENT: u8 = 0x80;
const MESSAGE_FILLER: u8 = 3;
const MESSAGE_USER_DATA: u8 = 5;
/// `rbsp_stop_one_bit` and its alignment.
const STOP_BIT: u8 = 0x80;
const FILL: u8 = 0xff;
/// What one 0xff in front of a size's last byte adds (ITU-T H.264 §7.3.2.3.1).
const SIZE_LIMIT: usize = 255;
/// Bytes of a message's size and data together at which the size grows by a byte.
const SIZE_STEP: usize = SIZE_LIMIT + 1;

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: MonoTime = MonoTime::from_nanos(0x0012_0000_0034_abcd);

    #[test]
    fn a_unit_of_every_length_has_that_length_and_shows_the_time() {
        for length in SEI_BYTES_MIN..3_000 {
            let unit = unit(SENT, length);

            assert_eq!(unit.len(), length);
            assert_eq!(find(Codec::H264, &unit), Some(SENT), "{length} bytes");
            assert_eq!(messages(&unit), Some(length), "well-formed at {length} bytes");
        }
    }

    #[test]
    fn no_time_and_no_length_needs_emulation_prevention() {
        for nanos in [0, 1, 0x0100_0003_0000_0000, u64::MAX] {
            for length in SEI_BYTES_MIN..1_300 {
                let unit = unit(MonoTime::from_nanos(nanos), length);

                assert!(unit.windows(2).all(|pair| pair != [0, 0]), "{nanos} in {length} bytes");
            }
        }
    }

    #[test]
    fn a_shorter_unit_than_possible_is_the_shortest() {
        assert_eq!(unit(SENT, 0).len(), SEI_BYTES_MIN);
    }

    #[test]
    fn the_time_is_found_between_the_units_of_an_aggregate() {
        let mut packet = vec![STAP_A];
        for part in [&[0x67, 0x42, 0xc0, 0x1f][..], &[0x68, 0xce], &[6, 1, 1, 0x80], &unit(SENT, 300)] {
            packet.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
            packet.extend_from_slice(part);
        }

        assert_eq!(find(Codec::H264, &packet), Some(SENT));
    }

    #[test]
    fn the_time_is_found_in_the_first_fragment_only() {
        let unit = unit(SENT, 900);
        let fragment = |header: u8, part: &[u8]| [&[FU_A, header | UNIT_SEI], part].concat();

        assert_eq!(find(Codec::H264, &fragment(0x80, &unit[1..100])), Some(SENT));
        assert_eq!(find(Codec::H264, &fragment(0x00, &unit[1..])), None);
    }

    #[test]
    fn the_time_is_the_end_of_a_vp8_frame() {
        let payload = [&[0x10, 0x00, 0x11][..], &trailer(SENT)].concat();

        assert_eq!(find(Codec::Vp8, &payload), Some(SENT));
        assert_eq!(find(Codec::Vp8, &payload[..payload.len() - 1]), None);
    }

    #[test]
    fn payloads_of_others_and_payloads_that_are_cut_show_no_time() {
        let ours = unit(SENT, SEI_BYTES_MIN);
        let mut of_another_kind = ours.clone();
        of_another_kind[1] = 4;
        let mut of_another_name = ours.clone();
        of_another_name[3] ^= 1;

        for payload in [&of_another_kind, &of_another_name, &vec![0x41, 0x9a], &vec![STAP_A, 0, 9, 6]] {
            assert_eq!(find(Codec::H264, payload), None, "{payload:02x?}");
        }
        for length in 0..SEI_BYTES_MIN - 1 {
            assert_eq!(find(Codec::H264, &ours[..length]), None, "{length} bytes");
            assert_eq!(find(Codec::Vp8, &trailer(SENT)[..length.min(TRAILER_BYTES - 1)]), None);
        }
        assert_eq!(find(Codec::Opus, &ours), None);
    }

    fn unit(sent: MonoTime, length: usize) -> Vec<u8> {
        let mut unit = Vec::new();
        sei(sent, length, &mut unit);
        unit
    }

    /// Walks the messages as a decoder does and returns where the unit ends; `None` when it is malformed.
    fn messages(unit: &[u8]) -> Option<usize> {
        let mut position = 1;
        while unit.get(position..)? != [STOP_BIT] {
            position += 1;
            let steps = unit.get(position..)?.iter().take_while(|byte| **byte == 0xff).count();
            let size = steps * 255 + usize::from(*unit.get(position + steps)?);
            position += steps + 1 + size;
        }
        Some(position + 1)
    }
}
