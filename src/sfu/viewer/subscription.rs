//! One viewer on one track: which layer it gets, and when it goes over to another.
//!
//! Packet path. Three layers matter: what the viewer *desires* ([`LayerRequest`]), the *target* that the
//! selector makes of it, and the *current* layer that is being forwarded. The current layer becomes the target
//! only at a keyframe of the target. If the current layer is inside a frame at that moment the switch waits for
//! the frame's end, and the keyframe is taken from the packet ring afterwards, so that nothing is lost and the
//! viewer never sees half a frame. Audio joins at any packet.
//!
//! **Invariant:** what is forwarded belongs to one source at a time; late packets of earlier ones go out only
//! under numbers that were kept for them.

use std::collections::VecDeque;
use std::time::Duration;

use rtp::negotiation::ViewedTrack;
use rtp::{Codec, ExtSeq, MediaKind, MonoTime, RtpTimestamp, SeqNo};

use super::outgoing::Outgoing;
use super::retransmit::{Budget, Retransmitter};
use super::rewriter::Source;
use super::selector::{self, LayerRequest};
use super::{Forward, SwitchReason, TrackStats, ViewerOutput};
use crate::ring::Ring;
use crate::track::{Arrival, MAX_LAYERS, TrackInfo};
use crate::{DropReason, Epoch, LayerIndex, Packet, Rings};

/// The state machine of one subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    kind: MediaKind,
    outgoing: Outgoing,
    retransmitter: Retransmitter,
    request: LayerRequest,
    /// The track as it was described last; `None` without a publisher.
    info: Option<TrackInfo>,
    target: Option<LayerIndex>,
    /// Why the target is not the current layer.
    reason: SwitchReason,
    /// The publisher session that was forwarded last.
    joined: Option<Epoch>,
    pending: Option<Pending>,
    /// The highest packet that was announced, by layer, in this epoch.
    highest: [Option<ExtSeq>; MAX_LAYERS],
    /// When a keyframe of the target may be asked for again.
    next_request: Option<MonoTime>,
    last_wanted: Option<MonoTime>,
    /// The codec that the driver was told of in this epoch.
    unsupported: Option<Codec>,
    outputs: VecDeque<ViewerOutput>,
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
}

impl Subscription {
    /// Makes a subscription that waits for its publisher.
    pub(crate) fn new(track: ViewedTrack, start: Start) -> Self {
        Self {
            kind: track.kind,
            outgoing: Outgoing::new(track, start.seq, start.timestamp),
            retransmitter: Retransmitter::new(start.rtx),
            request: LayerRequest::Auto,
            info: None,
            target: None,
            reason: SwitchReason::Join,
            joined: None,
            pending: None,
            highest: [None; MAX_LAYERS],
            next_request: None,
            last_wanted: None,
            unsupported: None,
            outputs: VecDeque::with_capacity(OUTPUTS_MAX),
        }
    }

    /// Takes the description of the track, of this publisher session or of a newer one.
    pub(crate) fn handle_track(&mut self, now: MonoTime, info: &TrackInfo) {
        let known = self.info.as_ref().map(|known| known.epoch);
        if known.is_some_and(|known| info.epoch < known) {
            return;
        }
        if known != Some(info.epoch) {
            self.leave();
            self.unsupported = None;
            self.reason = match self.joined {
                None => SwitchReason::Join,
                Some(joined) if joined == info.epoch => SwitchReason::Resume,
                Some(_) => SwitchReason::NewPublisher,
            };
        }
        self.outgoing.formats_mut().set_layers(&info.layers);
        if let Some(current) = self.current() {
            self.outgoing.set_timing(timing_of(info, current));
        }
        self.info = Some(info.clone());
        self.retarget(now, None);
    }

