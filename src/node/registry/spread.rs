//! How many viewers each shard has, and which one gets the next.
//!
//! The kernel spreads addresses over the shards' sockets by chance, and of a few hundred viewers chance gives one of two
//! shards a fifth more than the other. A viewer stays where its first check arrived, so that its datagrams need no hop,
//! unless that shard already has noticeably more than another one: then it goes to the one with the fewest.

use super::ShardId;

/// The viewers of each shard; none of a shard that has stopped.
#[derive(Debug)]
pub(super) struct Spread {
    shards: Box<[Option<usize>]>,
}

impl Spread {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards: vec![Some(0); shards].into_boxed_slice() }
    }

    /// Returns the shard for a viewer whose first check arrived at `reached`, and counts it there.
    pub(super) fn enter(&mut self, reached: ShardId) -> ShardId {
        let shard = self.home(reached);
        self.count(shard, |viewers| viewers.saturating_add(1));
        shard
    }

    /// Counts a viewer less.
    pub(super) fn leave(&mut self, shard: ShardId) {
        self.count(shard, |viewers| viewers.saturating_sub(1));
    }

    /// Gives a shard that has stopped nobody any more.
    pub(super) fn lose(&mut self, shard: ShardId) {
        if let Some(place) = self.shards.get_mut(shard) {
            *place = None;
        }
    }

    fn home(&self, reached: ShardId) -> ShardId {
        let running =
            || self.shards.iter().enumerate().filter_map(|(shard, viewers)| viewers.zip(Some(shard)));
        let Some((fewest, emptiest)) = running().min() else { return reached };
        let all: usize = running().map(|(viewers, _)| viewers).sum();
        let apart_max = (all / running().count().max(1) / APART_PART).max(APART_MIN);
        match self.shards.get(reached).copied().flatten() {
            Some(here) if here < fewest.saturating_add(apart_max) => reached,
            _ => emptiest,
        }
    }

    fn count(&mut self, shard: ShardId, change: impl FnOnce(usize) -> usize) {
        if let Some(Some(viewers)) = self.shards.get_mut(shard) {
            *viewers = change(*viewers);
        }
    }
}

/// Shards may be apart by this part of what they have on the average: less costs hops, and gains nothing that a shard
/// would feel.
const APART_PART: usize = 16;

/// So many viewers more are never too many.
const APART_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_stays_where_it_arrived_while_shards_are_alike() {
        let mut spread = Spread::new(2);

        assert_eq!([0, 0, 1, 1, 0, 1].map(|reached| spread.enter(reached)), [0, 0, 1, 1, 0, 1]);
    }

    #[test]
    fn however_they_arrive_shards_have_alike_many() {
        let mut spread = Spread::new(4);

        for _ in 0..1_000 {
            spread.enter(3);
        }

        let shards: Vec<usize> = spread.shards.iter().copied().flatten().collect();
        assert_eq!(shards.iter().sum::<usize>(), 1_000);
        assert!(shards.iter().all(|viewers| (235..=265).contains(viewers)), "{shards:?}");
    }

    #[test]
    fn who_leaves_makes_room_for_another() {
        let mut spread = Spread::new(2);
        let entered: Vec<ShardId> = (0..5).map(|_| spread.enter(0)).collect();
        assert_eq!(entered, [0, 0, 1, 0, 1]);

        spread.leave(0);

        assert_eq!(spread.enter(0), 0);
    }

    #[test]
    fn a_shard_that_has_stopped_gets_nobody() {
        let mut spread = Spread::new(3);
        spread.lose(1);

        let entered: Vec<ShardId> = (0..9).map(|number| spread.enter(number % 3)).collect();

        assert!(!entered.contains(&1), "{entered:?}");
    }

    #[test]
    fn where_no_shard_runs_any_more_nothing_is_decided() {
        let mut spread = Spread::new(1);
        spread.lose(0);

        assert_eq!(spread.enter(0), 0);
    }
}
