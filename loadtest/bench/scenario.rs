//! A scenario: what to start, with what load, for how long, and what must come out.
//!
//! One TOML file each; those in `scenarios/` are built into the binary, others are named by their path. A table
//! `options` is handed to the command it belongs to as it stands (`bitrate = "2.5M"` becomes `--bitrate 2.5M`,
//! `audio = true` becomes `--audio`), so a scenario can use whatever `whip`, `whep` and `hostile` can. Every other key
//! is one of the fields below; unknown ones are refused.
//!
//! Viewers who are not `silent` must get media that is what it says: those targets ([`UNSAID`]) need not be written, and
//! one that is written in their place counts instead.
//!
//! `[baseline]` repeats the run with some keys changed, on a server of its own, before the run proper. A figure then
//! has two relatives: `ratio.F` is F of the run over F of the baseline, `increase.F` is the difference. Where these swing
//! more than what they are to show, `rounds` repeats both in turns: then the relatives are the median of all rounds, and
//! of every other figure with a target the worst counts, or, where the target says so, the median.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Deserializer};

/// Options of a command, by their long name without the dashes.
pub type Options = BTreeMap<String, toml::Value>;

/// One scenario.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// What it shows, in one line of the table.
    pub about: String,
    /// What a reader must know to believe the figures, printed below the table.
    #[serde(default)]
    pub note: String,
    /// Between the last join and the measurement. Default: 5 s.
    #[serde(default = "default_warm_up", deserialize_with = "duration")]
    pub warm_up: Duration,
    /// How long is measured. Default: 30 s.
    #[serde(default = "default_duration", deserialize_with = "duration")]
    pub duration: Duration,
    /// The server under test; of no effect on one that runs already.
    #[serde(default)]
    pub server: Server,
    /// Who publishes.
    pub publisher: Publisher,
    /// Who watches and measures.
    pub viewers: Viewers,
    /// Who watches and misbehaves.
    #[serde(default)]
    pub hostile: Hostile,
    /// How often baseline and run are made, in turns. Default: once.
    #[serde(default = "default_rounds")]
    pub rounds: NonZeroU16,
    /// The run to compare with: this one with the keys of `[baseline]` changed.
    #[serde(skip)]
    pub baseline: Option<Box<Self>>,
    /// What must come out.
    #[serde(default, rename = "target")]
    pub targets: Vec<Target>,
}

/// How the server is started.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// `--shards`. Default: 1.
    pub shards: Option<u16>,
    /// Whether it may use every core, beside the load. Default: one core, which the load stays away from.
    pub every_core: bool,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Environment: configuration keys as `NEARCAST_…`, such as limits that one address would run into.
    pub env: BTreeMap<String, String>,
}

/// The publishing side: one `whip` process.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publisher {
    /// Options of `whip`.
    #[serde(default)]
    pub options: Options,
    /// Leaves this long after the first viewer begins to join; without it, it stays to the end.
    #[serde(default, deserialize_with = "some_duration")]
    pub leaves_after: Option<Duration>,
}

/// The watching side: one `whep` process.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Viewers {
    /// How many; with one of the two keys below, where the search for the right number begins.
    pub count: u32,
    /// Joins a second. Default: 100.
    #[serde(default = "default_join_rate")]
    pub join_rate: u32,
    /// Lowers the number until the load keeps up (its cores less than 95 % busy).
    #[serde(default)]
    pub fewer_if_the_load_is_busy: bool,
    /// Chooses the number so that the server's cores are this busy, by runs of a few seconds. Above 100 it is how
    /// busy they would be if they could.
    pub server_busy_percent: Option<u32>,
    /// Tries one more join in the middle of the measurement and keeps how it is refused (`next_join.status`,
    /// `next_join.retry_after_s`, `next_join.has_reason`); when the crowd has left, tries until one is let in, for
    /// some seconds at most (`reopened.status`, `reopened.after_s`).
    #[serde(default)]
    pub next_join: bool,
    /// Options of `whep`.
    #[serde(default)]
    pub options: Options,
}

/// The misbehaving side: one `hostile` process.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hostile {
    /// How many viewers misbehave. Default: none, and nothing is started.
    pub count: u32,
    /// Options of `hostile`.
    pub options: Options,
}

