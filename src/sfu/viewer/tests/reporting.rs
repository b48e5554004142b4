//! Sender reports and goodbyes.

use rtp::rtcp::{self, Packet};
use rtp::{Codec, MonoTime, NtpTime, RtpTimestamp, Ssrc};

use super::harness::{AUDIO, Media, Room, VIDEO, one_layer, timing, two_layers};
use crate::viewer::LayerRequest;

#[test]
fn reports_begin_soon_after_the_first_packet_and_come_each_second_for_each_source() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Opus));
    room.deliver(&Media::key(0, 100, 0));
    room.deliver(&Media::raw(Codec::Opus, 100, 0, &[0xfc, 1]));
    let started = room.now;
    let mut reports: Vec<(u128, Ssrc)> = Vec::new();

    for tick in 1..=220 {
        room.advance(10);
        if tick == 100 {
            room.deliver(&Media::vp8(0, 101, 90_000));
            room.deliver(&Media::raw(Codec::Opus, 101, 48_000, &[0xfc, 1]));
        }
        while let Some(report) = report(&mut room) {
            reports.push((room.now.since(started).as_millis(), report.ssrc));
        }
    }

    assert_eq!(
        reports,
        [(50, VIDEO), (50, AUDIO), (1_050, VIDEO), (1_050, AUDIO), (2_050, VIDEO), (2_050, AUDIO)]
    );
}

#[test]
fn a_report_that_is_due_soon_leaves_with_media_and_the_next_one_an_interval_later() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    room.deliver(&Media::key(0, 100, 0));
    room.advance(50);
    assert!(report(&mut room).is_some());

    room.advance(600);
    assert!(!room.viewer.reports_soon(room.now));
    assert_eq!(room.viewer.write_rtcp_along(room.now, &mut [0; 512]), None, "it is due in 400 ms");

    room.advance(200);
    room.deliver(&Media::vp8(0, 101, 72_000));
    assert!(room.viewer.reports_soon(room.now));
    assert_eq!(room.viewer.write_rtcp_along(room.now, &mut [0; 20]), None, "there is no room for it");
    let mut bytes = [0; 512];
    let length = room.viewer.write_rtcp_along(room.now, &mut bytes).unwrap();

    assert!(matches!(
        rtcp::packets(&bytes[..length]).next(),
        Some(Ok(Packet::SenderReport { ssrc, .. })) if ssrc == VIDEO
    ));
    assert!(!room.viewer.reports_soon(room.now));
    room.advance(990);
    assert!(report(&mut room).is_none());
    room.advance(10);
    assert!(report(&mut room).is_some());
}

#[test]
fn a_source_that_falls_silent_reports_once_more_and_goes_on_when_it_sends_again() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    room.deliver(&Media::key(0, 100, 0));
    let started = room.now;
    let mut reports = Vec::new();

    for tick in 1..=700 {
        room.advance(10);
        if tick == 500 {
            assert_eq!(room.viewer.next_timeout(), None, "nothing is due in a silence");
            room.deliver(&Media::vp8(0, 101, 450_000));
        }
        while report(&mut room).is_some() {
            reports.push(room.now.since(started).as_millis());
        }
    }

    assert_eq!(reports, [50, 1_050, 5_050, 6_050]);
}

#[test]
fn report_counts_what_was_written_and_names_its_room() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    let mut octets = 0;
    for count in 0..5 {
        octets += room.deliver(&Media::key(0, 100 + count, count as u32 * 3_000))[0].payload.len();
    }
    room.advance(60);

    let report = report(&mut room).unwrap();

    assert_eq!((report.packets, report.octets), (5, octets as u32));
    assert_eq!(report.cname, b"room");
}

#[test]
fn report_lies_on_the_line_of_arrivals_without_a_publishers_report() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    let sent = room.deliver(&Media::key(0, 100, 0));
    room.advance(70);

    let report = report(&mut room).unwrap();

    assert_eq!(report.timestamp, sent[0].timestamp.plus(70 * 90));
    assert_eq!(report.ntp, ntp_at(room.now));
}

