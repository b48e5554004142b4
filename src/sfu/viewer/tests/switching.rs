//! Which layer goes out, and when that changes.

use super::harness::{H264, Media, Place, Room, Sent, VP8, layer_info, one_layer, two_layers};
use crate::LayerIndex;
use crate::viewer::{LayerRequest, SwitchReason, ViewerOutput};
use rtp::{Codec, MediaKind};

#[test]
fn viewer_asks_for_a_keyframe_and_begins_with_it() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));

    assert_eq!(room.requests(), [0]);
    assert!(room.deliver(&Media::vp8(0, 100, 0)).is_empty());
    assert_eq!(room.deliver(&Media::key(0, 101, 3_000)).len(), 1);
    assert_eq!(room.deliver(&Media::vp8(0, 102, 6_000)).len(), 1);
    assert_eq!(
        room.outputs(),
        [ViewerOutput::LayerChanged {
            kind: MediaKind::Video,
            from: None,
            to: LayerIndex(0),
            reason: SwitchReason::Join
        }]
    );
}

#[test]
fn keyframe_is_asked_for_again_each_second_while_it_is_awaited_and_no_longer() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    let mut asked = Vec::new();

    for tick in 0..30 {
        room.tick();
        asked.extend(room.requests().into_iter().map(|_| tick));
        room.advance(100);
    }
    room.deliver(&Media::key(0, 100, 0));
    room.outputs();
    room.advance(5_000);
    room.tick();

    assert_eq!(asked, [0, 10, 20]);
    assert!(room.requests().is_empty());
}

#[test]
fn viewer_moves_up_only_when_the_higher_layer_begins_a_keyframe() {
    let mut room = watching_low();

    room.viewer.set_layer(room.now, LayerRequest::Auto);

    assert_eq!(room.requests(), [1]);
    assert!(room.deliver(&Media::vp8(1, 500, 90_000)).is_empty());
    assert_eq!(layers(&room.deliver(&Media::vp8(0, 101, 3_000))), [0]);
    assert_eq!(layers(&room.deliver(&Media::key(1, 501, 93_000))), [1]);
    assert!(room.deliver(&Media::vp8(0, 102, 6_000)).is_empty());
    assert_eq!(layers(&room.deliver(&Media::vp8(1, 502, 96_000))), [1]);
}

#[test]
fn switch_waits_for_the_end_of_the_current_frame_and_loses_nothing_of_the_keyframe() {
    let mut room = watching_low();
    room.viewer.set_layer(room.now, LayerRequest::Auto);
    room.deliver(&Media::part(0, 101, 3_000, Place::First));

    let while_waiting = [
        room.deliver(&Media { marker: false, ..Media::key(1, 501, 93_000) }),
        room.deliver(&Media::part(1, 502, 93_000, Place::Middle)),
    ];
    let at_the_end = room.deliver(&Media::part(0, 102, 3_000, Place::Last));
    let after = room.deliver(&Media::part(1, 503, 93_000, Place::Last));

    assert!(while_waiting.iter().all(Vec::is_empty));
    assert_eq!(layers(&at_the_end), [0, 1, 1]);
    assert_eq!(layers(&after), [1]);
    assert_eq!(sources(&at_the_end), [102, 501, 502]);
    let markers: Vec<_> = at_the_end.iter().chain(&after).map(|sent| sent.marker).collect();
    assert_eq!(markers, [true, false, false, true]);
}

#[test]
fn switch_happens_where_the_current_layer_shows_a_new_frame_although_the_marker_was_lost() {
    let mut room = watching_low();
    room.viewer.set_layer(room.now, LayerRequest::Auto);
    let begun = room.deliver(&Media::part(0, 101, 3_000, Place::First));
    assert!(room.deliver(&Media::key(1, 501, 93_000)).is_empty());

    let switched = room.deliver(&Media::vp8(0, 103, 6_000));
    let late = room.deliver(&Media::part(0, 102, 3_000, Place::Last));

    assert_eq!(layers(&switched), [1]);
    assert_eq!(switched[0].seq, begun[0].seq.plus(1));
    assert!(late.is_empty(), "nothing of the old layer comes behind the switch");
}

#[test]
fn switch_waits_no_longer_than_100_ms() {
    let mut room = watching_low();
    room.viewer.set_layer(room.now, LayerRequest::Auto);
    room.deliver(&Media::part(0, 101, 3_000, Place::First));
    room.deliver(&Media::key(1, 501, 93_000));

    room.advance(99);
    assert!(room.deliver(&Media::vp8(1, 502, 96_000)).is_empty());
    room.advance(1);
    let switched = room.deliver(&Media::vp8(1, 503, 99_000));

    assert_eq!(sources(&switched), [501, 502, 503]);
}

