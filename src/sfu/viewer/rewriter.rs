//! Gives forwarded packets one unbroken numbering.
//!
//! Packet path. Think of a short table of *intervals*: each maps a run of one source's sequence numbers to a run
//! of outgoing ones, both without gaps. What is lost on the way in keeps its number, so that it finds its place
//! when it comes late; what is withheld on purpose ends an interval and gets none. An outgoing number is given
//! to one source packet and to no other, and is handed out once: sealing one number twice would reuse a nonce
//! (RFC 7714 §8.1), so a window of bits remembers what was handed out.
//!
//! **Invariant:** intervals are disjoint in their outgoing numbers, and disjoint in source numbers per source.

use std::collections::VecDeque;

use rtp::{ExtSeq, RtpTimestamp, SeqNo};

use super::catch_up::Squeeze;
use crate::track::MAX_LAYERS;
use crate::{DropReason, Epoch, LayerIndex};

/// The numbering of one outgoing source. Its fields are in the order that [`super::Viewer`] tells of.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Rewriter {
    /// The outgoing number after the highest that is taken.
    next: ExtSeq,
    /// Behind the newest filler that is remembered; there are hardly any.
    fillers_end: Option<ExtSeq>,
    /// Oldest first; the last one is open and grows.
    intervals: VecDeque<Interval>,
    /// Behind the newest interval of each layer, so that packets of layers that are not forwarded, by far the
    /// most, are told by one comparison.
    ends: [Option<(Source, ExtSeq)>; MAX_LAYERS],
    capacity: usize,
    given: Window,
    fillers: Window,
}

impl Rewriter {
    /// Makes a numbering that starts at `first` and remembers `capacity` intervals.
    pub(crate) fn new(first: ExtSeq, capacity: usize) -> Self {
        Self {
            intervals: VecDeque::with_capacity(capacity),
            capacity,
            ends: [None; MAX_LAYERS],
            next: first,
            fillers_end: None,
            given: Window::default(),
            fillers: Window::default(),
        }
    }

    /// Reads what [`Self::number`] reads; see [`super::Viewer::warm`].
    pub(crate) fn warm(&self) -> u64 {
        let open = self.intervals.back().map_or(0, |open| open.end.0 ^ u64::from(open.offsets.timestamp));
        let end = self.ends.first().copied().flatten().map_or(0, |(_, end)| end.0);
        self.next.0 ^ open ^ end ^ u64::from(self.given.contains(self.next))
    }

    /// Opens an interval: `first` of `source` follows whatever was numbered last.
    pub(crate) fn begin(&mut self, source: Source, first: ExtSeq, offsets: Offsets) {
        if self.intervals.back().is_some_and(Interval::is_empty) {
            self.intervals.pop_back();
        }
        if self.intervals.len() >= self.capacity {
            self.intervals.pop_front();
        }
        self.intervals.push_back(Interval { source, first, end: first, out_first: self.next, offsets });
    }

    /// Takes back the numbers that were kept behind the last packet that went out.
    ///
    /// Another source follows: what comes late from behind that packet may belong to a later frame, and would
    /// stand before the switch with a timestamp from after it.
    pub(crate) fn close(&mut self) {
        while let Some(last) = self.intervals.back_mut() {
            let newest = ExtSeq(self.next.0.saturating_sub(1));
            if last.is_empty() {
                self.intervals.pop_back();
            } else if self.given.contains(newest) {
                return;
            } else {
                last.end = ExtSeq(last.end.0.saturating_sub(1));
                self.next = newest;
            }
        }
    }

    /// Withholds a packet that is newer than all before it: it gets no number, and the next one gets `offsets`.
    pub(crate) fn skip(&mut self, source: Source, seq: ExtSeq, offsets: Offsets) {
        if self.is_new(source, seq) {
            self.extend(source, seq);
            self.begin(source, seq.plus(1), offsets);
        }
    }

    /// Opens another interval at `seq`, newer than all before it, because the offsets change there. What is missing
    /// before it keeps its numbers.
    pub(crate) fn turn(&mut self, source: Source, seq: ExtSeq, offsets: Offsets) {
        if self.is_new(source, seq) {
            self.extend(source, seq);
            self.begin(source, seq, offsets);
        }
    }

    /// Goes on behind `upto`, with `offsets` and without keeping numbers for what is missing before: it was dropped on
    /// purpose.
    pub(crate) fn leap(&mut self, source: Source, upto: ExtSeq, offsets: Offsets) {
        if self.is_new(source, upto) {
            self.begin(source, upto.plus(1), offsets);
        }
    }

