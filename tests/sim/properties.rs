//! What is promised on every seed, and the judgement of a run.

use std::fmt;

use loadtest::impair::config::Config;

use crate::scenario::{Kind, Scenario, left_kbps};
use crate::world::{Outcome, Record, SAMPLE_MS, Sample};

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// Every number goes out once and none is left out, but for packets that never reached the server; frames are
    /// whole, pictures and timestamps continuous, nothing malformed is sent.
    Numbering,
    /// No picture and no sound stands still for longer than [`STALL_MAX_MS`] once the path has carried the lowest layer
    /// and a fifth more for [`CARRIED_MS`].
    Stall,
    /// Nothing waits in the server for longer than [`WAIT_MAX_MS`], and the queue of a path that does not change is
    /// short.
    Queue,
    /// On a steady path the mean estimate of the second to third five seconds is near what is left of the rate, or at
    /// least the top layer's rate where the path carries that.
    Estimate,
    /// The same, eight seconds after a drop.
    AfterDrop,
    /// Wherever a viewer's own path changes and stays for [`SETTLED_MS`], most of what it carries is found.
    Found,
    /// On a steady path the layer changes at most twice in ten seconds.
    Switches,
    /// Two viewers behind one bottleneck have estimates alike.
    Alike,
    /// Two viewers behind one bottleneck are never more than a layer apart.
    Apart,
}

impl Property {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Numbering,
        Self::Stall,
        Self::Queue,
        Self::Estimate,
        Self::AfterDrop,
        Self::Found,
        Self::Switches,
        Self::Alike,
        Self::Apart,
    ];

    /// Finds a property by its name, as [`Self`]'s `Debug` writes it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|property| format!("{property:?}") == name)
    }

    /// The part of runs that may break it as promised, in a thousandth.
    pub(crate) const fn promised_permille_max(self) -> usize {
        if matches!(self, Self::Alike) { 50 } else { 0 }
    }

    /// The part of runs that may break it today, in a thousandth.
    ///
    /// All of it is promised on every seed, but for [`Self::Alike`], which is promised on 95 of 100. What is not kept
    /// yet has a bound here a little above what was measured, so that it gets no worse; docs/simulation.md says why
    /// it is not kept. A bound that is met with room is to be lowered in the same commit.
    pub(crate) const fn broken_permille_max(self) -> usize {
        match self {
            Self::Numbering => 0,
            Self::Queue | Self::Estimate => 10,
            Self::AfterDrop => 5,
            Self::Stall => 25,
            Self::Switches => 35,
            Self::Apart => 30,
            Self::Alike => 70,
            Self::Found => 90,
        }
    }
}

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub struct Breach {
    /// Which.
    pub property: Property,
    /// Whose.
    pub viewer: usize,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}, viewer {}: {}", self.property, self.viewer, self.what)
    }
}

/// The judgement of a run: what was held to, and what was not kept.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Which properties the run was a test of.
    pub judged: Vec<Property>,
    /// Which of them do not hold.
    pub breaches: Vec<Breach>,
}

/// The longest that a picture may stand still.
pub const STALL_MAX_MS: u64 = 1_000;
/// For how long the path must have carried it by then.
pub const CARRIED_MS: u64 = 2_000;
/// By how much more than the lowest layer takes.
const CARRIED_FACTOR: f64 = 1.2;
/// The longest that a packet waits in the server: what the pacer promises, and a step of it.
const WAIT_MAX_MS: f64 = 206.0;
/// The longest queue that nineteen of twenty packets find, besides that of a single keyframe.
const PATH_QUEUE_MAX_MS: f64 = 150.0;
/// The time for which a change of a path stays, of whose second half the estimate is looked at.
const SETTLED_MS: u64 = 8_000;
/// The part of what is of use there that has to be found by then.
const FOUND: f64 = 0.6;
/// How far the estimate may stray.
const STRAY: f64 = 0.15;
/// From this many times the top layer's rate on a path carries it for sure: a step up wants this much.
const AMPLE: f64 = 1.15;
/// How far apart the estimates of two viewers may be.
const UNLIKE: f64 = 0.2;

