//! Figures: what a run measured, by name, and the verdict against what was to be reached.
//!
//! A report's members keep their names, those of an object inside it get the object's name and a dot before theirs
//! (`added_delay_ms.p99`). A figure that nobody reported is absent, and a target on it is *not measured*, never
//! reached: nothing here has a default.

use std::collections::BTreeMap;

use super::limit::Limits;
use super::scenario::Target;

/// Named numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures(BTreeMap<String, f64>);

/// What a target came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The figure keeps its bounds, or what makes up for it does.
    Reached,
    /// It does not.
    Missed,
    /// Nobody reported the figure.
    NotMeasured,
}

/// What begins the name of a figure that relates a run to its baseline.
const RELATIVES: [&str; 2] = ["ratio.", "increase."];

impl Figures {
    /// The numbers of a JSON report; truth values count as 0 and 1, everything else is left out.
    pub fn of_report(report: &serde_json::Value) -> Self {
        let mut figures = Self::default();
        figures.add("", report);
        figures
    }

    /// Sets one figure; one that is no number is left out.
    pub fn set(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.0.insert(name.to_owned(), value);
        }
    }

    /// Takes all of `others` in, each with `prefix` before its name.
    pub fn extend(&mut self, prefix: &str, others: &Self) {
        for (name, value) in &others.0 {
            self.set(&format!("{prefix}{name}"), *value);
        }
    }

    /// Adds the figures that follow from those of one run: per core and in per cent.
    pub fn derive(&mut self, load_cores: usize) {
        if let Some(cpu_ns) = self.get("server_cpu_ns_per_packet") {
            self.set("packets_per_core_s", 1e9 / cpu_ns);
        }
        if let (Some(cpu_s), Some(measured_s)) = (self.get("server_cpu_s"), self.get("measured_s")) {
            self.set("server_busy_percent", cpu_s / measured_s * 100.0);
            if let Some(viewers) = self.get("viewers_connected") {
                self.set("viewers_per_core", viewers / (cpu_s / measured_s));
            }
            // While a crowd comes in, half of it is in on average, and costs half of what the whole does afterwards.
            if let (Some(join_ms), Some(per_s)) = (self.get("join_cpu_ms"), self.get("joins_per_s")) {
                self.set("join_alone_cpu_ms", join_ms - cpu_s / measured_s * 1e3 / 2.0 / per_s);
            }
        }
        if let (Some(cpu_s), Some(measured_s)) = (self.get("load_cpu_s"), self.get("measured_s")) {
            let share =
                |cpu_s: Option<f64>, of: Option<f64>| cpu_s.zip(of).map_or(0.0, |(cpu_s, s)| cpu_s / s);
            let publisher = share(self.get("publisher.cpu_s"), self.get("publisher.measured_s"));
            self.set(
                "load_busy_percent",
                (cpu_s / measured_s + publisher) * 100.0 / load_cores.max(1) as f64,
            );
        }
        self.set("refused_with_503", self.sum_of_failures("503"));
    }

    /// Adds how near a run came to the bare limits of the machine.
    pub fn derive_shares(&mut self, limits: &Limits) {
        let named = [
            ("limit", Some(limits.plain)),
            ("gro_limit", Some(limits.gro)),
            ("viewers_limit", limits.viewers),
        ];
        let packets = self.get("packets_per_core_s");
        for (name, limit) in named.into_iter().filter_map(|(name, limit)| Some((name, limit?))) {
            self.set(&format!("{name}_packets_per_core_s"), limit.packets_per_core_s());
            self.set(&format!("{name}_cpu_ns_per_packet"), limit.cpu_ns_per_packet());
            if let Some(packets) = packets {
                self.set(&format!("{name}_share_percent"), packets / limit.packets_per_core_s() * 100.0);
            }
        }
    }

    /// Adds `ratio.F` and `increase.F` against the same figures of another run.
    pub fn compare(&mut self, baseline: &Self) {
        for (name, value) in self.0.clone() {
            if let Some(before) = baseline.get(&name) {
                self.set(&format!("increase.{name}"), value - before);
                self.set(&format!("ratio.{name}"), value / before);
                self.set(&format!("baseline.{name}"), before);
            }
        }
    }

    /// What several rounds come to: the median of each figure, but the worst one where a target is set on a figure of the run
    /// itself and does not ask for the median. One that was not measured in every round is absent.
    pub fn of_rounds(rounds: &[Self], targets: &[Target]) -> Self {
        let mut all = Self::default();
        for name in rounds.iter().take(1).flat_map(|round| round.0.keys()) {
            let mut values: Vec<f64> = rounds.iter().filter_map(|round| round.get(name)).collect();
            if values.len() < rounds.len() {
                continue;
            }
            values.sort_by(f64::total_cmp);
            let is_relative = RELATIVES.iter().any(|prefix| name.starts_with(prefix));
            let is_of_all = |target: &&Target| target.figure == *name && !is_relative && !target.median;
            let target = targets.iter().find(is_of_all);
            let lowest_is_worst = |target: &Target| {
                target.at_least.is_some_and(|least| {
                    target.at_most.is_none() || values.iter().any(|value| *value < least)
                })
            };
            let value = match target {
                Some(target) if lowest_is_worst(target) => values.first(),
                Some(_) => values.last(),
                None => values.get(values.len() / 2),
            };
            value.into_iter().for_each(|value| all.set(name, *value));
        }
        all
    }

    /// The figure of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Sets a target against these figures.
    pub fn judge(&self, target: &Target) -> Verdict {
        let Some(value) = self.get(&target.figure) else { return Verdict::NotMeasured };
        let made_up = target.or.as_ref().is_some_and(|alternative| {
            self.get(&alternative.figure).is_some_and(|value| value >= alternative.at_least)
        });
        let good = target.at_most.is_none_or(|most| value <= most)
            && target.at_least.is_none_or(|least| value >= least);
        if good || made_up { Verdict::Reached } else { Verdict::Missed }
    }

    fn add(&mut self, name: &str, value: &serde_json::Value) {
        match value {
            serde_json::Value::Number(number) => self.set(name, number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::Bool(truth) => self.set(name, f64::from(u8::from(*truth))),
            serde_json::Value::Object(members) => {
                for (member, value) in members {
                    let name = if name.is_empty() { member.clone() } else { format!("{name}.{member}") };
                    self.add(&name, value);
                }
            }
            _ => {}
        }
    }

    /// The joins that failed for a reason that has `word` in it.
    fn sum_of_failures(&self, word: &str) -> f64 {
        let failures =
            self.0.iter().filter_map(|(name, count)| Some((name.strip_prefix("failures.")?, count)));
        // A sum of nothing is minus zero.
        failures.filter(|(reason, _)| reason.contains(word)).map(|(_, count)| count).sum::<f64>() + 0.0
    }
}

