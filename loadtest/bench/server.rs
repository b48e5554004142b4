//! The server under test: one that we start for a scenario, or one of anybody's that runs already.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::affinity::Split;
use super::child::{Child, Spec};
use super::http;
use super::scenario;

/// Where the server comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A `nearcast` to start anew for each run.
    Program(PathBuf),
    /// A server that runs already, whoever made it.
    Running(Endpoints),
}

/// Where to publish and to watch, and which process to charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The WHIP endpoint.
    pub whip: String,
    /// The WHEP endpoint.
    pub whep: String,
    /// The server's process id; without it, nothing about CPU and memory is measured.
    pub pid: Option<u32>,
}

/// A server that takes requests; ours ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    endpoints: Endpoints,
    child: Option<Child>,
}

/// What `--ready-file` says.
#[derive(Debug, Deserialize)]
struct Ready {
    http: Vec<String>,
}

impl Endpoints {
    /// The endpoints of a `nearcast` at `base` (`http://host:port`).
    pub fn of_ours(base: &str, pid: Option<u32>) -> Self {
        let base = base.trim_end_matches('/');
        Self { whip: format!("{base}/whip/{ROOM}"), whep: format!("{base}/whep/{ROOM}"), pid }
    }
}

impl Server {
    /// Starts the server as the scenario says, and waits until it takes requests; or takes the running one.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(
        source: &Source,
        wanted: &scenario::Server,
        split: &Split,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let program = match source {
            Source::Program(program) => program,
            Source::Running(endpoints) => return Ok(Self { endpoints: endpoints.clone(), child: None }),
        };
        let every_core: Vec<usize> = split.server.iter().chain(&split.load).copied().collect();
        let ready_file = folder.join("ready.json");
        let _ = fs::remove_file(&ready_file);
        let mut child = Child::start(&Spec {
            name: "server",
            program,
            arguments: arguments(wanted, &ready_file, folder),
            env: wanted.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            cores: if wanted.every_core { &every_core } else { &split.server },
            folder,
        })?;
        let base = wait_until_ready(&mut child, &ready_file)?;
        let endpoints = Endpoints::of_ours(&base, Some(child.pid()));
        Ok(Self { endpoints, child: Some(child) })
    }

    /// Where it is.
    pub const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The line that starts it by hand, if we started it.
    pub fn command_line(&self) -> Option<&str> {
        self.child.as_ref().map(Child::command_line)
    }

    /// Complains if it has ended.
    ///
    /// # Errors
    /// When it has ended, with its last words.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        self.child.as_mut().map_or(Ok(()), Child::must_run)
    }

    /// Waits until somebody publishes. What another server answers here is not known, so it gets some time instead.
    ///
    /// # Errors
    /// When nobody does for a while.
    pub fn wait_until_live(&self, rooms: u32) -> anyhow::Result<()> {
        if self.child.is_none() {
            thread::sleep(HEAD_START);
            return Ok(());
        }
        let room = if rooms > 1 { format!("{ROOM}-{}", rooms - 1) } else { ROOM.to_owned() };
        let url = format!("{}/r/{room}", http::origin(&self.endpoints.whip)?);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let body = http::get(&url)?.body;
            let document: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            if document.get("live").and_then(serde_json::Value::as_bool) == Some(true) {
                return Ok(());
            }
            thread::sleep(LOOK_INTERVAL);
        }
        bail!("nobody published within {PATIENCE:?}")
    }

    /// The server's own metrics by name and labels, if it has any.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let page =
            http::origin(&self.endpoints.whep).and_then(|origin| http::get(&format!("{origin}/metrics")));
        page.map(|page| metrics(&page.body)).unwrap_or_default()
    }

    /// Ends it, if it is ours.
    ///
    /// # Errors
    /// When it does not end when asked.
    pub fn end(mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.child {
            let status = child.end(PATIENCE)?;
            anyhow::ensure!(status.success(), "the server ended with {status}: {}", child.last_words());
        }
        Ok(())
    }
}

