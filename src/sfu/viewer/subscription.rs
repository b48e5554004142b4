//! One viewer on one track: which layer it gets, and when it goes over to another.
//!
//! Packet path. Three layers matter: what the viewer *desires* ([`LayerRequest`]), the *target* that the
//! selector makes of it, and the *current* layer that is being forwarded. The current layer becomes the target
//! only at a keyframe of the target. If the current layer is inside a frame at that moment the switch waits for
//! the frame's end, and the keyframe is taken from the packet ring afterwards, so that nothing is lost and the
//! viewer never sees half a frame. Audio joins at any packet.
//!
//! A viewer that has no picture is not made to wait for that: it gets the newest group of pictures from the ring
//! ([`CatchUp`]), of the lowest layer that has one, and goes up at the target's next keyframe. Only where no ring has
//! a usable one, or something else is being shown meanwhile, a keyframe is asked for.
//!
//! **Invariant:** what is forwarded belongs to one source at a time; late packets of earlier ones go out only
//! under numbers that were kept for them.

mod granted;
mod joining;
mod padding;
mod repairing;
mod replays;
mod requests;

use std::collections::VecDeque;
use std::time::Duration;

use rtp::negotiation::ViewedTrack;
use rtp::{Codec, ExtSeq, MediaKind, MonoTime, RtpTimestamp, SeqNo};

use super::burst_window::BurstWindow;
use super::catch_up::{Cache, CatchUp, Tap};
use super::outgoing::Outgoing;
use super::retransmit::Retransmitter;
use super::rewriter::Source;
use super::selector::{self, LayerRequest};
use super::{Forward, SwitchReason, TrackStats, ViewerOutput};
use crate::ring::Ring;
use crate::ring::gop::{frame_start, lacks_beginning};
use crate::track::{Arrival, MAX_LAYERS, TrackInfo};
use crate::{Bitrate, DropReason, Epoch, LayerIndex, Packet, Rings};

pub(crate) use self::granted::{Grant, Place};
use self::joining::{STILL_MAX, wait_dark};
pub(crate) use self::padding::Asking;
pub(crate) use self::repairing::Repair;
use self::replays::Replays;
use self::requests::Requests;

/// The state machine of one subscription. Its fields are in the order that [`super::Viewer`] tells of.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Subscription {
    kind: MediaKind,
    target: Option<LayerIndex>,
    /// What the path carries of it; without regulation, all.
    grant: Grant,
    /// The highest temporal layer that was asked for, and that the path carries.
    temporal: [u8; 2],
    /// Whether there is no target because none is wished or carried.
    is_silenced: bool,
    /// Whether what is being forwarded cannot be decoded any more.
    is_starved: bool,
    /// Whether the current layer is a lower one that the viewer was started with.
    starts_low: bool,
    /// Whether more was lost than could be repeated in time, and whether the picture stands still since.
    is_broken: bool,
    is_still: bool,
    /// Why the target is not the current layer.
    reason: SwitchReason,
    /// The codec that the driver was told of in this epoch.
    unsupported: Option<Codec>,
    /// How often each layer was begun anew from packets that had been sent before.
    passes: [u32; MAX_LAYERS],
    /// When to see how the target can be joined.
    next_attempt: Option<MonoTime>,
    /// When the burst goes on.
    next_step: Option<MonoTime>,
    /// The highest packet that was announced, by layer, in this epoch.
    highest: [Option<ExtSeq>; MAX_LAYERS],
    /// The track as it was described last; `None` without a publisher.
    info: Option<TrackInfo>,
    outputs: VecDeque<ViewerOutput>,
    pending: Option<Pending>,
    /// The burst that brings the current layer to the live edge.
    catch_up: Option<CatchUp>,
    outgoing: Outgoing,
    // What reports ask for.
    /// What the path carries besides sound, once that was measured.
    path: Option<Bitrate>,
    /// How long the path's queue is.
    queue: Duration,
    /// The publisher session that was forwarded last.
    joined: Option<Epoch>,
    /// Whether the viewer takes packets twice.
    takes_rtx: bool,
    /// Whether the path takes no more than what is under way, and whether far less passes than was sent.
    is_full: bool,
    is_choked: bool,
    window: BurstWindow,
    retransmitter: Retransmitter,
    // What is seldom asked for.
    request: LayerRequest,
    /// Since when the target is a lower layer because the path does not carry the current one.
    falls_since: Option<MonoTime>,
    /// Which packet a probe repeats next.
    pad_turn: u64,
    replays: Replays,
    /// Until when this publisher session is not joined by a burst, because the path did not carry the last one.
    barred: Option<(Epoch, MonoTime)>,
    last_wanted: Option<MonoTime>,
    requests: Requests,
    /// What holds the burst to the path.
    tap: Tap,
}

