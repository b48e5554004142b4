//! Keeps what one viewer gets within what its path carries. Packet path.
//!
//! Think of three machines and the wires between them: the *estimate* learns from what was sent and what the viewer
//! says of it; the *allocator* makes of it the layer to forward, and says which rate would take the next one; the
//! *pacer* spreads what leaves. The pacer stands in front of the subscription: what it holds back or drops has no
//! number yet.
//!
//! **Cost.** Per packet, one note in the estimator's history; per turn, a look at the pacer, which nearly always is
//! open. All else happens with feedback and five times a second, and only while something is sent.
//!
//! Start reading at [`Regulator::settle`]; how it is wired to the subscription is in `regulate`.

use std::time::Duration;

use rtp::rtcp::{Fate, TransportCcView};
use rtp::{MonoTime, SeqNo};

use super::congestion::Congestion;
use super::layers::Layers;
use super::subscription::Asking;
use super::{Forward, LayerRequest};
use crate::allocator::{Allocation, Allocator, Candidate};
use crate::bwe::{self, Cluster, Estimator, Feedback, Limiter, Output, Sent};
use crate::pacer::{Frame, Item, Pace, Pacer, Release};
use crate::ring::Temporal;
use crate::track::MAX_LAYERS;
use crate::{Arrival, Bitrate, LayerIndex, LayerInfo};

/// The regulator of one viewer. Its fields are in the order that [`super::Viewer`] tells of.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Regulator {
    /// What leaves in one turn has one number.
    run: u16,
    /// The layer whose keyframe waits in the pacer, to go over to.
    switching: Option<LayerIndex>,
    turn: MonoTime,
    last_sent: Option<MonoTime>,
    tick_at: MonoTime,
    /// Whether a report has come since a tick came without one.
    is_reported: bool,
    /// Until when nothing is released, because the path takes nothing.
    blocked_until: MonoTime,
    /// The newest video packet that passed by the pacer.
    passed: Option<Arrival>,
    pacer: Pacer<Arrival>,
    estimator: Estimator,
    allocator: Allocator,
    layers: Layers,
    /// Packets that the pacer had dropped when that was counted last.
    drops_counted: u64,
    /// Bytes that had been received when that was counted last.
    received_counted: u64,
}

/// What waits for the pacer, as the subscription knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// The frame.
    pub(crate) frame: Frame,
    /// Whether it is a keyframe.
    pub(crate) keyframe: bool,
    /// Bytes on the wire; none for what will be withheld.
    pub(crate) size: u16,
}

impl Regulator {
    /// Makes the regulator of a viewer of whom nothing is known.
    pub(crate) fn new(feedback: Feedback, now: MonoTime) -> Self {
        let config = bwe::Config { feedback, ..bwe::Config::default() };
        let estimator = Estimator::new(config, now);
        Self {
            allocator: Allocator::new(estimator.estimate(), now),
            pacer: Pacer::new(config.start, now),
            estimator,
            layers: Layers::default(),
            run: 0,
            turn: now,
            last_sent: None,
            tick_at: now,
            is_reported: false,
            blocked_until: now,
            passed: None,
            switching: None,
            drops_counted: 0,
            received_counted: 0,
        }
    }

    /// Reads what a turn reads; see [`super::Viewer::warm`].
    pub(crate) fn warm(&self) -> u64 {
        let here = u64::from(self.run) ^ u64::from(self.last_sent.is_some());
        here ^ u64::from(self.passed.is_some()) ^ self.pacer.warm() ^ self.estimator.warm()
    }

    /// Reads what a report reads; see [`super::Viewer::warm_report`].
    pub(crate) fn warm_report(&self) -> u64 {
        let here = self.received_counted ^ self.layers.audio.as_bps();
        here ^ self.estimator.warm_report() ^ self.allocator.warm()
    }

    /// Takes note of a packet that is being sent.
    pub(crate) fn note_sent(&mut self, now: MonoTime, packet: (Option<u16>, usize), probe: Option<Cluster>) {
        if self.last_sent.is_none_or(|at| now.since(at) > IDLE_AFTER) {
            self.tick_at = now + TICK;
        }
        self.last_sent = Some(now);
        if now != self.turn {
            self.turn = now;
            self.run = self.run.wrapping_add(1);
        }
        let (Some(number), size) = packet else { return };
        let size = u16::try_from(size.saturating_add(SEAL_BYTES)).unwrap_or(u16::MAX);
        self.estimator.handle_sent(now, &Sent { seq: SeqNo(number), size, run: self.run, probe });
    }