impl Verdict {
    /// For the table.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reached => "yes",
            Self::Missed => "NO",
            Self::NotMeasured => "not measured",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::limit::Limit;
    use super::*;
    use crate::bench::scenario::Alternative;

    fn figures() -> Figures {
        Figures::of_report(&json!({
            "viewers_connected": 200, "viewers_failed": 3, "failures": {"503 server/overloaded": 2, "timeout": 1},
            "added_delay_ms": {"p50": 0.5, "p99": 4.0},
            "measured_s": 10.0, "server_cpu_s": 2.0, "load_cpu_s": 6.0,
            "publisher": {"cpu_s": 0.5, "measured_s": 5.0}, "server_cpu_ns_per_packet": 1_250.0, "passed": true,
        }))
    }

    fn target(figure: &str, at_most: f64) -> Target {
        Target {
            figure: figure.to_owned(),
            name: String::new(),
            unit: String::new(),
            at_most: Some(at_most),
            at_least: None,
            median: false,
            or: None,
            unsaid: false,
        }
    }

    #[test]
    fn an_object_inside_a_report_names_its_figures_with_a_dot() {
        let figures = figures();

        assert_eq!(figures.get("added_delay_ms.p99"), Some(4.0));
        assert_eq!(figures.get("passed"), Some(1.0));
        assert_eq!(figures.get("added_delay_ms"), None);
    }

    #[test]
    fn per_core_figures_follow_from_cpu_time_and_not_from_the_clock() {
        let mut figures = figures();

        figures.derive(1);

        assert_eq!(figures.get("packets_per_core_s"), Some(800_000.0));
        assert_eq!(figures.get("server_busy_percent"), Some(20.0));
        assert_eq!(figures.get("viewers_per_core"), Some(1_000.0));
        assert!((figures.get("load_busy_percent").unwrap() - 70.0).abs() < 1e-9);
        assert_eq!(figures.get("lost_percent"), None, "nobody reported it");
        assert_eq!(figures.get("refused_with_503"), Some(2.0));
    }

