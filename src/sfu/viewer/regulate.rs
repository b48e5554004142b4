//! The wires between a viewer's regulator and its subscriptions. Packet path.
//!
//! Sound passes by the pacer, which counts it. Video does so too while the pacer is open; else those packets wait
//! that the subscription would forward, or go over at, and come to the subscription when they are released: it lives
//! a moment in the past then, and nothing else changes for it.

use rtp::rtcp::{CongestionView, TransportCcView};
use rtp::{ExtSeq, Extension, MediaKind, MonoTime};

use super::regulator::{Regulator, bytes_of};
use super::subscription::{Grant, Place, Step};
use super::{Forward, SwitchReason, Viewer};
use crate::allocator::{Allocation, Reason};
use crate::bwe::{Cluster, Feedback};
use crate::pacer::{Frame, Release};
use crate::{Arrival, DropReason, Rings, TrackInfo};

impl Viewer {
    /// Makes the regulator of a viewer that reports arrivals, once there is video.
    pub(super) fn begin_regulation(&mut self, now: MonoTime, info: &TrackInfo) {
        let reports = self.video.as_ref().is_some_and(|track| {
            let viewed = track.subscription.outgoing().track();
            let by_number = viewed.transport_cc && viewed.extensions.id(Extension::TransportCc).is_some();
            by_number || viewed.ccfb
        });
        if self.is_regulated && self.regulator.is_none() && info.kind == MediaKind::Video && reports {
            self.regulator = Some(Box::new(Regulator::new(Feedback::TransportCc, now)));
            self.pace_burst(now);
        }
    }

    /// Tells the regulator what can be had now.
    pub(super) fn tell_layers(&mut self, now: MonoTime) {
        let Self { regulator: Some(regulator), audio, video: Some(video), .. } = self else { return };
        if let Some(info) = audio.as_ref().and_then(|track| track.subscription.info()) {
            regulator.handle_audio(now, &info.layers);
        }
        let formats = video.subscription.outgoing().formats();
        let layers = video.subscription.info().map_or(&[][..], |info| &info.layers);
        regulator.handle_layers(now, video.subscription.request(), layers, |layer| formats.decodes(layer));
        self.settle(now);
    }

    /// Does what the newest estimate and the newest wish ask for.
    pub(super) fn settle(&mut self, now: MonoTime) {
        let Self { regulator: Some(regulator), video: Some(video), budget, .. } = self else { return };
        let asking = video.subscription.asking(now, regulator.gets_least());
        let path = regulator.measured_path();
        let fullness = (regulator.is_path_full(now), regulator.is_choked(now));
        video.subscription.set_path(path, regulator.path_queue(), fullness);
        budget.set_path(now, path);
        if let Some(allocation) = regulator.settle(now, asking) {
            let falls = regulator.is_below(allocation.layer, video.subscription.current());
            video.subscription.set_temporal_grant(allocation.temporal);
            video.subscription.set_grant(now, grant(&allocation), (SwitchReason::Path, falls));
        }
    }

    /// Takes transport-wide feedback.
    pub(super) fn handle_twcc(&mut self, now: MonoTime, view: &TransportCcView<'_>) {
        if let Some(regulator) = &mut self.regulator {
            regulator.handle_twcc(now, view);
            self.settle(now);
        }
    }

    /// Takes feedback by source, of who negotiated it.
    pub(super) fn handle_congestion(&mut self, now: MonoTime, view: &CongestionView<'_>) {
        let (Some(regulator), Some(numbers)) = (&mut self.regulator, &mut self.numbers) else { return };
        regulator.handle_congestion(now, view.report_time, numbers.translate(view));
        self.settle(now);
    }

    /// Takes the receiver's own estimate; for who reports no arrivals, regulation begins with the first.
    pub(super) fn handle_remb(&mut self, now: MonoTime, bitrate_bps: u64) {
        if self.is_regulated && self.regulator.is_none() && self.video.is_some() {
            self.regulator = Some(Box::new(Regulator::new(Feedback::Remb, now)));
            self.tell_layers(now);
        }
        if let Some(regulator) = &mut self.regulator {
            regulator.handle_remb(now, bitrate_bps);
            self.settle(now);
        }
    }

