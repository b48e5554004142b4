//! What one shard knows of one room.

use rtp::MediaKind;
use sfu::ring::Rings;
use sfu::track::{Arrival, Epoch, TrackInfo};

use super::table::SessionKey;
use crate::name::RoomName;
use crate::registry::ShardId;

/// One room on one shard: the rings that its viewers read, and who they are.
#[derive(Debug)]
pub(super) struct ShardRoom {
    pub(super) name: RoomName,
    pub(super) rings: Rings,
    pub(super) viewers: Vec<SessionKey>,
    /// The publisher, when it is on this shard.
    pub(super) publisher: Option<SessionKey>,
    /// The shard of the publisher, when there is one.
    pub(super) publisher_shard: Option<ShardId>,
    /// What arrived since the last fan-out.
    pub(super) arrivals: Vec<Arrival>,
    epoch: Option<Epoch>,
    audio: Option<TrackInfo>,
    video: Option<TrackInfo>,
}

impl ShardRoom {
    pub(super) fn new(name: RoomName) -> Self {
        Self {
            name,
            rings: Rings::new(),
            viewers: Vec::new(),
            publisher: None,
            publisher_shard: None,
            arrivals: Vec::with_capacity(ARRIVALS_CAPACITY),
            epoch: None,
            audio: None,
            video: None,
        }
    }

    /// Says whether an epoch is the present one, beginning it when it is newer.
    pub(super) fn enter(&mut self, epoch: Epoch) -> bool {
        if self.epoch.is_none_or(|present| epoch > present) {
            self.rings.reset();
            self.arrivals.clear();
            self.audio = None;
            self.video = None;
            self.epoch = Some(epoch);
        }
        self.epoch == Some(epoch)
    }

    pub(super) const fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// Keeps what is known of a track.
    pub(super) fn set_track(&mut self, info: TrackInfo) {
        match info.kind {
            MediaKind::Audio => self.audio = Some(info),
            MediaKind::Video => self.video = Some(info),
        }
    }

    /// Returns the tracks that are known, audio first.
    pub(super) fn tracks(&self) -> impl Iterator<Item = &TrackInfo> {
        self.audio.iter().chain(self.video.iter())
    }

    /// Forgets the publisher; rings stay until the next epoch, so that late requests can still be answered.
    pub(super) fn leave(&mut self, epoch: Epoch) -> bool {
        if self.epoch != Some(epoch) {
            return false;
        }
        self.audio = None;
        self.video = None;
        self.publisher_shard = None;
        true
    }

    /// Says whether nobody on this shard needs the room.
    pub(super) fn is_unused(&self) -> bool {
        self.viewers.is_empty() && self.publisher.is_none()
    }

    pub(super) fn remove_viewer(&mut self, key: SessionKey) {
        self.viewers.retain(|other| *other != key);
    }
}

/// A full receive batch.
const ARRIVALS_CAPACITY: usize = 1_024;
