//! Peers that are programs: found where `make setup` puts them, read line by line, ended by their own handle.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::fresh_folder;

/// A peer's process; killed when dropped, if it has not ended by itself.
#[derive(Debug)]
pub(crate) struct Peer {
    name: String,
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Peer {
    /// One of the scripts in `peers/`, by the Python of `make setup`.
    pub(crate) fn python(script: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(venv("python"));
        command.arg(peers().join(script)).args(arguments);
        Self::spawn(script, command)
    }

    /// One of the scripts in `peers/`, by Node.
    pub(crate) fn node(script: &str, arguments: &[&str]) -> Self {
        assert!(
            peers().join("node_modules").is_dir(),
            "tests/e2e/peers/node_modules is missing: run `make setup`"
        );
        let mut command = Command::new("node");
        command.arg(peers().join(script)).args(arguments);
        Self::spawn(script, command)
    }

    /// ffmpeg 9, publishing a test picture (H.264 baseline, a keyframe each second) and a tone by WHIP.
    pub(crate) fn ffmpeg_publish(url: &str, more: &[&str]) -> Self {
        let mut command = Command::new(ffmpeg());
        command.args(["-hide_banner", "-nostdin", "-loglevel", "info", "-re"]);
        command.args(["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30"]);
        command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
        command.args([
            "-c:v",
            "libx264",
            "-profile:v",
            "baseline",
            "-tune",
            "zerolatency",
            "-preset",
            "ultrafast",
        ]);
        command.args([
            "-b:v", "800k", "-g", "30", "-pix_fmt", "yuv420p", "-c:a", "libopus", "-ac", "2", "-ar", "48000",
        ]);
        command.args(["-f", "whip", "-authorization", "e2e-credential"]).args(more).arg(url);
        Self::spawn("ffmpeg", command)
    }

    /// The load test as a publisher of three VP8 layers, 720p at 2 Mbit/s and two smaller ones, a keyframe each second.
    pub(crate) fn simulcast_publish(url: &str) -> Self {
        Self::load_test(&[
            "whip",
            "--codec",
            "vp8",
            "--simulcast",
            "3",
            "--bitrate",
            "2M",
            "--gop",
            "1s",
            "--duration",
            "300s",
            "--url",
            url,
        ])
    }

    /// The load test with these arguments.
    pub(crate) fn load_test(arguments: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_nearcast")).with_file_name("nearcast-loadtest");
        assert!(
            program.is_file(),
            "there is no load test beside the server: run `cargo build -p nearcast-loadtest`"
        );
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn("nearcast-loadtest", command)
    }

    fn spawn(name: &str, mut command: Command) -> Self {
        let log = fresh_folder().join(format!("{name}.txt"));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} did not start ({error}): run `make setup`"));
        let (sender, lines) = channel();
        let stdout = child.stdout.take().unwrap();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { name: name.to_owned(), child, lines, log }
    }

    /// Waits for the JSON line whose `event` is this one; other lines are passed over.
    pub(crate) fn wait_for(&mut self, event: &str, seconds: u64) -> Value {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let value: Value = serde_json::from_str(&line).unwrap_or_default();
                    if value["event"] == event {
                        return value;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("did not say {event:?} in {seconds} s")),
                Err(RecvTimeoutError::Disconnected) => self.fail(&format!("ended before it said {event:?}")),
            }
        }
    }

    /// Waits for a line of JSON.
    #[track_caller]
    pub(crate) fn wait_json(&mut self, seconds: u64) -> Value {
        match self.lines.recv_timeout(Duration::from_secs(seconds)) {
            Ok(line) => serde_json::from_str(&line)
                .unwrap_or_else(|error| self.fail(&format!("said {line:?}: {error}"))),
            Err(_) => self.fail(&format!("said nothing in {seconds} s")),
        }
    }

    /// Asks the process to end as a person would (SIGINT) and returns whether it ended in time and what it logged.
    pub(crate) fn interrupt(&mut self, seconds: u64) -> (bool, String) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill(1) is installed").success());
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return (true, self.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
        (false, self.log())
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Panics where the process has ended by itself.
    #[track_caller]
    pub(crate) fn assert_running(&mut self) {
        if self.child.try_wait().unwrap().is_some() {
            self.fail("ended by itself");
        }
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        panic!("{} {what}\n{}", self.name, self.log())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/peers")
}

fn venv(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin").join(program);
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    path
}

fn ffmpeg() -> PathBuf {
    let script = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
    let output = Command::new(venv("python")).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "imageio-ffmpeg is missing: run `make setup`");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}
