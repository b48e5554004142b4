//! The bytes of one packet.

use rtp::{Codec, Extension};

use super::feedback::nack;
use super::harness::VIDEO;
use super::harness::{Media, Place, Room, TRANSPORT_CC_ID, one_layer};
use crate::viewer::Forward;

#[test]
fn transport_wide_numbers_count_media_and_retransmissions_together() {
    let mut room = playing();
    let first = room.deliver(&Media::vp8(0, 101, 3_000));
    let repaired = room.rtcp(&nack(VIDEO, &[first[0].seq]));
    let second = room.deliver(&Media::vp8(0, 102, 6_000));

    let numbers = [&first[0], &repaired[0], &second[0]].map(|sent| {
        let value = sent.extension(TRANSPORT_CC_ID).unwrap();
        u16::from_be_bytes(value.try_into().unwrap())
    });

    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn carried_extensions_go_out_under_the_viewers_identifiers() {
    let mut room = playing();
    let extensions = vec![
        (Extension::AudioLevel, vec![]),
        (Extension::VideoOrientation, vec![3]),
        (Extension::PlayoutDelay, vec![1, 2, 3]),
        (Extension::AbsCaptureTime, vec![9; 16]),
        (Extension::DependencyDescriptor, vec![0x80, 0, 5]),
    ];

    let sent = room.deliver(&Media { extensions, ..Media::vp8(0, 101, 3_000) });

    assert_eq!(sent[0].extension(4), Some([3].as_slice()));
    assert_eq!(sent[0].extension(5), Some([1, 2, 3].as_slice()));
    assert_eq!(sent[0].extension(7), Some([9; 16].as_slice()));
    assert_eq!(sent[0].extension(8), Some([0x80, 0, 5].as_slice()));
}

#[test]
fn absolute_send_time_is_the_time_of_writing() {
    let mut room = playing();
    let at = |room: &mut Room, seq| {
        let sent = room.deliver(&Media::vp8(0, seq, 3_000));
        let value = sent[0].extension(6).unwrap();
        u32::from_be_bytes([0, value[0], value[1], value[2]])
    };

    let first = at(&mut room, 101);
    room.advance(1_500);
    let second = at(&mut room, 102);

    // 18 bits of fraction, modulo 64 seconds.
    assert_eq!(second.wrapping_sub(first) & 0xff_ffff, 3 << 17);
}

#[test]
fn frame_numbers_of_the_dependency_descriptor_continue_over_a_takeover() {
    let mut room = playing();
    let described = |media: Media, number: u16| {
        let [high, low] = number.to_be_bytes();
        let extensions = [
            (Extension::AudioLevel, vec![]),
            (Extension::VideoOrientation, vec![]),
            (Extension::PlayoutDelay, vec![]),
            (Extension::AbsCaptureTime, vec![]),
            (Extension::DependencyDescriptor, vec![0xc1, high, low, 0x77]),
        ];
        Media { extensions: extensions.to_vec(), ..media }
    };
    room.deliver(&described(Media::vp8(0, 101, 3_000), 41));

    room.reset_rings();
    room.viewer.handle_track(room.now, &one_layer(2, Codec::Vp8));
    let first = room.deliver(&described(Media::key(0, 7, 0), 65_000));
    let second = room.deliver(&described(Media::vp8(0, 8, 3_000), 65_002));

    assert_eq!(first[0].extension(8), Some([0xc1, 0, 42, 0x77].as_slice()));
    assert_eq!(second[0].extension(8), Some([0xc1, 0, 44, 0x77].as_slice()));
}

#[test]
fn packet_that_does_not_fit_is_not_written_past_the_end_and_takes_no_transport_wide_number() {
    let mut room = playing();
    let arrival = room.store(&Media::vp8(0, 101, 3_000));
    let mut forwards: Vec<Forward> = Vec::new();
    room.viewer.handle_arrivals(room.now, &room.rings, &[arrival], &mut forwards);
    let mut whole = [0xaa; 256];
    let length = room.viewer.write_packet(room.now, &forwards[0], &room.rings, &mut whole).unwrap();

    for short in 0..length {
        let mut bytes = [0xaa; 256];
        let written = room.viewer.write_packet(room.now, &forwards[0], &room.rings, &mut bytes[..short]);
        assert_eq!(written, None, "{short}");
        assert!(bytes[short..].iter().all(|&byte| byte == 0xaa));
    }

    assert_eq!(room.viewer.stats().video.unwritten, length as u64);
    let next = room.deliver(&Media::vp8(0, 102, 6_000));
    assert_eq!(next[0].extension(TRANSPORT_CC_ID), Some([0, 2].as_slice()));
}

#[test]
fn packet_that_left_its_ring_is_not_written() {
    let mut room = playing();
    let arrival = room.store(&Media::vp8(0, 101, 3_000));
    let mut forwards: Vec<Forward> = Vec::new();
    room.viewer.handle_arrivals(room.now, &room.rings, &[arrival], &mut forwards);
    room.rings.reset();

    let written = room.viewer.write_packet(room.now, &forwards[0], &room.rings, &mut [0; 2_048]);

    assert_eq!(written, None);
    assert_eq!(room.viewer.stats().video.drops.get(crate::DropReason::NotInRing), 1);
}

/// A room whose viewer has got one packet, with transport-wide number 0.
#[test]
fn a_frame_cut_into_two_sizes_goes_out_in_one_size_with_its_payload_untouched() {
    let mut room = playing();
    let narrow = |seq, place| Media { picture: (9, false, 3), ..Media::part(0, seq, 3_000, place) };
    let wide = |seq, place| Media { picture: (9, true, 3), ..Media::part(0, seq, 3_000, place) };
    let frame = [narrow(101, Place::First), wide(102, Place::Middle), wide(103, Place::Last)];
    let arrivals = frame.each_ref().map(|media| room.store(media));

    let sent = room.announce(&arrivals);

    let lengths: Vec<usize> =
        sent.iter().map(|sent| sent.payload.len() + usize::from(sent.padding)).collect();
    assert_eq!(lengths, [frame[1].payload().len(); 3]);
    assert_eq!(sent.iter().map(|sent| sent.padding).collect::<Vec<_>>(), [1, 0, 0]);
    for (sent, media) in sent.iter().zip(&frame) {
        assert_eq!(sent.payload, media.payload_with(sent.picture.unwrap()));
    }
}

fn playing() -> Room {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    let sent = room.deliver(&Media::key(0, 100, 0));
    assert_eq!(sent[0].extension(TRANSPORT_CC_ID), Some([0, 0].as_slice()));
    room
}
