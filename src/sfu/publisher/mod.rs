//! The receiving half of the SFU: one publisher session, from decrypted packets to filled packet rings.
//! Packet path.
//!
//! A packet's way: [`Publisher::handle_rtp`] notes its transport-wide number, finds the layer of its SSRC
//! (`binding`), takes it out of its RTX wrapping if it is a retransmission, gives it its place in the layer's
//! unbroken numbering (`numbering`), reads what its payload shows and copies it into the layer's ring (`layer`).
//! What comes out is an [`Arrival`] to fan out, and now and then an output: a page of the ring that readers need
//! first, or a changed [`TrackInfo`].
//!
//! The way back is [`Publisher::write_rtcp`] (`feedback`): NACK at the pace of the round trip, keyframe requests
//! merged to one a second and layer, transport-wide feedback, receiver reports.
//!
//! **Invariants.** Storing a packet allocates nothing once the rings have grown to their bounds; what allocates
//! is a [`TrackInfo`], a few times a second. No input grows a list past its constant. Nothing here ends a
//! session: whatever a packet holds, it is stored or counted as a drop.

mod binding;
mod capture_time;
mod clock;
mod feedback;
mod formats;
mod keyframe;
mod layer;
mod meter;
mod nack;
mod numbering;
mod report;
mod round_trip;
mod stats;
mod track;
mod transport_cc;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rtp::codec::MediaKind;
use rtp::extension::Extension;
use rtp::negotiation::{PublishedTrack, SsrcPair};
use rtp::rtcp::{self, Packet};
use rtp::{MediaClock, MonoTime, NtpTime, RtpTimestamp, RtpView, SeqNo, Ssrc};

use self::binding::{Bindings, Evidence, Found, Slot, identify};
use self::clock::PublisherClock;
use self::feedback::Feedback;
use self::formats::Meaning;
use self::layer::{Content, Incoming, Layer, Stored};
use self::numbering::Wire;
use self::round_trip::RoundTrip;
use self::track::Track;
use self::transport_cc::TransportCc;
use crate::drop_reason::DropReason;
use crate::ring::Page;
use crate::track::{Arrival, Epoch, LayerIndex, TrackInfo};

pub use self::stats::{LayerStats, PublisherStats};

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
    /// A group of pictures has outgrown the ring: viewers who join wait for a keyframe. Once per layer.
    GopOutgrewRing(LayerIndex),
}

/// One publisher session.
#[derive(Debug)]
pub struct Publisher {
    epoch: Epoch,
    media_clock: MediaClock,
    tracks: Vec<Track>,
    bindings: Bindings,
    clock: PublisherClock,
    transport_cc: Option<TransportCc>,
    feedback: Feedback,
    rtt: RoundTrip,
    outputs: VecDeque<PublisherOutput>,
    stats: PublisherStats,
    last_media: Option<MonoTime>,
    /// The SSRC of the newest packet, which transport-wide feedback has to name.
    last_ssrc: Ssrc,
}

impl Publisher {
    /// Makes a session; `seed` spreads the times of its reports. Its tracks are the first outputs.
    #[must_use]
    pub fn new(config: PublisherConfig, now: MonoTime, seed: u64) -> Self {
        let mut tracks: Vec<Track> = Vec::new();
        let mut bindings = Bindings::new();
        for published in config.tracks {
            if tracks.iter().any(|track| track.kind == published.kind) {
                continue;
            }
            let (mut track, ssrcs) = Track::new(published);
            declare(&mut bindings, tracks.len(), &mut track, &ssrcs);
            tracks.push(track);
        }
        let transport_cc = tracks.iter().any(|track| track.transport_cc).then(TransportCc::new);
        let mut publisher = Self {
            epoch: config.epoch,
            media_clock: config.clock,
            tracks,
            bindings,
            clock: PublisherClock::default(),
            transport_cc,
            feedback: Feedback::new(config.rtcp_ssrc, config.cname, now, seed),
            rtt: RoundTrip::default(),
            outputs: VecDeque::new(),
            stats: PublisherStats::default(),
            last_media: None,
            last_ssrc: Ssrc(0),
        };
        publisher.tell_changes(now);
        publisher
    }