#[test]
fn packets_from_before_the_switch_point_are_dropped() {
    let mut room = watching_low();
    room.viewer.set_layer(room.now, LayerRequest::Auto);
    room.deliver(&Media::key(1, 501, 93_000));

    assert!(room.deliver(&Media::vp8(1, 499, 87_000)).is_empty());
    assert!(room.deliver(&Media::vp8(0, 101, 3_000)).is_empty());
    assert_eq!(room.viewer.stats().video.drops.get(crate::DropReason::TooLate), 1);
}

#[test]
fn keyframe_that_changed_places_with_its_successors_is_joined_with_them() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));

    room.deliver(&Media::part(0, 101, 0, Place::Middle));
    room.deliver(&Media::part(0, 102, 0, Place::Last));
    let joined = room.deliver(&Media { marker: false, ..Media::key(0, 100, 0) });

    assert_eq!(sources(&joined), [100, 101, 102]);
}

#[test]
fn h264_keyframe_begins_with_its_parameter_sets_even_when_they_come_later() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::H264));
    let idr = [0x65, 0x88, 0x84, 0x00];

    let early = room.deliver(&Media::raw(Codec::H264, 101, 0, &idr));
    room.advance(20);
    let complete =
        room.deliver(&Media { marker: false, ..Media::raw(Codec::H264, 100, 0, &SEQUENCE_PARAMETERS) });

    assert!(early.is_empty());
    assert_eq!(sources(&complete), [100, 101]);
    assert!(complete.iter().all(|sent| sent.payload_type == H264));
}

#[test]
fn named_layer_and_height_limit_are_followed() {
    let mut room = watching_low();

    room.viewer.set_layer(room.now, LayerRequest::Rid("high".to_owned()));
    assert_eq!(room.viewer.target_layer(MediaKind::Video), Some(LayerIndex(1)));

    room.viewer.set_layer(room.now, LayerRequest::MaxHeight(719));
    assert_eq!(room.viewer.target_layer(MediaKind::Video), Some(LayerIndex(0)));
    assert_eq!(room.viewer.desired_layer(), Some(&LayerRequest::MaxHeight(719)));
}

#[test]
fn layer_that_stops_is_left_and_taken_again_when_it_comes_back() {
    let mut room = watching_low();
    room.viewer.set_layer(room.now, LayerRequest::Auto);
    room.deliver(&Media::key(1, 500, 90_000));
    room.outputs();

    let mut info = two_layers(1);
    info.layers[1].active = false;
    room.advance(5_000);
    room.viewer.handle_track(room.now, &info);
    assert_eq!(room.requests(), [0]);
    room.deliver(&Media::key(0, 200, 30_000));
    assert_eq!(room.viewer.current_layer(MediaKind::Video), Some(LayerIndex(0)));
    assert!(room.outputs().contains(&changed(1, 0, SwitchReason::LayerLost)));

    room.viewer.handle_track(room.now, &two_layers(1));
    assert_eq!(room.requests(), [1]);
    room.deliver(&Media::key(1, 600, 120_000));
    assert!(room.outputs().contains(&changed(0, 1, SwitchReason::BetterLayer)));
}

#[test]
fn takeover_continues_numbers_and_timestamps_at_the_new_publishers_keyframe() {
    let mut room = watching_low();
    let before = room.deliver(&Media::vp8(0, 101, 3_000));

    room.viewer.handle_track_gone(room.now, MediaKind::Video);
    room.reset_rings();
    room.advance(2_000);
    room.viewer.handle_track(room.now, &one_layer(2, Codec::H264));
    assert_eq!(room.requests(), [0]);
    let after = room.deliver(&Media::raw(Codec::H264, 7, 4_000_000_000, &SEQUENCE_PARAMETERS));

    assert_eq!((before[0].payload_type, after[0].payload_type), (VP8, H264));
    assert_eq!(after[0].ssrc, before[0].ssrc);
    assert_eq!(after[0].seq, before[0].seq.plus(1));
    assert_eq!(after[0].timestamp, before[0].timestamp.plus(2 * 90_000));
    let reason = SwitchReason::NewPublisher;
    let expected =
        ViewerOutput::LayerChanged { kind: MediaKind::Video, from: None, to: LayerIndex(0), reason };
    assert_eq!(room.outputs(), [expected]);
}

#[test]
fn paused_viewer_goes_on_at_the_next_keyframe_of_the_same_publisher_when_the_last_one_is_too_old() {
    let mut room = watching_low();
    let before = room.deliver(&Media::vp8(0, 101, 3_000));

    room.viewer.handle_track_gone(room.now, MediaKind::Video);
    room.advance(5_000);
    room.viewer.handle_track(room.now, &two_layers(1));
    assert_eq!(room.requests(), [0]);
    assert!(room.deliver(&Media::vp8(0, 110, 30_000)).is_empty());
    let after = room.deliver(&Media::key(0, 111, 33_000));

    assert_eq!(after[0].seq, before[0].seq.plus(1));
    let reason = SwitchReason::Resume;
    let expected =
        ViewerOutput::LayerChanged { kind: MediaKind::Video, from: None, to: LayerIndex(0), reason };
    assert_eq!(room.outputs(), [expected]);
}

