//! How much one viewer's path carries: the send-side bandwidth estimate. Packet path.
//!
//! Think of one [`Estimator`] per viewer. It is told of every packet sent ([`Estimator::handle_sent`]: one write
//! into a ring) and of the viewer's feedback; everything is reckoned then and on a tick, never per packet sent.
//! What it concludes comes out of [`Estimator::poll_output`]: a new estimate with what limits it, or a probe to
//! send.
//!
//! Four voices, of which the lowest counts: the *delay* of runs (`delay`, `excess`, `rate_control`), *losses* (`loss`),
//! the receiver's own estimate (*REMB*), and silence. *Probes* (`probe`) raise what little traffic cannot prove.
//!
//! **Invariants.** Nothing is allocated after construction. Feedback is a stranger's claim: each packet counts once,
//! a number that was not sent counts never, no rate is believed that is higher than what was sent, and what
//! feedback may cost is bounded ([`STATUSES_PER_SECOND`]). One viewer's lies change that viewer's estimate alone.
//!
//! **Shallow queues.** Where no more than about 60 ms fit into the path's queue, mostly losses tell. The estimate then
//! often stands a fifth above what the path carries, and below 450 kbit/s, where such a queue is a packet or two,
//! up to two thirds.
//!
//! **Longer paths.** A path that becomes longer looks like a queue. What was yielded to it is taken back once it shows
//! that it is none (`path_length`), after a second and a half, unless even sound alone would keep a queue full (`idle`).
//!
//! **Who never reports.** A viewer that agreed to report arrivals and has not done so for [`NEVER_REPORTED`] is led by
//! what else it says: its own estimate, or else the losses in its receiver reports (`reports`), from the start's rate on.
//! The first arrival that it does report ends that.
//!
//! **Sharing.** Two senders behind one bottleneck see the same queue and yield the same part of their estimates,
//! while each regains the same number of packets, which makes them equal in the long run; at 3 Mbit/s and more that
//! takes longer than a minute. Who sends little yields a part of its estimate as well, not of what it sends. Where another
//! is heard (`sharing`), what one has no use for is not claimed.
//!
//! Start reading at [`Estimator`], then `delay`.

mod acknowledged;
mod arrival_clock;
mod budget;
mod delay;
mod demand;
mod excess;
mod history;
mod idle;
mod loss;
mod path_length;
mod probe;
mod rate_control;
mod reports;
mod round_trip;
mod sharing;
mod silence;
mod stats;
#[cfg(test)]
mod tests;
mod trial;

use std::time::Duration;

use rtp::rtcp::{Fate, TransportCcView};
use rtp::{MonoTime, SeqNo};

use self::acknowledged::Acknowledged;
use self::arrival_clock::{ArrivalClock, MICROS_PER_TICK, Reference, is_plausible};
use self::budget::Budget;
use self::delay::{DelayDetector, Usage};
use self::demand::Demand;
use self::excess::Excess;
use self::history::{History, Lookup, Status};
use self::idle::{Idle, is_little};
use self::loss::LossEstimator;
use self::probe::{Probes, Verdict};
use self::rate_control::{Measured, RateControl};
use self::reports::Reports;
use self::round_trip::RoundTrip;
use self::sharing::Sharing;
use self::silence::Silence;
use self::trial::Trials;
use crate::Bitrate;

pub use self::budget::STATUSES_PER_SECOND;
pub use self::probe::{Cluster, Probe};
pub use self::sharing::Enough;
pub use self::stats::{Disbelief, Stats};

/// The estimate of one viewer's path. Its fields are in the order that [`crate::viewer::Viewer`] tells of.
#[derive(Debug)]
#[repr(C)]
pub struct Estimator {
    history: History,
    demand: Demand,
    silence: Silence,
    // What feedback asks for.
    budget: Budget,
    /// What the estimate follows: what was negotiated, or what there is instead.
    led_by: Feedback,
    clock: ArrivalClock,
    rtt: RoundTrip,
    rate: RateControl,
    probes: Probes,
    /// For a viewer to whom no probe can be sent.
    trials: Option<Trials>,
    remb: Option<Bitrate>,
    tick_at: MonoTime,
    told: Option<Estimate>,
    probe: Option<Probe>,
    /// The estimate before the delay rose at once.
    before_rise: Option<Bitrate>,
    idle: Idle,
    /// What set the delay-based estimate last.
    source: Limiter,
    /// See [`Self::set_enough`].
    enough: Enough,
    config: Config,
    stats: Stats,
    acknowledged: Acknowledged,
    delay: DelayDetector,
    sharing: Sharing,
    excess: Excess,
    loss: LossEstimator,
    reports: Reports,
}