    /// Takes the announced packets of one turn: past the pacer, or into it.
    pub(super) fn take(
        &mut self,
        now: MonoTime,
        rings: &Rings,
        arrivals: &[Arrival],
        out: &mut Vec<Forward>,
    ) {
        let mut turn = Turn::begin(now, self.regulator.as_deref_mut());
        for arrival in arrivals {
            if arrival.kind == MediaKind::Video && turn.room == 0 {
                turn.end(now, self.regulator.as_deref_mut());
                if self.hold(now, rings, *arrival) {
                    continue;
                }
            }
            let Self { audio, video, stats, .. } = self;
            let track = match arrival.kind {
                MediaKind::Audio => audio,
                MediaKind::Video => video,
            };
            let Some(track) = track else { continue };
            let first = out.len();
            let mut step = Step { out, stats: stats.track_mut(arrival.kind) };
            track.subscription.handle_arrival(now, rings, *arrival, &mut step);
            let sent = out.get_mut(first..).unwrap_or_default();
            if sent.is_empty() {
                continue;
            }
            mark(sent, turn.probe);
            if track.subscription.is_bursting() {
                turn.end(now, self.regulator.as_deref_mut());
                self.spill(now, rings, out);
                turn = Turn::begin(now, self.regulator.as_deref_mut());
            } else {
                turn.note(*arrival, sent);
            }
        }
        turn.end(now, self.regulator.as_deref_mut());
    }

    /// Lets what has waited go, as far as the path has room, and fills a probe up.
    pub(super) fn release(&mut self, now: MonoTime, rings: &Rings, out: &mut Vec<Forward>) {
        loop {
            let Self { regulator: Some(regulator), video: Some(video), stats, .. } = self else { return };
            let Some(release) = regulator.release(now) else { return };
            let first = out.len();
            let probe = match release {
                Release::Media { what, after, probe } => {
                    let mut step = Step { out, stats: &mut stats.video };
                    if let Some(after) = after {
                        video.subscription.handle_gap(rings, after, (what, &mut step));
                    }
                    video.subscription.handle_arrival(now, rings, what, &mut step);
                    self.spill(now, rings, out);
                    probe
                }
                Release::Padding { size, probe } => {
                    out.extend(video.subscription.pad(now, rings, size));
                    let padding = out.get(first..).unwrap_or_default();
                    if !padding.is_empty() {
                        regulator.correct(size, padding);
                    }
                    Some(probe)
                }
            };
            mark(out.get_mut(first..).unwrap_or_default(), probe);
        }
    }

    /// Empties the pacer when a burst has begun, which has its own pace and takes from the ring what waited. What a number
    /// is kept for goes out.
    pub(super) fn spill(&mut self, now: MonoTime, rings: &Rings, out: &mut Vec<Forward>) {
        let Self { regulator: Some(regulator), video: Some(video), stats, .. } = self else { return };
        if !video.subscription.is_bursting() {
            return;
        }
        while let Some(arrival) = regulator.take_waiting() {
            let mut step = Step { out, stats: &mut stats.video };
            video.subscription.fill_earlier_pass(rings, arrival, &mut step);
            if video.subscription.owes(arrival) {
                video.subscription.handle_arrival(now, rings, arrival, &mut step);
            }
        }
        regulator.clear();
    }

    /// Does what is due now and then.
    pub(super) fn regulate(&mut self, now: MonoTime, rings: &Rings) {
        let Self { regulator: Some(regulator), stats, .. } = self else { return };
        if !regulator.tick(now) {
            return;
        }
        for layer in regulator.candidates() {
            let temporal = rings.get(MediaKind::Video, layer).temporal();
            regulator.handle_temporal(now, layer, temporal);
        }
        stats.video.drops.add_many(DropReason::Stale, regulator.take_drops());
        self.settle(now);
        self.note_starved(now, rings);
    }

    /// Lets a burst go on by what has arrived of it: who joins over a slow path has the picture already, and must not wait
    /// for its sound.
    pub(super) fn pace_burst(&mut self, now: MonoTime) {
        let Self { regulator: Some(regulator), video: Some(video), .. } = self else { return };
        if !regulator.is_told_of_arrivals() {
            return;
        }
        let (received, queue) = (regulator.take_received(), regulator.newest_queue());
        video.subscription.widen_burst(now, received, queue);
    }