/// Where the numbering of a subscription starts; random.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// The first sequence number. Below 2^15, so that a lost first packet cannot be taken for a wrap.
    pub(crate) seq: ExtSeq,
    /// The first timestamp.
    pub(crate) timestamp: RtpTimestamp,
    /// The first number of a retransmission.
    pub(crate) rtx: SeqNo,
}

/// A keyframe of the target that has come, while the current layer is inside a frame.
#[derive(Clone, Copy, Debug)]
struct Pending {
    layer: LayerIndex,
    start: ExtSeq,
    since: MonoTime,
    /// Whether it came before the switch was wanted.
    is_past: bool,
}

impl Subscription {
    /// Makes a subscription that waits for its publisher.
    pub(crate) fn new(track: ViewedTrack, start: Start) -> Self {
        let takes_rtx = track.rtx_ssrc.is_some() && track.formats.iter().any(|format| format.rtx.is_some());
        Self {
            kind: track.kind,
            takes_rtx,
            outgoing: Outgoing::new(track, start.seq, start.timestamp),
            retransmitter: Retransmitter::new(start.rtx),
            request: LayerRequest::Auto,
            info: None,
            grant: Grant::Any,
            temporal: [u8::MAX; 2],
            target: None,
            path: None,
            queue: Duration::ZERO,
            is_full: false,
            is_choked: false,
            is_silenced: false,
            falls_since: None,
            is_starved: false,
            is_broken: false,
            is_still: false,
            pad_turn: 0,
            reason: SwitchReason::Join,
            joined: None,
            pending: None,
            highest: [None; MAX_LAYERS],
            next_attempt: None,
            catch_up: None,
            next_step: None,
            window: BurstWindow::new(),
            starts_low: false,
            passes: [0; MAX_LAYERS],
            replays: Replays::default(),
            barred: None,
            last_wanted: None,
            requests: Requests::default(),
            tap: Tap::open(MonoTime::ZERO, None),
            unsupported: None,
            outputs: VecDeque::with_capacity(OUTPUTS_MAX),
        }
    }

    /// Takes the description of the track, of this publisher session or of a newer one; [`Self::retarget`] follows.
    pub(crate) fn describe(&mut self, info: &TrackInfo) {
        let known = self.info.as_ref().map(|known| known.epoch);
        if known.is_some_and(|known| info.epoch < known) {
            return;
        }
        if known != Some(info.epoch) {
            self.leave();
            self.unsupported = None;
            self.requests = Requests::default();
            self.reason = match self.joined {
                None => SwitchReason::Join,
                Some(joined) if joined == info.epoch => SwitchReason::Resume,
                Some(_) => SwitchReason::NewPublisher,
            };
        }
        if !self.info.as_mut().is_some_and(|known| known.take_measured(info)) {
            self.outgoing.formats_mut().set_layers(&info.layers);
            self.info = Some(info.clone());
        }
        if let Some(current) = self.current() {
            self.outgoing.set_timing(timing_of(info, current));
        }
    }

    /// Forgets the publisher; the numbering stays for the next one.
    pub(crate) fn handle_track_gone(&mut self, now: MonoTime) {
        if let Some((_, epoch)) = self.catch_up.zip(self.epoch()) {
            self.barred = Some((epoch, now + BAR));
        }
        self.leave();
        self.info = None;
        self.next_attempt = None;
    }

