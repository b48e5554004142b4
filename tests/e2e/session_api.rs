//! What a session can be asked for by HTTP beside its media: layer, events, discovery; and what must stay secret.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::http::request;
use crate::rust_peer::{Access, Publisher, Viewer};
use crate::server::Server;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const BEARER: (&str, &str) = ("Authorization", "Bearer e2e-credential");

#[test]
fn a_viewer_chooses_its_layer_by_the_api_and_by_the_whep_extension() {
    let server = Server::start();
    let (publisher, viewer) = show(&server, "layer");
    let secret = viewer.peer.location.rsplit('/').next().unwrap().to_owned();
    let api = format!("/api/v1/sessions/{secret}/layer");
    let put =
        |headers: &[(&str, &str)], body: &str| request(server.http, "PUT", &api, headers, body.as_bytes());

    assert_eq!(put(&[JSON, BEARER], "\"auto\"").status, 204);
    assert_eq!(put(&[JSON, BEARER], "{\"maxHeight\":480}").status, 204);
    put(&[JSON], "\"auto\"").assert_problem(401, "auth/missing");
    put(&[JSON, ("Authorization", "Bearer other")], "\"auto\"").assert_problem(403, "auth/denied");
    put(&[JSON, BEARER], "\"best\"").assert_problem(400, "request/syntax");
    put(&[("Content-Type", "text/plain"), BEARER], "\"auto\"").assert_problem(415, "request/media-type");

    let extension = format!("{}/layer", viewer.peer.location);
    let chosen =
        request(server.http, "POST", &extension, &[JSON, BEARER], b"{\"mediaId\":\"0\",\"encodingId\":null}");
    assert_eq!(chosen.status, 200, "{chosen:?}");
    let publisher_secret = publisher.peer.location.rsplit('/').next().unwrap();
    let api = format!("/api/v1/sessions/{publisher_secret}/layer");
    request(server.http, "PUT", &api, &[JSON, BEARER], b"\"auto\"").assert_problem(422, "session/no-layer");

    let sessions = server.get("/api/v1/sessions").json();
    let item = sessions["items"].as_array().unwrap().iter().find(|item| item["role"] == "viewer").unwrap();
    let public = format!("/api/v1/sessions/{}/layer", item["id"].as_str().unwrap());
    assert_eq!(
        request(server.http, "PUT", &public, &[JSON], b"\"auto\"").status,
        204,
        "an administrator by the public id"
    );
    viewer.wait_count(viewer.count() + 60, 5);
}

#[test]
fn a_viewer_follows_the_rooms_events_until_the_publisher_leaves() {
    let server = Server::start();
    let (publisher, viewer) = show(&server, "events");
    let subscribe = format!("{}/events", viewer.peer.location);

    let subscribed = request(
        server.http,
        "POST",
        &subscribe,
        &[JSON, BEARER],
        b"[\"active\",\"inactive\",\"viewercount\"]",
    );
    assert_eq!(subscribed.status, 201, "{subscribed:?}");
    let path = subscribed.header("location").unwrap();
    let mut socket = TcpStream::connect(server.http).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n").unwrap();
    let mut lines = BufReader::new(socket).lines().map_while(Result::ok);

    assert!(lines.any(|line| line == "event: active"), "the state is told at the start");
    assert!(lines.any(|line| line == "data: {\"viewercount\":1}"));
    assert_eq!(publisher.peer.request("DELETE", &[], "").status, 200);
    assert!(lines.any(|line| line == "event: inactive"), "the change is told");
}

#[test]
fn discovery_tells_a_player_what_there_is() {
    let server = Server::start();
    let accept = [("Accept", "application/json")];
    let before = request(server.http, "GET", "/r/discovery", &accept, b"").json();
    assert_eq!((&before["live"], &before["whep"]), (&false.into(), &"/whep/discovery".into()), "{before}");
    assert!(before.get("layers").is_none(), "{before}");

    let (_publisher, _viewer) = show(&server, "discovery");

    server.wait_until("the layer's size was measured", 5, |server| {
        let document = request(server.http, "GET", "/r/discovery", &accept, b"").json();
        let layer = &document["layers"][0];
        document["live"] == true
            && document["viewers"] == 1
            && layer["codec"] == "VP8"
            && layer["height"] == 360
    });
}

#[test]
fn no_bearer_session_secret_or_ice_password_is_logged_even_at_debug() {
    let mut server = Server::start();
    let (publisher, viewer) = show(&server, "secrets");
    assert_eq!(viewer.peer.request("DELETE", &[], "").status, 200);
    viewer.peer.request("DELETE", &[], "").assert_problem(404, "session/not-found");
    let secrets: Vec<String> = [&publisher.peer, &viewer.peer]
        .iter()
        .flat_map(|peer| {
            let passwords = peer.offer.lines().chain(peer.answer.lines());
            let passwords = passwords.filter_map(|line| line.strip_prefix("a=ice-pwd:")).map(str::to_owned);
            passwords.chain([peer.location.rsplit('/').next().unwrap().to_owned()]).collect::<Vec<_>>()
        })
        .chain(["e2e-credential".to_owned()])
        .collect();

    server.terminate();

    let log = server.log();
    assert!(secrets.len() >= 7, "{secrets:?}");
    assert!(log.contains("DEBUG") && log.contains("session ended"), "the log is there, at debug");
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
}

/// A live room with a viewer that already receives.
fn show(server: &Server, room: &str) -> (Publisher, Viewer) {
    let access = Access { http: server.http, media: None };
    let (mut publisher, track) = Publisher::join(access, room);
    let viewer = Viewer::join(access, room);
    publisher.start(track);
    viewer.wait_count(30, 10);
    (publisher, viewer)
}