    /// Numbers a packet of the open interval or of an earlier one; `None` when it has gone out already.
    ///
    /// # Errors
    ///
    /// `TooLate` when the packet is older than what the numbering of its source remembers, `LayerNotSelected`
    /// when its source has no place for it at all.
    pub(crate) fn number(
        &mut self,
        source: Source,
        seq: ExtSeq,
        filler: bool,
    ) -> Result<Option<Numbered>, DropReason> {
        if self.is_new(source, seq) {
            self.grow(source, seq);
        }
        let interval = self.holding(source, seq).ok_or_else(|| self.refusal(source))?;
        let offsets = interval.offsets;
        let out = interval.out_first.plus(seq.since(interval.first));
        if self.next.since(out) > Window::LENGTH {
            return Err(DropReason::TooLate);
        }
        if self.given.contains(out) {
            return Ok(None);
        }
        self.given.insert(out);
        if filler {
            self.note_filler(out);
        }
        Ok(Some(Numbered { out, offsets }))
    }

    /// Gives a packet the number that was kept for it in an earlier pass over its layer, if one was and still waits: it
    /// goes out empty, as the later pass brings it.
    pub(crate) fn number_before(&mut self, source: Source, seq: ExtSeq) -> Option<Located> {
        let Self { intervals, given, next, .. } = self;
        let is_earlier =
            |it: &Source| (it.epoch, it.layer) == (source.epoch, source.layer) && it.pass != source.pass;
        let kept = intervals.iter().rev().filter(|it| is_earlier(&it.source) && it.holds(seq));
        let (interval, out) = kept
            .map(|it| (it, it.out_first.plus(seq.since(it.first))))
            .find(|(_, out)| next.since(*out) <= Window::LENGTH && !given.contains(*out))?;
        let (source, offsets) = (interval.source, interval.offsets);
        self.given.insert(out);
        self.note_filler(out);
        Some(Located { source, seq, out, offsets, filler: true })
    }

    /// Finds the source packet of an outgoing number that was given, among those that are remembered.
    pub(crate) fn locate(&self, wire: SeqNo) -> Option<Located> {
        let out = self.unwrap(wire)?;
        let interval = self.intervals.iter().rev().find(|interval| interval.gave(out))?;
        Some(Located {
            source: interval.source,
            seq: interval.first.plus(out.since(interval.out_first)),
            out,
            offsets: interval.offsets,
            filler: self.fillers.contains(out),
        })
    }

    /// Finds the source packet of the number that lies `back` before the newest one.
    pub(crate) fn locate_back(&self, back: u64) -> Option<Located> {
        let out = ExtSeq(self.next.0.checked_sub(back.saturating_add(1))?);
        self.locate(out.wire())
    }

    /// Says whether a packet comes after every packet of the open interval.
    pub(crate) fn is_new(&self, source: Source, seq: ExtSeq) -> bool {
        self.intervals.back().is_some_and(|open| open.source == source && seq >= open.end)
    }

    /// Says whether some interval holds the packet.
    pub(crate) fn holds(&self, source: Source, seq: ExtSeq) -> bool {
        self.holding(source, seq).is_some()
    }

    /// Says whether an interval of `source` may begin at `seq` without numbering a packet a second time.
    pub(crate) fn may_begin(&self, source: Source, seq: ExtSeq) -> bool {
        let newest = self.ends.get(usize::from(source.layer.0)).copied().flatten();
        newest.is_none_or(|(known, end)| known != source || seq >= end)
    }

    /// Returns the offsets of the open interval.
    pub(crate) fn offsets(&self) -> Offsets {
        self.intervals.back().map_or_else(Offsets::default, |open| open.offsets)
    }

    /// Makes the open interval hold `seq`, with holes for what is missing before it.
    ///
    /// Behind a jump that no retransmission can fill the numbers go on without a hole: the receiver would take
    /// half the number space for a wrap (RFC 3711 §3.3.1).
    fn grow(&mut self, source: Source, seq: ExtSeq) {
        let Some(open) = self.intervals.back() else { return };
        if seq.since(open.end) > HOLE_MAX {
            let offsets = open.offsets;
            self.begin(source, seq, offsets);
        }
        self.extend(source, seq.plus(1));
    }

