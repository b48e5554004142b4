//! Which layer a packet lands on.

use rtp::ExtSeq;
use rtp::codec::Codec;

use super::bench::*;

#[test]
fn simulcast_packets_find_their_layer_by_rid_whatever_the_rids_are_called() {
    for rids in [&["h", "m", "l"][..], &["0", "1", "2", "3"], &["high-quality"], &["z", "a"]] {
        let mut bench = Bench::simulcast(rids);
        for (index, rid) in rids.iter().enumerate() {
            let ssrc = 10 + index as u32;
            let first = Sent { mid: "1", rid: name(rid), ..Sent::vp8(ssrc, 100) };

            let named = bench.store(0, &first);
            let unnamed = bench.store(1, &Sent::vp8(ssrc, 101));

            assert_eq!((named.kind, usize::from(named.layer.0)), (MediaKind::Video, index));
            assert_eq!(unnamed, Arrival { seq: named.seq.plus(1), ..named });
        }
        let layers = bench.publisher.track_info(MediaKind::Video).unwrap().layers;
        assert_eq!(layers.iter().map(|layer| layer.rid.as_deref().unwrap()).collect::<Vec<_>>(), rids);
    }
}

#[test]
fn retransmissions_find_their_layer_by_repaired_rid() {
    let mut bench = Bench::simulcast(&["h", "l"]);
    for (ssrc, rid) in [(10, "h"), (11, "l")] {
        bench.store(0, &Sent { mid: "1", rid, ..Sent::vp8(ssrc, 100) });
        bench.store(1, &Sent::vp8(ssrc, 102));
    }

    let lost = Sent { mid: "1", repaired_rid: "l", ..Sent::vp8(11, 101).rtx(21, 7) };
    let arrival = bench.store(2, &lost);

    assert_eq!(arrival.layer, LayerIndex(1));
    assert_eq!(arrival.seq.wire(), SeqNo(101));
    assert_eq!(bench.payload(arrival), Sent::vp8(11, 101).payload);
    assert!(!bench.is_stored(0, arrival.seq));
    assert_eq!(bench.publisher.stats().recovered, 1);
}

#[test]
fn sources_declared_in_the_offer_are_bound_before_their_first_packet() {
    let pairs = [(50, Some(51)), (60, None)];
    let ssrcs = pairs.map(|(media, rtx)| SsrcPair { media: Ssrc(media), rtx: rtx.map(Ssrc) });
    let mut bench = Bench::new(vec![PublishedTrack { ssrcs: ssrcs.to_vec(), ..video() }]);

    let first = bench.store(0, &Sent::vp8(50, 1));
    let second = bench.store(0, &Sent::vp8(60, 1));
    bench.store(1, &Sent::vp8(50, 3));
    let repaired = bench.store(2, &Sent::vp8(50, 2).rtx(51, 900));

    assert_eq!((first.layer, second.layer), (LayerIndex(0), LayerIndex(1)));
    assert_eq!((repaired.layer, repaired.seq), (LayerIndex(0), first.seq.plus(1)));
}

#[test]
fn publisher_that_declares_nothing_is_bound_by_payload_type() {
    let mut bench = Bench::new(vec![audio(), video()]);

    let picture = bench.store(0, &Sent::vp8(70, 1));
    let sound = bench.store(0, &Sent::opus(71, 1));
    bench.store(1, &Sent::vp8(70, 3));
    let repaired = bench.store(2, &Sent::vp8(70, 2).rtx(72, 1));

    assert_eq!((picture.kind, sound.kind), (MediaKind::Video, MediaKind::Audio));
    assert_eq!(repaired.seq, picture.seq.plus(1));
}

#[test]
fn second_unknown_source_of_the_same_payload_type_is_dropped_while_the_first_sends() {
    let mut bench = Bench::new(vec![audio(), video()]);
    bench.store(0, &Sent::vp8(70, 1));

    assert_eq!(bench.send(10, &Sent::vp8(71, 500)), Err(DropReason::UnknownSsrc));

    assert_eq!(bench.publisher.stats().drops.get(DropReason::UnknownSsrc), 1);
    assert_eq!(bench.store(20, &Sent::vp8(70, 2)).layer, LayerIndex(0));
}

#[test]
fn packet_of_a_simulcast_track_without_rid_is_dropped_until_its_source_is_known() {
    let mut bench = Bench::simulcast(&["h", "l"]);

    assert_eq!(bench.send(0, &Sent { mid: "1", ..Sent::vp8(10, 1) }), Err(DropReason::UnknownSsrc));
    let unknown_rid = Sent { mid: "1", rid: "x", ..Sent::vp8(10, 2) };
    assert_eq!(bench.send(0, &unknown_rid), Err(DropReason::UnknownSsrc));
    let unknown_mid = Sent { mid: "9", rid: "h", ..Sent::vp8(10, 2) };
    assert_eq!(bench.send(0, &unknown_mid), Err(DropReason::UnknownSsrc));

    bench.store(0, &Sent { mid: "1", rid: "h", ..Sent::vp8(10, 3) });
}

