//! The crowd against the real server with a real publisher, all as processes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end its process"
)]

mod stage;

use stage::{Stage, loadtest, number, parse, text};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

#[test]
fn every_viewer_connects_sees_a_keyframe_and_loses_nothing() {
    let stage = Stage::start();

    let output = watch(
        &stage,
        "2s",
        &["--viewers", "20", "--join-rate", "50/s", "--audio", "--verify", "20%", "--pid"],
    )
    .output();
    let (report, output) = parse(output.unwrap());

    assert!(output.status.success(), "{}\n{report}", text(&output.stderr));
    assert_eq!((number(&report, "viewers_connected"), number(&report, "viewers_failed")), (20.0, 0.0));
    assert!(number(&report, "packets_received") > 1_000.0, "{report}");
    assert!(number(&report, "verified_packets") > 300.0, "{report}");
    for name in [
        "packets_lost",
        "viewers_frozen",
        "verify_failures",
        "timestamp_errors",
        "unknown_packets",
        "send_errors",
    ] {
        assert!(number(&report, name) < 0.5, "{name} in {report}");
    }
    for name in ["join_ms", "first_keyframe_ms", "added_delay_ms"] {
        assert!(number(&report[name], "p50") > 0.0, "{name} in {report}");
        assert!(number(&report[name], "p99") >= number(&report[name], "p50"), "{name} in {report}");
    }
    assert!(number(&report, "added_delay_frames") > 50.0, "{report}");
    assert!(number(&report, "server_cpu_ns_per_packet") > 0.0 && number(&report, "server_threads") > 0.0);
}

#[test]
fn packets_that_are_asked_for_again_come_by_retransmission() {
    let stage = Stage::start();

    let (report, _) = parse(watch(&stage, "2s", &["--viewers", "4", "--nack", "5%"]).output().unwrap());

    assert!(number(&report, "nacks_sent") > 20.0, "{report}");
    // The last questions are answered after the measurement, and a busy server may limit the others.
    assert!((80.0..=120.0).contains(&number(&report, "nacks_answered_percent")), "{report}");
}

#[test]
fn a_publisher_that_stands_still_freezes_every_viewer_though_nothing_is_lost() {
    let stage = Stage::start();
    let mut crowd = watch(&stage, "3s", &["--viewers", "5"]);
    let crowd = crowd.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    stage.wait_for_viewers(5);
    // Into the measurement, which begins a second after the last join.
    thread::sleep(Duration::from_millis(1_500));

    let publisher = stage.publisher();
    assert!(Command::new("kill").args(["-STOP", &publisher]).status().unwrap().success());
    let (report, _) = parse(crowd.wait_with_output().unwrap());

    assert_eq!((number(&report, "viewers_connected"), number(&report, "packets_lost")), (5.0, 0.0));
    assert!(number(&report, "packets_received") > 50.0, "{report}");
    assert_eq!(number(&report, "viewers_frozen"), 5.0, "{report}");
}

#[test]
fn every_viewer_opens_its_data_channel_when_it_is_to() {
    let stage = Stage::start();

    let (report, output) =
        parse(watch(&stage, "1s", &["--viewers", "5", "--data-channel"]).output().unwrap());

    assert!(output.status.success(), "{}\n{report}", text(&output.stderr));
    assert_eq!(number(&report, "data_channels_open"), 5.0, "{report}");
}

#[test]
fn a_crowd_that_is_asked_to_end_leaves_and_reports() {
    let stage = Stage::start();
    let mut crowd = watch(&stage, "60s", &["--viewers", "5"]);
    let crowd = crowd.stdout(Stdio::piped()).spawn().unwrap();
    stage.wait_for_viewers(5);

    let pid = crowd.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let (report, _) = parse(crowd.wait_with_output().unwrap());

    assert_eq!(number(&report, "viewers_connected"), 5.0, "{report}");
    stage.wait_for_viewers(0);
}

#[test]
fn viewers_watch_a_server_of_another_stack() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = tests.join("../../target/venv/bin/python");
    assert!(python.exists(), "aiortc is missing: run `make setup`");
    let mut server =
        Command::new(python).arg(tests.join("aiortc_server.py")).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let url = format!("http://127.0.0.1:{}/whep", lines.next().unwrap().unwrap());

    let mut crowd = loadtest();
    crowd.args(["whep", "--json", "--viewers", "2", "--verify", "100%", "--url", &url]);
    let (report, output) = parse(crowd.args(["--warmup", "0s", "--duration", "2s"]).output().unwrap());
    let ended: Vec<String> = lines.by_ref().take(2).map(Result::unwrap).collect();
    server.kill().unwrap();
    server.wait().unwrap();

    assert!(output.status.success(), "{}\n{report}", text(&output.stderr));
    assert_eq!(number(&report, "viewers_connected"), 2.0, "{report}");
    assert!(
        number(&report["first_keyframe_ms"], "p50") > 0.0 && number(&report, "verified_packets") > 20.0,
        "{report}"
    );
    assert_eq!(ended.len(), 2, "each session was ended by its DELETE");
}

#[test]
fn a_room_that_is_refused_fails_with_the_servers_status() {
    let stage = Stage::start();
    let mut crowd = loadtest();
    let url = format!("{}/whep/nobody-is-here", stage.url);
    crowd.args(["whep", "--json", "--viewers", "3", "--warmup", "0s", "--duration", "1s", "--url", &url]);

    let (report, output) = parse(crowd.output().unwrap());

    assert_eq!(output.status.code(), Some(1));
    assert_eq!(number(&report, "viewers_failed"), 3.0, "{report}");
    let reasons: Vec<&String> = report["failures"].as_object().unwrap().keys().collect();
    assert!(reasons.iter().all(|reason| reason.starts_with("http 4")), "{report}");
}

#[test]
fn a_server_that_is_not_there_fails_every_viewer() {
    let mut crowd = loadtest();
    crowd.args(["whep", "--json", "--viewers", "2", "--warmup", "0s", "--duration", "0s"]);

    let (report, output) = parse(crowd.args(["--url", "http://127.0.0.1:9/whep/x"]).output().unwrap());

    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report["failures"]["http: no response"], 2);
    for name in ["lost_percent", "joins_per_s", "packets_per_receive"] {
        assert!(report[name].is_null(), "of nothing there is no {name}: {report}");
    }
}

/// A crowd that measures for this long; `--pid` at the end gets the server's.
fn watch(stage: &Stage, duration: &str, options: &[&str]) -> Command {
    let mut crowd = loadtest();
    let url = format!("{}/whep/show", stage.url);
    crowd.args(["whep", "--json", "--warmup", "1s", "--duration", duration, "--url", &url]).args(options);
    if options.last() == Some(&"--pid") {
        crowd.arg(stage.pid());
    }
    crowd
}
