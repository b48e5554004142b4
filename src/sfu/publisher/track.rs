//! One track of a publisher: its formats, its extensions, its layers.

use rtp::{MonoTime, RtpView};
use std::time::Duration;

use rtp::codec::MediaKind;
use rtp::extension::{Extension, ExtensionMap};
use rtp::negotiation::{Format, PublishedTrack, SsrcPair};

use super::capture_time;
use super::clock::PublisherClock;
use super::formats::Formats;
use super::layer::Layer;
use crate::packet::CARRIED;
use crate::track::{Epoch, LayerIndex, MAX_LAYERS, TrackInfo};

/// How often a second viewers are told of a track. A publisher in good order needs about five; more wait, so that
/// one which changes something with every packet costs its viewers' shards no more.
const TELLS_MAX: u8 = 10;

/// The time over which those are counted.
const TELLS_WINDOW: Duration = Duration::from_secs(1);

/// A negotiated track.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) kind: MediaKind,
    pub(super) mid: String,
    pub(super) formats: Formats,
    pub(super) extensions: ExtensionMap,
    pub(super) transport_cc: bool,
    pub(super) layers: Vec<Layer>,
    /// Viewers have not heard of the last change.
    pub(super) changed: bool,
    /// When counting began of how often they were told, and how often it was.
    counted_since: MonoTime,
    told: u8,
}

impl Track {
    /// Makes a track as it was negotiated, and the SSRCs that the offer declared for its layers, in their order.
    ///
    /// A layer stands for each RID; without RIDs, for each declared source; without either there is one.
    pub(super) fn new(published: PublishedTrack) -> (Self, Vec<SsrcPair>) {
        let PublishedTrack { mid, kind, formats, extensions, rids, ssrcs, transport_cc, .. } = published;
        let most = if kind == MediaKind::Audio { 1 } else { MAX_LAYERS };
        let named = rids.into_iter().map(Some);
        let unnamed = std::iter::repeat_n(None, ssrcs.len().max(1));
        let rids: Vec<_> =
            if named.len() > 0 { named.take(most).collect() } else { unnamed.take(most).collect() };
        let layers =
            (0..).map(LayerIndex).zip(rids).map(|(index, rid)| Layer::new(kind, index, rid)).collect();
        let track = Self {
            kind,
            mid,
            formats: Formats::new(formats),
            extensions,
            transport_cc,
            layers,
            changed: true,
            counted_since: MonoTime::ZERO,
            told: 0,
        };
        (track, ssrcs)
    }

    /// Returns the track if it has changed since viewers were told, and may be told again now.
    pub(super) fn take_news(
        &mut self,
        now: MonoTime,
        epoch: Epoch,
        clock: &PublisherClock,
    ) -> Option<TrackInfo> {
        if self.next_news().is_none_or(|due| due > now) {
            return None;
        }
        if now.since(self.counted_since) >= TELLS_WINDOW {
            self.counted_since = now;
            self.told = 0;
        }
        self.told = self.told.saturating_add(1);
        self.changed = false;
        self.layers.iter_mut().for_each(Layer::handle_told);
        Some(self.info(epoch, clock))
    }

    /// Returns when viewers may be told of the last change; `None` when they know.
    pub(super) fn next_news(&self) -> Option<MonoTime> {
        let waits = if self.told < TELLS_MAX { Duration::ZERO } else { TELLS_WINDOW };
        self.changed.then(|| self.counted_since + waits)
    }

    /// Returns what viewers need to know of the track.
    pub(super) fn info(&self, epoch: Epoch, clock: &PublisherClock) -> TrackInfo {
        let layers = self.layers.iter().map(|layer| layer.info(self.format_of(layer), clock)).collect();
        TrackInfo { epoch, kind: self.kind, layers }
    }

    /// Returns the format that a layer uses; before its first packet, the one that the answer prefers.
    pub(super) fn format_of(&self, layer: &Layer) -> Option<&Format> {
        self.formats.get(layer.format.unwrap_or_default())
    }

    /// Returns the values of the extensions that are carried on to viewers. The capture time is written into
    /// `capture`, in the server media clock.
    pub(super) fn carried<'a>(
        &self,
        view: &RtpView<'a>,
        clock: &PublisherClock,
        capture: &'a mut [u8; 8],
    ) -> [Option<&'a [u8]>; CARRIED.len()] {
        let mut carried = [None; CARRIED.len()];
        if view.extensions.is_empty() {
            return carried;
        }
        let mut capture = Some(capture);
        for (slot, extension) in carried.iter_mut().zip(CARRIED) {
            *slot = view.extensions.find(&self.extensions, extension);
            if extension == Extension::AbsCaptureTime {
                let translated = slot.and_then(|value| capture_time::translate(clock, value));
                *slot = translated.zip(capture.take()).map(|(value, capture)| {
                    *capture = value;
                    capture.as_slice()
                });
            }
        }
        carried
    }
}