    /// Takes one decrypted RTP packet. Returns the arrival to fan out; `None` when the packet was in order but
    /// brought nothing new (a duplicate, a probe of the publisher's). Drain the outputs before fanning out.
    ///
    /// # Errors
    /// The reason for which the packet was not stored; it is counted already.
    pub fn handle_rtp(&mut self, now: MonoTime, packet: &[u8]) -> Result<Option<Arrival>, DropReason> {
        self.stats.packets = self.stats.packets.saturating_add(1);
        let bytes = u64::try_from(packet.len()).unwrap_or(u64::MAX);
        self.stats.bytes = self.stats.bytes.saturating_add(bytes);
        let outcome = self.receive(now, packet);
        if let Err(reason) = outcome {
            self.stats.drops.add(reason);
        }
        self.tell_changes(now);
        outcome
    }

    /// Takes one decrypted RTCP compound. What follows a malformed packet in it is ignored.
    pub fn handle_rtcp(&mut self, now: MonoTime, compound: &[u8]) {
        for packet in rtcp::packets(compound) {
            match packet {
                Ok(Packet::SenderReport { ssrc, ntp, rtp, .. }) => {
                    self.handle_sender_report(now, ssrc, ntp, rtp);
                }
                Ok(Packet::Bye { ssrcs }) => ssrcs.for_each(|ssrc| self.handle_bye(ssrc)),
                Ok(_) => {}
                Err(_) => self.stats.malformed_rtcp = self.stats.malformed_rtcp.saturating_add(1),
            }
        }
        self.tell_changes(now);
    }