    /// Takes transport-wide feedback.
    pub(crate) fn handle_twcc(&mut self, now: MonoTime, view: &TransportCcView<'_>) {
        self.is_reported = true;
        self.estimator.handle_twcc(now, view);
    }

    /// Takes feedback by source, made transport-wide.
    pub(crate) fn handle_congestion(&mut self, now: MonoTime, report_time: u32, fates: &[(SeqNo, Fate)]) {
        self.is_reported = true;
        self.estimator.handle_congestion(now, report_time, fates);
    }

    /// Takes the receiver's own estimate.
    pub(crate) fn handle_remb(&mut self, now: MonoTime, bitrate_bps: u64) {
        self.estimator.handle_remb(now, bitrate_bps);
    }

    /// Takes the share of packets that a receiver report misses, in 256ths.
    pub(crate) fn handle_losses(&mut self, now: MonoTime, lost: u8) {
        self.estimator.handle_losses(now, lost);
    }

    /// Takes a round trip.
    pub(crate) fn handle_rtt(&mut self, now: MonoTime, rtt: Duration) {
        self.estimator.handle_rtt(now, rtt);
    }

    /// Takes what the publisher sends of video, and what the viewer wishes; `decodes` says which layers it can have.
    pub(crate) fn handle_layers(
        &mut self,
        now: MonoTime,
        request: &LayerRequest,
        infos: &[LayerInfo],
        decodes: impl Fn(LayerIndex) -> bool,
    ) {
        self.layers.update(infos, decodes);
        self.layers.wish = self.layers.wish_of(request, infos);
        self.tell_layers(now);
    }

    /// Forgets the layers: they were another publisher's.
    pub(crate) fn forget_layers(&mut self) {
        self.layers.forget();
    }

    /// Says whether the viewer gets a layer, or might soon.
    pub(crate) fn reaches(&self, layer: LayerIndex) -> bool {
        self.allocator.reaches(layer) || self.layers.would_be_new(layer)
    }

    /// Takes what sound takes on the wire.
    pub(crate) fn handle_audio(&mut self, now: MonoTime, infos: &[LayerInfo]) {
        let payload = infos.iter().map(|info| info.bitrate_bps).max().unwrap_or_default();
        self.layers.audio =
            if payload == 0 { Bitrate::ZERO } else { Bitrate::from_bps(payload).plus(AUDIO_OVERHEAD) };
        self.tell_layers(now);
    }

    /// Takes the temporal layers of a layer.
    pub(crate) fn handle_temporal(&mut self, now: MonoTime, layer: LayerIndex, temporal: Temporal) {
        if self.layers.set_temporal(layer, temporal) {
            self.tell_layers(now);
        }
    }