#[test]
fn reports_map_capture_to_one_clock_before_and_after_a_switch() {
    let mut room = Room::new(1);
    let mut info = two_layers(1);
    // Layer 0 samples tick 0, and layer 1 tick 900,000, at the start of the server media clock plus 900 ms.
    info.layers[0].timing = timing(0, ntp_at(MonoTime::from_millis(900)));
    info.layers[1].timing = timing(900_000, ntp_at(MonoTime::from_millis(900)));
    room.viewer.set_layer(room.now, LayerRequest::Rid("low".to_owned()));
    room.viewer.handle_track(room.now, &info);

    // Captured at 990 ms, arrived at 1,000.
    let low = room.deliver(&Media::key(0, 100, 8_100));
    room.advance(60);
    let before = report(&mut room).unwrap();
    room.viewer.set_layer(room.now, LayerRequest::Auto);
    // Captured at 1,050 ms, arrived at 1,090.
    room.advance(30);
    let high = room.deliver(&Media::key(1, 500, 913_500));
    room.advance(1_000);
    let after = report(&mut room).unwrap();

    assert_eq!(near(captured_ms(&before, low[0].timestamp)), 990);
    assert_eq!(near(captured_ms(&after, high[0].timestamp)), 1_050);
    assert_eq!(near(captured_ms(&after, low[0].timestamp)), 990);
    assert!((high[0].timestamp.distance(low[0].timestamp) - 60 * 90).abs() <= 1);
}

#[test]
fn a_viewers_time_is_answered_once_beside_the_next_report() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    room.deliver(&Media::key(0, 100, 0));
    // RFC 3611 §4.4: the viewer's wall time is 0x1234.5678 in its middle bits.
    room.rtcp(&[0x80, 207, 0, 4, 0, 0, 0, 1, 4, 0, 0, 2, 0, 0, 0x12, 0x34, 0x56, 0x78, 0, 0]);
    room.advance(500);

    let first = answers(&mut room);
    room.advance(1_000);
    let second = answers(&mut room);

    assert_eq!(first, [(1, 0x1234_5678, 65_536 / 2)]);
    assert_eq!(second, []);
}

#[test]
fn goodbye_names_every_source() {
    let room = Room::new(1);
    let mut bytes = [0; 512];

    let length = room.viewer.bye(&mut bytes);

    let mut left = Vec::new();
    for packet in rtcp::packets(&bytes[..length]) {
        if let Packet::Bye { ssrcs } = packet.unwrap() {
            left.extend(ssrcs);
        }
    }
    assert_eq!(left, [VIDEO, AUDIO]);
    assert_eq!(room.viewer.bye(&mut bytes[..20]), 0);
}

#[test]
fn next_timeout_names_the_report_that_is_due() {
    let mut room = Room::new(1);
    assert_eq!(room.viewer.next_timeout(), None);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    room.deliver(&Media::key(0, 100, 0));

    assert_eq!(room.viewer.next_timeout(), Some(room.now + std::time::Duration::from_millis(50)));
}

struct Report {
    ssrc: Ssrc,
    ntp: NtpTime,
    timestamp: RtpTimestamp,
    packets: u32,
    octets: u32,
    cname: Vec<u8>,
}

/// The answers to a viewer's times in the next report: source, time and delay (RFC 3611 §4.5).
fn answers(room: &mut Room) -> Vec<(u32, u32, u32)> {
    let mut bytes = [0; 512];
    let length = room.viewer.write_rtcp(room.now, &mut bytes).unwrap();
    let extended = bytes[..length].windows(4).position(|window| window == [0x80, 207, 0, 5]);
    let Some(start) = extended else { return Vec::new() };
    let word = |index: usize| {
        let at = start + index * 4;
        u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
    };
    assert_eq!((word(1), word(2)), (VIDEO.0, 0x0500_0003));
    vec![(word(3), word(4), word(5))]
}

fn report(room: &mut Room) -> Option<Report> {
    let mut bytes = [0; 512];
    let length = room.viewer.write_rtcp(room.now, &mut bytes)?;
    let parsed: Vec<_> = rtcp::packets(&bytes[..length]).map(Result::unwrap).collect();
    let [Packet::SenderReport { ssrc, ntp, rtp, packets, octets, .. }, Packet::Sdes { cnames }] = &parsed[..]
    else {
        panic!("expected a sender report and a description, came {parsed:?}");
    };
    let (named, cname) = cnames.clone().next().unwrap();
    assert_eq!(named, *ssrc);
    Some(Report {
        ssrc: *ssrc,
        ntp: *ntp,
        timestamp: *rtp,
        packets: *packets,
        octets: *octets,
        cname: cname.to_vec(),
    })
}

/// Returns when a viewer takes an outgoing timestamp to have been sampled, in microseconds of the server's
/// clock.
fn captured_ms(report: &Report, timestamp: RtpTimestamp) -> i64 {
    let since_start = report.ntp.nanos_since(ntp_at(MonoTime::ZERO)) / 1_000;
    since_start + i64::from(timestamp.distance(report.timestamp)) * 1_000 / 90
}

/// Rounds microseconds to milliseconds.
fn near(micros: i64) -> i64 {
    (micros + 500) / 1_000
}

fn ntp_at(at: MonoTime) -> NtpTime {
    rtp::MediaClock::new(NtpTime::from_unix_nanos(1_795_248_330_000_000_000), MonoTime::ZERO).ntp(at)
}
