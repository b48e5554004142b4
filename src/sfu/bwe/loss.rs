//! The loss-based estimate: which bandwidth makes the losses of the last seconds most likely.
//!
//! Loss has two sources. Some of it is *inherent*: a radio link drops so many packets whatever their rate, and
//! sending less would only cost quality. The rest comes from sending more than the path carries: of what goes over
//! the bandwidth, everything is lost. Given a bandwidth, each observation (a quarter of a second: sent, lost, rate)
//! has a likelihood under the best inherent loss; of a few candidate bandwidths around the present one, the most
//! likely wins. This is the idea of libwebrtc's second loss-based estimator.
//!
//! While no observation shows a loss nothing is computed and nothing is limited.

use rtp::MonoTime;

use super::history::Status;
use crate::Bitrate;

/// How long an observation lasts at least, in sending time.
const OBSERVATION_US: i64 = 250_000;

/// How many packets it has at least: fewer say nothing about a share.
const OBSERVATION_PACKETS: u32 = 12;

/// How many observations count: five seconds.
const OBSERVATIONS: usize = 20;

/// How much less an observation counts than the next one.
const AGING: f64 = 0.9;

/// How many observations it takes to conclude anything.
const OBSERVATIONS_MIN: usize = 3;

/// The most loss that is held for inherent. Beyond, sending less is right even on a radio link.
const INHERENT_MAX: f64 = 0.16;
const INHERENT_MIN: f64 = 0.000_1;

/// Newton steps towards the best inherent loss of a candidate.
const STEPS: usize = 2;

/// Candidates relative to the present bandwidth.
const FACTORS: [f64; 5] = [0.9, 0.96, 1.0, 1.03, 1.1];

/// How much likelihood a doubling of the bandwidth is worth, once and for each weighed packet: between explanations
/// that are about as likely the higher bandwidth wins. Losses come in bursts, so few of them prove little.
const PREFERENCE: f64 = 3.0;
const PREFERENCE_PER_PACKET: f64 = 0.000_8;

/// Below this share of loss, losses limit nothing.
const LOSS_IGNORED: f64 = 0.02;

/// The estimator.
#[derive(Debug)]
pub(super) struct LossEstimator {
    observations: [Observation; OBSERVATIONS],
    count: usize,
    running: Running,
    /// What the losses allow; `None` while they limit nothing.
    bandwidth: Option<f64>,
    inherent: f64,
    reduced_at: Option<MonoTime>,
}

/// One span of sending.
#[derive(Clone, Copy, Debug, Default)]
struct Observation {
    packets: f64,
    lost: f64,
    /// Bits per second sent.
    rate: f64,
}

/// The span that is being observed.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    began_us: i64,
    newest_us: i64,
    packets: u32,
    lost: u32,
    bytes: u64,
}

impl LossEstimator {
    pub(super) fn new() -> Self {
        Self {
            observations: [Observation::default(); OBSERVATIONS],
            count: 0,
            running: Running::default(),
            bandwidth: None,
            inherent: 0.01,
            reduced_at: None,
        }
    }

    /// Takes what feedback says of one packet.
    pub(super) fn handle_status(&mut self, status: &Status, received: bool) {
        let running = &mut self.running;
        if status.was_lost {
            running.lost = running.lost.saturating_sub(1);
            return;
        }
        if running.packets == 0 {
            running.began_us = status.sent_us;
            running.newest_us = status.sent_us;
        }
        running.newest_us = running.newest_us.max(status.sent_us);
        running.packets = running.packets.saturating_add(1);
        running.lost = running.lost.saturating_add(u32::from(!received));
        running.bytes = running.bytes.saturating_add(u64::from(status.size));
    }

    /// Ends the observation when it is long enough and weighs the candidates.
    ///
    /// `unlimited` is what everything else allows, `acknowledged` what arrives.
    pub(super) fn update(&mut self, now: MonoTime, unlimited: Bitrate, acknowledged: Option<Bitrate>) {
        let running = self.running;
        let span_us = running.newest_us.saturating_sub(running.began_us);
        if span_us < OBSERVATION_US || running.packets < OBSERVATION_PACKETS {
            return;
        }
        self.running = Running::default();
        let packets = f64::from(running.packets);
        let rate = running.bytes as f64 * 8.0 * 1_000_000.0 / (span_us.max(1) as f64);
        if let Some(slot) = self.observations.get_mut(self.count % OBSERVATIONS) {
            *slot = Observation { packets, lost: f64::from(running.lost).min(packets), rate };
        }
        self.count = self.count.saturating_add(1);
        self.conclude(now, unlimited.as_bps() as f64, acknowledged.map(|rate| rate.as_bps() as f64));
    }

