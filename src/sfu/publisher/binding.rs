//! Which layer an SSRC belongs to. Packet path.
//!
//! An SSRC is bound by the offer's `a=ssrc` lines before any packet, or by its first packet: MID and RID
//! (RFC 8852, the repaired RID for RTX), else by a payload type that only one track has. A layer has one media
//! source and one RTX source at a time. Another SSRC takes a layer when its packets name the layer; one that is
//! merely of the right payload type takes it when the layer is silent.

use std::time::Duration;

use rtp::extension::Extension;
use rtp::{MonoTime, RtpView, Ssrc};

use super::formats::Meaning;
use super::track::Track;
use crate::drop_reason::DropReason;

/// The most SSRCs remembered in one session: two per layer, and some that left.
const SSRCS_MAX: usize = 12;

/// How long a source must be silent before a packet without MID and RID may replace it.
const SILENCE: Duration = Duration::from_secs(1);

/// How long a replaced source is refused though its packets name the layer, so that late ones do not win it
/// back. It may come back at any time once the new source is silent: publishers name their layer only until the
/// first report about it.
const FAREWELL: Duration = Duration::from_secs(2);

/// What an SSRC is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Index of the track in the session.
    pub(super) track: usize,
    /// Index of the layer in the track.
    pub(super) layer: usize,
    /// Retransmissions, not media.
    pub(super) rtx: bool,
}

/// How sure a packet's origin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The packet names its track and, if there are several, its layer.
    Named,
    /// Its payload type fits one track alone.
    PayloadType,
}

#[derive(Clone, Copy, Debug)]
struct Binding {
    ssrc: Ssrc,
    slot: Slot,
    last_seen: Option<MonoTime>,
    /// When another SSRC took the slot.
    left: Option<MonoTime>,
}

/// What is known of an SSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It holds this slot.
    Bound(Slot),
    /// It held this slot until another took it, `lately` or longer ago.
    Left {
        /// The slot.
        slot: Slot,
        /// Its packets may merely be late.
        lately: bool,
    },
    /// Nothing.
    Unknown,
}

/// The SSRCs of one session.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    list: Vec<Binding>,
}

impl Bindings {
    /// Makes an empty table with room for all that it may hold.
    pub(super) fn new() -> Self {
        Self { list: Vec::with_capacity(SSRCS_MAX) }
    }

    /// Binds an SSRC that the offer declared; false when the table is full or the SSRC is taken.
    pub(super) fn declare(&mut self, ssrc: Ssrc, slot: Slot) -> bool {
        if self.list.len() >= SSRCS_MAX || self.list.iter().any(|binding| binding.ssrc == ssrc) {
            return false;
        }
        self.list.push(Binding { ssrc, slot, last_seen: None, left: None });
        true
    }

    /// Finds the slot of an SSRC and notes that it was seen.
    pub(super) fn find(&mut self, now: MonoTime, ssrc: Ssrc) -> Found {
        let Some(binding) = self.list.iter_mut().find(|binding| binding.ssrc == ssrc) else {
            return Found::Unknown;
        };
        let Some(left) = binding.left else {
            binding.last_seen = Some(now);
            return Found::Bound(binding.slot);
        };
        Found::Left { slot: binding.slot, lately: now.since(left) < FAREWELL }
    }

    /// Returns the slot of an SSRC without noting that it was seen.
    pub(super) fn peek(&self, ssrc: Ssrc) -> Option<Slot> {
        self.list
            .iter()
            .find(|binding| binding.ssrc == ssrc && binding.left.is_none())
            .map(|found| found.slot)
    }

    /// Binds an SSRC that holds no slot to one; false when the evidence does not suffice to replace the one there.
    pub(super) fn bind(&mut self, now: MonoTime, ssrc: Ssrc, slot: Slot, evidence: Evidence) -> bool {
        let holder = self.list.iter_mut().find(|binding| binding.slot == slot && binding.left.is_none());
        if let Some(holder) = holder {
            let silent = holder.last_seen.is_none_or(|seen| now.since(seen) >= SILENCE);
            if evidence == Evidence::PayloadType && !silent {
                return false;
            }
            holder.left = Some(now);
        }
        self.list.retain(|binding| binding.ssrc != ssrc);
        if self.list.len() >= SSRCS_MAX {
            let gone =
                self.list.iter().enumerate().filter_map(|(at, binding)| Some((binding.left?, at))).min();
            let Some((_, at)) = gone else { return false };
            self.list.swap_remove(at);
        }
        self.list.push(Binding { ssrc, slot, last_seen: Some(now), left: None });
        true
    }
}

