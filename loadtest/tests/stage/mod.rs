//! A real server with a real publisher, as processes, and how a test reads what a command reports.
#![allow(dead_code, reason = "each test uses its part")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A server with a publisher in its room `show`; both end with it.
pub(crate) struct Stage {
    server: Child,
    publisher: Option<Child>,
    folder: PathBuf,
    pub(crate) url: String,
}

impl Stage {
    pub(crate) fn start() -> Self {
        let folder = std::env::temp_dir().join(format!(
            "loadtest-{}-{:?}",
            std::process::id(),
            thread::current().id()
        ));
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

    /// The server's process.
    pub(crate) fn pid(&self) -> String {
        self.server.id().to_string()
    }

    /// The publisher's process.
    pub(crate) fn publisher(&self) -> String {
        self.publisher.as_ref().unwrap().id().to_string()
    }

    fn room(&self) -> Option<Value> {
        let url = format!("{}/api/v1/rooms/show", self.url);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let body = runtime.block_on(async { reqwest::get(url).await.ok()?.text().await.ok() })?;
        serde_json::from_str(&body).ok()
    }

    pub(crate) fn wait_for_viewers(&self, count: u64) {
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

pub(crate) fn loadtest() -> Command {
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

pub(crate) fn parse(output: Output) -> (Value, Output) {
    let Ok(report) = serde_json::from_slice(&output.stdout) else {
        panic!("no report: {}{}", text(&output.stdout), text(&output.stderr));
    };
    (report, output)
}

pub(crate) fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} is not in {value}"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
