//! Why a packet was not stored or not forwarded.
//!
//! A drop is an outcome, not an error: each reason has a stable label, is counted in plain arrays, and reaches
//! the metrics under that label. Adding a reason is adding a variant and its line in [`DropReason::ALL`].

use std::fmt;

/// The reason for which a packet went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// A publisher's packet is not RTP as RFC 3550 §5.1 describes it.
    Malformed,
    /// A publisher's packet belongs to no negotiated track or layer, and nothing in it says which.
    UnknownSsrc,
    /// A publisher's packet has a payload type that its track did not negotiate.
    UnknownPayloadType,
    /// A retransmission whose SSRC is bound to no layer yet (RFC 4588 §5.3).
    UnknownRtx,
    /// A retransmission too short to name the packet it repeats (RFC 4588 §4).
    TruncatedRtx,
    /// The payload does not begin as its codec's payload format demands.
    BadPayload,
    /// The packet is larger than a ring slot.
    TooLarge,
    /// The packet lies before everything that the ring still holds.
    TooOld,
    /// The sequence number leapt further than loss explains; the next packet decides.
    SequenceLeap,
    /// The layer is not the one that the viewer gets.
    LayerNotSelected,
    /// The layer was chosen, but no keyframe has begun there yet.
    AwaitingKeyframe,
    /// The packet belongs to a temporal layer above the viewer's.
    TemporalLayer,
    /// The packet carries padding only; the viewer's numbering closes over it.
    Padding,
    /// The packet came too late for the viewer's numbering to have a place for it.
    TooLate,
    /// The packet is no longer, or not yet, in the ring.
    NotInRing,
    /// The shard is so far behind that a bound was reached; viewers see a loss.
    Backlog,
    /// The packet would have waited too long for its turn on the viewer's path, or cannot be decoded without one that did.
    Stale,
    /// The viewer negotiated no payload type for the packet's codec.
    CodecUnsupported,
    /// The viewer's budget for retransmissions is spent.
    RetransmissionLimit,
    /// The viewer asked for something that was never sent to it, or was sent to it moments ago.
    RetransmissionRefused,
}

impl DropReason {
    /// Every reason, in the order of its discriminants.
    pub const ALL: [Self; 20] = [
        Self::Malformed,
        Self::UnknownSsrc,
        Self::UnknownPayloadType,
        Self::UnknownRtx,
        Self::TruncatedRtx,
        Self::BadPayload,
        Self::TooLarge,
        Self::TooOld,
        Self::SequenceLeap,
        Self::LayerNotSelected,
        Self::AwaitingKeyframe,
        Self::TemporalLayer,
        Self::Padding,
        Self::TooLate,
        Self::NotInRing,
        Self::Backlog,
        Self::Stale,
        Self::CodecUnsupported,
        Self::RetransmissionLimit,
        Self::RetransmissionRefused,
    ];

    /// Returns the reason's label in metrics and logs; it never changes once released.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownSsrc => "unknown_ssrc",
            Self::UnknownPayloadType => "unknown_payload_type",
            Self::UnknownRtx => "unknown_rtx",
            Self::TruncatedRtx => "truncated_rtx",
            Self::BadPayload => "bad_payload",
            Self::TooLarge => "too_large",
            Self::TooOld => "too_old",
            Self::SequenceLeap => "sequence_leap",
            Self::LayerNotSelected => "layer_not_selected",
            Self::AwaitingKeyframe => "awaiting_keyframe",
            Self::TemporalLayer => "temporal_layer",
            Self::Padding => "padding",
            Self::TooLate => "too_late",
            Self::NotInRing => "not_in_ring",
            Self::Backlog => "backlog",
            Self::Stale => "stale",
            Self::CodecUnsupported => "codec_unsupported",
            Self::RetransmissionLimit => "retransmission_limit",
            Self::RetransmissionRefused => "retransmission_refused",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One counter per [`DropReason`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropCounts([u64; DropReason::ALL.len()]);

impl DropCounts {
    /// Counts one drop.
    pub fn add(&mut self, reason: DropReason) {
        self.add_many(reason, 1);
    }

    /// Counts several drops of one reason.
    pub fn add_many(&mut self, reason: DropReason, count: u64) {
        if let Some(sum) = self.0.get_mut(reason as usize) {
            *sum = sum.saturating_add(count);
        }
    }

    /// Returns how often packets were dropped for this reason.
    #[must_use]
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// Returns every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().zip(self.0.iter().copied())
    }

    /// Returns how many packets were dropped for any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_stands_at_its_own_index_with_its_own_label() {
        let labels: BTreeSet<_> = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();

        assert_eq!(labels.len(), DropReason::ALL.len());
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }

    #[test]
    fn counting_one_reason_leaves_the_others_alone() {
        let mut counts = DropCounts::default();

        counts.add(DropReason::RetransmissionRefused);
        counts.add(DropReason::Malformed);
        counts.add(DropReason::Malformed);

        assert_eq!(counts.get(DropReason::Malformed), 2);
        assert_eq!(counts.get(DropReason::RetransmissionRefused), 1);
        assert_eq!(counts.total(), 3);
    }
}
