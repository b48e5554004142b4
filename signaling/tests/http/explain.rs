//! Why a session is as it is, before any media: who may ask, how often, and what is said.

use axum::http::StatusCode;
use signaling::{Rate, SignalingConfig};

use crate::support::{Server, from, post, publish_offer, request, watch_offer};

const BEARER: (&str, &str) = ("authorization", "Bearer host");

#[tokio::test]
async fn a_session_that_nobody_has_reached_says_so_to_its_owner() {
    let server = Server::start();
    let publisher = server.join("/whip/demo", &publish_offer()).await;
    let viewer = server.join("/whep/demo", &watch_offer()).await;
    let chosen = request(
        "PUT",
        &api(viewer.location(), "layer"),
        &[("content-type", "application/json")],
        "{\"rid\":\"h\"}",
    );
    assert_eq!(server.send(chosen).await.status, StatusCode::NO_CONTENT);

    let of_publisher = server.send(explain(publisher.location(), &[])).await;
    let of_viewer = server.send(explain(viewer.location(), &[])).await;

    assert_eq!((of_publisher.status, of_viewer.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(of_viewer.header("cache-control"), "no-store");
    let (publisher, viewer) = (of_publisher.json(), of_viewer.json());
    for (explained, role) in [(&publisher, "publisher"), (&viewer, "viewer")] {
        assert_eq!(explained["role"], role);
        assert_eq!((&explained["room"], &explained["connected"]), (&"demo".into(), &false.into()));
        assert_eq!(explained["reason"], "connecting");
        assert!(explained["text"].is_string() && explained["hint"].is_string(), "{explained}");
        assert!(explained["join"]["httpMs"].as_f64().is_some_and(|took| took > 0.0), "{explained}");
        assert_eq!(explained["join"].get("iceMs"), None, "no check has come: {explained}");
        assert_eq!(explained.get("pair"), None);
    }
    assert_eq!(viewer["video"], serde_json::json!({"request": {"rid": "h"}}));
    assert_eq!(publisher["layers"], serde_json::json!([]));
}

#[tokio::test]
async fn only_the_sessions_own_bearer_opens_it() {
    let server = Server::start();
    let mut offer = post("/whip/demo", &publish_offer());
    offer.headers_mut().insert("authorization", "Bearer host".parse().unwrap());
    let created = server.send(offer).await;

    let own = server.send(explain(created.location(), &[BEARER])).await;
    let none = server.send(explain(created.location(), &[])).await;
    let other = server.send(explain(created.location(), &[("authorization", "Bearer guest")])).await;
    let unknown =
        server.send(request("GET", &format!("/api/v1/sessions/{}/explain", "0".repeat(32)), &[], "")).await;
    let ended = server.send(request("DELETE", created.location(), &[BEARER], "")).await;
    let gone = server.send(explain(created.location(), &[BEARER])).await;

    assert_eq!(own.status, StatusCode::OK);
    assert_eq!((none.status, none.code().as_str()), (StatusCode::UNAUTHORIZED, "auth/missing"));
    assert_eq!((other.status, other.code().as_str()), (StatusCode::FORBIDDEN, "auth/denied"));
    assert_eq!((unknown.status, unknown.code().as_str()), (StatusCode::NOT_FOUND, "session/not-found"));
    assert_eq!(ended.status, StatusCode::OK);
    assert_eq!((gone.status, gone.code().as_str()), (StatusCode::NOT_FOUND, "session/not-found"));
}

#[tokio::test]
async fn the_short_id_is_for_administrators() {
    let server = Server::start();
    server.join("/whip/demo", &publish_offer()).await;
    let listed =
        server.send(from(request("GET", "/api/v1/sessions", &[], ""), "127.0.0.1:5000")).await.json();
    let path = format!("/api/v1/sessions/{}/explain", listed["items"][0]["id"].as_str().unwrap());

    let here = server.send(from(request("GET", &path, &[], ""), "127.0.0.1:5000")).await;
    let elsewhere = server.send(from(request("GET", &path, &[], ""), "192.0.2.7:5000")).await;
    let unknown = server
        .send(from(request("GET", "/api/v1/sessions/s999999/explain", &[], ""), "127.0.0.1:5000"))
        .await;

    assert_eq!((here.status, &here.json()["session"]), (StatusCode::OK, &listed["items"][0]["id"]));
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (StatusCode::FORBIDDEN, "auth/admin-only"));
    assert_eq!((unknown.status, unknown.code().as_str()), (StatusCode::NOT_FOUND, "session/not-found"));
}

#[tokio::test]
async fn asking_counts_against_the_addresss_rate() {
    let rate = Rate { per_second: 0.001, burst: 3.0 };
    let server = Server::with(SignalingConfig { rate, ..SignalingConfig::default() });
    let path = format!("/api/v1/sessions/{}/explain", "0".repeat(32));

    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses
            .push(server.send(from(request("GET", &path, &[], ""), "192.0.2.7:5000")).await.status.as_u16());
    }
    let others = server.send(from(request("GET", &path, &[], ""), "192.0.2.8:5000")).await;
    let reading = server.send(from(request("GET", "/healthz", &[], ""), "192.0.2.7:5000")).await;

    assert_eq!(statuses, [404, 404, 404, 429, 429]);
    assert_eq!(others.status, StatusCode::NOT_FOUND, "another address has its own rate");
    assert_eq!(reading.status, StatusCode::OK, "other reading is free");
}

#[tokio::test]
async fn a_page_of_another_origin_may_ask() {
    let server = Server::start();
    let publisher = server.join("/whip/demo", &publish_offer()).await;

    let answer = server.send(explain(publisher.location(), &[("origin", "https://show.example")])).await;

    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let posted = server.send(request("POST", &api(publisher.location(), "explain"), &[], "")).await;
    assert_eq!((posted.status, posted.code().as_str()), (StatusCode::METHOD_NOT_ALLOWED, "request/method"));
}

fn explain(location: &str, headers: &[(&str, &str)]) -> axum::http::Request<axum::body::Body> {
    request("GET", &api(location, "explain"), headers, "")
}

/// The API's path of a session by its `Location`.
fn api(location: &str, what: &str) -> String {
    format!("/api/v1/sessions/{}/{what}", location.rsplit('/').next().unwrap())
}
