//! The peer's clock as feedback shows it, checked against ours.
//!
//! Feedback counts in 24 bits of 64 ms from an unknown start, or in 32 bits of 1/65,536 s (RFC 8888). Only differences
//! matter, so the first feedback is the start. A clock that runs away from ours, backwards or forwards, begins anew and is counted: whatever a peer
//! claims, no difference that leaves here is larger than [`STRAY_MAX`].

use rtp::MonoTime;

use super::history::micros;

/// How far the peer's clock may stray from ours between two feedbacks, and an arrival from its feedback: the
/// longest queue that still carries media, and more.
const STRAY_MAX: i64 = 3_000_000;

/// The state of the peer's clock.
#[derive(Debug, Default)]
pub(super) struct ArrivalClock {
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    /// When the feedback came, in our microseconds.
    at_us: i64,
    /// Its reference time as sent, and unwrapped in microseconds.
    reference: u32,
    reference_us: i64,
}

/// Where the arrivals of one feedback packet begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// What the first delta counts from.
    pub(super) base_us: i64,
    /// Whether arrivals before this packet can no longer be compared.
    pub(super) broken: bool,
}

impl ArrivalClock {
    /// Takes the reference time of a feedback packet.
    pub(super) fn begin(&mut self, now: MonoTime, reference: u32) -> Reference {
        self.begin_by(now, reference, |last| {
            let wrapped = reference.wrapping_sub(last) & REFERENCE_MASK;
            let turn = if wrapped > REFERENCE_MASK / 2 { i64::from(REFERENCE_MASK) + 1 } else { 0 };
            (i64::from(wrapped) - turn).saturating_mul(MICROS_PER_REFERENCE)
        })
    }

    /// Takes the instant of a report, the middle 32 bits of the peer's clock.
    pub(super) fn begin_report(&mut self, now: MonoTime, middle: u32) -> Reference {
        self.begin_by(now, middle, |last| {
            let units = i64::from(middle.wrapping_sub(last).cast_signed());
            units.saturating_mul(1_000_000) >> 16
        })
    }

    fn begin_by(&mut self, now: MonoTime, reference: u32, advance: impl Fn(u32) -> i64) -> Reference {
        let at_us = micros(now);
        let Some(last) = self.last else {
            self.last = Some(Last { at_us, reference, reference_us: at_us });
            return Reference { base_us: at_us, broken: false };
        };
        let advance = advance(last.reference);
        let elapsed = at_us.saturating_sub(last.at_us);
        let broken = advance.abs_diff(elapsed) > STRAY_MAX.unsigned_abs();
        let base_us = if broken { at_us } else { last.reference_us.saturating_add(advance) };
        self.last = Some(Last { at_us, reference, reference_us: base_us });
        Reference { base_us, broken }
    }
}

/// Says whether an arrival lies where one of its feedback can.
pub(super) fn is_plausible(reference: Reference, arrival_us: i64) -> bool {
    arrival_us.abs_diff(reference.base_us) <= STRAY_MAX.unsigned_abs()
}

const REFERENCE_MASK: u32 = 0xff_ffff;
const MICROS_PER_REFERENCE: i64 = 64_000;
/// A delta counts in 250 µs.
pub(super) const MICROS_PER_TICK: i64 = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_follows_the_wrap_in_both_directions() {
        let mut clock = ArrivalClock::default();
        let start = clock.begin(MonoTime::from_millis(1_000), REFERENCE_MASK);

        let later = clock.begin(MonoTime::from_millis(1_128), 1);
        let earlier = clock.begin(MonoTime::from_millis(1_130), 0);

        assert_eq!(later.base_us - start.base_us, 128_000);
        assert_eq!(later.base_us - earlier.base_us, 64_000);
        assert!(!later.broken && !earlier.broken);
    }

    #[test]
    fn reports_of_a_peers_own_clock_follow_its_wrap_too() {
        let mut clock = ArrivalClock::default();
        let start = clock.begin_report(MonoTime::from_millis(1_000), u32::MAX - 0x7fff);

        let later = clock.begin_report(MonoTime::from_millis(2_000), 0x8000);

        assert_eq!((later.base_us - start.base_us, later.broken), (1_000_000, false));
        assert!(clock.begin_report(MonoTime::from_millis(2_100), 0x7000_0000).broken);
    }

    #[test]
    fn a_clock_that_leaps_begins_anew() {
        let mut clock = ArrivalClock::default();
        clock.begin(MonoTime::from_millis(1_000), 1_000);

        let leap = clock.begin(MonoTime::from_millis(1_100), 2_000);
        let back = clock.begin(MonoTime::from_millis(1_200), 1_000);
        let steady = clock.begin(MonoTime::from_millis(1_264), 1_001);

        assert!(leap.broken && back.broken && !steady.broken);
        assert_eq!(leap.base_us, 1_100_000);
    }
}
