//! When the packets of a publisher session arrived, reported back so that the publisher can estimate its path
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). Packet path.
//!
//! Arrivals lie in a table by transport-wide number. A feedback packet reports every number from where the last
//! one ended up to the highest, holes included. A packet that comes late, after its hole was reported, moves the
//! beginning back to it: what follows is reported again, which publishers expect.

use std::time::Duration;

use rtp::rtcp::{TransportCcFeedback, Writer};
use rtp::{ExtSeq, MonoTime, SeqNo, SeqUnwrapper, Ssrc};

/// How many numbers the table holds: 2 s of a 6 Mbit/s publisher.
const WINDOW: usize = 1_024;

/// How far back a late packet is still reported.
const LATE_MAX: u64 = 256;

/// The longest that an arrival waits for its report.
const INTERVAL: Duration = Duration::from_millis(100);

/// The wait once many packets are pending: fast publishers get finer feedback at the same relative cost.
const INTERVAL_BUSY: Duration = Duration::from_millis(50);

/// How many pending packets count as many.
const PENDING_BUSY: usize = 16;

/// How many pending packets are reported at once, whatever the time.
const PENDING_MAX: usize = 200;

/// The most statuses in one feedback packet, so that it shares a datagram with other feedback.
const STATUSES_MAX: usize = 300;

/// The arrivals of one session.
#[derive(Debug)]
pub(super) struct TransportCc {
    unwrapper: SeqUnwrapper,
    /// Arrivals by number modulo the table's size; a stale entry shows by its number.
    arrivals: Vec<(ExtSeq, MonoTime)>,
    /// The first number to report, and the one past the last.
    begin: ExtSeq,
    end: ExtSeq,
    /// How many arrivals wait, and since when.
    pending: usize,
    pending_since: MonoTime,
    feedback_count: u8,
    scratch: Vec<Option<MonoTime>>,
}

impl TransportCc {
    pub(super) fn new() -> Self {
        Self {
            unwrapper: SeqUnwrapper::new(),
            arrivals: vec![(ExtSeq(0), MonoTime::ZERO); WINDOW],
            begin: ExtSeq(0),
            end: ExtSeq(0),
            pending: 0,
            pending_since: MonoTime::ZERO,
            feedback_count: 0,
            scratch: Vec::with_capacity(STATUSES_MAX),
        }
    }

    /// Takes note of the arrival of a packet.
    pub(super) fn handle_packet(&mut self, now: MonoTime, seq: SeqNo) {
        let begins = self.unwrapper.highest().is_none();
        let seq = self.unwrapper.unwrap(seq);
        let leaps = seq.since(self.end) >= WINDOW as u64;
        if begins || leaps {
            self.begin = seq;
            self.end = seq;
            self.pending = 0;
        }
        if self.begin.since(seq) > LATE_MAX || self.arrival(seq).is_some() {
            return;
        }
        let Some(slot) = self.arrivals.get_mut(slot_of(seq)) else { return };
        *slot = (seq, now);
        self.end = self.end.max(seq.plus(1));
        let kept_from = ExtSeq(self.end.0.saturating_sub(WINDOW as u64));
        self.begin = self.begin.min(seq).max(kept_from);
        if self.pending == 0 {
            self.pending_since = now;
        }
        self.pending = self.pending.saturating_add(1);
    }

    /// Returns when a report is due.
    pub(super) fn next_timeout(&self) -> Option<MonoTime> {
        match self.pending {
            0 => None,
            PENDING_MAX.. => Some(self.pending_since),
            PENDING_BUSY.. => Some(self.pending_since + INTERVAL_BUSY),
            _ => Some(self.pending_since + INTERVAL),
        }
    }

    /// True when a report should go out now.
    pub(super) fn is_due(&self, now: MonoTime) -> bool {
        self.next_timeout().is_some_and(|due| due <= now)
    }

    /// Writes the next report; false when there is none or no room for it. What does not fit one report is due
    /// at once.
    pub(super) fn write(&mut self, sender: Ssrc, media: Ssrc, writer: &mut Writer<'_>) -> bool {
        if self.pending == 0 {
            return false;
        }
        self.scratch.clear();
        let count = self.end.since(self.begin).min(STATUSES_MAX as u64);
        for distance in 0..count {
            let arrival = self.arrival(self.begin.plus(distance));
            self.scratch.push(arrival);
        }
        let feedback = TransportCcFeedback::new(self.begin.wire(), self.feedback_count, &self.scratch);
        if !writer.transport_cc(sender, media, &feedback) {
            return false;
        }
        self.feedback_count = self.feedback_count.wrapping_add(1);
        self.begin = self.begin.plus((feedback.covered() as u64).max(1));
        let rest = (0..self.end.since(self.begin)).filter_map(|more| self.arrival(self.begin.plus(more)));
        self.pending = if rest.count() == 0 { 0 } else { PENDING_MAX };
        if self.pending == 0 {
            self.begin = self.end;
        }
        true
    }

    fn arrival(&self, seq: ExtSeq) -> Option<MonoTime> {
        self.arrivals.get(slot_of(seq)).filter(|(known, _)| *known == seq).map(|(_, at)| *at)
    }
}

fn slot_of(seq: ExtSeq) -> usize {
    usize::try_from(seq.0 % WINDOW as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests;