    /// Decides about one announced packet and appends what goes out; a switch may append many.
    pub(crate) fn handle_arrival(
        &mut self,
        now: MonoTime,
        rings: &Rings,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) {
        let Some(epoch) = self.epoch() else { return step.count(DropReason::LayerNotSelected) };
        if let Some(highest) = self.highest.get_mut(usize::from(arrival.layer.0)) {
            // What came before the viewer was announced to others only.
            let before = highest.or_else(|| newest_before(rings.get(self.kind, arrival.layer), arrival.seq));
            *highest = before.max(Some(arrival.seq));
        }
        let source = self.source(epoch, arrival.layer);
        let highest = self.highest.get(usize::from(arrival.layer.0)).copied().flatten();
        if source.pass > 0 && highest > Some(arrival.seq) {
            self.fill_earlier_pass(rings, arrival, step);
        }
        let is_current = self.current() == Some(arrival.layer);
        let is_target = self.target == Some(arrival.layer);
        if !is_current && !is_target && !self.outgoing.holds(source, arrival.seq) {
            self.note_undecodable(rings, arrival);
            return step.count(DropReason::LayerNotSelected);
        }
        let Some(packet) = rings.get(self.kind, arrival.layer).packet(arrival.seq) else {
            return step.count(DropReason::NotInRing);
        };
        if is_current && self.catch_up.is_some_and(|burst| arrival.seq >= burst.next) {
            self.continue_catch_up(now, rings, step);
        } else if is_current {
            self.handle_current(source, packet, step);
        } else if self.outgoing.holds(source, arrival.seq) {
            self.forward(source, packet, step);
        } else {
            self.handle_target(now, packet, arrival.layer, step);
        }
        self.switch_if_ready(now, rings, step);
    }

    /// Fills the number that was kept for a packet before its layer was begun anew.
    pub(crate) fn fill_earlier_pass(&mut self, rings: &Rings, arrival: Arrival, step: &mut Step<'_>) {
        let Some(source) = self.epoch().map(|epoch| self.source(epoch, arrival.layer)) else { return };
        let Some(packet) = rings.get(self.kind, arrival.layer).packet(arrival.seq) else { return };
        while let Some(forward) = self.outgoing.forward_before(source, packet) {
            step.out.push(forward);
        }
    }

    /// Reads what [`Self::handle_arrival`] reads; see [`super::Viewer::warm`].
    pub(crate) fn warm(&self) -> u64 {
        let highest = self.highest.first().copied().flatten().map_or(0, |seq| seq.0);
        let waits = [self.info.is_some(), self.target.is_some(), self.pending.is_some()];
        waits.into_iter().fold(highest, |read, waits| read ^ u64::from(waits)) ^ self.outgoing.warm()
    }

    /// Reads what a report reads; see [`super::Viewer::warm_report`].
    pub(crate) fn warm_report(&self) -> u64 {
        let here = [self.takes_rtx, self.retransmitter.owes(), self.catch_up.is_some(), self.is_broken];
        here.into_iter().fold(0, |read, here| read ^ u64::from(here))
    }

    /// Takes the viewer's wish for a keyframe: answers it from the ring where that is sooner, and else passes it on, at
    /// most once in [`WANTED_INTERVAL`].
    pub(crate) fn handle_keyframe_wanted(&mut self, now: MonoTime, rings: &Rings, step: &mut Step<'_>) {
        if self.falls_since.is_some() {
            // What the path does not carry is not sent anew.
            if self.last_wanted.is_none_or(|at| now.since(at) >= WANTED_INTERVAL) {
                self.last_wanted = Some(now);
                self.attempt(now, rings, step);
            }
            return;
        }
        let is_helped = match &self.catch_up {
            Some(burst) => !burst.is_slow(),
            // A keyframe cuts a slow burst short.
            None => self.replay(now, rings, step) && !self.catch_up.is_some_and(|burst| burst.is_slow()),
        };
        if is_helped {
            return;
        }
        if self.last_wanted.is_some_and(|at| now.since(at) < WANTED_INTERVAL) {
            return;
        }
        if let Some(layer) = self.current().or(self.target) {
            self.last_wanted = Some(now);
            self.request_keyframe(now, rings, layer);
        }
    }