    /// Returns the layers that the viewer can have.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = LayerIndex> + use<> {
        self.layers.candidates().map(|candidate| candidate.layer)
    }

    /// Does what is due about now; false when nothing is. To be called with each report, which has brought the
    /// regulator's memory into the cache, and when the time has come without one.
    pub(crate) fn tick(&mut self, now: MonoTime) -> bool {
        if now + TICK_EARLY < self.tick_at {
            return false;
        }
        self.is_reported &= now < self.tick_at + REPORT_WAIT;
        self.tick_at = now + TICK;
        self.estimator.handle_timeout(now);
        // Who reports nothing any more says nothing of what arrives.
        let is_heard = self.estimator.estimate().limiter != Limiter::Silence;
        let arrives =
            self.estimator.acknowledged().filter(|_| is_heard && self.estimator.loss() < LOSS_BORNE);
        self.allocator.handle_arriving(arrives.unwrap_or_default());
        self.allocator.handle_timeout(now);
        true
    }

    /// Passes on what the estimator concluded, and returns the allocation if that has changed by it.
    pub(crate) fn settle(&mut self, now: MonoTime, asking: Asking) -> Option<Allocation> {
        while let Some(output) = self.estimator.poll_output() {
            match output {
                Output::Estimate(estimate) => self.allocator.handle_estimate(now, estimate),
                Output::Probe(probe) => self.pacer.begin_probe(now, probe),
            }
        }
        let allocation = self.allocator.poll_output();
        self.estimator.set_urgent(self.allocator.is_dark());
        self.estimator.set_enough(self.allocator.enough());
        if asking != Asking::NotNow {
            self.estimator.set_tries(asking == Asking::ByTrying);
        }
        let wanted = self.allocator.wanted().filter(|_| asking != Asking::NotNow);
        self.estimator.set_wanted(now, wanted);
        self.set_pace(now);
        allocation
    }

    /// Returns whether an allocation takes less than the layer that is being forwarded.
    pub(crate) fn is_below(&self, granted: Option<LayerIndex>, current: Option<LayerIndex>) -> bool {
        let rate = |layer: Option<LayerIndex>| layer.and_then(|layer| self.layers.rate(layer));
        rate(granted) < rate(current)
    }

    /// Says whether the path's queue grows by what is sent.
    pub(crate) fn is_queue_long(&self) -> bool {
        self.estimator.queue() > QUEUE_LONG
    }

    /// Says whether a repair may go out twice: packets are lost by chance, and not so many that repairs take what the path
    /// has besides its media.
    pub(crate) fn has_room_for_twins(&self) -> bool {
        !self.is_queue_long() && self.estimator.loss() < TWINS_LOSS_MAX
    }

    /// Returns how long the path's queue is.
    pub(crate) fn path_queue(&self) -> Duration {
        self.estimator.queue()
    }

    /// Returns the queue that the newest packet found.
    pub(crate) fn newest_queue(&self) -> Duration {
        self.estimator.queue().max(self.estimator.newest_queue())
    }

    /// Says whether far less passes than was sent a moment ago, and that is this viewer's doing alone.
    pub(crate) fn is_choked(&self, now: MonoTime) -> bool {
        self.estimator.is_choked(now)
    }

    /// Says whether the viewer gets the least there is, over a path that nobody else is known to send over.
    pub(crate) fn gets_least(&self) -> bool {
        self.allocator.enough().now.is_none() && !self.estimator.is_shared()
    }

    /// Says whether the path takes no more than what is under way.
    pub(crate) fn is_path_full(&self, now: MonoTime) -> bool {
        self.estimator.is_full(now)
    }

    /// Says whether the viewer reports what arrives, as far as is known.
    pub(crate) fn is_told_of_arrivals(&self) -> bool {
        self.estimator.is_led_by_arrivals()
    }

    /// Returns how many bytes were reported since that was asked last.
    pub(crate) fn take_received(&mut self) -> u64 {
        let received = self.estimator.stats().received_bytes;
        let before = std::mem::replace(&mut self.received_counted, received);
        received.saturating_sub(before)
    }

    /// Returns the mark of the probe that is under way.
    pub(crate) fn cluster(&self) -> Option<Cluster> {
        self.pacer.cluster()
    }

    /// Returns how many bytes of video may leave without waiting.
    pub(crate) fn room(&mut self, now: MonoTime) -> u32 {
        self.pacer.room(now)
    }

    /// Counts what left without waiting in one turn, and keeps the last video packet of it.
    pub(crate) fn note_passed(&mut self, now: MonoTime, bytes: usize, newest: Option<Arrival>) {
        self.passed = newest.or(self.passed);
        if bytes > 0 {
            self.pacer.spend(now, bytes);
        }
    }

    /// Counts bytes that ask nobody.
    pub(crate) fn spend(&mut self, now: MonoTime, forwards: &[Forward]) {
        if !forwards.is_empty() {
            self.pacer.spend(now, bytes_of(forwards));
        }
    }

    /// Returns the packet that passed by last, once, when the first one has to wait behind it.
    pub(crate) fn take_passed(&mut self) -> Option<Arrival> {
        self.passed.take()
    }

    /// Takes note that a frame has begun to leave.
    pub(crate) fn note_begun(&mut self, frame: Frame) {
        self.pacer.note_begun(frame);
    }

    /// Lets a packet wait.
    pub(crate) fn hold(&mut self, now: MonoTime, arrival: Arrival, held: Held) {
        let Held { frame, keyframe, size } = held;
        let (kind, order) = (arrival.kind, arrival.seq.0);
        self.pacer.push(now, Item { what: arrival, kind, order, frame, keyframe, size, at: now });
    }

    /// Returns the layer whose keyframe waits, to go over to.
    pub(crate) fn switching(&self) -> Option<LayerIndex> {
        self.switching.filter(|_| !self.pacer.is_empty())
    }

    /// Takes note that the keyframe to go over at waits.
    pub(crate) const fn set_switching(&mut self, layer: LayerIndex) {
        self.switching = Some(layer);
    }

    /// Returns what leaves now.
    pub(crate) fn release(&mut self, now: MonoTime) -> Option<Release<Arrival>> {
        if now < self.blocked_until || (self.pacer.is_empty() && self.pacer.cluster().is_none()) {
            return None;
        }
        let probe = self.pacer.cluster();
        let release = self.pacer.poll(now);
        if let Some(probe) = probe.filter(|probe| self.pacer.cluster() != Some(*probe)) {
            self.estimator.handle_probe_sent(probe);
        }
        release
    }

    /// Corrects what a release of padding counted by what left instead.
    pub(crate) fn correct(&mut self, released: u16, forwards: &[Forward]) {
        self.pacer.correct(released, bytes_of(forwards));
    }

    /// Takes the first video packet that waits, whatever the time.
    pub(crate) fn take_waiting(&mut self) -> Option<Arrival> {
        self.pacer.take_video()
    }

    /// Forgets what waits: the rings are read in another way now.
    pub(crate) fn clear(&mut self) {
        self.pacer.clear_video();
        self.passed = None;
        self.switching = None;
    }

    /// Says whether video is dropped until a keyframe comes.
    pub(crate) const fn wants_keyframe(&self) -> bool {
        self.pacer.wants_keyframe()
    }

    /// Returns how many packets were dropped since that was asked last.
    pub(crate) fn take_drops(&mut self) -> u64 {
        let drops = self.pacer.drops();
        let all = drops.stale_video.saturating_add(drops.undecodable_video).saturating_add(drops.stale_audio);
        let before = std::mem::replace(&mut self.drops_counted, all);
        all.saturating_sub(before)
    }

    /// Puts off what is due, because the path takes nothing now.
    pub(crate) fn handle_blocked(&mut self, now: MonoTime) {
        self.blocked_until = now + BLOCKED_INTERVAL;
    }

    /// Returns when something is due. Nothing is for a viewer who is sent nothing.
    pub(crate) fn next_timeout(&self) -> Option<MonoTime> {
        let release = self.pacer.next_timeout().map(|at| at.max(self.blocked_until));
        let busy = self.last_sent.is_some_and(|at| self.tick_at <= at + IDLE_AFTER);
        // Who reports is looked at with the report.
        let wait = if self.is_reported { REPORT_WAIT } else { Duration::ZERO };
        let tick = busy.then(|| (self.tick_at + wait).max(self.blocked_until));
        [release, tick].into_iter().flatten().min()
    }

    /// Returns what the path carries besides sound, once that was measured.
    pub(crate) fn measured_path(&self) -> Option<Bitrate> {
        let estimate = self.estimator.estimate();
        let rest = self.estimator.carried().as_bps().saturating_sub(self.layers.audio.as_bps());
        (estimate.limiter != Limiter::Start).then(|| Bitrate::from_bps(rest))
    }

    /// Returns how long an answer takes now: the shortest round trip lately, and the queue that stands on the path.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.estimator.rtt().map(|trip| trip + self.estimator.queue())
    }

    /// Returns what was counted of the viewer's feedback.
    pub(crate) const fn feedback(&self) -> &bwe::Stats {
        self.estimator.stats()
    }

    /// Returns what is known of the path.
    pub(crate) fn congestion(&self) -> Congestion {
        Congestion {
            estimate: self.estimator.estimate(),
            allocation: self.allocator.allocation(),
            wanted: self.allocator.wanted(),
            sent: self.estimator.sent(),
            acknowledged: self.estimator.acknowledged(),
            loss: self.estimator.loss(),
            rtt: self.estimator.rtt(),
            path_queue: self.estimator.queue(),
            waiting_packets: self.pacer.len(),
            pacer_drops: self.pacer.drops(),
            counters: *self.estimator.stats(),
        }
    }

    fn tell_layers(&mut self, now: MonoTime) {
        let mut known = [NO_CANDIDATE; MAX_LAYERS];
        let mut count = 0;
        for (place, candidate) in known.iter_mut().zip(self.layers.candidates()) {
            *place = candidate;
            count += 1;
        }
        let known = known.get(..count).unwrap_or_default();
        self.allocator.handle_layers(now, self.layers.wish, known, self.layers.audio);
        // What is enough has changed with them, and with it what the estimate claims.
        self.estimator.set_enough(self.allocator.enough());
        self.allocator.handle_estimate(now, self.estimator.estimate());
    }

    fn set_pace(&mut self, now: MonoTime) {
        let estimate = self.estimator.estimate();
        let granted = self.allocator.granted();
        // What nobody has measured is no reason to hold back.
        let unknown = estimate.limiter == Limiter::Start;
        let floor =
            granted.filter(|_| unknown).unwrap_or_default().plus(self.layers.audio).scaled(START_PACE);
        // What arrives is carried, whatever is thought of the path.
        let floor = if self.allocator.is_spared() {
            granted.unwrap_or_default().plus(self.layers.audio).max(floor)
        } else {
            floor
        };
        let fits = granted.is_some_and(|rate| rate.plus(self.layers.audio) <= estimate.bitrate);
        let free = fits && self.estimator.queue() < QUEUE_FREE;
        let relaxed = unknown || free || estimate.limiter == Limiter::Application;
        let half = granted.is_some_and(|rate| estimate.bitrate < rate.scaled(SHORT));
        let is_short = half && !unknown && !self.allocator.steps_down();
        self.pacer.set_pace(now, Pace { estimate: self.estimator.carried(), floor, relaxed, is_short });
    }
}