/// What an estimator begins with.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The estimate before anything is known.
    pub start: Bitrate,
    /// The estimate never falls below this: the lowest layer is better tried than not.
    pub min: Bitrate,
    /// The estimate never rises above this.
    pub max: Bitrate,
    /// What the viewer negotiated.
    pub feedback: Feedback,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            start: Bitrate::from_kbps(600),
            min: Bitrate::from_kbps(50),
            max: Bitrate::from_kbps(100_000),
            feedback: Feedback::TransportCc,
        }
    }
}

/// What a viewer reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// Arrivals by transport-wide number; silence is then a sign.
    TransportCc,
    /// Its own estimate; until one comes, the start counts.
    Remb,
    /// Nothing but the losses in its receiver reports.
    Losses,
}

/// A packet that went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its transport-wide number; numbers rise by one.
    pub seq: SeqNo,
    /// Bytes on the wire, without IP and UDP.
    pub size: u16,
    /// What left in one system call has one number, which differs from the neighbours'.
    pub run: u16,
    /// The probe that it belongs to.
    pub probe: Option<Cluster>,
}

/// What the driver shall know or do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The estimate or what limits it has changed.
    Estimate(Estimate),
    /// Send these bytes at this rate now.
    Probe(Probe),
}

/// What the path carries, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Bits per second, of everything that is sent.
    pub bitrate: Bitrate,
    /// Why it is not more.
    pub limiter: Limiter,
}

/// Why an estimate is not higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limiter {
    /// Nothing is known yet.
    Start,
    /// More makes the path's queue grow.
    Delay,
    /// More is lost.
    Loss,
    /// A probe found the path full at this, or proved this and no more was asked; of a viewer to whom none can be sent,
    /// this is being tried.
    Probe,
    /// Less is sent, and nothing more is wanted, so that nothing more was tried.
    Application,
    /// The viewer says so.
    Remb,
    /// The viewer acknowledges nothing any more.
    Silence,
    /// The viewer never reported arrivals, and only its losses are known.
    Unreported,
}

impl Limiter {
    /// Returns the limiter's label in logs, metrics and explanations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::Probe => "probe",
            Self::Application => "application",
            Self::Remb => "remb",
            Self::Silence => "silence",
            Self::Unreported => "unreported",
        }
    }
}

impl Estimator {
    /// Makes an estimator of a path of which nothing is known.
    #[must_use]
    pub fn new(config: Config, now: MonoTime) -> Self {
        Self {
            config,
            history: History::new(),
            clock: ArrivalClock::default(),
            acknowledged: Acknowledged::new(),
            delay: DelayDetector::new(),
            sharing: Sharing::default(),
            excess: Excess::new(),
            rate: RateControl::new(config.start, now),
            loss: LossEstimator::new(),
            probes: Probes::new(now),
            trials: None,
            demand: Demand::new(now),
            led_by: config.feedback,
            reports: Reports::default(),
            rtt: RoundTrip::default(),
            remb: None,
            silence: Silence::default(),
            budget: Budget::new(now),
            source: Limiter::Start,
            enough: Enough::default(),
            tick_at: now + TICK,
            told: None,
            probe: None,
            before_rise: None,
            idle: Idle::default(),
            stats: Stats::default(),
        }
    }

    /// Returns the bytes that an estimator takes, all of them from its construction on.
    #[must_use]
    pub const fn footprint() -> usize {
        size_of::<Self>() + History::FOOTPRINT
    }

    /// Reads what [`Self::handle_sent`] reads; see [`crate::viewer::Viewer::warm`].
    pub(crate) fn warm(&self) -> u64 {
        let here = u64::from(self.silence.waiting_since.is_some()) ^ u64::from(self.told.is_some());
        here ^ self.history.warm() ^ self.demand.warm()
    }

