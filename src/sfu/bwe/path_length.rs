//! Tells a path that has become longer from one whose queue has: a phone that went over to another cell, a route that
//! changed.
//!
//! **Still.** A queue drains when less is sent than the path carries and grows when more is. It stays where it is to a few
//! milliseconds for over a second only if both are the same to one per cent, or if it is full. So what rises at once
//! and then stands still is the path itself, unless it is as long as only queues are.
//!
//! **The same lows.** What is sent in bursts makes queues of its own on a longer path as well, and nothing stands still.
//! But they drain in between, each time down to the same level, while a queue that stands sinks when less is sent into it.
//! That is a weaker sign: less of what was yielded is taken back for it.

use rtp::MonoTime;

use super::{Estimator, RETURN};

/// The level of the delay, watched for a step.
#[derive(Debug, Default)]
pub(super) struct PathLength {
    /// The level at the beginning of the running span and of the one before.
    levels_ms: [f64; 2],
    span_began_ms: f64,
    /// When the level has risen at once, if it was not down again since.
    risen_at_ms: Option<f64>,
    /// Since when it stands still, and between which bounds.
    still_since_ms: f64,
    bounds_ms: (f64, f64),
    /// Whether so little is sent that no queue could come of it.
    idle: bool,
    /// Whether a queue may be there that does not drain when less is sent.
    is_contended: bool,
    lows: Lows,
    longer: Option<Longer>,
}

/// How a path shows that it has become longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Longer {
    /// Its delay stands still.
    Still,
    /// Its queues drain to the same level.
    Drained,
}

/// The lowest levels of the last spans, newest first; the first is of the running one.
#[derive(Debug, Default)]
struct Lows {
    levels_ms: [Option<f64>; LOWS],
    began_ms: f64,
}

impl Lows {
    /// Takes a level; returns the lowest when a span has ended and they are all alike.
    fn add(&mut self, at_ms: f64, level_ms: f64) -> Option<f64> {
        let [running, ..] = &mut self.levels_ms;
        let Some(low) = running else {
            *running = Some(level_ms);
            self.began_ms = at_ms;
            return None;
        };
        *low = low.min(level_ms);
        if at_ms - self.began_ms <= LOW_SPAN_MS {
            return None;
        }
        self.began_ms = at_ms;
        let known = || self.levels_ms.iter().flatten().copied();
        let low = known().fold(f64::INFINITY, f64::min);
        let alike = known().count() == LOWS && known().all(|level_ms| level_ms - low <= LOWS_ALIKE_MS);
        self.levels_ms.rotate_right(1);
        let [running, ..] = &mut self.levels_ms;
        *running = Some(level_ms);
        alike.then_some(low)
    }
}

impl PathLength {
    /// Begins at a level of the delay in milliseconds.
    pub(super) const fn at(at_ms: f64, level_ms: f64) -> Self {
        Self {
            levels_ms: [level_ms; 2],
            span_began_ms: at_ms,
            risen_at_ms: None,
            still_since_ms: at_ms,
            bounds_ms: (level_ms, level_ms),
            idle: false,
            is_contended: false,
            lows: Lows { levels_ms: [None; LOWS], began_ms: at_ms },
            longer: None,
        }
    }