    /// Does what is due: goes on with a burst, sees how the target can be joined.
    pub(crate) fn handle_timeout(&mut self, now: MonoTime, rings: &Rings, step: &mut Step<'_>) {
        if self.next_step.is_some_and(|at| at <= now) {
            self.continue_catch_up(now, rings, step);
        }
        if self.next_attempt.is_some_and(|at| at <= now) {
            self.attempt(now, rings, step);
        }
    }

    /// Puts off what is due, because the path takes nothing now.
    pub(crate) fn handle_blocked(&mut self, now: MonoTime) {
        for due in [&mut self.next_step, &mut self.next_attempt].into_iter().flatten() {
            *due = (*due).max(now + BLOCKED_INTERVAL);
        }
    }

    /// Takes what the viewer desires; [`Self::retarget`] follows.
    pub(crate) fn wish(&mut self, request: LayerRequest) {
        self.request = request;
    }

    /// Changes what the viewer desires.
    pub(crate) fn set_layer(&mut self, now: MonoTime, request: LayerRequest) {
        self.request = request;
        self.retarget(now, Some(SwitchReason::Request));
    }

    /// Sets the highest temporal layer that the viewer wants.
    pub(crate) fn set_temporal_limit(&mut self, limit: u8) {
        let [wished, granted] = &mut self.temporal;
        *wished = limit;
        self.outgoing.set_temporal_limit(limit.min(*granted));
    }

    /// Says whether a burst is under way.
    pub(crate) const fn is_bursting(&self) -> bool {
        self.catch_up.is_some()
    }

    /// Returns the next thing for the driver to do.
    pub(crate) fn poll_output(&mut self) -> Option<ViewerOutput> {
        self.outputs.pop_front()
    }

    /// Says whether [`Self::poll_output`] has something.
    pub(crate) fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Returns when [`Self::handle_timeout`] has something to do.
    pub(crate) fn next_timeout(&self) -> Option<MonoTime> {
        [self.next_step, self.next_attempt].into_iter().flatten().min()
    }

    /// Gives the numbering.
    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// Returns what the viewer asked for.
    pub(crate) fn request(&self) -> &LayerRequest {
        &self.request
    }

    /// Returns the layer that the selector chose.
    pub(crate) fn target(&self) -> Option<LayerIndex> {
        self.target
    }

    /// Returns the layer that is being forwarded.
    pub(crate) fn current(&self) -> Option<LayerIndex> {
        self.outgoing.source().map(|source| source.layer)
    }

    /// Returns the description of a layer.
    pub(crate) fn info(&self) -> Option<&TrackInfo> {
        self.info.as_ref()
    }

    fn epoch(&self) -> Option<Epoch> {
        self.info.as_ref().map(|info| info.epoch)
    }

    /// Stops forwarding; the numbering waits.
    fn leave(&mut self) {
        self.outgoing.leave();
        self.target = None;
        self.pending = None;
        self.catch_up = None;
        self.next_step = None;
        self.starts_low = false;
        self.is_silenced = false;
        self.falls_since = None;
        self.highest = [None; MAX_LAYERS];
    }

    /// Chooses the target anew; how to join it shows when the rings are next at hand.
    pub(crate) fn retarget(&mut self, now: MonoTime, reason: Option<SwitchReason>) {
        let Some(info) = &self.info else { return };
        let formats = self.outgoing.formats();
        let choose =
            || selector::choose(&self.request, &info.layers, |layer| formats.decodes(layer), self.target);
        let usable =
            |layer| info.layers.iter().any(|it| it.index == layer && it.active && formats.decodes(layer));
        let target = match self.grant {
            Grant::Nothing => None,
            Grant::Layer(layer) if usable(layer) => Some(layer),
            Grant::Layer(_) | Grant::Any => choose(),
        };
        if target == self.target {
            return;
        }
        self.falls_since = None;
        if std::mem::replace(&mut self.is_silenced, target.is_none()) {
            self.reason = reason.unwrap_or(SwitchReason::Resume);
        } else if self.current().is_some() {
            self.reason = reason.unwrap_or_else(|| {
                let active = |layer: LayerIndex| info.layers.iter().any(|it| it.index == layer && it.active);
                if self.target.is_some_and(active) {
                    SwitchReason::BetterLayer
                } else {
                    SwitchReason::LayerLost
                }
            });
        }
        self.target = target;
        self.pending = None;
        if target.is_none() {
            self.fall_silent();
        }
        self.starts_low &= reason.is_none();
        self.next_attempt = self.is_waiting().then_some(now);
    }

