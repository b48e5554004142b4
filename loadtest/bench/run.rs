//! One run of a scenario: a server, a publisher, a crowd, perhaps somebody hostile, and the figures they report.
//!
//! The crowd's process is the clock: it joins, warms up, measures and leaves, and everything else lives around it.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::affinity::{self, Split};
use super::child::{Child, Spec};
use super::figures::Figures;
use super::http;
use super::scenario::{self, Scenario};
use super::server::{Server, Source, shard_spread_percent};
use crate::stop::Stop;

/// What every run of one `bench` has in common.
#[derive(Debug, Clone)]
pub struct Rig {
    /// The server under test.
    pub source: Source,
    /// This program.
    pub loadtest: PathBuf,
    /// Who runs where.
    pub split: Split,
    /// Whether the publisher goes before the other load: a frame that it sends late, together with others, would look
    /// like a delay of the server.
    pub publisher_first: bool,
    /// For the files of the children.
    pub folder: PathBuf,
    /// Ends everything, children first.
    pub stop: Stop,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The viewers who were asked for.
    pub viewers: u32,
    /// What was measured.
    pub figures: Figures,
    /// The lines that start the same by hand.
    pub commands: Vec<String>,
}

/// The processes of one run, in the order in which they end.
struct Cast {
    crowd: Child,
    hostile: Option<Child>,
    publisher: Child,
    server: Server,
}

impl Rig {
    /// Runs the scenario with that many viewers.
    ///
    /// # Errors
    /// When a process does not start, ends early, or gives no report.
    pub fn run(&self, scenario: &Scenario, viewers: u32) -> anyhow::Result<Outcome> {
        ensure!(!self.stop.is_asked(), "asked to stop");
        let mut cast = self.start(scenario, viewers)?;
        let mut figures = Figures::default();
        self.watch(&mut cast, scenario, viewers, &mut figures)?;
        if scenario.viewers.next_join {
            self.reopen(&cast.server.endpoints().whep, &mut figures)?;
        }
        let commands = cast.commands();
        cast.end(&mut figures)?;
        figures.derive(self.split.load.len());
        Ok(Outcome { viewers, figures, commands })
    }

    fn start(&self, scenario: &Scenario, viewers: u32) -> anyhow::Result<Cast> {
        let mut server = Server::start(&self.source, &scenario.server, &self.split, &self.folder)?;
        let mut publisher = self.load("whip", whip_arguments(scenario, viewers, &server)?)?;
        server.wait_until_live(rooms(&scenario.publisher.options)).map_err(|error| {
            let ended = publisher.must_run().err();
            ended.unwrap_or(error)
        })?;
        server.must_run()?;
        publisher.must_run()?;
        let hostile = if scenario.hostile.count > 0 {
            Some(self.load("hostile", hostile_arguments(scenario, viewers, &server)?)?)
        } else {
            None
        };
        let crowd = self.load("whep", whep_arguments(scenario, viewers, &server)?)?;
        Ok(Cast { crowd, hostile, publisher, server })
    }

    fn load(&self, command: &str, arguments: Vec<String>) -> anyhow::Result<Child> {
        let plain = self.loadtest.to_string_lossy();
        // A hostile one that waits for the other load makes up for it in bursts of milliseconds, which no network does.
        let first = match command {
            "whip" if self.publisher_first => &affinity::FIRST[..],
            "hostile" if self.publisher_first => &affinity::SECOND[..],
            _ => &[],
        };
        let words = first.iter().copied().chain([plain.as_ref(), command]).map(str::to_owned);
        let mut words = words.chain(arguments);
        let program = words.next().unwrap_or_default();
        Child::start(&Spec {
            name: command,
            program: Path::new(&program),
            arguments: words.collect(),
            env: Vec::new(),
            cores: &self.split.load,
            folder: &self.folder,
        })
    }

    /// Waits for the crowd, and looks at the server in the middle of the measurement.
    fn watch(
        &self,
        cast: &mut Cast,
        scenario: &Scenario,
        viewers: u32,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        let begin = Instant::now();
        let middle = joining(scenario, viewers) + scenario.warm_up + scenario.duration / 2;
        let mut looked = false;
        while cast.crowd.ended()?.is_none() {
            let passed = begin.elapsed();
            ensure!(!self.stop.is_asked(), "asked to stop");
            cast.server.must_run()?;
            match scenario.publisher.leaves_after {
                Some(leaves) if passed >= leaves => {
                    cast.publisher.end(PATIENCE)?;
                }
                _ => cast.publisher.must_run()?,
            }
            if passed >= middle && !looked {
                looked = true;
                look(&cast.server, scenario, figures)?;
            }
            ensure!(
                passed < whole(scenario, viewers) + SLACK,
                "whep did not end: {}",
                cast.crowd.last_words()
            );
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Tries one join after the other until one is let in, now that the crowd has left: who refuses must take people
    /// again when there is room.
    fn reopen(&self, whep: &str, figures: &mut Figures) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            ensure!(!self.stop.is_asked(), "asked to stop");
            let response = try_join(whep)?;
            figures.set("reopened.status", f64::from(response.status));
            figures.set("reopened.after_s", begin.elapsed().as_secs_f64());
            if response.status == CREATED || begin.elapsed() >= REOPEN_LIMIT {
                return Ok(());
            }
            thread::sleep(REOPEN_INTERVAL);
        }
    }
}

