//! Viewers that come and go: what fails, and what the server does not give back.
//!
//! A first, short round lets the server take what it keeps for good (threads, pools, tables that grew). Then everybody
//! is out, and the server is looked at; the round proper follows, everybody is out again, and what is more then is
//! leaked. All guests are tasks of one thread.

mod report;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rtp::MonoTime;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::bench::scenario::parse_duration;
use crate::clock;
use crate::descriptors;
use crate::guest::{Guest, Join};
use crate::hostile::parse_rate;
use crate::link::{Identity, Profile};
use crate::process::Reading;
use crate::progress::Progress;
use crate::signal::Http;
use crate::stop::Stop;
pub use report::{Memory, Report};

/// `churn`: viewers that come and go.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Exit codes: 0 if nobody failed, no descriptor and no more than --max-leak is missing."
)]
pub struct Arguments {
    /// The WHEP endpoint; somebody must publish there.
    #[arg(long)]
    url: String,
    /// The bearer token, if the server wants one.
    #[arg(long)]
    token: Option<String>,
    /// Joins a second.
    #[arg(long, default_value = "50/s", value_parser = parse_rate)]
    join_rate: f64,
    /// Leaves a second at most [default: as many as joins].
    #[arg(long, value_parser = parse_rate)]
    leave_rate: Option<f64>,
    /// How long each stays once it is connected.
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    hold: Duration,
    /// For how long joins go on.
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    duration: Duration,
    /// The first round, before the server is looked at.
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    warmup: Duration,
    /// How long the server may take to give back, after the last leave.
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    settle: Duration,
    /// The server's process id; without it, nothing is said of memory and descriptors.
    #[arg(long)]
    pid: Option<u32>,
    /// How much more memory than before is still good, in kB a join.
    #[arg(long, default_value_t = 1.0)]
    max_leak: f64,
    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// How many guests may be there at once: those who stay and those who still join, and where fewer leave than join,
    /// those who wait for their turn.
    fn sessions_max(&self) -> u64 {
        let longest = self.duration.max(self.warmup).as_secs_f64();
        let staying = self.join_rate * (self.hold + JOIN_TIME).as_secs_f64();
        let waiting = (self.join_rate - self.leave_rate.unwrap_or(self.join_rate)).max(0.0) * longest;
        // No more than join at all; bounded by the greatest rate and the longest time, and a float that is too large
        // becomes the greatest number.
        (staying + waiting).min(self.join_rate * longest).ceil() as u64
    }
}

/// What all guests of a round share.
struct Round {
    http: Http,
    identity: Arc<Identity>,
    url: String,
    token: Option<String>,
    hold: Duration,
    leave_interval: Duration,
    next_leave: Cell<Instant>,
    report: RefCell<Report>,
}

/// Runs the command.
///
/// # Errors
/// When the server cannot be looked at, somebody failed, or something is leaked.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(arguments.join_rate > 0.0, "nobody would join: --join-rate is zero");
    let stop = Stop::on_signals()?;
    descriptors::raise(arguments.sessions_max())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = LocalSet::new().block_on(&runtime, churn(arguments, &stop))?;

    report.print(arguments.json)?;
    ensure!(report.failed() == 0, "{} viewers failed", report.failed());
    ensure!(report.joined > 0, "nobody joined");
    if let Some(memory) = report.memory {
        ensure!(memory.leaked_descriptors() <= 0, "{} descriptors are leaked", memory.leaked_descriptors());
        let leaked = memory.leaked_kb_per_join(report.joined);
        ensure!(leaked <= arguments.max_leak, "{leaked:.2} kB a join are leaked");
    }
    Ok(())
}

async fn churn(arguments: &Arguments, stop: &Stop) -> anyhow::Result<Report> {
    let identity = Identity::generate(&Profile::CHROMIUM)?;
    let mut memory = None;
    if let Some(pid) = arguments.pid {
        round(arguments, arguments.warmup, &identity, stop).await?;
        sleep(arguments.settle).await;
        memory = Some(Reading::of(pid)?);
    }
    let mut report = round(arguments, arguments.duration, &identity, stop).await?;
    if let (Some(pid), Some(before)) = (arguments.pid, memory) {
        let full = Reading::of(pid)?;
        sleep(arguments.settle).await;
        report.memory = Some(Memory::between(before, Reading::of(pid)?, full));
    }
    Ok(report)
}

