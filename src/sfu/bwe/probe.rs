//! Probes: when to send more than the media for a moment, and what its arrivals prove.
//!
//! A viewer on a low layer sends too little to prove that a higher one would fit. While one is wanted, a *cluster*
//! of packets goes out at the rate to be proved, at most [`STEP_MAX`] times the estimate: the first at once, the
//! next as soon as one succeeded and more is wanted, otherwise after a wait that is longer after a failure. One
//! cluster is under way at a time.
//!
//! **What it proves.** A line through the arrivals over the bytes gives the rate at which they came; jitter on
//! single packets hardly moves it. Arriving about as fast as they were sent, they prove that rate; arriving slower,
//! they measure the bottleneck.

use std::time::Duration;

use rtp::MonoTime;

use super::history::Status;
use crate::Bitrate;

/// A cluster has at least so many packets and lasts at least so long.
const PACKETS_MIN: u64 = 5;
const PACKET_BYTES: u64 = 1_200;
const SPAN: Duration = Duration::from_millis(80);

/// On a path with much jitter a cluster lasts so many times its noise longer, up to the most.
const SPAN_PER_NOISE: u32 = 12;
const SPAN_MAX: Duration = Duration::from_millis(200);

/// How many times the path's noise the arrivals may be stretched without meaning anything.
const STRETCH_PER_NOISE: u32 = 2;

/// But at most this part of them.
const STRETCH_PART: u32 = 6;

/// A probe aims a little above what is to be proved: it never quite reaches its target.
const AIM: f64 = 1.06;

/// How far above the estimate a probe may go.
const STEP_MAX: f64 = 2.0;
/// The first probe: nothing is known, and the path is empty.
const FIRST_STEP_MAX: f64 = 3.0;

/// The wait after a probe that did not prove what was wanted, and after one that did but another is needed.
const WAIT_FAILED: Duration = Duration::from_secs(5);
const WAIT_FAILED_LEAST: Duration = Duration::from_millis(3_500);
const WAIT_FIRST_FAILED: Duration = Duration::from_secs(2);
const WAIT_SUCCEEDED: Duration = Duration::from_millis(50);

/// The wait of who has no picture, and the rate that its probe may have at least: what five packets take a sixth of a
/// second for.
const WAIT_URGENT: Duration = Duration::from_millis(400);
const URGENT_TARGET: Bitrate = Bitrate::from_kbps(300);

/// What is more than so many times the estimate is out of reach when a probe has failed.
const REACH: f64 = 1.5;

/// How soon after a drop of the estimate the path is probed again.
const WAIT_DROPPED: Duration = Duration::from_millis(1_500);

/// A cluster whose packets are not all reported after this time is judged by what came; one that was never sent
/// is given up.
const JUDGED_AFTER: Duration = Duration::from_millis(1_000);

/// How much more than the estimate a probe has to show not to have failed, where it does not reach its target.
const PROGRESS: f64 = 1.7;

/// Arrivals this much slower than the sending measure the bottleneck.
const SATURATED: f64 = 0.9;

/// Less slow ones do so too, and well, beyond this much of noise.
const NOISE: f64 = 1.03;

/// The part of a measured bottleneck that is trusted.
const TRUSTED: f64 = 0.95;

/// A cluster is judged when at least so much of it arrived.
const ARRIVED_MIN: f64 = 0.6;

/// The number of a probe cluster, 1 to 31, wrapping: marks the packets that belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster(u8);

impl Cluster {
    const COUNT: u8 = 31;

    /// Returns the cluster's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    pub(super) const fn from_number(number: u8) -> Option<Self> {
        if number == 0 || number > Self::COUNT { None } else { Some(Self(number)) }
    }

    const fn next(self) -> Self {
        Self(self.0 % Self::COUNT + 1)
    }
}

/// Packets to send now, media and padding together, marked with the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The mark.
    pub cluster: Cluster,
    /// The rate to send at.
    pub target: Bitrate,
    /// How much to send at that rate.
    pub bytes: u64,
}

/// What a probe proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The path carries at least this.
    Carried(Bitrate),
    /// The path is full at this.
    Saturated(Bitrate),
    /// Too little of it was sent or arrived.
    Nothing,
}

