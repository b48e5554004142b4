//! Whether the path's queue grows: run by run, the change of one-way delay and its trend. Packet path.
//!
//! **By run.** Packets of one run left in one system call, so the distances between their arrivals show the
//! bottleneck's speed and nothing of its queue. Only the *first* arrival of a run is looked at, and runs within
//! [`BURST`] count as one.
//!
//! **Only a queue that stands counts.** A keyframe, ours or that of another who shares the bottleneck, fills the
//! queue for a moment, and the queue drains again if there is room for it. What matters is the shortest queue of the
//! last quarter of a second. All who share a bottleneck see the same one, so all of them yield alike; a detector
//! that forgave only its own keyframes would let the larger sender starve the smaller.
//!
//! **Trend.** The changes are summed and smoothed, a line is fitted through the last [`WINDOW`] points, and its slope is
//! compared with a threshold that follows the noise of the path (as libwebrtc's trendline estimator does).

use std::time::Duration;

use super::history::Status;
use super::path_length::{Longer, PathLength};

/// Runs sent within this time are one point.
const BURST: i64 = 5_000;

/// Points that the line is fitted through: a quarter of a second of video and audio.
const WINDOW: usize = 20;

/// How much of the old sum a new point leaves.
const SMOOTHING: f64 = 0.9;

/// A slope is multiplied by the number of points it rests on, at most this, and by the gain.
const POINTS_MAX: f64 = 60.0;
const GAIN: f64 = 4.0;

const THRESHOLD_START: f64 = 12.5;
const THRESHOLD_MIN: f64 = 6.0;
const THRESHOLD_MAX: f64 = 600.0;
/// A trend this far beyond the threshold is an event, not noise, and does not move it.
const THRESHOLD_REACH: f64 = 15.0;
const THRESHOLD_UP: f64 = 0.008_7;
const THRESHOLD_DOWN: f64 = 0.039;

/// How long a trend must stay above the threshold.
const OVERUSE_MS: f64 = 10.0;

/// A queue that is not this much longer than usual is never overuse: there is nothing to drain.
const QUEUE_MIN_MS: f64 = 15.0;

/// A queue that is not this much longer than usual does not stand.
const STANDING_MIN_MS: f64 = 4.0;

/// A queue longer than this that does not shrink is overuse, whatever explains it.
const QUEUE_MAX_MS: f64 = 80.0;

/// A change of delay beyond this is another path or another clock.
const LEAP_MS: f64 = 3_000.0;

/// How long the lowest delay stays the floor, at least; at most twice as long.
const FLOOR_MS: f64 = 10_000.0;

/// What the trend says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Usage {
    /// The queue stands still.
    #[default]
    Normal,
    /// The queue grows: more is sent than the path carries.
    Over,
    /// The queue shrinks.
    Under,
}

/// The detector.
#[derive(Debug)]
pub(super) struct DelayDetector {
    burst: Option<Burst>,
    before: Option<Burst>,
    trend: Trend,
    level: QueueLevel,
    noise: Noise,
    /// The newest delays over their sending times, in milliseconds.
    delays: [(f64, f64); WINDOW],
    count: usize,
    usage: Usage,
    /// How long the newest packet took, by two clocks.
    newest_us: i64,
}

/// Runs that left together.
#[derive(Clone, Copy, Debug)]
struct Burst {
    run: u8,
    sent_us: i64,
    last_sent_us: i64,
    /// The first arrival.
    arrival_us: i64,
}

impl Burst {
    /// Returns how long the first packet took, by two clocks.
    fn delay_ms(&self) -> f64 {
        millis(self.arrival_us.saturating_sub(self.sent_us))
    }
}

impl DelayDetector {
    /// Reads what feedback reads; see [`crate::viewer::Viewer::warm_report`].
    pub(super) fn warm(&self) -> u64 {
        let here = self.noise.mean_ms.to_bits() ^ self.level.began_ms.to_bits();
        // Four of them in a line of the cache.
        let delays = self.delays.iter().step_by(4).fold(here, |read, (at, _)| read ^ at.to_bits());
        delays ^ u64::from(self.burst.is_some())
    }

    pub(super) fn new() -> Self {
        Self {
            burst: None,
            before: None,
            trend: Trend::new(),
            level: QueueLevel::default(),
            noise: Noise::default(),
            delays: [(0.0, 0.0); WINDOW],
            count: 0,
            usage: Usage::Normal,
            newest_us: 0,
        }
    }