    /// Takes the numbers before `seq`, which did not come yet, for the open interval.
    fn extend(&mut self, source: Source, seq: ExtSeq) {
        let Some(open) = self.intervals.back_mut().filter(|open| open.source == source) else { return };
        let missing = seq.since(open.end);
        if missing == 0 || missing > HOLE_MAX {
            return;
        }
        open.end = seq;
        if let Some(end) = self.ends.get_mut(usize::from(source.layer.0)) {
            *end = Some((source, seq));
        }
        self.advance(missing);
    }

    fn holding(&self, source: Source, seq: ExtSeq) -> Option<&Interval> {
        let newest = self.ends.get(usize::from(source.layer.0)).copied().flatten();
        newest.filter(|&(known, end)| known == source && seq < end)?;
        self.intervals.iter().rev().find(|interval| interval.source == source && interval.holds(seq))
    }

    fn refusal(&self, source: Source) -> DropReason {
        let selected = self.intervals.back().is_some_and(|open| open.source == source);
        if selected { DropReason::TooLate } else { DropReason::LayerNotSelected }
    }

    fn advance(&mut self, count: u64) {
        for step in 0..count {
            self.given.remove(self.next.plus(step));
        }
        self.forget_fillers(count);
        self.next = self.next.plus(count);
    }

    /// Remembers that a number went out empty.
    fn note_filler(&mut self, out: ExtSeq) {
        self.fillers.insert(out);
        self.fillers_end = self.fillers_end.max(Some(out.plus(1)));
    }

    /// Forgets the fillers whose places `count` more numbers take.
    fn forget_fillers(&mut self, count: u64) {
        let Some(end) = self.fillers_end else { return };
        for step in 0..count {
            self.fillers.remove(self.next.plus(step));
        }
        let lies_ahead = self.next.plus(count).since(end) < Window::LENGTH;
        self.fillers_end = self.fillers_end.filter(|_| lies_ahead);
    }

    /// Unwraps an outgoing number within the window; `None` when it was not given.
    fn unwrap(&self, wire: SeqNo) -> Option<ExtSeq> {
        let behind = u64::from(self.next.wire().0.wrapping_sub(wire.0));
        let out = ExtSeq(self.next.0.checked_sub(behind)?);
        ((1..=Window::LENGTH).contains(&behind) && self.given.contains(out)).then_some(out)
    }
}

/// Where a packet comes from: two epochs of one layer are two sources, and so are two passes over one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The publisher session.
    pub(crate) epoch: Epoch,
    /// The layer.
    pub(crate) layer: LayerIndex,
    /// How often the layer was begun anew from packets that had been sent before: a viewer that lost its picture gets
    /// them again, under other numbers.
    pub(crate) pass: u32,
}

/// What is added, wrapping, to the numbers inside a packet of one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    /// To the RTP timestamp, in ticks.
    pub(crate) timestamp: u32,
    /// What draws timestamps of the past together, before `timestamp` is added.
    pub(crate) squeeze: Option<Squeeze>,
    /// To the VP8 picture id, modulo 2^15 (or 2^7 where the field has seven bits).
    pub(crate) picture: u16,
    /// To the VP8 tl0picidx.
    pub(crate) tl0: u8,
    /// To the frame number of the dependency descriptor.
    pub(crate) frame: u16,
}

impl Offsets {
    /// Returns the outgoing timestamp of a source's timestamp.
    pub(crate) fn timestamp_of(self, timestamp: RtpTimestamp) -> RtpTimestamp {
        let shift = self.squeeze.map_or(0, |squeeze| squeeze.shift(timestamp));
        timestamp.plus(shift).plus(self.timestamp)
    }
}

/// What the rewriter says of a packet to forward.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbered {
    /// The outgoing sequence number.
    pub(crate) out: ExtSeq,
    /// The offsets of its interval.
    pub(crate) offsets: Offsets,
}

/// What the rewriter says of an outgoing number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located {
    /// The source that it was given for.
    pub(crate) source: Source,
    /// The source's sequence number.
    pub(crate) seq: ExtSeq,
    /// The outgoing number, unwrapped.
    pub(crate) out: ExtSeq,
    /// The offsets of its interval.
    pub(crate) offsets: Offsets,
    /// Whether it went out as an empty packet.
    pub(crate) filler: bool,
}

/// A run of source numbers and the outgoing numbers that belong to them. One line of the cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Interval {
    source: Source,
    first: ExtSeq,
    /// Exclusive.
    end: ExtSeq,
    out_first: ExtSeq,
    offsets: Offsets,
}

