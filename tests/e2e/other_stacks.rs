//! Publishers and viewers of other projects, unmodified, each pair through our server.

use std::time::Duration;

use crate::http;
use crate::process::Peer;
use crate::rust_peer::{Access, Publisher, Viewer};
use crate::server::Server;

#[test]
fn the_webrtc_crate_publishes_and_views_every_packet_and_hears_its_echo() {
    let mut server = Server::start();
    let access = Access { http: server.http, media: None };
    let (mut publisher, track) = Publisher::join(access, "crate");
    let viewer = Viewer::join(access, "crate");

    publisher.start(track);
    viewer.wait_count(600, 15);
    let sent = publisher.stop() as usize;
    viewer.wait_count(sent, 5);

    assert_eq!(viewer.assert_unbroken(), sent);
    assert_eq!(viewer.peer.echo("viewer says hello").as_deref(), Some("viewer says hello"));
    assert_eq!(publisher.peer.echo("publisher says hello").as_deref(), Some("publisher says hello"));
    let large = "x".repeat(12_000);
    assert_eq!(viewer.peer.echo(&large).as_deref(), Some(large.as_str()));
    server.assert_sound();
}

#[test]
fn a_viewer_keeps_its_session_and_numbering_when_another_publisher_takes_over() {
    let mut server = Server::start();
    let access = Access { http: server.http, media: None };
    let (mut first, track) = Publisher::join(access, "takeover");
    let viewer = Viewer::join(access, "takeover");
    first.start(track);
    viewer.wait_count(120, 10);
    let sent = first.stop() as usize;
    viewer.wait_count(sent, 5);
    let conflict = http::post_offer(server.http, "/whip/takeover", &first.peer.offer);
    conflict.assert_problem(409, "stream/conflict");
    assert_eq!(conflict.header("retry-after"), Some("1"));
    first.peer.close();
    std::thread::sleep(Duration::from_millis(1200));

    let mut second = Publisher::live(access, "takeover");
    viewer.wait_count(sent + 120, 10);
    let sent_again = second.stop() as usize;
    viewer.wait_count(sent + sent_again, 5);

    let received = viewer.received();
    assert_eq!(received.len(), sent + sent_again, "every packet of both publishers");
    for pair in received.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1), "one unbroken numbering: {pair:?}");
        assert_eq!(pair[1].ssrc, pair[0].ssrc, "one SSRC: {pair:?}");
        assert!(pair[1].timestamp.wrapping_sub(pair[0].timestamp) < 10 * 90_000, "time goes on: {pair:?}");
    }
    server.assert_sound();
}

#[test]
fn ffmpeg_publishes_as_dtls_server_and_aiortc_decodes_it() {
    let mut server = Server::start();
    let mut ffmpeg = Peer::ffmpeg_publish(&server.url("/whip/ffmpeg"), &[]);
    ffmpeg_is_live(&server, &mut ffmpeg, "ffmpeg");

    let mut viewer = Peer::python("aiortc_view.py", &["8", &server.url("/whep/ffmpeg")]);
    viewer.wait_for("connected", 15);
    let report = viewer.wait_for("done", 25);

    ffmpeg.assert_running();
    println!("ffmpeg (passive) → aiortc: {report}");
    // 8 s at 30 frames/s and 50 packets of audio/s, less the wait for the first keyframe and the decoders' warm-up.
    assert!(report["frames"]["video"].as_u64().unwrap() >= 150, "{report}");
    assert!(report["frames"]["audio"].as_u64().unwrap() >= 300, "{report}");
    assert_eq!(report["sizes"], serde_json::json!([[640, 360]]), "{report}");
    assert_eq!(report["received"]["video"]["lost"], 0, "{report}");
    assert_eq!(report["received"]["audio"]["lost"], 0, "{report}");

    let (ended, log) = ffmpeg.interrupt(5);
    assert!(ended, "ffmpeg hangs at its DELETE\n{log}");
    server.wait_until("the room is free after ffmpeg's DELETE", 3, |server| {
        server.get("/api/v1/rooms/ffmpeg").json()["live"] == false
    });
    server.assert_sound();
}

