//! VP8 frames as RTP payloads (RFC 7741), filled up behind the last partition.

use rtp::MonoTime;

use super::payloads::{PAYLOAD_BYTES_MAX, Payloads, near_equal};
use crate::stamp;

/// Counts the pictures of one layer and writes them as payloads.
#[derive(Clone, Debug)]
pub struct Packetiser {
    /// 15 bits, one on with each picture.
    picture_id: u16,
    /// One on with each picture, because all of them belong to the lowest temporal layer.
    base_index: u8,
    /// The frame with what trails it; kept for its memory.
    filled: Vec<u8>,
}

impl Packetiser {
    /// Makes a packetiser; `picture_id` is the first picture's.
    #[must_use]
    pub const fn new(picture_id: u16) -> Self {
        Self { picture_id: picture_id & PICTURE_ID_MASK, base_index: 0, filled: Vec::new() }
    }

    /// Writes one frame as payloads of `target` bytes together, or more where the frame alone takes more.
    pub fn packetise(&mut self, frame: &[u8], sent: MonoTime, target: usize, out: &mut Payloads) {
        let least = frame.len().saturating_add(stamp::TRAILER_BYTES);
        let room = PAYLOAD_BYTES_MAX.saturating_sub(DESCRIPTOR_BYTES);
        let count = target.div_ceil(PAYLOAD_BYTES_MAX).max(least.div_ceil(room));
        let length = target.saturating_sub(count.saturating_mul(DESCRIPTOR_BYTES)).max(least);
        self.fill(frame, sent, length);

        let mut rest = &*self.filled;
        for (index, length) in near_equal(self.filled.len(), count).enumerate() {
            let (part, following) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            let descriptor = self.descriptor(index == 0);
            out.push(|bytes| {
                bytes.extend_from_slice(&descriptor);
                bytes.extend_from_slice(part);
            });
            rest = following;
        }
        self.picture_id = self.picture_id.wrapping_add(1) & PICTURE_ID_MASK;
        self.base_index = self.base_index.wrapping_add(1);
    }

    /// Brings the frame to its length: a decoder ends with the last partition and does not read on.
    fn fill(&mut self, frame: &[u8], sent: MonoTime, length: usize) {
        self.filled.clear();
        self.filled.extend_from_slice(frame);
        self.filled.resize(length.saturating_sub(stamp::TRAILER_BYTES), 0);
        self.filled.extend_from_slice(&stamp::trailer(sent));
    }

    fn descriptor(&self, first: bool) -> [u8; DESCRIPTOR_BYTES] {
        let start = if first { START_OF_PARTITION } else { 0 };
        let [high, low] = self.picture_id.to_be_bytes();
        [EXTENDED | start, PRESENT, WIDE_PICTURE_ID | high, low, self.base_index, LOWEST_LAYER]
    }
}

const DESCRIPTOR_BYTES: usize = 6;
const PICTURE_ID_MASK: u16 = 0x7fff;
const EXTENDED: u8 = 0x80;
const START_OF_PARTITION: u8 = 0x10;
/// Picture id, TL0PICIDX and temporal layer follow.
const PRESENT: u8 = 0xe0;
const WIDE_PICTURE_ID: u8 = 0x80;
const LOWEST_LAYER: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use rtp::Codec;
    use rtp::payload::describe;

    const SENT: MonoTime = MonoTime::from_millis(77);

    #[test]
    fn a_frame_is_filled_to_its_target_in_payloads_one_byte_apart() {
        for target in [500, 1_200, 1_201, 10_417, 62_500] {
            let payloads = packetise(&[7; 300], target);

            let lengths: Vec<_> = payloads.iter().map(<[u8]>::len).collect();
            assert_eq!(payloads.total_bytes(), target);
            assert_eq!(lengths.len(), target.div_ceil(PAYLOAD_BYTES_MAX));
            assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() <= 1, "{lengths:?}");
        }
    }

    #[test]
    fn a_frame_larger_than_its_target_is_sent_whole() {
        for length in [1_170, 1_178, 1_179, 5_000] {
            let frame = vec![7; length];

            let payloads = packetise(&frame, 100);

            let joined: Vec<u8> = payloads.iter().flat_map(|payload| payload[6..].to_vec()).collect();
            assert!(payloads.iter().all(|payload| payload.len() <= PAYLOAD_BYTES_MAX));
            assert_eq!(joined[..length], frame);
            assert_eq!(joined.len(), length + stamp::TRAILER_BYTES);
        }
    }

    #[test]
    fn the_first_payload_begins_the_frame_and_the_last_shows_the_time() {
        let payloads = packetise(&[7; 300], 5_000);

        let payloads: Vec<_> = payloads.iter().collect();
        let (last, others) = payloads.split_last().unwrap();
        assert_eq!(stamp::find(Codec::Vp8, last), Some(SENT));
        assert!(others.iter().all(|payload| stamp::find(Codec::Vp8, payload).is_none()));
        let starts = payloads.iter().filter(|payload| describe(Codec::Vp8, payload).unwrap().frame_start);
        assert_eq!(starts.count(), 1);
        assert!(describe(Codec::Vp8, payloads[0]).unwrap().frame_start);
    }

    #[test]
    fn both_numbers_rise_by_one_a_picture_and_wrap() {
        let mut packetiser = Packetiser::new(0x7fff - 1);
        let mut numbers = Vec::new();
        for _ in 0..257 {
            let mut payloads = Payloads::new();
            packetiser.packetise(&[7; 30], SENT, 0, &mut payloads);
            let fields = describe(Codec::Vp8, payloads.iter().next().unwrap()).unwrap().vp8.unwrap();
            numbers.push((fields.picture_id.unwrap().value, fields.tl0_picture_index.unwrap().value));
        }

        assert_eq!(numbers[..4], [(0x7ffe, 0), (0x7fff, 1), (0, 2), (1, 3)]);
        assert_eq!(numbers[256], (254, 0));
    }

    fn packetise(frame: &[u8], target: usize) -> Payloads {
        let mut payloads = Payloads::new();
        Packetiser::new(0).packetise(frame, SENT, target, &mut payloads);
        payloads
    }
}
