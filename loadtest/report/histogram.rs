//! Percentiles of very many durations in little memory: buckets that widen with their value.

use std::time::Duration;

/// A histogram of durations from a microsecond to over an hour, with an error under 1.6 %.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// Makes an empty histogram.
    #[must_use]
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }

    /// Notes a duration.
    pub fn note(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(micros)) {
            *count = count.saturating_add(1);
            self.total = self.total.saturating_add(1);
        }
    }

    /// Adds what another one noted.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.total = self.total.saturating_add(other.total);
    }

    /// Returns how many were noted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// Returns the duration that this share of them, in thousandths, does not exceed; `None` when it is empty.
    #[must_use]
    pub fn per_mille(&self, share: u64) -> Option<Duration> {
        let rank = self.total.saturating_mul(share).div_ceil(1_000).max(1);
        let mut seen = 0_u64;
        let index = self.counts.iter().position(|count| {
            seen = seen.saturating_add(*count);
            seen >= rank
        });
        index.filter(|_| self.total > 0).map(|index| Duration::from_micros(middle(index)))
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// Values below 64 have a bucket each; of every further doubling there are 32.
fn bucket(micros: u64) -> usize {
    let exponent = u64::from(micros.max(1).ilog2());
    let doublings = exponent.saturating_sub(EXACT_BITS);
    let index = doublings.saturating_mul(STEPS).saturating_add(micros >> doublings);
    usize::try_from(index).unwrap_or(usize::MAX).min(BUCKETS.saturating_sub(1))
}

/// The middle of a bucket, in microseconds.
fn middle(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or(0);
    let doublings = (index / STEPS).saturating_sub(1);
    let low = index.saturating_sub(doublings.saturating_mul(STEPS)) << doublings;
    low.saturating_add((1_u64 << doublings) >> 1)
}

/// Below 2 to this plus one every value is exact.
const EXACT_BITS: u64 = 5;
const STEPS: u64 = 1 << EXACT_BITS;
/// Up to 2^32 µs.
const BUCKETS: usize = 28 * 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_their_error() {
        let mut histogram = Histogram::new();
        for micros in 1..=100_000 {
            histogram.note(Duration::from_micros(micros));
        }

        for (share, expected) in [(500, 50_000.0), (950, 95_000.0), (990, 99_000.0), (1, 100.0)] {
            let found = histogram.per_mille(share).unwrap().as_micros() as f64;
            assert!((found / expected - 1.0).abs() < 0.016, "{share}: {found}");
        }
        assert_eq!(histogram.count(), 100_000);
    }

    #[test]
    fn every_value_falls_into_a_bucket_around_it() {
        for micros in (0..64).chain((6..31).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 7])) {
            let around = middle(bucket(micros));
            assert!(around.abs_diff(micros) as f64 <= micros as f64 / 60.0, "{micros}: {around}");
        }
    }

    #[test]
    fn an_empty_histogram_has_no_percentile() {
        assert_eq!(Histogram::new().per_mille(500), None);
    }

    #[test]
    fn what_is_beyond_the_last_bucket_counts_there() {
        let mut histogram = Histogram::new();
        histogram.note(Duration::from_secs(1_000_000));

        assert!(histogram.per_mille(500).unwrap() > Duration::from_secs(3_000));
    }

    #[test]
    fn merging_adds() {
        let (mut one, mut other) = (Histogram::new(), Histogram::new());
        one.note(Duration::from_micros(10));
        other.note(Duration::from_micros(20));
        one.merge(&other);

        assert_eq!(one.count(), 2);
        assert_eq!(one.per_mille(1_000), Some(Duration::from_micros(20)));
    }
}