    /// Ends what is being forwarded; the numbering waits.
    fn fall_silent(&mut self) {
        self.outgoing.leave();
        self.catch_up = None;
        self.next_step = None;
        self.starts_low = false;
    }

    /// Says whether a keyframe of the target is needed.
    fn is_waiting(&self) -> bool {
        self.kind == MediaKind::Video && self.target.is_some() && self.target != self.current()
    }

    /// Sees how the target can be joined.
    fn attempt(&mut self, now: MonoTime, rings: &Rings, step: &mut Step<'_>) {
        self.next_attempt = None;
        let Some(target) = self.target.filter(|_| self.is_waiting()) else { return };
        if let Some(burst) = &self.catch_up {
            if self.falls_since.is_none() {
                self.next_attempt = Some(burst.end().max(now + BLOCKED_INTERVAL));
                return;
            }
            // What the path does not carry is not brought to the live edge.
            self.fall_silent();
        }
        self.next_attempt = Some(self.next_look(now));
        if self.pending.is_some() {
            return;
        }
        let wait =
            if self.is_shown() { self.wait_shown(now, rings, target) } else { wait_dark(now, rings, target) };
        if let Some(until) = wait.or_else(|| self.wait_slow(now, rings, target)) {
            self.next_attempt = Some(until);
        } else if let Some(layer) = self.startable(now, rings, target) {
            self.begin_at_newest(now, rings, layer, step);
        } else {
            self.request_keyframe(now, rings, target);
        }
    }

    /// Joins a layer at the newest keyframe of its ring: at once, or where the frame ends that is being shown.
    fn begin_at_newest(&mut self, now: MonoTime, rings: &Rings, layer: LayerIndex, step: &mut Step<'_>) {
        let Some(gop) = rings.get(self.kind, layer).gop() else { return };
        if self.is_shown() {
            self.pending = Some(Pending { layer, start: gop.keyframe, since: now, is_past: true });
            self.switch_if_ready(now, rings, step);
        } else {
            self.starts_low = self.target != Some(layer);
            self.begin_catch_up(now, rings, layer, step);
        }
    }

    /// Says whether the viewer sees something that goes on.
    fn is_shown(&self) -> bool {
        let active =
            |layer| self.info.iter().flat_map(|info| &info.layers).any(|it| it.index == layer && it.active);
        !self.is_starved && !self.is_still && self.current().is_some_and(active)
    }

    /// Answers a viewer's wish for a keyframe from the ring, if that is allowed now and sooner than a fresh one.
    fn replay(&mut self, now: MonoTime, rings: &Rings, step: &mut Step<'_>) -> bool {
        let Some(layer) = self.current().filter(|_| self.kind == MediaKind::Video) else { return false };
        let ring = rings.get(self.kind, layer);
        let fresh = ring.next_keyframe().filter(|due| *due > now).map_or(FRESH_ASSUMED, |due| due.since(now));
        let sooner =
            Cache::find(now, ring).is_some_and(|cache| self.lasts(&cache, layer).min(STILL_MAX) < fresh);
        sooner && self.replays.take(now) && self.begin_catch_up(now, rings, layer, step)
    }

