//! Keeps outgoing timestamps on one line over layer switches and publisher restarts.
//!
//! Packet path. Within a layer the outgoing timestamp is the publisher's plus a constant. At a switch the
//! constant is chosen anew, so that the distance between the last frame and the next is their distance in
//! capture time where both layers' places on the server media time line are known ([`Timing`]), and the
//! distance of their arrivals otherwise. Timestamps rise strictly over a switch; where that puts the line
//! ahead of capture time, the *lead* is given back at the next switch, so that leads do not add up.

use std::time::Duration;

use rtp::{MonoTime, NtpTime, RtpTimestamp};

use crate::track::Timing;

/// The time line of one outgoing source. Its fields are in the order that [`super::Viewer`] tells of.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Timeline {
    /// The forwarded frame with the highest timestamp.
    last: Option<Point>,
    /// The place of the layer that `last` belongs to.
    timing: Option<Timing>,
    /// How many ticks the line is ahead of capture time.
    lead: i64,
    clock_rate: u32,
    /// Where the line starts; random, as RFC 3550 §5.1 wants.
    start: RtpTimestamp,
}

impl Timeline {
    /// Makes a line of `clock_rate` ticks a second that begins at `start`.
    pub(crate) fn new(clock_rate: u32, start: RtpTimestamp) -> Self {
        Self { clock_rate, start, last: None, timing: None, lead: 0 }
    }

    /// Goes over to another layer, or another session of the same, and returns what to add to its timestamps.
    pub(crate) fn join(&mut self, first: Sample, timing: Option<Timing>) -> u32 {
        let old_timing = std::mem::replace(&mut self.timing, timing);
        let Some(last) = self.last else {
            return self.start.0.wrapping_sub(first.timestamp.0);
        };
        let arrived = self.ticks(nanos(first.arrival.since(last.sample.arrival)));
        let captured = old_timing.zip(timing).map(|(old, new)| {
            let distance =
                self.captured(new, first.timestamp).nanos_since(self.captured(old, last.sample.timestamp));
            self.ticks(distance)
        });
        let trusted =
            captured.filter(|captured| captured.abs_diff(arrived) <= self.ticks(TRUST).unsigned_abs());
        let ideal = trusted.unwrap_or(arrived).saturating_sub(self.lead);
        let step = ideal.clamp(1, i64::from(i32::MAX));
        self.lead = step.saturating_sub(ideal).clamp(0, self.ticks(TRUST));
        let out = last.out.plus(u32::try_from(step).unwrap_or(1));
        out.0.wrapping_sub(first.timestamp.0)
    }

    /// Notes a forwarded frame, in any order.
    pub(crate) fn note(&mut self, sample: Sample, offset: u32) {
        let out = sample.timestamp.plus(offset);
        if self.last.is_none_or(|last| out.distance(last.out) > 0) {
            self.last = Some(Point { sample, out });
        }
    }

    pub(crate) fn warm(&self) -> u64 {
        u64::from(self.last.is_some())
    }

    /// Takes a newer place of the layer that is being forwarded.
    pub(crate) fn set_timing(&mut self, timing: Option<Timing>) {
        if timing.is_some() {
            self.timing = timing;
        }
    }

    /// Returns the outgoing timestamp of the instant `now`, which is `ntp` in server media time; `offset` is
    /// what is being added to the layer's timestamps. `None` before the first frame.
    pub(crate) fn at(&self, now: MonoTime, ntp: NtpTime, offset: u32) -> Option<RtpTimestamp> {
        let last = self.last?;
        let (from, elapsed) = match self.timing {
            Some(timing) => (timing.rtp.plus(offset), ntp.nanos_since(timing.ntp)),
            None => (last.out, nanos(now.since(last.sample.arrival))),
        };
        // Truncation to 32 bits is the wrap of the timestamp.
        Some(from.plus(self.ticks(elapsed) as u32))
    }

    /// Returns the server media time at which `timestamp` was sampled.
    fn captured(&self, timing: Timing, timestamp: RtpTimestamp) -> NtpTime {
        let ticks = i64::from(timestamp.distance(timing.rtp));
        timing.ntp.plus_nanos(ticks.saturating_mul(NANOS_PER_SECOND) / i64::from(self.clock_rate.max(1)))
    }