    #[test]
    fn a_join_is_charged_without_what_those_inside_cost() {
        let report =
            json!({"server_cpu_s": 1.0, "measured_s": 5.0, "join_cpu_ms": 0.8, "joins_per_s": 250.0});
        let mut figures = Figures::of_report(&report);

        figures.derive(1);

        assert!((figures.get("join_alone_cpu_ms").unwrap() - 0.4).abs() < 1e-9);
    }

    #[test]
    fn a_baseline_gives_each_figure_a_ratio_and_an_increase() {
        let mut figures = figures();
        let mut baseline = Figures::default();
        baseline.set("added_delay_ms.p99", 3.2);

        figures.compare(&baseline);

        assert!((figures.get("increase.added_delay_ms.p99").unwrap() - 0.8).abs() < 1e-9);
        assert!((figures.get("ratio.added_delay_ms.p99").unwrap() - 1.25).abs() < 1e-9);
        assert_eq!(figures.get("ratio.server_cpu_s"), None);
    }

    #[test]
    fn of_several_rounds_the_median_relates_and_the_worst_counts() {
        let round = |ratio, lost, answered| {
            let mut figures = Figures::default();
            figures.set("ratio.server_cpu_s", ratio);
            figures.set("lost_percent", lost);
            figures.set("answered_percent", answered);
            figures
        };
        let mut rounds = vec![round(1.2, 0.0, 97.0), round(1.0, 0.3, 99.0), round(1.1, 0.1, 95.0)];
        rounds.iter_mut().take(2).for_each(|round| round.set("seldom", 1.0));
        let answered = Target { at_most: None, at_least: Some(96.0), ..target("answered_percent", 0.0) };
        rounds.iter_mut().zip([503.0, 404.0, 503.0]).for_each(|(round, status)| round.set("status", status));
        let status = Target { at_least: Some(503.0), ..target("status", 503.0) };
        rounds.iter_mut().zip([7.0, 2.0, 3.0]).for_each(|(round, delay)| round.set("delay", delay));
        let delay = Target { median: true, ..target("delay", 5.0) };
        let targets =
            [target("ratio.server_cpu_s", 1.11), target("lost_percent", 0.0), answered, status, delay];

        let figures = Figures::of_rounds(&rounds, &targets);

        assert_eq!(figures.get("ratio.server_cpu_s"), Some(1.1));
        assert_eq!(figures.get("lost_percent"), Some(0.3));
        assert_eq!(figures.get("answered_percent"), Some(95.0));
        assert_eq!(figures.get("status"), Some(404.0), "the one that breaks a bound, whichever");
        assert_eq!(figures.get("delay"), Some(3.0), "the median where the target asks for it");
        assert_eq!(figures.get("seldom"), None);
    }

    #[test]
    fn a_target_is_reached_missed_or_not_measured() {
        let figures = figures();

        assert_eq!(figures.judge(&target("added_delay_ms.p99", 4.0)), Verdict::Reached);
        assert_eq!(figures.judge(&target("added_delay_ms.p99", 3.9)), Verdict::Missed);
        assert_eq!(figures.judge(&target("added_delay_ms.p95", 100.0)), Verdict::NotMeasured);
    }

    #[test]
    fn a_share_of_the_bare_limit_makes_up_for_a_missed_bound() {
        let mut figures = figures();
        let mut target = target("server_cpu_ns_per_packet", 1_000.0);
        target.or = Some(Alternative { figure: "limit_share_percent".to_owned(), at_least: 65.0 });
        figures.derive(1);
        assert_eq!(figures.judge(&target), Verdict::Missed);

        let second = Duration::from_secs(1);
        let limit = |packets| Limit { packets, cpu_time: second };
        let viewers = Some(limit(800_000));
        figures.derive_shares(&Limits { plain: limit(1_000_000), gro: limit(2_000_000), viewers });

        assert_eq!(figures.get("limit_share_percent"), Some(80.0));
        assert_eq!(figures.get("gro_limit_share_percent"), Some(40.0));
        assert_eq!(figures.get("viewers_limit_share_percent"), Some(100.0));
        assert_eq!(figures.get("viewers_limit_cpu_ns_per_packet"), Some(1_250.0));
        assert_eq!(figures.judge(&target), Verdict::Reached);
    }

    #[test]
    fn a_figure_that_is_no_number_is_absent() {
        let mut figures = Figures::of_report(&json!({"server_cpu_s": 0.0, "measured_s": 0.0}));

        figures.derive(1);

        assert_eq!(figures.get("server_busy_percent"), None);
    }
}
