//! The crowd against the real server with a real publisher, all as processes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end its process"
)]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn every_viewer_connects_sees_a_keyframe_and_loses_nothing() {
    let stage = Stage::start();

    let output = stage
        .watch("2s", &["--viewers", "20", "--join-rate", "50/s", "--audio", "--verify", "20%", "--pid"])
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

    let (report, _) = parse(stage.watch("2s", &["--viewers", "4", "--nack", "5%"]).output().unwrap());

    assert!(number(&report, "nacks_sent") > 20.0, "{report}");
    // The last questions are answered after the measurement, and a busy server may limit the others.
    assert!((80.0..=120.0).contains(&number(&report, "nacks_answered_percent")), "{report}");
}

#[test]
fn a_publisher_that_stands_still_freezes_every_viewer_though_nothing_is_lost() {
    let stage = Stage::start();
    let mut crowd = stage.watch("3s", &["--viewers", "5"]);
    let crowd = crowd.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    stage.wait_for_viewers(5);
    // Into the measurement, which begins a second after the last join.
    thread::sleep(Duration::from_millis(1_500));

    let publisher = stage.publisher.as_ref().unwrap().id().to_string();
    assert!(Command::new("kill").args(["-STOP", &publisher]).status().unwrap().success());
    let (report, _) = parse(crowd.wait_with_output().unwrap());

    assert_eq!((number(&report, "viewers_connected"), number(&report, "packets_lost")), (5.0, 0.0));
    assert!(number(&report, "packets_received") > 50.0, "{report}");
    assert_eq!(number(&report, "viewers_frozen"), 5.0, "{report}");
}

#[test]
fn every_viewer_opens_its_data_channel_when_it_is_to() {
    let stage = Stage::start();

    let (report, output) = parse(stage.watch("1s", &["--viewers", "5", "--data-channel"]).output().unwrap());

    assert!(output.status.success(), "{}\n{report}", text(&output.stderr));
    assert_eq!(number(&report, "data_channels_open"), 5.0, "{report}");
}

#[test]
fn a_crowd_that_is_asked_to_end_leaves_and_reports() {
    let stage = Stage::start();
    let mut crowd = stage.watch("60s", &["--viewers", "5"]);
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

/// A server with a publisher in its room `show`; both end with it.
struct Stage {
    server: Child,
    publisher: Option<Child>,
    folder: PathBuf,
    url: String,
}

impl Stage {
    fn start() -> Self {
        let folder =
            std::env::temp_dir().join(format!("whep-{}-{:?}", std::process::id(), thread::current().id()));
        fs::create_dir_all(&folder).unwrap();
        let ready = folder.join("ready.json");
        let server = Command::new(server_program())
            .args(["serve", "--http", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--shards", "1", "--ready-file"])
            .arg(&ready)
            .arg("--data-dir")
            .arg(&folder)
            .env("NEARCAST_HTTP__REQUESTS_PER_SECOND", "100000")
            .env("NEARCAST_HTTP__REQUESTS_BURST", "100000")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stage = Self { server, publisher: None, folder, url: String::new() };
        let bound = eventually(|| serde_json::from_slice::<Value>(&fs::read(&ready).ok()?).ok());
        stage.url = format!("http://{}", bound["http"][0].as_str().unwrap());
        stage.publish();
        stage
    }

    fn publish(&mut self) {
        let url = format!("{}/whip/show", self.url);
        let mut publisher = loadtest();
        publisher.args(["whip", "--bitrate", "1M", "--gop", "1s", "--duration", "120s", "--url", &url]);
        self.publisher = Some(publisher.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        eventually(|| (self.room()?["live"] == true).then_some(()));
    }

    /// A crowd that measures for this long; `--pid` at the end gets the server's.
    fn watch(&self, duration: &str, options: &[&str]) -> Command {
        let mut crowd = loadtest();
        let url = format!("{}/whep/show", self.url);
        crowd.args(["whep", "--json", "--warmup", "1s", "--duration", duration, "--url", &url]).args(options);
        if options.last() == Some(&"--pid") {
            crowd.arg(self.server.id().to_string());
        }
        crowd
    }

    fn room(&self) -> Option<Value> {
        let url = format!("{}/api/v1/rooms/show", self.url);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let body = runtime.block_on(async { reqwest::get(url).await.ok()?.text().await.ok() })?;
        serde_json::from_str(&body).ok()
    }

    fn wait_for_viewers(&self, count: u64) {
        eventually(|| (self.room()?["viewers"] == count).then_some(()));
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in self.publisher.iter_mut().chain([&mut self.server]) {
            // It may have ended itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn loadtest() -> Command {
    Command::new(env!("CARGO_BIN_EXE_nearcast-loadtest"))
}

/// The server's program: what `NEARCAST_BIN` names, or that of the same build.
fn server_program() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_nearcast-loadtest")).with_file_name("nearcast");
    let program = std::env::var_os("NEARCAST_BIN").map_or(built, PathBuf::from);
    assert!(program.exists(), "{} is not there: cargo build --bin nearcast first", program.display());
    program
}

/// Waits for what another process does.
fn eventually<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not happen");
        thread::sleep(Duration::from_millis(50));
    }
}

fn parse(output: Output) -> (Value, Output) {
    let Ok(report) = serde_json::from_slice(&output.stdout) else {
        panic!("no report: {}{}", text(&output.stdout), text(&output.stderr));
    };
    (report, output)
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} is not in {value}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
