//! The viewer's side: what goes out to one viewer, of what its room's publisher sends.
//!
//! Think of one [`Viewer`] per session with a subscription per track. It is told which packets have come
//! ([`Viewer::handle_arrivals`]) and appends *rewrite instructions* ([`Forward`]); the driver turns each into
//! bytes with [`Viewer::write_packet`], once, and seals them. Everything else happens rarely: the track is
//! described anew, the viewer reports, a timer is due.
//!
//! **Invariants.** One outgoing sequence number stands for one source packet and is handed out once. Numbers,
//! timestamps and pictures stay unbroken over layer switches, publisher restarts and takeovers. A layer is
//! joined at a keyframe only. Nothing is allocated per packet.
//!
//! Start reading at [`Viewer`], then `subscription` (which layer, when), `outgoing` and `rewriter` (under which
//! numbers).

mod burst_window;
mod catch_up;
mod congestion;
mod equalise;
mod format;
mod layers;
mod outgoing;
mod pictures;
mod regulate;
mod regulator;
mod report;
mod retransmit;
mod rewriter;
mod selector;
mod source_numbers;
mod stats;
mod subscription;
mod temporal;
#[cfg(test)]
mod tests;
mod timeline;
mod write;

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rtp::negotiation::ViewedTrack;
use rtp::rtcp::{self, NackIter, ReportBlock, Writer};
use rtp::{
    Codec, ExtSeq, Extension, MediaClock, MediaKind, MonoTime, OutgoingHeader, RtpTimestamp, SeqNo, Ssrc,
};

use self::regulator::Regulator;
use self::report::{Reference, Report, Reporter};
use self::retransmit::Budget;
use self::source_numbers::SourceNumbers;
use self::subscription::{Repair, Start, Step, Subscription};
use self::write::Additions;
use crate::bwe::{self, Cluster};
use crate::{Arrival, DropReason, LayerIndex, Rings, TrackInfo};

pub use self::congestion::Congestion;
pub use self::selector::LayerRequest;
pub use self::stats::{TrackStats, ViewerStats};

/// One viewer of a room.
///
/// Between two packets of one viewer those of a thousand others go out, and its memory leaves the cache: half of what a
/// packet costs here is the wait for it. So the fields of this and of what it is made of stand in the order of their use,
/// which `repr(C)` makes the order of the memory: what every packet reads together, in as few lines of the cache as it
/// fits, what is rarely read behind that.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Viewer {
    video: Option<Track>,
    // With the end of `video`, what each packet reads beside its track.
    /// What keeps the viewer within its path; `None` without video, or without feedback to learn from.
    regulator: Option<Box<Regulator>>,
    /// For a viewer that reports by source.
    numbers: Option<Box<SourceNumbers>>,
    clock: MediaClock,
    /// The next transport-wide number; one space for media and retransmissions of all tracks.
    transport_cc: u16,
    is_regulated: bool,
    stats: ViewerStats,
    budget: Budget,
    audio: Option<Track>,
    // What reports read.
    /// The viewer's wall time that the next report answers.
    reference: Option<Reference>,
    cname: String,
}

/// What a viewer needs to begin.
#[derive(Clone, Debug)]
pub struct ViewerConfig {
    /// What the session negotiated; the first track of each kind counts.
    pub tracks: Vec<ViewedTrack>,
    /// The canonical name of what the server sends (RFC 7022); audio and video of one room share it.
    pub cname: String,
    /// The server media clock.
    pub clock: MediaClock,
}

/// What the driver shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewerOutput {
    /// Ask the publisher's side for a keyframe of this video layer.
    RequestKeyframe(LayerIndex),
    /// Another layer is being forwarded now; for logs, events and the session's state.
    LayerChanged {
        /// The track.
        kind: MediaKind,
        /// The layer before; `None` when nothing was being forwarded.
        from: Option<LayerIndex>,
        /// The layer now.
        to: LayerIndex,
        /// Why.
        reason: SwitchReason,
    },
    /// The publisher sends a codec that the viewer did not negotiate. Once per publisher session and track.
    CodecUnsupported(Codec),
}