    /// Forgets the publisher; the numbering stays for the next one.
    pub(crate) fn handle_track_gone(&mut self) {
        self.leave();
        self.info = None;
        self.next_request = None;
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
            *highest = (*highest).max(Some(arrival.seq));
        }
        let source = Source { epoch, layer: arrival.layer };
        let is_current = self.current() == Some(arrival.layer);
        let is_target = self.target == Some(arrival.layer);
        if !is_current && !is_target && !self.outgoing.holds(source, arrival.seq) {
            self.note_undecodable(rings, arrival);
            return step.count(DropReason::LayerNotSelected);
        }
        let Some(packet) = rings.get(self.kind, arrival.layer).packet(arrival.seq) else {
            return step.count(DropReason::NotInRing);
        };
        if is_current {
            self.handle_current(source, packet, step);
        } else if self.outgoing.holds(source, arrival.seq) {
            self.forward(source, packet, step);
        } else {
            self.handle_target(now, packet, arrival.layer, step);
        }
        self.switch_if_ready(now, rings, step);
    }

    /// Reads what [`Self::handle_arrival`] reads; see [`super::Viewer::warm`].
    pub(crate) fn warm(&self) -> u64 {
        let highest = self.highest.first().copied().flatten().map_or(0, |seq| seq.0);
        let waits = [self.info.is_some(), self.target.is_some(), self.pending.is_some()];
        waits.into_iter().fold(highest, |read, waits| read ^ u64::from(waits)) ^ self.outgoing.warm()
    }

    /// Answers a request for an outgoing number.
    ///
    /// # Errors
    ///
    /// The reason for which the request stays unanswered.
    pub(crate) fn repair(
        &mut self,
        ask: &Repair<'_>,
        wire: SeqNo,
        budget: &mut Budget,
    ) -> Result<Forward, DropReason> {
        if !budget.take_request(ask.now) {
            return Err(DropReason::RetransmissionLimit);
        }
        let located = self.outgoing.locate(wire).ok_or(DropReason::RetransmissionRefused)?;
        if self.retransmitter.is_recent(ask.now, located.out, ask.interval) {
            return Err(DropReason::RetransmissionRefused);
        }
        if self.epoch() != Some(located.source.epoch) {
            return Err(DropReason::NotInRing);
        }
        let ring = ask.rings.get(self.kind, located.source.layer);
        let packet = ring.packet(located.seq).ok_or(DropReason::NotInRing)?;
        let choice = self.outgoing.formats().choice(located.source.layer, packet);
        let (payload_type, ssrc) = choice
            .and_then(|choice| choice.rtx)
            .zip(self.outgoing.track().rtx_ssrc)
            .ok_or(DropReason::RetransmissionRefused)?;
        let mut forward = self.outgoing.describe(&located, packet).ok_or(DropReason::CodecUnsupported)?;
        if !budget.take_bytes(forward.size_hint()) {
            return Err(DropReason::RetransmissionLimit);
        }
        forward.rtx = Some(forward.header.seq);
        forward.header.payload_type = payload_type;
        forward.header.ssrc = ssrc;
        forward.header.seq = self.retransmitter.number(ask.now, located.out);
        Ok(forward)
    }

    /// Takes the viewer's wish for a keyframe; passed on at most once in [`WANTED_INTERVAL`].
    pub(crate) fn handle_keyframe_wanted(&mut self, now: MonoTime) {
        if self.last_wanted.is_some_and(|at| now.since(at) < WANTED_INTERVAL) {
            return;
        }
        if let Some(layer) = self.current().or(self.target) {
            self.last_wanted = Some(now);
            self.push(ViewerOutput::RequestKeyframe(layer));
        }
    }

    /// Asks again for the keyframe that a switch waits for.
    pub(crate) fn handle_timeout(&mut self, now: MonoTime) {
        if self.next_request.is_some_and(|at| at <= now) {
            self.request_keyframe(now);
        }
    }

    /// Changes what the viewer desires.
    pub(crate) fn set_layer(&mut self, now: MonoTime, request: LayerRequest) {
        self.request = request;
        self.retarget(now, Some(SwitchReason::Request));
    }

    /// Sets the highest temporal layer to send.
    pub(crate) fn set_temporal_limit(&mut self, limit: u8) {
        self.outgoing.set_temporal_limit(limit);
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
        self.next_request
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
        self.highest = [None; MAX_LAYERS];
    }

    /// Chooses the target anew and asks for its keyframe.
    fn retarget(&mut self, now: MonoTime, reason: Option<SwitchReason>) {
        let Some(info) = &self.info else { return };
        let formats = self.outgoing.formats();
        let target =
            selector::choose(&self.request, &info.layers, |layer| formats.decodes(layer), self.target);
        if target == self.target {
            return;
        }
        if self.current().is_some() {
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
        self.next_request = None;
        if self.is_waiting() {
            self.request_keyframe(now);
        }
    }

    /// Says whether a keyframe of the target is needed.
    fn is_waiting(&self) -> bool {
        self.kind == MediaKind::Video && self.target.is_some() && self.target != self.current()
    }

    fn request_keyframe(&mut self, now: MonoTime) {
        let Some(layer) = self.target.filter(|_| self.is_waiting()) else {
            self.next_request = None;
            return;
        };
        self.next_request = Some(now + REQUEST_INTERVAL);
        if self.pending.is_none() {
            self.push(ViewerOutput::RequestKeyframe(layer));
        }
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
        self.pending = Some(Pending { layer, start: packet.seq, since: now });
    }

    fn switch_if_ready(&mut self, now: MonoTime, rings: &Rings, step: &mut Step<'_>) {
        let Some(pending) = self.pending else { return };
        let ring = rings.get(self.kind, pending.layer);
        let overdue = now.since(pending.since) >= SWITCH_DELAY_MAX;
        let start = frame_start(ring, pending.start);
        if !overdue && (self.outgoing.is_mid_frame() || lacks_beginning(ring, start)) {
            return;
        }
        self.pending = None;
        self.join_from(ring, pending.layer, start, step);
    }

    /// Makes `layer` the current one from the packet `start` on and forwards what the ring has since then.
    ///
    /// Nothing happens when `start` is gone, was forwarded before, or lies too far back: the next keyframe will
    /// do. A join that begins in the past is this same step with an earlier start.
    fn join_from(&mut self, ring: &Ring, layer: LayerIndex, start: ExtSeq, step: &mut Step<'_>) {
        let (Some(info), Some(first)) = (&self.info, ring.packet(start)) else { return };
        let source = Source { epoch: info.epoch, layer };
        let newest = self.highest.get(usize::from(layer.0)).copied().flatten().unwrap_or(start);
        if !self.outgoing.may_join(source, start) || newest.since(start) > CATCH_UP_MAX {
            return;
        }
        let from = self.current();
        self.joined = Some(source.epoch);
        self.outgoing.join(source, first, timing_of(info, layer));
        self.next_request = None;
        let reason = std::mem::replace(&mut self.reason, SwitchReason::BetterLayer);
        self.push(ViewerOutput::LayerChanged { kind: self.kind, from, to: layer, reason });
        step.stats.layer_changes = step.stats.layer_changes.saturating_add(1);
        for seq in start.0..=newest.0 {
            if let Some(packet) = ring.packet(ExtSeq(seq)) {
                self.forward(source, packet, step);
            }
        }
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

/// What answering a NACK needs beside the number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repair<'a> {
    /// The time.
    pub(crate) now: MonoTime,
    /// Where the packets are.
    pub(crate) rings: &'a Rings,
    /// How long one number is not repeated.
    pub(crate) interval: Duration,
}

fn timing_of(info: &TrackInfo, layer: LayerIndex) -> Option<crate::Timing> {
    info.layers.iter().find(|it| it.index == layer).and_then(|it| it.timing)
}

/// Walks back from a keyframe's packet to the first one of its frame: an H.264 keyframe begins with a delimiter
/// or parameter sets, and packets may have changed places on the way.
fn frame_start(ring: &Ring, keyframe: ExtSeq) -> ExtSeq {
    let Some(packet) = ring.packet(keyframe) else { return keyframe };
    let mut start = keyframe;
    for _ in 0..WALK_MAX {
        let before = ExtSeq(start.0.saturating_sub(1));
        match ring.packet(before) {
            Some(earlier) if earlier.timestamp == packet.timestamp && !earlier.is_padding() => start = before,
            _ => break,
        }
    }
    start
}

/// Says whether the packet before a keyframe's start is missing where it may hold the parameter sets that a
/// decoder needs first.
fn lacks_beginning(ring: &Ring, start: ExtSeq) -> bool {
    let needs_parameters = ring.packet(start).is_some_and(|packet| {
        matches!(packet.codec, Codec::H264 | Codec::H265) && packet.descriptor.size.is_none()
    });
    needs_parameters && ring.packet(ExtSeq(start.0.saturating_sub(1))).is_none()
}

/// How often a keyframe is asked for while a switch waits; the publisher's side merges all viewers.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);
/// How often a viewer's wish for a keyframe is passed on.
const WANTED_INTERVAL: Duration = Duration::from_millis(500);
/// How long a switch waits for the end of the current frame: three frames at 30 frames/s.
const SWITCH_DELAY_MAX: Duration = Duration::from_millis(100);
/// The most packets that one switch takes from the ring: under half of the numbers that are remembered.
const CATCH_UP_MAX: u64 = 1_000;
/// Delimiter, parameter sets and supplements of one keyframe, with room.
const WALK_MAX: usize = 16;
/// Outputs that wait for the driver, which polls after each input.
const OUTPUTS_MAX: usize = 16;
