//! When which session wants to be called again.
//!
//! A heap of deadlines with lazy removal: a session is in it at most a few times, an entry that no longer matches the
//! session's own note is ignored when it comes up. After warm-up it allocates nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rtp::MonoTime;

use super::table::SessionKey;

/// Deadlines of sessions, soonest first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(MonoTime, SessionKey)>>,
}

impl Timers {
    /// Notes a deadline.
    pub(super) fn schedule(&mut self, at: MonoTime, key: SessionKey) {
        self.heap.push(Reverse((at, key)));
    }

    /// Takes the next deadline that has come.
    pub(super) fn pop_due(&mut self, now: MonoTime) -> Option<(MonoTime, SessionKey)> {
        let Reverse((at, key)) = *self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        Some((at, key))
    }

    /// Returns the soonest deadline.
    pub(super) fn next(&self) -> Option<MonoTime> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}