/// Says which slot a packet of an unknown SSRC belongs to.
///
/// # Errors
/// Why it belongs to none.
pub(super) fn identify(tracks: &[Track], view: &RtpView<'_>) -> Result<(Slot, Evidence), DropReason> {
    let (track, named) = identify_track(tracks, view).ok_or(DropReason::UnknownSsrc)?;
    let candidate = tracks.get(track).ok_or(DropReason::UnknownSsrc)?;
    let meaning = candidate.formats.meaning(view.payload_type).ok_or(DropReason::UnknownPayloadType)?;
    let rtx = matches!(meaning, Meaning::Rtx(_));
    let unknown = if rtx { DropReason::UnknownRtx } else { DropReason::UnknownSsrc };
    let (layer, rid) = identify_layer(candidate, view, rtx).ok_or(unknown)?;
    let evidence = if named || rid { Evidence::Named } else { Evidence::PayloadType };
    Ok((Slot { track, layer, rtx }, evidence))
}

/// Finds the track by MID, else by a payload type that no other track has; true when the packet names it.
fn identify_track(tracks: &[Track], view: &RtpView<'_>) -> Option<(usize, bool)> {
    let mid = tracks.iter().find_map(|track| view.extensions.find(&track.extensions, Extension::Mid));
    if let Some(mid) = mid {
        return tracks.iter().position(|track| track.mid.as_bytes() == mid).map(|track| (track, true));
    }
    let mut fitting = tracks
        .iter()
        .enumerate()
        .filter(|(_, track)| track.formats.meaning(view.payload_type).is_some())
        .map(|(index, _)| index);
    let track = fitting.next()?;
    fitting.next().is_none().then_some((track, false))
}

/// Finds the layer by RID, else the only layer there is; true when the packet names it.
fn identify_layer(track: &Track, view: &RtpView<'_>, rtx: bool) -> Option<(usize, bool)> {
    let rid = view.extensions.find(&track.extensions, Extension::Rid);
    let repaired = view.extensions.find(&track.extensions, Extension::RepairedRid).filter(|_| rtx);
    if let Some(rid) = repaired.or(rid) {
        let layer = track.layers.iter().position(|layer| layer.has_rid(rid));
        if layer.is_some() || track.layers.len() > 1 {
            return layer.map(|layer| (layer, true));
        }
    }
    (track.layers.len() == 1).then_some((0, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEDIA: Slot = Slot { track: 0, layer: 0, rtx: false };

    #[test]
    fn table_forgets_the_earliest_that_left_and_never_grows_past_its_bound() {
        let mut bindings = Bindings::new();

        for ssrc in 0..100 {
            assert!(bindings.bind(at(u64::from(ssrc)), Ssrc(ssrc), MEDIA, Evidence::Named));
        }

        assert_eq!(bindings.list.len(), SSRCS_MAX);
        assert_eq!(bindings.peek(Ssrc(99)), Some(MEDIA));
        assert_eq!(bindings.peek(Ssrc(98)), None);
    }

    #[test]
    fn payload_type_alone_replaces_a_silent_source_only() {
        let mut bindings = Bindings::new();
        assert!(bindings.bind(at(0), Ssrc(1), MEDIA, Evidence::PayloadType));

        assert!(!bindings.bind(at(999), Ssrc(2), MEDIA, Evidence::PayloadType));
        assert!(bindings.bind(at(1_000), Ssrc(2), MEDIA, Evidence::PayloadType));
    }

    #[test]
    fn late_packets_of_a_replaced_source_do_not_win_the_layer_back() {
        let mut bindings = Bindings::new();
        bindings.bind(at(0), Ssrc(1), MEDIA, Evidence::Named);
        bindings.bind(at(10), Ssrc(2), MEDIA, Evidence::Named);

        assert_eq!(bindings.find(at(2_009), Ssrc(1)), Found::Left { slot: MEDIA, lately: true });
        assert_eq!(bindings.find(at(2_010), Ssrc(1)), Found::Left { slot: MEDIA, lately: false });
        assert_eq!(bindings.find(at(2_010), Ssrc(2)), Found::Bound(MEDIA));
    }

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_millis(millis)
    }
}
