//! The server under test: the real binary in a process of its own, on ports of the kernel's choice.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::http;

/// A running server; killed when dropped, if it has not ended by itself.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) udp: SocketAddr,
}

impl Server {
    /// Starts a server with two shards and waits until it says that it is ready.
    pub(crate) fn start() -> Self {
        Self::start_with(&["--shards", "2"])
    }

    /// Starts a server with these flags besides the addresses.
    pub(crate) fn start_with(flags: &[&str]) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_nearcast")), flags)
    }

    /// Starts a server with two shards from a shell, after this command.
    pub(crate) fn start_after(command: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{command} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_nearcast")]);
        Self::start_by(shell, &["--shards", "2"])
    }

    fn start_by(mut command: Command, flags: &[&str]) -> Self {
        let folder = fresh_folder();
        let ready = folder.join("ready.json");
        let log = File::create(folder.join("log.txt")).unwrap();
        let mut child = command
            .args(["serve", "--http", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--ready-file"])
            .arg(&ready)
            .args(flags)
            .env("NEARCAST_LOG__FILTER", "debug")
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the server's binary starts");

        let deadline = Instant::now() + Duration::from_secs(20);
        let addresses = loop {
            if let Some(found) =
                fs::read_to_string(&ready).ok().and_then(|text| serde_json::from_str(&text).ok())
            {
                break found;
            }
            let ended = child.try_wait().unwrap();
            let log = || fs::read_to_string(folder.join("log.txt")).unwrap_or_default();
            assert!(ended.is_none(), "the server ended at start: {ended:?}\n{}", log());
            assert!(Instant::now() < deadline, "the server was not ready in 20 s\n{}", log());
            sleep(Duration::from_millis(20));
        };
        Self { child, http: address(&addresses, "http"), udp: address(&addresses, "udp"), folder }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub(crate) fn get(&self, path: &str) -> http::Response {
        http::request(self.http, "GET", path, &[], b"")
    }

    /// The sum of all samples of a metric whose labels contain `label`; 0 where there is none.
    pub(crate) fn metric(&self, name: &str, label: &str) -> u64 {
        let text = self.get("/metrics").body;
        let samples = text.lines().filter_map(|line| line.strip_prefix(name));
        let matching = samples.filter(|rest| rest.starts_with([' ', '{']) && rest.contains(label));
        matching.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    /// How many datagrams or packets were dropped for this reason.
    pub(crate) fn drops(&self, reason: &str) -> u64 {
        self.metric("nearcast_drops_total", &format!("reason=\"{reason}\""))
    }

    /// Waits until `condition` holds, or panics with what was waited for and the server's log.
    pub(crate) fn wait_until(&self, what: &str, seconds: u64, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !condition(self) {
            assert!(
                Instant::now() < deadline,
                "waited {seconds} s in vain until {what}\n{}",
                self.log_tail()
            );
            sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a publisher of this room is connected and sends.
    pub(crate) fn wait_live(&self, room: &str) {
        self.wait_until(&format!("room {room} is live"), 15, |server| {
            let response = server.get(&format!("/api/v1/rooms/{room}"));
            response.status == 200 && response.json()["live"] == true
        });
    }

    /// Sends SIGTERM and waits for the end; returns how the process ended and how long it took.
    pub(crate) fn terminate(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill(1) is installed").success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, began.elapsed());
            }
            assert!(
                began.elapsed() < Duration::from_secs(15),
                "still running 15 s after SIGTERM\n{}",
                self.log_tail()
            );
            sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log.txt")).unwrap_or_default()
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Asserts that the process runs and that nothing in it panicked.
    #[track_caller]
    pub(crate) fn assert_sound(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "the server ended: {ended:?}\n{}", self.log_tail());
        assert!(!self.log().contains("panicked at"), "something panicked\n{}", self.log_tail());
        assert_eq!(self.get("/healthz").status, 200);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("the server's log: {}", self.folder.join("log.txt").display());
        }
    }
}

/// A folder of this test run that nothing else uses.
pub(crate) fn fresh_folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("e2e").join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The ready file gives one address or a list of them.
fn address(ready: &serde_json::Value, key: &str) -> SocketAddr {
    let value = &ready[key];
    let text = value.as_str().or_else(|| value[0].as_str());
    text.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no address under {key} in {ready}"))
}
