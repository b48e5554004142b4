//! WHIP and WHEP through the router, over a real node without a network: every status a client can meet.

use crate::support::{Server, fragment, from, post, publish_offer, request, watch_offer};
use axum::http::StatusCode;
use node::NodeConfig;
use signaling::SignalingConfig;

const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";

#[tokio::test]
async fn a_published_offer_is_answered_with_a_session() {
    let server = Server::start();

    let answer = server.send(post("/whip/demo", &publish_offer())).await;

    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/sdp");
    assert!(answer.text.starts_with("v=0\r\n"));
    let id = answer.location().strip_prefix("/whip/demo/s/").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let etag = answer.header("etag");
    assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    assert_eq!(answer.header("accept-patch"), SDP_FRAGMENT);
    for name in ["Location", "ETag", "Link", "Accept-Patch", "Retry-After"] {
        assert!(answer.header("access-control-expose-headers").contains(name), "{name}");
    }
}

#[tokio::test]
async fn a_viewer_learns_of_the_extensions_by_links() {
    let server = Server::start();
    server.join("/whip/demo", &publish_offer()).await;

    let answer = server.join("/whep/demo", &watch_offer()).await;

    let links: Vec<&str> = answer.headers.get_all("link").iter().map(|link| link.to_str().unwrap()).collect();
    assert_eq!(links.len(), 2);
    assert!(links[0].starts_with(&format!("<{}/layer>; rel=", answer.location())), "{}", links[0]);
    assert!(links[1].starts_with(&format!("<{}/events>; rel=", answer.location())), "{}", links[1]);
}

#[tokio::test]
async fn an_unknown_room_is_not_found_and_a_known_one_is_offline() {
    let server = Server::start();

    let unknown = server.send(post("/whep/demo", &watch_offer())).await;
    let publisher = server.join("/whip/demo", &publish_offer()).await;
    server.send(request("DELETE", publisher.location(), &[], "")).await;
    let offline = server.send(post("/whep/demo", &watch_offer())).await;

    assert_eq!((unknown.status, unknown.code().as_str()), (StatusCode::NOT_FOUND, "room/not-found"));
    assert_eq!((offline.status, offline.code().as_str()), (StatusCode::CONFLICT, "stream/offline"));
    assert_eq!(offline.header("retry-after"), "2");
}

#[tokio::test]
async fn a_second_publisher_is_asked_to_retry() {
    let server = Server::start();
    server.join("/whip/demo", &publish_offer()).await;

    let second = server.send(post("/whip/demo", &publish_offer())).await;

    assert_eq!((second.status, second.code().as_str()), (StatusCode::CONFLICT, "stream/conflict"));
    assert_eq!(second.header("retry-after"), "1");
}