    /// Tells the subscription when what it sends cannot be decoded any more.
    pub(super) fn note_starved(&mut self, now: MonoTime, rings: &Rings) {
        let Self { regulator: Some(regulator), video: Some(video), .. } = self else { return };
        video.subscription.set_starved(now, rings, regulator.wants_keyframe());
    }

    /// Lets a packet wait, if it is one that has to; false when nobody waits for it.
    fn hold(&mut self, now: MonoTime, rings: &Rings, arrival: Arrival) -> bool {
        let Self { regulator: Some(regulator), video: Some(video), .. } = self else { return false };
        let place = video.subscription.place(rings, arrival, regulator.switching());
        let (held, switches) = match place {
            Place::Now => return false,
            Place::InTurn { held, switches } => (held, switches),
        };
        if let Some(passed) = regulator.take_passed()
            && let Some(packet) = rings.get(MediaKind::Video, passed.layer).packet(passed.seq)
        {
            regulator.note_begun(Frame { layer: passed.layer, timestamp: packet.timestamp });
        }
        if switches {
            regulator.set_switching(arrival.layer);
        }
        let opens = held.keyframe && regulator.wants_keyframe();
        regulator.hold(now, arrival, held);
        if opens && !regulator.wants_keyframe() {
            self.hold_rest(now, rings, arrival);
        }
        true
    }

    /// Lets what came before a keyframe's beginning, but belongs behind it, wait there: the beginning came late, by repair,
    /// and until then nobody could tell what that was, so it was dropped.
    fn hold_rest(&mut self, now: MonoTime, rings: &Rings, begins: Arrival) {
        let Self { regulator: Some(regulator), video: Some(video), .. } = self else { return };
        let ring = rings.get(begins.kind, begins.layer);
        let Some((first, newest)) = ring.packet(begins.seq).zip(ring.newest()) else { return };
        let last = newest.min(begins.seq.plus(BEHIND_MAX));
        for seq in begins.seq.0.saturating_add(1)..=last.0 {
            let arrival = Arrival { seq: ExtSeq(seq), ..begins };
            // What came in this turn is about to be held in its own.
            let came_before = ring.packet(arrival.seq).is_some_and(|packet| packet.arrival < first.arrival);
            let place = || video.subscription.place(rings, arrival, regulator.switching());
            if came_before && let Place::InTurn { held, .. } = place() {
                regulator.hold(now, arrival, held);
            }
        }
    }
}

/// What leaves in one turn without waiting.
struct Turn {
    /// How many bytes of video still may.
    room: u32,
    bytes: usize,
    newest: Option<Arrival>,
    probe: Option<Cluster>,
}

impl Turn {
    fn begin(now: MonoTime, regulator: Option<&mut Regulator>) -> Self {
        let (room, probe) = regulator.map_or((u32::MAX, None), |it| (it.room(now), it.cluster()));
        Self { room, bytes: 0, newest: None, probe }
    }

    fn note(&mut self, arrival: Arrival, sent: &[Forward]) {
        let bytes = bytes_of(sent);
        self.bytes = self.bytes.saturating_add(bytes);
        if arrival.kind == MediaKind::Video {
            self.room = self.room.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
            self.newest = Some(arrival);
        }
    }

    fn end(&mut self, now: MonoTime, regulator: Option<&mut Regulator>) {
        if let Some(regulator) = regulator {
            regulator.note_passed(now, std::mem::take(&mut self.bytes), self.newest.take());
        }
    }
}

fn grant(allocation: &Allocation) -> Grant {
    match (allocation.layer, allocation.reason) {
        (Some(layer), _) => Grant::Layer(layer),
        (None, Reason::NoLayer) => Grant::Any,
        (None, _) => Grant::Nothing,
    }
}

/// The most packets that are looked for behind the beginning of a keyframe: as many as may wait.
const BEHIND_MAX: u64 = 640;

/// Marks what belongs to a probe.
pub(super) fn mark(forwards: &mut [Forward], probe: Option<Cluster>) {
    if probe.is_some() {
        forwards.iter_mut().for_each(|forward| forward.probe = probe);
    }
}
