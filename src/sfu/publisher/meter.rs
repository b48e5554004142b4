//! How much a layer brings: bits and frames a second. Packet path.

use std::time::Duration;

use rtp::MonoTime;

/// How long one measurement lasts.
const WINDOW: Duration = Duration::from_secs(1);

/// The rate of one layer, measured over windows of a second.
#[derive(Debug, Default)]
pub(super) struct Meter {
    began: Option<MonoTime>,
    bytes: u64,
    frames: u32,
    bitrate_bps: u64,
    frames_per_second: f32,
}

impl Meter {
    /// Counts one packet.
    pub(super) fn add(&mut self, now: MonoTime, bytes: usize, begins_frame: bool) {
        self.began.get_or_insert(now);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.frames = self.frames.saturating_add(u32::from(begins_frame));
    }

    /// Ends the window when it is over; true when it ended.
    pub(super) fn handle_timeout(&mut self, now: MonoTime) -> bool {
        let Some(began) = self.began else { return false };
        let elapsed = now.since(began);
        if elapsed < WINDOW {
            return false;
        }
        let bits = u128::from(self.bytes).saturating_mul(8);
        let millis = elapsed.as_millis().max(1);
        self.bitrate_bps = u64::try_from(bits.saturating_mul(1_000) / millis).unwrap_or(u64::MAX);
        self.frames_per_second =
            Duration::from_secs(u64::from(self.frames)).as_secs_f32() / elapsed.as_secs_f32();
        // A layer that fell silent stops its windows with one that counted nothing.
        self.began = (self.bytes > 0).then_some(now);
        self.bytes = 0;
        self.frames = 0;
        true
    }

    /// Returns when the window ends.
    pub(super) fn next_timeout(&self) -> Option<MonoTime> {
        self.began.map(|began| began + WINDOW)
    }

    /// Returns bits per second in the last whole window.
    pub(super) const fn bitrate_bps(&self) -> u64 {
        self.bitrate_bps
    }

    /// Returns frames per second in the last whole window.
    pub(super) const fn frames_per_second(&self) -> f32 {
        self.frames_per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_second_of_packets_reads_as_its_bits_and_frames() {
        let mut meter = Meter::default();
        for packet in 0..100 {
            meter.add(MonoTime::from_millis(packet * 10), 1_000, packet % 4 == 0);
        }

        assert!(!meter.handle_timeout(MonoTime::from_millis(999)));
        assert!(meter.handle_timeout(MonoTime::from_millis(1_000)));

        assert_eq!(meter.bitrate_bps(), 800_000);
        assert!((meter.frames_per_second() - 25.0).abs() < 0.01);
    }

    #[test]
    fn silent_layer_reads_zero_and_then_needs_no_timer() {
        let mut meter = Meter::default();
        meter.add(MonoTime::from_millis(0), 1_000, true);

        meter.handle_timeout(MonoTime::from_millis(1_000));
        assert_eq!(meter.next_timeout(), Some(MonoTime::from_millis(2_000)));
        meter.handle_timeout(MonoTime::from_millis(2_000));

        assert_eq!((meter.bitrate_bps(), meter.next_timeout()), (0, None));
    }
}