#[tokio::test]
async fn offers_that_cannot_be_answered_are_told_apart() {
    let server = Server::start();
    let offer = publish_offer();
    let cases = [
        ("hello".to_owned(), 400, "offer/syntax"),
        (String::new(), 400, "offer/syntax"),
        (offer.replace("a=fingerprint", "a=x-fingerprint"), 422, "offer/unsupported"),
        (offer.replace("a=ice-pwd:", "a=x-pwd:"), 422, "offer/unsupported"),
        (format!("{offer}{}", "a=x:1\r\n".repeat(1000)), 400, "offer/syntax"),
        (offer.replace("opus/48000/2", "G729/8000").replace("VP8/", "H261/"), 422, "media/codec"),
        (offer.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0"), 422, "offer/unsupported"),
    ];

    for (body, status, code) in cases {
        let answer = server.send(post("/whip/bad", &body)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{}", answer.text);
        assert!(answer.json()["title"].as_str().is_some_and(|title| title.len() > 8), "{}", answer.text);
    }
    assert!(server.node.handle().sessions().is_empty());
}

#[tokio::test]
async fn bodies_that_are_no_sdp_never_reach_the_node() {
    let server = Server::start();
    let sdp = [("content-type", "application/sdp")];

    let untyped = server.send(request("POST", "/whip/demo", &[], &publish_offer())).await;
    let json =
        server.send(request("POST", "/whip/demo", &[("content-type", "application/json")], "{}")).await;
    let huge = server.send(request("POST", "/whip/demo", &sdp, &"a".repeat(64 * 1024 + 1))).await;
    let packed = [("content-type", "application/sdp"), ("content-encoding", "gzip")];
    let packed = server.send(request("POST", "/whip/demo", &packed, "x")).await;

    for wrong in [&untyped, &json, &packed] {
        assert_eq!(
            (wrong.status, wrong.code().as_str()),
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "request/media-type")
        );
        assert_eq!(wrong.header("accept-post"), "application/sdp");
    }
    assert_eq!((huge.status, huge.code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "request/too-large"));
}

#[tokio::test]
async fn trickle_is_accepted_with_the_current_tag_only() {
    let server = Server::start();
    let session = server.join("/whip/demo", &publish_offer()).await;
    let patch = |headers: Vec<(&'static str, String)>, body: String| {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        server.send(request("PATCH", session.location(), &headers, &body))
    };
    let typed = ("content-type", SDP_FRAGMENT.to_owned());
    let tag = session.header("etag").to_owned();

    let good = patch(vec![typed.clone(), ("if-match", tag.clone())], fragment("abcd")).await;
    let stale = patch(vec![typed.clone(), ("if-match", "\"stale\"".to_owned())], fragment("abcd")).await;
    let missing = patch(vec![typed.clone()], fragment("abcd")).await;
    let wrong =
        patch(vec![("content-type", "text/plain".to_owned()), ("if-match", tag.clone())], fragment("abcd"))
            .await;
    let empty = patch(vec![typed, ("if-match", tag)], String::new()).await;

    assert_eq!((good.status, good.text.as_str(), good.header("etag")), (StatusCode::NO_CONTENT, "", ""));
    assert_eq!((stale.status, stale.code().as_str()), (StatusCode::PRECONDITION_FAILED, "ice/stale-etag"));
    assert_eq!(
        (missing.status, missing.code().as_str()),
        (StatusCode::PRECONDITION_REQUIRED, "ice/missing-etag")
    );
    assert_eq!(
        (wrong.status, wrong.code().as_str()),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "request/media-type")
    );
    assert_eq!(wrong.header("accept-patch"), SDP_FRAGMENT);
    assert_eq!((empty.status, empty.code().as_str()), (StatusCode::BAD_REQUEST, "ice/fragment"));
}