/// Why the forwarded layer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchReason {
    /// The viewer's first packet.
    Join,
    /// The viewer asked for another layer.
    Request,
    /// The publisher stopped sending the layer before.
    LayerLost,
    /// A better layer has come, or come back.
    BetterLayer,
    /// The publisher restarted, or another one took over.
    NewPublisher,
    /// Forwarding had paused, and goes on with the same publisher.
    Resume,
    /// The viewer's path carries more than before, or less.
    Path,
}

impl SwitchReason {
    /// Returns the reason's label in logs and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Request => "request",
            Self::LayerLost => "layer_lost",
            Self::BetterLayer => "better_layer",
            Self::NewPublisher => "new_publisher",
            Self::Resume => "resume",
            Self::Path => "path",
        }
    }
}

/// How one packet of a ring goes out to one viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The track.
    pub kind: MediaKind,
    /// The layer whose ring holds the packet.
    pub layer: LayerIndex,
    /// The packet's number in that ring.
    pub source: ExtSeq,
    /// The fixed part of the RTP header.
    pub header: OutgoingHeader,
    /// For a retransmission, the original sequence number (OSN, RFC 4588 §4).
    pub rtx: Option<SeqNo>,
    /// The probe that the packet belongs to.
    pub probe: Option<Cluster>,
    /// Whether it is there only to fill a probe up: a retransmission that nobody asked for, or, without
    /// [`Self::rtx`], padding alone.
    pub is_padding: bool,
    /// The picture id and TL0PICIDX of VP8 or VP9 as they go out.
    pub picture: Option<(u16, u8)>,
    /// The frame number of the dependency descriptor as it goes out.
    pub frame_number: Option<u16>,
    /// Whether the primary block of a RED packet goes out alone (RFC 2198).
    pub primary_only: bool,
    /// Whether the packet goes out empty: it came late and would be withheld, but its number is taken.
    pub filler: bool,
    /// Bytes of payload, before padding.
    pub payload_len: usize,
    /// Bytes of the header extensions that came with the packet.
    pub carried_len: usize,
    /// Bytes of padding behind the payload; 0 for none.
    pub padding: u8,
}

impl Forward {
    /// Makes a packet of padding alone.
    pub(crate) const fn padding(kind: MediaKind, header: OutgoingHeader) -> Self {
        Self {
            kind,
            layer: LayerIndex(0),
            source: ExtSeq(0),
            header,
            rtx: None,
            probe: None,
            is_padding: true,
            picture: None,
            frame_number: None,
            primary_only: false,
            filler: false,
            payload_len: 0,
            carried_len: 0,
            padding: u8::MAX,
        }
    }

    /// Returns how many bytes suffice for the packet before it is sealed.
    #[must_use]
    pub const fn size_hint(&self) -> usize {
        self.payload_len
            .saturating_add(self.carried_len)
            .saturating_add(self.padding as usize)
            .saturating_add(HEADROOM)
    }
}

/// Header, extension block without the long extensions, and OSN: 12 + 4 + 32 in the two-byte form + 2, padded,
/// with room for one byte of padding.
const HEADROOM: usize = 72;

/// A subscription and what the network side of it keeps. Begins a line of the cache, so that the lines which a packet
/// reads are the same of sound and of video.
#[derive(Debug)]
#[repr(C, align(64))]
struct Track {
    subscription: Subscription,
    reporter: Reporter,
}

