//! The real machines, driven as a shard drives them: publisher, rings, viewers. Nothing of them is imitated.

use std::time::Duration;

use rtp::negotiation::{Format, PublishedTrack, SsrcPair, ViewedTrack};
use rtp::{Codec, Extension, ExtensionMap, MediaClock, MediaKind, MonoTime, NtpTime, PayloadType, Ssrc};
use sfu::publisher::{Publisher, PublisherConfig, PublisherOutput};
use sfu::ring::Rings;
use sfu::track::{Arrival, Epoch, LayerIndex, TrackInfo};
use sfu::viewer::{Forward, LayerRequest, Viewer, ViewerConfig, ViewerOutput};

use crate::ledger::Ledger;
use crate::publisher::{
    AUDIO_TYPE, REPAIRED_ID, RID_ID, RIDS, RTX_TYPE, SERVER_SSRC, TRANSPORT_ID, VIDEO_TYPE, rtx_ssrc,
    video_ssrc,
};
use crate::receiver::{AUDIO_SSRC, RTX_SSRC, VIDEO_SSRC};
use crate::world::Sample;

/// One room on one shard.
#[derive(Debug)]
pub(crate) struct Server {
    publisher: Publisher,
    rings: Rings,
    tracks: [Option<TrackInfo>; 2],
    arrivals: Vec<Arrival>,
    forwards: Vec<Forward>,
    pub(crate) viewers: Vec<Served>,
    /// What goes back to the publisher.
    pub(crate) to_publisher: Vec<Vec<u8>>,
    pub(crate) faults: Vec<String>,
}

/// A viewer with what it was sent.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) viewer: Viewer,
    pub(crate) ledger: Ledger,
    /// What leaves now.
    pub(crate) out: Vec<Vec<u8>>,
    pub(crate) switches: Vec<Switch>,
    /// The longest that a packet was in the server since that was last asked.
    waited: Duration,
    /// Until when packets may be older than they waited.
    old_until: MonoTime,
}

/// How long after a burst or a switch packets may still come from the ring.
const BURST_TAIL: Duration = Duration::from_millis(500);

/// Another layer began to be forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// The layer before, if something was being forwarded.
    pub from: Option<u8>,
    /// The layer now.
    pub to: u8,
    /// Why.
    pub reason: &'static str,
}