/// Joins for that long, then waits until everybody has left; our HTTP connections are closed at its end.
async fn round(
    arguments: &Arguments,
    duration: Duration,
    identity: &Arc<Identity>,
    stop: &Stop,
) -> anyhow::Result<Report> {
    let (begin, began) = (Instant::now(), clock::now());
    let mut progress = Progress::new();
    let round = Rc::new(Round {
        http: Http::new()?,
        identity: Arc::clone(identity),
        url: arguments.url.clone(),
        token: arguments.token.clone(),
        hold: arguments.hold,
        leave_interval: interval(arguments.leave_rate.unwrap_or(arguments.join_rate)),
        next_leave: Cell::new(begin),
        report: RefCell::new(Report::default()),
    });
    let mut guests = Vec::new();
    let mut due = begin;
    while due.duration_since(begin) < duration && !stop.is_asked() {
        sleep_until(due).await;
        guests.push(tokio::task::spawn_local(visit(Rc::clone(&round))));
        due += interval(arguments.join_rate);
        progress.show_time(clock::now(), began, duration, &round.report.borrow().so_far());
    }
    progress.clear();
    for guest in guests {
        guest.await.context("a guest's task ended badly")?;
    }
    let report = round.report.take();
    Ok(report)
}

/// One guest, from its offer to its leave.
async fn visit(round: Rc<Round>) {
    let begin = clock::now();
    let outcome = stay(&round, begin).await;
    let mut report = round.report.borrow_mut();
    match outcome {
        Ok(joined_after) => report.note_joined(joined_after),
        Err(error) => report.note_failed(&error),
    }
}

async fn stay(round: &Round, begin: MonoTime) -> anyhow::Result<Duration> {
    let mut guest = Guest::join(Join {
        http: &round.http,
        url: &round.url,
        token: round.token.clone(),
        tcp: false,
        identity: Arc::clone(&round.identity),
    })
    .await?;
    let joined = connect(&mut guest).await;
    let held = match joined {
        Ok(_) => hold(&mut guest, round).await,
        Err(_) => Ok(()),
    };
    let left = guest.leave(clock::now()).await;
    let joined = joined?;
    held?;
    left.context("cannot leave")?;
    Ok(joined.since(begin))
}

async fn connect(guest: &mut Guest) -> anyhow::Result<MonoTime> {
    loop {
        let now = clock::now();
        guest.turn(now, true);
        if guest.profile().is_some() {
            return Ok(now);
        }
        if let Some(reason) = guest.closed() {
            return Err(reason.into());
        }
        sleep(CONNECT_TURN).await;
    }
}

async fn hold(guest: &mut Guest, round: &Round) -> anyhow::Result<()> {
    let wanted = Instant::now() + round.hold;
    let leave = wanted.max(round.next_leave.get());
    round.next_leave.set(leave + round.leave_interval);
    while Instant::now() < leave {
        guest.turn(clock::now(), true);
        if let Some(reason) = guest.closed() {
            return Err(reason.into());
        }
        sleep_until(leave.min(Instant::now() + HOLD_TURN)).await;
    }
    Ok(())
}

fn interval(rate: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / rate).unwrap_or(INTERVAL_MAX).min(INTERVAL_MAX)
}

/// Longer than ICE and DTLS wait.
const JOIN_TIME: Duration = Duration::from_secs(20);
const CONNECT_TURN: Duration = Duration::from_millis(4);
const HOLD_TURN: Duration = Duration::from_millis(20);
/// A rate of zero a second is one a minute here, so that a run ends.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

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
    fn descriptors_are_wanted_for_those_who_are_there_at_once() {
        let sessions = |options: &[&str]| {
            let line = ["churn", "--url", "http://h/", "--join-rate", "50/s"].iter().chain(options);
            Line::parse_from(line).arguments.sessions_max()
        };

        assert_eq!(sessions(&["--hold", "2s", "--duration", "1000s"]), 50 * 22);
        assert_eq!(sessions(&["--hold", "2s", "--duration", "10s"]), 50 * 10);
        assert_eq!(
            sessions(&["--hold", "2s", "--duration", "100s", "--leave-rate", "20/s"]),
            50 * 22 + 30 * 100
        );
    }

    #[test]
    fn the_interval_of_a_rate_is_never_endless() {
        assert_eq!(interval(50.0), Duration::from_millis(20));
        assert_eq!(interval(0.0), INTERVAL_MAX);
        assert_eq!(interval(1e-300), INTERVAL_MAX);
    }
}
