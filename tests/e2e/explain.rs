//! Why a session is as it is, asked by HTTP and by data channel while media flows; and whether what is said is true.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::request;
use crate::relay::Relay;
use crate::rust_peer::{Access, Peer, Publisher, Viewer};
use crate::server::Server;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const BEARER: (&str, &str) = ("Authorization", "Bearer e2e-credential");
/// What the relay adds to the round trip of its viewer.
const DELAY: Duration = Duration::from_millis(40);

#[test]
fn a_viewer_learns_its_true_figures_by_http_and_by_data_channel() {
    let mut server = Server::start();
    let relay = Relay::start(server.udp, Box::new(|_| sleep(DELAY)));
    let access = Access { http: server.http, media: None };
    let _publisher = Publisher::live(access, "explain");
    let viewer = Viewer::join(Access { media: Some(relay.front), ..access }, "explain");
    viewer.wait_count(120, 15);

    server.wait_until("the viewer's reports tell a round trip, and the layer was measured", 10, |server| {
        let explained = explain(server, &viewer.peer);
        let current = &explained["video"]["current"];
        let measured = current["height"] == 360 && current["bitrate"].as_u64().is_some_and(|rate| rate > 0);
        explained["rttMs"].is_number() && measured && explained["reason"] == "best"
    });
    let by_http = explain(&server, &viewer.peer);
    let answer = viewer.peer.room(r#"{"v":1,"t":"explain","cid":"b7c1"}"#);
    let by_data_channel = &answer["explain"];

    println!("{by_http:#}");
    assert_eq!((&answer["t"], &answer["cid"]), (&json!("ack"), &json!("b7c1")));
    for explained in [&by_http, by_data_channel] {
        assert_eq!((&explained["role"], &explained["room"]), (&json!("viewer"), &json!("explain")));
        assert_eq!((&explained["connected"], &explained["reason"]), (&json!(true), &json!("best")));
        let rtt = explained["rttMs"].as_f64().unwrap();
        assert!((40.0..150.0).contains(&rtt), "the relay adds 40 ms: {rtt}");
        assert_eq!(explained["lossRatio"], 0.0);
        let pair =
            json!({"protocol": "udp", "local": server.udp.to_string(), "remote": relay.back().to_string()});
        assert_eq!(explained["pair"], pair);
        let keyframe = explained["lastKeyframeMs"].as_f64().unwrap();
        assert!(keyframe < 1_500.0, "a keyframe comes each second: {keyframe}");
        let video = &explained["video"];
        assert_eq!(video["request"], "auto");
        assert!(video["current"]["bitrate"].as_u64().is_some_and(|rate| rate > 500_000), "{video}");
        assert_eq!(video["desired"]["height"], 360);
    }
    assert_eq!(by_http["session"], by_data_channel["session"]);
    let join = &by_http["join"];
    let step = |name: &str| join[name].as_f64().unwrap_or_else(|| panic!("{name} of {join}"));
    let sum: f64 =
        ["httpMs", "iceMs", "dtlsMs", "firstPacketMs", "firstKeyframeMs"].into_iter().map(step).sum();
    assert!((sum - step("totalMs")).abs() < 1.0, "the steps add up: {join}");
    assert!(step("dtlsMs") >= 40.0, "a flight of the handshake crosses the relay: {join}");
    assert_eq!(by_data_channel["join"], *join);
    server.assert_sound();
}

#[test]
fn the_reason_follows_what_the_viewer_asks_for_and_what_the_publisher_does() {
    let mut server = Server::start();
    let access = Access { http: server.http, media: None };
    let mut publisher = Publisher::live(access, "reasons");
    let viewer = Viewer::join(access, "reasons");
    viewer.wait_count(60, 10);
    let reason = |server: &Server| explain(server, &viewer.peer)["reason"].clone();
    server.wait_until("all is well", 5, |server| reason(server) == "best");

    choose(&server, &viewer.peer, r#"{"rid":"large"}"#);
    server.wait_until("the layer is said not to be sent", 5, |server| reason(server) == "not-sent");
    assert_eq!(explain(&server, &viewer.peer)["video"]["request"], json!({"rid": "large"}));
    choose(&server, &viewer.peer, r#""auto""#);
    server.wait_until("all is well again", 5, |server| reason(server) == "best");

    publisher.stop();
    server.wait_until("no picture is sent", 5, |server| reason(server) == "no-layer");
    let of_publisher = explain(&server, &publisher.peer);
    assert_eq!(of_publisher["layers"][0]["reason"], "stopped");
    assert_eq!(of_publisher["reason"], "stopped");
    assert_eq!(publisher.peer.request("DELETE", &[], "").status, 200);
    server.wait_until("nobody is live", 5, |server| reason(server) == "no-publisher");
    server.assert_sound();
}

#[test]
fn a_publisher_learns_what_arrives_of_it() {
    let mut server = Server::start();
    let access = Access { http: server.http, media: None };
    let (mut publisher, track) = Publisher::join(access, "arrives");

    let before = explain(&server, &publisher.peer);
    publisher.start(track);
    server.wait_until("a second was measured", 10, |server| {
        explain(server, &publisher.peer)["layers"][0]["bitrate"].as_u64().is_some_and(|rate| rate > 0)
    });
    let after = explain(&server, &publisher.peer);
    let answer = publisher.peer.room(r#"{"t":"explain","cid":"1"}"#);

    println!("{after:#}");
    assert_eq!((&before["role"], &before["reason"]), (&json!("publisher"), &json!("no-media")));
    assert_eq!(before["layers"][0]["reason"], "never-sent");
    assert_eq!(before["join"].get("firstPacketMs"), None);
    let layer = &after["layers"][0];
    assert_eq!((&after["reason"], &layer["reason"]), (&json!("arrives"), &json!("arrives")));
    assert_eq!((&layer["codec"], &layer["height"]), (&json!("VP8"), &json!(360)));
    assert_eq!((&layer["active"], &layer["wanted"]), (&json!(true), &json!(true)));
    // Four packets of a thousand bytes, 30 times a second.
    let rate = layer["bitrate"].as_u64().unwrap();
    assert!((700_000..1_200_000).contains(&rate), "{rate}");
    assert!(layer["lastKeyframeMs"].as_f64().is_some_and(|ago| ago < 1_500.0), "{layer}");
    assert!(after["join"]["totalMs"].is_number(), "{after}");
    assert_eq!(answer["explain"]["layers"][0]["reason"], "arrives");
    server.assert_sound();
}

#[test]
fn nothing_that_is_said_on_the_data_channel_ends_the_session() {
    let mut server = Server::start();
    let access = Access { http: server.http, media: None };
    let _publisher = Publisher::live(access, "rude");
    let viewer = Viewer::join(access, "rude");
    viewer.wait_count(60, 10);
    let huge = format!(r#"{{"t":"explain","cid":"1","x":"{}"}}"#, "x".repeat(15_400));

    let chat = viewer.peer.room(r#"{"v":1,"t":"chat.send","cid":"c1","text":"hi"}"#);
    let garbage = viewer.peer.room("][");
    let large = viewer.peer.room(&huge);
    let burst = viewer.peer.room_burst(r#"{"t":"explain","cid":"again"}"#, 40);

    assert_eq!(chat, json!({"t": "nack", "cid": "c1", "code": "not-found"}));
    assert_eq!(garbage, json!({"t": "nack", "code": "bad-message"}));
    assert_eq!(large, json!({"t": "nack", "code": "too-long"}));
    let acks = burst.iter().filter(|answer| answer["t"] == "ack").count();
    let refusals: Vec<&Value> = burst.iter().filter(|answer| answer["t"] == "nack").collect();
    println!("{acks} acks, then {refusals:?}");
    assert!((15..30).contains(&acks), "twenty at once and ten a second: {acks}");
    assert_eq!(refusals.len(), 3, "then three refusals and silence");
    assert_eq!(
        refusals[2],
        &json!({"t": "nack", "cid": "again", "code": "rate-limited", "retryAfterMs": 30_000})
    );
    let before = viewer.count();
    viewer.wait_count(before + 120, 10);
    assert_eq!(explain(&server, &viewer.peer)["reason"], "best", "and HTTP still answers");
    server.assert_sound();
}

/// Asks by HTTP with the session's own bearer.
#[track_caller]
fn explain(server: &Server, peer: &Peer) -> Value {
    let response = request(server.http, "GET", &api(peer, "explain"), &[BEARER], b"");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

#[track_caller]
fn choose(server: &Server, peer: &Peer, what: &str) {
    let response = request(server.http, "PUT", &api(peer, "layer"), &[JSON, BEARER], what.as_bytes());
    assert_eq!(response.status, 204, "{response:?}");
}

fn api(peer: &Peer, what: &str) -> String {
    format!("/api/v1/sessions/{}/{what}", peer.location.rsplit('/').next().unwrap())
}
