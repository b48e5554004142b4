//! A rate of bytes on the wire, as estimates, layers and budgets are compared.

use std::time::Duration;

/// Bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Nothing at all.
    pub const ZERO: Self = Self(0);

    /// Makes a rate from bits per second.
    #[must_use]
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// Makes a rate from thousands of bits per second; saturates.
    #[must_use]
    pub const fn from_kbps(kbps: u64) -> Self {
        Self(kbps.saturating_mul(1_000))
    }

    /// Returns the rate at which `bytes` pass in `span`; a span of nothing counts as a microsecond.
    #[must_use]
    pub fn of(bytes: u64, span: Duration) -> Self {
        let micros = span.as_micros().max(1);
        let bps = u128::from(bytes).saturating_mul(8_000_000) / micros;
        Self(u64::try_from(bps).unwrap_or(u64::MAX))
    }

    /// Returns bits per second.
    #[must_use]
    pub const fn as_bps(self) -> u64 {
        self.0
    }

    /// Returns the bytes that pass in `span`, rounded down.
    #[must_use]
    pub fn bytes_in(self, span: Duration) -> u64 {
        let bytes = u128::from(self.0).saturating_mul(span.as_micros()) / 8_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Returns how long `bytes` take; [`Duration::MAX`] at a rate of zero.
    #[must_use]
    pub fn time_for(self, bytes: u64) -> Duration {
        match u128::from(bytes).saturating_mul(8_000_000).checked_div(u128::from(self.0)) {
            Some(micros) => Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)),
            None => Duration::MAX,
        }
    }

    /// Returns the rate times `factor`, rounded towards zero; a factor below zero gives zero.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor) as u64)
    }

    /// Returns the sum; saturates.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_spans_and_rates_agree() {
        let rate = Bitrate::from_kbps(1_000);

        assert_eq!(rate.bytes_in(Duration::from_millis(8)), 1_000);
        assert_eq!(rate.time_for(1_000), Duration::from_millis(8));
        assert_eq!(Bitrate::of(1_000, Duration::from_millis(8)), rate);
    }

    #[test]
    fn extremes_saturate() {
        assert_eq!(Bitrate::ZERO.time_for(1), Duration::MAX);
        assert_eq!(Bitrate::of(u64::MAX, Duration::ZERO).as_bps(), u64::MAX);
        assert_eq!(Bitrate::from_bps(u64::MAX).scaled(2.0).as_bps(), u64::MAX);
        assert_eq!(Bitrate::from_bps(9).scaled(-1.0), Bitrate::ZERO);
    }
}
