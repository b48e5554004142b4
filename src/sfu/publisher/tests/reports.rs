//! What goes back once a second, and the clocks.

use rtp::rtcp::ReportBlock;

use super::bench::*;

#[test]
fn receiver_reports_go_out_once_a_second_with_a_block_for_each_source() {
    let mut bench = Bench::simulcast(&["h", "l"]);
    bench.sender_report(0, 10, NtpTime(5 << 32), 0);
    for (ssrc, rid) in [(10, "h"), (11, "l")] {
        bench.store(0, &Sent { mid: "1", rid, ..Sent::vp8(ssrc, 1) });
        bench.store(1, &Sent::vp8(ssrc, 3));
    }
    bench.store(2, &Sent::opus(30, 1));

    bench.pass(2, 10_000);

    let reports: Vec<Vec<ReportBlock>> = blocks(&bench).into_iter().filter(|list| !list.is_empty()).collect();
    assert!((9..=11).contains(&reports.len()), "{} reports in 10 s", reports.len());
    let sources: Vec<u32> = reports[0].iter().map(|block| block.ssrc.0).collect();
    assert_eq!(sources, [30, 10, 11]);
    assert_eq!(reports[0][1].cumulative_lost, 1);
    assert_eq!(reports[1][1].fraction_lost, 0);
}

#[test]
fn layer_keeps_the_moments_of_its_keyframes_and_the_loss_that_was_reported() {
    let mut bench = Bench::new(vec![video()]);
    let stats = |bench: &Bench| bench.publisher.layer_stats(MediaKind::Video, LayerIndex(0)).unwrap();
    assert_eq!((stats(&bench).first_packet, stats(&bench).first_keyframe), (None, None));

    bench.store(10, &Sent::vp8(70, 1));
    bench.store(43, &Sent::vp8_keyframe(70, 2, 640, 360));
    bench.store(76, &Sent::vp8(70, 4));
    bench.store(109, &Sent::vp8_keyframe(70, 5, 640, 360));
    bench.publisher.request_keyframe(at(110), LayerIndex(0));
    bench.pass(110, 1_500);

    let stats = stats(&bench);
    assert_eq!((stats.first_packet, stats.first_keyframe), (Some(at(10)), Some(at(43))));
    assert_eq!(stats.last_keyframe, Some(at(109)));
    assert!(stats.last_keyframe_request.is_some_and(|asked| asked >= at(110)));
    assert_eq!(stats.fraction_lost, 51, "one of five");
}

#[test]
fn session_without_media_needs_no_timer() {
    let mut bench = Bench::new(vec![audio(), video()]);

    assert_eq!(bench.publisher.next_timeout(), None);

    bench.store(60_000, &Sent::vp8(70, 1));
    assert!(bench.publisher.next_timeout().unwrap() > at(60_000));
}

#[test]
fn every_compound_begins_with_a_report_and_our_name() {
    let mut bench = Bench::new(vec![video()]);
    bench.store(0, &Sent { transport_number: Some(1), ..Sent::vp8(70, 1) });
    bench.store(1, &Sent { transport_number: Some(2), ..Sent::vp8(70, 3) });
    bench.pass(1, 2_000);

    assert!(bench.compounds.len() > 3);
    for compound in &bench.compounds {
        let mut packets = rtcp::packets(compound).map(Result::unwrap);
        assert!(matches!(packets.next(), Some(Packet::ReceiverReport { ssrc, .. }) if ssrc == OURS));
        let Some(Packet::Sdes { mut cnames }) = packets.next() else { panic!("no source description") };
        assert_eq!(cnames.next().unwrap(), (OURS, b"nearcast".as_slice()));
    }
}

#[test]
fn report_echoes_the_sender_report_and_its_age() {
    let mut bench = Bench::new(vec![video()]);
    bench.store(0, &Sent::vp8(70, 1));
    bench.sender_report(100, 70, NtpTime(0x0001_2345_6789_abcd), 0);

    bench.pass(100, 1_200);

    let block = blocks(&bench).into_iter().flatten().next().unwrap();
    assert_eq!(block.last_sr, 0x2345_6789);
    let age = f64::from(block.delay_since_last_sr) / 65_536.0;
    assert!((0.8..1.1).contains(&age), "{age}");
}

