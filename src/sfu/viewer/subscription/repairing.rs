//! What a viewer asks for again: answered from the ring at once, later, or not at all. Packet path.

use std::time::Duration;

use rtp::{MediaKind, MonoTime, SeqNo};

use super::{Step, Subscription};
use crate::viewer::Forward;
use crate::viewer::retransmit::Budget;
use crate::{DropReason, Rings};

impl Subscription {
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
    ) -> Result<Repaired, DropReason> {
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
        // A path that does not carry a layer carries its repairs even less.
        if self.falls_since.is_some() && self.is_overfull() && Some(located.source.layer) != self.target {
            return Err(DropReason::RetransmissionRefused);
        }
        // The keyframe that the viewer went over at needs nothing from before it.
        if self.kind == MediaKind::Video && self.outgoing.source() != Some(located.source) {
            return Err(DropReason::RetransmissionRefused);
        }
        let ring = ask.rings.get(self.kind, located.source.layer);
        let packet = ring.packet(located.seq).ok_or(DropReason::NotInRing)?;
        let choice = self.outgoing.formats().choice(located.source.layer, packet);
        let (payload_type, ssrc) = choice
            .and_then(|choice| choice.rtx)
            .zip(self.outgoing.track().rtx_ssrc)
            .ok_or(DropReason::RetransmissionRefused)?;
        let mut forward = self.outgoing.describe(&located, packet).ok_or(DropReason::CodecUnsupported)?;
        // What nothing refers to is not missed.
        let is_needed = self.kind == MediaKind::Video && packet.descriptor.temporal == 0;
        let trip = ask.interval.mul_f64(TRIP);
        let under_way = self.retransmitter.is_recent(ask.now, located.out, trip);
        let asked_for = self.retransmitter.note_asked(ask.now, located.out);
        let patience = if self.is_overfull() { STILL_AFTER_FULL } else { STILL_AFTER };
        self.is_broken |= is_needed && asked_for >= patience && !under_way;
        if !budget.take_bytes(ask.now, forward.size_hint()) {
            if is_needed {
                self.is_broken |= !self.retransmitter.owe(ask.now, wire);
            }
            return Err(DropReason::RetransmissionLimit);
        }
        self.retransmitter.settle(ask.now, wire);
        forward.rtx = Some(forward.header.seq);
        forward.header.payload_type = payload_type;
        forward.header.ssrc = ssrc;
        let again = ask.twice && self.retransmitter.was_lost(ask.now, located.out, ask.interval * 2);
        forward.header.seq = self.retransmitter.number(ask.now, located.out);
        let twin = (again && budget.take_bytes(ask.now, forward.size_hint())).then(|| {
            let mut twin = forward;
            twin.header.seq = self.retransmitter.next_number();
            twin
        });
        Ok(Repaired { forward, twin })
    }

    /// Repeats what could not be repeated when it was asked for, as far as it can be now. When that takes too long the
    /// viewer has lost its picture, and may not say so for seconds: then it gets another one.
    pub(crate) fn repay(&mut self, ask: &Repair<'_>, budget: &mut Budget, step: &mut Step<'_>) {
        while let Some(wire) = self.retransmitter.first_owed() {
            match self.repair(ask, wire, budget) {
                Ok(repaired) => step.out.extend(repaired),
                Err(DropReason::RetransmissionLimit) => break,
                Err(_) => self.retransmitter.settle(ask.now, wire),
            }
        }
        self.is_broken |= self.retransmitter.is_overdue(ask.now);
        if std::mem::take(&mut self.is_broken) {
            self.retransmitter.forget_owed();
            self.is_still = true;
            if self.is_waiting() && self.catch_up.is_none() {
                self.attempt(ask.now, ask.rings, step);
            } else {
                self.handle_keyframe_wanted(ask.now, ask.rings, step);
            }
        }
    }

    /// Says whether [`Self::repay`] has something to do.
    pub(crate) const fn owes_repairs(&self) -> bool {
        self.is_broken || self.retransmitter.owes()
    }
}

/// Who asks for the same packet for so long, and not because its repair is still under way, stands still.
const STILL_AFTER: Duration = Duration::from_millis(600);
/// The same where the path's queue is long, and the repairs are lost in it as well.
const STILL_AFTER_FULL: Duration = Duration::from_millis(350);
/// How much longer than the time for which a number is not repeated a round trip is.
const TRIP: f64 = 1.3;

/// What answering a NACK needs beside the number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repair<'a> {
    /// The time.
    pub(crate) now: MonoTime,
    /// Where the packets are.
    pub(crate) rings: &'a Rings,
    /// How long one number is not repeated.
    pub(crate) interval: Duration,
    /// Whether what was repeated before and is asked for again goes out twice: where packets are lost by chance, another
    /// round trip costs the viewer more than a packet.
    pub(crate) twice: bool,
}

/// A packet that goes out again, and its copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repaired {
    forward: Forward,
    twin: Option<Forward>,
}

impl IntoIterator for Repaired {
    type Item = Forward;
    type IntoIter = std::iter::Chain<std::iter::Once<Forward>, std::option::IntoIter<Forward>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.forward).chain(self.twin)
    }
}
