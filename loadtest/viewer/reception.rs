//! What arrived of one source and what is missing: continuity, repair by NACK, the figures of a report (RFC 3550 §6.4,
//! RFC 4585 §6.2.1).
//!
//! Packet path. A gap opens with the first packet behind it, is asked for after a wait for reordering, asked for again
//! while nothing comes, and counts as lost only when the repair was given up: [`Reception::lost`] is what a picture
//! really misses.

use rtp::rtcp::ReportBlock;
use rtp::{ExtSeq, MonoTime, RtpTimestamp, SeqNo, SeqUnwrapper, Ssrc};
use std::time::Duration;

/// How a packet fits to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The next one, or the first.
    InOrder,
    /// Newer than the next one: some are missing.
    AfterGap,
    /// One that was missing, late.
    Late,
    /// One that was here before, or that was given up.
    Surplus,
}

/// One source.
#[derive(Debug)]
pub(super) struct Reception {
    ssrc: Ssrc,
    clock_rate: u64,
    unwrapper: SeqUnwrapper,
    first: Option<ExtSeq>,
    received: u64,
    lost: u64,
    lost_told: u64,
    missing: Vec<Missing>,
    jitter: Jitter,
    reported: Reported,
    sender_report: Option<(u32, MonoTime)>,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    seq: ExtSeq,
    since: MonoTime,
    ask_at: MonoTime,
    tries: u8,
}

#[derive(Debug, Default)]
struct Reported {
    expected: u64,
    received: u64,
}

/// Interarrival jitter in sixteenths of a tick (RFC 3550 §A.8).
#[derive(Debug, Default)]
struct Jitter {
    transit: Option<i64>,
    sixteenths: i64,
}

impl Reception {
    pub(super) fn new(ssrc: Ssrc, clock_rate: u32) -> Self {
        Self {
            ssrc,
            clock_rate: u64::from(clock_rate),
            unwrapper: SeqUnwrapper::new(),
            first: None,
            received: 0,
            lost: 0,
            lost_told: 0,
            missing: Vec::new(),
            jitter: Jitter::default(),
            reported: Reported::default(),
            sender_report: None,
        }
    }

    /// Notes a packet that arrived `at`.
    pub(super) fn handle_packet(&mut self, at: MonoTime, seq: SeqNo, timestamp: RtpTimestamp) -> Arrival {
        self.received = self.received.saturating_add(1);
        self.jitter.note(at, timestamp, self.clock_rate);
        let Some(highest) = self.unwrapper.highest() else {
            self.first = Some(self.unwrapper.unwrap(seq));
            return Arrival::InOrder;
        };
        let seq = self.unwrapper.unwrap(seq);
        match seq.since(highest) {
            0 if self.take_missing(seq) => Arrival::Late,
            0 => Arrival::Surplus,
            1 => Arrival::InOrder,
            distance => {
                self.open_gap(at, highest, distance);
                Arrival::AfterGap
            }
        }
    }

    /// Notes the retransmission of a packet; says whether it was missing. One that is newer than everything closes the
    /// end of a frame that was lost, and opens a gap like any other.
    pub(super) fn handle_repair(&mut self, at: MonoTime, seq: SeqNo) -> bool {
        let Some(highest) = self.unwrapper.highest() else { return false };
        let seq = self.unwrapper.unwrap(seq);
        if let Some(distance) = seq.since(highest).checked_sub(1) {
            self.open_gap(at, highest, distance.saturating_add(1));
            return true;
        }
        self.take_missing(seq)
    }

    /// Says whether a retransmission of this number can be one of ours: it was sent, and not too long ago.
    pub(super) fn knows(&self, seq: SeqNo) -> bool {
        let (Some(highest), Some(first)) = (self.unwrapper.highest(), self.first) else { return false };
        let seq = self.unwrapper.peek(seq);
        seq >= first && seq.0 <= highest.0.saturating_add(AHEAD_MAX) && highest.since(seq) <= BEHIND_MAX
    }

    /// Gives up what is missing for too long; appends what is to be asked for now. Returns how many were lost since the
    /// last call.
    pub(super) fn handle_timeout(&mut self, now: MonoTime, asks: bool, out: &mut Vec<SeqNo>) -> u64 {
        if self.missing.is_empty() && self.lost == self.lost_told {
            return 0;
        }
        let before = self.missing.len();
        self.missing.retain(|missing| now.since(missing.since) < GIVE_UP);
        let given_up = u64::try_from(before.saturating_sub(self.missing.len())).unwrap_or(0);
        self.lost = self.lost.saturating_add(given_up);
        for missing in
            self.missing.iter_mut().filter(|missing| asks && missing.ask_at <= now).take(NACKED_MAX)
        {
            missing.ask_at = now + ASK_AGAIN.saturating_mul(1 << missing.tries.min(TRIES_MAX));
            missing.tries = missing.tries.saturating_add(1);
            out.push(missing.seq.wire());
        }
        self.lost.saturating_sub(std::mem::replace(&mut self.lost_told, self.lost))
    }

