//! What a viewer session counts. Plain numbers; whoever owns the metrics reads the differences.

use std::time::Duration;

use rtp::{MediaKind, MonoTime};

use crate::DropCounts;

/// The counters of one viewer. Its fields are in the order that [`super::Viewer`] tells of.
#[derive(Clone, Debug, Default, PartialEq)]
#[repr(C)]
pub struct ViewerStats {
    /// The video track's.
    pub video: TrackStats,
    /// The audio track's.
    pub audio: TrackStats,
    /// The round trip to the viewer by its newest receiver report (RFC 3550 §6.4.1).
    pub rtt: Option<Duration>,
    /// RTCP compounds that ended in something malformed.
    pub malformed_rtcp: u64,
}

impl ViewerStats {
    /// Returns the counters of one track.
    #[must_use]
    pub const fn track(&self, kind: MediaKind) -> &TrackStats {
        match kind {
            MediaKind::Audio => &self.audio,
            MediaKind::Video => &self.video,
        }
    }

    /// Reads what is counted for each packet; see [`super::Viewer::warm`].
    pub(crate) const fn warm(&self) -> u64 {
        self.video.packets ^ self.video.octets ^ self.audio.packets
    }

    /// Notes that a packet was written, and whether it belongs to a keyframe.
    pub(crate) fn note_written(&mut self, now: MonoTime, kind: MediaKind, is_keyframe: bool) {
        let stats = self.track_mut(kind);
        // Of the others nothing but the counters is read, which may stand in another line of the cache.
        if stats.packets == 0 {
            stats.first_packet.get_or_insert(now);
        }
        if is_keyframe {
            stats.first_keyframe.get_or_insert(now);
            stats.last_keyframe = Some(now);
        }
    }

    pub(crate) const fn track_mut(&mut self, kind: MediaKind) -> &mut TrackStats {
        match kind {
            MediaKind::Audio => &mut self.audio,
            MediaKind::Video => &mut self.video,
        }
    }
}

/// The counters of one subscription, those of every packet first.
#[derive(Clone, Debug, Default, PartialEq)]
#[repr(C)]
pub struct TrackStats {
    /// Media packets written, without retransmissions.
    pub packets: u64,
    /// Their payload bytes.
    pub octets: u64,
    /// When the first packet was written.
    pub first_packet: Option<MonoTime>,
    /// Retransmissions written (RFC 4588).
    pub rtx_packets: u64,
    /// Their bytes with headers.
    pub rtx_octets: u64,
    /// Packets written to probe the path: retransmissions that nobody asked for, and padding.
    pub padding_packets: u64,
    /// Their bytes with headers.
    pub padding_octets: u64,
    /// Packets that did not fit the buffer they were to be written to.
    pub unwritten: u64,
    /// Packets that went no further, by reason.
    pub drops: DropCounts,
    /// Sequence numbers that the viewer asked for again.
    pub nacked: u64,
    /// Of those, the ones that stayed unanswered because no RTX was negotiated: a number is never sealed twice.
    pub nacked_without_rtx: u64,
    /// Keyframe requests that the viewer sent (PLI and FIR).
    pub keyframes_wanted: u64,
    /// Keyframe requests that went on to the publisher's side.
    pub keyframes_requested: u64,
    /// Changes of the current layer, the first included.
    pub layer_changes: u64,
    /// Bursts from a packet ring: joins, resumptions, and answers to the viewer's keyframe requests.
    pub catch_ups: u64,
    /// Packets lost on the way to the viewer since its last report, in 1/256 (RFC 3550 §6.4.1).
    pub fraction_lost: u8,
    /// Packets lost on the way to the viewer since the start.
    pub cumulative_lost: i32,
    /// Interarrival jitter at the viewer, in ticks of the track's clock.
    pub jitter: u32,
    /// When the first packet of a keyframe was written.
    pub first_keyframe: Option<MonoTime>,
    /// When a packet of a keyframe was written last, retransmissions aside.
    pub last_keyframe: Option<MonoTime>,
    /// When the viewer asked for a keyframe last (PLI or FIR).
    pub last_keyframe_wanted: Option<MonoTime>,
}