impl Cast {
    fn commands(&self) -> Vec<String> {
        let hostile = self.hostile.as_ref().map(Child::command_line);
        let children = [self.server.command_line(), Some(self.publisher.command_line()), hostile];
        children.into_iter().flatten().chain([self.crowd.command_line()]).map(str::to_owned).collect()
    }

    /// Ends everybody and takes the reports in.
    fn end(mut self, figures: &mut Figures) -> anyhow::Result<()> {
        figures.extend("", &Figures::of_report(&self.crowd.report()?));
        if let Some(hostile) = &mut self.hostile {
            hostile.end(PATIENCE)?;
            figures.extend("hostile.", &Figures::of_report(&hostile.report()?));
        }
        self.publisher.end(PATIENCE)?;
        figures.extend("publisher.", &Figures::of_report(&self.publisher.report()?));
        self.server.end()
    }
}

fn look(server: &Server, scenario: &Scenario, figures: &mut Figures) -> anyhow::Result<()> {
    let metrics = server.metrics();
    if let Some(spread) = shard_spread_percent(&metrics) {
        figures.set("shard_viewers_spread_percent", spread);
    }
    for (name, value) in metrics.iter().filter(|(_, value)| **value != 0.0) {
        figures.set(&format!("metrics.{name}"), *value);
    }
    if scenario.viewers.next_join {
        next_join(&server.endpoints().whep, figures)?;
    }
    Ok(())
}

/// Tries one more join and keeps how it was refused.
fn next_join(whep: &str, figures: &mut Figures) -> anyhow::Result<()> {
    let response = try_join(whep)?;
    figures.set("next_join.status", f64::from(response.status));
    if let Some(seconds) = response.header("retry-after").and_then(|seconds| seconds.parse().ok()) {
        figures.set("next_join.retry_after_s", seconds);
    }
    let problem: serde_json::Value = serde_json::from_str(&response.body).unwrap_or_default();
    let has_reason =
        problem.get("title").and_then(serde_json::Value::as_str).is_some_and(|text| !text.is_empty());
    figures.set("next_join.has_reason", f64::from(u8::from(has_reason)));
    Ok(())
}

/// Tries to join; who is let in leaves again.
fn try_join(whep: &str) -> anyhow::Result<http::Response> {
    let offer = include_str!("next-join.sdp").replace('\n', "\r\n");
    let response = http::post_offer(whep, &offer)?;
    if let Some(location) = response.header("location") {
        http::delete(&format!("{}{location}", http::origin(whep)?))?;
    }
    Ok(response)
}

fn whip_arguments(scenario: &Scenario, viewers: u32, server: &Server) -> anyhow::Result<Vec<String>> {
    let own = [
        ("url", in_rooms(&server.endpoints().whip, &scenario.publisher.options)),
        ("duration", text(whole(scenario, viewers) + SLACK * 2)),
        ("json", String::new()),
    ];
    with_options(&own, &scenario.publisher.options)
}

fn whep_arguments(scenario: &Scenario, viewers: u32, server: &Server) -> anyhow::Result<Vec<String>> {
    let endpoints = server.endpoints();
    let mut own = vec![
        ("url", in_rooms(&endpoints.whep, &scenario.viewers.options)),
        ("viewers", viewers.to_string()),
        ("join-rate", format!("{}/s", scenario.viewers.join_rate)),
        ("warmup", text(scenario.warm_up)),
        ("duration", text(scenario.duration)),
        ("json", String::new()),
    ];
    if let Some(pid) = endpoints.pid {
        own.push(("pid", pid.to_string()));
    }
    with_options(&own, &scenario.viewers.options)
}

fn hostile_arguments(scenario: &Scenario, viewers: u32, server: &Server) -> anyhow::Result<Vec<String>> {
    let own = [
        ("url", server.endpoints().whep.clone()),
        ("viewers", scenario.hostile.count.to_string()),
        ("duration", text(whole(scenario, viewers) + SLACK * 2)),
        ("json", String::new()),
    ];
    with_options(&own, &scenario.hostile.options)
}

/// How many rooms a command is told to use.
fn rooms(options: &scenario::Options) -> u32 {
    let rooms = options.get("rooms").and_then(toml::Value::as_integer);
    rooms.and_then(|rooms| u32::try_from(rooms).ok()).unwrap_or(1)
}

