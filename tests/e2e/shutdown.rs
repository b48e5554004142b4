//! The end of a server: sessions are told, and the process is gone within its time.

use std::time::Duration;

use crate::process::Peer;
use crate::rust_peer::{Access, Publisher, Viewer};
use crate::server::Server;

#[test]
fn sigterm_closes_every_session_and_ends_the_process_with_success_within_five_seconds() {
    let mut server = Server::start();
    let access = Access { http: server.http, media: None };
    let publisher = Publisher::live(access, "shutdown");
    let viewer = Viewer::join(access, "shutdown");
    let mut python = Peer::python("aiortc_view.py", &["30", &server.url("/whep/shutdown")]);
    python.wait_for("connected", 15);
    viewer.wait_count(60, 10);
    for peer in [&publisher.peer, &viewer.peer] {
        assert!(peer.echo("here").is_some(), "the data channel is open");
    }

    let (status, took) = server.terminate();

    println!("ended {status} after {took:?}");
    assert!(status.success(), "{status}\n{}", server.log_tail());
    assert!(took < Duration::from_secs(5), "took {took:?}");
    // Consent would take 30 s to run out, and ICE some seconds to notice: only a close_notify is as fast as this.
    for (role, peer) in [("publisher", &publisher.peer), ("viewer", &viewer.peer)] {
        assert!(peer.wait_dtls_closed(3), "the {role} was not told");
    }
    // aiortc ends a track by itself when an RTCP BYE for its SSRC comes.
    let ended = python.wait_for("track_ended", 3);
    println!("aiortc: {ended}");
    assert!(!server.log().contains("panicked at"), "{}", server.log_tail());
}

#[test]
fn sigterm_without_sessions_ends_at_once() {
    let mut server = Server::start();

    let (status, took) = server.terminate();

    assert!(status.success(), "{status}\n{}", server.log_tail());
    assert!(took < Duration::from_secs(2), "took {took:?}");
}