#[test]
fn another_source_that_names_the_layer_continues_its_numbering() {
    let mut bench = Bench::simulcast(&["h"]);
    let last = bench.store(0, &Sent { mid: "1", rid: "h", ..Sent::vp8(10, 100) });

    let next = bench.store(33, &Sent { mid: "1", rid: "h", ..Sent::vp8(11, 40_000) });
    let late = bench.send(34, &Sent::vp8(10, 101));

    assert_eq!(next.seq, last.seq.plus(1));
    assert_eq!(late, Err(DropReason::UnknownSsrc));
    assert_eq!(bench.publisher.stats().source_changes, 1);
    let ring = bench.rings.get(MediaKind::Video, LayerIndex(0));
    let stamps = [last, next].map(|arrival| ring.packet(arrival.seq).unwrap().timestamp);
    assert_eq!(stamps[1].distance(stamps[0]), 33 * 90);
    // The new source's decoder state is unknown to viewers.
    assert_eq!(bench.take_keyframe_requests().0, [11]);
}

#[test]
fn source_that_a_stray_packet_replaced_comes_back_when_the_stray_one_is_silent() {
    let mut bench = Bench::simulcast(&["h"]);
    bench.store(0, &Sent { mid: "1", rid: "h", ..Sent::vp8(10, 100) });
    let stray = bench.store(10, &Sent { mid: "1", rid: "h", ..Sent::vp8(11, 7) });

    let refused = bench.send(1_009, &Sent::vp8(10, 130));
    let back = bench.store(1_010, &Sent::vp8(10, 131));
    let next = bench.store(1_043, &Sent::vp8(10, 132));

    assert_eq!(refused, Err(DropReason::UnknownSsrc));
    assert_eq!((back.seq, next.seq), (stray.seq.plus(1), stray.seq.plus(2)));
}

#[test]
fn losses_after_a_source_change_are_asked_for_by_the_numbers_of_the_new_source() {
    let mut bench = Bench::simulcast(&["h"]);
    bench.store(0, &Sent { mid: "1", rid: "h", ..Sent::vp8(10, 100) });
    bench.store(33, &Sent { mid: "1", rid: "h", ..Sent::vp8(11, 65_534) });
    bench.store(34, &Sent::vp8(11, 1));

    bench.pass(34, 60);

    assert_eq!(bench.take_nacked(), [(11, 65_535), (11, 0)]);
}

#[test]
fn codec_changes_by_payload_type_in_mid_session() {
    let mut bench = Bench::new(vec![video()]);
    bench.store(0, &Sent::vp8_keyframe(70, 1, 640, 360));
    assert_eq!((bench.layer(0).codec, bench.layer(0).size), (Codec::Vp8, Some((640, 360))));

    let changed = Sent { payload_type: H264, payload: vec![0x65, 0x88, 0x80], ..Sent::vp8(70, 2) };
    let arrival = bench.store(33, &changed);

    let layer = bench.layer(0);
    assert_eq!((layer.codec, layer.size, layer.parameters.as_str()), (Codec::H264, None, "x-test=98"));
    assert_eq!(bench.tracks.last().unwrap().layers[0].codec, Codec::H264);
    let ring = bench.rings.get(MediaKind::Video, LayerIndex(0));
    assert_eq!(ring.packet(arrival.seq).unwrap().codec, Codec::H264);
}

#[test]
fn more_layers_than_four_are_not_taken() {
    let bench = Bench::simulcast(&["a", "b", "c", "d", "e", "f"]);

    assert_eq!(bench.publisher.track_info(MediaKind::Video).unwrap().layers.len(), 4);
}

#[test]
fn unwrapped_numbers_survive_three_cycles_of_the_wire_number() {
    let mut bench = Bench::new(vec![video()]);
    let first = bench.store(0, &Sent::vp8(70, 65_000)).seq;

    let mut last = first;
    for step in 1..200_000_u64 {
        let seq = 65_000_u16.wrapping_add((step % 65_536) as u16);
        last = bench.publisher.handle_rtp(at(step), &Sent::vp8(70, seq).packet()).unwrap().unwrap().seq;
        while bench.publisher.poll_output().is_some() {}
    }

    assert_eq!(last, ExtSeq(first.0 + 199_999));
}

/// RIDs of test packets are static, so that a packet is cheap to describe.
fn name(rid: &&'static str) -> &'static str {
    rid
}
