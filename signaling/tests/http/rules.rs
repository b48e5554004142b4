//! What holds for all routes: problems, limits, CORS, discovery, and what never reaches a log.

use std::io;
use std::sync::{Arc, Mutex};

use crate::support::{Server, from, post, publish_offer, request};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::stream;
use signaling::{Origins, Rate, SignalingConfig};

#[tokio::test]
async fn every_refusal_is_a_problem_with_a_code_a_hint_and_the_requests_name() {
    let server = Server::start();
    let sdp = [("content-type", "application/sdp")];
    let cases = [
        (request("GET", "/nothing/here", &[], ""), 404, "request/not-found"),
        (request("POST", "/nothing", &[], "x"), 404, "request/not-found"),
        (request("PUT", "/whip/demo", &[], ""), 405, "request/method"),
        (request("POST", "/metrics", &[], ""), 405, "request/method"),
        (request("POST", "/whip/no.dots", &sdp, "v=0"), 404, "room/not-found"),
        (request("GET", "/r/no.dots", &[], ""), 404, "room/not-found"),
        (request("POST", "/whip/%ff", &sdp, "v=0"), 400, "request/syntax"),
        (request("GET", "/api/v1/sessions", &[], ""), 403, "auth/admin-only"),
        (request("GET", "/errors/none", &[], ""), 404, "request/not-found"),
        (request("PATCH", "/whep/demo/s/x", &[], ""), 404, "session/not-found"),
        (request("POST", "/whep/demo/s/x", &[], ""), 405, "request/method"),
        (
            request("GET", "/healthz", &[("x-padding", &"x".repeat(17_000))], ""),
            431,
            "request/header-too-large",
        ),
        (request("DELETE", "/whip/demo/s/x", &[("authorization", "Bearer a b")], ""), 401, "auth/missing"),
    ];

    for (asked, status, code) in cases {
        let what = format!("{} {}", asked.method(), asked.uri());
        let answer = server.send(asked).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{what}");
        let body = answer.json();
        assert_eq!(body["type"], format!("/errors/{code}"), "{what}");
        assert_eq!(body["status"], status, "{what}");
        assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{what}");
        assert!(body["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{what}");
        assert_eq!(body["request_id"], answer.header("x-request-id"), "{what}");
    }
}

#[tokio::test]
async fn a_refused_method_names_the_ones_there_are() {
    let server = Server::start();

    let answer = server.send(request("PUT", "/whip/demo", &[], "")).await;

    for method in ["GET", "HEAD", "POST", "OPTIONS"] {
        assert!(answer.header("allow").contains(method), "{}", answer.header("allow"));
    }
}

#[tokio::test]
async fn the_page_of_an_error_code_says_what_to_do() {
    let server = Server::start();

    let answer = server.send(request("GET", "/errors/stream/offline", &[], "")).await;

    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.text.contains("409") && answer.text.contains("what to do"), "{}", answer.text);
}

#[tokio::test]
async fn a_requests_name_is_kept_if_it_is_well_formed() {
    let server = Server::start();

    let kept = server.send(request("GET", "/healthz", &[("x-request-id", "abc-1")], "")).await;
    let replaced = server.send(request("GET", "/healthz", &[("x-request-id", "a b")], "")).await;

    assert_eq!(kept.header("x-request-id"), "abc-1");
    assert_eq!(replaced.header("x-request-id").len(), 16);
}

#[tokio::test]
async fn one_address_that_changes_too_much_is_slowed_and_others_are_not() {
    let config = SignalingConfig { rate: Rate { per_second: 0.5, burst: 2.0 }, ..SignalingConfig::default() };
    let server = Server::with(config);
    let delete =
        |remote: &'static str| server.send(from(request("DELETE", "/whip/demo/s/x", &[], ""), remote));

    let passed = [delete("192.0.2.1:1").await, delete("192.0.2.1:2").await];
    let slowed = delete("192.0.2.1:3").await;
    let other = delete("192.0.2.2:1").await;
    let read = server.send(from(request("GET", "/healthz", &[], ""), "192.0.2.1:4")).await;

    assert!(passed.iter().all(|answer| answer.status == StatusCode::NOT_FOUND));
    assert_eq!((slowed.status, slowed.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "rate-limited"));
    assert!(slowed.header("retry-after").parse::<u32>().unwrap() >= 1);
    assert_eq!(other.status, StatusCode::NOT_FOUND);
    assert_eq!(read.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_at_the_limit() {
    let server = Server::start();
    let chunks = stream::iter((0..100).map(|_| Ok::<_, io::Error>(vec![b'a'; 1024])));
    let endless = Request::post("/whip/demo").header("content-type", "application/sdp");

    let answer = server.send(endless.body(Body::from_stream(chunks)).unwrap()).await;

    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "request/too-large"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let server = Server::start();
    let silent = stream::pending::<Result<Vec<u8>, io::Error>>();
    let slow = Request::post("/whip/demo").header("content-type", "application/sdp");

    let answer = server.send(slow.body(Body::from_stream(silent)).unwrap()).await;

    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::REQUEST_TIMEOUT, "request/timeout"));
}