/// One figure with its bound.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The figure's name: a member of a report, with its object's name and a dot before it
    /// (`added_delay_ms.p99`), or one that `bench` derives.
    pub figure: String,
    /// What it is, for people.
    pub name: String,
    /// Its unit, for people.
    #[serde(default)]
    pub unit: String,
    /// The greatest good value.
    pub at_most: Option<f64>,
    /// The smallest good value.
    pub at_least: Option<f64>,
    /// Whether of several rounds the median counts, and not the worst: for what a moment of the machine decides.
    #[serde(default)]
    pub median: bool,
    /// Another figure that makes up for a missed bound.
    pub or: Option<Alternative>,
    /// Whether it goes without saying: the table shows it only when it is not reached.
    #[serde(skip)]
    pub unsaid: bool,
}

/// What makes up for a missed bound.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alternative {
    /// The figure's name.
    pub figure: String,
    /// The smallest value that makes up.
    pub at_least: f64,
}

impl Scenario {
    /// Reads the built-in scenario of that name, or the file at that path.
    ///
    /// # Errors
    /// When there is neither, or it is not a scenario.
    pub fn load(name_or_path: &str) -> anyhow::Result<Self> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(name, text);
        }
        let path = Path::new(name_or_path);
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        let text = fs::read_to_string(path).with_context(|| {
            format!("no scenario {name_or_path}: name a file or one of {}", names.join(", "))
        })?;
        let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Self::parse(&stem, &text)
    }

    /// All built-in scenarios, in the order of the table.
    ///
    /// # Errors
    /// When one of them is not a scenario, which a test rules out.
    pub fn built_in() -> anyhow::Result<Vec<Self>> {
        BUILT_IN.iter().map(|(name, text)| Self::parse(name, text)).collect()
    }

    /// Reads a scenario from its text.
    ///
    /// # Errors
    /// When a key is unknown or missing, a value is no good, or the baseline changes what it must not.
    pub fn parse(name: &str, text: &str) -> anyhow::Result<Self> {
        Self::from_text(name, text).with_context(|| format!("the scenario {name} is no good"))
    }

    fn from_text(name: &str, text: &str) -> anyhow::Result<Self> {
        let mut table: toml::Table = text.parse()?;
        let changes = table.remove("baseline");
        let mut scenario = Self::from_table(name, table.clone())?;
        match changes {
            None => {}
            Some(toml::Value::Table(changes)) => {
                overlay(&mut table, changes);
                let baseline = Self::from_table(&format!("{name}, baseline"), table)?;
                scenario.baseline = Some(Box::new(baseline));
            }
            Some(_) => bail!("baseline is not a table of keys to change"),
        }
        Ok(scenario)
    }

    fn from_table(name: &str, table: toml::Table) -> anyhow::Result<Self> {
        let mut scenario = Self { name: name.to_owned(), ..table.try_into()? };
        scenario.add_unsaid();
        for target in &scenario.targets {
            ensure!(
                target.at_most.is_some() || target.at_least.is_some(),
                "the target {} needs at_most or at_least",
                target.figure
            );
        }
        Ok(scenario)
    }

    /// Adds what must hold wherever media is expected.
    fn add_unsaid(&mut self) {
        if self.viewers.options.get("silent").and_then(toml::Value::as_bool) == Some(true) {
            return;
        }
        // Who asks for a busy server asks for refusals too.
        let all_fit = self.viewers.server_busy_percent.is_none().then_some(NOBODY_FAILS);
        for (figure, name) in UNSAID.iter().chain(all_fit) {
            if self.targets.iter().all(|target| target.figure != *figure) {
                self.targets.push(Target::unsaid(figure, name));
            }
        }
    }
}

impl Target {
    /// A figure that must be zero.
    fn unsaid(figure: &str, name: &str) -> Self {
        let (figure, name) = (figure.to_owned(), name.to_owned());
        Self {
            figure,
            name,
            unit: String::new(),
            at_most: Some(0.0),
            at_least: None,
            median: false,
            or: None,
            unsaid: true,
        }
    }
}