    /// Returns what the losses allow; `None` while they limit nothing.
    pub(super) fn limit(&self) -> Option<Bitrate> {
        self.bandwidth.map(|bps| Bitrate::from_bps(bps as u64))
    }

    /// Returns the share of packets lost over the last seconds, newer ones counting more.
    pub(super) fn share(&self) -> f64 {
        let (packets, lost) = self.weighed().fold((0.0, 0.0), |(packets, lost), (weight, observation)| {
            (packets + weight * observation.packets, lost + weight * observation.lost)
        });
        if packets > 0.0 { lost / packets } else { 0.0 }
    }

    /// Says that the path carries at least this: a probe came through.
    pub(super) fn raise(&mut self, proved: Bitrate) {
        if let Some(bandwidth) = &mut self.bandwidth {
            *bandwidth = bandwidth.max(proved.as_bps() as f64);
        }
    }

    fn conclude(&mut self, now: MonoTime, unlimited: f64, acknowledged: Option<f64>) {
        if self.count < OBSERVATIONS_MIN {
            return;
        }
        if self.share() < LOSS_IGNORED {
            // Climb out step by step rather than leap: the losses may have ended because less was sent.
            self.bandwidth = self.bandwidth.map(|bps| bps * 1.1).filter(|bps| *bps < unlimited);
            return;
        }
        let present = self.bandwidth.unwrap_or(unlimited).min(unlimited);
        let held = self.reduced_at.is_some_and(|at| now.since(at) < HOLD);
        let (mut best, mut best_inherent, mut best_likelihood) = (present, self.inherent, f64::NEG_INFINITY);
        let from_factors = FACTORS.iter().map(|factor| factor * present);
        let measured = acknowledged.map(|rate| rate * ACKNOWLEDGED_PART).filter(|rate| *rate < present);
        for candidate in from_factors.chain(measured).chain(Some(unlimited)) {
            let candidate = candidate.min(unlimited);
            if candidate > present && held {
                continue;
            }
            let inherent = self.fit(candidate);
            let likelihood = self.likelihood(candidate, inherent);
            if likelihood > best_likelihood {
                (best, best_inherent, best_likelihood) = (candidate, inherent, likelihood);
            }
        }
        if best < present * 0.99 {
            self.reduced_at = Some(now);
        }
        // A leap upwards is taken in steps as well.
        let best = best.min(present * 1.1);
        self.inherent = best_inherent;
        self.bandwidth = (best < unlimited).then_some(best.max(LEAST));
    }

    /// Finds the inherent loss that suits a bandwidth, from the last one on.
    fn fit(&self, bandwidth: f64) -> f64 {
        let mut inherent = self.inherent.clamp(INHERENT_MIN, INHERENT_MAX);
        for _ in 0..STEPS {
            let (mut slope, mut curvature) = (0.0, 0.0);
            for (weight, observation) in self.weighed() {
                let loss = probability(inherent, bandwidth, observation.rate);
                let per_inherent = 1.0 - excess(bandwidth, observation.rate);
                let received = observation.packets - observation.lost;
                slope += weight * per_inherent * (observation.lost / loss - received / (1.0 - loss));
                let bend = observation.lost / (loss * loss) + received / ((1.0 - loss) * (1.0 - loss));
                curvature += weight * per_inherent * per_inherent * bend;
            }
            if curvature <= f64::EPSILON {
                break;
            }
            inherent = (inherent + slope / curvature).clamp(INHERENT_MIN, INHERENT_MAX);
        }
        inherent
    }

    fn likelihood(&self, bandwidth: f64, inherent: f64) -> f64 {
        let octaves = bandwidth.max(1.0).log2();
        let fitting: f64 = self
            .weighed()
            .map(|(weight, observation)| {
                let loss = probability(inherent, bandwidth, observation.rate);
                let received = observation.packets - observation.lost;
                let fits = observation.lost * loss.ln() + received * (1.0 - loss).ln();
                weight * (fits + PREFERENCE_PER_PACKET * octaves * observation.packets)
            })
            .sum();
        fitting + PREFERENCE * octaves
    }

    /// Iterates over the observations with their weights, newest first.
    fn weighed(&self) -> impl Iterator<Item = (f64, &Observation)> {
        let known = self.count.min(OBSERVATIONS);
        (1..=known).scan(1.0 / AGING, |weight, back| {
            *weight *= AGING;
            let index = self.count.wrapping_sub(back) % OBSERVATIONS;
            self.observations.get(index).map(|observation| (*weight, observation))
        })
    }
}

