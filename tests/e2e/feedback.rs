//! Viewers whose feedback lies, floods or never comes, beside one that reports honestly: real packets over real keys.

use std::thread::sleep;
use std::time::{Duration, Instant};

use ::rtp::rtcp::{TransportCcFeedback, Writer};
use ::rtp::{MonoTime, SeqNo, Ssrc};
use serde_json::Value;

use crate::http::request;
use crate::process::Peer as Program;
use crate::rust_peer::{Access, Feedback, Peer, Viewer};
use crate::server::Server;

const BEARER: (&str, &str) = ("Authorization", "Bearer e2e-credential");
/// Of the picture that is published: three layers, of which this one is the largest.
const BEST_HEIGHT: u64 = 720;

#[test]
fn a_viewer_that_agrees_to_report_and_never_does_keeps_its_picture() {
    let mut server = Server::start();
    let _publisher = publish(&server, "mute");
    let viewer = Viewer::join_with(Feedback::Never, access(&server), "mute");
    assert!(viewer.peer.answer.contains("transport-cc"), "what this test is about");
    viewer.wait_count(30, 10);

    server.wait_until("it is led by its losses", 10, |server| {
        explain(server, &viewer.peer)["estimate"]["limiter"] == "unreported"
    });
    // Long enough to have ended with sound alone.
    for _ in 0..10 {
        let before = viewer.count();
        sleep(Duration::from_secs(1));
        let explained = explain(&server, &viewer.peer);
        assert!(viewer.count() > before + 10, "the picture goes on: {explained:#}");
        assert!(explained["video"]["current"]["height"].is_number(), "{explained:#}");
        assert_ne!(explained["reason"], "audio-only");
    }

    println!("{:#}", explain(&server, &viewer.peer)["estimate"]);
    server
        .wait_until("it is counted", 5, |server| server.metric("nearcast_feedback_fallbacks_total", "") == 1);
    server.assert_sound();
}

#[test]
fn a_viewer_that_lies_about_its_path_changes_nothing_for_another() {
    let mut server = Server::start_with(&["--shards", "1"]);
    let _publisher = publish(&server, "liar");
    let honest = Viewer::join(access(&server), "liar");
    honest.wait_count(30, 10);
    server.wait_until("the honest one has the best picture", 40, |server| {
        let explained = explain(server, &honest.peer);
        explained["reason"] == "best" && explained["video"]["current"]["height"] == BEST_HEIGHT
    });
    // Past the last probe, which would count as packets.
    sleep(Duration::from_secs(3));
    let alone = observe(&server, &honest);

    let liar = Viewer::join_with(Feedback::Never, access(&server), "liar");
    liar.wait_count(30, 10);
    let told = thread_of_lies(&liar);
    let beside = observe(&server, &honest);
    let lies = told.join().unwrap();

    println!("alone {alone:?}, beside a liar {beside:?}; {lies} lies");
    assert!(lies > 500, "{lies}");
    assert_eq!(alone.heights, [BEST_HEIGHT]);
    assert_eq!(beside.heights, [BEST_HEIGHT], "the layer stays");
    assert!(beside.missing <= alone.missing, "nothing is lost: {beside:?}");
    let ratio = beside.packets as f64 / alone.packets as f64;
    assert!((0.8..1.25).contains(&ratio), "as many packets: {alone:?} {beside:?}");
    assert!(
        beside.lowest_estimate * 10 > alone.lowest_estimate * 8,
        "the estimate stays: {alone:?} {beside:?}"
    );
    assert!(server.drops("session_limit") > 0, "most of a storm is not even read");
    for reason in ["repeated", "future", "implausible", "over_budget", "remb_zero"] {
        server.wait_until(&format!("{reason} is counted"), 5, |server| ignored(server, reason) > 0);
    }
    println!(
        "ignored: {:?}",
        server
            .get("/metrics")
            .body
            .lines()
            .filter(|line| line.starts_with("nearcast_feedback"))
            .collect::<Vec<_>>()
    );
    server.assert_sound();
}

/// What became of a viewer in some seconds.
#[derive(Debug, Default)]
struct Observation {
    packets: usize,
    missing: usize,
    /// Of the layers that it had.
    heights: Vec<u64>,
    lowest_estimate: u64,
}

