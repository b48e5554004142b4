//! The paths of the table in `docs/performance.md`, played with the studio's three layers.
//!
//! Each row is run with [`RUNS`] seeds, which differ in noise, losses and in where the viewer falls into a group of
//! pictures; the worst of them is the figure. Of a path with losses that is mostly chance, as one long freeze is a run's
//! whole figure: such rows are run with [`RUNS_WITH_LOSSES`], and what is borne of them is their mean.

use std::fmt;
use std::time::Duration;

use loadtest::impair::config::{Bitrate, Config, Loss, QueueBound, Share};

use crate::decoder::Shown;
use crate::encoder::{Camera, LayerPlan};
use crate::properties::{high_queue, ranks, samples};
use crate::publisher::PublisherPlan;
use crate::receiver::Habits;
use crate::scenario::{Change, Kind, PathPlan, Scenario, ViewerPlan};
use crate::world::{Outcome, SAMPLE_MS, run};

/// Seeds of each row.
pub const RUNS: u64 = 8;
/// Seeds of a row with losses.
pub const RUNS_WITH_LOSSES: u64 = 32;

/// A figure of a row: the worst of all runs, and what it may be at most.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The path.
    pub path: &'static str,
    /// What was measured.
    pub name: &'static str,
    /// By run.
    pub values: Vec<f64>,
    /// The most that is allowed.
    pub most: f64,
    /// What is borne until that is reached.
    pub borne: Borne,
}

/// The bound that a change must not break, reached or not.
#[derive(Clone, Copy, Debug)]
pub enum Borne {
    /// Of the worst run.
    Worst(f64),
    /// Of the mean of all runs.
    Mean(f64),
}

impl Figure {
    /// The worst of all runs.
    #[must_use]
    pub fn worst(&self) -> f64 {
        self.values.iter().copied().fold(0.0, f64::max)
    }

    /// The mean of all runs.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len().max(1) as f64
    }

    /// Whether the runs are within what is borne today.
    #[must_use]
    pub fn is_bearable(&self) -> bool {
        match self.borne {
            Borne::Worst(borne) => self.worst() <= borne,
            Borne::Mean(borne) => self.mean() <= borne,
        }
    }

    /// Whether all runs are within the bound.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.worst() <= self.most
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_reached() { "reached" } else { "MISSED" };
        write!(
            formatter,
            "{:<38} {:<42} mean {:>7.2}  worst {:>7.2}  at most {:>6.2}  {verdict}",
            self.path,
            self.name,
            self.mean(),
            self.worst(),
            self.most
        )
    }
}

/// Plays every row.
#[must_use]
pub fn play() -> Vec<Figure> {
    PATHS.iter().enumerate().flat_map(|(index, path)| measure(path, index)).collect()
}

/// The run of one row, for a trace.
#[must_use]
pub fn outcome(row: usize, seed: u64) -> Option<Outcome> {
    PATHS.get(row).map(|_| run(scenario(&configs(row), seed)))
}

/// Each path of the table, with what is measured on it.
const PATHS: [&str; 6] = [
    "5 % loss, 50 ms RTT, 2 Mbit/s",
    "10 % loss, 50 ms RTT, 2 Mbit/s",
    "4 → 1 → 0.3 → 4 Mbit/s",
    "1.5 Mbit/s with a queue of 1 s",
    "2.5 Mbit/s, three layers",
    "4 → 0.056 Mbit/s, what sound takes",
];

/// What a row's path is like from which second on.
fn configs(row: usize) -> Vec<(u64, Config)> {
    let loss = |percent: u64| Loss::Even(Share::from_billionths(percent * 10_000_000));
    match row {
        0 => vec![(0, Config { loss: loss(5), ..path(2_000) })],
        1 => vec![(0, Config { loss: loss(10), ..path(2_000) })],
        2 => vec![(0, path(4_000)), (20, path(1_000)), (35, path(300)), (50, path(4_000))],
        3 => vec![(0, Config { queue: QueueBound::Time(Duration::from_secs(1)), ..path(1_500) })],
        4 => vec![(0, path(2_500))],
        // Sound keeps the queue full that the picture has left, and it stands as still as a path that became longer.
        _ => [(0, path(4_000)), (3, path(56))]
            .map(|(at, path)| (at, Config { delay: Duration::from_millis(10), ..path }))
            .into(),
    }
}

/// Reads a figure off a run.
type Measure = fn(&Outcome) -> f64;