impl Interval {
    fn is_empty(&self) -> bool {
        self.first == self.end
    }

    fn holds(&self, seq: ExtSeq) -> bool {
        (self.first..self.end).contains(&seq)
    }

    fn gave(&self, out: ExtSeq) -> bool {
        out >= self.out_first && out.since(self.out_first) < self.end.since(self.first)
    }
}

/// One bit for each of the newest outgoing numbers.
#[derive(Debug, Default)]
struct Window {
    words: [u64; WINDOW_WORDS],
}

impl Window {
    /// How many numbers are remembered: about two seconds of a 10 Mbit/s layer.
    const LENGTH: u64 = WINDOW_WORDS as u64 * 64;

    fn contains(&self, out: ExtSeq) -> bool {
        let (index, bit) = Self::place(out);
        self.words.get(index).is_some_and(|word| word & bit != 0)
    }

    fn insert(&mut self, out: ExtSeq) {
        let (index, bit) = Self::place(out);
        if let Some(word) = self.words.get_mut(index) {
            *word |= bit;
        }
    }

    fn remove(&mut self, out: ExtSeq) {
        let (index, bit) = Self::place(out);
        if let Some(word) = self.words.get_mut(index) {
            *word &= !bit;
        }
    }

    fn place(out: ExtSeq) -> (usize, u64) {
        let position = out.0 % Self::LENGTH;
        ((position / 64) as usize, 1 << (position % 64))
    }
}

