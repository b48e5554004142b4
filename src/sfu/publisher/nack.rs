//! Which packets of a layer are missing, and when to ask for them again (RFC 4585 §6.2.1). Packet path.
//!
//! A hole in the numbering may be a packet that is merely late, so the first request waits a moment; then it is
//! repeated at the pace of the round trip until the packet comes or is worth no more: what could not come in time is not
//! asked for. What is given up leaves a damaged picture, which only a keyframe mends.
//!
//! Some publishers ignore requests (OBS on all but its top layer). A layer whose first losses bring no answer is
//! marked, and from then on a hole asks for a keyframe at once. An answer clears the mark however late it comes:
//! where there is no RTX, only the hole that it fills shows that it is one, so what was given up is remembered. Now and
//! then a marked layer is asked again, as a path that was bad for a moment takes requests and answers alike.

use std::time::Duration;

use rtp::{ExtSeq, MonoTime};

/// How long a packet may merely be late: longer than the reordering of a path, shorter than anybody sees.
const REORDER_WAIT: Duration = Duration::from_millis(10);

/// How many later packets show that a packet is lost and not late (as duplicate ACKs do for TCP).
const REORDER_PACKETS: u64 = 3;

/// The least time between two requests for one packet, whatever the round trip.
const REPEAT_MIN: Duration = Duration::from_millis(20);

/// How often one packet is asked for.
const TRIES_MAX: u8 = 10;

/// How old a hole may become: past this, viewers' jitter buffers have moved on.
const AGE_MAX: Duration = Duration::from_millis(500);

/// The same for a hole before a keyframe that has begun: pictures that are about to be passed over.
const SUPERSEDED_AGE_MAX: Duration = Duration::from_millis(150);

/// For how long an answer may come, in time or not: the longest round trip that is measured.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(1);

/// How many packets may be missing at once. Beyond it, repair costs more than a keyframe.
const MISSING_MAX: usize = 256;

/// How many losses decide whether the publisher answers at all.
const TRIAL_LOSSES: usize = 2;

/// How long past two round trips the trial waits for an answer.
const TRIAL_GRACE: Duration = Duration::from_millis(50);

/// How long after a trial in vain the next one may begin, doubled by each further one, up to the most: to who never
/// answers they are keyframes that come a little later.
const TRIAL_AGAIN: Duration = Duration::from_secs(10);
const TRIAL_AGAIN_MAX: Duration = Duration::from_secs(320);

/// A packet that has not come.
#[derive(Clone, Copy, Debug)]
struct Missing {
    seq: ExtSeq,
    noticed: MonoTime,
    /// How many packets had come, without the one that showed the hole.
    noticed_after: u64,
    first_sent: MonoTime,
    last_sent: MonoTime,
    tries: u8,
    /// Asked for in vain so far. It is remembered only for its answer, which still measures the round trip.
    given_up: bool,
}

/// What an arrival meant for the holes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filled {
    /// The packet had been missing.
    pub(super) was_missing: bool,
    /// It had been asked for, first this long ago: the round trip with the publisher's own delay, if the first
    /// request was the one that it answers.
    pub(super) round_trip: Option<Duration>,
}

/// The missing packets of one layer.
#[derive(Debug, Default)]
pub(super) struct Nack {
    /// In rising order of their numbers.
    missing: Vec<Missing>,
    highest: Option<ExtSeq>,
    arrivals: u64,
    /// Holes before this packet no longer matter: a keyframe has begun.
    keyframe: Option<ExtSeq>,
    gave_up: bool,
    trial: Trial,
}

impl Nack {
    /// Makes an empty list with room for all that it may hold.
    pub(super) fn new() -> Self {
        Self { missing: Vec::with_capacity(MISSING_MAX), ..Self::default() }
    }

    /// Takes note of a packet that was stored, from the media source or by RTX.
    pub(super) fn handle_packet(&mut self, now: MonoTime, seq: ExtSeq) -> Filled {
        self.arrivals = self.arrivals.saturating_add(1);
        let Some(highest) = self.highest else {
            self.highest = Some(seq);
            return Filled::default();
        };
        if seq > highest {
            self.highest = Some(seq);
            self.notice(now, highest.plus(1), seq);
            return Filled::default();
        }
        let Ok(at) = self.missing.binary_search_by_key(&seq, |missing| missing.seq) else {
            return Filled::default();
        };
        let missing = self.missing.remove(at);
        let round_trip = (missing.tries > 0).then(|| now.since(missing.first_sent));
        Filled { was_missing: true, round_trip }
    }

    /// Takes note that a retransmission came, of whichever packet: the publisher answers.
    pub(super) fn handle_answer(&mut self) {
        self.trial = Trial { answered: true, ..Trial::default() };
    }

    /// Takes note that a keyframe begins at this packet.
    pub(super) fn handle_keyframe(&mut self, seq: ExtSeq) {
        self.keyframe = self.keyframe.max(Some(seq));
    }

    /// Forgets everything about the source but whether it answers, because the numbering began anew.
    pub(super) fn restart(&mut self) {
        self.missing.clear();
        self.highest = None;
    }