impl Viewer {
    /// Makes a viewer. `seed` gives the first numbers and timestamps, which must not be guessable
    /// (RFC 3550 §5.1).
    #[must_use]
    pub fn new(config: ViewerConfig, now: MonoTime, seed: u64) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        Self::starting_at(config, now, || Start {
            seq: ExtSeq((1 << 16) | u64::from(dice.next_u32() & FIRST_SEQ_MASK)),
            timestamp: RtpTimestamp(dice.next_u32()),
            rtx: ExtSeq(u64::from(dice.next_u32() & FIRST_SEQ_MASK)).wire(),
        })
    }

    /// Makes a viewer whose tracks, audio first, begin at the numbers that `start` gives.
    fn starting_at(config: ViewerConfig, now: MonoTime, mut start: impl FnMut() -> Start) -> Self {
        let ViewerConfig { tracks, cname, clock } = config;
        let mut first_of = |kind| {
            let track = tracks.iter().find(|track| track.kind == kind)?.clone();
            let subscription = Subscription::new(track, start());
            Some(Track { subscription, reporter: Reporter::default() })
        };
        let (audio, video) = (first_of(MediaKind::Audio), first_of(MediaKind::Video));
        let by_source =
            video.as_ref().is_some_and(|track: &Track| track.subscription.outgoing().track().ccfb);
        Self {
            audio,
            video,
            clock,
            cname,
            transport_cc: 0,
            reference: None,
            budget: Budget::new(now),
            regulator: None,
            is_regulated: true,
            numbers: by_source.then(|| Box::new(SourceNumbers::new())),
            stats: ViewerStats::default(),
        }
    }

    /// Lets the viewer wish for itself, so that a test sees what a subscription does alone.
    #[cfg(test)]
    fn unregulated(mut self) -> Self {
        self.is_regulated = false;
        self
    }

    /// Takes the description of a track: of this publisher session, or of a new one.
    ///
    /// A new epoch must be described before its arrivals are announced, and after the rings were reset.
    pub fn handle_track(&mut self, now: MonoTime, info: &TrackInfo) {
        self.begin_regulation(now, info);
        if let Some(track) = self.track_mut(info.kind) {
            let is_new = track.subscription.info().is_none_or(|known| known.epoch != info.epoch);
            track.subscription.describe(info);
            if let Some(regulator) =
                self.regulator.as_mut().filter(|_| is_new && info.kind == MediaKind::Video)
            {
                regulator.clear();
                regulator.forget_layers();
            }
        }
        self.tell_layers(now);
        if let Some(track) = self.track_mut(info.kind) {
            track.subscription.retarget(now, None);
        }
    }

    /// Reads what deciding about a packet and writing it read, and returns something made of it, which keeps the
    /// reads. Packet path.
    ///
    /// Between two packets of one viewer those of a thousand others go out, and its memory leaves the cache. A driver
    /// that warms a few viewers in a row before it serves them waits for their memory once, not one by one.
    #[must_use]
    pub fn warm(&self) -> u64 {
        let regulator = self.regulator.as_ref().map_or(0, |regulator| regulator.warm());
        let own = u64::from(self.transport_cc) ^ self.stats.warm() ^ self.budget.warm() ^ regulator;
        [&self.video, &self.audio]
            .into_iter()
            .flatten()
            .fold(own, |read, track| read ^ track.subscription.warm() ^ track.reporter.warm())
    }

    /// Reads what a report reads, as [`Self::warm`] does for packets. Packet path.
    #[must_use]
    pub fn warm_report(&self) -> u64 {
        let regulator = self.regulator.as_ref().map_or(0, |regulator| regulator.warm_report());
        let video = self.video.as_ref().map_or(0, |track| track.subscription.warm_report());
        self.budget.warm() ^ regulator ^ video
    }

    /// Learns that the publisher of a track has left, or that forwarding shall pause. The numbering waits;
    /// [`Self::handle_track`] goes on with it, for video at a keyframe: the newest of the ring or the next.
    pub fn handle_track_gone(&mut self, now: MonoTime, kind: MediaKind) {
        if let Some(track) = self.track_mut(kind) {
            track.subscription.handle_track_gone(now);
        }
        if let Some(regulator) = self.regulator.as_mut().filter(|_| kind == MediaKind::Video) {
            regulator.clear();
        }
        self.tell_layers(now);
    }

    /// Decides about the packets of one tick, in their order of arrival, and appends what goes out to `out`.
    ///
    /// Each appended instruction is to be written once, in this order, before the rings move on. Drops are
    /// counted in [`Self::stats`].
    pub fn handle_arrivals(
        &mut self,
        now: MonoTime,
        rings: &Rings,
        arrivals: &[Arrival],
        out: &mut Vec<Forward>,
    ) {
        let first = out.len();
        self.take(now, rings, arrivals, out);
        self.release(now, rings, out);
        equalise::equalise(out.get_mut(first..).unwrap_or_default());
    }

    /// Takes a decrypted RTCP compound of the viewer: answers NACKs with retransmissions appended to `out`,
    /// answers keyframe requests with packets of the ring, appended too, or passes them on; notes loss and round trip.
    pub fn handle_rtcp(&mut self, now: MonoTime, rings: &Rings, compound: &[u8], out: &mut Vec<Forward>) {
        let first = out.len();
        for packet in rtcp::packets(compound) {
            match packet {
                Ok(rtcp::Packet::Nack { media, lost }) => self.handle_nack(now, rings, (media, lost), out),
                Ok(rtcp::Packet::Pli { media }) => self.handle_keyframe_wanted(now, rings, media, out),
                Ok(rtcp::Packet::Fir { targets }) => {
                    targets.for_each(|media| self.handle_keyframe_wanted(now, rings, media, out));
                }
                Ok(
                    rtcp::Packet::ReceiverReport { reports, .. } | rtcp::Packet::SenderReport { reports, .. },
                ) => {
                    reports.for_each(|block| self.handle_report(now, &block));
                }
                Ok(rtcp::Packet::TransportCc(view)) => self.handle_twcc(now, &view),
                Ok(rtcp::Packet::Congestion(view)) => self.handle_congestion(now, &view),
                Ok(rtcp::Packet::Remb { bitrate_bps, .. }) => self.handle_remb(now, bitrate_bps),
                Ok(rtcp::Packet::Extended { ssrc, reference: Some(ntp) }) => {
                    self.reference = Some(Reference { ssrc, ntp, arrival: now });
                }
                Ok(_) => {}
                Err(_) => self.stats.malformed_rtcp = self.stats.malformed_rtcp.saturating_add(1),
            }
        }
        self.repay(now, rings, out);
        if let Some(regulator) = &mut self.regulator {
            let sent = out.get_mut(first..).unwrap_or_default();
            // What a probe's rate is spent on is a part of it.
            regulate::mark(sent, regulator.cluster());
            regulator.spend(now, sent);
            self.note_starved(now, rings);
            self.pace_burst(now);
            self.regulate(now, rings);
        }
        equalise::equalise(out.get_mut(first..).unwrap_or_default());
    }

    /// Writes the packet of one instruction, before it is sealed, and returns its length.
    ///
    /// Call it once for each instruction. `None`, counted, when `out` is too short or the packet has left its
    /// ring; nothing is written past `out`.
    pub fn write_packet(
        &mut self,
        now: MonoTime,
        forward: &Forward,
        rings: &Rings,
        out: &mut [u8],
    ) -> Option<usize> {
        let written = self.write(now, forward, rings, out);
        let stats = self.stats.track_mut(forward.kind);
        match written {
            Some(length) if forward.is_padding => {
                stats.padding_packets = stats.padding_packets.saturating_add(1);
                stats.padding_octets = stats.padding_octets.saturating_add(octets(length));
            }
            Some(length) if forward.rtx.is_some() => {
                stats.rtx_packets = stats.rtx_packets.saturating_add(1);
                stats.rtx_octets = stats.rtx_octets.saturating_add(octets(length));
            }
            Some(_) => stats.packets = stats.packets.saturating_add(1),
            None => stats.unwritten = stats.unwritten.saturating_add(1),
        }
        written
    }

    /// Changes the layer that the viewer desires.
    pub fn set_layer(&mut self, now: MonoTime, request: LayerRequest) {
        let of_audio =
            if request == LayerRequest::Paused { LayerRequest::Paused } else { LayerRequest::Auto };
        if let Some(track) = &mut self.audio {
            track.subscription.set_layer(now, of_audio);
        }
        if let Some(track) = &mut self.video {
            track.subscription.wish(request);
        }
        self.tell_layers(now);
        if let Some(track) = &mut self.video {
            track.subscription.retarget(now, Some(SwitchReason::Request));
        }
    }

    /// Sets the highest temporal layer of video to send; 255 sends all. Higher layers end at the next frame,
    /// and begin again at a layer sync or a keyframe.
    pub fn set_temporal_limit(&mut self, limit: u8) {
        if let Some(track) = &mut self.video {
            track.subscription.set_temporal_limit(limit);
        }
    }

    /// Does what is due by `now`, and appends what goes out of the rings to `out`, as [`Self::handle_arrivals`] does;
    /// reports are written by [`Self::write_rtcp`]. If the path takes nothing now, call [`Self::handle_blocked`]
    /// instead.
    pub fn handle_timeout(&mut self, now: MonoTime, rings: &Rings, out: &mut Vec<Forward>) {
        let first = out.len();
        if let Some(track) = &mut self.video {
            let mut step = Step { out, stats: &mut self.stats.video };
            track.subscription.handle_timeout(now, rings, &mut step);
        }
        self.spill(now, rings, out);
        self.regulate(now, rings);
        self.release(now, rings, out);
        equalise::equalise(out.get_mut(first..).unwrap_or_default());
    }

    /// Puts off what is due by `now`, because nothing can be sent.
    pub fn handle_blocked(&mut self, now: MonoTime) {
        if let Some(track) = &mut self.video {
            track.subscription.handle_blocked(now);
        }
        if let Some(regulator) = &mut self.regulator {
            regulator.handle_blocked(now);
        }
    }

    /// Returns the next thing for the driver to do.
    pub fn poll_output(&mut self) -> Option<ViewerOutput> {
        let tracks = [&mut self.video, &mut self.audio];
        let output = tracks.into_iter().flatten().find_map(|track| track.subscription.poll_output())?;
        if let ViewerOutput::RequestKeyframe(_) = output {
            let stats = &mut self.stats.video;
            stats.keyframes_requested = stats.keyframes_requested.saturating_add(1);
        }
        Some(output)
    }

    /// Says whether [`Self::poll_output`] has something.
    #[must_use]
    pub fn has_output(&self) -> bool {
        [&self.video, &self.audio].into_iter().flatten().any(|track| track.subscription.has_output())
    }

    /// Writes the next compound that is due and returns its length; call until `None`. 512 bytes suffice.
    pub fn write_rtcp(&mut self, now: MonoTime, out: &mut [u8]) -> Option<usize> {
        while let Some(kind) = self.next_reporter(now) {
            let written = self.write_report(now, kind, out);
            self.track_mut(kind)?.reporter.take(now);
            if written.is_some() {
                return written;
            }
        }
        None
    }

    /// Says whether [`Self::write_rtcp_along`] has something to write.
    #[must_use]
    pub fn reports_soon(&self, now: MonoTime) -> bool {
        self.next_reporter(now + REPORT_ALONG).is_some()
    }

    /// Writes a compound that is due soon, if it fits into `out`, and returns its length: media has just been written, and
    /// what leaves with that need not leave alone. Packet path.
    pub fn write_rtcp_along(&mut self, now: MonoTime, out: &mut [u8]) -> Option<usize> {
        let kind = self.next_reporter(now + REPORT_ALONG)?;
        let written = self.write_report(now, kind, out)?;
        self.track_mut(kind)?.reporter.take(now);
        Some(written)
    }

    /// Returns the track that reports first of those whose reports are due by `by`.
    fn next_reporter(&self, by: MonoTime) -> Option<MediaKind> {
        let next = |kind| Some((self.track(kind)?.reporter.next()?, kind));
        let due = [MediaKind::Video, MediaKind::Audio].into_iter().filter_map(next);
        due.filter(|(at, _)| *at <= by).min_by_key(|(at, _)| *at).map(|(_, kind)| kind)
    }

    fn write_report(&mut self, now: MonoTime, kind: MediaKind, out: &mut [u8]) -> Option<usize> {
        let ntp = self.clock.ntp(now);
        let answer = self.reference.map(|reference| reference.answer(now));
        let track = self.track(kind)?;
        let outgoing = track.subscription.outgoing();
        let timestamp = outgoing.timestamp_at(now, ntp)?;
        let report = Report { ssrc: outgoing.track().ssrc, ntp, timestamp, cname: &self.cname, answer };
        let length = track.reporter.write(report, out)?;
        self.reference = None;
        Some(length)
    }

    /// Writes the goodbye of every source and returns its length, zero when `out` is too short
    /// (RFC 3550 §6.6). 512 bytes suffice.
    pub fn bye(&self, out: &mut [u8]) -> usize {
        let sources = || [&self.video, &self.audio].into_iter().flatten().map(Track::ssrc);
        let Some(first) = sources().next() else { return 0 };
        let mut writer = Writer::new(out);
        let written = writer.receiver_report(first, &[])
            && writer.sdes_cname(first, &self.cname)
            && sources().all(|ssrc| writer.bye(ssrc));
        if written { writer.finish() } else { 0 }
    }

    /// Returns when [`Self::handle_timeout`] or [`Self::write_rtcp`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        let tracks = [&self.video, &self.audio].into_iter().flatten();
        let due = tracks.flat_map(|track| [track.subscription.next_timeout(), track.reporter.next()]);
        due.chain([self.regulator.as_ref().and_then(|regulator| regulator.next_timeout())]).flatten().min()
    }

    /// Says whether the viewer is being brought to the live edge: packets that could not be sent meanwhile are not lost
    /// to it, they come from the ring.
    #[must_use]
    pub fn is_catching_up(&self) -> bool {
        self.video.as_ref().is_some_and(|track| track.subscription.is_bursting())
    }

    /// Returns the layer of a track that is being forwarded.
    #[must_use]
    pub fn current_layer(&self, kind: MediaKind) -> Option<LayerIndex> {
        self.track(kind)?.subscription.current()
    }

    /// Returns the layer of a track that shall be forwarded, as soon as it has a keyframe.
    #[must_use]
    pub fn target_layer(&self, kind: MediaKind) -> Option<LayerIndex> {
        self.track(kind)?.subscription.target()
    }

    /// Says whether the viewer gets a video layer, or might soon, were it sent: what nobody wants need not be sent.
    #[must_use]
    pub fn wants_layer(&self, layer: LayerIndex) -> bool {
        let Some(track) = &self.video else { return false };
        let subscription = &track.subscription;
        if subscription.current() == Some(layer) || subscription.target() == Some(layer) {
            return true;
        }
        // A layer that is asked for by name counts while it sleeps: nothing else would wake it.
        let named = subscription.info().and_then(|info| info.layers.iter().find(|info| info.index == layer));
        if let (LayerRequest::Rid(name), Some(named)) = (subscription.request(), named)
            && named.rid.as_ref() == Some(name)
        {
            return true;
        }
        match &self.regulator {
            Some(regulator) => regulator.reaches(layer),
            None => !matches!(subscription.request(), LayerRequest::AudioOnly | LayerRequest::Paused),
        }
    }

    /// Returns the video layer that the viewer desires; `None` without a video track.
    #[must_use]
    pub fn desired_layer(&self) -> Option<&LayerRequest> {
        self.video.as_ref().map(|track| track.subscription.request())
    }

    /// Returns the newest description of a track; `None` without a publisher.
    #[must_use]
    pub fn track_info(&self, kind: MediaKind) -> Option<&TrackInfo> {
        self.track(kind)?.subscription.info()
    }

    /// Returns what is known of the viewer's path; `None` while there is no video, or no feedback to learn from.
    #[must_use]
    pub fn congestion(&self) -> Option<Congestion> {
        self.regulator.as_ref().map(|regulator| regulator.congestion())
    }

    /// Returns what was counted of the viewer's feedback; `None` as with [`Self::congestion`], and cheaper.
    #[must_use]
    pub fn feedback(&self) -> Option<&bwe::Stats> {
        self.regulator.as_ref().map(|regulator| regulator.feedback())
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> &ViewerStats {
        &self.stats
    }

    fn track(&self, kind: MediaKind) -> Option<&Track> {
        match kind {
            MediaKind::Audio => self.audio.as_ref(),
            MediaKind::Video => self.video.as_ref(),
        }
    }

    fn track_mut(&mut self, kind: MediaKind) -> Option<&mut Track> {
        match kind {
            MediaKind::Audio => self.audio.as_mut(),
            MediaKind::Video => self.video.as_mut(),
        }
    }

    fn track_of(&mut self, ssrc: Ssrc) -> Option<&mut Track> {
        [&mut self.video, &mut self.audio].into_iter().flatten().find(|track| track.ssrc() == ssrc)
    }

    fn handle_nack(
        &mut self,
        now: MonoTime,
        rings: &Rings,
        asked: (Ssrc, NackIter<'_>),
        out: &mut Vec<Forward>,
    ) {
        let (media, lost) = asked;
        let interval = self.repeat_interval();
        let twice = self.regulator.as_ref().is_some_and(|regulator| regulator.has_room_for_twins());
        let Self { audio, video, budget, stats, .. } = self;
        let tracks = [video, audio].into_iter().flatten();
        let Some(track) = tracks.into_iter().find(|track| track.ssrc() == media) else { return };
        let stats = stats.track_mut(track.subscription.outgoing().track().kind);
        let repaired = track.subscription.outgoing().track().rtx_ssrc.is_some();
        for wire in lost {
            stats.nacked = stats.nacked.saturating_add(1);
            if !repaired {
                stats.nacked_without_rtx = stats.nacked_without_rtx.saturating_add(1);
                continue;
            }
            match track.subscription.repair(&Repair { now, rings, interval, twice }, wire, budget) {
                Ok(repaired) => out.extend(repaired),
                Err(reason) => stats.drops.add(reason),
            }
        }
    }

    /// Returns how soon a number that was repeated is repeated again.
    fn repeat_interval(&self) -> Duration {
        let reported = self.stats.rtt.unwrap_or(ROUND_TRIP_ASSUMED);
        let trip = self.regulator.as_ref().and_then(|regulator| regulator.round_trip()).unwrap_or(reported);
        trip.mul_f64(REPEAT_PART).max(REPEAT_INTERVAL_MIN)
    }

    /// Repeats what could not be repeated when it was asked for, to who reports what arrives.
    fn repay(&mut self, now: MonoTime, rings: &Rings, out: &mut Vec<Forward>) {
        let owes = self.video.as_ref().is_some_and(|track| track.subscription.owes_repairs());
        if !owes || self.regulator.is_none() {
            return;
        }
        let interval = self.repeat_interval();
        let Self { video: Some(track), budget, stats, .. } = self else { return };
        let mut step = Step { out, stats: &mut stats.video };
        track.subscription.repay(&Repair { now, rings, interval, twice: false }, budget, &mut step);
    }

    fn handle_keyframe_wanted(&mut self, now: MonoTime, rings: &Rings, media: Ssrc, out: &mut Vec<Forward>) {
        if let Some(track) = self.video.as_mut().filter(|track| track.ssrc() == media) {
            let mut step = Step { out, stats: &mut self.stats.video };
            track.subscription.handle_keyframe_wanted(now, rings, &mut step);
            self.stats.video.keyframes_wanted = self.stats.video.keyframes_wanted.saturating_add(1);
            self.stats.video.last_keyframe_wanted = Some(now);
        }
    }

    fn handle_report(&mut self, now: MonoTime, block: &ReportBlock) {
        let ntp = self.clock.ntp(now);
        let Some(kind) = self.track_of(block.ssrc).map(|track| track.subscription.outgoing().track().kind)
        else {
            return;
        };
        let stats = self.stats.track_mut(kind);
        stats.fraction_lost = block.fraction_lost;
        stats.cumulative_lost = block.cumulative_lost;
        stats.jitter = block.jitter;
        let trip = report::round_trip(ntp, block);
        self.stats.rtt = trip.or(self.stats.rtt);
        if let Some(regulator) = &mut self.regulator {
            regulator.handle_losses(now, block.fraction_lost);
            if let Some(trip) = trip {
                regulator.handle_rtt(now, trip);
            }
            self.settle(now);
        }
    }

    fn write(&mut self, now: MonoTime, forward: &Forward, rings: &Rings, out: &mut [u8]) -> Option<usize> {
        let track = match forward.kind {
            MediaKind::Audio => self.audio.as_mut(),
            MediaKind::Video => self.video.as_mut(),
        }?;
        let outgoing = track.subscription.outgoing();
        let viewed = outgoing.track();
        let numbered = viewed.transport_cc && viewed.extensions.id(Extension::TransportCc).is_some();
        let number = (numbered || self.numbers.is_some()).then_some(self.transport_cc);
        let additions = Additions {
            extensions: &viewed.extensions,
            transport_cc: number.filter(|_| numbered),
            ntp: self.clock.ntp(now),
            opus: outgoing.formats().opus(),
        };
        let mut is_keyframe = false;
        let written = if forward.is_padding && forward.rtx.is_none() {
            write::write_padding(forward, &additions, out)?
        } else {
            let Some(packet) = rings.get(forward.kind, forward.layer).packet(forward.source) else {
                self.stats.track_mut(forward.kind).drops.add(DropReason::NotInRing);
                return None;
            };
            is_keyframe = packet.descriptor.keyframe;
            write::write(forward, packet, &additions, out)?
        };
        if let Some(number) = number {
            self.transport_cc = number.wrapping_add(1);
            if let Some(numbers) = &mut self.numbers {
                numbers.note(forward.header.ssrc, forward.header.seq, SeqNo(number));
            }
        }
        if let Some(regulator) = &mut self.regulator {
            regulator.note_sent(now, (number, written.length), forward.probe);
        }
        if forward.rtx.is_none() && !forward.is_padding {
            track.reporter.note_sent(now, written.payload);
            self.budget.earn(now, written.length);
            self.stats.note_written(now, forward.kind, is_keyframe);
            let stats = self.stats.track_mut(forward.kind);
            stats.octets = stats.octets.saturating_add(octets(written.payload));
        }
        Some(written.length)
    }
}

impl Track {
    fn ssrc(&self) -> Ssrc {
        self.subscription.outgoing().track().ssrc
    }
}

fn octets(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// How long before its time a report goes out where media takes it along.
const REPORT_ALONG: Duration = Duration::from_millis(300);
/// First sequence numbers are below 2^15: a receiver that misses the first packets of a higher one takes the
/// wrap that follows for another cycle (RFC 3711 §3.3.1).
const FIRST_SEQ_MASK: u32 = 0x7fff;
/// The round trip until a receiver report shows one.
const ROUND_TRIP_ASSUMED: Duration = Duration::from_millis(50);
/// A viewer asks again when its own measure of the round trip is over, which is shorter than ours when the queue just was
/// longer. So much of ours must be over: a request that is refused costs the viewer another round trip.
const REPEAT_PART: f64 = 0.7;
/// Two requests for one number closer than this come from one loss, however short the round trip.
const REPEAT_INTERVAL_MIN: Duration = Duration::from_millis(10);
