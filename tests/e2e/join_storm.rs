//! A crowd that joins in a few seconds, and what its publisher is asked for meanwhile.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::Peer;
use crate::server::Server;

/// As many as a debug build connects in about five seconds on a small machine, beside the crowd itself.
const VIEWERS: u64 = 300;

#[test]
fn a_crowd_without_a_keyframe_to_begin_with_costs_its_publisher_a_request_a_second_and_layer() {
    let mut server = Server::start();
    // Its keyframes are too far apart for a cache of joins, and requests bring none: everyone goes on asking.
    let mut publisher = Peer::load_test(&[
        "whip",
        "--json",
        "--codec",
        "vp8",
        "--simulcast",
        "3",
        "--bitrate",
        "1M",
        "--gop",
        "600s",
        "--ignore-pli",
        "--no-audio",
        "--duration",
        "600s",
        "--url",
        &server.url("/whip/storm"),
    ]);
    server.wait_live("storm");
    let began = Instant::now();
    // The rings forget what is older than four and a half seconds.
    sleep(Duration::from_secs(6));

    let mut crowd = Peer::load_test(&[
        "whep",
        "--json",
        "--silent",
        "--viewers",
        &VIEWERS.to_string(),
        "--join-rate",
        "60/s",
        "--warmup",
        "0s",
        "--duration",
        "6s",
        "--url",
        &server.url("/whep/storm"),
    ]);
    let viewers = crowd.wait_json(120);
    let seconds = began.elapsed().as_secs_f64();
    let (ended, log) = publisher.interrupt(10);
    assert!(ended, "{log}");
    let asked = publisher.wait_json(5);

    let number =
        |of: &serde_json::Value, name: &str| of[name].as_f64().unwrap_or_else(|| panic!("{name} of {of}"));
    let (plis, most) = (number(&asked, "plis_received"), number(&asked, "plis_of_one_layer"));
    println!(
        "{} of {VIEWERS} viewers connected at {:.0} a second; in {seconds:.1} s the publisher was asked {plis} times, {most} of \
         them for one layer, never sooner than {} ms after the last",
        viewers["viewers_connected"],
        number(&viewers, "joins_per_s"),
        asked["pli_gap_ms"],
    );
    assert_eq!(viewers["viewers_connected"], VIEWERS, "{viewers}");
    assert_eq!(
        viewers["packets_received"], 0,
        "nobody had a picture, or the test is about nothing: {viewers}"
    );
    assert!(most >= 3.0, "{asked}");
    assert!(most <= seconds + 1.0, "at most one a second, {seconds} s: {asked}");
    assert!(number(&asked, "pli_gap_ms") > 900.0, "{asked}");
    server.assert_sound();
}
