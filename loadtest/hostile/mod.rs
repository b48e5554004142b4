//! Viewers that misbehave: what one of them costs the others is for `whep` to measure beside them.
//!
//! Each joins like any viewer, so that the server owes it something, and then does the one thing of its [`Kind`] at the
//! asked rate. All run in one thread by short turns: a flood needs no precise pacing.

mod flood;
mod report;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use rtp::MonoTime;

use crate::bench::scenario::parse_duration;
use crate::clock;
use crate::guest::{Guest, Join};
use crate::link::{Identity, Profile};
use crate::progress::Progress;
use crate::signal::Http;
use crate::stop::Stop;
use flood::Flood;

/// `hostile`: viewers that misbehave.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// The WHEP endpoint.
    #[arg(long)]
    url: String,
    /// The bearer token, if the server wants one.
    #[arg(long)]
    token: Option<String>,
    /// What they do.
    #[arg(long)]
    kind: Kind,
    /// How much of it each of them does in a second, such as 5000/s; of no meaning for a slow reader.
    #[arg(long, default_value = "5000/s", value_parser = parse_rate)]
    rate: f64,
    /// How many they are.
    #[arg(long, default_value_t = 1)]
    viewers: u32,
    /// Join by ICE-TCP on the URL's own host and port, where the server has it: only there does a slow reader make
    /// the server wait.
    #[arg(long)]
    tcp: bool,
    /// For how long.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    duration: Duration,
    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// A way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Asks for packets again that came; the rate counts sequence numbers.
    NackFlood,
    /// Asks for keyframes; the rate counts requests.
    PliFlood,
    /// Sends receiver reports; the rate counts datagrams.
    RtcpFlood,
    /// Stops reading once it is connected.
    SlowReader,
    /// Sends random bytes that look like STUN, DTLS, RTP, RTCP and nothing, half of them from its own validated address
    /// and half from a stranger's; the rate counts datagrams.
    Garbage,
}

/// What all of them did.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Report {
    /// Viewers who connected.
    pub connected: u32,
    /// Viewers who did not, or whose session ended before it was asked to.
    pub ended_early: u32,
    /// What was sent, as the rate counts.
    pub sent: u64,
    /// The same a second, from the first who connected on.
    pub sent_per_s: f64,
    /// Packets of media that came and were read.
    pub packets_received: u64,
}

/// Runs the command.
///
/// # Errors
/// When somebody could not join or not stay, or less was sent than was asked for.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let stop = Stop::on_signals()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let identity = Identity::generate(&Profile::CHROMIUM)?;
    let http = Http::new()?;
    let mut sessions = Vec::new();
    for _ in 0..arguments.viewers {
        let join = Join {
            http: &http,
            url: &arguments.url,
            token: arguments.token.clone(),
            tcp: arguments.tcp,
            identity: Arc::clone(&identity),
        };
        sessions.push(runtime.block_on(Guest::join(join)).context("cannot join")?);
    }

    let report = misbehave(arguments, &mut sessions, &stop)?;

    for session in sessions {
        // The server may have thrown it out, which is its good right.
        let _ = runtime.block_on(session.leave(clock::now()));
    }
    report::print(arguments.kind, &report, arguments.json)?;
    judge(&report, arguments)
}

/// Says what of the asked was not reached.
fn judge(report: &Report, arguments: &Arguments) -> anyhow::Result<()> {
    let (asked, connected, ended) = (arguments.viewers, report.connected, report.ended_early);
    ensure!(connected == asked, "{connected} of {asked} viewers connected");
    ensure!(ended == 0, "{ended} of {asked} sessions ended before they were asked to");
    if arguments.kind != Kind::SlowReader {
        let (sent, wanted) = (report.sent_per_s, arguments.rate * f64::from(asked));
        ensure!(sent >= wanted * SENT_SHARE_MIN, "sent {sent:.0}/s, and {wanted:.0}/s were asked for");
    }
    Ok(())
}

fn misbehave(arguments: &Arguments, sessions: &mut [Guest], stop: &Stop) -> anyhow::Result<Report> {
    let begin = clock::now();
    let mut floods: Vec<Flood> = Vec::new();
    for _ in 0..sessions.len() {
        floods.push(Flood::new(arguments.kind, arguments.rate)?);
    }
    let mut progress = Progress::new();
    loop {
        let now = clock::now();
        progress.show_time(now, begin, arguments.duration, "misbehaving");
        if stop.is_asked() || now.since(begin) >= arguments.duration {
            progress.clear();
            return Ok(report(sessions, &floods, begin, now));
        }
        for (session, flood) in sessions.iter_mut().zip(&mut floods) {
            let reads = arguments.kind != Kind::SlowReader || session.profile().is_none();
            session.turn(now, reads);
            flood.turn(now, session);
        }
        thread::sleep(TURN);
    }
}

fn report(sessions: &[Guest], floods: &[Flood], begin: MonoTime, now: MonoTime) -> Report {
    let count = |predicate: fn(&&Guest) -> bool| {
        u32::try_from(sessions.iter().filter(predicate).count()).unwrap_or(u32::MAX)
    };
    let sent: u64 = floods.iter().map(Flood::sent).sum();
    let begin = floods.iter().filter_map(Flood::began).min().unwrap_or(begin);
    Report {
        connected: count(|session| session.profile().is_some()),
        ended_early: count(|session| session.closed().is_some() || session.profile().is_none()),
        sent,
        sent_per_s: sent as f64 / now.since(begin).as_secs_f64().max(0.001),
        packets_received: sessions.iter().map(Guest::packets_received).sum(),
    }
}

pub(crate) fn parse_rate(text: &str) -> anyhow::Result<f64> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let rate: f64 = number.parse().with_context(|| format!("not a rate: {text:?}; write it as 5000/s"))?;
    ensure!(rate.is_finite() && (0.0..=RATE_MAX).contains(&rate), "a rate is 0/s to {RATE_MAX}/s");
    Ok(rate)
}

/// Short against a frame, long against a system call.
const TURN: Duration = Duration::from_millis(2);
/// What is less is another flood than was asked for; what is missing are the first packets, before there is media.
const SENT_SHARE_MIN: f64 = 0.9;
/// No machine sends more from one thread.
const RATE_MAX: f64 = 1e7;

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn each_thing_that_was_not_reached_is_said() {
        let line = ["hostile", "--url", "http://h/", "--viewers", "2", "--rate", "1000/s", "--kind"];
        let arguments = |kind| Line::parse_from(line.iter().chain(&[kind])).arguments;
        let good = Report { connected: 2, sent: 19_000, sent_per_s: 1_900.0, ..Report::default() };
        let said = |report| judge(&report, &arguments("garbage")).map_err(|error| error.to_string());

        assert_eq!(said(good), Ok(()));
        assert_eq!(said(Report { connected: 1, ..good }).unwrap_err(), "1 of 2 viewers connected");
        assert!(said(Report { ended_early: 1, ..good }).unwrap_err().starts_with("1 of 2 sessions ended"));
        let little = Report { sent_per_s: 1_700.0, ..good };
        assert_eq!(said(little).unwrap_err(), "sent 1700/s, and 2000/s were asked for");
        assert!(judge(&little, &arguments("slow-reader")).is_ok(), "it sends nothing");
    }

    #[test]
    fn a_rate_is_a_number_a_second() {
        assert!((parse_rate("200000/s").unwrap() - 200_000.0).abs() < 1e-9);
        assert!((parse_rate("2.5").unwrap() - 2.5).abs() < 1e-9);
        for bad in ["", "x/s", "-1/s", "5/m", "inf", "1e300/s"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }
}
