//! `bench`: the standard scenarios, or some of them, or your own, as one table.

use std::fs;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::affinity::{self, Split};
use super::conditions::Conditions;
use super::figures::{Figures, Verdict};
use super::limit::{self, Limits, Receiver};
use super::run::{self, Outcome, Rig};
use super::scenario::Scenario;
use super::server::{Endpoints, Source};
use super::table::{self, Result as Row};
use crate::stop::Stop;

/// `bench`: starts a server, loads it as the scenarios say, prints what was reached.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Exit codes: 0 if every target is reached, 1 if one is missed or could not be measured."
)]
pub struct Arguments {
    /// Only these scenarios: names of standard ones, or TOML files.
    #[arg(long, value_name = "NAME|FILE", num_args = 1.., value_delimiter = ',')]
    only: Vec<String>,
    /// The server to start [default: target/release/nearcast].
    #[arg(long, value_name = "PATH", conflicts_with_all = ["url", "whip", "whep"])]
    server: Option<PathBuf>,
    /// A nearcast that runs already, as http://HOST:PORT.
    #[arg(long, conflicts_with_all = ["whip", "whep"])]
    url: Option<String>,
    /// The WHIP endpoint of any server that runs already.
    #[arg(long, value_name = "URL", requires = "whep")]
    whip: Option<String>,
    /// Its WHEP endpoint.
    #[arg(long, value_name = "URL", requires = "whip")]
    whep: Option<String>,
    /// The process id of the running server: without it neither CPU nor memory is measured.
    #[arg(long, conflicts_with = "server")]
    pid: Option<u32>,
    /// The server's cores, such as 0 [default: the first one].
    #[arg(long, value_name = "CORE", num_args = 1.., value_delimiter = ',', requires = "load_cores")]
    server_cores: Vec<usize>,
    /// The load's cores [default: all others].
    #[arg(long, value_name = "CORE", num_args = 1.., value_delimiter = ',', requires = "server_cores")]
    load_cores: Vec<usize>,
    /// Ten viewers, a few seconds, no targets: shows that everything works.
    #[arg(long)]
    quick: bool,
    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
    /// Name the standard scenarios and end.
    #[arg(long)]
    list: bool,
}

/// Runs the command.
///
/// # Errors
/// When nothing can be run, or a target is not reached.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let scenarios = scenarios(arguments)?;
    if arguments.list {
        table::print_scenarios(&scenarios);
        return Ok(());
    }
    let rig = rig(arguments)?;
    let conditions = Conditions::read(&rig.split, arguments.quick)?;
    table::print_conditions(&conditions, arguments.json);

    let results: Vec<Row> = scenarios.iter().map(|scenario| result(&rig, scenario, arguments)).collect();

    fs::remove_dir_all(&rig.folder).with_context(|| format!("cannot remove {}", rig.folder.display()))?;
    table::print_results(&conditions, &results, arguments.json)?;
    ensure!(results.iter().all(|result| result.failure.is_none()), "a scenario could not be run");
    let missed =
        results.iter().flat_map(Row::verdicts).filter(|verdict| *verdict != Verdict::Reached).count();
    ensure!(arguments.quick || missed == 0, "{missed} targets are not reached");
    Ok(())
}

fn scenarios(arguments: &Arguments) -> anyhow::Result<Vec<Scenario>> {
    if arguments.only.is_empty() {
        return Scenario::built_in();
    }
    arguments.only.iter().map(|name| Scenario::load(name)).collect()
}

fn rig(arguments: &Arguments) -> anyhow::Result<Rig> {
    let split = if arguments.server_cores.is_empty() {
        Split::of(&affinity::allowed()?)
    } else {
        Split { server: arguments.server_cores.clone(), load: arguments.load_cores.clone() }
    };
    Ok(Rig {
        source: source(arguments)?,
        loadtest: std::env::current_exe().context("cannot find this program's own file")?,
        split,
        publisher_first: affinity::may_go_first(),
        folder: run::folder()?,
        stop: Stop::on_signals()?,
    })
}

