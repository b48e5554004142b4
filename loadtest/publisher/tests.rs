use rtp::payload::describe;
use rtp::{Extension, ExtensionMap, NtpTime, PayloadType, RtpView};

use super::*;

const START: MonoTime = MonoTime::from_millis(1_000_000);

#[test]
fn ten_seconds_have_their_frames_their_sound_and_their_reports() {
    let mut publisher = publisher(Codec::Vp8, 3, true);

    let sent = run(&mut publisher, 10_000, |_, _| {});

    for ssrc in [10, 20, 30] {
        let frames = sent.iter().filter(|packet| packet.ssrc == Ssrc(ssrc) && packet.marker).count();
        assert_eq!(frames, 300, "layer {ssrc}");
    }
    assert_eq!(sent.iter().filter(|packet| packet.ssrc == SOUND).count(), 500);
    assert_eq!(publisher.stats().keyframes_sent, 9, "three layers, every four seconds");
    assert_eq!(publisher.stats().frames_sent, 900);
}

#[test]
fn timestamps_follow_the_deadlines_even_when_calls_are_late() {
    let mut publisher = publisher(Codec::H264, 1, true);

    let sent = run(&mut publisher, 2_000, |_, _| {});

    let mut frames: Vec<_> =
        sent.iter().filter(|packet| packet.ssrc == Ssrc(10)).map(|p| p.timestamp.0).collect();
    frames.dedup();
    assert_eq!(frames, (0..60).map(|frame| frame * 3_000).collect::<Vec<_>>());
    let sound: Vec<_> = sent.iter().filter(|packet| packet.ssrc == SOUND).map(|p| p.timestamp.0).collect();
    assert_eq!(sound, (0..100).map(|packet| packet * 960).collect::<Vec<_>>());
}

#[test]
fn the_marker_is_on_the_last_packet_of_each_frame_alone() {
    let mut publisher = publisher(Codec::H264, 1, false);

    let sent = run(&mut publisher, 2_000, |_, _| {});

    assert!(sent.len() > 60, "frames of several packets");
    for pair in sent.windows(2) {
        assert_eq!(pair[0].marker, pair[0].timestamp != pair[1].timestamp, "{:?}", pair[0].seq);
    }
}

#[test]
fn every_packet_has_the_next_transport_wide_number() {
    let mut publisher = publisher(Codec::H264, 3, true);

    let sent = run(&mut publisher, 3_000, |publisher, now| {
        publisher.handle_rtcp(now, &feedback(|writer| writer.nack(Ssrc(1), Ssrc(30), &[SeqNo(3)])));
    });

    let numbers: Vec<_> = sent.iter().map(|packet| packet.transport_seq).collect();
    assert!(publisher.stats().retransmissions_sent > 1);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
}

#[test]
fn a_keyframe_comes_with_the_next_frame_for_the_layer_that_a_request_names() {
    for fir in [false, true] {
        let mut publisher = publisher(Codec::H264, 3, false);
        run(&mut publisher, 1_000, |_, _| {});

        let request = feedback(|writer| match fir {
            true => writer.fir(Ssrc(1), Ssrc(20), 1),
            false => writer.pli(Ssrc(1), Ssrc(20)),
        });
        publisher.handle_rtcp(START, &request);
        let next = drain(&mut publisher, START + Duration::from_secs(1));

        let keyframes: Vec<_> =
            next.iter().filter(|packet| packet.keyframe).map(|packet| packet.ssrc).collect();
        assert_eq!(keyframes, [Ssrc(20)]);
        let stats = publisher.stats();
        assert_eq!((stats.plis_received, stats.plis_of_one_layer, stats.pli_gap_min), (1, 1, None));
    }
}

#[test]
fn a_publisher_that_ignores_requests_counts_them_and_sends_no_keyframe() {
    let mut publisher = publisher(Codec::H264, 1, false);
    publisher.ignore_pli = true;
    run(&mut publisher, 1_000, |_, _| {});

    publisher.handle_rtcp(START, &feedback(|writer| writer.pli(Ssrc(1), Ssrc(10))));
    run(&mut publisher, 2_000, |_, _| {});

    assert_eq!((publisher.stats().plis_received, publisher.stats().keyframes_sent), (1, 1));
}

#[test]
fn requests_are_counted_by_layer_with_the_shortest_time_between_two() {
    let mut publisher = publisher(Codec::Vp8, 3, false);

    for (millis, layer) in [(0, 10), (10, 20), (1_200, 20), (1_500, 30), (2_100, 20)] {
        let request = feedback(|writer| writer.pli(Ssrc(1), Ssrc(layer)));
        publisher.handle_rtcp(START + Duration::from_millis(millis), &request);
    }

    let stats = publisher.stats();
    assert_eq!((stats.plis_received, stats.plis_of_one_layer), (5, 3));
    assert_eq!(stats.pli_gap_min, Some(Duration::from_millis(900)));
}

#[test]
fn a_lost_packet_comes_again_whole() {
    let mut publisher = publisher(Codec::Vp8, 1, false);
    let sent = run(&mut publisher, 1_000, |_, _| {});
    let lost = &sent[40];

    publisher
        .handle_rtcp(START, &feedback(|writer| writer.nack(Ssrc(1), lost.ssrc, &[lost.seq, SeqNo(60_000)])));

    let Some(Output::Rtp(again)) = publisher.poll_output() else { panic!("nothing came") };
    let view = RtpView::parse(&again).unwrap();
    assert_eq!(view.payload, [&lost.seq.0.to_be_bytes()[..], &lost.payload].concat());
    assert_eq!(publisher.poll_output(), None, "what was never sent is not sent again");
    assert_eq!((publisher.stats().nacks_received, publisher.stats().retransmissions_sent), (2, 1));
}