    /// Forgets the path: another clock, or another route.
    pub(super) fn reset(&mut self) {
        let threshold = self.trend.threshold;
        *self = Self::new();
        self.trend.threshold = threshold;
    }

    /// Takes a packet that arrived, in the order of sending.
    pub(super) fn handle_received(&mut self, status: &Status, arrival_us: i64) {
        self.newest_us = arrival_us.saturating_sub(status.sent_us);
        let begun =
            Burst { run: status.run, sent_us: status.sent_us, last_sent_us: status.sent_us, arrival_us };
        let Some(burst) = &mut self.burst else {
            self.burst = Some(begun);
            return;
        };
        if status.sent_us < burst.sent_us {
            return;
        }
        let same_run = status.run == burst.run && status.sent_us == burst.last_sent_us;
        if same_run || status.sent_us.saturating_sub(burst.sent_us) < BURST {
            burst.run = status.run;
            burst.last_sent_us = status.sent_us;
            burst.arrival_us = burst.arrival_us.min(arrival_us);
            return;
        }
        let ended = *burst;
        self.burst = Some(begun);
        match self.before.replace(ended) {
            Some(before) => self.compare(&before, &ended),
            // What begins with a keyframe fills the path's queue at once: only its first packet finds it empty.
            None => self.level.add(millis(ended.sent_us), ended.delay_ms()),
        }
    }

    /// Says whether so little is sent that no queue could come of it: what looks like one then is the path itself.
    pub(super) const fn set_idle(&mut self, idle: bool) {
        self.level.length.set_idle(idle);
    }

    /// Says whether a queue may be there that does not drain when less is sent.
    pub(super) const fn set_contended(&mut self, is_contended: bool) {
        self.level.length.set_contended(is_contended);
    }

    /// Returns what the newest point says.
    pub(super) const fn usage(&self) -> Usage {
        self.usage
    }

    /// Returns how much longer packets take than the fastest of the last ten seconds did.
    pub(super) fn queue(&self) -> Duration {
        Duration::from_secs_f64(self.level.queue_ms() / 1_000.0)
    }

    /// Returns how much longer the newest packet took than the fastest did: the queue as it is, jitter and what waits for
    /// its own run included.
    pub(super) fn newest(&self) -> Duration {
        let floor_ms = self.level.floor_ms().or_else(|| self.burst.map(|burst| burst.delay_ms()));
        let newest_ms = millis(self.newest_us);
        let above_ms = newest_ms - floor_ms.unwrap_or(newest_ms);
        Duration::from_secs_f64(above_ms.clamp(0.0, LEAP_MS) / 1_000.0)
    }

    /// Returns the queue without what jitter alone makes look like one.
    pub(super) fn unusual(&self) -> Duration {
        Duration::from_secs_f64((self.level.queue_ms() - self.level.usual_ms).max(0.0) / 1_000.0)
    }

    /// Returns how much of the queue is more than jitter alone makes it look.
    pub(super) fn standing(&self) -> Duration {
        let above_ms = self.level.standing_ms() - self.level.usual_ms - STANDING_MIN_MS;
        Duration::from_secs_f64(above_ms.max(0.0) / 1_000.0)
    }

    /// Returns the rate at which all senders together exceed the path, relative to the path: what the queue grew
    /// by lately, in seconds a second. All who share a queue see the same.
    pub(super) fn growth(&self) -> f64 {
        if self.count < WINDOW {
            return 0.0;
        }
        fitted_slope(&self.delays).unwrap_or(0.0).max(0.0)
    }

    /// Says whether what looks like a queue may be a path that has become longer.
    pub(super) const fn is_unsure(&self) -> bool {
        self.level.length.is_unsure()
    }

    /// Says once that the path has become longer: what looked like a queue was none.
    pub(super) const fn take_longer(&mut self) -> Option<Longer> {
        self.level.length.take_longer()
    }

    /// Returns how much the delay changes from run to run for no reason that we know.
    pub(super) fn noise(&self) -> Duration {
        Duration::from_secs_f64(self.noise.mean_ms.clamp(0.0, LEAP_MS) / 1_000.0)
    }

