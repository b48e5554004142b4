//! The delay-based estimate: additive or multiplicative increase, multiplicative decrease.
//!
//! It falls to a part of what arrives when the queue grows, waits while the queue drains, and rises otherwise: fast
//! while nothing is known of the path's capacity, slowly near where it last proved full. It never rises above what
//! was proved by more than [`BEYOND_PROOF`]: a viewer on a low layer proves little, and only a probe proves more.

use std::time::Duration;

use rtp::MonoTime;

use super::delay::Usage;
use crate::Bitrate;

/// What is left at most after overuse: low enough that the queue drains, high enough for the layer below.
const DECREASE: f64 = 0.92;

/// Less than the path's share, so that the queue drains.
const DRAIN: f64 = 0.95;

/// What of an arrival rate without a queue is believed at once.
const CARRIED: f64 = 0.9;

/// The least that is left after one look at a growing queue.
const PART_MIN: f64 = 0.35;

/// Growth within a second, far from the known capacity.
const GROWTH: f64 = 1.08;

/// The estimate may lie this far above what is acknowledged.
const BEYOND_PROOF: f64 = 1.2;

/// Near the capacity, one packet of this size is added for each round trip and feedback.
const PACKET_BITS: f64 = 1_200.0 * 8.0;

/// Below this part of the estimate an arrival rate is news that does not wait.
const FAR_OFF: f64 = 0.5;

/// What feedback adds to a round trip.
const FEEDBACK: Duration = Duration::from_millis(100);

/// The part given up in a second, for each second of queue, and the queue that counts at most.
const YIELD: f64 = 1.0;
const QUEUE_YIELD_MAX: Duration = Duration::from_millis(100);
/// A packet of this size is no queue on a path that takes longer than this for it.
const PACKET_BYTES: u64 = 1_200;
const PACKET_TIME: Duration = Duration::from_millis(20);
/// How long a queue that made the estimate fall to what passes may take to drain.
const DRAINS: Duration = Duration::from_secs(4);

/// For how long a path counts as full after that.
const CHOKED: Duration = Duration::from_millis(600);

/// A queue that is gone after this was another's keyframe or probe, as far as we send little ourselves.
const PASSING: Duration = Duration::from_millis(300);
/// The same of another who is known, and who has to find out that a step up was too much.
const PASSING_SHARED: Duration = Duration::from_millis(600);

/// A decrease within this time of another one is a second answer to the same event.
const EPISODE: Duration = Duration::from_millis(700);

/// See [`RateControl::is_unfilled`].
const RAMP: f64 = 1.5;
const SPARE: f64 = 0.9;

/// Above this queue a second answer goes by what arrives.
const QUEUE_LONG: Duration = Duration::from_millis(110);

/// Above this queue nothing is raised.
const QUEUE_STANDS: Duration = Duration::from_millis(45);

/// See [`RateControl::queue_short`].
const QUEUE_SHORT: Duration = Duration::from_millis(35);
const QUEUE_SHORT_BYTES: u64 = 1_800;

/// The longest time that one increase pays for.
const INCREASE_SPAN_MAX: Duration = Duration::from_secs(1);

/// The state of the delay-based estimate.
#[derive(Debug)]
pub(super) struct RateControl {
    estimate: Bitrate,
    capacity: Capacity,
    updated_at: MonoTime,
    increased_at: MonoTime,
    decreased_at: Option<MonoTime>,
    /// When the last fall to what passes was.
    choked_at: Option<MonoTime>,
    /// When the first decrease of the present episode was.
    episode_began: MonoTime,
}