#[test]
fn codec_that_the_viewer_lacks_is_told_once_and_a_later_publisher_can_mend_it() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Av1));
    assert!(room.outputs().is_empty(), "nothing is told before a packet has come");

    for seq in 100..110 {
        assert!(room.deliver(&Media::raw(Codec::Av1, seq, 0, &[0x18, 0x0a, 0x01, 0x00])).is_empty());
    }
    assert_eq!(room.outputs(), [ViewerOutput::CodecUnsupported(Codec::Av1)]);

    room.reset_rings();
    room.viewer.handle_track(room.now, &one_layer(2, Codec::Vp8));
    assert_eq!(room.deliver(&Media::key(0, 5, 0)).len(), 1);
}

#[test]
fn temporal_layers_above_the_limit_leave_no_trace_in_numbers_and_pictures() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    room.viewer.set_temporal_limit(0);
    let mut sent = room.deliver(&Media { picture: (126, false, 255), ..Media::key(0, 100, 0) });

    for count in 1..=8_u8 {
        let temporal = count % 2;
        let picture = ((126 + u16::from(count)) % 128, false, (count / 2).wrapping_sub(1));
        let frame =
            Media { temporal, picture, ..Media::vp8(0, 100 + u64::from(count), u32::from(count) * 3_000) };
        sent.extend(room.deliver(&frame));
    }

    let first = sent[0].seq;
    let numbers: Vec<_> = sent.iter().map(|sent| (sent.seq.distance(first), sent.picture.unwrap())).collect();
    assert_eq!(numbers, [(0, (126, 255)), (1, (127, 0)), (2, (0, 1)), (3, (1, 2)), (4, (2, 3))]);
}

#[test]
fn padding_leaves_no_hole_and_late_padding_goes_out_empty() {
    let mut room = watching_low();
    let padding = |seq| Media { padding: true, marker: false, ..Media::vp8(0, seq, 0) };

    assert!(room.deliver(&padding(101)).is_empty());
    let next = room.deliver(&Media::vp8(0, 102, 3_000));
    let over_a_gap = room.deliver(&Media::vp8(0, 104, 6_000));
    let late = room.deliver(&padding(103));

    assert_eq!(over_a_gap[0].seq, next[0].seq.plus(2));
    assert_eq!(late[0].seq, next[0].seq.plus(1));
    assert_eq!((late[0].payload.len(), late[0].padding, late[0].marker), (0, 1, false));
}

#[test]
fn inactive_track_without_a_measured_layer_is_still_asked_for() {
    let mut room = Room::new(1);
    let mut info = two_layers(1);
    for layer in &mut info.layers {
        (layer.active, layer.size, layer.bitrate_bps) = (false, None, 0);
    }

    room.viewer.handle_track(room.now, &info);

    assert_eq!(room.requests().len(), 1);
    info.layers = vec![layer_info(0, "low", 180)];
    room.viewer.handle_track(room.now, &info);
    assert_eq!(room.deliver(&Media::key(0, 1, 0)).len(), 1);
}

/// An H.264 sequence parameter set of 640 × 368 pixels, written out by hand.
const SEQUENCE_PARAMETERS: [u8; 9] = [0x67, 0x42, 0xc0, 0x1f, 0xda, 0x02, 0x80, 0xbe, 0x40];

/// A room of two layers whose viewer watches the low one, since packet 100.
fn watching_low() -> Room {
    let mut room = Room::new(1);
    room.viewer.set_layer(room.now, LayerRequest::Rid("low".to_owned()));
    room.viewer.handle_track(room.now, &two_layers(1));
    assert_eq!(room.deliver(&Media::key(0, 100, 0)).len(), 1);
    room.outputs();
    room
}

fn changed(from: u8, to: u8, reason: SwitchReason) -> ViewerOutput {
    ViewerOutput::LayerChanged {
        kind: MediaKind::Video,
        from: Some(LayerIndex(from)),
        to: LayerIndex(to),
        reason,
    }
}

fn layers(sent: &[Sent]) -> Vec<u8> {
    sent.iter().map(|sent| sent.forward.layer.0).collect()
}

fn sources(sent: &[Sent]) -> Vec<u64> {
    sent.iter().map(|sent| sent.forward.source.0).collect()
}

#[test]
fn a_keyframe_whose_beginning_is_repaired_after_the_viewer_came_goes_out_whole() {
    let mut room = Room::new(1);
    for (seq, place) in [(101, Place::Middle), (102, Place::Last)] {
        let arrival = room.store(&Media::part(0, seq, 9_000, place));
        room.rings.handle_arrival(arrival);
    }
    room.advance(10);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    room.tick();
    room.advance(10);

    let sent = room.deliver(&Media { keyframe: true, ..Media::part(0, 100, 9_000, Place::First) });
    let next = room.deliver(&Media::vp8(0, 103, 12_000));

    let numbers: Vec<u64> = sent.iter().chain(&next).map(|it| it.forward.source.0).collect();
    assert_eq!(numbers, [100, 101, 102, 103]);
}
