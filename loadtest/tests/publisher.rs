//! The publisher as people run it, against a WHIP server of another project's stack, which decodes what comes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end its process"
)]

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

#[test]
fn another_stack_decodes_every_frame_though_packets_are_lost_on_the_way() {
    for codec in ["h264", "vp8"] {
        let mut receiver = Receiver::start(&["40"]);

        let sent =
            receiver.publish(&["--codec", codec, "--bitrate", "1.5M", "--gop", "20s", "--duration", "5s"]);
        let decoded = receiver.done();

        println!("{codec}: {sent}\n{decoded}");
        assert_eq!(decoded["complaints"], json!([]), "{codec}");
        assert_eq!(decoded["sizes"], json!([[1280, 720]]), "{codec}");
        // The last frame waits for a packet of the next one; the sound's buffer holds four packets back.
        assert!(number(&decoded["frames"]["video"]) + 4 >= number(&sent["frames_sent"]), "{codec}");
        assert!(number(&decoded["frames"]["audio"]) >= 240, "{codec}");
        assert!(number(&sent["retransmissions_sent"]) >= 10, "{codec}");
        assert_eq!(sent["retransmissions_sent"], sent["nacks_received"], "{codec}");
    }
}

#[test]
fn a_keyframe_comes_for_each_request_unless_requests_are_ignored() {
    let asking = ["--gop", "20s", "--bitrate", "600k", "--duration", "4500ms"];
    let mut receiver = Receiver::start(&[]);
    let heeding = receiver.publish(&asking);
    let mut receiver = Receiver::start(&[]);
    let ignoring = receiver.publish(&[&asking[..], &["--ignore-pli"]].concat());

    assert!(number(&heeding["plis_received"]) >= 3, "{heeding}");
    // One to begin with; the last request may come too late for a frame.
    let late = number(&heeding["plis_received"]) + 1 - number(&heeding["keyframes_sent"]);
    assert!(late <= 1, "{heeding}");
    assert!(number(&ignoring["plis_received"]) >= 3, "{ignoring}");
    assert_eq!(number(&ignoring["keyframes_sent"]), 1);
}

#[test]
fn a_publisher_that_is_asked_to_end_leaves_and_reports() {
    let mut receiver = Receiver::start(&[]);
    let mut publisher = receiver.publisher(&["--codec", "opus", "--duration", "60s"]).spawn().unwrap();
    receiver.wait_for("connected");

    let pid = Pid::from_raw(publisher.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    receiver.done();

    let output = wait(&mut publisher);
    assert_eq!(output["connected"], true);
    assert!(publisher.wait().unwrap().success());
}

#[test]
fn a_server_that_takes_one_layer_of_three_fails_the_command() {
    let receiver = Receiver::start(&[]);

    let output = receiver.publisher(&["--simulcast", "3", "--duration", "1s"]).output().unwrap();

    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("asked for the layers q, h, f"), "{complaint}");
}

#[test]
fn a_server_that_is_not_there_fails_the_command() {
    let output = Command::new(env!("CARGO_BIN_EXE_nearcast-loadtest"))
        .args(["whip", "--url", "http://127.0.0.1:1/whip/room"])
        .output()
        .unwrap();

    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: http: no response"));
}

/// The WHIP server, ended with the test.
struct Receiver {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Receiver {
    fn start(arguments: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = folder.join("../target/venv/bin/python");
        assert!(python.exists(), "aiortc is missing: run `make setup`");
        let mut process = Command::new(python)
            .arg(folder.join("tests/aiortc_receiver.py"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut receiver = Self { process, lines, url: String::new() };
        receiver.url = receiver.wait_for("listening")["url"].as_str().unwrap().to_owned();
        receiver
    }

    fn publisher(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nearcast-loadtest"));
        command.args(["whip", "--json", "--url", &self.url]).args(options).stdout(Stdio::piped());
        command
    }

    /// Publishes to the end and returns the publisher's report.
    fn publish(&mut self, options: &[&str]) -> Value {
        let output = self.publisher(options).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn done(&mut self) -> Value {
        self.wait_for("done")
    }

    fn wait_for(&mut self, event: &str) -> Value {
        for line in &mut self.lines {
            let said: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if said["event"] == event {
                return said;
            }
        }
        panic!("the receiver ended before {event}");
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn wait(publisher: &mut Child) -> Value {
    let begin = Instant::now();
    while publisher.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(10), "the publisher does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    serde_json::from_reader(publisher.stdout.take().unwrap()).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}