/// What an update is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// What the queue does.
    pub(super) usage: Usage,
    /// What arrived over the last half second.
    pub(super) acknowledged: Option<Bitrate>,
    /// What arrived over the last second: a moment in which another sender took the path hardly shows.
    pub(super) acknowledged_long: Option<Bitrate>,
    /// What arrived just now: what the bottleneck passes while its queue grows.
    pub(super) acknowledged_now: Option<Bitrate>,
    /// What arrived while the queue was there, however short: what the bottleneck passes even if little was sent before.
    pub(super) passed: Option<Bitrate>,
    /// The round trip.
    pub(super) rtt: Duration,
    /// How long the queue is.
    pub(super) queue: Duration,
    /// How much of it is more than jitter makes it look.
    pub(super) standing: Duration,
    /// Whether the application sends less than the estimate allows.
    pub(super) limited: bool,
    /// By how much it grew lately, in seconds a second.
    pub(super) growth: f64,
    /// What was sent over the last half second.
    pub(super) sent: Option<Bitrate>,
    /// Whether another sender is known to use the path.
    pub(super) shared: bool,
    /// The part of it that passes, where that is far less.
    pub(super) choked: Option<f64>,
}

impl RateControl {
    pub(super) fn new(start: Bitrate, now: MonoTime) -> Self {
        Self {
            estimate: start,
            capacity: Capacity::default(),
            updated_at: now,
            increased_at: now,
            decreased_at: None,
            choked_at: None,
            episode_began: now,
        }
    }

    /// Returns the estimate.
    pub(super) const fn estimate(&self) -> Bitrate {
        self.estimate
    }

    /// Says whether the estimate fell to what passes a moment ago.
    pub(super) fn was_choked(&self, now: MonoTime) -> bool {
        self.choked_at.is_some_and(|at| now.since(at) < CHOKED)
    }

    /// Sets the estimate: a probe or a limit knows better.
    pub(super) fn set(&mut self, now: MonoTime, estimate: Bitrate) {
        self.estimate = estimate;
        self.increased_at = now;
    }

    /// Says that the path carries at least this.
    pub(super) fn raise(&mut self, now: MonoTime, proved: Bitrate) {
        if proved > self.estimate {
            self.set(now, proved);
        }
        self.capacity.reset_below(proved);
    }

    /// Advances by one feedback; true when the estimate fell.
    pub(super) fn update(&mut self, now: MonoTime, measured: &Measured) -> bool {
        self.yield_to_queue(now, measured);
        if let Some(part) = measured.choked
            && self.choke(now, measured, part)
        {
            return true;
        }
        match measured.usage {
            Usage::Over => self.decrease(now, measured),
            Usage::Under => {
                self.increased_at = now;
                false
            }
            Usage::Normal => {
                self.increase(now, measured);
                false
            }
        }
    }

    /// Gives up a part for as long as a queue stands. All who share it see the same queue and gain the same number
    /// of packets, so who has more loses more: that makes them equal.
    fn yield_to_queue(&mut self, now: MonoTime, measured: &Measured) {
        let elapsed = now.since(self.updated_at).min(INCREASE_SPAN_MAX);
        self.updated_at = now;
        // Enough was given up for that queue.
        let drains =
            self.choked_at.is_some_and(|at| now.since(at) < DRAINS) && measured.usage == Usage::Under;
        if !measured.limited && !drains {
            let packet = self.estimate.time_for(PACKET_BYTES).saturating_sub(PACKET_TIME);
            let queue = measured.standing.saturating_sub(packet).min(QUEUE_YIELD_MAX).as_secs_f64();
            self.estimate = self.estimate.scaled(1.0 - YIELD * queue * elapsed.as_secs_f64());
        }
    }