fn source(arguments: &Arguments) -> anyhow::Result<Source> {
    if let Some(url) = &arguments.url {
        return Ok(Source::Running(Endpoints::of_ours(url, arguments.pid)));
    }
    if let (Some(whip), Some(whep)) = (&arguments.whip, &arguments.whep) {
        let (whip, whep) = (whip.clone(), whep.clone());
        return Ok(Source::Running(Endpoints { whip, whep, pid: arguments.pid }));
    }
    let program = arguments.server.clone().unwrap_or_else(run::default_server);
    if !program.is_file() {
        bail!(
            "no server at {}: build one with cargo build --release, or name it by --server",
            program.display()
        );
    }
    Ok(Source::Program(fs::canonicalize(program)?))
}

fn result(rig: &Rig, scenario: &Scenario, arguments: &Arguments) -> Row {
    let scenario = if arguments.quick { quickened(scenario) } else { scenario.clone() };
    let measured = measure(rig, &scenario, arguments.quick);
    let (outcome, failure) = match measured {
        Ok(outcome) => (Some(outcome), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    Row { scenario, outcome, failure, quick: arguments.quick }
}

fn measure(rig: &Rig, scenario: &Scenario, quick: bool) -> anyhow::Result<Outcome> {
    let viewers = if quick { scenario.viewers.count } else { fitting_viewers(rig, scenario)? };
    let mut outcome = match scenario.viewers.server_busy_percent {
        Some(wanted) if !quick && wanted <= 100 => {
            at_load(viewers, wanted, |viewers| round(rig, scenario, viewers))?
        }
        _ => round(rig, scenario, viewers)?,
    };
    let viewers = outcome.viewers;
    let mut rounds = vec![outcome.figures];
    for _ in 1..scenario.rounds.get() {
        rounds.push(round(rig, scenario, viewers)?.figures);
    }
    outcome.figures = Figures::of_rounds(&rounds, &scenario.targets);
    outcome.figures.derive_shares(&bare_limits(rig, viewers, quick)?);
    Ok(outcome)
}

/// Runs until the server is as busy as wanted during the run itself: the machine may have become faster or slower since
/// the search, and figures of another load answer another question. Goes by the load alone, whatever else came out, and
/// takes the last of [`RUNS_AT_LOAD_MAX`] runs as it is.
fn at_load(
    viewers: u32,
    wanted: u32,
    mut run: impl FnMut(u32) -> anyhow::Result<Outcome>,
) -> anyhow::Result<Outcome> {
    let mut outcome = run(viewers)?;
    for _ in 1..RUNS_AT_LOAD_MAX {
        let next = next_by_server(&outcome, wanted)?;
        if next == outcome.viewers {
            break;
        }
        outcome = run(next)?;
    }
    Ok(outcome)
}

/// The baseline, where there is one, and the run, compared with it.
fn round(rig: &Rig, scenario: &Scenario, viewers: u32) -> anyhow::Result<Outcome> {
    let baseline = match &scenario.baseline {
        Some(baseline) => Some(run_told(rig, baseline, viewers)?),
        None => None,
    };
    let mut outcome = run_told(rig, scenario, viewers)?;
    if let Some(baseline) = baseline {
        outcome.figures.compare(&baseline.figures);
        outcome.commands = [baseline.commands, outcome.commands].concat();
    }
    Ok(outcome)
}

fn run_told(rig: &Rig, scenario: &Scenario, viewers: u32) -> anyhow::Result<Outcome> {
    table::tell(&format!(
        "{}: {viewers} viewers, about {} s",
        scenario.name,
        run::whole(scenario, viewers).as_secs()
    ));
    let outcome = rig.run(scenario, viewers)?;
    table::tell(&summary(&outcome));
    Ok(outcome)
}

/// What a watching person wants to know of a run that just ended.
fn summary(outcome: &Outcome) -> String {
    let figures = [
        ("viewers_connected", "in"),
        ("server_busy_percent", "% server busy"),
        ("load_busy_percent", "% load busy"),
        ("lost_percent", "% lost"),
        ("server_cpu_ns_per_packet", "CPU ns a packet"),
        ("added_delay_ms.p99", "ms delay p99"),
    ];
    let known =
        figures.iter().filter_map(|(name, text)| Some(table::with_unit(outcome.figures.get(name)?, text)));
    format!("  {}", known.collect::<Vec<_>>().join(", "))
}

/// Measured around the time of the run and to as many addresses, so that both had the same machine.
fn bare_limits(rig: &Rig, viewers: u32, quick: bool) -> anyhow::Result<Limits> {
    let core = *rig.split.server.first().context("the server has no core")?;
    let measured = |receiver| {
        limit::measure(limit::Config {
            addresses: usize::try_from(viewers)?,
            run: 8,
            size_bytes: 1_228,
            cpu_time: if quick { Duration::from_millis(20) } else { Duration::from_secs(1) },
            core,
            receiver,
        })
    };
    let has_reader = affinity::allowed()?.iter().any(|other| *other != core);
    Ok(Limits {
        plain: measured(Receiver::Plain)?,
        gro: measured(Receiver::Gro)?,
        viewers: has_reader.then(|| measured(Receiver::Viewers)).transpose()?,
    })
}

/// The number of viewers that the scenario wants, found by short runs where it depends on the machine.
fn fitting_viewers(rig: &Rig, scenario: &Scenario) -> anyhow::Result<u32> {
    let mut probe = scenario.clone();
    probe.name = format!("{}, looking for the number of viewers", scenario.name);
    probe.warm_up = PROBE_WARM_UP;
    probe.duration = PROBE_DURATION;
    probe.viewers.next_join = false;
    let mut viewers = scenario.viewers.count;
    for _ in 0..PROBES_MAX {
        let next = match scenario.viewers.server_busy_percent {
            Some(wanted) => next_by_server(&run_told(rig, &probe, viewers)?, wanted)?,
            None if scenario.viewers.fewer_if_the_load_is_busy => {
                next_by_load(&run_told(rig, &probe, viewers)?)
            }
            None => viewers,
        };
        let found =
            next == viewers || scenario.viewers.server_busy_percent.is_some_and(|wanted| wanted > 100);
        viewers = next;
        if found {
            break;
        }
    }
    Ok(viewers)
}

/// The same number when the server is as busy as wanted, else the one that should make it so.
fn next_by_server(outcome: &Outcome, wanted: u32) -> anyhow::Result<u32> {
    let busy = outcome.figures.get("server_busy_percent").context("needs the server's process id (--pid)")?;
    let wanted = f64::from(wanted);
    let refused = outcome.figures.get("refused_with_503").unwrap_or_default();
    let connected = outcome.figures.get("viewers_connected").unwrap_or_default();
    if refused > 0.0 && wanted > busy && wanted <= 100.0 {
        // Fuller than this the server does not let itself become.
        return Ok(scaled(outcome.viewers, connected / f64::from(outcome.viewers)));
    }
    if (busy - wanted).abs() <= BUSY_TOLERANCE_PERCENT {
        return Ok(outcome.viewers);
    }
    Ok(scaled(outcome.viewers, wanted / busy.max(0.1)))
}

/// The same number when the load keeps up, else fewer.
fn next_by_load(outcome: &Outcome) -> u32 {
    let busy = outcome.figures.get("load_busy_percent").unwrap_or_default();
    // Where nothing comes, it is not the load that is too slow: the run proper says so.
    let keeps_up = outcome.figures.get("lost_percent").is_none_or(|lost| lost <= LOST_PERCENT_MAX);
    let connected = outcome.figures.get("viewers_connected").unwrap_or_default();
    let all_in = connected + 0.5 >= f64::from(outcome.viewers);
    if busy < LOAD_BUSY_PERCENT_MAX && keeps_up && all_in {
        return outcome.viewers;
    }
    scaled(outcome.viewers, if busy > 0.0 { (LOAD_BUSY_PERCENT_AIM / busy).min(0.8) } else { 0.7 })
}

fn scaled(viewers: u32, factor: f64) -> u32 {
    let wanted = f64::from(viewers) * factor.clamp(0.05, 20.0);
    // Bounded by the line above and by the constant: far inside of 32 bits.
    (wanted.round() as u32).clamp(1, VIEWERS_MAX)
}

fn quickened(scenario: &Scenario) -> Scenario {
    let mut quick = scenario.clone();
    quick.viewers.count = quick.viewers.count.min(QUICK_VIEWERS);
    quick.warm_up = QUICK_WARM_UP;
    quick.duration = QUICK_DURATION;
    quick.rounds = NonZeroU16::MIN;
    if quick.publisher.leaves_after.is_some() {
        quick.publisher.leaves_after = Some(QUICK_WARM_UP);
    }
    quick.baseline = scenario.baseline.as_deref().map(|baseline| Box::new(quickened(baseline)));
    quick
}

const PROBES_MAX: usize = 5;
const PROBE_WARM_UP: Duration = Duration::from_secs(2);
const PROBE_DURATION: Duration = Duration::from_secs(5);
const RUNS_AT_LOAD_MAX: usize = 3;
const BUSY_TOLERANCE_PERCENT: f64 = 2.0;
/// A load that has this little left is late now and then, and what it measures is itself.
const LOAD_BUSY_PERCENT_MAX: f64 = 95.0;
const LOAD_BUSY_PERCENT_AIM: f64 = 85.0;
const LOST_PERCENT_MAX: f64 = 0.01;
/// Sockets of one process.
const VIEWERS_MAX: u32 = 15_000;
const QUICK_VIEWERS: u32 = 10;
const QUICK_WARM_UP: Duration = Duration::from_secs(1);
const QUICK_DURATION: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::super::figures::Figures;
    use super::*;

    fn outcome(viewers: u32, figures: &[(&str, f64)]) -> Outcome {
        let mut measured = Figures::default();
        for (name, value) in figures {
            measured.set(name, *value);
        }
        Outcome { viewers, figures: measured, commands: Vec::new() }
    }

    #[test]
    fn viewers_are_added_until_the_server_is_as_busy_as_wanted() {
        let idle = outcome(200, &[("server_busy_percent", 20.0)]);
        let busy = outcome(790, &[("server_busy_percent", 78.0)]);

        assert_eq!(next_by_server(&idle, 80).unwrap(), 800);
        assert_eq!(next_by_server(&busy, 80).unwrap(), 790);
        assert!(next_by_server(&outcome(1, &[]), 80).is_err());
    }

    #[test]
    fn a_run_that_missed_its_load_is_made_again_with_another_number() {
        let mut of_the_machine = [76.8, 80.9, 80.0].into_iter();
        let mut asked = Vec::new();

        let counted = at_load(2_500, 80, |viewers| {
            asked.push(viewers);
            Ok(outcome(viewers, &[("server_busy_percent", of_the_machine.next().unwrap())]))
        });

        assert_eq!(asked, [2_500, 2_604]);
        assert_eq!(counted.unwrap().figures.get("server_busy_percent"), Some(80.9));
    }

    #[test]
    fn a_load_that_is_never_held_counts_as_it_was_in_the_end() {
        let mut of_the_machine = [70.0, 90.0, 60.0, 80.0].into_iter();

        let counted = at_load(2_500, 80, |viewers| {
            Ok(outcome(viewers, &[("server_busy_percent", of_the_machine.next().unwrap())]))
        });

        assert_eq!(counted.unwrap().figures.get("server_busy_percent"), Some(60.0));
    }

    #[test]
    fn no_more_viewers_are_asked_for_than_the_server_lets_in() {
        let full = [("server_busy_percent", 70.0), ("refused_with_503", 300.0), ("viewers_connected", 700.0)];

        assert_eq!(next_by_server(&outcome(1_000, &full), 80).unwrap(), 700);
        assert_eq!(next_by_server(&outcome(1_000, &full), 140).unwrap(), 2_000, "overload is to be refused");
    }

    #[test]
    fn fewer_viewers_join_when_the_load_cannot_keep_up() {
        let easy = [("load_busy_percent", 60.0), ("lost_percent", 0.0), ("viewers_connected", 1_000.0)];
        let lossy = [("load_busy_percent", 60.0), ("lost_percent", 1.0), ("viewers_connected", 1_000.0)];
        let busy = [("load_busy_percent", 100.0), ("lost_percent", 0.0), ("viewers_connected", 1_000.0)];

        assert_eq!(next_by_load(&outcome(1_000, &easy)), 1_000);
        assert_eq!(next_by_load(&outcome(1_000, &lossy)), 800);
        assert_eq!(next_by_load(&outcome(1_000, &busy)), 800);
    }

    #[test]
    fn a_summary_says_what_was_measured_and_nothing_else() {
        let outcome = outcome(3, &[("viewers_connected", 3.0), ("server_busy_percent", 31.2)]);

        assert_eq!(summary(&outcome), "  3 in, 31.2 % server busy");
    }

    #[test]
    fn a_quick_run_is_short_with_its_baseline() {
        let quick = quickened(&Scenario::load("nack-flood").unwrap());

        assert!(run::whole(&quick, quick.viewers.count) < Duration::from_secs(5));
        assert_eq!(quick.baseline.unwrap().viewers.count, QUICK_VIEWERS);
    }
}