const WINDOW_WORDS: usize = 32;
/// The longest run of missing packets that keeps its numbers: half a second of a 10 Mbit/s layer.
pub(crate) const HOLE_MAX: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_packet_keeps_its_number_until_it_comes() {
        let mut rewriter = begun_at(100);

        let first = number(&mut rewriter, 100);
        let third = number(&mut rewriter, 102);
        let second = number(&mut rewriter, 101);

        assert_eq!((second, third), (first.map(|seq| seq + 1), first.map(|seq| seq + 2)));
    }

    #[test]
    fn a_withheld_packet_leaves_no_hole() {
        let mut rewriter = begun_at(100);

        let before = number(&mut rewriter, 100);
        rewriter.skip(SOURCE, ExtSeq(101), Offsets::default());
        rewriter.skip(SOURCE, ExtSeq(102), Offsets::default());
        let after = number(&mut rewriter, 103);

        assert_eq!(after, before.map(|seq| seq + 1));
        assert_eq!(number(&mut rewriter, 101), Err(DropReason::TooLate));
    }

    #[test]
    fn a_packet_lost_between_two_withheld_ones_has_its_own_number() {
        let mut rewriter = begun_at(100);

        let before = number(&mut rewriter, 100);
        rewriter.skip(SOURCE, ExtSeq(101), Offsets::default());
        rewriter.skip(SOURCE, ExtSeq(103), Offsets::default());
        let after = number(&mut rewriter, 104);
        let between = number(&mut rewriter, 102);

        assert_eq!((between, after), (before.map(|seq| seq + 1), before.map(|seq| seq + 2)));
    }

    #[test]
    fn numbers_kept_behind_the_last_packet_are_taken_back_at_a_switch() {
        let other = Source { epoch: Epoch(1), layer: LayerIndex(1), pass: 0 };
        let mut rewriter = begun_at(100);
        let before = number(&mut rewriter, 101);
        rewriter.skip(SOURCE, ExtSeq(105), Offsets::default());
        rewriter.skip(SOURCE, ExtSeq(107), Offsets::default());

        rewriter.close();
        rewriter.begin(other, ExtSeq(7), Offsets::default());
        let after = rewriter.number(other, ExtSeq(7), false).map(|it| it.map(|it| it.out.0));

        assert_eq!(after, before.map(|seq| Some(seq + 1)));
        assert_eq!(number(&mut rewriter, 104), Err(DropReason::LayerNotSelected));
        assert_eq!(number(&mut rewriter, 100), before.map(|seq| seq - 1));
    }

    #[test]
    fn a_number_is_given_once() {
        let mut rewriter = begun_at(100);

        assert!(number(&mut rewriter, 100).is_ok());
        assert!(rewriter.number(SOURCE, ExtSeq(100), false).is_ok_and(|numbered| numbered.is_none()));
    }

    #[test]
    fn a_packet_older_than_the_window_is_late() {
        let mut rewriter = begun_at(100);

        assert!(number(&mut rewriter, 100).is_ok());
        for seq in 102..102 + Window::LENGTH {
            assert!(number(&mut rewriter, seq).is_ok());
        }

        assert_eq!(number(&mut rewriter, 101), Err(DropReason::TooLate));
    }

    #[test]
    fn a_jump_that_nothing_can_fill_leaves_no_hole() {
        let mut rewriter = begun_at(100);

        let before = number(&mut rewriter, 100);
        let after = number(&mut rewriter, 102 + HOLE_MAX);

        assert_eq!(after, before.map(|seq| seq + 1));
    }

    #[test]
    fn an_outgoing_number_leads_back_to_its_packet_across_the_wrap() {
        let mut rewriter = Rewriter::new(ExtSeq((1 << 16) | 65_534), 8);
        rewriter.begin(SOURCE, ExtSeq(100), Offsets::default());

        let numbers: Vec<_> = (100..104).filter_map(|seq| number(&mut rewriter, seq).ok()).collect();

        let wires: Vec<_> = numbers.iter().map(|&out| ExtSeq(out).wire()).collect();
        assert_eq!(wires, [SeqNo(65_534), SeqNo(65_535), SeqNo(0), SeqNo(1)]);
        let found: Vec<_> =
            wires.iter().filter_map(|&wire| rewriter.locate(wire)).map(|it| it.seq.0).collect();
        assert_eq!(found, [100, 101, 102, 103]);
        assert!(rewriter.locate(SeqNo(2)).is_none());
    }

    #[test]
    fn a_hole_leads_nowhere() {
        let mut rewriter = begun_at(100);

        let before = number(&mut rewriter, 100).map(|out| ExtSeq(out + 1).wire());
        assert!(number(&mut rewriter, 102).is_ok());

        assert!(before.is_ok_and(|wire| rewriter.locate(wire).is_none()));
    }

    #[test]
    fn intervals_beyond_the_capacity_are_forgotten_oldest_first() {
        let mut rewriter = begun_at(0);
        for seq in (0..20).step_by(2) {
            assert!(number(&mut rewriter, seq).is_ok());
            rewriter.skip(SOURCE, ExtSeq(seq + 1), Offsets::default());
        }

        assert!(!rewriter.holds(SOURCE, ExtSeq(0)));
        assert!(rewriter.holds(SOURCE, ExtSeq(18)));
        assert!(rewriter.intervals.len() <= 8);
    }

    #[test]
    fn a_number_is_no_filler_for_what_went_out_empty_a_window_before() {
        let mut rewriter = begun_at(100);
        assert!(number(&mut rewriter, 102).is_ok());
        let empty = rewriter.number(SOURCE, ExtSeq(101), true).ok().flatten().map(|it| it.out);

        assert!(is_whole_a_window_later(&mut rewriter, SOURCE, empty));
    }

    #[test]
    fn a_number_is_no_filler_for_what_an_earlier_pass_had_kept_a_window_before() {
        let later = Source { pass: 1, ..SOURCE };
        let mut rewriter = begun_at(100);
        assert!(number(&mut rewriter, 102).is_ok());
        rewriter.close();
        rewriter.begin(later, ExtSeq(100), Offsets::default());
        let empty = rewriter.number_before(later, ExtSeq(101)).map(|it| it.out);

        assert!(is_whole_a_window_later(&mut rewriter, later, empty));
    }

    fn is_whole_a_window_later(rewriter: &mut Rewriter, source: Source, empty: Option<ExtSeq>) -> bool {
        let was_empty = empty.and_then(|out| rewriter.locate(out.wire())).is_some_and(|it| it.filler);
        for seq in 103..110 + Window::LENGTH {
            assert!(rewriter.number(source, ExtSeq(seq), false).is_ok());
        }
        let later = empty.and_then(|out| rewriter.locate(out.plus(Window::LENGTH).wire()));
        was_empty && later.is_some_and(|it| !it.filler)
    }

    const SOURCE: Source = Source { epoch: Epoch(1), layer: LayerIndex(0), pass: 0 };

    fn begun_at(first: u64) -> Rewriter {
        let mut rewriter = Rewriter::new(ExtSeq(1 << 16), 8);
        rewriter.begin(SOURCE, ExtSeq(first), Offsets::default());
        rewriter
    }

    fn number(rewriter: &mut Rewriter, seq: u64) -> Result<u64, DropReason> {
        rewriter.number(SOURCE, ExtSeq(seq), false).map(|numbered| numbered.map_or(0, |it| it.out.0))
    }
}