    /// Makes `layer` the current one from its newest keyframe on and begins the burst; false when there is none.
    fn begin_catch_up(
        &mut self,
        now: MonoTime,
        rings: &Rings,
        layer: LayerIndex,
        step: &mut Step<'_>,
    ) -> bool {
        let (Some(info), Some(cache)) = (&self.info, Cache::find(now, rings.get(self.kind, layer))) else {
            return false;
        };
        let (epoch, timing) = (info.epoch, timing_of(info, layer));
        if !self.outgoing.may_join(self.source(epoch, layer), cache.first.seq)
            && let Some(pass) = self.passes.get_mut(usize::from(layer.0))
        {
            *pass = pass.wrapping_add(1);
        }
        let source = self.source(epoch, layer);
        // A keyframe that finds the path's queue full is lost in part, and repairs of it find the same.
        let drain = if self.is_overfull() { self.queue.min(DRAIN_MAX) } else { Duration::ZERO };
        let burst = CatchUp::new(now + drain, &cache, self.lasts(&cache, layer)).instead_of(self.catch_up);
        self.tap = Tap::open(now + drain, self.pace(layer));
        let from = self.current();
        self.outgoing.join(source, (cache.first, cache.newest), timing, Some(burst.squeeze()));
        self.note_joined(source, from, step);
        self.pending = None;
        self.replays.note(now);
        self.catch_up = Some(burst);
        step.stats.catch_ups = step.stats.catch_ups.saturating_add(1);
        self.continue_catch_up(now, rings, step);
        true
    }

    /// Sends what is due of the burst, and ends it at the live edge.
    ///
    /// The target's next keyframe may come meanwhile: the burst goes over to it when it has got as far as that, so
    /// that the viewer sees nothing twice.
    fn continue_catch_up(&mut self, now: MonoTime, rings: &Rings, step: &mut Step<'_>) {
        let (Some(mut burst), Some(source)) = (self.catch_up, self.outgoing.source()) else { return };
        let ring = rings.get(self.kind, source.layer);
        let mut left = STEP_PACKETS;
        let next_step = loop {
            if ring.newest().is_none_or(|newest| burst.next > newest) {
                break (burst.end() > now).then(|| burst.end());
            }
            let Some(packet) = ring.packet(burst.next) else {
                if ring.oldest().is_some_and(|oldest| burst.next < oldest) {
                    return self.lose_burst(now, rings, source.layer);
                }
                burst.next = burst.next.plus(1);
                continue;
            };
            if burst.is_late(now) && self.outgoing.is_other_frame(packet) {
                if ring.next_keyframe().is_some_and(|due| due > now && due.since(now) < STILL_MAX) {
                    return self.lose_burst(now, rings, source.layer);
                }
                // It cuts the burst short. Until it comes, what is old goes on: the picture would stand still.
                self.ask_seldom(now, rings, source.layer);
            }
            let due = burst.due(packet).max(self.tap.free_at());
            if due > now {
                break Some(due);
            }
            if left == 0 {
                break Some(now + STEP_INTERVAL);
            }
            // The keyframe goes out whole: without it there is nothing to see.
            let is_held = !burst.is_first(packet) && self.window.is_shut(now);
            if (is_held || self.path.is_some())
                && self.outgoing.is_other_frame(packet)
                && has_newer_keyframe(ring, packet)
                && self.begin_catch_up(now, rings, source.layer, step)
            {
                return;
            }
            if is_held {
                break Some(now + BLOCKED_INTERVAL);
            }
            if let Some(pending) = self.pending.filter(|pending| packet.arrival >= pending.since)
                && self.outgoing.is_other_frame(packet)
                && self.begin_catch_up(now, rings, pending.layer, step)
            {
                return;
            }
            self.forward(source, packet, step);
            self.tap.note_sent(packet);
            burst.next = burst.next.plus(1);
            left = left.saturating_sub(1);
            self.window.note_sent(packet.wire_len());
        };
        self.catch_up = next_step.is_some().then_some(burst);
        self.next_step = next_step;
    }

    /// Ends a burst that the path does not carry, long after it should have been over: a keyframe is about to come, or what
    /// the burst still has has left the ring.
    fn lose_burst(&mut self, now: MonoTime, rings: &Rings, layer: LayerIndex) {
        self.fall_silent();
        self.request_keyframe(now, rings, layer);
        self.next_attempt = Some(now + REQUEST_INTERVAL);
    }