#[test]
fn transport_feedback_covers_every_packet_even_those_that_no_layer_takes() {
    let mut bench = Bench::simulcast(&["h"]);
    let named = Sent { mid: "1", rid: "h", ..Sent::vp8(10, 1) };
    bench.store(0, &Sent { transport_number: Some(65_535), ..named });
    bench.send(1, &Sent { transport_number: Some(0), ..Sent::vp8(99, 1) }).unwrap_err();
    bench.store(2, &Sent { transport_number: Some(2), ..Sent::opus(30, 1) });

    bench.pass(2, 200);

    let mut statuses = Vec::new();
    for compound in &bench.compounds {
        for packet in rtcp::packets(compound) {
            if let Packet::TransportCc(view) = packet.unwrap() {
                statuses.extend(view.statuses().map(|(seq, delta)| (seq.0, delta.is_some())));
            }
        }
    }
    assert_eq!(statuses, [(65_535, true), (0, true), (1, false), (2, true)]);
}

#[test]
fn without_transport_numbers_negotiated_there_is_no_such_feedback() {
    let mut bench = Bench::new(vec![PublishedTrack { transport_cc: false, ..video() }]);
    bench.store(0, &Sent { transport_number: Some(1), ..Sent::vp8(70, 1) });

    bench.pass(0, 500);

    assert_eq!(bench.publisher.stats().transport_feedbacks_sent, 0);
}

#[test]
fn timing_appears_with_the_first_sender_report_in_server_time() {
    let mut bench = Bench::new(vec![audio(), video()]);
    bench.store(0, &Sent::vp8(70, 1));
    assert_eq!(bench.layer(0).timing, None);

    // The publisher's clock is far from ours; the report took no time.
    bench.sender_report(500, 70, NtpTime(77 << 32), 123_456);

    let timing = bench.layer(0).timing.unwrap();
    assert_eq!(timing.rtp, RtpTimestamp(123_456));
    assert!(timing.ntp.nanos_since(media_clock().ntp(at(500))).abs() <= 1);
    assert_eq!(bench.tracks.last().unwrap().layers[0].timing, Some(timing));
}

#[test]
fn audio_and_video_keep_the_distance_that_the_publisher_gave_them() {
    let mut bench = Bench::new(vec![audio(), video()]);
    bench.store(0, &Sent::vp8(70, 1));
    bench.store(0, &Sent::opus(71, 1));
    let base = NtpTime(77 << 32);

    bench.sender_report(500, 70, base, 9_000);
    // Sampled 250 ms later, but held up 60 ms on the way.
    bench.sender_report(810, 71, base.plus_nanos(250_000_000), 48_000);

    let sound = bench.publisher.track_info(MediaKind::Audio).unwrap().layers[0].timing.unwrap();
    let picture = bench.layer(0).timing.unwrap();
    assert!((sound.ntp.nanos_since(picture.ntp) - 250_000_000).abs() <= 2);
}

#[test]
fn sender_report_without_a_clock_gives_no_timing() {
    let mut bench = Bench::new(vec![video()]);
    bench.store(0, &Sent::vp8(70, 1));

    bench.sender_report(500, 70, NtpTime(0), 123_456);

    assert_eq!(bench.layer(0).timing, None);
}

#[test]
fn timing_follows_the_layers_own_time_line_over_a_source_change() {
    let mut bench = Bench::simulcast(&["h"]);
    bench.store(0, &Sent { mid: "1", rid: "h", timestamp: 90_000, ..Sent::vp8(10, 1) });
    let source = Sent { mid: "1", rid: "h", timestamp: 4_000_000_000, ..Sent::vp8(11, 1) };
    let arrival = bench.store(1_000, &source);

    bench.sender_report(1_000, 11, NtpTime(9 << 32), 4_000_000_000);

    let ring = bench.rings.get(MediaKind::Video, LayerIndex(0));
    assert_eq!(bench.layer(0).timing.unwrap().rtp, ring.packet(arrival.seq).unwrap().timestamp);
}

#[test]
fn farewell_is_a_valid_compound_that_names_our_source() {
    let mut bench = Bench::new(vec![video()]);
    let mut out = [0; 200];

    let length = bench.publisher.bye(&mut out);

    let packets: Vec<_> = rtcp::packets(&out[..length]).map(Result::unwrap).collect();
    let Some(Packet::Bye { ssrcs }) = packets.last() else { panic!("no farewell") };
    assert_eq!(ssrcs.clone().collect::<Vec<_>>(), [OURS]);
    assert_eq!(bench.publisher.bye(&mut [0; 10]), 0);
}

fn blocks(bench: &Bench) -> Vec<Vec<ReportBlock>> {
    let mut lists = Vec::new();
    for compound in &bench.compounds {
        for packet in rtcp::packets(compound) {
            if let Packet::ReceiverReport { reports, .. } = packet.unwrap() {
                lists.push(reports.collect());
            }
        }
    }
    lists
}
