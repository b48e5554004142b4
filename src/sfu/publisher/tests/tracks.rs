//! What viewers are told, and how often.

use super::bench::*;

#[test]
fn tracks_are_told_before_any_media_with_every_layer_inactive() {
    let bench = Bench::simulcast(&["h", "m", "l"]);

    assert_eq!(bench.tracks.len(), 2);
    let video = bench.tracks.iter().find(|track| track.kind == MediaKind::Video).unwrap();
    assert_eq!((video.epoch, video.layers.len()), (Epoch(3), 3));
    assert!(video.layers.iter().all(|layer| !layer.active && layer.size.is_none() && layer.timing.is_none()));
}

#[test]
fn layer_is_active_from_its_first_packet_until_two_seconds_without_media() {
    let mut bench = Bench::new(vec![video()]);
    bench.store(0, &Sent::vp8(70, 1));
    assert!(bench.layer(0).active);

    bench.pass(0, 2_000);
    assert!(bench.layer(0).active);
    bench.pass(2_000, 2_001);

    assert!(!bench.layer(0).active);
    assert!(!bench.tracks.last().unwrap().layers[0].active);
}

#[test]
fn silent_audio_stays_active() {
    let mut bench = Bench::new(vec![audio()]);
    bench.store(0, &Sent::opus(71, 1));

    bench.pass(0, 60_000);

    assert!(bench.publisher.track_info(MediaKind::Audio).unwrap().layers[0].active);
}

#[test]
fn track_is_told_again_only_when_something_changes() {
    let mut bench = Bench::new(vec![video()]);
    let told = |bench: &Bench| bench.tracks.len();
    let at_start = told(&bench);

    for seq in 0..300_u16 {
        let now = u64::from(seq) * 33;
        let sent = if seq % 100 == 0 { Sent::vp8_keyframe(70, seq, 640, 360) } else { Sent::vp8(70, seq) };
        bench.store(now, &sent);
        bench.pass(now, now + 33);
    }

    // Active with its size, and once the first bitrate was measured.
    assert_eq!(told(&bench) - at_start, 2);
    bench.store(9_900, &Sent::vp8_keyframe(70, 300, 1_280, 720));
    assert_eq!(told(&bench) - at_start, 3);
    assert_eq!(bench.layer(0).size, Some((1_280, 720)));
}

#[test]
fn bitrate_and_frame_rate_are_measured_over_the_last_second() {
    let mut bench = Bench::new(vec![video()]);
    for seq in 0..400_u16 {
        let now = u64::from(seq) * 10;
        // Four packets a frame.
        let payload = vec![0x10; 1_000];
        bench.store(now, &Sent { timestamp: u32::from(seq / 4) * 3_600, payload, ..Sent::vp8(70, seq) });
        bench.pass(now, now + 10);
    }

    let layer = bench.layer(0);
    assert!((layer.bitrate_bps.abs_diff(800_000)) < 20_000, "{}", layer.bitrate_bps);
    assert!((layer.frames_per_second - 25.0).abs() < 1.5, "{}", layer.frames_per_second);
}

#[test]
fn farewell_of_the_source_makes_the_layer_inactive_at_once() {
    let mut bench = Bench::new(vec![video()]);
    bench.store(0, &Sent::vp8(70, 1));
    let mut out = [0; 50];
    let mut writer = rtcp::Writer::new(&mut out);
    assert!(writer.receiver_report(Ssrc(70), &[]) && writer.bye(Ssrc(70)));
    let length = writer.finish();

    bench.publisher.handle_rtcp(at(10), &out[..length]);

    assert!(!bench.layer(0).active);
    bench.store(20, &Sent::vp8(70, 2));
    assert!(bench.layer(0).active);
}

#[test]
fn last_media_ignores_padding_and_retransmissions_of_what_came() {
    let mut bench = Bench::new(vec![video()]);
    assert_eq!(bench.publisher.last_media(), None);
    bench.store(5, &Sent::vp8(70, 1));

    bench.store(6, &Sent { payload: vec![], padding: 100, ..Sent::vp8(70, 2) });
    bench.send(7, &Sent::vp8(70, 1).rtx(71, 1)).unwrap();

    assert_eq!(bench.publisher.last_media(), Some(at(5)));
}

#[test]
fn publisher_that_changes_codec_with_every_packet_is_told_of_ten_times_a_second() {
    let mut bench = Bench::new(vec![audio()]);
    for seq in 0..1_000_u16 {
        let now = 20 + u64::from(seq) * 10;
        let red = Sent { payload_type: RED, payload: vec![OPUS, 1, 2], ..Sent::opus(71, seq) };
        bench.store(now, &if seq % 2 == 0 { red } else { Sent::opus(71, seq) });
        bench.pass(now, now + 10);
    }

    assert!((90..=110).contains(&bench.tracks.len()), "{} tracks told in 10 s", bench.tracks.len());
    bench.pass(10_020, 11_100);
    assert_eq!(bench.tracks.last(), bench.publisher.track_info(MediaKind::Audio).as_ref());
}

#[test]
fn group_of_pictures_that_outgrows_the_ring_is_told_once_and_shows_in_the_track() {
    let mut bench = Bench::new(vec![video()]);
    let mut cached = Vec::new();
    // A keyframe at 0 s and at 10 s, a frame each 100 ms.
    for (seq, now) in (1..).zip((0..20_000).step_by(100)) {
        let frame =
            if now % 10_000 == 0 { Sent::vp8_keyframe(70, seq, 640, 360) } else { Sent::vp8(70, seq) };
        bench.store(now, &frame);
        bench.pass(now, now + 100);
        cached.push(bench.layer(0).join_cache);
    }

    let kept = cached.iter().filter(|cached| **cached).count();
    assert!((88..=92).contains(&kept), "{kept} of 200 moments: 4.5 s behind each of two keyframes");
    assert_eq!(bench.outgrown, [LayerIndex(0)]);
    assert!(bench.tracks.iter().any(|track| !track.layers[0].join_cache && track.layers[0].active));
}
