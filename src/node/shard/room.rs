//! What one shard knows of one room.

use rtp::{MediaKind, MonoTime};
use sfu::drop_reason::DropReason;
use sfu::ring::Rings;
use sfu::track::{Arrival, Epoch, TrackInfo};

use super::gathering::Gathering;
use super::load::Busy;
use super::table::SessionKey;
use super::wanted::{LayerSet, WantedLayers};
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
    /// What is being sent, video before audio.
    pub(super) serving: Vec<Arrival>,
    /// Who gets it next: an index of `viewers`.
    pub(super) next_viewer: usize,
    /// What has arrived since.
    arrivals: Vec<Arrival>,
    /// How many of those the other shards know of.
    told: usize,
    gathering: Gathering,
    /// The layers of video that rest, because nobody wanted them.
    pub(super) resting: LayerSet,
    /// What viewers want of the publisher here.
    pub(super) wanted: WantedLayers,
    /// Whether the room stands on the shard's list of rooms with something to send.
    is_listed: bool,
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
            serving: Vec::with_capacity(ARRIVALS_CAPACITY),
            next_viewer: 0,
            arrivals: Vec::with_capacity(ARRIVALS_CAPACITY),
            told: 0,
            gathering: Gathering::default(),
            resting: LayerSet::default(),
            wanted: WantedLayers::default(),
            is_listed: false,
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
            self.told = 0;
            self.serving.clear();
            self.gathering = Gathering::default();
            self.resting = LayerSet::default();
            self.wanted = WantedLayers::default();
            self.audio = None;
            self.video = None;
            self.epoch = Some(epoch);
        }
        self.epoch == Some(epoch)
    }

    /// Takes a packet that has come into the rings. Says whether the room must be put on the shard's list.
    ///
    /// # Errors
    /// [`DropReason::Backlog`] when the fan-out is too far behind to take more.
    pub(super) fn note_arrival(&mut self, now: MonoTime, arrival: Arrival) -> Result<bool, DropReason> {
        self.rings.handle_arrival(arrival);
        if self.arrivals.len() >= ARRIVALS_WAITING_MAX {
            return Err(DropReason::Backlog);
        }
        let packet = self.rings.get(arrival.kind, arrival.layer).packet(arrival.seq);
        let marker = packet.is_some_and(|packet| packet.marker);
        self.gathering.note(now, arrival.kind, marker);
        self.arrivals.push(arrival);
        Ok(!std::mem::replace(&mut self.is_listed, true))
    }

    /// Takes what the other shards have not been told of yet.
    pub(super) fn take_untold(&mut self) -> &[Arrival] {
        let from = std::mem::replace(&mut self.told, self.arrivals.len());
        self.arrivals.get(from..).unwrap_or_default()
    }

    /// Begins to send what has gathered, if nothing is being sent and it has waited long enough. Video goes first, so
    /// that a run of equal packets ends with the shorter audio; the newest packet of that may stay for the next frame.
    pub(super) fn begin_serving(&mut self, now: MonoTime, busy: Busy) {
        if !self.serving.is_empty() || self.gathering.due(busy).is_none_or(|due| due > now) {
            return;
        }
        for kind in [MediaKind::Video, MediaKind::Audio] {
            self.serving.extend(self.arrivals.iter().filter(|arrival| arrival.kind == kind));
        }
        self.arrivals.clear();
        if self.gathering.begin(now, busy) {
            self.arrivals.extend(self.serving.pop());
        }
        // The other shards are told before anything is sent here.
        self.told = self.arrivals.len();
        self.next_viewer = 0;
    }

    /// Returns when the room has something to send; `None` when nothing waits.
    pub(super) fn due(&self, now: MonoTime, busy: Busy) -> Option<MonoTime> {
        if self.serving.is_empty() { self.gathering.due(busy) } else { Some(now) }
    }

    /// Notes that the room was taken off the shard's list. Says whether it has to go back onto it.
    pub(super) const fn relist(&mut self) -> bool {
        self.is_listed = !self.serving.is_empty() || !self.arrivals.is_empty();
        self.is_listed
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

    /// Returns the layers of video that there are; none before the track is described.
    pub(super) fn video_layers(&self) -> LayerSet {
        let layers = || self.video.iter().flat_map(|info| &info.layers);
        LayerSet::of(|layer| layers().any(|info| info.index == layer))
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
        let Some(index) = self.viewers.iter().position(|other| *other == key) else { return };
        self.viewers.remove(index);
        // The others keep their order, and none is passed over.
        if index < self.next_viewer {
            self.next_viewer -= 1;
        }
    }
}

/// Arrivals that wait while earlier ones are being sent: several seconds of a publisher with three layers. A fan-out
/// that is further behind has lost its packets from the rings anyway.
const ARRIVALS_WAITING_MAX: usize = 8_192;

/// A full receive batch.
const ARRIVALS_CAPACITY: usize = 1_024;
