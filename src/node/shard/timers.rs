//! When which session wants to be called again: a timer wheel.
//!
//! Think of two clock faces. The near one has a slot for every millisecond of the next second, the far one a slot for
//! every second of the next minute; as time enters a second, its slot is dealt out to the near face. Noting a deadline
//! and taking one are O(1), whatever the number of sessions. Deadlines are never removed: an entry that no longer
//! matches the session's own note is ignored when it comes up.
//!
//! Invariants: a deadline comes up at its time or up to one millisecond later, never before; after warm-up nothing is
//! allocated.

use rtp::MonoTime;

use super::table::SessionKey;

/// Deadlines of sessions.
#[derive(Debug)]
pub(super) struct Timers {
    /// The tick up to which everything has been taken.
    now: u64,
    near: Face<NEAR_SLOTS>,
    far: Face<FAR_SLOTS>,
    entries: Entries,
}

impl Default for Timers {
    fn default() -> Self {
        Self { now: 0, near: Face::new(), far: Face::new(), entries: Entries::default() }
    }
}

impl Timers {
    /// Notes a deadline. One beyond the far face is moved to its end, where it comes up too early and is noted again.
    pub(super) fn schedule(&mut self, at: MonoTime, key: SessionKey) {
        let tick = tick_at_or_after(at).max(self.now);
        self.place(Entry { tick, at, key, next: NONE });
    }

    /// Takes a deadline that has come, in the order of milliseconds.
    pub(super) fn pop_due(&mut self, now: MonoTime) -> Option<(MonoTime, SessionKey)> {
        let last = tick_before(now);
        loop {
            if let Some(entry) = self.near.pop(self.now, &mut self.entries) {
                return Some((entry.at, entry.key));
            }
            let next = self.next_tick().filter(|next| *next <= last)?;
            self.advance(next);
        }
    }

    /// Returns when [`Self::pop_due`] is worth a call; at most a far slot too early.
    pub(super) fn next(&self) -> Option<MonoTime> {
        self.next_tick().map(|tick| MonoTime::from_nanos(tick.saturating_mul(TICK_NANOS)))
    }

    /// The tick of the first near slot that holds something, or the one at which the first far slot is dealt out.
    fn next_tick(&self) -> Option<u64> {
        let far = self.far.first(self.now / NEAR_SLOTS as u64 + 1).map(|slot| slot * NEAR_SLOTS as u64);
        let near = self.near.first(self.now);
        match (near, far) {
            (Some(near), Some(far)) => Some(near.min(far)),
            (near, far) => near.or(far),
        }
    }

    /// Moves to a tick, dealing out the far slot that it enters.
    fn advance(&mut self, tick: u64) {
        let entered = tick / NEAR_SLOTS as u64;
        let is_new = entered != self.now / NEAR_SLOTS as u64;
        self.now = tick;
        if !is_new {
            return;
        }
        while let Some(entry) = self.far.pop(entered, &mut self.entries) {
            self.place(entry);
        }
    }

    fn place(&mut self, entry: Entry) {
        let (slot, present) = (entry.tick / NEAR_SLOTS as u64, self.now / NEAR_SLOTS as u64);
        if slot <= present {
            self.near.push(entry.tick, entry, &mut self.entries);
        } else {
            let last = present + FAR_SLOTS as u64 - 1;
            self.far.push(slot.min(last), entry, &mut self.entries);
        }
    }
}

/// One clock face: lists of entries by slot, and a bit for each slot that holds something.
#[derive(Debug)]
struct Face<const SLOTS: usize> {
    heads: Box<[u32]>,
    occupied: Box<[u64]>,
}

impl<const SLOTS: usize> Face<SLOTS> {
    fn new() -> Self {
        Self {
            heads: vec![NONE; SLOTS].into_boxed_slice(),
            occupied: vec![0; SLOTS.div_ceil(BITS)].into_boxed_slice(),
        }
    }

    fn push(&mut self, slot: u64, entry: Entry, entries: &mut Entries) {
        let index = index::<SLOTS>(slot);
        let Some(head) = self.heads.get_mut(index) else { return };
        *head = entries.insert(Entry { next: *head, ..entry });
        if let Some(word) = self.occupied.get_mut(index / BITS) {
            *word |= 1 << (index % BITS);
        }
    }

    fn pop(&mut self, slot: u64, entries: &mut Entries) -> Option<Entry> {
        let index = index::<SLOTS>(slot);
        let head = self.heads.get_mut(index).filter(|head| **head != NONE)?;
        let entry = entries.remove(*head)?;
        *head = entry.next;
        if entry.next == NONE
            && let Some(word) = self.occupied.get_mut(index / BITS)
        {
            *word &= !(1 << (index % BITS));
        }
        Some(entry)
    }

    /// Returns the first slot from `from` on that holds something, within one turn of the face.
    fn first(&self, from: u64) -> Option<u64> {
        let start = index::<SLOTS>(from);
        let words = self.occupied.len();
        for step in 0..=words {
            let place = (start / BITS + step) % words;
            let mut word = *self.occupied.get(place)?;
            // The first word is looked at twice: from the start on, and at the end up to the start.
            if step == 0 {
                word &= u64::MAX << (start % BITS);
            } else if step == words {
                word &= !(u64::MAX << (start % BITS));
            }
            if word != 0 {
                let found = place * BITS + word.trailing_zeros() as usize;
                let ahead = (found + SLOTS - start) % SLOTS;
                return Some(from + ahead as u64);
            }
        }
        None
    }
}