    fn ticks(&self, nanos: i64) -> i64 {
        let ticks = i128::from(nanos) * i128::from(self.clock_rate) / i128::from(NANOS_PER_SECOND);
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }
}

/// When a packet was sampled and when it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// The source's timestamp.
    pub(crate) timestamp: RtpTimestamp,
    /// When the packet arrived.
    pub(crate) arrival: MonoTime,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    sample: Sample,
    out: RtpTimestamp,
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// How far, in nanoseconds, capture distance may be from arrival distance before a sender report is taken for
/// wrong: more than any path's delay and a repair of 500 ms, less than what would stall a player's clock.
const TRUST: i64 = 2 * NANOS_PER_SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_keeps_the_capture_distance_when_both_layers_have_a_place() {
        let mut line = begun();

        // Both layers are sampled at 10 s + 40 ms; the second one's packet came 300 ms late.
        let offset = line.join(sample(90_000_000, 340), timing(90_000_000, 10_040));

        assert_eq!(RtpTimestamp(90_000_000).plus(offset), START.plus(3_600));
    }

    #[test]
    fn a_switch_keeps_the_arrival_distance_without_sender_reports() {
        let mut line = begun();

        let offset = line.join(sample(90_000_000, 50), None);

        assert_eq!(RtpTimestamp(90_000_000).plus(offset), START.plus(4_500));
    }

    #[test]
    fn a_switch_to_an_earlier_capture_still_rises_and_gives_the_lead_back_later() {
        let mut line = begun();

        let first = line.join(sample(0, 5), timing(0, 9_980));
        line.note(sample(0, 5), first);
        let second = line.join(sample(500_000, 100), timing(500_000, 10_080));

        assert_eq!(RtpTimestamp(0).plus(first), START.plus(1));
        assert_eq!(RtpTimestamp(500_000).plus(second), START.plus(80 * 90));
    }

    #[test]
    fn a_sender_report_that_contradicts_the_arrivals_is_not_believed() {
        let mut line = begun();

        let offset = line.join(sample(7, 50), timing(7, 70_000));

        assert_eq!(RtpTimestamp(7).plus(offset), START.plus(4_500));
    }

    #[test]
    fn the_line_continues_across_the_wrap_of_either_side() {
        let mut line = Timeline::new(90_000, RtpTimestamp(u32::MAX - 10));
        let offset = line.join(sample(u32::MAX - 5, 0), None);
        line.note(sample(u32::MAX - 5, 0), offset);
        line.note(sample(3_594, 40), offset);

        let next = line.join(sample(1, 80), None);

        assert_eq!(RtpTimestamp(1).plus(next), RtpTimestamp(u32::MAX - 10).plus(7_200));
    }

    #[test]
    fn the_report_lies_on_the_line_of_the_layer() {
        let line = begun();
        let offset = START.0;

        let at = line.at(MonoTime::from_millis(900), NtpTime::from_unix_nanos(10_500 * MILLI), offset);

        assert!(at.is_some_and(|at| at.distance(START.plus(45_000)).abs() <= 1));
    }

    const START: RtpTimestamp = RtpTimestamp(4_000_000_000);
    const MILLI: u64 = 1_000_000;

    /// A line whose last frame has timestamp zero, captured at 10 s and arrived at the start of the clock.
    fn begun() -> Timeline {
        let mut line = Timeline::new(90_000, START);
        let offset = line.join(sample(0, 0), timing(0, 10_000));
        line.note(sample(0, 0), offset);
        line
    }

    fn sample(timestamp: u32, arrival_ms: u64) -> Sample {
        Sample { timestamp: RtpTimestamp(timestamp), arrival: MonoTime::from_millis(arrival_ms) }
    }

    fn timing(rtp: u32, ntp_ms: u64) -> Option<Timing> {
        // Half a tick more, so that a truncated fraction of NTP does not show.
        let nanos = ntp_ms * MILLI + 5_000;
        Some(Timing { rtp: RtpTimestamp(rtp), ntp: NtpTime::from_unix_nanos(nanos) })
    }
}
