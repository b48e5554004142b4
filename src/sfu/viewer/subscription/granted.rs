//! What the path asks of a subscription: another layer, fewer frames, or that packets wait. Packet path.

use std::time::Duration;

use rtp::{ExtSeq, MonoTime};

use super::{KEYFRAME_LATE, REQUEST_INTERVAL, Step, Subscription};
use crate::pacer::Frame;
use crate::ring::gop::frame_start;
use crate::viewer::SwitchReason;
use crate::viewer::regulator::Held;
use crate::{Arrival, Bitrate, LayerIndex, Rings};

/// What the path carries of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Nobody says: as the viewer wishes.
    Any,
    /// This layer.
    Layer(LayerIndex),
    /// Nothing.
    Nothing,
}

/// Where a packet belongs while others wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In front: it is not for this viewer, or comes late, or is a burst's matter.
    Now,
    /// Behind those that wait.
    InTurn {
        /// What it is to the pacer.
        held: Held,
        /// Whether it begins a keyframe to go over at.
        switches: bool,
    },
}

impl Subscription {
    /// Sets the highest temporal layer that the path carries.
    pub(crate) fn set_temporal_grant(&mut self, limit: u8) {
        let [wished, granted] = &mut self.temporal;
        *granted = limit;
        self.outgoing.set_temporal_limit(limit.min(*wished));
    }

    /// Sets what the path carries besides sound, `None` while nobody knows, how long its queue is, whether it takes no
    /// more than what is under way, and whether far less passes than was sent.
    pub(crate) const fn set_path(
        &mut self,
        path: Option<Bitrate>,
        queue: Duration,
        (is_full, is_choked): (bool, bool),
    ) {
        self.path = path;
        self.queue = queue;
        self.is_full = is_full;
        self.is_choked = is_choked;
    }

    /// Sets what the path carries of the track. `falls` says that the viewer has to leave what it gets.
    pub(crate) fn set_grant(&mut self, now: MonoTime, grant: Grant, (reason, falls): (SwitchReason, bool)) {
        self.grant = grant;
        let (before, fell_at) = (self.target, self.falls_since);
        self.retarget(now, Some(reason));
        if self.target != before {
            // Who falls once more has waited already.
            self.falls_since = (falls && self.is_waiting()).then(|| fell_at.unwrap_or(now));
            if self.falls_since.is_some() && self.chokes() {
                // What goes on would only fill the queue in which the lower layer's keyframe has to wait.
                self.fall_silent();
            }
            if self.falls_since.is_some() && self.is_shown() && !self.is_overfull() {
                // The next keyframe may come by itself, and a request disturbs everybody.
                self.next_attempt = Some(now + FALL_PATIENCE);
            }
        }
    }

    /// Says whether what is forwarded is far more than the path carries, and fills it.
    fn chokes(&self) -> bool {
        let forwarded = self.current().map(|layer| self.rate_of(layer));
        self.is_choked && forwarded.zip(self.path).is_some_and(|(rate, path)| rate > path.scaled(CHOKES))
    }

    /// Learns whether what goes out cannot be decoded until a keyframe comes. The target is joined then as if nothing
    /// were shown; without another one, a keyframe is asked for.
    pub(crate) fn set_starved(&mut self, now: MonoTime, rings: &Rings, is_starved: bool) {
        let begins = is_starved && !std::mem::replace(&mut self.is_starved, is_starved);
        if !is_starved || self.catch_up.is_some() {
            return;
        }
        if self.is_waiting() {
            self.next_attempt = if begins { Some(now) } else { self.next_attempt.or(Some(now)) };
            return;
        }
        let Some(layer) = self.current() else { return };
        let due = rings.get(self.kind, layer).next_keyframe();
        let comes = due.is_some_and(|due| due + KEYFRAME_LATE > now && due.since(now) <= REQUEST_INTERVAL);
        if !comes {
            self.ask_seldom(now, rings, layer);
        }
    }

    /// Lets a burst send more, by how many bytes were reported and how long the path's queue was for the newest of them.
    pub(crate) fn widen_burst(&mut self, now: MonoTime, received: u64, queue: Duration) {
        self.window.widen(now, (received, queue), self.catch_up.is_some());
    }

    /// Says where a packet that cannot leave at once belongs. `switching` is the layer whose keyframe waits already.
    pub(crate) fn place(&self, rings: &Rings, arrival: Arrival, switching: Option<LayerIndex>) -> Place {
        let Some(epoch) = self.epoch().filter(|_| self.catch_up.is_none()) else { return Place::Now };
        let source = self.source(epoch, arrival.layer);
        let is_current = self.current() == Some(arrival.layer);
        let is_target = self.target == Some(arrival.layer);
        let is_late = self.outgoing.holds(source, arrival.seq);
        if !(is_current || is_target) || is_late {
            return Place::Now;
        }
        let ring = rings.get(self.kind, arrival.layer);
        let Some(packet) = ring.packet(arrival.seq) else { return Place::Now };
        let begins = packet.descriptor.frame_start && packet.descriptor.keyframe;
        let goes_over = switching == Some(arrival.layer)
            || self.pending.is_some_and(|pending| pending.layer == arrival.layer);
        if !is_current && !goes_over && !begins {
            return Place::Now;
        }
        let keyframe = begins || ring.gop().is_some_and(|gop| gop.timestamp == packet.timestamp);
        let bytes = u16::try_from(packet.wire_len()).unwrap_or(u16::MAX);
        let size = if self.outgoing.withholds(packet) { 0 } else { bytes };
        let held =
            Held { frame: Frame { layer: arrival.layer, timestamp: packet.timestamp }, keyframe, size };
        Place::InTurn { held, switches: !is_current && begins }
    }

    /// Says whether a number is kept for a packet.
    pub(crate) fn owes(&self, arrival: Arrival) -> bool {
        self.epoch().is_some_and(|epoch| self.outgoing.holds(self.source(epoch, arrival.layer), arrival.seq))
    }

    /// Learns that packets of a layer up to `after` were dropped on purpose; `next` comes now, of a keyframe. Where
    /// that is another layer's, the switch to it ends the numbering of the one before anyway.
    pub(crate) fn handle_gap(
        &mut self,
        rings: &Rings,
        after: Arrival,
        (next, step): (Arrival, &mut Step<'_>),
    ) {
        let Some(epoch) = self.epoch().filter(|_| next.layer == after.layer) else { return };
        if self.current() != Some(after.layer) {
            return;
        }
        let source = self.source(epoch, after.layer);
        let ring = rings.get(self.kind, after.layer);
        let start = frame_start(|seq| ring.packet(seq), next.seq);
        let Some(packet) = ring.packet(next.seq) else { return };
        // What was missing between the two and comes late would be dropped as well, and gets no number either.
        self.outgoing.leap(source, ExtSeq(start.0.saturating_sub(1)), packet);
        // Parameter sets stand before what was recognised as the keyframe.
        for seq in start.0..next.seq.0 {
            if let Some(packet) = ring.packet(ExtSeq(seq)) {
                self.forward(source, packet, step);
            }
        }
    }
}

/// How long a viewer whose path does not carry what it gets waits for a keyframe of the lower layer before one is asked
/// for, unless the path is full already.
const FALL_PATIENCE: Duration = Duration::from_millis(200);
/// A path that is choked by a layer of so many times what it carries is not sent the rest of it.
const CHOKES: f64 = 1.5;
