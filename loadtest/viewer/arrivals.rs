//! When each packet of a session arrived, for transport-wide feedback as a browser gives it
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! Packet path. A late packet is reported too: the next feedback begins with it and repeats what lies behind.

use rtp::rtcp::{TransportCcFeedback, Writer};
use rtp::{ExtSeq, MonoTime, SeqNo, SeqUnwrapper, Ssrc};

/// The arrivals of one session.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    unwrapper: SeqUnwrapper,
    /// The number of the first entry.
    base: ExtSeq,
    entries: Vec<Option<MonoTime>>,
    /// The first entry that no feedback has told yet.
    untold: usize,
    count: u8,
}

impl Arrivals {
    /// Notes an arrival.
    pub(super) fn note(&mut self, at: MonoTime, seq: SeqNo) {
        let seq = self.unwrapper.unwrap(seq);
        if self.entries.is_empty() || seq.since(self.base) > ENTRIES_MAX {
            self.base = seq;
            self.entries.clear();
            self.untold = 0;
        }
        let Some(index) = seq.0.checked_sub(self.base.0).and_then(|index| usize::try_from(index).ok()) else {
            return;
        };
        if index >= self.entries.len() {
            self.entries.resize(index.saturating_add(1), None);
        }
        if let Some(entry) = self.entries.get_mut(index) {
            *entry = Some(at);
        }
        self.untold = self.untold.min(index);
    }

    /// Says whether there is something to tell.
    pub(super) fn has_news(&self) -> bool {
        self.untold < self.entries.len()
    }

    /// Appends one feedback packet; what does not fit waits for the next call.
    pub(super) fn write(&mut self, sender: Ssrc, media: Ssrc, out: &mut Writer<'_>) -> bool {
        let start = self.untold;
        if !self.entries.iter().skip(start).any(Option::is_some) {
            self.untold = self.entries.len();
            return false;
        }
        let base = self.base.plus(u64::try_from(start).unwrap_or(0)).wire();
        let entries = self.entries.get(start..).unwrap_or_default();
        let feedback = TransportCcFeedback::new(base, self.count, entries);
        let covered = feedback.covered();
        let written = out.transport_cc(sender, media, &feedback);
        self.count = self.count.wrapping_add(1);
        self.untold = start.saturating_add(covered.max(1)).min(self.entries.len());
        self.forget();
        written
    }

    /// Keeps a little of what was told, for late packets.
    fn forget(&mut self) {
        let surplus = self.untold.saturating_sub(KEPT);
        if surplus > KEPT {
            self.entries.drain(..surplus);
            self.base = self.base.plus(u64::try_from(surplus).unwrap_or(0));
            self.untold = self.untold.saturating_sub(surplus);
        }
    }
}

/// A jump of more is a new beginning.
const ENTRIES_MAX: u64 = 4_096;
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use rtp::rtcp::{Packet, packets};

    /// Writes a feedback and returns what it says: numbers and whether they arrived.
    fn told(arrivals: &mut Arrivals) -> Vec<(u16, bool)> {
        let mut buffer = [0; 1_200];
        let mut writer = Writer::new(&mut buffer);
        if !arrivals.write(Ssrc(1), Ssrc(2), &mut writer) {
            return Vec::new();
        }
        let length = writer.finish();
        let Some(Ok(Packet::TransportCc(view))) = packets(&buffer[..length]).next() else {
            panic!("no feedback in the compound");
        };
        view.statuses().map(|(seq, delta)| (seq.0, delta.is_some())).collect()
    }

    fn note(arrivals: &mut Arrivals, seqs: impl IntoIterator<Item = u16>) {
        for (millis, seq) in (0..).zip(seqs) {
            arrivals.note(MonoTime::from_millis(1_000 + millis), SeqNo(seq));
        }
    }

    #[test]
    fn each_packet_is_told_once_over_the_wrap() {
        let mut arrivals = Arrivals::default();

        note(&mut arrivals, [65_534, 65_535, 0, 2]);
        let first = told(&mut arrivals);
        note(&mut arrivals, [3]);
        let second = told(&mut arrivals);

        assert_eq!(first, [(65_534, true), (65_535, true), (0, true), (1, false), (2, true)]);
        assert_eq!(second, [(3, true)]);
        assert!(!arrivals.has_news() && told(&mut arrivals).is_empty());
    }

    #[test]
    fn a_loss_between_two_feedbacks_is_told() {
        let mut arrivals = Arrivals::default();
        note(&mut arrivals, [10]);
        told(&mut arrivals);

        note(&mut arrivals, [12]);

        assert_eq!(told(&mut arrivals), [(11, false), (12, true)]);
    }

    #[test]
    fn a_late_packet_begins_the_next_feedback() {
        let mut arrivals = Arrivals::default();
        note(&mut arrivals, [10, 12]);
        told(&mut arrivals);

        note(&mut arrivals, [11]);

        assert_eq!(told(&mut arrivals), [(11, true), (12, true)]);
    }

    #[test]
    fn more_than_fits_one_feedback_follows_in_the_next() {
        let mut arrivals = Arrivals::default();
        note(&mut arrivals, 0..700);

        let (first, second) = (told(&mut arrivals), told(&mut arrivals));

        assert_eq!((first.len(), second.len()), (500, 200));
        assert!(!arrivals.has_news());
    }

    #[test]
    fn what_was_told_is_forgotten() {
        let mut arrivals = Arrivals::default();

        for start in (0..60_000).step_by(100) {
            note(&mut arrivals, start..start + 100);
            assert_eq!(told(&mut arrivals).len(), 100);
        }

        assert!(arrivals.entries.len() < 300);
    }

    #[test]
    fn a_great_jump_begins_anew() {
        let mut arrivals = Arrivals::default();
        note(&mut arrivals, [1, 20_000]);

        assert_eq!(told(&mut arrivals), [(20_000, true)]);
    }
}