    /// Reads what feedback reads; see [`crate::viewer::Viewer::warm_report`].
    pub(crate) fn warm_report(&self) -> u64 {
        let here = self.budget.warm() ^ self.config.max.as_bps() ^ self.stats.feedbacks;
        let read = [
            self.history.warm_report(),
            self.rate.estimate().as_bps(),
            self.acknowledged.warm(),
            self.delay.warm(),
        ];
        read.into_iter().fold(here, |all, read| all ^ read)
    }

    /// Takes note of a packet that is being sent.
    pub fn handle_sent(&mut self, now: MonoTime, sent: &Sent) {
        self.history.insert(now, sent);
        self.demand.add(sent.size);
        self.silence.waiting_since.get_or_insert(now);
        if let Some(cluster) = sent.probe {
            self.probes.handle_sent(now, cluster, sent.size);
        }
    }

    /// Takes note that nothing more of a probe is being sent.
    pub fn handle_probe_sent(&mut self, cluster: Cluster) {
        self.probes.handle_all_sent(cluster);
    }

    /// Takes transport-wide feedback.
    pub fn handle_twcc(&mut self, now: MonoTime, view: &TransportCcView<'_>) {
        self.stats.feedbacks = self.stats.feedbacks.saturating_add(1);
        if !self.budget.take(now, view.status_count) {
            self.stats.over_budget = self.stats.over_budget.saturating_add(1);
            return;
        }
        let reference = self.clock.begin(now, view.reference_time);
        if reference.broken {
            self.forget_clock();
        }
        let mut arrival_us = reference.base_us;
        let statuses = view.statuses().map(|(seq, delta)| {
            arrival_us = arrival_us.saturating_add(i64::from(delta.unwrap_or(0)) * MICROS_PER_TICK);
            (seq, delta.map(|_| Some(arrival_us)))
        });
        if self.read_statuses(now, statuses, reference) {
            self.conclude(now);
        }
    }

    /// Takes feedback by source (RFC 8888), its numbers made transport-wide and in their order. `report_time` is the
    /// instant of the report on the peer's clock.
    pub fn handle_congestion(&mut self, now: MonoTime, report_time: u32, fates: &[(SeqNo, Fate)]) {
        self.stats.feedbacks = self.stats.feedbacks.saturating_add(1);
        if !self.budget.take(now, u16::try_from(fates.len()).unwrap_or(u16::MAX)) {
            self.stats.over_budget = self.stats.over_budget.saturating_add(1);
            return;
        }
        let reference = self.clock.begin_report(now, report_time);
        if reference.broken {
            self.forget_clock();
        }
        let statuses = fates.iter().map(|(seq, fate)| {
            let arrival = match fate {
                Fate::Lost => None,
                Fate::ArrivedSometime => Some(None),
                Fate::Arrived(before) => {
                    let before_us = i64::from(*before) * 1_000_000 / 1_024;
                    Some(Some(reference.base_us.saturating_sub(before_us)))
                }
            };
            (*seq, arrival)
        });
        if self.read_statuses(now, statuses, reference) {
            self.conclude(now);
        }
    }

    /// Takes the receiver's own estimate; nought and beyond all measure are within bounds as any.
    pub fn handle_remb(&mut self, now: MonoTime, bitrate_bps: u64) {
        if bitrate_bps == 0 {
            self.stats.remb_zero = self.stats.remb_zero.saturating_add(1);
        }
        let bitrate = Bitrate::from_bps(bitrate_bps).clamp(self.config.min, self.config.max);
        self.remb = Some(bitrate);
        if self.led_by != Feedback::TransportCc {
            self.led_by = Feedback::Remb;
            self.rate.set(now, bitrate);
            self.source = Limiter::Remb;
        }
    }

    /// Takes the share of packets that did not arrive since the last receiver report, in 256ths (RFC 3550 §6.4.1).
    pub fn handle_losses(&mut self, now: MonoTime, lost: u8) {
        if self.led_by == Feedback::Losses {
            let known = (self.rate.estimate(), self.demand.rate());
            let next = self.reports.next(now, lost, known);
            self.rate.set(now, next.clamp(self.config.min, self.config.max));
        }
    }