impl Server {
    pub(crate) fn new(layers: usize, seed: u64) -> Self {
        let config = PublisherConfig {
            epoch: Epoch(1),
            tracks: vec![published_audio(), published_video(layers)],
            rtcp_ssrc: Ssrc(SERVER_SSRC),
            cname: "nearcast".to_owned(),
            clock: media_clock(),
        };
        Self {
            publisher: Publisher::new(config, MonoTime::ZERO, seed),
            rings: Rings::new(),
            tracks: [None, None],
            arrivals: Vec::new(),
            forwards: Vec::new(),
            viewers: Vec::new(),
            to_publisher: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Lets a viewer in.
    pub(crate) fn join(&mut self, now: MonoTime, seed: u64, whole_frames: bool) {
        let config = ViewerConfig { tracks: viewed(), cname: "nearcast".to_owned(), clock: media_clock() };
        let mut viewer = Viewer::new(config, now, seed);
        viewer.set_layer(now, LayerRequest::Auto);
        for info in self.tracks.iter().flatten() {
            viewer.handle_track(now, info);
        }
        let ledger = Ledger::new(whole_frames);
        let served = Served {
            viewer,
            ledger,
            out: Vec::new(),
            switches: Vec::new(),
            waited: Duration::ZERO,
            old_until: now,
        };
        self.viewers.push(served);
    }

    /// Takes what arrived from the publisher.
    pub(crate) fn handle_publisher(&mut self, now: MonoTime, bytes: &[u8]) {
        if bytes.get(1).is_some_and(|second| (192..224).contains(second)) {
            self.publisher.handle_rtcp(now, bytes);
            self.drain_publisher(now);
            return;
        }
        let outcome = self.publisher.handle_rtp(now, bytes);
        self.drain_publisher(now);
        match outcome {
            Ok(Some(arrival)) => {
                self.rings.handle_arrival(arrival);
                self.arrivals.push(arrival);
            }
            Ok(None) => {}
            Err(reason) => self.note_drop(reason),
        }
    }

    /// Takes a compound that arrived from a viewer.
    pub(crate) fn handle_viewer(&mut self, now: MonoTime, index: usize, compound: &[u8]) {
        let served = &mut self.viewers[index];
        served.viewer.handle_rtcp(now, &self.rings, compound, &mut self.forwards);
        served.write(now, &self.rings, &mut self.forwards);
    }

    /// Fans out what came in this millisecond, video before audio, and does what is due.
    pub(crate) fn handle_tick(&mut self, now: MonoTime) {
        if self.publisher.next_timeout().is_some_and(|due| due <= now) {
            self.publisher.handle_timeout(now);
            self.drain_publisher(now);
        }
        self.arrivals.sort_by_key(|arrival| arrival.kind == MediaKind::Audio);
        for index in 0..self.viewers.len() {
            self.serve(now, index);
        }
        self.arrivals.clear();
        let mut bytes = [0; 1_500];
        while let Some(length) = self.publisher.write_rtcp(now, &mut bytes) {
            self.to_publisher.push(bytes[..length].to_vec());
        }
    }

    fn serve(&mut self, now: MonoTime, index: usize) {
        let Self { rings, arrivals, forwards, viewers, publisher, .. } = self;
        let served = &mut viewers[index];
        if !arrivals.is_empty() {
            served.viewer.handle_arrivals(now, rings, arrivals, forwards);
            served.write(now, rings, forwards);
        }
        if served.viewer.next_timeout().is_some_and(|due| due <= now) {
            served.viewer.handle_timeout(now, rings, forwards);
            served.write(now, rings, forwards);
        }
        while let Some(output) = served.viewer.poll_output() {
            match output {
                ViewerOutput::RequestKeyframe(layer) => publisher.request_keyframe(now, layer),
                ViewerOutput::LayerChanged { kind: MediaKind::Video, from, to, reason } => {
                    let at_ms = now.as_nanos() / 1_000_000;
                    let from = from.map(|layer| layer.0);
                    served.old_until = now + BURST_TAIL;
                    served.switches.push(Switch { at_ms, from, to: to.0, reason: reason.as_str() });
                }
                ViewerOutput::LayerChanged { .. } => {}
                ViewerOutput::CodecUnsupported(codec) => {
                    self.faults.push(format!("{codec:?} is unsupported"))
                }
            }
        }
        let mut bytes = [0; 1_500];
        while let Some(length) = served.viewer.write_rtcp(now, &mut bytes) {
            served.out.push(bytes[..length].to_vec());
        }
    }

    fn drain_publisher(&mut self, now: MonoTime) {
        while let Some(output) = self.publisher.poll_output() {
            match output {
                PublisherOutput::Page { kind, layer, page } => self.rings.get_mut(kind, layer).add_page(page),
                PublisherOutput::Track(info) => {
                    self.viewers.iter_mut().for_each(|served| served.viewer.handle_track(now, &info));
                    let place = usize::from(info.kind == MediaKind::Video);
                    self.tracks[place] = Some(info);
                }
                PublisherOutput::GopOutgrewRing(_) => {}
            }
        }
    }

    fn note_drop(&mut self, reason: sfu::DropReason) {
        // A repair may come when its page has left the ring; anything else would be a fault of ours.
        if !matches!(reason, sfu::DropReason::TooOld) {
            self.faults.push(format!("a packet of the publisher was dropped: {reason:?}"));
        }
    }
}

impl Served {
    /// Writes what was decided on, into the ledger and onto the wire.
    fn write(&mut self, now: MonoTime, rings: &Rings, forwards: &mut Vec<Forward>) {
        let mut bytes = [0; 2_048];
        for forward in forwards.drain(..) {
            let Some(length) = self.viewer.write_packet(now, &forward, rings, &mut bytes) else {
                self.ledger.faults.push(format!("{forward:?} could not be written"));
                continue;
            };
            self.note_wait(now, rings, &forward);
            self.ledger.enter(&bytes[..length]);
            self.out.push(bytes[..length].to_vec());
        }
    }

    /// Writes down how the viewer stands.
    pub(crate) fn describe(&mut self, sample: &mut Sample) {
        sample.layer = self.current();
        sample.waited_ms = std::mem::take(&mut self.waited).as_secs_f64() * 1_000.0;
        if let Some(congestion) = self.viewer.congestion() {
            sample.estimate_kbps = Some(congestion.estimate.bitrate.as_bps() as f64 / 1_000.0);
            sample.limiter = congestion.estimate.limiter.as_str();
            sample.allocation = congestion.allocation.reason.as_str();
        }
    }

    /// Notes how long a packet was in the server. What a burst brings is old on purpose, and what follows one or a
    /// switch comes from the ring as well.
    fn note_wait(&mut self, now: MonoTime, rings: &Rings, forward: &Forward) {
        if self.viewer.is_catching_up() {
            self.old_until = now + BURST_TAIL;
        }
        if forward.rtx.is_some() || now < self.old_until {
            return;
        }
        let packet = rings.get(forward.kind, forward.layer).packet(forward.source);
        let waited = packet.map(|packet| now.since(packet.arrival)).unwrap_or_default();
        self.waited = self.waited.max(waited);
    }

    /// What was not forwarded, by its reason, and what else is counted.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let stats = self.viewer.stats();
        let drops = stats.video.drops.iter().map(|(reason, count)| (reason.as_str(), count));
        let others = [
            ("bursts", stats.video.catch_ups),
            ("keyframes requested", stats.video.keyframes_requested),
            ("audio drops", stats.audio.drops.total()),
        ];
        drops.chain(others).filter(|(_, count)| *count > 0)
    }

    /// The layer that is being forwarded.
    fn current(&self) -> Option<u8> {
        self.viewer.current_layer(MediaKind::Video).map(|LayerIndex(layer)| layer)
    }
}

fn media_clock() -> MediaClock {
    MediaClock::new(NtpTime::from_unix_nanos(1_795_248_330_000_000_000), MonoTime::ZERO)
}

fn format(payload_type: u8, codec: Codec, rtx: Option<u8>) -> Format {
    let video = codec.kind() == MediaKind::Video;
    Format {
        payload_type: PayloadType(payload_type),
        codec,
        parameters: String::new(),
        rtx: rtx.map(PayloadType),
        nack: video,
        pli: video,
        fir: false,
    }
}

fn extensions(known: &[(u8, Extension)]) -> ExtensionMap {
    let mut map = ExtensionMap::new();
    for (id, extension) in known {
        assert!(map.insert(*id, *extension), "each identifier stands once");
    }
    map
}

fn published_audio() -> PublishedTrack {
    PublishedTrack {
        mid: "0".to_owned(),
        kind: MediaKind::Audio,
        formats: vec![format(AUDIO_TYPE, Codec::Opus, None)],
        extensions: extensions(&[(TRANSPORT_ID, Extension::TransportCc)]),
        rids: Vec::new(),
        ssrcs: Vec::new(),
        transport_cc: true,
        cname: "theirs".to_owned(),
    }
}

fn published_video(layers: usize) -> PublishedTrack {
    let names = [
        (TRANSPORT_ID, Extension::TransportCc),
        (RID_ID, Extension::Rid),
        (REPAIRED_ID, Extension::RepairedRid),
    ];
    let pair = |layer| SsrcPair { media: Ssrc(video_ssrc(layer)), rtx: Some(Ssrc(rtx_ssrc(layer))) };
    let rids = RIDS.iter().take(layers).map(|rid| (*rid).to_owned());
    PublishedTrack {
        mid: "1".to_owned(),
        kind: MediaKind::Video,
        formats: vec![format(VIDEO_TYPE, Codec::Vp8, Some(RTX_TYPE))],
        extensions: extensions(&names),
        rids: if layers > 1 { rids.collect() } else { Vec::new() },
        ssrcs: (0..layers).map(pair).collect(),
        ..published_audio()
    }
}

fn viewed() -> Vec<ViewedTrack> {
    let track = |kind, formats, ssrc, rtx_ssrc: Option<u32>| ViewedTrack {
        mid: if kind == MediaKind::Audio { "0" } else { "1" }.to_owned(),
        kind,
        formats,
        extensions: extensions(&[(TRANSPORT_ID, Extension::TransportCc)]),
        ssrc: Ssrc(ssrc),
        rtx_ssrc: rtx_ssrc.map(Ssrc),
        transport_cc: true,
        ccfb: false,
        cname: "nearcast".to_owned(),
    };
    vec![
        track(MediaKind::Audio, vec![format(AUDIO_TYPE, Codec::Opus, None)], AUDIO_SSRC, None),
        track(
            MediaKind::Video,
            vec![format(VIDEO_TYPE, Codec::Vp8, Some(RTX_TYPE))],
            VIDEO_SSRC,
            Some(RTX_SSRC),
        ),
    ]
}