#[tokio::test]
async fn an_ice_restart_makes_a_new_generation_and_ends_the_old_tag() {
    let server = Server::start();
    let session = server.join("/whip/demo", &publish_offer()).await;
    let before = session.header("etag").to_owned();
    let patch = |tag: String, ufrag: &'static str| {
        let headers = [("content-type", SDP_FRAGMENT), ("if-match", tag.as_str())];
        server.send(request("PATCH", session.location(), &headers, &fragment(ufrag)))
    };

    let restarted = patch("*".to_owned(), "efgh").await;
    let after = restarted.header("etag").to_owned();
    let with_old_tag = patch(before.clone(), "efgh").await;
    let with_new_tag = patch(after.clone(), "efgh").await;

    assert_eq!((restarted.status, restarted.header("content-type")), (StatusCode::OK, SDP_FRAGMENT));
    assert!(
        restarted.text.contains("a=ice-ufrag:") && restarted.text.contains("a=ice-pwd:"),
        "{}",
        restarted.text
    );
    assert!(after.starts_with('"') && after != before);
    assert_eq!(with_old_tag.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(with_new_tag.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn delete_ends_the_session_once() {
    let server = Server::start();
    let session = server.join("/whip/demo", &publish_offer()).await;

    let first = server.send(request("DELETE", session.location(), &[("if-match", "\"any\"")], "")).await;
    let again = server.send(request("DELETE", session.location(), &[], "")).await;
    let patch = [("content-type", SDP_FRAGMENT), ("if-match", session.header("etag"))];
    let patch = server.send(request("PATCH", session.location(), &patch, &fragment("abcd"))).await;

    assert_eq!(first.status, StatusCode::OK);
    for late in [again, patch] {
        assert_eq!((late.status, late.code().as_str()), (StatusCode::NOT_FOUND, "session/not-found"));
    }
}

#[tokio::test]
async fn a_session_made_with_a_bearer_obeys_only_this_bearer() {
    let server = Server::start();
    let with = |token| [("content-type", "application/sdp"), ("authorization", token)];
    let session = server.send(request("POST", "/whip/demo", &with("Bearer one"), &publish_offer())).await;
    let delete = |headers: &[(&str, &str)]| server.send(request("DELETE", session.location(), headers, ""));

    let none = delete(&[]).await;
    let other = delete(&[("authorization", "Bearer two")]).await;
    let own = delete(&[("authorization", "bearer one")]).await;

    assert_eq!((none.status, none.code().as_str()), (StatusCode::UNAUTHORIZED, "auth/missing"));
    assert_eq!(none.header("www-authenticate"), "Bearer");
    assert_eq!((other.status, other.code().as_str()), (StatusCode::FORBIDDEN, "auth/denied"));
    assert_eq!(own.status, StatusCode::OK);
}

#[tokio::test]
async fn a_publishers_session_is_unknown_to_whep() {
    let server = Server::start();
    let session = server.join("/whip/demo", &publish_offer()).await;
    let as_viewer = session.location().replace("/whip/", "/whep/");

    let answer = server.send(request("DELETE", &as_viewer, &[], "")).await;

    assert_eq!(answer.code(), "session/not-found");
    assert_eq!(server.node.handle().sessions().len(), 1);
}

#[tokio::test]
async fn probes_and_preflights_ask_for_nothing_and_tell_little() {
    let server = Server::start();
    let session = server.join("/whip/demo", &publish_offer()).await;
    let preflight = [("origin", "https://other.example"), ("access-control-request-method", "POST")];

    let options = server.send(request("OPTIONS", "/whep/demo", &preflight, "")).await;
    let whip = server.send(request("HEAD", "/whip/demo", &[], "")).await;
    let whep = server.send(request("HEAD", "/whep/demo", &[], "")).await;
    let own = server.send(request("HEAD", session.location(), &[], "")).await;
    let gone = server.send(request("HEAD", "/whip/demo/s/00000000000000000000000000000000", &[], "")).await;

    assert_eq!((options.status, options.header("accept-post")), (StatusCode::NO_CONTENT, "application/sdp"));
    assert_eq!(options.header("access-control-allow-origin"), "*");
    assert!(options.header("access-control-allow-headers").contains("Authorization"));
    assert!(options.header("access-control-allow-methods").contains("PATCH"));
    assert_eq!(options.header("link"), "");
    assert!(whip.status.is_success() && whip.text.is_empty());
    assert_eq!((whep.status, whep.header("content-type")), (StatusCode::OK, "application/sdp"));
    assert_eq!((own.status, own.header("etag")), (StatusCode::NO_CONTENT, session.header("etag")));
    assert_eq!((gone.status, gone.text.as_str()), (StatusCode::NOT_FOUND, ""));
}

#[tokio::test]
async fn a_layer_is_chosen_by_the_api_and_by_the_extension() {
    let server = Server::start();
    let publisher = server.join("/whip/demo", &publish_offer()).await;
    let viewer = server.join("/whep/demo", &watch_offer()).await;
    let json = [("content-type", "application/json")];
    let of = |session: &str| format!("/api/v1/sessions/{}/layer", session.rsplit('/').next().unwrap());
    let extension = format!("{}/layer", viewer.location());

    for choice in ["\"auto\"", "{\"rid\":\"h\"}", "{\"maxHeight\":360}"] {
        let answer = server.send(request("PUT", &of(viewer.location()), &json, choice)).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{choice}: {}", answer.text);
    }
    let bad = server.send(request("PUT", &of(viewer.location()), &json, "{\"rid\":1}")).await;
    let publishers = server.send(request("PUT", &of(publisher.location()), &json, "\"auto\"")).await;
    let selected = "{\"mediaId\":\"0\",\"encodingId\":\"h\"}";
    let selected = server.send(request("POST", &extension, &json, selected)).await;
    let unselected = server.send(request("DELETE", &extension, &[], "")).await;
    let untyped = server.send(request("POST", &extension, &[], "{}")).await;

    assert_eq!((bad.status, bad.code().as_str()), (StatusCode::BAD_REQUEST, "request/syntax"));
    assert_eq!(
        (publishers.status, publishers.code().as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, "session/no-layer")
    );
    assert_eq!((selected.status, unselected.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(untyped.code(), "request/media-type");
}

#[tokio::test]
async fn the_public_id_steers_only_from_this_machine() {
    let server = Server::start();
    server.join("/whip/demo", &publish_offer()).await;
    server.join("/whep/demo", &watch_offer()).await;
    let sessions = server.node.handle().sessions();
    let viewer = sessions.iter().find(|session| session.role == node::Role::Viewer).unwrap();
    let put = || {
        let json = [("content-type", "application/json")];
        request("PUT", &format!("/api/v1/sessions/{}/layer", viewer.id), &json, "\"auto\"")
    };

    let near = server.send(from(put(), "127.0.0.1:5000")).await;
    let far = server.send(from(put(), "192.0.2.1:5000")).await;

    assert_eq!(near.status, StatusCode::NO_CONTENT, "{}", near.text);
    assert_eq!((far.status, far.code().as_str()), (StatusCode::FORBIDDEN, "auth/admin-only"));
}

#[tokio::test]
async fn events_are_subscribed_to_and_opened_without_a_bearer() {
    use axum::body::Body;
    use tower::ServiceExt;
    let server = Server::start();
    server.join("/whip/demo", &publish_offer()).await;
    let bearer = ("authorization", "Bearer one");
    let typed = [("content-type", "application/sdp"), bearer];
    let viewer = server.send(request("POST", "/whep/demo", &typed, &watch_offer())).await;
    let events = format!("{}/events", viewer.location());
    let json = ("content-type", "application/json");

    let refused = server.send(request("POST", &events, &[json], "[]")).await;
    let made = server.send(request("POST", &events, &[json, bearer], "[\"active\",\"viewercount\"]")).await;
    let opened = server.router.clone().oneshot(request("GET", made.location(), &[], "")).await.unwrap();
    let content_type = opened.headers()["content-type"].to_str().unwrap().to_owned();
    let first = first_events(opened.into_body(), 2).await;
    let guessed =
        server.send(request("GET", &format!("{events}/00000000000000000000000000000000"), &[], "")).await;

    assert_eq!(refused.code(), "auth/missing");
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(content_type, "text/event-stream");
    assert!(first.starts_with("event: active\ndata: {}\n\n"), "{first}");
    assert!(first.contains("event: viewercount\ndata: {\"viewercount\":1}\n\n"), "{first}");
    assert!(!first.contains("event: layers"), "{first}");
    assert_eq!(guessed.code(), "session/not-found");

    async fn first_events(body: Body, count: usize) -> String {
        use futures_util::StreamExt;
        let mut text = String::new();
        let mut chunks = body.into_data_stream();
        while text.matches("\n\n").count() < count {
            text.push_str(std::str::from_utf8(&chunks.next().await.unwrap().unwrap()).unwrap());
        }
        text
    }
}

#[tokio::test]
async fn the_viewer_past_the_limit_is_told_why_and_when_to_come_back() {
    let node = NodeConfig { max_viewers: 2, ..NodeConfig::default() };
    let server = Server::over(node, SignalingConfig::default());
    server.join("/whip/demo", &publish_offer()).await;
    let first = server.join("/whep/demo", &watch_offer()).await;
    server.join("/whep/demo", &watch_offer()).await;

    let refused = server.send(post("/whep/demo", &watch_offer())).await;

    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.code(), "server/overloaded");
    assert_eq!(refused.json()["reason"], "capacity");
    assert_eq!(refused.json()["title"], "this node is full: it serves the 2 viewers that it may");
    assert_eq!(refused.header("retry-after"), "15");
    server.send(request("DELETE", first.location(), &[], "")).await;
    server.join("/whep/demo", &watch_offer()).await;
}

#[tokio::test]
async fn a_draining_node_takes_no_more_sessions_and_says_so() {
    let server = Server::start();

    server.node.handle().shutdown().await;
    let ready = server.send(request("GET", "/readyz", &[], "")).await;
    let alive = server.send(request("GET", "/healthz", &[], "")).await;
    let join = server.send(post("/whip/demo", &publish_offer())).await;

    assert_eq!((ready.status, ready.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "server/draining"));
    assert_eq!(alive.status, StatusCode::OK);
    assert_eq!((join.status, join.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "server/draining"));
    assert_eq!(join.header("retry-after"), "15");
    assert_eq!(join.json()["reason"], "drain");
}