    /// Takes a round trip that was measured elsewhere (RFC 3550 §6.4.1).
    pub fn handle_rtt(&mut self, now: MonoTime, rtt: Duration) {
        self.rtt.add(now, rtt);
    }

    /// Says which rate the next layer up takes in all; `None` while nothing more is wanted.
    pub fn set_wanted(&mut self, now: MonoTime, wanted: Option<Bitrate>) {
        // What the estimate begins with is proved by nothing, however little is wanted.
        let least = if self.source == Limiter::Start { self.bitrate().plus(ONE) } else { Bitrate::ZERO };
        let wanted = wanted.map(|wanted| wanted.max(least).min(self.config.max));
        self.probes.set_wanted(now, wanted);
        self.ask_for_probe(now);
    }

    /// Says whether no probe can be sent, so that what is wanted has to be tried.
    pub fn set_tries(&mut self, tries: bool) {
        if self.trials.is_some() != tries {
            self.trials = tries.then(Trials::default);
        }
    }

    /// Says whether nothing is shown until the path has proved what is wanted.
    pub const fn set_urgent(&mut self, urgent: bool) {
        self.probes.set_urgent(urgent);
    }

    /// Says beyond which rates nothing is of use, and is not claimed: what a burst or a probe found once says nothing of what
    /// others leave.
    pub const fn set_enough(&mut self, enough: Enough) {
        self.enough = enough;
        self.probes.set_least(enough.now.is_none());
    }