const fn index<const SLOTS: usize>(slot: u64) -> usize {
    // Below `SLOTS`, which is a `usize`.
    (slot % SLOTS as u64) as usize
}

/// One deadline.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tick: u64,
    at: MonoTime,
    key: SessionKey,
    next: u32,
}

/// Entries in one block, with a list of the free ones: a session has few, and they are used again.
#[derive(Debug)]
struct Entries {
    places: Vec<Entry>,
    free: u32,
}

impl Default for Entries {
    fn default() -> Self {
        Self { places: Vec::new(), free: NONE }
    }
}

impl Entries {
    fn insert(&mut self, entry: Entry) -> u32 {
        let number = self.free;
        if let Some(place) = self.places.get_mut(number as usize) {
            self.free = place.next;
            *place = entry;
            return number;
        }
        self.places.push(entry);
        u32::try_from(self.places.len() - 1).unwrap_or(NONE)
    }

    fn remove(&mut self, number: u32) -> Option<Entry> {
        let place = self.places.get_mut(number as usize)?;
        let entry = *place;
        place.next = self.free;
        self.free = number;
        Some(entry)
    }
}

fn tick_at_or_after(at: MonoTime) -> u64 {
    at.as_nanos().div_ceil(TICK_NANOS)
}

const fn tick_before(now: MonoTime) -> u64 {
    now.as_nanos() / TICK_NANOS
}

/// One millisecond: what the kernel's event queue can wait for.
const TICK_NANOS: u64 = 1_000_000;
/// A bit more than a second of ticks.
const NEAR_SLOTS: usize = 1_024;
/// A bit more than a minute of near faces: consent ends after 30 s.
const FAR_SLOTS: usize = 64;
const BITS: usize = 64;
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(index: u32) -> SessionKey {
        SessionKey::at(index)
    }

    #[test]
    fn deadlines_come_up_at_their_millisecond_and_not_before() {
        let mut timers = Timers::default();
        let start = MonoTime::from_millis(1_000);
        for (index, wait) in [(1, 5), (2, 700), (3, 1_500), (4, 30_000), (5, 5)] {
            timers.schedule(start + Duration::from_millis(wait), key(index));
        }

        let mut seen = Vec::new();
        for elapsed in 0..31_000 {
            let now = start + Duration::from_millis(elapsed);
            while let Some((at, key)) = timers.pop_due(now) {
                assert!(at <= now, "{at:?} came up at {now:?}");
                seen.push((elapsed, key));
            }
        }

        seen.sort_unstable();
        let expected = [(5, key(1)), (5, key(5)), (700, key(2)), (1_500, key(3)), (30_000, key(4))];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_late_call_takes_everything_that_was_missed() {
        let mut timers = Timers::default();
        for index in 0..1_000 {
            timers.schedule(MonoTime::from_millis(u64::from(index) * 37), key(index));
        }

        let now = MonoTime::from_millis(60_000);
        let mut taken: Vec<SessionKey> =
            std::iter::from_fn(|| timers.pop_due(now)).map(|(_, key)| key).collect();

        taken.sort_unstable();
        assert_eq!(taken, (0..1_000).map(key).collect::<Vec<_>>());
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_deadline_in_the_past_comes_up_at_once() {
        let mut timers = Timers::default();
        let now = MonoTime::from_millis(5_000);
        assert_eq!(timers.pop_due(now), None);

        timers.schedule(MonoTime::from_millis(10), key(1));

        assert!(timers.next().is_some_and(|at| at <= now));
        assert_eq!(timers.pop_due(now), Some((MonoTime::from_millis(10), key(1))));
    }

    #[test]
    fn nobody_sleeps_past_a_deadline() {
        let mut timers = Timers::default();
        let mut now = MonoTime::from_millis(1_000);
        let mut state: u64 = 7;
        let mut due = std::collections::BTreeMap::new();
        for round in 0..3_000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let wait = Duration::from_micros((state >> 33) % 70_000_000);
            timers.schedule(now + wait, key(round));
            due.insert(round, now + wait);
            // Sleeps as long as it is told, and a random bit less or more.
            let asked = timers.next().unwrap();
            let nap = asked.since(now).min(Duration::from_millis(3));
            now = now + nap + Duration::from_nanos((state >> 40) % 100_000);
            while let Some((at, key)) = timers.pop_due(now) {
                assert!(at <= now);
                due.remove(&key.place());
            }
            let overdue = due.values().filter(|at| now.since(**at) > Duration::from_millis(1)).count();
            assert_eq!(overdue, 0, "in round {round}");
        }
        assert!(due.len() > 100, "the test lost its waiting deadlines");
    }

    #[test]
    fn places_are_used_again() {
        let mut timers = Timers::default();
        for round in 0..10_000 {
            let now = MonoTime::from_millis(round);
            timers.schedule(now + Duration::from_millis(3), key(1));
            while timers.pop_due(now).is_some() {}
        }

        assert!(timers.entries.places.len() <= 8, "{} places", timers.entries.places.len());
    }
}
