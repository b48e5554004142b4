//! The receiving half of the SFU: one publisher session, from decrypted packets to filled packet rings.

use std::sync::Arc;
use std::time::Duration;

use rtp::codec::MediaKind;
use rtp::negotiation::PublishedTrack;
use rtp::{MediaClock, MonoTime, Ssrc};

use crate::drop_reason::{DropCounts, DropReason};
use crate::ring::Page;
use crate::track::{Arrival, Epoch, LayerIndex, TrackInfo};

/// What a publisher session agreed on.
#[derive(Debug)]
pub struct PublisherConfig {
    /// The session's epoch in its room.
    pub epoch: Epoch,
    /// The tracks of the answer; the first of each kind counts.
    pub tracks: Vec<PublishedTrack>,
    /// The SSRC under which our feedback goes out.
    pub rtcp_ssrc: Ssrc,
    /// Our CNAME in source descriptions (RFC 3550 §6.5.1).
    pub cname: String,
    /// The server media clock.
    pub clock: MediaClock,
}

/// What the driver has to pass on.
#[derive(Debug)]
pub enum PublisherOutput {
    /// A page was opened: every shard with viewers of the room needs it before it hears of arrivals in it.
    Page {
        /// The track.
        kind: MediaKind,
        /// The layer of the track.
        layer: LayerIndex,
        /// The page.
        page: Arc<Page>,
    },
    /// A track changed; viewers get the whole of it.
    Track(TrackInfo),
}

/// Counters of one publisher session.
#[derive(Clone, Debug, Default)]
pub struct PublisherStats {
    /// Packets not stored, by reason.
    pub drops: DropCounts,
}

/// One publisher session.
#[derive(Debug)]
pub struct Publisher {
    stats: PublisherStats,
}

impl Publisher {
    /// Makes a session; `seed` spreads the times of its reports.
    #[must_use]
    pub fn new(_config: PublisherConfig, _now: MonoTime, _seed: u64) -> Self {
        Self { stats: PublisherStats::default() }
    }

    /// Takes one decrypted RTP packet.
    ///
    /// # Errors
    /// The reason for which the packet was not stored; it is counted already.
    pub fn handle_rtp(&mut self, _now: MonoTime, _packet: &[u8]) -> Result<Option<Arrival>, DropReason> {
        Ok(None)
    }

    /// Takes one decrypted RTCP compound packet.
    pub fn handle_rtcp(&mut self, _now: MonoTime, _compound: &[u8]) {}

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: MonoTime) {}

    /// Takes the round-trip time to the publisher, when the driver has measured it.
    pub fn set_rtt(&mut self, _rtt: Duration) {}

    /// Asks the publisher for a keyframe of a layer.
    pub fn request_keyframe(&mut self, _now: MonoTime, _layer: LayerIndex) {}

    /// Returns what is to be passed on next; poll until `None` after each `handle_…`.
    pub fn poll_output(&mut self) -> Option<PublisherOutput> {
        None
    }

    /// Writes the next RTCP compound that is due and returns its length.
    pub fn write_rtcp(&mut self, _now: MonoTime, _out: &mut [u8]) -> Option<usize> {
        None
    }

    /// Writes a BYE and returns its length; 0 when `out` has no room.
    pub fn bye(&mut self, _out: &mut [u8]) -> usize {
        0
    }

    /// Returns when to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        None
    }

    /// Returns when media last arrived.
    #[must_use]
    pub fn last_media(&self) -> Option<MonoTime> {
        None
    }

    /// Returns the session's counters.
    #[must_use]
    pub const fn stats(&self) -> &PublisherStats {
        &self.stats
    }

    /// Returns a track as it is now.
    #[must_use]
    pub fn track_info(&self, _kind: MediaKind) -> Option<TrackInfo> {
        None
    }
}