    /// Does what is due. To be called a few times a second.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        if now >= self.tick_at {
            self.tick_at = now + TICK;
            self.demand.update(now, self.bitrate());
            self.handle_silence(now);
        }
        self.judge_probe(now);
        self.ask_for_probe(now);
    }

    /// Returns what to know or do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(probe) = self.probe.take() {
            return Some(Output::Probe(probe));
        }
        let estimate = self.estimate();
        let news = match self.told {
            None => true,
            Some(told) => {
                let change = told.bitrate.as_bps().abs_diff(estimate.bitrate.as_bps());
                told.limiter != estimate.limiter || change > told.bitrate.as_bps() / NEWS_PART
            }
        };
        news.then(|| {
            self.told = Some(estimate);
            Output::Estimate(estimate)
        })
    }

    /// Returns the estimate as it is now.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        let (bitrate, limiter) = self.lowest();
        let ours = matches!(limiter, Limiter::Probe | Limiter::Delay);
        let claims = |enough: Option<Bitrate>| enough.filter(|enough| ours && *enough < bitrate);
        let leaves_rest = self.sharing.is_shared() && self.probes.is_out_of_reach(bitrate);
        if let Some(bitrate) = claims(self.enough.now).filter(|_| leaves_rest) {
            return Estimate { bitrate, limiter };
        }
        if let Some(bitrate) = claims(self.enough.ever) {
            return Estimate { bitrate, limiter: Limiter::Application };
        }
        let spare = self.demand.rate().is_some_and(|sent| sent < bitrate.scaled(SPARE));
        let satisfied = self.probes.is_satisfied(bitrate);
        Estimate { bitrate, limiter: if ours && spare && satisfied { Limiter::Application } else { limiter } }
    }

    /// Returns what the path was seen to carry, which may be more than there is to send.
    #[must_use]
    pub fn carried(&self) -> Bitrate {
        self.bitrate()
    }

    /// Returns the shortest round trip lately.
    #[must_use]
    pub const fn rtt(&self) -> Option<Duration> {
        self.rtt.shortest()
    }

    /// Returns the share of packets lost in the last seconds.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss.share()
    }

    /// Returns how much longer packets take than the fastest lately did.
    #[must_use]
    pub fn queue(&self) -> Duration {
        self.delay.queue()
    }

    /// Returns the queue that the newest packet found, jitter and what left together with it included.
    #[must_use]
    pub fn newest_queue(&self) -> Duration {
        self.delay.newest()
    }

    /// Says whether far less passed than was sent a moment ago, and nobody else is known to send over the same bottleneck.
    #[must_use]
    pub fn is_choked(&self, now: MonoTime) -> bool {
        self.rate.was_choked(now) && !self.sharing.is_shared()
    }

    /// Says whether another sender is known to use the path.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.sharing.is_shared()
    }

    /// Says whether the path's queue is long, or far less passed than was sent a moment ago.
    #[must_use]
    pub fn is_full(&self, now: MonoTime) -> bool {
        self.queue() > QUEUE_FULL || self.rate.was_choked(now)
    }

    /// Returns the rate at which packets arrive; `None` until enough have.
    #[must_use]
    pub fn acknowledged(&self) -> Option<Bitrate> {
        self.acknowledged.rate(ACKNOWLEDGED_SPAN)
    }

    /// Returns the rate at which packets were sent lately.
    #[must_use]
    pub const fn sent(&self) -> Option<Bitrate> {
        self.demand.rate()
    }

    /// Says whether the estimate follows what the viewer says of arrivals.
    #[must_use]
    pub fn is_led_by_arrivals(&self) -> bool {
        self.led_by == Feedback::TransportCc
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Returns what arrived while the queue was there: as long as a packet has waited the bottleneck was busy. Of a few
    /// packets it says nothing.
    fn passed(&self) -> Option<Bitrate> {
        let span = self.delay.queue().clamp(PASSED_SPAN_MIN, ACKNOWLEDGED_NOW_SPAN);
        self.acknowledged.rate(span).filter(|rate| rate.bytes_in(span) >= PASSED_BYTES_MIN)
    }

    fn bitrate(&self) -> Bitrate {
        self.lowest().0
    }

    fn lowest(&self) -> (Bitrate, Limiter) {
        let delay = (self.rate.estimate(), self.source);
        let loss = self.loss.limit().map(|limit| (limit, Limiter::Loss));
        let remb = self.remb.map(|limit| (limit, Limiter::Remb));
        let others = loss.into_iter().chain(remb);
        let (bitrate, limiter) = others.fold(delay, |low, other| if other.0 < low.0 { other } else { low });
        (bitrate.clamp(self.config.min, self.config.max), limiter)
    }

    /// Reads the statuses of one feedback packet; true when there was news among them.
    ///
    /// A status is `None` for a loss, and what came has the time of its arrival, if that is known.
    fn read_statuses(
        &mut self,
        now: MonoTime,
        statuses: impl Iterator<Item = (SeqNo, Option<Option<i64>>)>,
        reference: Reference,
    ) -> bool {
        let received_before = self.stats.received;
        let mut newest_sent_us = None;
        for (seq, arrival) in statuses {
            match self.history.acknowledge(now, seq, arrival.is_some()) {
                Lookup::News(status) => {
                    newest_sent_us = newest_sent_us.max(Some(status.sent_us));
                    self.handle_status(&status, arrival, reference);
                }
                Lookup::Known => self.stats.repeated = self.stats.repeated.saturating_add(1),
                Lookup::Stale => self.stats.stale = self.stats.stale.saturating_add(1),
                Lookup::Future => {
                    // Numbers rise, so all that follow are of the future as well.
                    self.stats.from_the_future = self.stats.from_the_future.saturating_add(1);
                    break;
                }
            }
        }
        let Some(newest_sent_us) = newest_sent_us else { return false };
        if self.stats.received > received_before {
            self.be_led_as_negotiated(now);
        }
        let age = history::micros(now).saturating_sub(newest_sent_us);
        self.rtt.add(now, Duration::from_micros(u64::try_from(age).unwrap_or(0)));
        if let Some(before) = self.silence.end() {
            // A path that was gone and is back lost all of what was sent meanwhile, which says nothing of what it carries.
            self.loss = LossEstimator::new();
            self.rate.raise(now, before.scaled(RETURN));
            self.probes.handle_return(now);
        }
        true
    }

    /// Forgets what was measured by the receiver's clock, which is another one now.
    fn forget_clock(&mut self) {
        self.stats.implausible = self.stats.implausible.saturating_add(1);
        self.delay.reset();
        self.acknowledged.reset();
        self.excess = Excess::new();
        self.probes.forget();
    }

    fn handle_status(&mut self, status: &Status, arrival: Option<Option<i64>>, reference: Reference) {
        self.loss.handle_status(status, arrival.is_some());
        let received = arrival.is_some();
        let arrival = arrival.flatten().filter(|arrival_us| {
            let plausible = is_plausible(reference, *arrival_us);
            self.stats.implausible = self.stats.implausible.saturating_add(u64::from(!plausible));
            plausible
        });
        self.excess.handle_status(status, received.then_some(arrival));
        let count = if received { &mut self.stats.received } else { &mut self.stats.lost };
        *count = count.saturating_add(1);
        let bytes = if received { u64::from(status.size) } else { 0 };
        self.stats.received_bytes = self.stats.received_bytes.saturating_add(bytes);
        if let Some(arrival_us) = arrival {
            self.acknowledged.add(arrival_us, status.size);
            self.delay.handle_received(status, arrival_us);
            self.sharing.handle_received(status, self.rate.estimate().max(self.config.min));
        }
        if let Some(cluster) = status.cluster {
            self.probes.handle_status(cluster, status, arrival);
        }
    }

    /// Draws the conclusions of one feedback packet.
    fn conclude(&mut self, now: MonoTime) {
        let acknowledged = self.acknowledged();
        let measured = Measured {
            usage: self.delay.usage(),
            acknowledged,
            acknowledged_long: self.acknowledged.rate(ACKNOWLEDGED_LONG_SPAN),
            acknowledged_now: self.acknowledged.rate(ACKNOWLEDGED_NOW_SPAN),
            passed: self.passed(),
            rtt: self.rtt.shortest().unwrap_or(RTT_START),
            queue: self.delay.queue(),
            standing: self.delay.standing(),
            limited: self.demand.is_limited(),
            growth: if self.delay.usage() == Usage::Over { self.delay.growth() } else { 0.0 },
            sent: self.demand.rate(),
            shared: self.sharing.is_shared(),
            choked: self.excess.choked(self.delay.unusual(), self.rate.estimate()),
        };
        let grows = measured.usage == Usage::Over || measured.choked.is_some();
        self.idle.update(measured.sent, measured.acknowledged_now, grows);
        self.delay.set_idle(is_little(measured.sent));
        self.delay.set_contended(measured.shared);
        if self.led_by == Feedback::TransportCc {
            self.mind_length(now);
            let before = self.rate.estimate();
            if self.rate.update(now, &measured) {
                self.stats.overuses = self.stats.overuses.saturating_add(1);
                self.source = Limiter::Delay;
                self.probes.handle_drop(now);
                if let Some(trials) = &mut self.trials {
                    trials.handle_drop(now);
                }
            } else if self.rate.estimate() > before {
                self.source = Limiter::Delay;
            }
        }
        self.sharing.update(now, self.delay.unusual());
        self.judge_probe(now);
        // Of a path that is not filled, what arrives says nothing.
        let full = acknowledged.filter(|_| !self.demand.is_limited());
        self.loss.update(now, self.rate.estimate(), full);
        self.ask_for_probe(now);
    }

    fn judge_probe(&mut self, now: MonoTime) {
        let Some(verdict) = self.probes.judge(now, self.rate.estimate(), self.delay.noise()) else { return };
        match verdict {
            Verdict::Carried(proved) => {
                self.stats.probes_carried = self.stats.probes_carried.saturating_add(1);
                if self.delay.usage() != Usage::Over {
                    self.source = if proved > self.rate.estimate() { Limiter::Probe } else { self.source };
                    self.rate.raise(now, proved);
                    self.loss.raise(proved);
                }
            }
            Verdict::Saturated(full) => {
                self.stats.probes_saturated = self.stats.probes_saturated.saturating_add(1);
                self.source = Limiter::Probe;
                let estimate = self.rate.estimate();
                if full > estimate {
                    self.rate.raise(now, full);
                } else {
                    // One probe may be wrong; what arrives all the time is not.
                    let halfway = Bitrate::from_bps(estimate.as_bps() / 2 + full.as_bps() / 2);
                    self.rate.set(now, halfway.max(self.acknowledged().unwrap_or(full)).min(estimate));
                }
            }
            Verdict::Nothing => {}
        }
    }

    fn ask_for_probe(&mut self, now: MonoTime) {
        // To who gets no picture nothing else may be sent that could end the silence.
        let is_barred = self.silence.is_long(now) && !self.probes.is_urgent();
        if self.led_by != Feedback::TransportCc || is_barred {
            return;
        }
        // Sound alone makes no queue: what looks like one to who sees nothing is others', or the path itself.
        let free = if self.probes.is_urgent() { QUEUE_URGENT } else { QUEUE_FREE };
        if self.delay.usage() == Usage::Over || self.delay.queue() > free {
            return;
        }
        if let Some(trials) = &mut self.trials {
            let wanted = self.probes.wanted().filter(|wanted| *wanted > self.rate.estimate());
            if let Some(wanted) = wanted.filter(|_| self.stats.received > 0 && trials.poll(now)) {
                self.source = Limiter::Probe;
                self.rate.raise(now, wanted);
            }
            return;
        }
        if let Some(probe) = self.probes.poll(now, self.bitrate(), self.delay.noise()) {
            self.stats.probes = self.stats.probes.saturating_add(1);
            self.probe = Some(probe);
        }
    }

    /// Halves the estimate for each second in which nothing was acknowledged.
    fn handle_silence(&mut self, now: MonoTime) {
        if self.led_by != Feedback::TransportCc {
            return;
        }
        if self.stats.received == 0 && self.silence.lasts(now, NEVER_REPORTED) {
            self.fall_back(now);
            return;
        }
        if !self.silence.is_due(now) {
            return;
        }
        self.stats.silences = self.stats.silences.saturating_add(1);
        self.silence.before.get_or_insert(self.rate.estimate());
        self.rate.set(now, self.rate.estimate().scaled(0.5).max(self.config.min));
        self.source = Limiter::Silence;
    }

    /// Follows what else there is, for want of what was negotiated.
    fn fall_back(&mut self, now: MonoTime) {
        self.stats.fallbacks = self.stats.fallbacks.saturating_add(1);
        (self.led_by, self.source) = match self.remb {
            Some(_) => (Feedback::Remb, Limiter::Remb),
            None => (Feedback::Losses, Limiter::Unreported),
        };
        self.rate.set(now, self.remb.unwrap_or(self.config.start));
        self.silence = Silence::default();
    }

    /// Begins anew with what was negotiated, if the estimate followed something else.
    fn be_led_as_negotiated(&mut self, now: MonoTime) {
        if self.led_by != self.config.feedback {
            self.led_by = self.config.feedback;
            self.rate.set(now, self.rate.estimate().min(self.config.start));
            self.source = Limiter::Start;
        }
    }
}