/// A command's arguments for `options`.
///
/// # Errors
/// When a value is neither text, a number nor a truth value.
pub fn arguments(options: &Options) -> anyhow::Result<Vec<String>> {
    let mut arguments = Vec::new();
    for (name, value) in options {
        let flag = format!("--{name}");
        match value {
            toml::Value::Boolean(true) => arguments.push(flag),
            toml::Value::Boolean(false) => {}
            toml::Value::String(text) => arguments.extend([flag, text.clone()]),
            toml::Value::Integer(number) => arguments.extend([flag, number.to_string()]),
            toml::Value::Float(number) => arguments.extend([flag, number.to_string()]),
            _ => bail!("the option {name} is neither text, a number, true nor false"),
        }
    }
    Ok(arguments)
}

/// Reads `250ms`, `5s`, `2m`.
///
/// # Errors
/// When it is none of these.
pub fn parse_duration(text: &str) -> anyhow::Result<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let complaint = || format!("not a duration: {text:?}; write it as 250ms, 5s or 2m");
    let number: f64 = digits.parse().with_context(complaint)?;
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "s" => number,
        "m" => number * 60.0,
        _ => bail!(complaint()),
    };
    Duration::try_from_secs_f64(seconds).with_context(complaint)
}

fn overlay(table: &mut toml::Table, changes: toml::Table) {
    for (key, change) in changes {
        match (table.get_mut(&key), change) {
            (Some(toml::Value::Table(below)), toml::Value::Table(change)) => overlay(below, change),
            (_, change) => {
                table.insert(key, change);
            }
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(serde::de::Error::custom)
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

const fn default_warm_up() -> Duration {
    Duration::from_secs(5)
}

const fn default_rounds() -> NonZeroU16 {
    NonZeroU16::MIN
}

const fn default_duration() -> Duration {
    Duration::from_secs(30)
}

const fn default_join_rate() -> u32 {
    100
}

/// What is zero wherever media is expected, whatever else is measured: without them, a server that sends nothing, or
/// nothing that can be opened, would do well in many a scenario.
const UNSAID: &[(&str, &str)] = &[
    ("viewers_without_media", "viewers without media"),
    ("viewers_frozen", "viewers whose picture froze"),
    ("verify_failures", "packets that were not what they said"),
    ("timestamp_errors", "packets whose timestamp went back"),
    ("unknown_packets", "packets of no track"),
];

/// The same where the server is not to be full.
const NOBODY_FAILS: &(&str, &str) = &("viewers_failed", "viewers who failed");

/// The standard scenarios, in the order of the table.
const BUILT_IN: &[(&str, &str)] = &[
    ("fanout", include_str!("../scenarios/fanout.toml")),
    ("low-rate", include_str!("../scenarios/low-rate.toml")),
    ("memory", include_str!("../scenarios/memory.toml")),
    ("memory-data-channel", include_str!("../scenarios/memory-data-channel.toml")),
    ("delay", include_str!("../scenarios/delay.toml")),
    ("joins", include_str!("../scenarios/joins.toml")),
    ("two-shards", include_str!("../scenarios/two-shards.toml")),
    ("idle", include_str!("../scenarios/idle.toml")),
    ("overload", include_str!("../scenarios/overload.toml")),
    ("slow-reader", include_str!("../scenarios/slow-reader.toml")),
    ("nack-flood", include_str!("../scenarios/nack-flood.toml")),
    ("pli-flood", include_str!("../scenarios/pli-flood.toml")),
    ("rtcp-flood", include_str!("../scenarios/rtcp-flood.toml")),
    ("garbage", include_str!("../scenarios/garbage.toml")),
];

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        about = "some viewers"
        duration = "2m"
        [server]
        shards = 2
        env = { NEARCAST_HTTP__REQUESTS_PER_SECOND = "1000" }
        [publisher]
        options = { bitrate = "2.5M", fps = 30, audio = true, ignore-pli = false }
        [viewers]
        count = 10
        options = { nack = "0.5%" }
        [baseline.server]
        shards = 1
        [[target]]
        figure = "added_delay_ms.p99"
        name = "added delay"
        at_most = 5
    "#;

    #[test]
    fn options_become_arguments_of_the_command() {
        let scenario = Scenario::parse("some", TEXT).unwrap();

        let arguments = arguments(&scenario.publisher.options).unwrap();

        assert_eq!(arguments, ["--audio", "--bitrate", "2.5M", "--fps", "30"]);
    }

    #[test]
    fn a_baseline_changes_its_keys_and_nothing_else() {
        let scenario = Scenario::parse("some", TEXT).unwrap();

        let baseline = scenario.baseline.unwrap();

        assert_eq!(baseline.server.shards, Some(1));
        assert_eq!(baseline.server.env, scenario.server.env);
        assert_eq!(baseline.viewers, scenario.viewers);
        assert_eq!(baseline.duration, Duration::from_secs(120));
    }

    #[test]
    fn a_key_that_does_not_exist_is_named_in_the_complaint() {
        for (good, bad) in [("shards = 2", "shard = 2"), ("[baseline.server]", "[baseline.serve]")] {
            let text = TEXT.replacen(good, bad, 1);

            let complaint = format!("{:#}", Scenario::parse("some", &text).unwrap_err());

            assert!(complaint.contains("unknown field"), "{complaint}");
        }
    }

    #[test]
    fn a_target_without_a_bound_is_refused() {
        let text = TEXT.replace("at_most = 5", "");

        assert!(Scenario::parse("some", &text).is_err());
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_duration("1.5s").unwrap(), Duration::from_millis(1_500));
        for bad in ["", "5", "s", "5h", "-1s", "1e400s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_built_in_scenario_is_good_and_has_a_target() {
        let scenarios = Scenario::built_in().unwrap();

        assert!(scenarios.len() >= 12);
        let said = |scenario: &Scenario| scenario.targets.iter().any(|target| !target.unsaid);
        assert!(scenarios.iter().all(said));
    }

    #[test]
    fn media_that_comes_and_can_be_opened_is_a_target_wherever_viewers_are_not_silent() {
        let figures = [
            "viewers_without_media",
            "viewers_frozen",
            "verify_failures",
            "timestamp_errors",
            "unknown_packets",
        ];
        for scenario in Scenario::built_in().unwrap() {
            let expects_media = scenario.name != "idle";

            for figure in figures {
                let bounds: Vec<_> =
                    scenario.targets.iter().filter(|target| target.figure == figure).collect();
                assert_eq!(bounds.len(), usize::from(expects_media), "{figure} of {}", scenario.name);
                assert!(bounds.iter().all(|target| target.at_most == Some(0.0)), "{}", scenario.name);
            }
        }
    }

    #[test]
    fn nobody_may_fail_where_everybody_fits() {
        for scenario in Scenario::built_in().unwrap() {
            let everybody_fits = !["overload", "delay", "idle"].contains(&&*scenario.name);

            let bounded = scenario.targets.iter().any(|target| target.figure == "viewers_failed");
            assert_eq!(bounded, everybody_fits, "{}", scenario.name);
        }
    }

    #[test]
    fn a_target_that_goes_without_saying_may_be_said_otherwise() {
        let said = "[[target]]\nfigure = \"viewers_without_media\"\nname = \"late ones\"\nat_most = 3";
        let scenario = Scenario::parse("some", &format!("{TEXT}\n{said}")).unwrap();

        let bounds = scenario.targets.iter().filter(|target| target.figure == "viewers_without_media");

        assert_eq!(bounds.map(|target| target.at_most).collect::<Vec<_>>(), [Some(3.0)]);
    }

    #[test]
    fn whoever_asks_for_packets_again_has_a_target_on_the_answers() {
        for scenario in Scenario::built_in().unwrap() {
            let asks = scenario.viewers.options.contains_key("nack");
            let bounded = scenario.targets.iter().any(|target| target.figure == "nacks_answered_percent");

            assert_eq!(asks, bounded, "{}", scenario.name);
        }
    }

    #[test]
    fn what_a_bad_load_does_to_pictures_is_a_row_of_its_own() {
        for name in ["overload", "slow-reader", "nack-flood", "pli-flood", "rtcp-flood", "garbage"] {
            let scenario = Scenario::load(name).unwrap();

            let said = |target: &Target| target.figure == "viewers_frozen" && !target.unsaid;
            assert!(scenario.targets.iter().any(said), "{name}");
        }
    }
}
