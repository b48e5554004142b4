//! Bad requests beside a running show: each gets its status and code, at once, and the show does not notice.

use std::time::{Duration, Instant};

use crate::healthy::Show;
use crate::http::{exchange, post_offer, request};
use crate::rust_peer::{Access, Publisher, Viewer};
use crate::server::Server;

/// How long a refusal may take. (The promise is 50 ms for a release build; tests run unoptimised on a shared machine.)
const REFUSAL_MAX: Duration = Duration::from_millis(500);

#[test]
fn malformed_offers_are_refused_with_their_code_and_a_running_show_goes_on() {
    let show = Show::begin();
    let good = show.publisher.peer.offer.clone();
    let mut seen = 0;
    let mut expect = |what: &str, offer: &str, status: u16, code: &str| {
        let began = Instant::now();
        let response = post_offer(show.server.http, "/whip/bad", offer);
        let took = began.elapsed();
        assert_eq!((response.status, code), (status, code), "{what}: {response:?}");
        response.assert_problem(status, code);
        assert!(took < REFUSAL_MAX, "{what}: refused after {took:?}");
        seen += 1;
    };

    expect("no SDP at all", "hello", 400, "offer/syntax");
    expect("an empty body", "", 400, "offer/syntax");
    expect("a JSON body", "{\"type\":\"offer\"}", 400, "offer/syntax");
    expect("only the version", "v=0\r\n", 400, "offer/syntax");
    expect("no fingerprint", &without(&good, "a=fingerprint:"), 422, "offer/unsupported");
    expect("a weak fingerprint", &replace(&good, "sha-256 ", "sha-1 "), 422, "offer/unsupported");
    expect("a short fingerprint", &cut_values(&good, "a=fingerprint:", 40), 422, "offer/unsupported");
    expect("no ICE credentials", &without(&good, "a=ice-"), 422, "offer/unsupported");
    expect("no rtcp-mux", &without(&good, "a=rtcp-mux"), 422, "offer/unsupported");
    expect("no bundle", &without(&good, "a=group:"), 422, "offer/unsupported");
    expect(
        "an unknown setup",
        &replace(&good, "a=setup:actpass", "a=setup:holdconn"),
        422,
        "offer/unsupported",
    );
    expect("plain RTP", &replace(&good, "UDP/TLS/RTP/SAVPF", "RTP/AVP"), 422, "offer/unsupported");
    expect("nothing to receive", &replace(&good, "a=sendonly", "a=recvonly"), 422, "offer/unsupported");
    expect("no codec of ours", &only_codec(&good), 422, "media/codec");
    expect("1,001 lines", &lines(&good, 1001), 400, "offer/syntax");
    expect(
        "a line of 3,000 bytes",
        &(good.clone() + "a=x:" + &"y".repeat(3000) + "\r\n"),
        400,
        "offer/syntax",
    );
    expect("20,001 bytes", &padded(&good, 20_001), 400, "offer/syntax");
    expect("a line without equals", &(good.clone() + "oops\r\n"), 400, "offer/syntax");
    expect("a zero byte", &(good.clone() + "a=x:\0\r\n"), 400, "offer/syntax");
    expect(
        "a lone CR in a value",
        &replace(&good, "a=ice-ufrag:", "a=ice-ufrag:\ra=evil:"),
        400,
        "offer/syntax",
    );
    expect("an escape in a value", &(good.clone() + "a=x:\x1b[2J\r\n"), 400, "offer/syntax");
    expect(
        "31 candidates",
        &many(&good, "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n", 31),
        400,
        "offer/syntax",
    );
    expect("two sections of one mid", &replace(&good, "a=mid:1", "a=mid:0"), 400, "offer/syntax");
    expect("nine sections", &sections(&good, 9), 400, "offer/syntax");

    assert!(seen >= 24);
    show.assert_unharmed();
}