/// Judges a run.
#[must_use]
pub fn judge(outcome: &Outcome) -> Judgement {
    let mut judgement = Judgement::default();
    judge_numbering(outcome, &mut judgement);
    judge_stalls(outcome, &mut judgement);
    let estimated = outcome.viewers.iter().flat_map(|record| &record.samples);
    if estimated.filter_map(|sample| sample.estimate_kbps).next().is_none() {
        return judgement;
    }
    judge_queues(outcome, &mut judgement);
    match outcome.scenario.kind {
        Kind::Steady => {
            judge_steady(outcome, &mut judgement);
            judge_switches(outcome, &mut judgement);
        }
        Kind::Steps => judge_drops(outcome, &mut judgement),
        Kind::Pair => judge_pair(outcome, &mut judgement),
        Kind::Storm => judge_changes(outcome, &mut judgement),
        Kind::Blackout => {}
    }
    judgement
}

impl Judgement {
    fn begin(&mut self, property: Property) {
        if !self.judged.contains(&property) {
            self.judged.push(property);
        }
    }

    fn breach(&mut self, property: Property, viewer: usize, what: String) {
        self.breaches.push(Breach { property, viewer, what });
    }
}

fn judge_numbering(outcome: &Outcome, judgement: &mut Judgement) {
    judgement.begin(Property::Numbering);
    for fault in outcome.faults.iter().take(3) {
        judgement.breach(Property::Numbering, 0, fault.clone());
    }
    for (viewer, record) in outcome.viewers.iter().enumerate() {
        for (at, fault) in record.faults.iter().take(3) {
            judgement.breach(Property::Numbering, viewer, format!("at {at} ms {fault}"));
        }
        for (holes, never_came) in record.holes.iter().zip(&outcome.never_came) {
            if holes > never_came {
                let what = format!("{holes} numbers left out, {never_came} packets never came");
                judgement.breach(Property::Numbering, viewer, what);
            }
        }
    }
}

fn judge_stalls(outcome: &Outcome, judgement: &mut Judgement) {
    judgement.begin(Property::Stall);
    for (viewer, record) in outcome.viewers.iter().enumerate() {
        let healthy = healthy_spans(&outcome.scenario, viewer);
        let pictures = record.shown.iter().map(|shown| shown.at_us / 1_000);
        let sounds = record.audio.iter().map(|(at_us, _)| at_us / 1_000);
        for (name, longest) in [
            ("no picture", longest_gap(record.joined_ms, pictures, &healthy)),
            ("no sound", longest_gap(record.joined_ms, sounds, &healthy)),
        ] {
            if let Some((from, to)) = longest.filter(|(from, to)| to - from > STALL_MAX_MS) {
                let Sample { layer, allocation, .. } =
                    samples(record, (from + to) / 2, u64::MAX).next().copied().unwrap_or_default();
                let what = format!("{name} from {from} to {to} ms (layer {layer:?}, {allocation})");
                judgement.breach(Property::Stall, viewer, what);
            }
        }
    }
}

/// The spans of time in which a viewer's path has carried what it must for long enough.
fn healthy_spans(scenario: &Scenario, viewer: usize) -> Vec<(u64, u64)> {
    let plan = scenario.viewers[viewer];
    let changes =
        scenario.changes.iter().filter(|change| change.path == plan.path).map(|change| change.at_ms);
    // A viewer who joins takes its share from then on.
    let joins = scenario.viewers_of(plan.path).map(|other| scenario.viewers[other].joins_ms);
    let mut edges: Vec<u64> = changes
        .chain(joins)
        .filter(|at| *at > plan.joins_ms)
        .chain([plan.joins_ms, scenario.length_ms])
        .collect();
    edges.sort_unstable();
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for edge in edges.windows(2) {
        let (from, to) = (edge[0], edge[1]);
        let present =
            scenario.viewers_of(plan.path).filter(|other| scenario.viewers[*other].joins_ms <= from);
        let needed = scenario.lowest_kbps() * CARRIED_FACTOR * present.count() as f64;
        if left_kbps(&scenario.down_at(plan.path, from)) < needed {
            continue;
        }
        match spans.last_mut() {
            Some(span) if span.1 == from => span.1 = to,
            _ => spans.push((from, to)),
        }
    }
    spans.into_iter().map(|(from, to)| (from + CARRIED_MS, to)).filter(|(from, to)| from < to).collect()
}