    fn decrease(&mut self, now: MonoTime, measured: &Measured) -> bool {
        self.increased_at = now;
        let Some(acknowledged) = measured.acknowledged_now.or(measured.acknowledged) else { return false };
        let recently = self.decreased_at.is_some_and(|at| now.since(at) < measured.rtt + FEEDBACK);
        if recently && acknowledged > self.estimate.scaled(FAR_OFF) {
            return false;
        }
        let again = self.decreased_at.is_some_and(|at| now.since(at) < EPISODE);
        self.capacity.add(acknowledged);
        self.decreased_at = Some(now);
        if !again {
            self.episode_began = now;
        }
        // What we send is then no measure of what the path leaves us, as the other's burst is none of what it takes.
        let passes = if measured.shared { PASSING_SHARED } else { PASSING };
        let passing = measured.limited && now.since(self.episode_began) < passes;
        let lowered = if measured.queue < self.queue_short() {
            // There is hardly anything to drain: what comes through may go on, and so may most of what was proved.
            let through = acknowledged.max(measured.acknowledged.unwrap_or(acknowledged));
            self.estimate.scaled(DECREASE).max(through)
        } else {
            // All who share the queue see it grow alike, and all give up the same part. What arrived bounds that
            // from below, because the growth still shows after the first answer to it.
            let sent = self.estimate.min(measured.sent.filter(|_| !passing).unwrap_or(self.estimate));
            let least = if passing { DECREASE } else { PART_MIN };
            let part = (DRAIN / (1.0 + measured.growth)).clamp(least, DECREASE);
            let passed = measured.passed.filter(|_| self.is_unfilled(measured)).unwrap_or_default();
            let arrived = measured.acknowledged_long.unwrap_or(acknowledged).max(passed).scaled(DECREASE);
            let of_half_a_second = measured.acknowledged.unwrap_or(acknowledged).max(passed).scaled(DECREASE);
            // A full queue grows no more. What did not help once is answered by what arrives.
            let full = again && !passing && measured.queue > QUEUE_LONG;
            if full { of_half_a_second } else { sent.scaled(part).max(arrived) }
        };
        if lowered >= self.estimate {
            return false;
        }
        self.estimate = lowered;
        true
    }

    /// Falls to what passes: the path carries far less than is sent.
    fn choke(&mut self, now: MonoTime, measured: &Measured, part: f64) -> bool {
        if self.decreased_at.is_some_and(|at| now.since(at) < measured.rtt + FEEDBACK) {
            return false;
        }
        let Some(passes) = measured.acknowledged_now.max(measured.passed) else { return false };
        let lowered = passes.scaled(DECREASE).max(self.estimate.scaled(part * DRAIN));
        if lowered >= self.estimate {
            return false;
        }
        self.capacity.add(passes);
        self.increased_at = now;
        self.decreased_at = Some(now);
        self.choked_at = Some(now);
        self.episode_began = now;
        self.estimate = lowered;
        true
    }

    /// Says whether the averages of the last second tell less than the path: a step up has just begun to send more, or what
    /// is sent leaves room, and only its keyframe is too much. Who fills the path yields as all who share it do.
    fn is_unfilled(&self, measured: &Measured) -> bool {
        let average = measured.acknowledged_long.unwrap_or_default();
        measured.passed > Some(average.scaled(RAMP))
            || measured.sent.is_some_and(|sent| sent < self.estimate.scaled(SPARE))
    }

    /// Returns the queue below which overuse is answered mildly: a few packets, which on a slow path take long.
    fn queue_short(&self) -> Duration {
        QUEUE_SHORT + self.estimate.time_for(QUEUE_SHORT_BYTES).min(QUEUE_STANDS)
    }

    fn increase(&mut self, now: MonoTime, measured: &Measured) {
        let elapsed = now.since(self.increased_at).min(INCREASE_SPAN_MAX);
        self.increased_at = now;
        let Some(acknowledged) = measured.acknowledged else { return };
        if measured.queue > QUEUE_STANDS {
            return;
        }
        self.capacity.forget_if_surpassed(acknowledged);
        let seconds = elapsed.as_secs_f64();
        let response = (measured.rtt + FEEDBACK).as_secs_f64();
        let by_packets = Bitrate::from_bps((PACKET_BITS / response * seconds) as u64);
        let added = if self.capacity.is_near(self.estimate) {
            by_packets
        } else {
            by_packets.max(self.estimate.scaled(GROWTH.powf(seconds) - 1.0))
        };
        let proved = acknowledged.scaled(BEYOND_PROOF);
        let grown = self.estimate.plus(added).min(proved.max(self.estimate));
        // What arrived without a queue is carried, whatever was thought before: a burst at the join proves it.
        let carried = acknowledged.min(measured.acknowledged_long.unwrap_or(acknowledged)).scaled(CARRIED);
        self.estimate = if self.capacity.is_near(carried) { grown } else { grown.max(carried) };
    }
}