    /// Gives up what has been asked for in vain. With `pace.repairs` false nothing is asked for: holes are given
    /// up as soon as they are losses.
    pub(super) fn handle_timeout(&mut self, now: MonoTime, pace: Pace) {
        if self.missing.is_empty() {
            return;
        }
        self.trial.handle_timeout(now);
        let repairs = pace.repairs && !self.trial.is_waiting();
        let (arrivals, keyframe) = (self.arrivals, self.keyframe);
        let mut matters = false;
        self.missing.retain_mut(|missing| {
            if missing.given_up {
                return now.since(missing.noticed) < ANSWER_AGE_MAX;
            }
            let due = missing.due(arrivals, pace) <= now;
            let in_vain = !repairs && (due || missing.tries > 0);
            let last = missing.useful_until(keyframe);
            let too_late = last <= now || (due && now + pace.rtt > last);
            missing.given_up = in_vain || too_late || (due && missing.tries >= TRIES_MAX);
            matters |= missing.given_up && keyframe.is_none_or(|keyframe| missing.seq > keyframe);
            !missing.given_up || missing.tries > 0
        });
        self.gave_up |= matters;
    }

    /// Puts the numbers that are to be asked for now into `out`, at most as many as it has room for, and counts
    /// them as asked for. Call [`Self::handle_timeout`] first.
    pub(super) fn take_due(&mut self, now: MonoTime, pace: Pace, out: &mut Vec<ExtSeq>) {
        if !pace.repairs || self.trial.is_waiting() {
            return;
        }
        for missing in self.missing.iter_mut().filter(|missing| !missing.given_up) {
            if out.len() == out.capacity() {
                return;
            }
            if missing.due(self.arrivals, pace) > now {
                continue;
            }
            if missing.tries == 0 {
                missing.first_sent = now;
            }
            missing.last_sent = now;
            missing.tries = missing.tries.saturating_add(1);
            self.trial.handle_request(missing.seq, now + pace.trial_wait());
            out.push(missing.seq);
        }
    }

    /// Returns once that packets were given up since the last call, so that a keyframe is wanted.
    pub(super) const fn take_gave_up(&mut self) -> bool {
        std::mem::replace(&mut self.gave_up, false)
    }

    /// Returns when the next request or the next giving up is due.
    pub(super) fn next_timeout(&self, pace: Pace) -> Option<MonoTime> {
        self.missing
            .iter()
            .filter(|missing| !missing.given_up)
            .map(|missing| missing.due(self.arrivals, pace).min(missing.useful_until(self.keyframe)))
            .min()
    }

    /// True when the losses that were asked for so far brought no answer.
    pub(super) const fn is_unanswered(&self) -> bool {
        self.trial.failures > 0
    }

    /// Remembers the numbers between the highest packet and the one that showed the hole.
    fn notice(&mut self, now: MonoTime, from: ExtSeq, to: ExtSeq) {
        let gap = usize::try_from(to.since(from)).unwrap_or(usize::MAX);
        if gap.saturating_add(self.missing.len()) > MISSING_MAX {
            self.missing.retain(|missing| !missing.given_up);
        }
        if gap.saturating_add(self.missing.len()) > MISSING_MAX {
            self.missing.clear();
            self.gave_up = true;
            return;
        }
        let noticed_after = self.arrivals.saturating_sub(1);
        self.missing.extend((from.0..to.0).map(|seq| Missing {
            seq: ExtSeq(seq),
            noticed: now,
            noticed_after,
            first_sent: now,
            last_sent: now,
            tries: 0,
            given_up: false,
        }));
    }
}

/// What sets the pace of requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The round trip to the publisher.
    pub(super) rtt: Duration,
    /// True when the format in use negotiated NACK (RFC 4585 §4.2).
    pub(super) repairs: bool,
}

impl Pace {
    fn trial_wait(self) -> Duration {
        self.rtt.saturating_mul(2).saturating_add(TRIAL_GRACE)
    }
}

impl Missing {
    /// When the packet is to be asked for next.
    fn due(&self, arrivals: u64, pace: Pace) -> MonoTime {
        if self.tries > 0 {
            return self.last_sent + pace.rtt.max(REPEAT_MIN);
        }
        if arrivals.saturating_sub(self.noticed_after) >= REORDER_PACKETS {
            return self.noticed;
        }
        self.noticed + REORDER_WAIT
    }

    /// Until when the packet has to be here.
    fn useful_until(&self, keyframe: Option<ExtSeq>) -> MonoTime {
        let superseded = keyframe.is_some_and(|keyframe| self.seq < keyframe);
        self.noticed + if superseded { SUPERSEDED_AGE_MAX } else { AGE_MAX }
    }
}

/// Whether the publisher answers: decided by the first losses.
#[derive(Debug, Default)]
struct Trial {
    /// The losses asked for, and when their answer is overdue.
    losses: [Option<(ExtSeq, MonoTime)>; TRIAL_LOSSES],
    answered: bool,
    /// How often it was held in vain.
    failures: u32,
    /// When the next may begin, after one in vain.
    again_at: Option<MonoTime>,
}

impl Trial {
    fn handle_request(&mut self, seq: ExtSeq, overdue: MonoTime) {
        if self.answered || self.losses.iter().flatten().any(|(known, _)| *known == seq) {
            return;
        }
        if let Some(free) = self.losses.iter_mut().find(|loss| loss.is_none()) {
            *free = Some((seq, overdue));
        }
    }

    /// Ends the trial when no answer came in time, and begins the next one when the wait is over.
    fn handle_timeout(&mut self, now: MonoTime) {
        if self.answered {
            return;
        }
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
        } else if self.losses.iter().all(|loss| loss.is_some_and(|(_, overdue)| overdue <= now)) {
            self.losses = [None; TRIAL_LOSSES];
            let doubled = TRIAL_AGAIN.saturating_mul(1 << self.failures.min(8));
            self.failures = self.failures.saturating_add(1);
            self.again_at = Some(now + doubled.min(TRIAL_AGAIN_MAX));
        }
    }

    /// Says whether nothing is asked for, because nothing was answered.
    const fn is_waiting(&self) -> bool {
        self.again_at.is_some()
    }
}

#[cfg(test)]
mod tests;