#[test]
fn ffmpeg_publishes_as_dtls_client_and_the_webrtc_crate_views_it() {
    let mut server = Server::start();
    let mut ffmpeg = Peer::ffmpeg_publish(&server.url("/whip/active"), &["-whip_flags", "dtls_active"]);
    ffmpeg_is_live(&server, &mut ffmpeg, "active");

    let viewer = Viewer::join(Access { http: server.http, media: None }, "active");
    viewer.wait_count(600, 20);

    ffmpeg.assert_running();
    for (ssrc, packets, missing) in viewer.missing_by_ssrc() {
        println!("ffmpeg (active) → webrtc crate: {packets} packets of {ssrc:08x}, {missing} missing");
        assert_eq!(missing, 0);
    }
    assert_eq!(viewer.missing_by_ssrc().len(), 2, "audio and video");
    server.assert_sound();
}

#[test]
fn aiortc_publishes_and_aiortc_and_werift_view_it() {
    let mut server = Server::start();
    let mut publisher = Peer::python("aiortc_publish.py", &["14", &server.url("/whip/aiortc"), "video/H264"]);
    publisher.wait_for("connected", 15);
    server.wait_live("aiortc");

    let url = server.url("/whep/aiortc");
    let mut aiortc = Peer::python("aiortc_view.py", &["6", &url]);
    let mut werift = Peer::node("werift_view.mjs", &["6", &url]);
    aiortc.wait_for("connected", 15);
    werift.wait_for("connected", 15);
    let decoded = aiortc.wait_for("done", 20);
    let counted = werift.wait_for("done", 20);
    let sent = publisher.wait_for("done", 30);

    println!("aiortc → aiortc: {decoded}\naiortc → werift: {counted}\nsent: {sent}");
    assert!(decoded["frames"]["video"].as_u64().unwrap() >= 90, "{decoded}");
    assert!(decoded["frames"]["audio"].as_u64().unwrap() >= 200, "{decoded}");
    assert_eq!(decoded["sizes"], serde_json::json!([[640, 360]]), "{decoded}");
    assert_eq!(decoded["received"]["video"]["lost"], 0, "{decoded}");
    assert!(counted["packets"]["video"].as_u64().unwrap() >= 200, "{counted}");
    assert!(counted["packets"]["audio"].as_u64().unwrap() >= 200, "{counted}");
    assert_eq!(counted["gaps"], serde_json::json!({"video": 0, "audio": 0}), "{counted}");
    server.assert_sound();
}

#[test]
fn aiortc_publishes_vp8_and_aiortc_decodes_it() {
    let mut server = Server::start();
    let mut publisher = Peer::python("aiortc_publish.py", &["12", &server.url("/whip/vp8"), "video/VP8"]);
    publisher.wait_for("connected", 15);
    server.wait_live("vp8");

    let mut viewer = Peer::python("aiortc_view.py", &["5", &server.url("/whep/vp8")]);
    viewer.wait_for("connected", 15);
    let decoded = viewer.wait_for("done", 20);

    println!("aiortc VP8 → aiortc: {decoded}");
    assert!(decoded["frames"]["video"].as_u64().unwrap() >= 75, "{decoded}");
    assert_eq!(decoded["sizes"], serde_json::json!([[640, 360]]), "{decoded}");
    server.assert_sound();
}

/// ffmpeg says nothing a program could read: the room's state tells, and its own log where it gave up.
fn ffmpeg_is_live(server: &Server, ffmpeg: &mut Peer, room: &str) {
    server.wait_until("ffmpeg is live", 15, |server| {
        ffmpeg.assert_running();
        let status = server.get(&format!("/api/v1/rooms/{room}"));
        status.status == 200 && status.json()["layers"].as_array().is_some_and(|layers| !layers.is_empty())
    });
}