#[tokio::test]
async fn only_listed_origins_scripts_may_read_answers() {
    let origins = Origins::new(["https://live.example.com"]);
    let server = Server::with(SignalingConfig { origins, ..SignalingConfig::default() });
    let asked = |origin: &'static str| server.send(request("GET", "/healthz", &[("origin", origin)], ""));

    let listed = asked("https://live.example.com").await;
    let other = asked("https://evil.example").await;

    assert_eq!(listed.header("access-control-allow-origin"), "https://live.example.com");
    assert_eq!(other.header("access-control-allow-origin"), "");
    assert_eq!(other.header("vary"), "origin");
}

#[tokio::test]
async fn lists_are_read_on_this_machine_only_and_never_by_foreign_scripts() {
    let server = Server::start();
    server.join("/whip/demo", &publish_offer()).await;
    let get = |remote: &'static str, headers: &[(&str, &str)]| {
        server.send(from(request("GET", "/api/v1/sessions", headers, ""), remote))
    };

    let near = get("127.0.0.1:5000", &[]).await;
    let script = get("127.0.0.1:5000", &[("origin", "https://evil.example")]).await;
    let far = get("192.0.2.1:5000", &[]).await;

    assert_eq!(near.status, StatusCode::OK);
    assert_eq!(near.json()["items"][0]["room"], "demo");
    assert_eq!(near.json()["items"][0]["role"], "publisher");
    assert_eq!(near.header("access-control-allow-origin"), "");
    assert_eq!((script.status, far.status), (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN));
}

#[tokio::test]
async fn discovery_tells_players_where_to_go() {
    let server = Server::start();
    let get = || server.send(request("GET", "/r/demo", &[("accept", "application/json")], ""));

    let before = get().await.json();
    server.join("/whip/demo", &publish_offer()).await;
    let answer = get().await;

    let after = answer.json();
    assert_eq!((before["live"].as_bool(), after["live"].as_bool()), (Some(false), Some(true)));
    assert_eq!((&after["whep"], &after["whip"]), (&"/whep/demo".into(), &"/whip/demo".into()));
    assert_eq!(after["transports"], serde_json::json!(["webrtc"]));
    assert_eq!(after["viewers"], 0);
    assert!(after["serverTime"].as_u64().is_some_and(|millis| millis > 1_700_000_000_000));
    assert!(after.get("hls").is_none() && after.get("iceServers").is_none());
    assert_eq!((answer.header("vary"), answer.header("cache-control")), ("accept", "no-store"));
}

#[tokio::test]
async fn metrics_are_in_prometheus_text_format() {
    let server = Server::start();

    let answer = server.send(request("GET", "/metrics", &[], "")).await;

    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert!(answer.text.contains("# TYPE nearcast_"), "{}", answer.text);
}

#[tokio::test]
async fn no_log_line_shows_a_bearer_or_a_sessions_secret_id() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_env_filter("trace").with_writer(move || writer.clone()).finish();
    // For all threads: a subscriber of one thread misses lines that another thread met first and found unwanted.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let server = Server::start();
    let headers = [("content-type", "application/sdp"), ("authorization", "Bearer verysecret")];

    let session = server.send(request("POST", "/whip/demo", &headers, &publish_offer())).await;
    let bearer = [("authorization", "Bearer verywrong")];
    let denied = server.send(request("DELETE", session.location(), &bearer, "")).await;
    let conflict = server.send(post("/whip/demo", &publish_offer())).await;

    let text = log.text();
    let secret = session.location().rsplit('/').next().unwrap().to_owned();
    assert_eq!((denied.code().as_str(), conflict.code().as_str()), ("auth/denied", "stream/conflict"));
    assert!(text.contains("publisher session was created"), "{text}");
    for hidden in ["verysecret", "verywrong", secret.as_str(), "ice-pwd"] {
        assert!(!text.contains(hidden), "{hidden} is in {text}");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