/// Watches a viewer for a while.
fn observe(server: &Server, viewer: &Viewer) -> Observation {
    let before = viewer.count();
    let mut seen = Observation { lowest_estimate: u64::MAX, ..Observation::default() };
    let end = Instant::now() + OBSERVED;
    while Instant::now() < end {
        let explained = explain(server, &viewer.peer);
        let height = explained["video"]["current"]["height"].as_u64().unwrap_or(0);
        if !seen.heights.contains(&height) {
            seen.heights.push(height);
        }
        let estimate = explained["estimate"]["bitrate"].as_u64().unwrap_or(0);
        seen.lowest_estimate = seen.lowest_estimate.min(estimate);
        sleep(Duration::from_millis(200));
    }
    seen.packets = viewer.count() - before;
    seen.missing = viewer.missing_by_ssrc().iter().map(|(_, _, missing)| missing).sum();
    seen
}

/// Lies in every way for as long as [`observe`] looks, and says how often.
fn thread_of_lies(liar: &Viewer) -> std::thread::JoinHandle<usize> {
    let say = liar.rtcp_sender();
    std::thread::spawn(move || {
        let end = Instant::now() + OBSERVED;
        let mut round = 0_u16;
        let mut lies = 0;
        while Instant::now() < end {
            let here = u64::from(round);
            for lie in [
                // Of packets that were never sent.
                arrivals(round.wrapping_add(30_000), (0..40).map(|_| at(here))),
                // Everything from the beginning at one instant: a rate without end.
                arrivals(0, (0..400).map(|_| at(here))),
                // Backwards in time, by a clock that leaps by an hour.
                arrivals(round, (0..40).map(|index| at(4_000_000 * (here % 2) + 4_000 - index * 50))),
                // More than there ever were, all of them lost.
                claim(60_000),
                remb(0),
                remb(1 << 63),
                remb(u64::MAX),
            ] {
                say(&lie);
                lies += 1;
            }
            round = round.wrapping_add(7);
            if round.is_multiple_of(70) {
                sleep(Duration::from_millis(10));
            }
        }
        lies
    })
}

fn arrivals(base: u16, times: impl Iterator<Item = Option<MonoTime>>) -> Vec<u8> {
    let times: Vec<_> = times.collect();
    write(|writer| writer.transport_cc(Ssrc(1), Ssrc(2), &TransportCcFeedback::new(SeqNo(base), 0, &times)))
}

/// Feedback that claims so many packets in a few bytes, and that none of them came.
fn claim(count: u16) -> Vec<u8> {
    let mut packet = vec![0x8f, 205, 0, 8];
    packet.extend([1_u32, 2].map(u32::to_be_bytes).concat());
    packet.extend([0, count].map(u16::to_be_bytes).concat());
    // A time and a count, then runs of 8,191.
    packet.extend([0, 0, 1, 0]);
    packet.extend([[0x1f, 0xff]; 8].concat());
    packet
}

fn remb(bitrate_bps: u64) -> Vec<u8> {
    write(|writer| writer.remb(Ssrc(1), bitrate_bps, &[Ssrc(2)]))
}

fn write(packet: impl Fn(&mut Writer<'_>) -> bool) -> Vec<u8> {
    let mut bytes = [0; 1_200];
    let mut writer = Writer::new(&mut bytes);
    assert!(packet(&mut writer));
    let length = writer.finish();
    bytes[..length].to_vec()
}

fn at(millis: u64) -> Option<MonoTime> {
    Some(MonoTime::from_millis(10_000 + millis))
}

fn ignored(server: &Server, reason: &str) -> u64 {
    server.metric("nearcast_feedback_ignored_total", &format!("reason=\"{reason}\""))
}

/// A publisher of three layers, all of which have come.
fn publish(server: &Server, room: &str) -> Program {
    let publisher = Program::simulcast_publish(&server.url(&format!("/whip/{room}")));
    server.wait_until("three layers arrive", 20, |server| {
        let document = server.get(&format!("/api/v1/rooms/{room}"));
        let layers = if document.status == 200 { document.json()["layers"].clone() } else { Value::Null };
        layers
            .as_array()
            .is_some_and(|layers| layers.iter().filter(|layer| layer["active"] == true).count() == 3)
    });
    publisher
}

#[track_caller]
fn explain(server: &Server, peer: &Peer) -> Value {
    let secret = peer.location.rsplit('/').next().unwrap();
    let response = request(server.http, "GET", &format!("/api/v1/sessions/{secret}/explain"), &[BEARER], b"");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

fn access(server: &Server) -> Access {
    Access { http: server.http, media: None }
}

/// How long a viewer is watched.
const OBSERVED: Duration = Duration::from_secs(8);
