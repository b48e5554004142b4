//! Sound: one layer, joined at any packet; RED for those who know it.

use super::harness::{AUDIO, Media, OPUS, Room, audio_track, one_layer};
use rtp::{Codec, PayloadType};

#[test]
fn audio_begins_at_any_packet_without_asking_for_anything() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Opus));

    let sent = room.deliver(&Media::raw(Codec::Opus, 100, 960, &[0xfc, 1, 2]));

    assert_eq!((sent[0].payload_type, sent[0].ssrc), (OPUS, AUDIO));
    assert_eq!(sent[0].payload, [0xfc, 1, 2]);
    assert!(room.requests().is_empty());
}

#[test]
fn audio_goes_on_without_a_gap_when_the_publisher_changes() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Opus));
    let before = room.deliver(&Media::raw(Codec::Opus, 100, 960, &[0xfc, 1]));

    room.reset_rings();
    room.viewer.handle_track(room.now, &one_layer(2, Codec::Opus));
    room.advance(500);
    let after = room.deliver(&Media::raw(Codec::Opus, 9, 77, &[0xfc, 2]));

    assert_eq!(after[0].seq, before[0].seq.plus(1));
    assert_eq!(after[0].timestamp, before[0].timestamp.plus(24_000));
}

#[test]
fn viewer_with_red_gets_the_blocks_under_its_own_payload_types() {
    let mut room = Room::with_tracks(vec![audio_track(true)], 1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Red));

    let sent = room.deliver(&Media::raw(Codec::Red, 100, 960, &RED));

    assert_eq!(sent[0].payload_type, PayloadType(63));
    assert_eq!(sent[0].payload, [0x80 | OPUS.0, 0x0f, 0x00, 0x02, OPUS.0, 1, 2, 7, 8, 9]);
}

#[test]
fn viewer_without_red_gets_the_primary_block() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Red));

    let sent = room.deliver(&Media::raw(Codec::Red, 100, 960, &RED));

    assert_eq!(sent[0].payload_type, OPUS);
    assert_eq!(sent[0].payload, [7, 8, 9]);
}

#[test]
fn opus_and_red_may_take_turns_within_a_layer() {
    let mut room = Room::with_tracks(vec![audio_track(true)], 1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Red));

    let red = room.deliver(&Media::raw(Codec::Red, 100, 960, &RED));
    let opus = room.deliver(&Media::raw(Codec::Opus, 101, 1_920, &[0xfc, 1]));

    assert_eq!((red[0].payload_type, opus[0].payload_type), (PayloadType(63), OPUS));
    assert_eq!(opus[0].seq, red[0].seq.plus(1));
}

/// One redundant block of two bytes and a primary of three, under the publisher's payload type 96.
const RED: [u8; 10] = [0x80 | 96, 0x0f, 0x00, 0x02, 96, 1, 2, 7, 8, 9];