/// The controller.
#[derive(Debug)]
pub(super) struct Probes {
    next_cluster: Cluster,
    wanted: Option<Bitrate>,
    active: Option<Active>,
    /// When the next may begin.
    due: MonoTime,
    succeeded: bool,
    probed: bool,
    failures: u32,
    /// Whether nothing is shown until the path has proved that it carries it.
    urgent: bool,
    /// When the last one was judged.
    judged: MonoTime,
    /// Whether the viewer gets the least there is.
    is_least: bool,
}

#[derive(Debug)]
struct Active {
    probe: Probe,
    began: MonoTime,
    sent: Tally,
    sent_packets: u32,
    reported_packets: u32,
    /// Whether whoever sends it has done so, whatever it took.
    is_sent: bool,
    arrived: Line,
}

/// Bytes of a cluster, and those of its last moment, which no later time accounts for.
#[derive(Debug, Default)]
struct Tally {
    bytes: u64,
    last_moment_bytes: u64,
    first_at: Option<MonoTime>,
    last_at: MonoTime,
}

impl Probes {
    pub(super) fn new(now: MonoTime) -> Self {
        Self {
            next_cluster: Cluster(1),
            wanted: None,
            active: None,
            due: now,
            succeeded: false,
            probed: false,
            failures: 0,
            urgent: false,
            judged: now,
            is_least: false,
        }
    }

    /// Says whether nothing is shown until the path has proved that it carries it: the wait for the next probe is short
    /// then, and it may go far above the little that sound proves.
    pub(super) const fn set_urgent(&mut self, urgent: bool) {
        self.urgent = urgent;
    }

    /// Says whether there is no picture.
    pub(super) const fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Says which rate should be proved.
    pub(super) fn set_wanted(&mut self, now: MonoTime, wanted: Option<Bitrate>) {
        let rises = wanted > self.wanted;
        self.wanted = wanted;
        if rises && self.succeeded {
            self.due = self.due.min(now + WAIT_SUCCEEDED);
        }
    }

    /// Returns which rate should be proved.
    pub(super) const fn wanted(&self) -> Option<Bitrate> {
        self.wanted
    }

    /// Says whether the viewer gets the least there is: its path is asked again sooner, and its probes are small.
    pub(super) const fn set_least(&mut self, is_least: bool) {
        self.is_least = is_least;
    }

    /// Says that the estimate has fallen: the path is asked again soon, and what is under way is still judged.
    pub(super) fn handle_drop(&mut self, now: MonoTime) {
        self.due = now + WAIT_DROPPED;
        self.succeeded = false;
        self.failures = 0;
    }

    /// Gives up what is under way: its arrivals were measured by two clocks.
    pub(super) fn forget(&mut self) {
        self.active = None;
    }

    /// Says that the path is back after silence.
    pub(super) fn handle_return(&mut self, now: MonoTime) {
        self.due = now;
        self.failures = 0;
    }

    /// Returns the next cluster to send, if one is due. `noise` is that of the path.
    pub(super) fn poll(&mut self, now: MonoTime, estimate: Bitrate, noise: Duration) -> Option<Probe> {
        let wanted = self.wanted.filter(|wanted| *wanted > estimate)?;
        if self.active.is_some() || now < self.due() {
            return None;
        }
        let step = if self.probed { STEP_MAX } else { FIRST_STEP_MAX };
        let least = if self.urgent { URGENT_TARGET } else { Bitrate::ZERO };
        let target = wanted.scaled(AIM).min(estimate.scaled(step).max(least));
        let span = (SPAN + noise * SPAN_PER_NOISE).min(SPAN_MAX);
        let bytes = target.bytes_in(span).max(PACKETS_MIN * PACKET_BYTES);
        let probe = Probe { cluster: self.next_cluster, target, bytes };
        self.next_cluster = self.next_cluster.next();
        self.active = Some(Active {
            probe,
            began: now,
            sent: Tally::default(),
            sent_packets: 0,
            reported_packets: 0,
            is_sent: false,
            arrived: Line::default(),
        });
        Some(probe)
    }

    /// Returns when the next may begin.
    fn due(&self) -> MonoTime {
        if self.urgent { self.due.min(self.judged + WAIT_URGENT) } else { self.due }
    }