    /// Forwards a packet of the current layer, unless a switch waits for just this: a new frame.
    fn handle_current(&mut self, source: Source, packet: &Packet, step: &mut Step<'_>) {
        if self.pending.is_some() && self.outgoing.shows_new_frame(source, packet) {
            self.outgoing.end_frame();
            return step.count(DropReason::LayerNotSelected);
        }
        self.forward(source, packet, step);
    }

    /// Looks for the keyframe that the target may be joined at.
    fn handle_target(&mut self, now: MonoTime, packet: &Packet, layer: LayerIndex, step: &mut Step<'_>) {
        let joins = match self.kind {
            MediaKind::Audio => true,
            MediaKind::Video => packet.descriptor.frame_start && packet.descriptor.keyframe,
        };
        if self.pending.is_some() {
            return; // comes from the ring, once the switch is made
        }
        if !joins {
            return step.count(DropReason::AwaitingKeyframe);
        }
        self.pending = Some(Pending { layer, start: packet.seq, since: now, is_past: false });
    }

    fn switch_if_ready(&mut self, now: MonoTime, rings: &Rings, step: &mut Step<'_>) {
        let Some(pending) = self.pending.filter(|_| self.catch_up.is_none()) else { return };
        let ring = rings.get(self.kind, pending.layer);
        let overdue = now.since(pending.since) >= SWITCH_DELAY_MAX;
        let packet = |seq| ring.packet(seq);
        let start = frame_start(packet, pending.start);
        if !overdue && (self.outgoing.is_mid_frame() || lacks_beginning(packet, start)) {
            return;
        }
        self.pending = None;
        if !(pending.is_past && self.begin_catch_up(now, rings, pending.layer, step)) {
            self.join_from(ring, pending.layer, start, step);
        }
    }

    /// Makes `layer` the current one from the packet `start` on and forwards what the ring has since then.
    ///
    /// Nothing happens when `start` is gone, was forwarded before, or lies too far back: the next keyframe will do.
    fn join_from(&mut self, ring: &Ring, layer: LayerIndex, start: ExtSeq, step: &mut Step<'_>) {
        let (Some(info), Some(first)) = (&self.info, ring.packet(start)) else { return };
        let source = self.source(info.epoch, layer);
        let newest = self.highest.get(usize::from(layer.0)).copied().flatten().unwrap_or(start);
        if !self.outgoing.may_join(source, start) || newest.since(start) > CATCH_UP_MAX {
            return;
        }
        let from = self.current();
        self.outgoing.join(source, (first, first), timing_of(info, layer), None);
        self.note_joined(source, from, step);
        for seq in start.0..=newest.0 {
            if let Some(packet) = ring.packet(ExtSeq(seq)) {
                self.forward(source, packet, step);
            }
        }
    }

    /// Keeps what follows from having gone over to a source.
    fn note_joined(&mut self, source: Source, from: Option<LayerIndex>, step: &mut Step<'_>) {
        self.joined = Some(source.epoch);
        self.retransmitter.forget_owed();
        self.is_still = false;
        let to = source.layer;
        if Some(to) == self.target {
            self.next_attempt = None;
            self.starts_low = false;
        }
        if self.target.is_some_and(|target| self.rate_of(to) <= self.rate_of(target)) {
            self.falls_since = None;
        }
        if from == Some(to) {
            return;
        }
        let reason = std::mem::replace(&mut self.reason, SwitchReason::BetterLayer);
        self.push(ViewerOutput::LayerChanged { kind: self.kind, from, to, reason });
        step.stats.layer_changes = step.stats.layer_changes.saturating_add(1);
    }

    fn source(&self, epoch: Epoch, layer: LayerIndex) -> Source {
        Source { epoch, layer, pass: self.passes.get(usize::from(layer.0)).copied().unwrap_or_default() }
    }

    fn forward(&mut self, source: Source, packet: &Packet, step: &mut Step<'_>) {
        match self.outgoing.forward(source, packet) {
            Ok(Some(forward)) => step.out.push(forward),
            Ok(None) => {}
            Err(reason) => {
                step.count(reason);
                if reason == DropReason::CodecUnsupported {
                    self.tell_unsupported(packet.codec);
                }
            }
        }
    }