#[test]
fn an_offer_cut_at_any_line_is_answered_or_refused_but_never_an_internal_error() {
    let show = Show::begin();
    let good = show.publisher.peer.offer.clone();
    let starts: Vec<usize> = good.match_indices("\r\n").map(|(at, _)| at).collect();

    let mut refused = 0;
    for (index, at) in starts.iter().enumerate() {
        // At the line's end, and in the middle of the next one.
        let half = starts.get(index + 1).map_or(1, |next| (next - at) / 2);
        for cut in [at + 2, (at + 2 + half).min(good.len() - 1)] {
            let response = post_offer(show.server.http, &format!("/whip/cut-{index}-{cut}"), &good[..cut]);
            assert!([201, 400, 422, 429].contains(&response.status), "cut at {cut}: {response:?}");
            refused += usize::from(response.status != 201);
        }
        std::thread::sleep(Duration::from_millis(30));
    }

    assert!(refused > 20, "only {refused} were refused: the cuts do not hit anything");
    show.assert_unharmed();
}

#[test]
fn bytes_of_an_offer_never_reach_the_headers_of_the_answer() {
    let server = Server::start();
    let (publisher, _track) = Publisher::join(Access { http: server.http, media: None }, "inject");
    let evil = replace(&publisher.peer.offer, "a=mid:0", "a=mid:0\r\nSet-Cookie: a=b");

    let response = post_offer(server.http, "/whip/inject2", &evil);

    assert_eq!(response.header("set-cookie"), None, "{response:?}");
    response.assert_problem(400, "offer/syntax");
}

#[test]
fn wrong_types_sizes_methods_and_names_are_refused_and_a_running_show_goes_on() {
    let show = Show::begin();
    let http = show.server.http;
    let offer = show.publisher.peer.offer.as_bytes();
    let sdp = [("Content-Type", "application/sdp")];

    request(http, "POST", "/whip/x", &[("Content-Type", "text/plain")], offer)
        .assert_problem(415, "request/media-type");
    request(http, "POST", "/whip/x", &[], offer).assert_problem(415, "request/media-type");
    request(http, "POST", "/whip/x", &sdp, &[b'v'; 64 * 1024 + 1]).assert_problem(413, "request/too-large");
    request(http, "POST", "/whip/x", &sdp, &vec![b'v'; 4 << 20]).assert_problem(413, "request/too-large");
    exchange(http, &chunked("/whip/x", 70_000)).assert_problem(413, "request/too-large");
    request(http, "POST", "/whip/x", &sdp, b"v=0\r\n\xff\xfe").assert_problem(400, "offer/syntax");
    request(http, "POST", "/whip/no%20such%20name", &sdp, offer).assert_problem(404, "room/not-found");
    request(http, "POST", &format!("/whip/{}", "r".repeat(65)), &sdp, offer)
        .assert_problem(404, "room/not-found");
    let watch = replace(&show.publisher.peer.offer, "a=sendonly", "a=recvonly");
    request(http, "POST", "/whep/nobody", &sdp, watch.as_bytes()).assert_problem(404, "room/not-found");
    request(http, "PUT", "/whip/x", &sdp, offer).assert_problem(405, "request/method");
    request(http, "GET", "/nothing/here", &[], b"").assert_problem(404, "request/not-found");
    let secret = "0123456789abcdef0123456789abcdef";
    let session = format!("/whip/healthy/s/{secret}");
    let fragment = [("Content-Type", "application/trickle-ice-sdpfrag"), ("If-Match", "\"x\"")];
    request(http, "PATCH", &session, &fragment, b"a=ice-ufrag:x\r\n")
        .assert_problem(404, "session/not-found");
    request(http, "DELETE", &session, &[], b"").assert_problem(404, "session/not-found");
    let layer = format!("/api/v1/sessions/{secret}/layer");
    request(http, "PUT", &layer, &[("Content-Type", "application/json")], b"\"auto\"")
        .assert_problem(404, "session/not-found");
    let conflict = request(http, "POST", "/whip/healthy", &sdp, offer);
    conflict.assert_problem(409, "stream/conflict");
    assert_eq!(conflict.header("retry-after"), Some("1"));

    show.assert_unharmed();
}

