//! Which other shards have viewers in which room, as they say once a second.
//!
//! A shard that has not said so for a while has none: its word that the last viewer left may have been lost at a full
//! mailbox. Invariant: a room of which nobody says anything is forgotten.

use std::collections::HashMap;
use std::time::Duration;

use rtp::MonoTime;

use crate::name::RoomId;
use crate::node::SHARDS_MAX;
use crate::registry::ShardId;

/// Shards as bits.
#[derive(Clone, Copy, Debug, Default)]
struct Interested {
    /// Who has viewers.
    now: u64,
    /// Who of them has said so since the silent ones were last forgotten.
    repeated: u64,
}

/// The shards by room; kept for every room, for its publisher may come here later.
#[derive(Debug)]
pub(super) struct Interests {
    rooms: HashMap<RoomId, Interested>,
    forgotten: MonoTime,
}

impl Interests {
    pub(super) fn new(now: MonoTime) -> Self {
        Self { rooms: HashMap::new(), forgotten: now }
    }

    /// Notes that a shard has viewers in a room. Says whether that is new.
    pub(super) fn add(&mut self, room: RoomId, shard: ShardId) -> bool {
        let interested = self.rooms.entry(room).or_default();
        let is_new = interested.now & (1 << shard) == 0;
        interested.now |= 1 << shard;
        interested.repeated |= 1 << shard;
        is_new
    }

    /// Notes that a shard has no viewers in a room.
    pub(super) fn remove(&mut self, room: RoomId, shard: ShardId) {
        let Some(interested) = self.rooms.get_mut(&room) else { return };
        interested.now &= !(1 << shard);
        interested.repeated &= !(1 << shard);
        if interested.now == 0 {
            self.rooms.remove(&room);
        }
    }

    /// Forgets who has said nothing for [`SILENCE_MAX`], or at most twice that.
    pub(super) fn forget_silent(&mut self, now: MonoTime) {
        if now.since(self.forgotten) < SILENCE_MAX {
            return;
        }
        self.forgotten = now;
        self.rooms.retain(|_, interested| {
            interested.now = std::mem::take(&mut interested.repeated);
            interested.now != 0
        });
    }

    /// Returns the shards with viewers in a room.
    pub(super) fn shards(&self, room: RoomId) -> impl Iterator<Item = ShardId> + use<> {
        let mask = self.rooms.get(&room).map_or(0, |interested| interested.now);
        (0..SHARDS_MAX).filter(move |shard| mask & (1 << shard) != 0)
    }
}

/// Eight repeats; that many are not lost in a row while a shard has time for its viewers.
const SILENCE_MAX: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomId = RoomId(7);

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_millis(seconds * 1_000)
    }

    fn shards(interests: &Interests) -> Vec<ShardId> {
        interests.shards(ROOM).collect()
    }

    #[test]
    fn only_the_first_word_of_a_shard_is_new_until_it_takes_it_back() {
        let mut interests = Interests::new(at(0));

        assert!(interests.add(ROOM, 3) && interests.add(ROOM, 63));
        assert!(!interests.add(ROOM, 3));
        interests.remove(ROOM, 3);
        assert_eq!(shards(&interests), [63]);
        assert!(interests.add(ROOM, 3));
    }

    #[test]
    fn who_falls_silent_is_forgotten_within_two_spans_and_the_others_stay() {
        let mut interests = Interests::new(at(0));
        interests.add(ROOM, 1);
        let mut known = Vec::new();

        for second in 0..17 {
            interests.add(ROOM, 2);
            interests.forget_silent(at(second));
            known.push(shards(&interests));
        }

        assert_eq!(known[8], [1, 2]);
        assert_eq!(known[16], [2]);
    }

    #[test]
    fn a_room_of_which_nobody_speaks_leaves_no_trace() {
        let mut interests = Interests::new(at(0));
        interests.add(ROOM, 1);
        interests.add(RoomId(8), 2);

        interests.remove(RoomId(8), 2);
        interests.remove(RoomId(9), 2);
        interests.forget_silent(at(8));
        interests.forget_silent(at(16));

        assert!(interests.rooms.is_empty());
    }
}