    fn compare(&mut self, before: &Burst, ended: &Burst) {
        let sent_ms = millis(ended.sent_us.saturating_sub(before.sent_us));
        let arrived_ms = millis(ended.arrival_us.saturating_sub(before.arrival_us));
        let change_ms = arrived_ms - sent_ms;
        if change_ms.abs() > LEAP_MS {
            self.reset();
            return;
        }
        let delay_ms = ended.delay_ms();
        let at_ms = millis(ended.sent_us);
        self.level.add(at_ms, delay_ms);
        if let Some(place) = self.delays.get_mut(self.count % WINDOW) {
            *place = (at_ms, delay_ms);
        }
        self.count = self.count.wrapping_add(1);
        self.noise.add(change_ms);
        let usage = self.trend.add(millis(ended.arrival_us), change_ms, sent_ms);
        let standing_ms = self.level.standing_ms();
        self.usage = match usage {
            Usage::Over if standing_ms < QUEUE_MIN_MS + self.level.usual_ms => Usage::Normal,
            Usage::Normal if standing_ms > QUEUE_MAX_MS => Usage::Over,
            _ => usage,
        };
    }
}

/// The delay above its floor, smoothed so that jitter does not read as a queue.
#[derive(Debug, Default)]
struct QueueLevel {
    smoothed_ms: Option<f64>,
    /// How many points were smoothed.
    points: u32,
    /// The lowest of the running period and of the one before.
    floor_ms: f64,
    floor_before_ms: f64,
    began_ms: f64,
    /// What jitter alone makes look like a queue.
    usual_ms: f64,
    /// The shortest queue of the running slice of time and of the two before, newest first.
    shortest_ms: [f64; 3],
    slice_began_ms: f64,
    length: PathLength,
}

impl QueueLevel {
    fn add(&mut self, at_ms: f64, delay_ms: f64) {
        let Some(before) = self.smoothed_ms else {
            *self = Self {
                smoothed_ms: Some(delay_ms),
                points: 0,
                floor_ms: delay_ms,
                floor_before_ms: delay_ms,
                began_ms: at_ms,
                usual_ms: 0.0,
                shortest_ms: [0.0; 3],
                slice_began_ms: at_ms,
                length: PathLength::at(at_ms, delay_ms),
            };
            return;
        };
        // The queue that a join makes is gone as soon as a packet finds none.
        let is_drained = self.points < FIRST_POINTS && delay_ms < before;
        let smoothed = if is_drained { delay_ms } else { before + (delay_ms - before) * LEVEL_SHARE };
        self.smoothed_ms = Some(smoothed);
        self.points = self.points.saturating_add(1);
        if let Some(floor_ms) = self.length.add(at_ms, smoothed, self.queue_ms()) {
            (self.floor_ms, self.floor_before_ms) = (floor_ms, floor_ms);
        }
        self.floor_ms = self.floor_ms.min(smoothed);
        if at_ms - self.began_ms > FLOOR_MS {
            self.floor_before_ms = self.floor_ms;
            self.floor_ms = smoothed;
            self.began_ms = at_ms;
        }
        let usual = self.queue_ms().min(self.usual_ms * 2.0 + 1.0);
        self.usual_ms = (self.usual_ms + (usual - self.usual_ms) * USUAL_SHARE).min(USUAL_MAX_MS);
        self.keep_shortest(at_ms);
    }

    fn keep_shortest(&mut self, at_ms: f64) {
        let queue_ms = self.queue_ms();
        if at_ms - self.slice_began_ms > SLICE_MS {
            self.shortest_ms.rotate_right(1);
            self.slice_began_ms = at_ms;
            let [newest, ..] = &mut self.shortest_ms;
            *newest = queue_ms;
        }
        let [newest, ..] = &mut self.shortest_ms;
        *newest = newest.min(queue_ms);
    }