/// What arrived while the queue grew: the path's capacity, with its spread.
#[derive(Debug, Default)]
struct Capacity {
    mean_kbps: Option<f64>,
    /// The variance, relative to the mean.
    spread: f64,
}

impl Capacity {
    fn add(&mut self, acknowledged: Bitrate) {
        let sample = acknowledged.as_bps() as f64 / 1_000.0;
        let Some(mean) = self.mean_kbps else {
            self.mean_kbps = Some(sample);
            self.spread = SPREAD_MIN;
            return;
        };
        let next = mean + (sample - mean) * SHARE;
        let error = (sample - next).powi(2) / next.max(1.0);
        self.spread = (self.spread + (error - self.spread) * SHARE).clamp(SPREAD_MIN, SPREAD_MAX);
        self.mean_kbps = Some(next);
    }

    fn deviation_kbps(&self, mean: f64) -> f64 {
        (self.spread * mean).sqrt()
    }

    fn is_near(&self, estimate: Bitrate) -> bool {
        let estimate = estimate.as_bps() as f64 / 1_000.0;
        self.mean_kbps.is_some_and(|mean| estimate > mean - 3.0 * self.deviation_kbps(mean))
    }

    /// Forgets a capacity that more than passes now.
    fn forget_if_surpassed(&mut self, acknowledged: Bitrate) {
        let acknowledged = acknowledged.as_bps() as f64 / 1_000.0;
        if self.mean_kbps.is_some_and(|mean| acknowledged > mean + 3.0 * self.deviation_kbps(mean)) {
            self.mean_kbps = None;
        }
    }

    fn reset_below(&mut self, proved: Bitrate) {
        let proved = proved.as_bps() as f64 / 1_000.0;
        if self.mean_kbps.is_some_and(|mean| proved > mean + self.deviation_kbps(mean)) {
            self.mean_kbps = None;
        }
    }
}