    /// Says whether what is wanted is far above the estimate, and a probe has failed to find it.
    pub(super) fn is_out_of_reach(&self, estimate: Bitrate) -> bool {
        self.failures > 0 && self.wanted.is_some_and(|wanted| wanted > estimate.scaled(REACH))
    }

    /// Says whether nothing more than the estimate is wanted.
    pub(super) fn is_satisfied(&self, estimate: Bitrate) -> bool {
        self.active.is_none() && self.wanted.is_none_or(|wanted| wanted <= estimate)
    }

    /// Notes that a packet of a cluster was sent.
    pub(super) fn handle_sent(&mut self, now: MonoTime, cluster: Cluster, size: u16) {
        let Some(active) = self.active.as_mut().filter(|active| active.probe.cluster == cluster) else {
            return;
        };
        let sent = &mut active.sent;
        if sent.first_at.is_none() || now != sent.last_at {
            sent.last_moment_bytes = 0;
        }
        sent.first_at.get_or_insert(now);
        sent.last_at = now;
        sent.bytes = sent.bytes.saturating_add(u64::from(size));
        sent.last_moment_bytes = sent.last_moment_bytes.saturating_add(u64::from(size));
        active.sent_packets = active.sent_packets.saturating_add(1);
    }

    /// Notes that nothing more of a cluster will be sent.
    pub(super) fn handle_all_sent(&mut self, cluster: Cluster) {
        if let Some(active) = self.active.as_mut().filter(|active| active.probe.cluster == cluster) {
            active.is_sent = true;
        }
    }

    /// Notes what feedback says of a packet of a cluster; `arrival_us` is `None` when it was lost.
    pub(super) fn handle_status(&mut self, cluster: Cluster, status: &Status, arrival_us: Option<i64>) {
        let Some(active) = self.active.as_mut().filter(|active| active.probe.cluster == cluster) else {
            return;
        };
        if !status.was_lost {
            active.reported_packets = active.reported_packets.saturating_add(1);
        }
        match arrival_us {
            Some(arrival_us) => active.arrived.add(arrival_us, status.size, status.was_lost),
            None => active.arrived.skip(status.size),
        }
    }

    /// Judges the cluster under way when all of it is reported, or its time is over.
    pub(super) fn judge(&mut self, now: MonoTime, estimate: Bitrate, noise: Duration) -> Option<Verdict> {
        let active = self.active.as_ref()?;
        let all_sent = active.is_sent || active.sent.bytes >= active.probe.bytes;
        let reported = all_sent && active.sent_packets > 0 && active.reported_packets >= active.sent_packets;
        if !reported && now.since(active.began) < JUDGED_AFTER {
            return None;
        }
        let verdict = active.verdict(noise);
        self.active = None;
        self.judged = now;
        self.probed = true;
        // A few packets are measured to some per cent: one that shows much more than was known is no failure.
        let proved = match verdict {
            Verdict::Carried(proved) => Some(proved),
            Verdict::Saturated(full) => Some(full).filter(|full| *full > estimate.scaled(PROGRESS)),
            Verdict::Nothing => None,
        };
        self.succeeded = proved.is_some();
        self.failures = if self.succeeded { 0 } else { self.failures.saturating_add(1) };
        let more = proved.is_some_and(|proved| self.wanted.is_some_and(|wanted| wanted > proved));
        let wait = match (self.succeeded, more, self.failures) {
            _ if self.urgent => WAIT_URGENT,
            (true, true, _) => WAIT_SUCCEEDED,
            (true, false, _) | (false, _, 0 | 1) => WAIT_FIRST_FAILED,
            _ if self.is_least => WAIT_FAILED_LEAST,
            _ => WAIT_FAILED,
        };
        self.due = now + wait;
        Some(verdict)
    }
}