#[test]
fn reports_map_the_wall_clock_to_the_timestamps() {
    let mut publisher = publisher(Codec::Vp8, 1, true);
    run(&mut publisher, 2_990, |_, _| {});

    publisher.handle_timeout(START + Duration::from_millis(3_010));

    let mut reports = Vec::new();
    while let Some(output) = publisher.poll_output() {
        let Output::Rtcp(compound) = output else { continue };
        let mut packets = rtcp::packets(&compound).map(Result::unwrap);
        let Some(rtcp::Packet::SenderReport { ssrc, ntp, rtp, .. }) = packets.next() else {
            panic!("no report")
        };
        let Some(rtcp::Packet::Sdes { mut cnames }) = packets.next() else { panic!("no name") };
        assert_eq!(cnames.next(), Some((ssrc, &b"someone"[..])));
        reports.push((ssrc, (ntp.nanos_since(NtpTime::from_unix_nanos(0)) + 500) / 1_000_000, rtp.0));
    }
    assert_eq!(reports, [(Ssrc(10), 3_010, 3_010 * 90), (SOUND, 3_010, 3_010 * 48)]);
}

#[test]
fn names_are_left_out_once_the_receiver_reports() {
    let mut publisher = publisher(Codec::Vp8, 2, false);
    let report = |ssrc| rtcp::ReportBlock { ssrc, ..rtcp::ReportBlock::default() };
    publisher.handle_rtcp(START, &feedback(|writer| writer.receiver_report(Ssrc(1), &[report(Ssrc(20))])));

    let sent = drain(&mut publisher, START);

    assert!(sent.iter().filter(|packet| packet.ssrc == Ssrc(10)).all(|packet| packet.named));
    assert!(sent.iter().filter(|packet| packet.ssrc == Ssrc(20)).all(|packet| !packet.named));
}

#[test]
fn malformed_feedback_does_no_harm() {
    let mut publisher = publisher(Codec::Vp8, 1, false);
    let whole = feedback(|writer| writer.pli(Ssrc(1), Ssrc(10)));

    for length in 0..whole.len() {
        publisher.handle_rtcp(START, &whole[..length]);
    }

    assert_eq!(publisher.stats().plis_received, 0);
}

const SOUND: Ssrc = Ssrc(5);

/// What a test looks at.
struct Seen {
    ssrc: Ssrc,
    seq: SeqNo,
    marker: bool,
    timestamp: RtpTimestamp,
    transport_seq: u16,
    named: bool,
    keyframe: bool,
    payload: Vec<u8>,
}

/// Calls the publisher every 3 ms until `millis` after the start, with what `each_second` does to it.
fn run(publisher: &mut Publisher, millis: u64, each_second: impl Fn(&mut Publisher, MonoTime)) -> Vec<Seen> {
    let mut sent = Vec::new();
    for step in (0..millis).step_by(3) {
        let now = START + Duration::from_millis(step);
        sent.extend(drain(publisher, now));
        if step % 999 == 0 {
            each_second(publisher, now);
        }
    }
    sent
}

fn drain(publisher: &mut Publisher, now: MonoTime) -> Vec<Seen> {
    publisher.handle_timeout(now);
    assert!(publisher.next_timeout() > now);
    let mut sent = Vec::new();
    while let Some(output) = publisher.poll_output() {
        let Output::Rtp(bytes) = output else { continue };
        let view = RtpView::parse(&bytes).unwrap();
        let transport_seq = view.extensions.find(&extensions(), Extension::TransportCc).unwrap();
        sent.push(Seen {
            ssrc: view.ssrc,
            seq: view.seq,
            marker: view.marker,
            timestamp: view.timestamp,
            transport_seq: u16::from_be_bytes([transport_seq[0], transport_seq[1]]),
            named: view.extensions.find(&extensions(), Extension::Mid).is_some(),
            keyframe: describe(Codec::H264, view.payload).is_ok_and(|shown| shown.keyframe),
            payload: view.payload.to_vec(),
        });
    }
    sent
}

fn feedback(write: impl Fn(&mut Writer<'_>) -> bool) -> Vec<u8> {
    let mut bytes = vec![0; 200];
    let mut writer = Writer::new(&mut bytes);
    assert!(write(&mut writer));
    let length = writer.finish();
    bytes.truncate(length);
    bytes
}

fn publisher(codec: Codec, layers: usize, sound: bool) -> Publisher {
    let budget = budget::Config { bitrate_bps: 400_000, frames_per_second: 30, gop_frames: 120, seed: 1 };
    let layer = |index: usize| {
        let ssrc = 10 * (u32::try_from(index).unwrap() + 1);
        (layer::Config { codec, halvings: index, budget }, track(Ssrc(ssrc), Some("layer")))
    };
    let config = Config {
        layers: (0..layers).map(layer).collect(),
        sound: sound.then(|| track(SOUND, None)),
        frames_per_second: 30,
        ignore_pli: false,
        cname: "someone".into(),
        clock: MediaClock::new(NtpTime::from_unix_nanos(0), START),
    };
    Publisher::new(config, START).unwrap()
}

fn track(ssrc: Ssrc, rid: Option<&str>) -> track::Config {
    track::Config {
        ssrc,
        payload_type: PayloadType(96),
        rtx: Some((Ssrc(ssrc.0 + 1), PayloadType(97))),
        extensions: extensions(),
        mid: "0".into(),
        rid: rid.map(str::to_owned),
        first_seq: SeqNo(0),
    }
}

fn extensions() -> ExtensionMap {
    let mut map = ExtensionMap::new();
    for (id, extension) in [(3, Extension::TransportCc), (4, Extension::Mid), (10, Extension::Rid)] {
        assert!(map.insert(id, extension));
    }
    map
}
