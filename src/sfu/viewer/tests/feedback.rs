//! What the viewer sends back: lost packets, keyframe wishes, reports.

use rtp::rtcp::{ReportBlock, Writer};
use rtp::{Codec, MediaKind, SeqNo, Ssrc};

use super::harness::{
    AUDIO, Media, Room, Sent, VIDEO, VIDEO_RTX, VP8_RTX, one_layer, two_layers, video_track,
};
use crate::DropReason;

#[test]
fn nack_is_answered_by_the_same_payload_on_the_retransmission_source() {
    let (mut room, sent) = playing();

    let repaired = room.rtcp(&nack(VIDEO, &[sent[3].seq, sent[5].seq]));

    assert_eq!(repaired.len(), 2);
    for (repair, original) in repaired.iter().zip([&sent[3], &sent[5]]) {
        assert_eq!((repair.ssrc, repair.payload_type), (VIDEO_RTX, VP8_RTX));
        assert_eq!((repair.timestamp, repair.marker), (original.timestamp, original.marker));
        assert_eq!(repair.payload[..2], original.seq.0.to_be_bytes());
        assert_eq!(repair.payload[2..], original.payload);
    }
    assert_eq!(repaired[1].seq, repaired[0].seq.plus(1));
    assert_eq!(room.viewer.stats().video.rtx_packets, 2);
}

#[test]
fn number_is_repeated_once_within_most_of_a_round_trip() {
    let (mut room, sent) = playing();
    let request = nack(VIDEO, &[sent[3].seq]);

    assert_eq!(room.rtcp(&request).len(), 1);
    room.advance(30);
    assert_eq!(room.rtcp(&request).len(), 0);
    room.advance(10);
    assert_eq!(room.rtcp(&request).len(), 1);
}

#[test]
fn numbers_that_never_went_out_are_not_answered() {
    let (mut room, sent) = playing();
    let last = sent[9].seq;
    let over_a_gap = room.deliver(&Media::vp8(0, 111, 90_000));
    assert_eq!(over_a_gap[0].seq, last.plus(2));

    let repaired = room.rtcp(&nack(VIDEO, &[last.plus(1), last.plus(3), last.plus(1_000)]));

    assert!(repaired.is_empty());
    assert_eq!(room.viewer.stats().video.drops.get(DropReason::RetransmissionRefused), 3);
}

#[test]
fn number_of_a_packet_that_went_out_empty_is_answered_empty() {
    let (mut room, _) = playing();
    room.deliver(&Media::vp8(0, 111, 90_000));
    let late = room.deliver(&Media { padding: true, ..Media::vp8(0, 110, 0) });

    let repaired = room.rtcp(&nack(VIDEO, &[late[0].seq]));

    assert_eq!(repaired[0].payload, late[0].seq.0.to_be_bytes());
}

#[test]
fn packets_that_left_the_ring_are_not_answered() {
    let (mut room, sent) = playing();
    room.rings.reset();

    assert!(room.rtcp(&nack(VIDEO, &[sent[3].seq])).is_empty());
    assert_eq!(room.viewer.stats().video.drops.get(DropReason::NotInRing), 1);
}

#[test]
fn numbers_from_before_a_takeover_are_not_answered_with_the_new_publishers_packets() {
    let (mut room, sent) = playing();
    room.reset_rings();
    room.viewer.handle_track(room.now, &one_layer(2, Codec::Vp8));
    for seq in 100..110 {
        room.deliver(&Media::key(0, seq, 0));
    }

    assert!(room.rtcp(&nack(VIDEO, &[sent[3].seq])).is_empty());
}

#[test]
fn without_rtx_a_nack_meets_silence() {
    let mut track = video_track();
    track.rtx_ssrc = None;
    track.formats.iter_mut().for_each(|format| format.rtx = None);
    let mut room = Room::with_tracks(vec![track], 1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    let sent = room.deliver(&Media::key(0, 100, 0));

    assert!(room.rtcp(&nack(VIDEO, &[sent[0].seq])).is_empty());
    assert_eq!(room.viewer.stats().video.nacked_without_rtx, 1);
}

#[test]
fn moments_of_the_first_packet_the_keyframes_and_the_last_wish_are_kept() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    assert_eq!(room.viewer.stats().video.first_packet, None);

    room.deliver(&Media::key(0, 100, 0));
    let began = room.now;
    room.advance(33);
    room.deliver(&Media::vp8(0, 101, 3_000));
    room.advance(33);
    room.deliver(&Media::key(0, 102, 6_000));
    let again = room.now;
    room.advance(20);
    let sent = room.deliver(&Media::vp8(0, 103, 9_000));
    room.rtcp(&nack(VIDEO, &[sent[0].seq.plus(65_535)]));
    let stats = &room.viewer.stats().video;
    assert_eq!(stats.rtx_packets, 1, "the second keyframe was repeated");
    assert_eq!(stats.last_keyframe, Some(again), "a retransmission is no keyframe of its own");
    assert_eq!(stats.last_keyframe_wanted, None);
    let mut bytes = [0; 64];
    let mut writer = Writer::new(&mut bytes);
    assert!(writer.pli(Ssrc(1), VIDEO));
    let length = writer.finish();
    room.rtcp(&bytes[..length]);

    let stats = &room.viewer.stats().video;
    assert_eq!((stats.first_packet, stats.first_keyframe), (Some(began), Some(began)));
    assert_eq!(stats.last_keyframe_wanted, Some(room.now));
    assert_eq!(stats.last_keyframe, Some(room.now), "the wish was answered from the ring");
    assert_eq!(room.viewer.stats().audio.first_packet, None);
}