const SHARE: f64 = 0.1;
/// In kbit/s, as the variance is divided by the mean in kbit/s: 2 % to 5 % of 1 Mbit/s.
const SPREAD_MIN: f64 = 0.4;
const SPREAD_MAX: f64 = 2.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overuse_leaves_a_part_of_what_arrives_once_in_a_response_time() {
        let mut control = RateControl::new(Bitrate::from_kbps(2_000), MonoTime::ZERO);
        let measured = measured(Usage::Over, 1_800);

        assert!(control.update(MonoTime::from_millis(100), &measured));
        assert_eq!(control.estimate(), Bitrate::from_kbps(1_656));

        assert!(!control.update(MonoTime::from_millis(200), &measured));
        assert_eq!(control.estimate(), Bitrate::from_kbps(1_656));
    }

    #[test]
    fn overuse_without_a_queue_takes_nothing_from_what_comes_through() {
        let mut control = RateControl::new(Bitrate::from_kbps(2_000), MonoTime::ZERO);
        let proved_once = Measured { queue: Duration::from_millis(20), ..measured(Usage::Over, 300) };
        let proved_now = Measured { queue: Duration::from_millis(20), ..measured(Usage::Over, 1_900) };

        assert!(control.update(MonoTime::from_millis(1_000), &proved_now));
        assert_eq!(control.estimate(), Bitrate::from_kbps(1_900));
        assert!(control.update(MonoTime::from_millis(2_000), &proved_once));
        assert_eq!(control.estimate(), Bitrate::from_kbps(1_748));
    }

    #[test]
    fn a_keyframe_that_begins_a_higher_layer_costs_no_more_than_the_bottleneck_says() {
        let mut control = RateControl::new(Bitrate::from_kbps(2_700), MonoTime::ZERO);
        // Half a second ago a quarter of it was sent.
        let [before, passed] = [600, 2_400].map(Bitrate::from_kbps);
        let ramp = Measured {
            acknowledged_now: Some(Bitrate::from_kbps(1_400)),
            passed: Some(passed),
            sent: Some(before),
            ..measured(Usage::Over, 900)
        };

        assert!(control.update(MonoTime::from_millis(1_000), &ramp));

        assert_eq!(control.estimate(), passed.scaled(DECREASE));
    }

    #[test]
    fn who_sends_little_yields_to_anothers_burst_a_part_and_falls_to_what_it_sends_when_the_queue_stays() {
        let mut control = RateControl::new(Bitrate::from_kbps(1_000), MonoTime::ZERO);
        let sent = Some(Bitrate::from_kbps(300));
        let measured = Measured { limited: true, growth: 0.8, sent, ..measured(Usage::Over, 280) };
        let mut estimate_at = |ms| {
            control.update(MonoTime::from_millis(ms), &measured);
            control.estimate().as_bps() / 1_000
        };

        assert_eq!(estimate_at(1_000), 920);
        assert_eq!(estimate_at(1_200), 846);
        assert_eq!(estimate_at(1_400), 257);
    }

    #[test]
    fn a_path_that_passes_a_quarter_leaves_that_before_its_queue_tells() {
        let mut control = RateControl::new(Bitrate::from_kbps(2_000), MonoTime::ZERO);
        let passes = Some(Bitrate::from_kbps(500));
        let measured =
            Measured { choked: Some(0.25), acknowledged_now: passes, ..measured(Usage::Normal, 1_800) };

        assert!(control.update(MonoTime::from_millis(1_000), &measured));
        assert_eq!(control.estimate(), Bitrate::from_kbps(475));

        assert!(!control.update(MonoTime::from_millis(1_100), &measured), "it answers that already");
        assert!([1_000, 1_599].map(MonoTime::from_millis).iter().all(|now| control.was_choked(*now)));
        assert!(!control.was_choked(MonoTime::from_millis(1_600)));
    }

    #[test]
    fn nothing_more_is_given_up_while_the_queue_drains_that_was_answered_by_what_passes() {
        let mut control = RateControl::new(Bitrate::from_kbps(2_000), MonoTime::ZERO);
        let passes = Some(Bitrate::from_kbps(500));
        let choked =
            Measured { choked: Some(0.25), acknowledged_now: passes, ..measured(Usage::Normal, 1_800) };
        control.update(MonoTime::from_millis(1_000), &choked);
        let standing = Duration::from_millis(300);
        let drains = Measured { standing, ..measured(Usage::Under, 500) };
        let stays = Measured { standing, queue: standing, ..measured(Usage::Normal, 500) };

        for tick in 11..20 {
            control.update(MonoTime::from_millis(tick * 100), &drains);
        }
        assert_eq!(control.estimate(), Bitrate::from_kbps(475));

        for tick in 20..30 {
            control.update(MonoTime::from_millis(tick * 100), &stays);
        }
        assert!((425_000..=435_000).contains(&control.estimate().as_bps()), "{:?}", control.estimate());
    }

    #[test]
    fn a_packet_that_a_slow_path_takes_long_for_is_no_queue_to_yield_to() {
        let mut control = RateControl::new(Bitrate::from_kbps(120), MonoTime::ZERO);
        let queue = Duration::from_millis(60);
        let packet = Measured { standing: queue, queue, ..measured(Usage::Normal, 100) };

        for tick in 1..=10 {
            control.update(MonoTime::from_millis(tick * 100), &packet);
        }

        assert_eq!(control.estimate(), Bitrate::from_kbps(120));
    }

    #[test]
    fn who_has_proved_more_than_it_sends_gives_up_the_part_that_does_not_pass() {
        let mut control = RateControl::new(Bitrate::from_kbps(4_000), MonoTime::ZERO);
        let measured = Measured { choked: Some(0.5), limited: true, ..measured(Usage::Over, 1_000) };

        control.update(MonoTime::from_millis(1_000), &measured);

        assert_eq!(control.estimate(), Bitrate::from_kbps(1_900));
    }

    #[test]
    fn another_who_is_known_is_given_longer_to_find_out_that_a_step_up_was_too_much() {
        for (shared, kbps) in [(false, 257), (true, 778)] {
            let mut control = RateControl::new(Bitrate::from_kbps(1_000), MonoTime::ZERO);
            let sent = Some(Bitrate::from_kbps(300));
            let measured =
                Measured { limited: true, growth: 0.8, sent, shared, ..measured(Usage::Over, 280) };

            for ms in [1_000, 1_200, 1_400] {
                control.update(MonoTime::from_millis(ms), &measured);
            }

            assert_eq!(control.estimate().as_bps() / 1_000, kbps);
        }
    }

    #[test]
    fn who_fills_the_path_yields_by_the_average() {
        let mut control = RateControl::new(Bitrate::from_kbps(2_000), MonoTime::ZERO);
        let [passed, sent] = [1_900, 1_950].map(|kbps| Some(Bitrate::from_kbps(kbps)));

        control.update(MonoTime::ZERO, &Measured { passed, sent, ..measured(Usage::Over, 1_600) });

        assert_eq!(control.estimate(), Bitrate::from_kbps(1_472));
    }

    #[test]
    fn the_estimate_grows_by_at_most_a_twelfth_a_second_and_not_beyond_the_proof() {
        let mut control = RateControl::new(Bitrate::from_kbps(1_000), MonoTime::ZERO);

        (1..=10).for_each(|tick| {
            control.update(MonoTime::from_millis(tick * 100), &measured(Usage::Normal, 1_000));
        });
        let after_a_second = control.estimate();
        (11..=100).for_each(|tick| {
            control.update(MonoTime::from_millis(tick * 100), &measured(Usage::Normal, 1_000));
        });

        assert!((1_070_000..=1_081_000).contains(&after_a_second.as_bps()), "{after_a_second:?}");
        assert_eq!(control.estimate(), Bitrate::from_kbps(1_200));
    }

    #[test]
    fn what_arrives_without_a_queue_is_believed_at_once_for_nine_tenths() {
        let mut control = RateControl::new(Bitrate::from_kbps(600), MonoTime::ZERO);

        control.update(MonoTime::from_millis(100), &measured(Usage::Normal, 2_000));

        assert_eq!(control.estimate(), Bitrate::from_kbps(1_800));
    }

    #[test]
    fn what_a_probe_proved_stays_while_little_is_sent() {
        let mut control = RateControl::new(Bitrate::from_kbps(1_000), MonoTime::ZERO);
        control.raise(MonoTime::ZERO, Bitrate::from_kbps(4_000));

        for tick in 0..100 {
            control.update(MonoTime::from_millis(tick * 100), &measured(Usage::Normal, 300));
        }

        assert_eq!(control.estimate(), Bitrate::from_kbps(4_000));
    }

    fn measured(usage: Usage, acknowledged_kbps: u64) -> Measured {
        let acknowledged = Some(Bitrate::from_kbps(acknowledged_kbps));
        Measured {
            usage,
            acknowledged,
            acknowledged_long: acknowledged,
            acknowledged_now: acknowledged,
            passed: None,
            rtt: Duration::from_millis(50),
            queue: Duration::from_millis(if usage == Usage::Over { 100 } else { 0 }),
            standing: Duration::ZERO,
            limited: false,
            growth: 0.3,
            sent: None,
            shared: false,
            choked: None,
        }
    }
}
