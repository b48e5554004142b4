//! Whether the path or the application limits what is sent: the sent rate against the estimate.

use std::time::Duration;

use rtp::MonoTime;

use crate::Bitrate;

/// How long the sent rate is measured.
const SPAN: Duration = Duration::from_millis(500);

/// Below this part of the estimate the application limits; above that part it does no longer.
const ENTER: f64 = 0.65;
const LEAVE: f64 = 0.8;

/// What is being sent, what every packet adds to first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Demand {
    bytes: u64,
    began: MonoTime,
    rate: Option<Bitrate>,
    limited: bool,
}

impl Demand {
    pub(super) const fn new(now: MonoTime) -> Self {
        Self { began: now, bytes: 0, rate: None, limited: false }
    }

    pub(super) const fn warm(&self) -> u64 {
        self.bytes
    }

    /// Counts a packet.
    pub(super) const fn add(&mut self, size: u16) {
        self.bytes = self.bytes.saturating_add(size as u64);
    }

    /// Ends the measurement when it is long enough.
    pub(super) fn update(&mut self, now: MonoTime, estimate: Bitrate) {
        let elapsed = now.since(self.began);
        if elapsed < SPAN {
            return;
        }
        let rate = Bitrate::of(self.bytes, elapsed);
        self.limited = rate < estimate.scaled(if self.limited { LEAVE } else { ENTER });
        self.rate = Some(rate);
        self.began = now;
        self.bytes = 0;
    }

    /// Says whether less is sent than the estimate allows.
    pub(super) const fn is_limited(&self) -> bool {
        self.limited
    }

    /// Returns the rate sent in the last whole measurement.
    pub(super) const fn rate(&self) -> Option<Bitrate> {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_limits_while_it_sends_well_below_the_estimate() {
        let mut demand = Demand::new(MonoTime::ZERO);
        let mut limited = Vec::new();

        for (second, kbps) in [(1, 600), (2, 700), (3, 850), (4, 700)] {
            (0..kbps).for_each(|_| demand.add(125));
            demand.update(MonoTime::from_millis(second * 1_000), Bitrate::from_kbps(1_000));
            limited.push(demand.is_limited());
        }

        assert_eq!(limited, [true, true, false, false]);
        assert_eq!(demand.rate(), Some(Bitrate::from_kbps(700)));
    }
}