#[test]
fn a_session_minds_its_entity_tag_its_credential_and_its_body() {
    let server = Server::start();
    let access = Access { http: server.http, media: None };
    let publisher = Publisher::live(access, "etag");
    let viewer = Viewer::join(access, "etag");
    let peer = &viewer.peer;
    let etag = peer.etag.clone();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "a strong entity tag, not {etag}");
    let kind = ("Content-Type", "application/trickle-ice-sdpfrag");
    let candidate = fragment_of(&peer.offer) + "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n";

    peer.request("PATCH", &[kind], &candidate).assert_problem(428, "ice/missing-etag");
    peer.request("PATCH", &[kind, ("If-Match", "\"stale\"")], &candidate)
        .assert_problem(412, "ice/stale-etag");
    peer.request("PATCH", &[("Content-Type", "application/sdp"), ("If-Match", &etag)], &candidate)
        .assert_problem(415, "request/media-type");
    peer.request("PATCH", &[kind, ("If-Match", "*")], "garbage").assert_problem(400, "ice/fragment");
    let trickled = peer.request("PATCH", &[kind, ("If-Match", &etag)], &candidate);
    assert_eq!((trickled.status, trickled.body.as_str()), (204, ""), "{trickled:?}");
    let path = peer.location.as_str();
    request(server.http, "DELETE", path, &[], b"").assert_problem(401, "auth/missing");
    request(server.http, "DELETE", path, &[("Authorization", "Bearer other")], b"")
        .assert_problem(403, "auth/denied");
    let before = viewer.count();
    viewer.wait_count(before + 30, 5);

    let restarted =
        peer.request("PATCH", &[kind, ("If-Match", "*")], &fragment_of_new_generation(&peer.offer));
    assert_eq!(restarted.status, 200, "{restarted:?}");
    let renewed = restarted.header("etag").expect("a restart has an ETag").to_owned();
    assert_ne!(renewed, etag);
    assert!(
        restarted.body.contains("a=ice-ufrag:") && restarted.body.contains("a=candidate:"),
        "{restarted:?}"
    );
    peer.request("PATCH", &[kind, ("If-Match", &etag)], &candidate).assert_problem(412, "ice/stale-etag");

    assert_eq!(peer.request("DELETE", &[], "").status, 200);
    peer.request("DELETE", &[], "").assert_problem(404, "session/not-found");
    peer.request("PATCH", &[kind, ("If-Match", &renewed)], &candidate)
        .assert_problem(404, "session/not-found");
    drop(publisher);
}

#[test]
fn a_room_without_its_publisher_is_offline_and_an_endpoint_tells_what_it_takes() {
    let server = Server::start();
    let access = Access { http: server.http, media: None };
    let publisher = Publisher::live(access, "offline");
    assert_eq!(publisher.peer.request("DELETE", &[], "").status, 200);

    let watch = replace(&publisher.peer.offer, "a=sendonly", "a=recvonly");
    let offline = post_offer(server.http, "/whep/offline", &watch);
    offline.assert_problem(409, "stream/offline");
    assert_eq!(offline.header("retry-after"), Some("2"));

    let cross = [("Origin", "https://elsewhere.example"), ("Access-Control-Request-Method", "POST")];
    for path in ["/whip/offline", "/whep/offline"] {
        let options = request(server.http, "OPTIONS", path, &[], b"");
        assert!([200, 204].contains(&options.status), "{options:?}");
        assert_eq!(options.header("accept-post"), Some("application/sdp"), "{options:?}");
        let preflight = request(server.http, "OPTIONS", path, &cross, b"");
        assert!([200, 204].contains(&preflight.status), "{preflight:?}");
        assert!(preflight.header("access-control-allow-origin").is_some(), "{preflight:?}");
    }
    let head = request(server.http, "HEAD", "/whep/offline", &[], b"");
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/sdp")), "{head:?}");
}