impl Active {
    fn verdict(&self, noise: Duration) -> Verdict {
        let arrived_share = self.arrived.bytes as f64 / (self.sent.bytes.max(1) as f64);
        if u64::from(self.sent_packets) < PACKETS_MIN
            || u64::from(self.arrived.count) < PACKETS_MIN - 1
            || arrived_share < ARRIVED_MIN
        {
            return Verdict::Nothing;
        }
        // Of what passed, the lost with it: a hole among the arrivals is no slower path.
        let Some(passed) = self.arrived.rate() else { return Verdict::Nothing };
        let passed = {
            let took = passed.time_for(self.arrived.passed);
            Bitrate::of(
                self.arrived.passed,
                took.saturating_sub((noise * STRETCH_PER_NOISE).min(took / STRETCH_PART)),
            )
        };
        // No span: everything went out at once, and only the arrivals know a rate.
        let span = self.sent.first_at.map_or(Duration::ZERO, |first| self.sent.last_at.since(first));
        let sent = if span < SPAN_KNOWN {
            self.probe.target
        } else {
            Bitrate::of(self.sent.bytes.saturating_sub(self.sent.last_moment_bytes), span)
        };
        let sent = sent.min(self.probe.target);
        let came = passed.scaled(arrived_share.min(1.0));
        if passed < sent.scaled(SATURATED) {
            Verdict::Saturated(came.scaled(TRUSTED))
        } else if passed.scaled(NOISE) < sent {
            Verdict::Saturated(came)
        } else {
            let lossless = sent.scaled(arrived_share.min(1.0));
            Verdict::Carried(if arrived_share > 1.0 - LOSS_TOLERATED { sent } else { lossless })
        }
    }
}

/// Below this the sending time of a cluster is that of one system call.
const SPAN_KNOWN: Duration = Duration::from_millis(5);

/// The share of a cluster that may be lost without telling anything about the rate.
const LOSS_TOLERATED: f64 = 0.15;

/// The line through arrival times over the bytes that had passed by then, in sums.
#[derive(Debug, Default)]
struct Line {
    count: u32,
    /// Bytes that arrived, and those with what was lost.
    bytes: u64,
    passed: u64,
    first_us: i64,
    sum_bytes: f64,
    sum_time: f64,
    sum_bytes_squared: f64,
    sum_product: f64,
}

impl Line {
    /// Takes a packet that was lost.
    fn skip(&mut self, size: u16) {
        self.passed = self.passed.saturating_add(u64::from(size));
    }

    /// Takes a packet that arrived; one that was taken for lost had its place already.
    fn add(&mut self, arrival_us: i64, size: u16, was_lost: bool) {
        self.bytes = self.bytes.saturating_add(u64::from(size));
        if was_lost {
            return;
        }
        if self.count == 0 {
            self.first_us = arrival_us;
        }
        // The first packet's own bytes passed before its arrival, so each point stands behind its packet.
        self.passed = self.passed.saturating_add(u64::from(size));
        let (bytes, time) = (self.passed as f64, arrival_us.saturating_sub(self.first_us) as f64);
        self.count = self.count.saturating_add(1);
        self.sum_bytes += bytes;
        self.sum_time += time;
        self.sum_bytes_squared += bytes * bytes;
        self.sum_product += bytes * time;
    }

    /// Returns the rate: a slope that is flat or falls means faster than can be told.
    fn rate(&self) -> Option<Bitrate> {
        let count = f64::from(self.count);
        let above = count * self.sum_product - self.sum_bytes * self.sum_time;
        let below = count * self.sum_bytes_squared - self.sum_bytes * self.sum_bytes;
        if self.count < 2 || below <= 0.0 {
            return None;
        }
        let micros_per_byte = (above / below).max(MICROS_PER_BYTE_MIN);
        Some(Bitrate::from_bps((8_000_000.0 / micros_per_byte) as u64))
    }
}