/// Returns about how many bytes packets take.
pub(crate) fn bytes_of(forwards: &[Forward]) -> usize {
    forwards.iter().map(Forward::size_hint).sum()
}

const NO_CANDIDATE: Candidate = Candidate {
    layer: LayerIndex(0),
    height: None,
    bitrate: Bitrate::ZERO,
    temporal: Temporal::ONE,
    asleep: true,
};
/// How often what needs no feedback is looked at.
const TICK: Duration = Duration::from_millis(200);
/// A report that comes a bit before the time will do: the next one is as far behind it.
const TICK_EARLY: Duration = Duration::from_millis(25);
/// How long a report is waited for then. Browsers send one every 50 to 250 ms.
const REPORT_WAIT: Duration = Duration::from_millis(500);
/// A viewer who was sent nothing for so long needs no timer.
const IDLE_AFTER: Duration = Duration::from_secs(2);
/// A queue on the path that is none.
const QUEUE_FREE: Duration = Duration::from_millis(15);
/// A queue on the path that more than jitter has made.
const QUEUE_LONG: Duration = Duration::from_millis(30);
/// Where more is lost, first repairs alone are a tenth of the media.
const TWINS_LOSS_MAX: f64 = 0.075;
/// With more losses than this what arrives of a layer is not the layer.
const LOSS_BORNE: f64 = 0.12;
/// How soon a path that took nothing is tried again.
const BLOCKED_INTERVAL: Duration = Duration::from_millis(10);
/// The tag that sealing appends (RFC 7714).
const SEAL_BYTES: usize = 16;
/// A path that carries less than this part of what its viewer insists on, or has no alternative to, is short. An estimate
/// may be a bit low, and frames are not dropped for that.
const SHORT: f64 = 0.6;
/// How much faster than its rate a layer leaves before anything is known: keyframes come first.
const START_PACE: f64 = 2.5;
/// The same of fifty sound packets a second.
const AUDIO_OVERHEAD: Bitrate = Bitrate::from_kbps(18);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regulator_takes_a_third_of_a_viewers_memory_at_most() {
        let inline = size_of::<Regulator>() - size_of::<Estimator>();

        assert!(Estimator::footprint() + inline <= 21 * 1_024, "{} + {inline}", Estimator::footprint());
    }
}