    /// Takes the level and the queue that it seems to be; returns the path's own delay when that has become longer.
    pub(super) fn add(&mut self, at_ms: f64, level_ms: f64, queue_ms: f64) -> Option<f64> {
        let [running, before] = self.levels_ms;
        if at_ms - self.span_began_ms > STEP_SPAN_MS {
            self.levels_ms = [level_ms, running];
            self.span_began_ms = at_ms;
        }
        if level_ms - running.min(before) > STEP_MS {
            self.risen_at_ms.get_or_insert(at_ms);
        }
        self.risen_at_ms =
            self.risen_at_ms.filter(|risen| queue_ms > STEP_MS / 2.0 && at_ms - risen < RISEN_MAX_MS);
        if let Some(low_ms) = self.drains_to(at_ms, level_ms, level_ms - queue_ms) {
            return Some(self.note(Longer::Drained, low_ms));
        }
        let most = if self.idle { STILL_IDLE_MS } else { STILL_MS };
        let (low, high) = (self.bounds_ms.0.min(level_ms), self.bounds_ms.1.max(level_ms));
        if high - low > most {
            self.still_since_ms = at_ms;
            self.bounds_ms = (level_ms, level_ms);
            return None;
        }
        self.bounds_ms = (low, high);
        let is_still = at_ms - self.still_since_ms > STILL_SPAN_MS;
        let is_step = self.risen_at_ms.is_some() && queue_ms < STEP_MAX_MS;
        let is_unexplained = self.idle && queue_ms > STEP_MS;
        if !(is_still && (is_step || is_unexplained)) {
            return None;
        }
        Some(self.note(Longer::Still, low))
    }

    /// Returns the level that the path's queues drained to time and again since it has risen.
    fn drains_to(&mut self, at_ms: f64, level_ms: f64, floor_ms: f64) -> Option<f64> {
        if self.risen_at_ms.is_none() || self.is_contended {
            self.lows = Lows::default();
        }
        let above = |low_ms: &f64| (STEP_MS..STEP_MAX_MS).contains(&(low_ms - floor_ms));
        self.lows.add(at_ms, level_ms).filter(above)
    }

    /// Notes that the path has become longer, and returns its delay.
    const fn note(&mut self, longer: Longer, delay_ms: f64) -> f64 {
        self.risen_at_ms = None;
        self.longer = Some(longer);
        delay_ms
    }

    /// Says whether so little is sent that no queue could come of it.
    pub(super) const fn set_idle(&mut self, idle: bool) {
        if idle && !self.idle {
            // What was there before has to drain first.
            self.bounds_ms = (f64::NEG_INFINITY, f64::INFINITY);
        }
        self.idle = idle;
    }

    /// Says whether a queue may be there that does not drain when less is sent.
    pub(super) const fn set_contended(&mut self, is_contended: bool) {
        self.is_contended = is_contended;
    }

    /// Says whether the level has risen and it shows yet neither that a queue did that nor that none did.
    pub(super) const fn is_unsure(&self) -> bool {
        self.risen_at_ms.is_some()
    }

    /// Says once that the path has become longer.
    pub(super) const fn take_longer(&mut self) -> Option<Longer> {
        self.longer.take()
    }
}

impl Estimator {
    /// Takes back what was yielded to a queue that was none, when the path has become longer.
    pub(super) fn mind_length(&mut self, now: MonoTime) {
        if let Some(longer) = self.delay.take_longer() {
            self.probes.handle_return(now);
            // Sound that keeps a queue full makes it as still as a longer path is: only probes tell them apart.
            if let Some(before) =
                self.before_rise.take().filter(|_| !self.idle.keeps_full(self.demand.rate()))
            {
                let part = if longer == Longer::Still { LONGER } else { RETURN };
                self.rate.raise(now, before.scaled(part));
            }
        } else if self.delay.is_unsure() {
            self.before_rise.get_or_insert(self.rate.estimate());
        } else {
            self.before_rise = None;
        }
    }
}

/// The part of the estimate of before that a path is believed to carry when it has become longer: it may be another one.
const LONGER: f64 = 0.85;

/// A level that rises by so much within two spans has risen at once.
const STEP_MS: f64 = 15.0;
const STEP_SPAN_MS: f64 = 250.0;

/// What was before that means nothing after so long.
const RISEN_MAX_MS: f64 = 5_000.0;

/// What is longer than this is a queue.
const STEP_MAX_MS: f64 = 150.0;

/// A level that stays within these bounds for so long stands still.
const STILL_MS: f64 = 5.0;
/// A queue into which next to nothing is sent sinks by more.
const STILL_IDLE_MS: f64 = 20.0;
const STILL_SPAN_MS: f64 = 1_200.0;