/// The longest time inside of the spans without an event.
fn longest_gap(
    joined_ms: u64,
    events: impl Iterator<Item = u64>,
    spans: &[(u64, u64)],
) -> Option<(u64, u64)> {
    let end = spans.last()?.1;
    let mut longest: Option<(u64, u64)> = None;
    let mut before = joined_ms;
    for event in events.chain([end]) {
        for (from, to) in spans {
            let (from, to) = (before.max(*from), event.min(*to));
            if to > from && longest.is_none_or(|(a, b)| to - from > b - a) {
                longest = Some((from, to));
            }
        }
        before = event;
    }
    longest
}

fn judge_queues(outcome: &Outcome, judgement: &mut Judgement) {
    judgement.begin(Property::Queue);
    let scenario = &outcome.scenario;
    for (viewer, record) in outcome.viewers.iter().enumerate() {
        let waited = record.samples.iter().map(|sample| sample.waited_ms).fold(0.0, f64::max);
        if waited > WAIT_MAX_MS {
            judgement.breach(
                Property::Queue,
                viewer,
                format!("a packet waited {waited:.0} ms in the server"),
            );
        }
        if scenario.kind != Kind::Steady {
            continue;
        }
        let high = high_queue(record);
        let most = PATH_QUEUE_MAX_MS + keyframe_ms(scenario, record);
        if high > most {
            let what = format!("the path's queue is {high:.0} ms long, more than {most:.0}");
            judgement.breach(Property::Queue, viewer, what);
        }
    }
}

/// The queue that nineteen of twenty packets find at most, from five seconds after the join on, in milliseconds.
pub(crate) fn high_queue(record: &Record) -> f64 {
    let late = record.queues.iter().filter(|(at, _)| *at >= record.joined_ms + 5_000);
    let mut queues: Vec<f64> = late.map(|(_, queue)| *queue).collect();
    queues.sort_unstable_by(f64::total_cmp);
    queues.get(queues.len() * 95 / 100).copied().unwrap_or(0.0)
}

/// How long the path takes for a keyframe of the layer that the viewer has at the end.
fn keyframe_ms(scenario: &Scenario, record: &Record) -> f64 {
    let layer = record.samples.last().and_then(|sample| sample.layer).unwrap_or(0);
    let camera = &scenario.publisher.camera;
    let kbps = scenario.layer_kbps().nth(usize::from(layer)).unwrap_or(0.0);
    let kbits = kbps / f64::from(camera.frames_per_second) * f64::from(camera.keyframe_factor);
    let rate =
        scenario.paths[0].down.rate.map_or(f64::INFINITY, |rate| rate.bits_per_second() as f64 / 1_000.0);
    kbits / rate * 1_000.0
}

fn judge_steady(outcome: &Outcome, judgement: &mut Judgement) {
    judgement.begin(Property::Estimate);
    let record = &outcome.viewers[0];
    let from = record.joined_ms + 5_000;
    let mean = mean_estimate(record, from, from + 10_000);
    if let Some(what) = stray(&outcome.scenario, &outcome.scenario.paths[0].down, mean) {
        judgement.breach(Property::Estimate, 0, what);
    }
}

fn judge_drops(outcome: &Outcome, judgement: &mut Judgement) {
    let scenario = &outcome.scenario;
    for (index, change) in scenario.changes.iter().enumerate() {
        let before = scenario.down_at(change.path, change.at_ms - 1);
        let until = scenario.changes.get(index + 1).map_or(scenario.length_ms, |next| next.at_ms);
        if left_kbps(&change.down) >= left_kbps(&before) {
            continue;
        }
        judgement.begin(Property::AfterDrop);
        let mean = mean_estimate(&outcome.viewers[0], change.at_ms + 8_000, until);
        if let Some(what) = stray(scenario, &change.down, mean) {
            judgement.breach(Property::AfterDrop, 0, format!("drop at {} ms: {what}", change.at_ms));
        }
    }
}

