//! The packets that were sent last, to be sent again.

use rtp::{RtpTimestamp, SeqNo};

/// What is kept of one packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The marker bit.
    pub marker: bool,
    /// The timestamp.
    pub timestamp: RtpTimestamp,
    /// The payload.
    pub payload: Vec<u8>,
}

/// The last [`PACKETS_MAX`] packets of one source; the oldest is forgotten.
#[derive(Clone, Debug)]
pub struct History {
    slots: Vec<Option<(SeqNo, Sent)>>,
}

impl History {
    /// Makes an empty history.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: vec![None; PACKETS_MAX] }
    }

    /// Keeps a packet, in the memory of the one that it replaces.
    pub fn keep(&mut self, seq: SeqNo, marker: bool, timestamp: RtpTimestamp, payload: &[u8]) {
        let Some(slot) = self.slots.get_mut(usize::from(seq.0) % PACKETS_MAX) else { return };
        let mut kept = slot.take().map_or_else(Vec::new, |(_, sent)| sent.payload);
        kept.clear();
        kept.extend_from_slice(payload);
        *slot = Some((seq, Sent { marker, timestamp, payload: kept }));
    }

    /// Finds a packet that is still kept.
    #[must_use]
    pub fn find(&self, seq: SeqNo) -> Option<&Sent> {
        let (kept, sent) = self.slots.get(usize::from(seq.0) % PACKETS_MAX)?.as_ref()?;
        (*kept == seq).then_some(sent)
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

/// Over a second at 10 Mbit/s; a power of two, so that the slots go on over the wrap of the numbers.
pub const PACKETS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_packets_are_found_over_the_wrap_and_older_ones_are_not() {
        let mut history = History::new();
        for step in 0..1_500_u16 {
            let seq = SeqNo(65_000).plus(step);
            history.keep(seq, step % 2 == 0, RtpTimestamp(u32::from(step)), &step.to_be_bytes());
        }

        for step in 476..1_500_u16 {
            let sent = history.find(SeqNo(65_000).plus(step)).unwrap();
            assert_eq!(sent.payload, step.to_be_bytes());
            assert_eq!((sent.marker, sent.timestamp), (step % 2 == 0, RtpTimestamp(u32::from(step))));
        }
        assert_eq!(history.find(SeqNo(65_000).plus(475)), None);
        assert_eq!(history.find(SeqNo(65_000).plus(1_500)), None);
    }
}
