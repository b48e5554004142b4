//! Printing: the tables for people, the JSON object for programs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's report is its output")]

use serde_json::json;

use super::conditions::Conditions;
use super::figures::Verdict;
use super::limit::{Config, Limit, Receiver};
use super::run::Outcome;
use super::scenario::{Scenario, Target};

/// One scenario and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Result {
    /// What was run.
    pub scenario: Scenario,
    /// What was measured, unless it could not be run.
    pub outcome: Option<Outcome>,
    /// Why it could not be run.
    pub failure: Option<String>,
    /// Whether targets are shown only.
    pub quick: bool,
}

impl Result {
    /// A verdict for each target, in order.
    pub fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        self.scenario.targets.iter().map(|target| self.verdict(target))
    }

    fn verdict(&self, target: &Target) -> Verdict {
        self.outcome.as_ref().map_or(Verdict::NotMeasured, |outcome| outcome.figures.judge(target))
    }

    fn rows(&self) -> Vec<[String; 5]> {
        let viewers =
            self.outcome.as_ref().map_or(String::new(), |outcome| format!(" ({} viewers)", outcome.viewers));
        let name = format!("{}{viewers}", self.scenario.name);
        // Where nothing was measured at all, the failure says enough.
        let judged = !self.quick && self.outcome.is_some();
        let worth_a_row =
            |target: &&Target| !target.unsaid || judged && self.verdict(target) != Verdict::Reached;
        let targets = self.scenario.targets.iter().filter(worth_a_row);
        let rows = targets.enumerate().map(|(place, target)| {
            let value = self.outcome.as_ref().and_then(|outcome| outcome.figures.get(&target.figure));
            let verdict = if self.quick { "not asserted" } else { self.verdict(target).word() };
            [
                if place == 0 { name.clone() } else { String::new() },
                target.name.clone(),
                value.map_or_else(|| "-".to_owned(), |value| with_unit(value, &target.unit)),
                bounds(target),
                verdict.to_owned(),
            ]
        });
        rows.collect()
    }

    fn object(&self) -> serde_json::Value {
        let figures: serde_json::Map<String, serde_json::Value> = self
            .outcome
            .iter()
            .flat_map(|outcome| outcome.figures.iter())
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        let targets = self.scenario.targets.iter().map(|target| {
            json!({
                "figure": target.figure, "at_most": target.at_most, "at_least": target.at_least,
                "measured": figures.get(&target.figure), "verdict": self.verdict(target).word(),
            })
        });
        json!({
            "scenario": self.scenario.name,
            "about": self.scenario.about,
            "viewers": self.outcome.as_ref().map(|outcome| outcome.viewers),
            "failure": self.failure,
            "targets": targets.collect::<Vec<_>>(),
            "figures": figures,
            "commands": self.outcome.as_ref().map(|outcome| &outcome.commands),
        })
    }
}

/// Says what goes on, on stderr.
pub fn tell(text: &str) {
    eprintln!("{text}");
}

/// Prints the names of scenarios.
pub fn print_scenarios(scenarios: &[Scenario]) {
    for scenario in scenarios {
        println!("{:<20} {}", scenario.name, scenario.about);
    }
}

/// Prints the conditions, before the first run: on stderr when stdout is for the object.
pub fn print_conditions(conditions: &Conditions, json: bool) {
    let text = conditions_text(conditions);
    if json { eprintln!("{text}") } else { println!("{text}") }
}

/// Prints the table with what repeats each row, or the JSON object.
///
/// # Errors
/// When the object cannot be written as JSON.
pub fn print_results(conditions: &Conditions, results: &[Result], json: bool) -> anyhow::Result<()> {
    if json {
        let objects: Vec<_> = results.iter().map(Result::object).collect();
        println!("{}", serde_json::to_string(&json!({ "conditions": conditions, "scenarios": objects }))?);
        return Ok(());
    }
    let heading = ["scenario", "figure", "measured", "must reach", "reached?"].map(str::to_owned);
    let rows: Vec<[String; 5]> =
        std::iter::once(heading).chain(results.iter().flat_map(Result::rows)).collect();
    println!("\n{}", aligned(&rows));
    for result in results {
        println!("{}", details(result));
    }
    Ok(())
}

