//! How many temporal layers a layer has, and what part of its rate the lower ones take.
//!
//! Packet path. Encoders divide a rate in their own ways: of three layers the lowest takes 40 % in VP8 and more than half
//! in VP9. So it is counted, over the last four to eight seconds.

use std::time::Duration;

use rtp::MonoTime;

use crate::packet::Packet;

/// The temporal layers of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temporal {
    /// How many there are; 1 without any.
    pub layers: u8,
    /// The part of the whole rate that goes out up to the first and up to the second, in thousandths.
    pub parts: [u16; 2],
}

impl Temporal {
    /// A layer without temporal layers.
    pub const ONE: Self = Self::usual(1);

    /// Returns so many temporal layers, with the parts that encoders usually give them.
    #[must_use]
    pub const fn usual(layers: u8) -> Self {
        let parts = match layers {
            0 | 1 => [1_000, 1_000],
            2 => [600, 1_000],
            _ => [400, 600],
        };
        Self { layers, parts }
    }

    /// Returns the parts of the lower temporal layers, each without what is above it.
    pub fn lower(self) -> impl Iterator<Item = f64> {
        let below = usize::from(self.layers.saturating_sub(1));
        self.parts.into_iter().take(below).map(|part| f64::from(part) / 1_000.0)
    }
}

/// Counts what goes into which temporal layer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Bytes by temporal layer, in the running span and in the one before.
    bytes: [[u64; LAYERS]; 2],
    began: Option<MonoTime>,
    /// Whether there is a whole span, or as much of the first as says something.
    is_known: bool,
}

impl Tally {
    /// Counts a packet.
    pub(super) fn add(&mut self, packet: &Packet) {
        let began = *self.began.get_or_insert(packet.arrival);
        let elapsed = packet.arrival.since(began);
        self.is_known |= elapsed >= KNOWN_AFTER;
        if elapsed >= SPAN {
            let [running, _] = self.bytes;
            self.bytes = [[0; LAYERS], running];
            self.began = Some(packet.arrival);
        }
        let [running, _] = &mut self.bytes;
        let layer = usize::from(packet.descriptor.temporal).min(LAYERS - 1);
        if let Some(bytes) = running.get_mut(layer) {
            *bytes = bytes.saturating_add(u64::try_from(packet.payload().len()).unwrap_or(0));
        }
    }

    /// Returns what was found.
    pub(super) fn temporal(&self) -> Temporal {
        let [running, before] = self.bytes;
        let mut sums = [0_u64; LAYERS];
        for (sum, (now, then)) in sums.iter_mut().zip(running.into_iter().zip(before)) {
            *sum = now.saturating_add(then);
        }
        let layers = sums.iter().rposition(|sum| *sum > 0).map_or(1, |top| top.saturating_add(1));
        let usual = Temporal::usual(u8::try_from(layers).unwrap_or(1));
        let [first, second, third] = sums;
        let two = first.saturating_add(second);
        let whole = two.saturating_add(third);
        if !self.is_known || whole == 0 {
            return usual;
        }
        Temporal { parts: [part(first, whole), part(two, whole)], ..usual }
    }
}

/// Returns a part in thousandths, rounded up: to steps, so that it is not news every time.
fn part(some: u64, whole: u64) -> u16 {
    let steps = some.saturating_mul(1_000 / STEP).div_ceil(whole.max(1));
    u16::try_from(steps.saturating_mul(STEP)).unwrap_or(1_000).min(1_000)
}

/// How many temporal layers are told apart.
const LAYERS: usize = 3;
/// How long a span is, and how much of the first one says something.
const SPAN: Duration = Duration::from_secs(4);
const KNOWN_AFTER: Duration = Duration::from_secs(1);
/// Parts are told in steps of this, in thousandths.
const STEP: u64 = 50;