/// The URL of one room, or of each of several.
fn in_rooms(url: &str, options: &scenario::Options) -> String {
    if rooms(options) > 1 { format!("{url}-{{room}}") } else { url.to_owned() }
}

fn with_options(own: &[(&str, String)], options: &scenario::Options) -> anyhow::Result<Vec<String>> {
    let twice = own.iter().find(|(name, _)| options.contains_key(*name));
    ensure!(twice.is_none(), "the option {} is not a scenario's to set", twice.map_or("", |(name, _)| name));
    let mut arguments = Vec::new();
    for (name, value) in own {
        arguments.push(format!("--{name}"));
        if !value.is_empty() {
            arguments.push(value.clone());
        }
    }
    arguments.extend(scenario::arguments(options)?);
    Ok(arguments)
}

fn joining(scenario: &Scenario, viewers: u32) -> Duration {
    Duration::from_secs_f64(f64::from(viewers) / f64::from(scenario.viewers.join_rate.max(1)))
}

/// From the first join to the last leave, if all goes as it should.
pub fn whole(scenario: &Scenario, viewers: u32) -> Duration {
    joining(scenario, viewers) + scenario.warm_up + scenario.duration
}

fn text(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// Makes an empty folder for the files of one `bench`.
///
/// # Errors
/// When it cannot be made.
pub fn folder() -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("nearcast-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The `nearcast` that a working tree's release build leaves.
pub fn default_server() -> PathBuf {
    Path::new("target/release/nearcast").to_path_buf()
}

/// For a process that was asked to end and has sessions to end first.
const PATIENCE: Duration = Duration::from_secs(15);
/// For joins slower than asked, and for leaving. Who lives around the crowd gets it twice.
const SLACK: Duration = Duration::from_secs(90);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Longer than any mean of the load that admission may go by.
const REOPEN_LIMIT: Duration = Duration::from_secs(20);
const REOPEN_INTERVAL: Duration = Duration::from_millis(200);
/// A session was made (RFC 9725 §4.2).
const CREATED: u16 = 201;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_the_bench_sets_itself_is_not_an_option_of_a_scenario() {
        let own = [("url", "http://h/".to_owned()), ("json", String::new())];
        let option = |name: &str| BTreeMap::from([(name.to_owned(), toml::Value::Integer(3))]);

        let arguments = with_options(&own, &option("fps")).unwrap();

        assert_eq!(arguments, ["--url", "http://h/", "--json", "--fps", "3"]);
        assert!(with_options(&own, &option("url")).is_err());
    }

    #[test]
    fn joins_are_tried_until_one_is_let_in_and_leaves() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let whep = format!("http://{}/whep/x", listener.local_addr().unwrap());
        let refused = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n";
        let answers =
            [refused, refused, "HTTP/1.1 201 Created\r\nLocation: /s/1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"];
        let server = thread::spawn(move || answers.map(|answer| answer_one(&listener, answer)));
        let mut figures = Figures::default();

        rig().reopen(&whep, &mut figures).unwrap();

        assert_eq!(figures.get("reopened.status"), Some(201.0));
        assert!(figures.get("reopened.after_s").is_some_and(|seconds| seconds > 0.0));
        let asked = server.join().unwrap();
        assert_eq!(asked, ["POST /whep/x", "POST /whep/x", "POST /whep/x", "DELETE /s/1"]);
    }

    #[test]
    fn overload_must_end_in_open_doors() {
        let scenario = Scenario::load("overload").unwrap();

        let reopened = scenario.targets.iter().find(|target| target.figure == "reopened.status").unwrap();

        assert_eq!((reopened.at_least, reopened.at_most), (Some(201.0), Some(201.0)));
    }

    /// Answers one request, and returns its method and path.
    fn answer_one(listener: &TcpListener, answer: &str) -> String {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = String::new();
        let mut buffer = [0; 4_096];
        let is_whole = |request: &str| {
            let (head, body) = request.split_once("\r\n\r\n")?;
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
            (body.len() >= length.parse().ok()?).then_some(())
        };
        while is_whole(&request).is_none() {
            let count = socket.read(&mut buffer).unwrap();
            request.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        socket.write_all(answer.as_bytes()).unwrap();
        request.split(" HTTP/").next().unwrap().to_owned()
    }

    fn rig() -> Rig {
        Rig {
            source: Source::Program(PathBuf::new()),
            loadtest: PathBuf::new(),
            split: Split { server: vec![0], load: vec![0] },
            publisher_first: false,
            folder: PathBuf::new(),
            stop: Stop::default(),
        }
    }

    #[test]
    fn a_run_lasts_as_long_as_joining_warming_up_and_measuring() {
        let scenario = Scenario::load("joins").unwrap();

        assert_eq!(joining(&scenario, 3_000), Duration::from_secs(10));
        assert_eq!(whole(&scenario, 3_000), Duration::from_secs(16));
    }
}