#[test]
fn flood_of_nacks_costs_a_share_of_the_media_and_no_more() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    room.deliver(&Media::key(0, 100, 0));
    let (mut media, mut repaired) = (0, 0);

    for count in 1..4_000_u64 {
        room.advance(2);
        let sent = room.deliver(&Media::vp8(0, 100 + count, count as u32 * 180));
        media += sent.len();
        let newest = sent[0].seq;
        let wanted: Vec<SeqNo> = (1..17).rev().map(|back| SeqNo(newest.0.wrapping_sub(back))).collect();
        repaired += room.rtcp(&nack(VIDEO, &wanted)).len();
    }

    // The first 32 kB are free; the packets are small and the hint is larger than they are.
    assert!(repaired > 100, "{repaired} of {media}");
    assert!(repaired * 100 < media * 25, "{repaired} of {media}");
    assert!(room.viewer.stats().video.drops.get(DropReason::RetransmissionLimit) > 10_000);
}

#[test]
fn keyframe_wishes_of_a_viewer_are_merged_within_half_a_second() {
    let (mut room, _) = playing();
    // Nothing of the ring can be given again: it misses a packet for good.
    room.deliver(&Media::vp8(0, 120, 90_000));
    room.advance(600);
    room.outputs();
    let mut passed_on = Vec::new();

    for tick in 0..12 {
        let mut bytes = [0; 64];
        let mut writer = Writer::new(&mut bytes);
        let written =
            if tick % 2 == 0 { writer.pli(Ssrc(1), VIDEO) } else { writer.fir(Ssrc(1), VIDEO, tick) };
        assert!(written);
        let length = writer.finish();
        room.rtcp(&bytes[..length]);
        passed_on.extend(room.requests().iter().map(|_| tick));
        room.advance(100);
    }

    assert_eq!(passed_on, [0, 5, 10]);
    assert_eq!(room.viewer.stats().video.keyframes_wanted, 12);
}

#[test]
fn keyframe_wish_goes_to_the_current_layer_and_one_for_audio_is_ignored() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &two_layers(1));
    room.deliver(&Media::key(1, 100, 0));
    room.deliver(&Media::vp8(1, 102, 3_000));
    room.outputs();
    room.advance(600);
    let pli = |media| {
        let mut bytes = [0; 12];
        let mut writer = Writer::new(&mut bytes);
        assert!(writer.pli(Ssrc(1), media));
        assert_eq!(writer.finish(), 12);
        bytes
    };

    room.rtcp(&pli(AUDIO));
    assert!(room.requests().is_empty());
    room.rtcp(&pli(VIDEO));
    assert_eq!(room.requests(), [1]);
}

#[test]
fn receiver_report_gives_loss_and_round_trip() {
    let (mut room, _) = playing();
    room.advance(60);
    let mut bytes = [0; 256];
    room.viewer.write_rtcp(room.now, &mut bytes).unwrap();
    let last_sr = u32::from_be_bytes(bytes[10..14].try_into().unwrap());

    room.advance(130);
    let block = ReportBlock {
        ssrc: VIDEO,
        fraction_lost: 26,
        cumulative_lost: 7,
        jitter: 90,
        last_sr,
        delay_since_last_sr: 65_536 / 20,
        ..ReportBlock::default()
    };
    let mut writer = Writer::new(&mut bytes);
    assert!(writer.receiver_report(Ssrc(1), &[block]));
    let length = writer.finish();
    room.rtcp(&bytes[..length]);

    let stats = room.viewer.stats();
    let video = stats.track(MediaKind::Video);
    assert_eq!((video.fraction_lost, video.cumulative_lost, video.jitter), (26, 7, 90));
    assert!((79..=81).contains(&stats.rtt.unwrap().as_millis()), "{:?}", stats.rtt);
}

#[test]
fn malformed_compound_is_counted_and_what_came_before_it_holds() {
    let (mut room, sent) = playing();
    let mut compound = nack(VIDEO, &[sent[3].seq]);
    compound.extend([0x81, 201, 0xff, 0xff]);

    assert_eq!(room.rtcp(&compound).len(), 1);
    assert_eq!(room.viewer.stats().malformed_rtcp, 1);
}

/// A room whose viewer has got ten packets.
fn playing() -> (Room, Vec<Sent>) {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    let mut sent = room.deliver(&Media::key(0, 100, 0));
    for count in 1..10 {
        sent.extend(room.deliver(&Media::vp8(0, 100 + count, count as u32 * 3_000)));
    }
    assert_eq!(sent.len(), 10);
    (room, sent)
}

pub(super) fn nack(media: Ssrc, lost: &[SeqNo]) -> Vec<u8> {
    let mut bytes = [0; 512];
    let mut writer = Writer::new(&mut bytes);
    assert!(writer.nack(Ssrc(1), media, lost));
    let length = writer.finish();
    bytes[..length].to_vec()
}
