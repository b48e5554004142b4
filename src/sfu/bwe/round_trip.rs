//! How long an answer takes at least: the shortest round trip lately. Packet path.

use std::time::Duration;

use rtp::MonoTime;

/// The shortest round trip of the last seconds.
#[derive(Debug, Default)]
pub(super) struct RoundTrip {
    shortest: Option<Duration>,
    before: Option<Duration>,
    began: MonoTime,
}

impl RoundTrip {
    /// Takes a sample.
    pub(super) fn add(&mut self, now: MonoTime, sample: Duration) {
        let sample = sample.min(RTT_MAX);
        if now.since(self.began) > RTT_SPAN {
            self.before = self.shortest.take();
            self.began = now;
        }
        self.shortest = Some(self.shortest.map_or(sample, |shortest| shortest.min(sample)));
    }

    /// Returns the shortest of the last five to ten seconds.
    pub(super) const fn shortest(&self) -> Option<Duration> {
        match (self.shortest, self.before) {
            (Some(now), Some(before)) => Some(if now.as_nanos() < before.as_nanos() { now } else { before }),
            (Some(one), None) | (None, Some(one)) => Some(one),
            (None, None) => None,
        }
    }
}

/// The longest that is believed, and how long the shortest counts at least.
const RTT_MAX: Duration = Duration::from_secs(2);
const RTT_SPAN: Duration = Duration::from_secs(5);