/// 10 Gbit/s.
const MICROS_PER_BYTE_MIN: f64 = 0.000_8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_five_packets_and_eighty_milliseconds_at_least() {
        for (wanted, estimate) in [(200, 100), (2_000, 1_000), (20_000, 10_000)] {
            let mut probes = Probes::new(MonoTime::ZERO);
            probes.set_wanted(MonoTime::ZERO, Some(Bitrate::from_kbps(wanted)));

            let probe = probes.poll(MonoTime::ZERO, Bitrate::from_kbps(estimate), QUIET).unwrap();

            assert!(probe.bytes >= PACKETS_MIN * PACKET_BYTES);
            assert!(probe.target.time_for(probe.bytes) + Duration::from_millis(1) >= SPAN);
            assert!(probe.target <= Bitrate::from_kbps(wanted).scaled(AIM));
        }
    }

    #[test]
    fn who_gets_the_least_there_is_is_probed_for_sooner() {
        for (is_least, wait_ms) in [(false, 5_000), (true, 3_500)] {
            let mut probes = Probes::new(MonoTime::ZERO);
            probes.set_wanted(MonoTime::ZERO, Some(TARGET));
            probes.set_least(is_least);
            // Nothing of a probe is sent, so it fails.
            let mut began_ms = 0;
            for wait_ms in [2_000, wait_ms] {
                assert!(probes.poll(MonoTime::from_millis(began_ms), ESTIMATE, QUIET).is_some());
                let over = MonoTime::from_millis(began_ms) + JUDGED_AFTER;
                assert_eq!(probes.judge(over, ESTIMATE, QUIET), Some(Verdict::Nothing));

                began_ms += 1_000 + wait_ms;
                assert_eq!(probes.poll(MonoTime::from_millis(began_ms - 1), ESTIMATE, QUIET), None);
            }
            assert!(probes.poll(MonoTime::from_millis(began_ms), ESTIMATE, QUIET).is_some());
        }
    }

    #[test]
    fn nothing_is_probed_while_nothing_more_is_wanted() {
        let mut probes = Probes::new(MonoTime::ZERO);

        assert_eq!(probes.poll(MonoTime::ZERO, ESTIMATE, QUIET), None);
        probes.set_wanted(MonoTime::ZERO, Some(ESTIMATE));
        assert_eq!(probes.poll(MonoTime::ZERO, ESTIMATE, QUIET), None);
        probes.set_wanted(MonoTime::ZERO, Some(ESTIMATE.scaled(2.0)));
        assert!(probes.poll(MonoTime::ZERO, ESTIMATE, QUIET).is_some());
    }

    #[test]
    fn arrivals_as_fast_as_the_sending_prove_the_rate() {
        assert_eq!(probed(1.0, 0), Some(Verdict::Carried(TARGET)));
    }

    #[test]
    fn slower_arrivals_measure_the_bottleneck_in_spite_of_jitter() {
        for jitter_us in [0, 10_000] {
            let Some(Verdict::Saturated(rate)) = probed(0.6, jitter_us) else { panic!("not saturated") };

            let expected = TARGET.scaled(0.6 * TRUSTED).as_bps();
            assert!(rate.as_bps().abs_diff(expected) < expected / 8, "{rate:?}");
        }
    }

    #[test]
    fn a_packet_lost_by_chance_out_of_a_small_cluster_is_no_full_path() {
        let wanted = Bitrate::from_kbps(900);
        for lost in 0..8 {
            let mut probes = Probes::new(MonoTime::ZERO);
            probes.set_wanted(MonoTime::ZERO, Some(wanted));
            let probe = probes.poll(MonoTime::ZERO, Bitrate::from_kbps(500), QUIET).unwrap();
            assert_eq!(packets(&probe), 8);

            send(&mut probes, &probe);
            for packet in 0..8 {
                let arrival_us = probe.target.time_for(1_200).as_micros() as i64 * packet;
                probes.handle_status(probe.cluster, &status(0), Some(arrival_us).filter(|_| packet != lost));
            }

            let verdict = probes.judge(MonoTime::from_millis(200), Bitrate::from_kbps(500), QUIET);
            assert_eq!(verdict, Some(Verdict::Carried(probe.target)), "packet {lost}");
        }
    }

    #[test]
    fn a_bottleneck_a_little_below_the_sending_is_what_is_proved() {
        let Some(Verdict::Saturated(rate)) = probed(0.93, 0) else { panic!("not saturated") };

        assert!(rate.as_bps().abs_diff(TARGET.scaled(0.93).as_bps()) < TARGET.as_bps() / 50, "{rate:?}");
        assert_eq!(probed(0.98, 0), Some(Verdict::Carried(TARGET)));
    }

    #[test]
    fn a_cluster_that_was_never_sent_is_given_up_and_asked_for_again() {
        let mut probes = wanting();
        probes.poll(MonoTime::ZERO, ESTIMATE, QUIET).unwrap();

        assert_eq!(probes.judge(MonoTime::from_millis(999), ESTIMATE, QUIET), None);
        assert_eq!(probes.judge(MonoTime::from_millis(1_000), ESTIMATE, QUIET), Some(Verdict::Nothing));

        assert_eq!(probes.poll(MonoTime::from_millis(2_999), ESTIMATE, QUIET), None);
        assert!(probes.poll(MonoTime::from_millis(3_000), ESTIMATE, QUIET).is_some());
    }

    #[test]
    fn a_cluster_of_which_nothing_more_is_sent_is_judged_when_all_of_it_is_reported() {
        let mut probes = wanting();
        let probe = probes.poll(MonoTime::ZERO, ESTIMATE, QUIET).unwrap();
        // What the pacer takes for a packet's size is more than what is written.
        for packet in 0..packets(&probe) {
            let at = MonoTime::ZERO + probe.target.time_for(1_150) * packet as u32;
            probes.handle_sent(at, probe.cluster, 1_150);
            let arrival_us = probe.target.time_for(1_150).as_micros() as i64 * packet;
            probes.handle_status(probe.cluster, &status(0), Some(arrival_us));
        }
        assert_eq!(probes.judge(MonoTime::from_millis(200), ESTIMATE, QUIET), None);

        probes.handle_all_sent(probe.cluster);

        assert!(probes.judge(MonoTime::from_millis(200), ESTIMATE, QUIET).is_some());
    }

    #[test]
    fn who_has_no_picture_is_probed_soon_again_and_for_more_than_sound_proves() {
        let sound = Bitrate::from_kbps(50);
        let mut probes = wanting();
        probes.set_urgent(true);

        let probe = probes.poll(MonoTime::ZERO, sound, QUIET).unwrap();
        assert_eq!(probe.target, URGENT_TARGET);
        assert_eq!(probes.judge(MonoTime::from_millis(1_000), sound, QUIET), Some(Verdict::Nothing));

        assert_eq!(probes.poll(MonoTime::from_millis(1_399), sound, QUIET), None);
        assert!(probes.poll(MonoTime::from_millis(1_400), sound, QUIET).is_some());
    }

    #[test]
    fn impossible_arrivals_prove_no_more_than_was_sent() {
        let mut probes = wanting();
        let probe = probes.poll(MonoTime::ZERO, ESTIMATE, QUIET).unwrap();

        send(&mut probes, &probe);
        for packet in 0..packets(&probe) {
            probes.handle_status(probe.cluster, &status(0), Some(-packet * 1_000_000));
        }

        assert_eq!(probes.judge(MonoTime::from_millis(200), ESTIMATE, QUIET), Some(Verdict::Carried(TARGET)));
    }

    const QUIET: Duration = Duration::ZERO;
    const ESTIMATE: Bitrate = Bitrate::from_kbps(1_000);
    const TARGET: Bitrate = Bitrate::from_kbps(3_000);

    /// Sends a cluster at its rate, lets it arrive at a part of it, and judges.
    fn probed(speed: f64, jitter_us: i64) -> Option<Verdict> {
        let mut probes = wanting();
        let probe = probes.poll(MonoTime::ZERO, ESTIMATE, QUIET)?;
        send(&mut probes, &probe);
        for packet in 0..packets(&probe) {
            let passed_us = probe.target.scaled(speed).time_for(1_200).as_micros() as i64 * packet;
            let jitter_us = jitter_us * (packet * 7 % 5 - 2) / 2;
            probes.handle_status(probe.cluster, &status(0), Some(passed_us + jitter_us));
        }
        probes.judge(MonoTime::from_millis(200), ESTIMATE, QUIET)
    }

    fn send(probes: &mut Probes, probe: &Probe) {
        for packet in 0..packets(probe) {
            let at = probe.target.time_for(1_200) * packet as u32;
            probes.handle_sent(MonoTime::ZERO + at, probe.cluster, 1_200);
        }
    }

    fn packets(probe: &Probe) -> i64 {
        probe.bytes.div_ceil(1_200) as i64
    }

    fn wanting() -> Probes {
        let mut probes = Probes::new(MonoTime::ZERO);
        probes.set_wanted(MonoTime::ZERO, Some(Bitrate::from_kbps(5_000)));
        probes
    }

    fn status(sent_us: i64) -> Status {
        Status { sent_us, size: 1_200, run: 0, cluster: None, was_lost: false }
    }
}