/// So many spans whose lowest levels are no further apart than jitter makes them show to where a queue drains.
const LOWS: usize = 4;
const LOW_SPAN_MS: f64 = 300.0;
const LOWS_ALIKE_MS: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_stands_still_is_a_longer_path_and_is_told_once() {
        let mut length = PathLength::at(0.0, 20.0);

        let floors = levels(&mut length, |ms| if ms < 2_000.0 { 20.0 } else { 90.0 });

        assert_eq!(floors, [90.0]);
        assert_eq!([length.take_longer(), length.take_longer()], [Some(Longer::Still), None]);
    }

    #[test]
    fn a_queue_that_grows_drains_creeps_or_is_as_long_as_only_queues_are_is_none() {
        let shapes: [fn(f64) -> f64; 4] = [
            |ms| 20.0 + (ms / 1_000.0 - 2.0).max(0.0) * 30.0,
            |ms| if ms < 2_000.0 { 20.0 } else { (120.0 - (ms - 2_000.0) / 20.0).max(20.0) },
            |ms| 20.0 + ms / 1_000.0 * 8.0,
            |ms| if ms < 2_000.0 { 20.0 } else { 220.0 },
        ];
        for shape in shapes {
            let mut length = PathLength::at(0.0, 20.0);

            assert_eq!(levels(&mut length, shape), []);
        }
    }

    #[test]
    fn what_stands_while_next_to_nothing_is_sent_is_the_path_however_it_came_and_what_drains_is_none() {
        let crept: fn(f64) -> f64 = |ms| if ms < 5_000.0 { 20.0 + ms / 25.0 } else { 220.0 + ms % 8.0 };
        let drains: fn(f64) -> f64 = |ms| if ms < 5_000.0 { 20.0 + ms / 10.0 } else { 520.0 - ms / 20.0 };
        for (shape, found) in [(crept, 1), (drains, 0)] {
            let mut length = PathLength::at(0.0, 20.0);
            assert!(levels(&mut length, shape).is_empty());

            length.set_idle(true);

            let after = |ms: f64| shape(ms + 5_000.0);
            assert_eq!(levels(&mut length, after).len(), found);
        }
    }

    #[test]
    fn queues_that_drain_to_the_same_level_time_and_again_lie_on_a_longer_path() {
        // Each burst makes a queue of 30 ms, a bit of jitter on top.
        let bursts = |ms: f64| (30.0 - ms % 250.0 / 5.0).max(0.0) + ms % 7.0;
        let longer = |ms: f64| if ms < 2_000.0 { 20.0 } else { 90.0 + bursts(ms) };
        let mut length = PathLength::at(0.0, 20.0);

        let floors = levels(&mut length, longer);

        assert!(matches!(floors[..], [floor] if (88.0..95.0).contains(&floor)), "{floors:?}");
        assert_eq!(length.take_longer(), Some(Longer::Drained));

        let sinks = |ms: f64| longer(ms) - (ms - 2_000.0).max(0.0) / 50.0;
        assert_eq!(levels(&mut PathLength::at(0.0, 20.0), sinks), []);
        // Another's queue may stand however little is sent.
        let mut contended = PathLength::at(0.0, 20.0);
        contended.set_contended(true);
        assert_eq!(levels(&mut contended, longer), []);
    }

    /// Ten seconds of levels, thirty a second, above a floor of 20 ms; returns the floors that were found.
    fn levels(length: &mut PathLength, level_ms: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut floor = 20.0;
        let times = (0..300).map(|frame| f64::from(frame) * 33.0);
        let floors = times.filter_map(|at_ms| {
            let level = level_ms(at_ms);
            let found = length.add(at_ms, level, level - floor);
            floor = found.unwrap_or(floor);
            found
        });
        floors.collect()
    }
}