    /// Returns the queue that has been there for a while.
    fn standing_ms(&self) -> f64 {
        self.shortest_ms.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn queue_ms(&self) -> f64 {
        self.smoothed_ms
            .zip(self.floor_ms())
            .map_or(0.0, |(smoothed, floor)| (smoothed - floor).clamp(0.0, LEAP_MS))
    }

    fn floor_ms(&self) -> Option<f64> {
        self.smoothed_ms.map(|_| self.floor_ms.min(self.floor_before_ms))
    }
}

/// A queue stands that was never shorter within the last two to three slices.
const SLICE_MS: f64 = 100.0;

/// How much of the present level enters the usual one, and the most that counts as usual.
const USUAL_SHARE: f64 = 0.01;
const USUAL_MAX_MS: f64 = 25.0;

/// For so many points, most of a second, a shorter delay counts at once.
const FIRST_POINTS: u32 = 24;

/// How much of a new delay enters the smoothed one.
const LEVEL_SHARE: f64 = 0.15;

/// The usual change of delay from run to run; single large ones hardly count.
#[derive(Debug, Default)]
struct Noise {
    mean_ms: f64,
}

impl Noise {
    fn add(&mut self, change_ms: f64) {
        let usual = change_ms.abs().min(self.mean_ms * 2.0 + 1.0);
        self.mean_ms += (usual - self.mean_ms) * NOISE_SHARE;
    }
}

/// How much of a new change enters the mean.
const NOISE_SHARE: f64 = 0.04;

/// The line through the summed changes, and its judgement.
#[derive(Debug)]
struct Trend {
    points: [(f64, f64); WINDOW],
    count: usize,
    sum_ms: f64,
    smoothed_ms: f64,
    began_ms: Option<f64>,
    slope: f64,
    threshold: f64,
    /// How long the trend has been above the threshold.
    over_ms: f64,
    at_ms: f64,
}

impl Trend {
    const fn new() -> Self {
        Self {
            points: [(0.0, 0.0); WINDOW],
            count: 0,
            sum_ms: 0.0,
            smoothed_ms: 0.0,
            began_ms: None,
            slope: 0.0,
            threshold: THRESHOLD_START,
            over_ms: 0.0,
            at_ms: 0.0,
        }
    }

    fn add(&mut self, arrival_ms: f64, change_ms: f64, sent_ms: f64) -> Usage {
        let began = *self.began_ms.get_or_insert(arrival_ms);
        self.sum_ms += change_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.sum_ms;
        if let Some(point) = self.points.get_mut(self.count % WINDOW) {
            *point = (arrival_ms - began, self.smoothed_ms);
        }
        self.count = self.count.saturating_add(1);
        if self.count < WINDOW {
            return Usage::Normal;
        }
        let slope = fitted_slope(&self.points).unwrap_or(self.slope);
        let steepens = slope >= self.slope;
        self.slope = slope;
        let trend = slope * (self.count as f64).min(POINTS_MAX) * GAIN;
        let usage = self.judge(trend, steepens, sent_ms);
        self.adapt(trend, arrival_ms);
        usage
    }

    fn judge(&mut self, trend: f64, steepens: bool, sent_ms: f64) -> Usage {
        if trend > self.threshold {
            self.over_ms += sent_ms;
            return if self.over_ms > OVERUSE_MS && steepens { Usage::Over } else { Usage::Normal };
        }
        self.over_ms = 0.0;
        if trend < -self.threshold { Usage::Under } else { Usage::Normal }
    }

    /// Moves the threshold towards the trend, so that on a noisy path it takes more to be congestion.
    fn adapt(&mut self, trend: f64, arrival_ms: f64) {
        let elapsed = (arrival_ms - self.at_ms).clamp(0.0, 100.0);
        self.at_ms = arrival_ms;
        let distance = trend.abs() - self.threshold;
        if distance > THRESHOLD_REACH {
            return;
        }
        let speed = if distance < 0.0 { THRESHOLD_DOWN } else { THRESHOLD_UP };
        self.threshold = (self.threshold + speed * distance * elapsed).clamp(THRESHOLD_MIN, THRESHOLD_MAX);
    }
}

/// Returns the slope of the line with the least squares; `None` when all points lie at one time.
fn fitted_slope(points: &[(f64, f64); WINDOW]) -> Option<f64> {
    let count = WINDOW as f64;
    let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), (x, y)| {
        let from_mean = x - mean_x;
        (above + from_mean * (y - mean_y), below + from_mean * from_mean)
    });
    (below > f64::EPSILON).then(|| above / below)
}