/// How often what needs no feedback is looked at.
const TICK: Duration = Duration::from_millis(100);

/// The part of the estimate by which it has to change to be told.
const NEWS_PART: u64 = 50;

/// With less than this part of the estimate being sent, and no more wanted, it is not the path that limits.
const SPARE: f64 = 0.93;

/// The span of the acknowledged rate, and of what arrives just now.
const ACKNOWLEDGED_SPAN: Duration = Duration::from_millis(500);
const ACKNOWLEDGED_LONG_SPAN: Duration = Duration::from_millis(975);
const ACKNOWLEDGED_NOW_SPAN: Duration = Duration::from_millis(250);

/// What passes the bottleneck is measured over this at least, and over so much that one packet hardly changes it.
const PASSED_SPAN_MIN: Duration = Duration::from_millis(100);
const PASSED_BYTES_MIN: u64 = 10_000;

/// Above this queue no probe goes out, and none to who has no picture.
const QUEUE_FREE: Duration = Duration::from_millis(50);
const QUEUE_URGENT: Duration = Duration::from_millis(150);

/// A queue that is long, where it can be.
const QUEUE_FULL: Duration = Duration::from_millis(75);

/// The round trip before one is known.
const RTT_START: Duration = Duration::from_millis(100);

/// The part of the estimate of before that a path is believed to carry when it is back.
const RETURN: f64 = 0.5;

/// More than what is known already.
const ONE: Bitrate = Bitrate::from_bps(1);

/// How long a viewer may be sent packets without ever reporting one. Browsers report four times a second at least, and
/// the longest round trip believed is two seconds; a second later the lowest picture would be given up.
const NEVER_REPORTED: Duration = Duration::from_secs(3);