/// By how much the fullest shard is above the emptiest, against the mean; nothing where there are not two.
pub fn shard_spread_percent(metrics: &BTreeMap<String, f64>) -> Option<f64> {
    let of_shards = metrics.iter().filter(|(name, _)| name.starts_with(SHARD_VIEWERS));
    let viewers: Vec<f64> = of_shards.map(|(_, viewers)| *viewers).collect();
    let mean = viewers.iter().sum::<f64>() / f64::from(u32::try_from(viewers.len()).ok()?);
    let most = viewers.iter().copied().fold(f64::MIN, f64::max);
    let least = viewers.iter().copied().fold(f64::MAX, f64::min);
    (viewers.len() > 1).then(|| (most - least) / mean * 100.0)
}

fn arguments(wanted: &scenario::Server, ready_file: &Path, folder: &Path) -> Vec<String> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let own = ["serve", "--http", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--shards"];
    let shards = wanted.shards.unwrap_or(1).to_string();
    let files = ["--ready-file".to_owned(), path(ready_file), "--data-dir".to_owned(), path(folder)];
    own.map(str::to_owned).into_iter().chain([shards]).chain(files).chain(wanted.arguments.clone()).collect()
}

fn wait_until_ready(child: &mut Child, ready_file: &Path) -> anyhow::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        child.must_run()?;
        let text = fs::read_to_string(ready_file).unwrap_or_default();
        if let Ok(Ready { http }) = serde_json::from_str(&text) {
            let address = http.first().context("the server listens nowhere")?;
            return Ok(format!("http://{address}"));
        }
        thread::sleep(LOOK_INTERVAL);
    }
    bail!("the server was not ready within {PATIENCE:?}: {}", child.last_words())
}

/// Reads the exposition format of Prometheus, without its comments.
fn metrics(page: &str) -> BTreeMap<String, f64> {
    let samples = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

/// The room of every run.
pub const ROOM: &str = "bench";
/// A gauge with a label `shard`.
const SHARD_VIEWERS: &str = "nearcast_shard_viewers{";
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
const HEAD_START: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_of_each_shard_are_read_from_the_metrics() {
        let metrics = metrics(
            "# TYPE nearcast_shard_viewers gauge\nnearcast_shard_viewers{shard=\"0\"} 90\n\
             nearcast_shard_viewers{shard=\"1\"} 110\nnearcast_shard_viewers_total 5\nnearcast_x 0\n",
        );

        assert_eq!(shard_spread_percent(&metrics), Some(20.0));
        assert_eq!(metrics.get("nearcast_shard_viewers_total"), Some(&5.0));
        assert_eq!(metrics.get("nearcast_x"), Some(&0.0));
        assert_eq!(shard_spread_percent(&BTreeMap::new()), None);
    }

    #[test]
    fn a_server_is_started_with_the_scenarios_shards_and_arguments() {
        let wanted = scenario::Server {
            shards: Some(2),
            arguments: vec!["--gso".to_owned(), "off".to_owned()],
            ..scenario::Server::default()
        };

        let arguments = arguments(&wanted, Path::new("/x/ready.json"), Path::new("/x")).join(" ");

        assert_eq!(
            arguments,
            "serve --http 127.0.0.1:0 --udp 127.0.0.1:0 --shards 2 --ready-file /x/ready.json --data-dir /x \
             --gso off"
        );
    }

    #[test]
    fn a_program_that_is_no_server_is_told_of_at_once() {
        let folder = std::env::temp_dir().join(format!("nearcast-no-server-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let source = Source::Program(PathBuf::from("/bin/false"));
        let split = Split::of(&super::super::affinity::allowed().unwrap());

        let error = Server::start(&source, &scenario::Server::default(), &split, &folder).unwrap_err();

        assert!(error.to_string().contains("ended early"), "{error:#}");
        fs::remove_dir_all(folder).unwrap();
    }
}
