//! What is stored of a packet.

use rtp::codec::Codec;

use super::bench::*;

#[test]
fn padding_is_stored_empty_so_that_the_numbering_has_no_hole() {
    let mut bench = Bench::new(vec![video()]);
    let first = bench.store(0, &Sent::vp8(70, 1));

    let padding = bench.store(1, &Sent { payload: vec![], padding: 255, ..Sent::vp8(70, 2) });
    let next = bench.store(2, &Sent::vp8(70, 3));
    bench.pass(2, 100);

    assert_eq!((padding.seq, next.seq), (first.seq.plus(1), first.seq.plus(2)));
    let ring = bench.rings.get(MediaKind::Video, LayerIndex(0));
    assert!(ring.packet(padding.seq).unwrap().is_padding());
    assert_eq!(bench.publisher.stats().nacks_sent, 0);
}

#[test]
fn padding_after_the_payload_is_taken_off() {
    let mut bench = Bench::new(vec![video()]);

    let arrival = bench.store(0, &Sent { padding: 7, ..Sent::vp8(70, 1) });

    assert_eq!(bench.payload(arrival), Sent::vp8(70, 1).payload);
}

#[test]
fn payload_that_contradicts_its_codec_is_counted_and_stored_empty() {
    let mut bench = Bench::new(vec![audio()]);

    // A RED header that promises a redundant block, and ends.
    let broken = Sent { payload_type: RED, payload: vec![0x80 | OPUS, 0], ..Sent::opus(71, 1) };
    let arrival = bench.store(0, &broken);

    assert_eq!(bench.payload(arrival), []);
    assert_eq!(bench.publisher.stats().drops.get(DropReason::BadPayload), 1);
}

#[test]
fn red_passes_through_with_its_primary_block_marked() {
    let mut bench = Bench::new(vec![audio()]);
    // One redundant block of two bytes, then the primary one (RFC 2198 §3).
    let payload = vec![0x80 | OPUS, 0x0f, 0x00, 0x02, OPUS, 0xaa, 0xab, 1, 2, 3];

    let arrival = bench.store(0, &Sent { payload_type: RED, payload: payload.clone(), ..Sent::opus(71, 1) });

    let packet = bench.rings.get(MediaKind::Audio, LayerIndex(0)).packet(arrival.seq).unwrap();
    assert_eq!((packet.codec, packet.payload()), (Codec::Red, payload.as_slice()));
    assert_eq!(packet.payload()[packet.red_primary().unwrap()], [1, 2, 3]);
}

#[test]
fn keyframes_of_every_video_codec_are_seen() {
    let payloads: [(Codec, Vec<u8>); 5] = [
        (Codec::Vp8, Sent::vp8_keyframe(0, 0, 64, 48).payload),
        (Codec::Vp9, vec![0x08, 0x82, 0x49, 0x83, 0x42, 0, 0, 0, 0, 0]),
        (Codec::H264, vec![0x65, 0x88, 0x80, 0x10]),
        (Codec::H265, vec![0x26, 0x01, 0xaf, 0x09]),
        (Codec::Av1, vec![0x18, 0x0a, 0x0b, 0, 0, 0, 0x2d, 0x4c, 0xff, 0xb3, 0xcd, 0x09, 0x80, 0x20]),
    ];
    for (codec, payload) in payloads {
        let mut bench =
            Bench::new(vec![PublishedTrack { formats: vec![format(100, codec, None)], ..video() }]);

        let arrival = bench.store(0, &Sent { payload_type: 100, payload, ..Sent::vp8(70, 1) });

        let packet = bench.rings.get(MediaKind::Video, LayerIndex(0)).packet(arrival.seq).unwrap();
        assert!(packet.descriptor.keyframe, "{codec:?}: {:?}", packet.descriptor);
        let stats = bench.publisher.layer_stats(MediaKind::Video, LayerIndex(0)).unwrap();
        assert_eq!((packet.codec, stats.keyframes), (codec, 1));
    }
}

#[test]
fn carried_extensions_reach_the_ring_also_through_a_retransmission() {
    let mut bench = Bench::new(vec![audio(), video()]);
    let level = Some((AUDIO_LEVEL_ID, vec![0x85]));
    bench.store(0, &Sent::vp8(70, 1));
    bench.store(1, &Sent::vp8(70, 3));

    let direct = bench.store(1, &Sent { extension: level.clone(), ..Sent::opus(71, 1) });
    let repaired = bench.store(2, &Sent { extension: level, ..Sent::vp8(70, 2).rtx(72, 1) });

    for arrival in [direct, repaired] {
        let packet = bench.rings.get(arrival.kind, arrival.layer).packet(arrival.seq).unwrap();
        assert_eq!(packet.carried(Extension::AudioLevel), Some([0x85].as_slice()));
    }
}

#[test]
fn capture_time_is_carried_in_server_time_once_the_clocks_are_known() {
    let mut bench = Bench::new(vec![video()]);
    let captured = NtpTime(77 << 32);
    let extension = Some((CAPTURE_ID, captured.0.to_be_bytes().to_vec()));

    let before = bench.store(0, &Sent { extension: extension.clone(), ..Sent::vp8(70, 1) });
    bench.sender_report(1_000, 70, captured, 0);
    let after = bench.store(1_001, &Sent { extension, ..Sent::vp8(70, 2) });

    let ring = bench.rings.get(MediaKind::Video, LayerIndex(0));
    assert_eq!(ring.packet(before.seq).unwrap().carried(Extension::AbsCaptureTime), None);
    let carried = ring.packet(after.seq).unwrap().carried(Extension::AbsCaptureTime).unwrap();
    let carried = NtpTime(u64::from_be_bytes(carried.try_into().unwrap()));
    assert!(carried.nanos_since(media_clock().ntp(at(1_000))).abs() <= 2);
}

#[test]
fn dependency_descriptor_shows_layers_that_the_payload_hides() {
    let mut bench = Bench::new(vec![video()]);
    // A structure of two temporal layers of 640x360 (AV1 RTP specification, appendix A), then its second template.
    let structure = vec![0xc0, 0x00, 0x01, 0x80, 0x01, 0x7a, 0x24, 0x08, 0x13, 0xf8, 0x0b, 0x38];
    let second = vec![0xc1, 0x00, 0x02];

    let base = Sent { extension: Some((DEPENDENCY_ID, structure)), ..Sent::vp8(70, 1) };
    let upper = Sent { extension: Some((DEPENDENCY_ID, second.clone())), ..Sent::vp8(70, 2) };
    let [base, upper] = [base, upper].map(|sent| bench.store(0, &sent));

    let ring = bench.rings.get(MediaKind::Video, LayerIndex(0));
    let [base, upper] = [base, upper].map(|arrival| ring.packet(arrival.seq).unwrap());
    assert!(base.descriptor.keyframe && !upper.descriptor.keyframe);
    assert_eq!((base.descriptor.temporal, upper.descriptor.temporal), (0, 1));
    assert_eq!(upper.carried(Extension::DependencyDescriptor), Some(second.as_slice()));
    assert_eq!(bench.layer(0).size, Some((640, 360)));
}
