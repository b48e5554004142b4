//! Which transport-wide number a packet of a source left under, for viewers that report by source (RFC 8888).
//!
//! Packet path. Only who negotiated such reports has them: nearly all viewers report by transport-wide number.

use rtp::rtcp::{CongestionView, Fate};
use rtp::{SeqNo, Ssrc};

/// The numbers of one viewer.
#[derive(Debug)]
pub(crate) struct SourceNumbers {
    sources: [Option<Source>; SOURCES_MAX],
    /// One report, in the order of sending.
    sorted: Vec<(SeqNo, Fate)>,
}

#[derive(Debug)]
struct Source {
    ssrc: Ssrc,
    /// Own number and transport-wide number, by the low bits of the own.
    entries: Vec<Option<(SeqNo, SeqNo)>>,
}

impl SourceNumbers {
    pub(crate) fn new() -> Self {
        Self { sources: [const { None }; SOURCES_MAX], sorted: Vec::with_capacity(REPORTS_MAX) }
    }

    /// Takes note that a packet is being sent.
    pub(crate) fn note(&mut self, ssrc: Ssrc, seq: SeqNo, number: SeqNo) {
        let is_of = |place: &&mut Option<Source>| place.as_ref().is_none_or(|source| source.ssrc == ssrc);
        let Some(place) = self.sources.iter_mut().find(is_of) else { return };
        let source = place.get_or_insert_with(|| Source { ssrc, entries: vec![None; ENTRIES] });
        if let Some(entry) = source.entries.get_mut(usize::from(seq.0) % ENTRIES) {
            *entry = Some((seq, number));
        }
    }

    /// Returns what a report says of packets that were sent, in the order in which they were.
    pub(crate) fn translate(&mut self, view: &CongestionView<'_>) -> &[(SeqNo, Fate)] {
        let Self { sources, sorted } = self;
        sorted.clear();
        for report in view.reports() {
            if sorted.len() == sorted.capacity() {
                break;
            }
            let source = sources.iter().flatten().find(|source| source.ssrc == report.ssrc);
            let entry = source.and_then(|source| source.entries.get(usize::from(report.seq.0) % ENTRIES));
            if let Some((seq, number)) = entry.copied().flatten()
                && seq == report.seq
            {
                sorted.push((number, report.fate));
            }
        }
        if let Some(&(first, _)) = sorted.first() {
            // Around the first one, so that the wrap is in order as well.
            sorted.sort_unstable_by_key(|(number, _)| number.0.wrapping_sub(first.0).wrapping_add(1 << 15));
        }
        sorted
    }
}

/// Picture and sound, and what is sent again of each.
const SOURCES_MAX: usize = 4;
/// Three seconds of a busy source.
const ENTRIES: usize = 1_024;
/// What is read of one report: more than fits a datagram.
const REPORTS_MAX: usize = 768;
