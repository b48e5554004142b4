//! What viewers need to know of a publisher's track.
//!
//! [`TrackInfo`] travels from the publisher's shard to every shard with viewers of the room, whole, each time
//! something in it changes: a few times a second at most. [`Arrival`] travels once per packet and is therefore
//! a few bytes that name a slot of a packet ring.

use rtp::codec::{Codec, MediaKind};
use rtp::{ExtSeq, NtpTime, RtpTimestamp};

/// The number of layers that a track may have. OBS sends up to four.
pub const MAX_LAYERS: usize = 4;

/// A layer of a track, in the order in which the offer listed them. Audio has layer 0 alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerIndex(pub u8);

/// One publisher session of a room. It rises with each session; a restart or takeover is a new epoch, and
/// sequence numbers of different epochs have nothing in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// A track as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackInfo {
    /// The publisher session that the track belongs to.
    pub epoch: Epoch,
    /// Audio or video; a room has one track of each.
    pub kind: MediaKind,
    /// The layers by index: one to [`MAX_LAYERS`], whether or not media has arrived on them.
    pub layers: Vec<LayerInfo>,
}

impl TrackInfo {
    /// Takes over what was measured since, where nothing else has changed; otherwise says no, and takes nothing.
    /// Allocates nothing: a viewer hears of each sender report.
    pub(crate) fn take_measured(&mut self, newer: &Self) -> bool {
        let Self { epoch, kind, layers } = newer;
        let is_same = (self.epoch, self.kind, self.layers.len()) == (*epoch, *kind, layers.len())
            && self.layers.iter().zip(layers).all(|(known, newer)| known.is_named_as(newer));
        if is_same {
            self.layers.iter_mut().zip(layers).for_each(|(known, newer)| known.take_measured(newer));
        }
        is_same
    }
}

/// A layer as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerInfo {
    /// The layer's place in [`TrackInfo::layers`].
    pub index: LayerIndex,
    /// The name that the publisher gave the layer (RFC 8852); `None` without simulcast by RID.
    pub rid: Option<String>,
    /// The codec of the newest packet; before the first packet, the codec that the answer prefers.
    pub codec: Codec,
    /// The `fmtp` parameters negotiated for that codec, empty if none.
    pub parameters: String,
    /// True while media arrives: for video within the last 2 s, for audio from the first packet on.
    pub active: bool,
    /// The picture's width and height, once a packet has shown them.
    pub size: Option<(u16, u16)>,
    /// Payload bits per second over the last second or so; 0 until measured.
    pub bitrate_bps: u64,
    /// Frames per second over the last second or so; 0 until measured.
    pub frames_per_second: f32,
    /// Whether a joining viewer gets a picture from the ring at once: false before the first keyframe, and while the
    /// newest one is further back than the ring keeps.
    pub join_cache: bool,
    /// The layer's place on the server media time line, once a sender report has come.
    pub timing: Option<Timing>,
}

impl LayerInfo {
    /// Says whether both were negotiated alike.
    fn is_named_as(&self, other: &Self) -> bool {
        self.index == other.index
            && self.codec == other.codec
            && self.rid == other.rid
            && self.parameters == other.parameters
    }

    fn take_measured(&mut self, newer: &Self) {
        // Each field by its name, so that a new one cannot be forgotten here.
        let Self {
            index: _,
            rid: _,
            codec: _,
            parameters: _,
            active,
            size,
            bitrate_bps,
            frames_per_second,
            join_cache,
            timing,
        } = newer;
        (self.active, self.size, self.join_cache, self.timing) = (*active, *size, *join_cache, *timing);
        (self.bitrate_bps, self.frames_per_second) = (*bitrate_bps, *frames_per_second);
    }
}

/// One point of a layer's time line: this RTP timestamp was sampled at that server media time.
///
/// All tracks of one session are mapped by one clock offset, so audio and video keep their distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The RTP timestamp, in the numbering of [`crate::Packet::timestamp`].
    pub rtp: RtpTimestamp,
    /// The server media time of the same instant.
    pub ntp: NtpTime,
}

/// A packet that was stored in its layer's ring and may now be fanned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The track.
    pub kind: MediaKind,
    /// The layer of the track.
    pub layer: LayerIndex,
    /// The slot in the layer's ring. Rises by one from packet to packet as the publisher sent them, but late
    /// and repaired packets arrive after higher ones.
    pub seq: ExtSeq,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track() -> TrackInfo {
        let layer = LayerInfo {
            index: LayerIndex(0),
            rid: Some("low".to_owned()),
            codec: Codec::H264,
            parameters: "packetization-mode=1".to_owned(),
            active: false,
            size: None,
            bitrate_bps: 0,
            frames_per_second: 0.0,
            join_cache: false,
            timing: None,
        };
        TrackInfo { epoch: Epoch(1), kind: MediaKind::Video, layers: vec![layer] }
    }

    fn with(change: impl FnOnce(&mut LayerInfo)) -> TrackInfo {
        let mut track = track();
        change(&mut track.layers[0]);
        track
    }

    #[test]
    fn what_was_measured_is_taken_over_whole() {
        let mut known = track();
        let newer = with(|layer| {
            layer.active = true;
            layer.size = Some((1_280, 720));
            layer.bitrate_bps = 2_000_000;
            layer.frames_per_second = 30.0;
            layer.join_cache = true;
            layer.timing = Some(Timing { rtp: RtpTimestamp(9), ntp: NtpTime::from_unix_nanos(7) });
        });

        assert!(known.take_measured(&newer));

        assert_eq!(known, newer);
    }

    #[test]
    fn what_was_negotiated_anew_is_not_taken_for_a_measurement() {
        let others = [
            TrackInfo { epoch: Epoch(2), ..track() },
            TrackInfo { layers: Vec::new(), ..track() },
            with(|layer| layer.codec = Codec::Vp8),
            with(|layer| layer.rid = None),
            with(|layer| layer.parameters = "packetization-mode=0".to_owned()),
        ];

        for other in others {
            let mut known = track();
            assert!(!known.take_measured(&other));
            assert_eq!(known, track());
        }
    }
}