    /// Without a layer that the viewer can decode, tells the driver of the first packet's codec.
    fn note_undecodable(&mut self, rings: &Rings, arrival: Arrival) {
        if self.target.is_some() || self.unsupported.is_some() {
            return;
        }
        let Some(packet) = rings.get(self.kind, arrival.layer).packet(arrival.seq) else { return };
        if self.outgoing.formats().choice(arrival.layer, packet).is_none() {
            self.tell_unsupported(packet.codec);
        }
    }

    fn tell_unsupported(&mut self, codec: Codec) {
        if self.unsupported.is_none() {
            self.unsupported = Some(codec);
            self.push(ViewerOutput::CodecUnsupported(codec));
        }
    }

    /// Appends an output; at the bound the oldest goes, which the driver has left unread.
    fn push(&mut self, output: ViewerOutput) {
        if self.outputs.len() >= OUTPUTS_MAX {
            self.outputs.pop_front();
        }
        self.outputs.push_back(output);
    }
}

/// Where one input's results go.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    /// The instructions, appended in sending order.
    pub(crate) out: &'a mut Vec<Forward>,
    /// The counters of the track.
    pub(crate) stats: &'a mut TrackStats,
}

impl Step<'_> {
    fn count(&mut self, reason: DropReason) {
        self.stats.drops.add(reason);
    }
}

fn timing_of(info: &TrackInfo, layer: LayerIndex) -> Option<crate::Timing> {
    info.layers.iter().find(|it| it.index == layer).and_then(|it| it.timing)
}

/// Says whether a keyframe has come behind a packet of a burst: worth more, on a path that is slow, than what lies
/// between.
fn has_newer_keyframe(ring: &Ring, packet: &Packet) -> bool {
    ring.gop().is_some_and(|gop| gop.keyframe > packet.seq && gop.timestamp != packet.timestamp)
}

/// Returns the highest packet that came before a packet which the publisher sent earlier.
fn newest_before(ring: &Ring, late: ExtSeq) -> Option<ExtSeq> {
    let (packet, newest) = ring.packet(late).zip(ring.newest())?;
    let came_before = |seq: &ExtSeq| ring.packet(*seq).is_some_and(|it| it.arrival < packet.arrival);
    (late.0..=newest.0.min(late.0.saturating_add(CATCH_UP_MAX))).rev().map(ExtSeq).find(came_before)
}

/// How often a keyframe is asked for while a switch waits; the publisher's side merges all viewers.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);
/// How often a viewer's wish for a keyframe is passed on.
const WANTED_INTERVAL: Duration = Duration::from_millis(500);
/// How often it is looked whether a lower layer that the path asks for can be joined.
const FALL_INTERVAL: Duration = Duration::from_millis(250);
/// How long a switch waits for the end of the current frame: three frames at 30 frames/s.
const SWITCH_DELAY_MAX: Duration = Duration::from_millis(100);
/// The most packets that one switch takes from the ring: under half of the numbers that are remembered.
const CATCH_UP_MAX: u64 = 1_000;
/// How late an expected keyframe may be.
const KEYFRAME_LATE: Duration = Duration::from_millis(50);
/// Packets that one step of a burst sends: a large keyframe takes a few steps, and delays others by a few at a time.
const STEP_PACKETS: usize = 32;
const STEP_INTERVAL: Duration = Duration::from_millis(1);
/// How soon a path that took nothing is tried again.
const BLOCKED_INTERVAL: Duration = Duration::from_millis(10);
/// The longest that a burst waits for a full path's queue to drain.
const DRAIN_MAX: Duration = Duration::from_millis(250);
/// After a burst that was broken off: as long as a group of pictures, so that the next try is a keyframe.
const BAR: Duration = Duration::from_secs(4);
/// How long a publisher takes to answer a request, encoder and path included.
const FRESH_ASSUMED: Duration = Duration::from_millis(200);
/// Outputs that wait for the driver, which polls after each input.
const OUTPUTS_MAX: usize = 16;