fn conditions_text(conditions: &Conditions) -> String {
    let cores = |cores: &[usize]| cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut text = format!(
        "{} · {} cores · Linux {} · load average {} · server on core {}, load on {}",
        conditions.cpu,
        conditions.cores,
        conditions.kernel,
        conditions.load_average,
        cores(&conditions.server_cores),
        cores(&conditions.load_cores),
    );
    if !conditions.publisher_first {
        text.push_str("\nthe publisher and hostile viewers wait for the other load, for nobody may set real-time priorities here: delays hold that too");
    }
    if conditions.quick {
        text.push_str("\nquick run: says whether it works, not how fast");
    }
    if !conditions.release_build {
        text.push_str("\nthis load is a debug build: it is the limit long before the server");
    }
    text
}

/// What stands below the table for one scenario.
fn details(result: &Result) -> String {
    let scenario = &result.scenario;
    let mut text = format!("{}: {}\n", scenario.name, scenario.about);
    if let Some(failure) = &result.failure {
        text.push_str(&format!("  FAILED: {failure}\n"));
    }
    if !scenario.note.is_empty() {
        text.push_str(&format!("  {}\n", scenario.note));
    }
    let Some(outcome) = &result.outcome else { return text };
    text.push_str(&limits(outcome));
    text.push_str(&format!("  repeat: nearcast-loadtest bench --only {}\n", scenario.name));
    for command in &outcome.commands {
        text.push_str(&format!("    {command}\n"));
    }
    text
}

/// How near the run came to what the machine gives, one line a limit.
fn limits(outcome: &Outcome) -> String {
    let line = |name: &str, what: &str| {
        let get = |figure: &str| outcome.figures.get(&format!("{name}_{figure}"));
        let reached =
            get("share_percent").map_or(String::new(), |share| format!("; reached of it: {share:.0} %"));
        let (packets, nanos) = (get("packets_per_core_s")?, get("cpu_ns_per_packet")?);
        Some(format!("    {what}: {} packets/s a core, {} ns each{reached}\n", whole(packets), whole(nanos)))
    };
    let lines = [
        line("limit", "to plain sockets"),
        line("gro_limit", "to sockets with UDP_GRO, like the load's"),
        line(
            "viewers_limit",
            "sealed for each, thirty runs a second, read as the load reads: nothing decided",
        ),
    ];
    let lines: String = lines.into_iter().flatten().collect();
    if lines.is_empty() {
        return lines;
    }
    format!("  bare limits, runs of 8 to {} addresses:\n{lines}", outcome.viewers)
}

fn bounds(target: &Target) -> String {
    let least = target.at_least.map(|least| format!("≥ {}", with_unit(least, &target.unit)));
    let most = target.at_most.map(|most| format!("≤ {}", with_unit(most, &target.unit)));
    let bounds: Vec<String> = least.into_iter().chain(most).collect();
    bounds.join(", ")
}

/// A number as short as its size allows, with its unit.
pub fn with_unit(value: f64, unit: &str) -> String {
    let number = if value.abs() >= 1_000.0 || value.fract() == 0.0 {
        whole(value)
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        // Down to the smallest bound of the scenarios.
        format!("{value:.3}")
    };
    if unit.is_empty() { number } else { format!("{number} {unit}") }
}

fn aligned(rows: &[[String; 5]]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2), width(3), width(4)];
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Prints bare limits, one line each or as one JSON object.
///
/// # Errors
/// When the object cannot be written as JSON.
pub fn print_limits(limits: &[(Config, Limit)], json: bool) -> anyhow::Result<()> {
    if json {
        let objects: Vec<_> = limits.iter().map(limit_object).collect();
        println!("{}", serde_json::to_string(&json!({ "limits": objects }))?);
        return Ok(());
    }
    for measured in limits {
        println!("{}", limit_line(measured));
    }
    Ok(())
}