fn judge_changes(outcome: &Outcome, judgement: &mut Judgement) {
    let scenario = &outcome.scenario;
    for (viewer, record) in outcome.viewers.iter().enumerate() {
        let plan = scenario.viewers[viewer];
        if scenario.viewers_of(plan.path).count() > 1 {
            continue;
        }
        let changes: Vec<_> = scenario.changes.iter().filter(|change| change.path == plan.path).collect();
        for (index, change) in changes.iter().enumerate() {
            let until = changes.get(index + 1).map_or(scenario.length_ms, |next| next.at_ms);
            if change.at_ms < plan.joins_ms + CARRIED_MS || until < change.at_ms + SETTLED_MS {
                continue;
            }
            judgement.begin(Property::Found);
            let mean = mean_estimate(record, change.at_ms + SETTLED_MS / 2, change.at_ms + SETTLED_MS);
            let useful = left_kbps(&change.down).min(scenario.top_kbps());
            if mean < FOUND * useful {
                let what =
                    format!("change at {} ms: mean estimate {mean:.0} of {useful:.0} kbit/s", change.at_ms);
                judgement.breach(Property::Found, viewer, what);
            }
        }
    }
}

/// Says how an estimate strays from what it should be.
fn stray(scenario: &Scenario, down: &Config, mean: f64) -> Option<String> {
    let (left, top) = (left_kbps(down), scenario.top_kbps());
    let near = (left * (1.0 - STRAY)..=left * (1.0 + STRAY)).contains(&mean);
    let enough = mean >= top;
    // Where the top layer just fits, it may be had or not; where it does not fit, nothing but the path limits.
    let kept = if left >= top * AMPLE { enough } else { near };
    (!kept).then(|| {
        format!("mean estimate {mean:.0}, {left:.0} left, top layer {top:.0} kbit/s ({:.2})", mean / left)
    })
}

fn judge_switches(outcome: &Outcome, judgement: &mut Judgement) {
    judgement.begin(Property::Switches);
    for (viewer, record) in outcome.viewers.iter().enumerate() {
        // The first is the join.
        let times: Vec<u64> = record.switches.iter().skip(1).map(|switch| switch.at_ms).collect();
        if let Some(three) = times.windows(3).find(|three| three[2] - three[0] < 10_000) {
            let what = format!("three switches from {} to {} ms, {} in all", three[0], three[2], times.len());
            judgement.breach(Property::Switches, viewer, what);
        }
    }
}

fn judge_pair(outcome: &Outcome, judgement: &mut Judgement) {
    judgement.begin(Property::Alike);
    judgement.begin(Property::Apart);
    let scenario = &outcome.scenario;
    let (from, to) = (scenario.length_ms - 30_000, scenario.length_ms);
    let [one, other] = [0, 1].map(|viewer| mean_estimate(&outcome.viewers[viewer], from, to));
    if one.min(other) < (1.0 - UNLIKE) * one.max(other) {
        let left = left_kbps(&scenario.paths[0].down);
        let what = format!(
            "mean estimates {one:.0} and {other:.0} of {left:.0} kbit/s ({:.2})",
            one.min(other) / one.max(other)
        );
        judgement.breach(Property::Alike, 0, what);
    }
    let ranks = ranks(scenario);
    let rank = |sample: &Sample| sample.layer.map_or(-1, |layer| ranks[usize::from(layer)]);
    let [ones, others] = [0, 1].map(|viewer| samples(&outcome.viewers[viewer], from, to));
    let apart = ones.zip(others).filter(|(one, other)| rank(one).abs_diff(rank(other)) > 1).count();
    if apart > 0 {
        let what = format!("more than one layer apart in {} ms of 30 s", apart as u64 * SAMPLE_MS);
        judgement.breach(Property::Apart, 0, what);
    }
}

/// The place of each layer by its rate, the lowest 0.
pub(crate) fn ranks(scenario: &Scenario) -> Vec<i32> {
    let rates: Vec<u32> = scenario.publisher.layers.iter().map(|layer| layer.kbps).collect();
    rates.iter().map(|rate| rates.iter().filter(|other| *other < rate).count() as i32).collect()
}

/// The mean of a viewer's estimate in kbit/s; what it had not yet counts as nought.
pub(crate) fn mean_estimate(record: &Record, from_ms: u64, to_ms: u64) -> f64 {
    let (sum, count) = samples(record, from_ms, to_ms)
        .fold((0.0, 0_u32), |(sum, count), sample| (sum + sample.estimate_kbps.unwrap_or(0.0), count + 1));
    sum / f64::from(count.max(1))
}

pub(crate) fn samples(record: &Record, from_ms: u64, to_ms: u64) -> impl Iterator<Item = &Sample> {
    let place = |at_ms: u64| ((at_ms / SAMPLE_MS) as usize).min(record.samples.len());
    record.samples[place(from_ms)..place(to_ms)].iter()
}