/// What is measured on a row's path: a name, the most that is allowed, what is borne today, and how.
fn figures(row: usize) -> Vec<(&'static str, f64, Borne, Measure)> {
    let frozen = "frozen, % of 60 s";
    let worst = |name, most, of: Measure| (name, most, Borne::Worst(most), of);
    match row {
        0 => vec![(frozen, 1.0, Borne::Mean(1.0), frozen_percent)],
        1 => vec![(frozen, 5.0, Borne::Mean(5.0), frozen_percent)],
        2 => vec![
            worst("down to 1 Mbit/s, s", 2.0, |it| fits_after(it, 20, 1_000.0)),
            worst("down to 0.3 Mbit/s, s", 2.0, |it| fits_after(it, 35, 300.0)),
            worst("up to the best layer, s", 8.0, |it| best_after(it, 50)),
            worst("longest freeze but at 0.3 Mbit/s, s", 1.0, longest_freeze),
        ],
        3 => vec![worst("added delay after 5 s (p95), ms", 150.0, |it| high_queue(&it.viewers[0]))],
        4 => vec![worst("time not in the best fitting layer, %", 10.0, not_best)],
        _ => vec![worst("estimate of it after 5 s, kbit/s", 100.0, |it| most_after(it, 8))],
    }
}

fn measure(path: &'static str, row: usize) -> Vec<Figure> {
    let has_losses = configs(row).iter().any(|(_, config)| config.loss != Config::default().loss);
    let runs = if has_losses { RUNS_WITH_LOSSES } else { RUNS };
    let outcomes: Vec<Outcome> = (0..runs).filter_map(|seed| outcome(row, seed)).collect();
    let figure = |(name, most, borne, of): (_, f64, Borne, Measure)| Figure {
        path,
        name,
        values: outcomes.iter().map(of).collect(),
        most,
        borne,
    };
    figures(row).into_iter().map(figure).collect()
}

/// 50 ms of round trip and a usual queue.
fn path(kbps: u64) -> Config {
    Config {
        delay: Duration::from_millis(25),
        rate: Some(Bitrate::from_bits_per_second(kbps * 1_000)),
        queue: QueueBound::Time(Duration::from_millis(300)),
        ..Config::default()
    }
}

/// One viewer on a path that becomes another one at the seconds given, counted from its join.
fn scenario(configs: &[(u64, Config)], seed: u64) -> Scenario {
    let layer = |kbps, width, height| LayerPlan { kbps, size: (width, height) };
    let camera = Camera {
        frames_per_second: 30,
        group: [Some(120), None][seed as usize % 2],
        answers_requests: seed % 2 == 1,
        temporal: false,
        keyframe_factor: 5,
        noise_percent: 20,
    };
    let layers = vec![layer(150, 320, 180), layer(500, 640, 360), layer(1_500, 1_280, 720)];
    let joins_ms = JOIN_MS + seed * 449;
    let back = |down: &Config| Config { rate: None, ..*down };
    let down = configs[0].1;
    let changes = configs.iter().skip(1);
    Scenario {
        seed: 1_000_000 + seed,
        kind: Kind::Steps,
        publisher: PublisherPlan { camera, layers },
        uplink: Config { delay: Duration::from_millis(5), ..Config::default() },
        paths: vec![PathPlan { down, up: back(&down) }],
        viewers: vec![ViewerPlan {
            path: 0,
            joins_ms,
            habits: Habits { feedback_ms: 70, nack_hold_ms: 0, patience_ms: 3_000 },
        }],
        changes: changes
            .map(|(at, down)| Change { at_ms: joins_ms + at * 1_000, path: 0, down: *down })
            .collect(),
        length_ms: joins_ms + 65_000,
    }
}

const JOIN_MS: u64 = 5_000;

/// Gaps between pictures, in milliseconds: from, to.
fn gaps(outcome: &Outcome) -> impl Iterator<Item = (u64, u64)> {
    let shown = &outcome.viewers[0].shown;
    shown.windows(2).map(|pair| (pair[0].at_us / 1_000, pair[1].at_us / 1_000))
}