/// One bare limit as a sentence.
pub fn limit_line((config, limit): &(Config, Limit)) -> String {
    format!(
        "bare limit: {} packets/s a core, {} CPU ns a packet (runs of {} x {} B to {} {}, core {})",
        whole(limit.packets_per_core_s()),
        whole(limit.cpu_ns_per_packet()),
        config.run,
        config.size_bytes,
        config.addresses,
        match config.receiver {
            Receiver::Gro => "sockets with UDP_GRO",
            Receiver::Read => "sockets with UDP_GRO that another core reads",
            Receiver::Plain => "plain sockets",
            Receiver::Viewers => "viewers: sealed for each, thirty runs a second, read every 16 ms",
        },
        config.core,
    )
}

fn limit_object((config, limit): &(Config, Limit)) -> serde_json::Value {
    json!({
        "addresses": config.addresses,
        "run": config.run,
        "size_bytes": config.size_bytes,
        "receiver": match config.receiver {
            Receiver::Gro => "gro",
            Receiver::Read => "read",
            Receiver::Plain => "plain",
            Receiver::Viewers => "viewers",
        },
        "packets": limit.packets,
        "cpu_s": limit.cpu_time.as_secs_f64(),
        "cpu_ns_per_packet": limit.cpu_ns_per_packet(),
        "packets_per_core_s": limit.packets_per_core_s(),
    })
}

/// A number without decimals, in groups of three.
pub fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    if number <= -0.5 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Figures;
    use super::*;

    fn result(p99: Option<f64>) -> Result {
        let mut figures = Figures::default();
        if let Some(p99) = p99 {
            figures.set("added_delay_ms.p99", p99);
            figures.set("added_delay_ms.p50", 0.5);
            figures.set("server_busy_percent", 80.0);
            figures.set("viewers_without_media", 0.0);
            figures.set("viewers_frozen", 0.0);
            figures.set("verify_failures", 0.0);
            figures.set("timestamp_errors", 0.0);
            figures.set("unknown_packets", 0.0);
        }
        let outcome = Outcome { viewers: 12, figures, commands: vec!["one".to_owned()] };
        Result {
            scenario: Scenario::load("delay").unwrap(),
            outcome: Some(outcome),
            failure: None,
            quick: false,
        }
    }

    #[test]
    fn each_target_is_a_row_with_its_bound_and_its_verdict() {
        let table = aligned(&result(Some(7.25)).rows());

        let last = table.lines().last().unwrap();
        assert!(table.starts_with("delay (12 viewers)"), "{table}");
        assert!(last.ends_with("7.250 ms  ≤ 5 ms  NO"), "{table}");
    }

    #[test]
    fn what_goes_without_saying_is_a_row_only_when_it_is_not_so() {
        let good = result(Some(4.0));
        let mut bad = good.clone();
        bad.outcome.as_mut().unwrap().figures.set("viewers_without_media", 12.0);

        assert_eq!(good.rows().len(), 3);
        assert!(good.verdicts().all(|verdict| verdict == Verdict::Reached));
        let table = aligned(&bad.rows());
        assert!(table.trim_end().ends_with("viewers without media  12        ≤ 0     NO"), "{table}");
        assert!(bad.verdicts().any(|verdict| verdict == Verdict::Missed));
        assert_eq!(Result { outcome: None, ..good }.rows().len(), 3);
    }

    #[test]
    fn what_was_not_measured_is_no_number_and_not_reached() {
        let result = result(None);

        assert!(result.verdicts().all(|verdict| verdict == Verdict::NotMeasured));
        assert_eq!(result.rows()[0][2], "-");
    }

    #[test]
    fn the_object_holds_every_figure_and_every_verdict() {
        let object = result(Some(4.0)).object();

        assert_eq!(object["figures"]["added_delay_ms.p99"], 4.0);
        assert_eq!(object["targets"][2]["verdict"], "yes");
        assert_eq!(object["commands"][0], "one");
    }

    #[test]
    fn a_number_is_grouped_by_three_from_its_end() {
        assert_eq!(whole(0.4), "0");
        assert_eq!(whole(999.0), "999");
        assert_eq!(whole(1_000.0), "1 000");
        assert_eq!(whole(-1_234_567.8), "-1 234 568");
    }
}