/// Returns the share of what is sent that goes over the bandwidth.
fn excess(bandwidth: f64, rate: f64) -> f64 {
    if rate > bandwidth { (rate - bandwidth) / rate } else { 0.0 }
}

/// Returns how likely a packet is lost, one way or the other.
fn probability(inherent: f64, bandwidth: f64, rate: f64) -> f64 {
    (inherent + (1.0 - inherent) * excess(bandwidth, rate)).clamp(INHERENT_MIN, 1.0 - INHERENT_MIN)
}

/// However much is lost: from nothing there is no way back, and from hardly anything a long one.
const LEAST: f64 = 50_000.0;

/// How long after a reduction nothing is raised.
const HOLD: std::time::Duration = std::time::Duration::from_millis(500);

/// The candidate below what arrives: the queue, if there is one, must drain.
const ACKNOWLEDGED_PART: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_loss_limits_nothing_for_long() {
        for percent in [1, 5, 10] {
            let mut path = Path::new();

            let limit = path.run(40, |_| Bitrate::from_kbps(2_000), |sent| sent * percent / 100);

            assert!(limit.is_none_or(|limit| limit >= Bitrate::from_kbps(1_850)), "{percent} %: {limit:?}");
        }
    }

    #[test]
    fn what_goes_over_a_policer_is_found() {
        let mut path = Path::new();
        let policed = Bitrate::from_kbps(1_000);

        // The sender follows the limit and tries a little more, as probes and keyframes do.
        let limit = path.run(
            80,
            |(limit, step)| {
                limit.unwrap_or(Bitrate::from_kbps(2_000)).scaled([0.95, 1.0, 1.1, 1.0][step % 4])
            },
            |sent| sent.saturating_sub(policed.bytes_in(QUARTER) as u32 / 1_000),
        );

        let limit = limit.unwrap_or(Bitrate::from_kbps(2_000)).as_bps();
        assert!((850_000..=1_150_000).contains(&limit), "{limit}");
    }

    #[test]
    fn the_limit_goes_away_when_the_losses_do() {
        let mut path = Path::new();
        let limited = path.run(20, |_| Bitrate::from_kbps(2_000), |sent| sent / 2);
        assert!(limited.is_some_and(|limit| limit < Bitrate::from_kbps(1_500)), "{limited:?}");

        let limit = path.run(60, |_| Bitrate::from_kbps(2_000), |_| 0);

        assert_eq!(limit, None);
    }

    #[test]
    fn total_loss_and_late_repair_stay_finite() {
        let mut path = Path::new();
        path.run(30, |_| Bitrate::from_kbps(2_000), |sent| sent);

        for _ in 0..100 {
            path.estimator.handle_status(&Status { was_lost: true, ..status(0) }, true);
        }

        assert!(path.estimator.limit().is_some());
        assert!((0.0..=1.0).contains(&path.estimator.share()));
    }

    #[test]
    fn a_path_that_lost_nearly_everything_is_believed_again() {
        let mut path = Path::new();
        path.run(400, |_| Bitrate::from_kbps(500), |sent| sent);

        let limit = path.run(60, |_| Bitrate::from_kbps(500), |_| 0);

        assert!(limit.is_none_or(|limit| limit > Bitrate::from_kbps(500)), "{limit:?}");
    }

    const QUARTER: std::time::Duration = std::time::Duration::from_millis(250);

    /// Quarters of a second of packets of 1,000 bytes.
    struct Path {
        estimator: LossEstimator,
        now_us: i64,
    }

    impl Path {
        fn new() -> Self {
            Self { estimator: LossEstimator::new(), now_us: 0 }
        }

        fn run(
            &mut self,
            quarters: usize,
            rate: impl Fn((Option<Bitrate>, usize)) -> Bitrate,
            lost: impl Fn(u32) -> u32,
        ) -> Option<Bitrate> {
            for quarter in 0..quarters {
                let sent = rate((self.estimator.limit(), quarter)).bytes_in(QUARTER) as u32 / 1_000;
                let lost = lost(sent);
                for packet in 0..=sent {
                    let at = self.now_us + i64::from(packet) * 250_000 / i64::from(sent.max(1));
                    self.estimator.handle_status(&status(at), packet >= lost);
                }
                self.now_us += 250_000;
                let now = MonoTime::from_nanos(self.now_us.unsigned_abs() * 1_000);
                let arrived = Bitrate::of(u64::from(sent - lost) * 1_000, QUARTER);
                self.estimator.update(now, Bitrate::from_kbps(2_000), Some(arrived));
            }
            self.estimator.limit()
        }
    }

    fn status(sent_us: i64) -> Status {
        Status { sent_us, size: 1_000, run: 0, cluster: None, was_lost: false }
    }
}