/// The share of a minute that went by in freezes, as a browser would show it: pictures come in their own time,
/// [`PLAYOUT_MS`] behind the fastest, or as soon as they can be decoded; a gap of 150 ms more than a frame is a freeze
/// (as `freezeCount` counts them, W3C webrtc-stats).
fn frozen_percent(outcome: &Outcome) -> f64 {
    let record = &outcome.viewers[0];
    let media_ms = |shown: &Shown| f64::from(shown.timestamp.wrapping_sub(record.shown[0].timestamp)) / 90.0;
    let mut fastest = f64::INFINITY;
    let mut played = 0.0_f64;
    let mut times = Vec::new();
    for shown in &record.shown {
        let (ready, media) = (shown.at_us as f64 / 1_000.0, media_ms(shown));
        fastest = fastest.min(ready - media);
        played = played.max(ready).max(fastest + media + PLAYOUT_MS);
        times.push(played);
    }
    let joined = record.joined_ms as f64;
    let minute = joined..joined + 60_000.0;
    times.retain(|time| minute.contains(time));
    // A picture that is gone for good stands still to the end, and one that never came all the time.
    times.push(minute.end);
    let since = if times.len() == 1 { Some(joined) } else { None };
    let times: Vec<f64> = since.into_iter().chain(times).collect();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.filter(|gap| *gap > 183.0).sum::<f64>() / 600.0
}

/// What a browser's jitter buffer holds on a path with losses and 50 ms of round trip: libwebrtc adds the round trip to
/// what jitter asks for. An assumption; browsers themselves are measured by `make bench-network`.
const PLAYOUT_MS: f64 = 150.0;

/// When after a change both estimate and layer are within what the path carries, for good, in seconds.
fn fits_after(outcome: &Outcome, second: u64, left: f64) -> f64 {
    let record = &outcome.viewers[0];
    let from = record.joined_ms + second * 1_000;
    let rates: Vec<f64> = outcome.scenario.layer_kbps().collect();
    let beyond = |sample: &crate::world::Sample| {
        let layer = sample.layer.map_or(0.0, |layer| rates[usize::from(layer)]);
        layer > left || sample.estimate_kbps.is_none_or(|estimate| estimate > left * 1.15)
    };
    let last = samples(record, from, from + 10_000).collect::<Vec<_>>().iter().rposition(|it| beyond(it));
    last.map_or(0.0, |at| (at + 1) as f64 * SAMPLE_MS as f64 / 1_000.0)
}

/// The highest estimate from that second on, in kbit/s.
fn most_after(outcome: &Outcome, second: u64) -> f64 {
    let record = &outcome.viewers[0];
    let estimates =
        samples(record, record.joined_ms + second * 1_000, u64::MAX).filter_map(|it| it.estimate_kbps);
    estimates.fold(0.0, f64::max)
}

/// When after a change the highest layer is there, in seconds.
fn best_after(outcome: &Outcome, second: u64) -> f64 {
    let record = &outcome.viewers[0];
    let from = record.joined_ms + second * 1_000;
    let ranks = ranks(&outcome.scenario);
    let best =
        samples(record, from, u64::MAX).position(|it| it.layer.is_some_and(|it| ranks[usize::from(it)] == 2));
    best.map_or(f64::INFINITY, |at| at as f64 * SAMPLE_MS as f64 / 1_000.0)
}

/// The longest gap while the path carries more than the lowest layer, in seconds.
fn longest_freeze(outcome: &Outcome) -> f64 {
    let record = &outcome.viewers[0];
    let [low, high] = [35, 50].map(|second| record.joined_ms + second * 1_000);
    let last = record.shown.last().map_or(0, |shown| shown.at_us / 1_000);
    let all = gaps(outcome).chain([(last, outcome.scenario.length_ms)]);
    let outside =
        all.map(|(from, to)| if from < low { to.min(low) - from } else { to - from.clamp(high.min(to), to) });
    outside.max().unwrap_or(0) as f64 / 1_000.0
}

/// The share of a minute in another layer than the highest, in percent.
fn not_best(outcome: &Outcome) -> f64 {
    let record = &outcome.viewers[0];
    let ranks = ranks(&outcome.scenario);
    let minute: Vec<_> = samples(record, record.joined_ms, record.joined_ms + 60_000).collect();
    let other = minute.iter().filter(|it| it.layer.is_none_or(|it| ranks[usize::from(it)] != 2)).count();
    other as f64 * 100.0 / minute.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_is_gone_for_good_is_frozen_until_the_minute_ends() {
        let mut outcome = outcome(0, 0).unwrap();
        assert!(frozen_percent(&outcome) < 5.0, "{}", frozen_percent(&outcome));
        let half = outcome.viewers[0].joined_ms * 1_000 + 30_000_000;

        outcome.viewers[0].shown.retain(|shown| shown.at_us < half);
        assert!((49.0..55.0).contains(&frozen_percent(&outcome)), "{}", frozen_percent(&outcome));

        outcome.viewers[0].shown.clear();
        assert!((99.0..=100.0).contains(&frozen_percent(&outcome)), "{}", frozen_percent(&outcome));
    }
}