    pub(super) fn next_timeout(&self, asks: bool) -> Option<MonoTime> {
        let due = |missing: &Missing| {
            let end = missing.since + GIVE_UP;
            if asks { missing.ask_at.min(end) } else { end }
        };
        self.missing.iter().map(due).min()
    }

    /// Notes a sender report of this source.
    pub(super) fn note_sender_report(&mut self, at: MonoTime, ntp_middle: u32) {
        self.sender_report = Some((ntp_middle, at));
    }

    /// Returns the block for the next report, and begins a new interval of it.
    pub(super) fn report(&mut self, now: MonoTime) -> Option<ReportBlock> {
        let (first, highest) = (self.first?, self.unwrapper.highest()?);
        let expected = highest.since(first).saturating_add(1);
        let in_interval = expected.saturating_sub(self.reported.expected);
        let received = self.received.saturating_sub(self.reported.received);
        let lost = in_interval.saturating_sub(received);
        self.reported = Reported { expected, received: self.received };
        let fraction = lost.saturating_mul(256).checked_div(in_interval).unwrap_or(0);
        let cumulative = i64::try_from(expected).ok()?.saturating_sub(i64::try_from(self.received).ok()?);
        let since = |at: MonoTime| now.since(at).as_micros().saturating_mul(65_536) / 1_000_000;
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(cumulative).unwrap_or(i32::MAX),
            // Cycles are counted from the first: the unwrapper begins one cycle up.
            highest_seq: u32::try_from(highest.0.saturating_sub(1 << 16) & u64::from(u32::MAX)).unwrap_or(0),
            jitter: u32::try_from(self.jitter.sixteenths >> 4).unwrap_or(0),
            last_sr: self.sender_report.map_or(0, |(middle, _)| middle),
            delay_since_last_sr: self
                .sender_report
                .map_or(0, |(_, at)| u32::try_from(since(at)).unwrap_or(u32::MAX)),
        })
    }

    pub(super) const fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    fn open_gap(&mut self, at: MonoTime, highest: ExtSeq, distance: u64) {
        for step in 1..distance {
            if self.missing.len() >= MISSING_MAX {
                // Beyond repair: what a browser answers with a request for a keyframe.
                self.lost = self.lost.saturating_add(distance.saturating_sub(step));
                return;
            }
            let seq = highest.plus(step);
            self.missing.push(Missing { seq, since: at, ask_at: at + REORDER_WAIT, tries: 0 });
        }
    }

    fn take_missing(&mut self, seq: ExtSeq) -> bool {
        let found = self.missing.iter().position(|missing| missing.seq == seq);
        found.map(|index| self.missing.remove(index)).is_some()
    }
}

impl Reception {
    /// Returns how many packets were given up.
    #[cfg(test)]
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }
}

impl Jitter {
    fn note(&mut self, at: MonoTime, timestamp: RtpTimestamp, clock_rate: u64) {
        let micros = at.as_nanos() / 1_000;
        let ticks = micros.wrapping_mul(clock_rate) / 1_000_000;
        let arrival = RtpTimestamp(u32::try_from(ticks & u64::from(u32::MAX)).unwrap_or(0));
        let transit = i64::from(arrival.distance(timestamp));
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.saturating_sub(before).abs();
            let change = difference.saturating_sub(self.sixteenths.saturating_add(8) >> 4);
            self.sixteenths = self.sixteenths.saturating_add(change).max(0);
        }
    }
}

/// What is only reordered comes meanwhile.
const REORDER_WAIT: Duration = Duration::from_millis(10);
/// A round trip to a far server and its work; it doubles with each try, so that asking is no storm of its own.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// After 50, 100, 200, 400 and 800 ms the second is over.
const TRIES_MAX: u8 = 6;
/// Afterwards a picture waits for a keyframe.
pub(super) const GIVE_UP: Duration = Duration::from_millis(1_000);
/// More than a second of a fast stream is not repaired packet by packet.
const MISSING_MAX: usize = 1_000;
/// What fits one compound many times over.
const NACKED_MAX: usize = 250;
/// A retransmission may show the end of a burst that was lost.
const AHEAD_MAX: u64 = 1_000;
/// Servers keep some seconds.
const BEHIND_MAX: u64 = 20_000;

#[cfg(test)]
mod tests;
