//! Which layers of a room somebody wants, over all shards.
//!
//! Think of a table with a row per shard, which says once a second what its viewers want. A layer is wanted as soon as
//! one row says so, and no longer when no row has said so for [`UNWANTED_AFTER`]: a publisher who stops sending it needs a
//! moment and a keyframe to begin again. Before the first row nobody knows, and everything is wanted.

use rtp::MonoTime;
use sfu::track::{LayerIndex, MAX_LAYERS};
use std::time::Duration;

use crate::node::SHARDS_MAX;
use crate::registry::ShardId;

/// Layers of one track, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerSet(u8);

impl LayerSet {
    /// Every layer that a track can have.
    pub(crate) const ALL: Self = Self((1 << MAX_LAYERS) - 1);

    /// Makes a set of the layers for which `holds` is true.
    pub(crate) fn of(holds: impl Fn(LayerIndex) -> bool) -> Self {
        let bits = layers().filter(|layer| holds(*layer)).map(|layer| 1 << layer.0);
        Self(bits.sum())
    }

    /// Returns the layers of either set.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Says whether every layer of another set is in this one.
    pub(crate) const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Says whether a layer is in the set.
    pub(crate) const fn has(self, layer: LayerIndex) -> bool {
        self.0 & (1 << layer.0) != 0
    }
}

/// What is wanted of one room, where its publisher is.
#[derive(Debug)]
pub(super) struct WantedLayers {
    /// What each shard said last, and when.
    said: [Option<(MonoTime, LayerSet)>; SHARDS_MAX],
    /// When each layer was wanted last.
    wanted_at: [Option<MonoTime>; MAX_LAYERS],
    /// What was told last.
    told: Option<LayerSet>,
}

impl Default for WantedLayers {
    fn default() -> Self {
        Self { said: [None; SHARDS_MAX], wanted_at: [None; MAX_LAYERS], told: None }
    }
}

impl WantedLayers {
    /// Takes what the viewers of one shard want.
    pub(super) fn note(&mut self, now: MonoTime, shard: ShardId, layers: LayerSet) {
        if let Some(row) = self.said.get_mut(shard) {
            *row = Some((now, layers));
        }
    }

    /// Returns the next layer of which something is to be told: that it is wanted, or that it no longer is.
    pub(super) fn poll(&mut self, now: MonoTime) -> Option<(LayerIndex, bool)> {
        let told = *self.told.get_or_insert(LayerSet::ALL);
        let present = |said: &Option<(MonoTime, LayerSet)>| {
            said.filter(|(at, _)| now.since(*at) < ROW_LASTS).map(|(_, layers)| layers)
        };
        let wanted = self.said.iter().filter_map(present).fold(LayerSet::default(), LayerSet::with);
        for (layer, wanted_at) in layers().zip(&mut self.wanted_at) {
            let last = *wanted_at.get_or_insert(now);
            if wanted.has(layer) {
                *wanted_at = Some(now);
            }
            let holds = wanted.has(layer) || now.since(last) < UNWANTED_AFTER;
            if holds != told.has(layer) {
                self.told = Some(LayerSet(told.0 ^ (1 << layer.0)));
                return Some((layer, holds));
            }
        }
        None
    }
}

fn layers() -> impl Iterator<Item = LayerIndex> {
    // Four layers fit 8 bits.
    (0..MAX_LAYERS as u8).map(LayerIndex)
}

/// How long nobody must want a layer before that is told: longer than a path wavers.
const UNWANTED_AFTER: Duration = Duration::from_secs(10);

/// A shard that has said nothing for so long has no viewers.
const ROW_LASTS: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_millis(seconds * 1_000)
    }

    fn set(wanted: [bool; 4]) -> LayerSet {
        LayerSet::of(|layer| wanted[usize::from(layer.0)])
    }

    /// Lets seconds pass in which the shards say the same each second.
    fn told(
        wanted: &mut WantedLayers,
        seconds: std::ops::Range<u64>,
        rows: &[LayerSet],
    ) -> Vec<(u64, u8, bool)> {
        let mut told = Vec::new();
        for second in seconds {
            rows.iter().enumerate().for_each(|(shard, row)| wanted.note(at(second), shard, *row));
            while let Some((layer, holds)) = wanted.poll(at(second)) {
                told.push((second, layer.0, holds));
            }
        }
        told
    }

    #[test]
    fn a_layer_that_no_shard_wants_is_told_after_ten_seconds_and_at_once_when_one_does_again() {
        let mut wanted = WantedLayers::default();
        let (low, high) = (set([true, false, false, false]), set([false, false, true, false]));

        let first = told(&mut wanted, 0..30, &[low, high]);
        assert_eq!(first, [(10, 1, false), (10, 3, false)]);

        assert_eq!(told(&mut wanted, 30..60, &[low, low]), [(39, 2, false)]);
        assert_eq!(told(&mut wanted, 60..70, &[high, low]), [(60, 2, true)]);
    }

    #[test]
    fn a_set_covers_what_it_holds_and_nothing_more() {
        let (low, both) = (set([true, false, false, false]), set([true, false, true, false]));

        assert!(both.covers(low) && low.covers(low) && low.covers(LayerSet::default()));
        assert!(!low.covers(both));
    }

    #[test]
    fn who_wavers_turns_nothing_off() {
        let mut wanted = WantedLayers::default();
        let (low, both) = (set([true, false, false, false]), set([true, true, true, true]));

        for round in 0..20 {
            let rows = if round % 2 == 0 { [low] } else { [both] };
            assert_eq!(told(&mut wanted, round * 8..round * 8 + 8, &rows), []);
        }
    }

    #[test]
    fn a_shard_that_falls_silent_counts_no_more() {
        let mut wanted = WantedLayers::default();
        assert_eq!(told(&mut wanted, 0..5, &[set([true; 4])]), []);

        assert_eq!(told(&mut wanted, 5..20, &[]).len(), 4);
    }
}
