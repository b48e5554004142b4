//! Who joined, who failed and why, and how long it took.

use crate::link::CloseReason;
use crate::report::Histogram;
use crate::viewer::Event;
use crate::viewer::crowd::Number;
use rtp::MonoTime;
use std::collections::BTreeMap;
use std::time::Duration;

/// The book of a run.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    states: BTreeMap<Number, State>,
    failures: BTreeMap<String, u64>,
    connected: u64,
    first_asked_at: Option<MonoTime>,
    last_connected_at: Option<MonoTime>,
    pub(super) join: Histogram,
    pub(super) first_keyframe: Histogram,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Joining,
    Connected,
    Failed,
}

impl Ledger {
    /// Notes that a viewer begins to join.
    pub(super) fn begin(&mut self, now: MonoTime, number: Number) {
        self.first_asked_at = self.first_asked_at.or(Some(now));
        self.states.insert(number, State::Joining);
    }

    /// Notes that a viewer failed, once.
    pub(super) fn fail(&mut self, number: Number, reason: String) {
        let Some(state) = self.states.get_mut(&number).filter(|state| **state != State::Failed) else {
            return;
        };
        if *state == State::Connected {
            self.connected = self.connected.saturating_sub(1);
        }
        *state = State::Failed;
        let count = self.failures.entry(reason).or_default();
        *count = count.saturating_add(1);
    }

    /// Notes what happened to a viewer.
    pub(super) fn note(&mut self, now: MonoTime, number: Number, event: Event) {
        match event {
            Event::Connected => {
                let joining = |state: &&mut State| **state == State::Joining;
                if let Some(state) = self.states.get_mut(&number).filter(joining) {
                    *state = State::Connected;
                    self.connected = self.connected.saturating_add(1);
                    self.last_connected_at = Some(now);
                }
            }
            Event::FirstPacket(after) => self.join.note(after),
            Event::FirstKeyframe(after) => self.first_keyframe.note(after),
            Event::Closed(CloseReason::Closed) => {}
            Event::Closed(reason) => self.fail(number, reason.to_string()),
        }
    }

    /// Fails everybody who is still joining.
    pub(super) fn give_up(&mut self, reason: &str) {
        let joining: Vec<Number> = self.joining().collect();
        for number in joining {
            self.fail(number, reason.to_owned());
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.joining().next().is_none()
    }

    pub(super) const fn connected(&self) -> u64 {
        self.connected
    }

    pub(super) const fn failures(&self) -> &BTreeMap<String, u64> {
        &self.failures
    }

    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Returns how long joining took: from the first offer to the last connection.
    pub(super) fn joining_time(&self) -> Option<Duration> {
        Some(self.last_connected_at?.since(self.first_asked_at?))
    }

    fn joining(&self) -> impl Iterator<Item = Number> {
        self.states.iter().filter(|(_, state)| **state == State::Joining).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> MonoTime {
        MonoTime::from_millis(millis)
    }

    #[test]
    fn a_viewer_counts_once_whatever_happens_to_it() {
        let mut ledger = Ledger::default();
        for number in 0..4 {
            ledger.begin(ms(number), number);
        }

        for number in [0, 1, 1] {
            ledger.note(ms(100 + number), number, Event::Connected);
        }
        ledger.fail(2, "http 503".into());
        ledger.note(ms(200), 2, Event::Connected);
        ledger.note(ms(300), 1, Event::Closed(CloseReason::ConsentExpired));
        ledger.fail(1, "again".into());
        ledger.give_up("too late");

        assert_eq!((ledger.connected(), ledger.failed()), (1, 3));
        assert!(ledger.is_settled());
        let reasons: Vec<&str> = ledger.failures().keys().map(String::as_str).collect();
        assert_eq!(reasons, ["http 503", "ice: consent expired", "too late"]);
        assert_eq!(ledger.joining_time(), Some(Duration::from_millis(101)));
    }

    #[test]
    fn what_we_close_ourselves_is_no_failure() {
        let mut ledger = Ledger::default();
        ledger.begin(ms(0), 0);
        ledger.note(ms(1), 0, Event::Connected);

        ledger.note(ms(2), 0, Event::Closed(CloseReason::Closed));

        assert_eq!((ledger.connected(), ledger.failed()), (1, 0));
    }
}