fn millis(micros: i64) -> f64 {
    micros as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_queue_is_overuse_and_a_draining_one_underuse() {
        let mut detector = DelayDetector::new();

        let steady = feed(&mut detector, 0..40, |_| 0.0);
        let growing = feed(&mut detector, 40..80, |run| (run - 40) as f64 * 2.0);
        let draining = feed(&mut detector, 80..120, |run| 80.0 - (run - 80) as f64 * 2.0);

        assert_eq!((steady, growing, draining), (Usage::Normal, Usage::Over, Usage::Under));
    }

    #[test]
    fn packets_of_one_run_arrive_apart_without_meaning_anything() {
        let mut detector = DelayDetector::new();
        let mut worst = Usage::Normal;

        for run in 0..100_i64 {
            let packets = if run % 2 == 0 { 1 } else { 12 };
            for packet in 0..packets {
                let sent_us = run * 33_000;
                let status = status(sent_us, run);
                detector.handle_received(&status, sent_us + 20_000 + packet * 2_500);
            }
            if detector.usage() == Usage::Over {
                worst = Usage::Over;
            }
        }

        assert_eq!(worst, Usage::Normal);
    }

    #[test]
    fn a_keyframe_sent_faster_than_the_path_is_no_overuse() {
        let mut detector = DelayDetector::new();
        let (mut free_us, mut over) = (0_i64, 0);

        for tick in 0..4_000_i64 {
            // Every two seconds forty packets at 2.5 times the rate, otherwise half the rate.
            let in_second = tick % 400;
            let packets =
                if in_second < 80 { i64::from(in_second % 2 == 0) } else { i64::from(in_second % 4 == 0) };
            for _ in 0..packets {
                let sent_us = tick * 5_000;
                free_us = free_us.max(sent_us) + 9_600;
                detector.handle_received(&status(sent_us, tick), free_us + 20_000);
                over += u32::from(detector.usage() == Usage::Over);
            }
        }

        assert_eq!(over, 0);
    }

    #[test]
    fn what_the_first_packets_fill_the_queue_with_is_a_queue_of_the_newest_and_soon_of_all() {
        let mut detector = DelayDetector::new();
        // A keyframe of forty packets at once, of which the path takes one each two milliseconds, and what follows it.
        for packet in 0..40 {
            detector.handle_received(&status(0, 0), 20_000 + packet * 2_000);
        }
        assert_eq!(detector.newest(), Duration::from_millis(78));

        for run in 1..=20 {
            detector.handle_received(&status(run * 10_000, run), 20_000 + 80_000 + run * 10_000);
        }

        assert_eq!(detector.newest(), Duration::from_millis(80));
        assert!(detector.queue() > Duration::from_millis(60), "{:?}", detector.queue());
    }

    #[test]
    fn the_queue_that_a_join_makes_is_gone_with_the_first_packet_that_finds_none() {
        let queue_after = |quiet_runs| {
            let mut detector = DelayDetector::new();
            feed(&mut detector, 0..quiet_runs, |_| 0.0);
            feed(&mut detector, quiet_runs..quiet_runs + 8, |_| 80.0);
            feed(&mut detector, quiet_runs + 8..quiet_runs + 10, |_| 0.0);
            detector.queue()
        };

        assert_eq!(queue_after(1), Duration::ZERO);
        assert!(queue_after(100) > Duration::from_millis(30), "a single packet may be early");
    }

    #[test]
    fn a_leap_of_the_delay_begins_anew() {
        let mut detector = DelayDetector::new();
        feed(&mut detector, 0..40, |_| 0.0);

        let after = feed(&mut detector, 40..100, |_| 60_000.0);

        assert_eq!(after, Usage::Normal);
        assert!(detector.queue() < Duration::from_millis(1));
    }

    fn feed(
        detector: &mut DelayDetector,
        runs: std::ops::Range<i64>,
        delay_ms: impl Fn(i64) -> f64,
    ) -> Usage {
        let mut last = Usage::Normal;
        for run in runs {
            let sent_us = run * 20_000;
            let arrival_us = sent_us + 20_000 + (delay_ms(run) * 1_000.0) as i64;
            detector.handle_received(&status(sent_us, run), arrival_us);
            if detector.usage() != Usage::Normal {
                last = detector.usage();
            }
        }
        last
    }

    fn status(sent_us: i64, run: i64) -> Status {
        Status { sent_us, size: 1_200, run: (run & 0xff) as u8, cluster: None, was_lost: false }
    }
}
