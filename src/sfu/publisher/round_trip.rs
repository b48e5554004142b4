//! The round trip to the publisher, as the answers to NACKs measure it. Packet path.
//!
//! An answer does not say which request it answers, so the time since the first one counts. That is too long when
//! this request or its answer was lost, and too short when the packet was merely late and came by itself. The
//! middle of the newest few bears both, as long as neither is the rule. To count since the newest request, or
//! only what was asked for once, would never show a round trip longer than the pace of the requests.

use std::time::Duration;

use super::layer::Layer;
use super::nack::Pace;
use super::track::Track;

/// The round trip that is assumed before anything has measured it.
const ASSUMED: Duration = Duration::from_millis(100);

/// How many answers are compared: two strays among them change nothing, and three show that the path has changed.
const ANSWERS: usize = 5;

/// The longest round trip that sets the pace. It leaves time for one request while a hole is of interest, for
/// without requests nothing would show that the path has become shorter.
const PACE_MAX: Duration = Duration::from_millis(450);

/// The round trip to one publisher.
#[derive(Debug, Default)]
pub(super) struct RoundTrip {
    /// What the newest answers took, the newest last.
    answers: [Option<Duration>; ANSWERS],
    measured: Option<Duration>,
}

impl RoundTrip {
    /// Takes the time from the first request for a packet to the answer, the publisher's own delay included.
    pub(super) fn handle_answer(&mut self, took: Duration) {
        self.answers.rotate_left(1);
        if let Some(newest) = self.answers.last_mut() {
            *newest = Some(took);
        }
        let mut sorted = self.answers;
        sorted.sort_unstable();
        // Of two, the longer counts: to ask too seldom costs less than in vain.
        let known = sorted.iter().flatten().count();
        self.measured = sorted.iter().flatten().nth(known / 2).copied();
    }

    /// Returns the round trip; `None` before the first answer.
    pub(super) const fn measured(&self) -> Option<Duration> {
        self.measured
    }

    /// Returns what sets the pace of the requests for a layer's packets.
    pub(super) fn pace(&self, track: &Track, layer: &Layer) -> Pace {
        let repairs = track.format_of(layer).is_some_and(|format| format.nack);
        Pace { rtt: self.measured.unwrap_or(ASSUMED).min(PACE_MAX), repairs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_answer_is_the_round_trip() {
        assert_eq!(measured(&[30]), Some(30));
    }

    #[test]
    fn two_answers_to_repeated_requests_among_five_change_nothing() {
        assert_eq!(measured(&[40, 41, 80, 42, 120]), Some(42));
    }

    #[test]
    fn two_late_packets_among_five_change_nothing() {
        assert_eq!(measured(&[160, 2, 162, 3, 161]), Some(160));
    }

    #[test]
    fn three_answers_move_it_up_and_down() {
        let slow = [20, 20, 20, 20, 20, 250, 250, 250];

        assert_eq!(measured(&slow[..7]), Some(20));
        assert_eq!(measured(&slow), Some(250));
        assert_eq!(measured(&[slow.as_slice(), &[250, 250, 30, 30, 30]].concat()), Some(30));
    }

    fn measured(answers_ms: &[u64]) -> Option<u128> {
        let mut round_trip = RoundTrip::default();
        for took in answers_ms {
            round_trip.handle_answer(Duration::from_millis(*took));
        }
        round_trip.measured().map(|measured| measured.as_millis())
    }
}