    /// Does what is due. Call [`Self::write_rtcp`] afterwards: feedback is due at the same times.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        self.tend_losses(now);
        for track in &mut self.tracks {
            for layer in &mut track.layers {
                track.changed |= layer.handle_timeout(now);
            }
        }
        self.tell_changes(now);
    }

    /// Asks the publisher for a keyframe of a video layer: at once, or as soon as the last request is a second
    /// old. Unanswered, it is repeated twice.
    pub fn request_keyframe(&mut self, _now: MonoTime, layer: LayerIndex) {
        let video = self.tracks.iter_mut().find(|track| track.kind == MediaKind::Video);
        if let Some(layer) = video.and_then(|track| track.layers.get_mut(usize::from(layer.0))) {
            layer.keyframes.request();
        }
    }

    /// Returns what is to be passed on next; poll until `None` after each `handle_…`.
    pub fn poll_output(&mut self) -> Option<PublisherOutput> {
        self.outputs.pop_front()
    }

    /// Returns when to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        let layers = self.tracks.iter().flat_map(|track| {
            track.layers.iter().filter_map(|layer| layer.next_timeout(self.rtt.pace(track, layer)))
        });
        let transport = self.transport_cc.as_ref().and_then(TransportCc::next_timeout);
        let news = self.tracks.iter().filter_map(Track::next_news);
        layers.chain(transport).chain(news).chain(self.report_due()).min()
    }

    /// Returns when media last arrived on any track.
    #[must_use]
    pub const fn last_media(&self) -> Option<MonoTime> {
        self.last_media
    }

    /// Returns the session's counters.
    #[must_use]
    pub const fn stats(&self) -> &PublisherStats {
        &self.stats
    }

    /// Returns a layer's counters.
    #[must_use]
    pub fn layer_stats(&self, kind: MediaKind, layer: LayerIndex) -> Option<LayerStats> {
        let track = self.tracks.iter().find(|track| track.kind == kind)?;
        let layer = track.layers.get(usize::from(layer.0))?;
        let clock_rate = track.format_of(layer).map_or(0, |format| format.codec.clock_rate());
        Some(layer.stats(clock_rate))
    }

    /// Returns a track as it is now.
    #[must_use]
    pub fn track_info(&self, kind: MediaKind) -> Option<TrackInfo> {
        let track = self.tracks.iter().find(|track| track.kind == kind)?;
        Some(track.info(self.epoch, &self.clock))
    }

    /// Returns the round trip as the answers to NACKs measure it; `None` before the first.
    #[must_use]
    pub const fn measured_rtt(&self) -> Option<Duration> {
        self.rtt.measured()
    }

    fn receive(&mut self, now: MonoTime, packet: &[u8]) -> Result<Option<Arrival>, DropReason> {
        let view = RtpView::parse(packet).map_err(|_| DropReason::Malformed)?;
        self.last_ssrc = view.ssrc;
        let slot = self.find_slot(now, &view);
        self.note_transport_number(now, &view, slot.ok());
        let slot = slot?;
        let track = self.tracks.get(slot.track).ok_or(DropReason::UnknownSsrc)?;
        match track.formats.meaning(view.payload_type) {
            Some(Meaning::Media(format)) if !slot.rtx => self.receive_media(now, slot, format, &view),
            Some(Meaning::Rtx(format)) if slot.rtx => self.receive_rtx(now, slot, format, &view),
            _ => Err(DropReason::UnknownPayloadType),
        }
    }

    fn find_slot(&mut self, now: MonoTime, view: &RtpView<'_>) -> Result<Slot, DropReason> {
        let (slot, evidence) = match self.bindings.find(now, view.ssrc) {
            Found::Bound(slot) => return Ok(slot),
            Found::Left { slot, lately: true } => (slot, Evidence::PayloadType),
            Found::Left { slot, lately: false } => {
                identify(&self.tracks, view).unwrap_or((slot, Evidence::PayloadType))
            }
            Found::Unknown => identify(&self.tracks, view)?,
        };
        if !self.bindings.bind(now, view.ssrc, slot, evidence) {
            return Err(if slot.rtx { DropReason::UnknownRtx } else { DropReason::UnknownSsrc });
        }
        if let Some(layer) = layer_mut(&mut self.tracks, slot).filter(|_| !slot.rtx) {
            if layer.ssrc.replace(view.ssrc).is_some() {
                self.stats.source_changes = self.stats.source_changes.saturating_add(1);
            }
            layer.numbering.restart();
        }
        Ok(slot)
    }

    /// Notes the arrival of a transport-wide number, also of packets that no layer takes: the publisher's
    /// estimate counts everything that it sends.
    fn note_transport_number(&mut self, now: MonoTime, view: &RtpView<'_>, slot: Option<Slot>) {
        let Some(recorder) = &mut self.transport_cc else { return };
        let bound = slot.and_then(|slot| self.tracks.get(slot.track));
        let track = bound.or_else(|| self.tracks.iter().find(|track| track.transport_cc));
        let Some(track) = track.filter(|track| track.transport_cc) else { return };
        let number = view.extensions.find(&track.extensions, Extension::TransportCc);
        if let Some(&[high, low]) = number.and_then(|bytes| bytes.first_chunk()) {
            recorder.handle_packet(now, SeqNo(u16::from_be_bytes([high, low])));
        }
    }

    fn receive_media(
        &mut self,
        now: MonoTime,
        slot: Slot,
        format: usize,
        view: &RtpView<'_>,
    ) -> Result<Option<Arrival>, DropReason> {
        let track = self.tracks.get_mut(slot.track).ok_or(DropReason::UnknownSsrc)?;
        let mut capture = [0; 8];
        let carried = track.carried(view, &self.clock, &mut capture);
        let (codec, plain_repair) = track.formats.get(format).map_or_else(
            || Err(DropReason::UnknownPayloadType),
            |format| Ok((format.codec, format.rtx.is_none())),
        )?;
        let layer = track.layers.get_mut(slot.layer).ok_or(DropReason::UnknownSsrc)?;
        let clock_rate = codec.clock_rate();
        let wire = Wire { seq: view.seq, timestamp: view.timestamp, clock_rate };
        let place = layer.numbering.place(now, wire)?;
        if place.restarted {
            layer.begin_source();
        }
        layer.reception.handle_packet(now, view.seq, view.timestamp, clock_rate);
        let incoming = Incoming { place, marker: view.marker, payload: view.payload, carried, format, codec };
        let Some(stored) = layer.store(now, &track.formats, incoming)? else {
            self.stats.duplicates = self.stats.duplicates.saturating_add(1);
            return Ok(None);
        };
        // Where there is RTX, what comes here was merely late.
        if let Some(round_trip) = stored.filled.round_trip.filter(|_| plain_repair) {
            layer.nack.handle_answer();
            self.rtt.handle_answer(round_trip);
        }
        Ok(self.pass_on(now, slot, stored))
    }

    fn receive_rtx(
        &mut self,
        now: MonoTime,
        slot: Slot,
        format: usize,
        view: &RtpView<'_>,
    ) -> Result<Option<Arrival>, DropReason> {
        let Some((&original, payload)) = view.payload.split_first_chunk() else {
            if view.payload.is_empty() {
                // Publishers probe their path with padding on the RTX source.
                self.stats.padding_packets = self.stats.padding_packets.saturating_add(1);
                return Ok(None);
            }
            return Err(DropReason::TruncatedRtx);
        };
        self.stats.rtx_packets = self.stats.rtx_packets.saturating_add(1);
        let track = self.tracks.get_mut(slot.track).ok_or(DropReason::UnknownRtx)?;
        let mut capture = [0; 8];
        let carried = track.carried(view, &self.clock, &mut capture);
        let codec = track.formats.get(format).ok_or(DropReason::UnknownPayloadType)?.codec;
        let layer = track.layers.get_mut(slot.layer).ok_or(DropReason::UnknownRtx)?;
        layer.nack.handle_answer();
        let seq = SeqNo(u16::from_be_bytes(original));
        let wire = Wire { seq, timestamp: view.timestamp, clock_rate: codec.clock_rate() };
        let place = layer.numbering.place_repaired(wire)?;
        let incoming = Incoming { place, marker: view.marker, payload, carried, format, codec };
        let Some(stored) = layer.store(now, &track.formats, incoming)? else {
            self.stats.duplicates = self.stats.duplicates.saturating_add(1);
            return Ok(None);
        };
        if let Some(round_trip) = stored.filled.round_trip {
            self.rtt.handle_answer(round_trip);
        }
        Ok(self.pass_on(now, slot, stored))
    }

    /// Counts a stored packet and says what is to be fanned out.
    fn pass_on(&mut self, now: MonoTime, slot: Slot, stored: Stored) -> Option<Arrival> {
        let track = self.tracks.get_mut(slot.track)?;
        track.changed |= stored.changed;
        let (kind, layer) = (track.kind, track.layers.get(slot.layer)?.index);
        if let Some(page) = stored.page {
            self.outputs.push_back(PublisherOutput::Page { kind, layer, page });
        }
        self.stats.recovered = self.stats.recovered.saturating_add(u64::from(stored.filled.was_missing));
        match stored.content {
            Content::Media => self.last_media = Some(now),
            Content::Padding => self.stats.padding_packets = self.stats.padding_packets.saturating_add(1),
            Content::Unreadable => self.stats.drops.add(DropReason::BadPayload),
        }
        Some(Arrival { kind, layer, seq: stored.seq })
    }

    fn handle_sender_report(&mut self, now: MonoTime, ssrc: Ssrc, ntp: NtpTime, rtp: RtpTimestamp) {
        self.stats.sender_reports = self.stats.sender_reports.saturating_add(1);
        let slot = self.bindings.peek(ssrc).filter(|slot| !slot.rtx);
        // A publisher without a clock says zero (RFC 3550 §6.4.1).
        let Some(layer) = slot.and_then(|slot| layer_mut(&mut self.tracks, slot)).filter(|_| ntp.0 != 0)
        else {
            return;
        };
        layer.handle_sender_report(now, ntp, rtp);
        self.clock.handle_sender_report(now, self.media_clock.ntp(now), ntp);
        // One offset serves all tracks, so all of them move together.
        self.tracks.iter_mut().for_each(|track| track.changed = true);
    }

    fn handle_bye(&mut self, ssrc: Ssrc) {
        let Some(slot) = self.bindings.peek(ssrc).filter(|slot| !slot.rtx) else { return };
        let Some(track) = self.tracks.get_mut(slot.track) else { return };
        if let Some(layer) = track.layers.get_mut(slot.layer) {
            track.changed |= layer.handle_bye();
        }
    }

    fn tend_losses(&mut self, now: MonoTime) {
        for track in &mut self.tracks {
            for at in 0..track.layers.len() {
                let Some(pace) = track.layers.get(at).map(|layer| self.rtt.pace(track, layer)) else {
                    continue;
                };
                if let Some(layer) = track.layers.get_mut(at) {
                    layer.tend_losses(now, pace);
                }
            }
        }
    }

    /// Puts out every track that has changed since viewers heard of it.
    fn tell_changes(&mut self, now: MonoTime) {
        for track in &mut self.tracks {
            let outgrown =
                track.layers.iter_mut().filter_map(|layer| layer.take_outgrown().then_some(layer.index));
            self.outputs.extend(outgrown.map(PublisherOutput::GopOutgrewRing));
            let news = track.take_news(now, self.epoch, &self.clock);
            self.outputs.extend(news.map(PublisherOutput::Track));
        }
    }
}

/// Binds the SSRCs that the offer declared, layer by layer.
fn declare(bindings: &mut Bindings, at: usize, track: &mut Track, ssrcs: &[SsrcPair]) {
    for (index, (layer, pair)) in track.layers.iter_mut().zip(ssrcs).enumerate() {
        let slot = Slot { track: at, layer: index, rtx: false };
        if bindings.declare(pair.media, slot) {
            layer.ssrc = Some(pair.media);
        }
        if let Some(rtx) = pair.rtx {
            bindings.declare(rtx, Slot { rtx: true, ..slot });
        }
    }
}

fn layer_mut(tracks: &mut [Track], slot: Slot) -> Option<&mut Layer> {
    tracks.get_mut(slot.track)?.layers.get_mut(slot.layer)
}

#[cfg(test)]
mod tests;