#[test]
fn a_body_or_header_that_does_not_come_is_given_up_after_ten_seconds() {
    let mut server = Server::start();
    let http = server.http;
    let start = |bytes: &'static [u8]| {
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            let mut socket = std::net::TcpStream::connect(http).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket.write_all(bytes).unwrap();
            let began = Instant::now();
            let mut answer = Vec::new();
            let end = socket.read_to_end(&mut answer);
            (
                String::from_utf8_lossy(&answer).into_owned(),
                end.map_err(|error| error.kind()),
                began.elapsed(),
            )
        })
    };
    let body = start(b"POST /whip/slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: 100\r\n\r\nv=0");
    let header = start(b"POST /whip/slow HTTP/1.1\r\nHost: x\r\nContent-Ty");

    let (answer, _, took) = body.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!((8..=15).contains(&took.as_secs()), "given up after {took:?}");
    let (_, end, took) = header.join().unwrap();
    assert!(end.is_ok(), "the server closes: {end:?}");
    assert!((8..=15).contains(&took.as_secs()), "given up after {took:?}");
    server.assert_sound();
}

fn without(offer: &str, prefix: &str) -> String {
    let kept: String = offer.split_inclusive("\r\n").filter(|line| !line.starts_with(prefix)).collect();
    assert_ne!(kept, offer, "the offer has no {prefix}");
    kept
}

fn replace(offer: &str, from: &str, to: &str) -> String {
    assert!(offer.contains(from), "the offer has no {from}:\n{offer}");
    offer.replace(from, to)
}

fn cut_values(offer: &str, prefix: &str, length: usize) -> String {
    offer
        .split_inclusive("\r\n")
        .map(
            |line| {
                if line.starts_with(prefix) { format!("{}\r\n", &line[..length]) } else { line.to_owned() }
            },
        )
        .collect()
}

/// The offer with each codec renamed to one that nobody has.
fn only_codec(offer: &str) -> String {
    let rename = |line: &str| {
        let Some((start, _)) = line.strip_prefix("a=rtpmap:").and_then(|rest| rest.split_once(' ')) else {
            return line.to_owned();
        };
        format!("a=rtpmap:{start} NOSUCH/90000\r\n")
    };
    offer.split_inclusive("\r\n").map(rename).collect()
}

fn lines(offer: &str, count: usize) -> String {
    let have = offer.lines().count();
    offer.to_owned() + &"a=x\r\n".repeat(count - have)
}

fn padded(offer: &str, length: usize) -> String {
    let mut text = offer.to_owned();
    while text.len() < length {
        text.push_str("a=x:");
        text.push_str(&"y".repeat(500));
        text.push_str("\r\n");
    }
    text
}

fn many(offer: &str, line: &str, count: usize) -> String {
    offer.to_owned() + &line.repeat(count)
}

/// The offer with its first media section repeated under other names, all bundled.
fn sections(offer: &str, count: usize) -> String {
    let start = offer.find("m=").unwrap();
    let end = offer[start + 2..].find("m=").map_or(offer.len(), |at| start + 2 + at);
    let mids: Vec<String> = (0..count).map(|index| format!("x{index}")).collect();
    let head: String =
        offer[..start].split_inclusive("\r\n").filter(|line| !line.starts_with("a=group:")).collect();
    let mut text = head + &format!("a=group:BUNDLE {}\r\n", mids.join(" "));
    for mid in &mids {
        text.push_str(&offer[start..end].replace("a=mid:0", &format!("a=mid:{mid}")));
    }
    text
}

fn chunked(path: &str, length: usize) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/sdp\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut bytes = head.into_bytes();
    for _ in 0..length.div_ceil(1000) {
        bytes.extend_from_slice(b"3e8\r\n");
        bytes.extend_from_slice(&[b'v'; 1000]);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// The ICE part of an offer as the fragment that a trickling peer sends.
fn fragment_of(offer: &str) -> String {
    let line = |prefix: &str| offer.lines().find(|line| line.starts_with(prefix)).unwrap().to_owned();
    let media = line("m=");
    format!("{}\r\n{}\r\n{media}\r\n{}\r\n", line("a=ice-ufrag:"), line("a=ice-pwd:"), line("a=mid:"))
}

fn fragment_of_new_generation(offer: &str) -> String {
    let renew = |line: &str| match line.split_once(':') {
        Some((name @ ("a=ice-ufrag" | "a=ice-pwd"), value)) => {
            format!("{name}:{}", value.chars().rev().collect::<String>())
        }
        _ => line.to_owned(),
    };
    fragment_of(offer).lines().map(|line| renew(line) + "\r\n").collect()
}
