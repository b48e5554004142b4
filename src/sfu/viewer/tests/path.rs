//! A publisher of layers, a viewer, and between them a path with a rate and a queue: time passes in milliseconds.

use std::collections::VecDeque;
use std::time::Duration;

use rtp::negotiation::ViewedTrack;
use rtp::rtcp::{TransportCcFeedback, Writer};
use rtp::{Codec, MediaKind, MonoTime, SeqNo, Ssrc};

use super::harness::{
    AUDIO, Media, Room, Sent, TRANSPORT_CC_ID, VIDEO, audio_track, layer_info, video_track,
};
use crate::viewer::{SwitchReason, ViewerOutput};
use crate::{Arrival, Epoch, LayerIndex, LayerInfo, TrackInfo};

/// What the publisher sends.
#[derive(Clone, Copy)]
pub(super) struct Published {
    /// Kilobits a second of each layer.
    pub(super) layers: &'static [u64],
    /// Frames from keyframe to keyframe.
    pub(super) gop: u64,
    /// Whether a keyframe is made on request.
    pub(super) answers: bool,
    /// Whether every second frame is of a second temporal layer.
    pub(super) temporal: bool,
}

pub(super) const SIMULCAST: Published =
    Published { layers: &[150, 600, 2_500], gop: 3_000, answers: true, temporal: false };

pub(super) struct Path {
    is_described: bool,
    pub(super) room: Room,
    published: Published,
    sources: Vec<Source>,
    audio_seq: u64,
    millis: u64,
    /// Kilobits a second, and one way.
    pub(super) rate: u64,
    /// Whether nothing gets through.
    pub(super) is_cut: bool,
    pub(super) delay: u64,
    pub(super) reports: Reports,
    free_at: f64,
    /// When, what, and its timestamp and whether it begins a frame, as the publisher sent it.
    arriving: VecDeque<(u64, Sent, (u32, bool))>,
    transport: Vec<(u16, MonoTime)>,
    by_source: Vec<(Ssrc, SeqNo, u64)>,
    expected: Option<SeqNo>,
    frame_is_whole: bool,
    feedback_count: u8,
    feedback: VecDeque<(u64, Vec<u8>)>,
    /// Frames that were shown: when, and how late.
    pub(super) shown: Vec<Shown>,
    pub(super) changes: Vec<(u64, Option<u8>, u8, SwitchReason)>,
    pub(super) requests: Vec<(u64, u8)>,
    pub(super) audio_delays: Vec<u64>,
    /// Bytes of padding and of everything.
    pub(super) padding: usize,
    pub(super) sent: usize,
    pub(super) timers: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) at: u64,
    pub(super) delay: u64,
}

struct Source {
    seq: u64,
    frame: u64,
    wants_keyframe: bool,
    last_request: Option<u64>,
}

const AUDIO_BYTES: usize = 160;

impl Path {
    pub(super) fn new(published: Published, rate: u64) -> Self {
        Self::reporting(published, rate, Reports::TransportWide)
    }

    /// A path to a viewer that reports in this way.
    pub(super) fn reporting(published: Published, rate: u64, reports: Reports) -> Self {
        let mut video = video_track();
        let mut audio = audio_track(false);
        if reports == Reports::TransportWide {
            return Self::with_tracks(published, rate, (vec![video, with_transport_cc(audio)], reports));
        }
        for track in [&mut video, &mut audio] {
            track.transport_cc = false;
            track.ccfb = reports == Reports::BySource;
        }
        Self::with_tracks(published, rate, (vec![video, audio], reports))
    }

    fn with_tracks(published: Published, rate: u64, (tracks, reports): (Vec<ViewedTrack>, Reports)) -> Self {
        let room = Room::regulated(tracks, 1);
        let sources = published.layers.iter().map(|_| Source {
            seq: 1_000,
            frame: 0,
            wants_keyframe: true,
            last_request: None,
        });
        let mut path = Self {
            is_described: false,
            room,
            published,
            sources: sources.collect(),
            audio_seq: 1,
            millis: 0,
            rate,
            is_cut: false,
            delay: 20,
            reports,
            free_at: 0.0,
            arriving: VecDeque::new(),
            transport: Vec::new(),
            by_source: Vec::new(),
            expected: None,
            frame_is_whole: false,
            feedback_count: 0,
            feedback: VecDeque::new(),
            shown: Vec::new(),
            changes: Vec::new(),
            requests: Vec::new(),
            audio_delays: Vec::new(),
            padding: 0,
            sent: 0,
            timers: 0,
        };
        path.describe();
        path
    }

    /// A path to a viewer that takes no retransmissions, so that no probe can be filled up.
    pub(super) fn without_rtx(published: Published, rate: u64) -> Self {
        let mut video = video_track();
        video.rtx_ssrc = None;
        video.formats.iter_mut().for_each(|format| format.rtx = None);
        let tracks = vec![video, with_transport_cc(audio_track(false))];
        Self::with_tracks(published, rate, (tracks, Reports::TransportWide))
    }

    /// A path to a viewer whose sound has no transport-wide numbers, so that nothing is reported while it gets no picture.
    pub(super) fn numbering_pictures_alone(published: Published, rate: u64) -> Self {
        let tracks = vec![video_track(), audio_track(false)];
        Self::with_tracks(published, rate, (tracks, Reports::TransportWide))
    }

    /// A path to a viewer that joins when the show has run for a while, `backlog` milliseconds after a keyframe.
    pub(super) fn joining(published: Published, rate: u64, backlog: u64) -> Self {
        let mut path = Self::new(published, rate);
        path.room = Room::regulated(vec![video_track(), with_transport_cc(audio_track(false))], 1);
        path.is_described = false;
        path.run(backlog);
        path.describe();
        path
    }

    /// The same of a viewer that only estimates, and does so all the time.
    pub(super) fn joining_and_estimating(published: Published, rate: u64, backlog: u64) -> Self {
        let mut path = Self::reporting(published, rate, Reports::Nothing);
        path.is_described = false;
        let video = ViewedTrack { transport_cc: false, ..video_track() };
        path.room = Room::regulated(vec![video, audio_track(false)], 1);
        path.run(backlog);
        path.describe();
        for _ in 0..40 {
            path.feedback.push_back((path.millis, remb(rate * 1_000)));
            path.run(100);
        }
        path
    }

    /// Publishes with other rates from now on, and says so.
    pub(super) fn publish_at(&mut self, layers: &'static [u64]) {
        self.published.layers = layers;
        self.describe();
    }

    pub(super) fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.step();
        }
    }

    /// The longest time without a picture between two times.
    pub(super) fn longest_stall(&self, from: u64, to: u64) -> u64 {
        let shown = self.shown.iter().map(|shown| shown.at).filter(|at| (from..to).contains(at));
        let mut longest = 0;
        let mut before = from;
        for at in shown.chain([to]) {
            longest = longest.max(at - before);
            before = at;
        }
        longest
    }

    /// The longest delay of a shown frame between two times.
    pub(super) fn longest_delay(&self, from: u64, to: u64) -> u64 {
        let shown = self.shown.iter().filter(|shown| (from..to).contains(&shown.at));
        shown.map(|shown| shown.delay).max().unwrap_or_default()
    }

    pub(super) fn layer(&self) -> Option<u8> {
        self.room.viewer.current_layer(MediaKind::Video).map(|layer| layer.0)
    }

    fn describe(&mut self) {
        self.is_described = true;
        let layers: Vec<LayerInfo> = (0..)
            .zip(self.published.layers)
            .map(|(index, kbps)| LayerInfo {
                bitrate_bps: kbps * 1_000,
                ..layer_info(index, &format!("l{index}"), 180 << index)
            })
            .collect();
        let audio = LayerInfo { codec: Codec::Opus, rid: None, bitrate_bps: 64_000, ..layer_info(0, "", 0) };
        let info = |kind, layers| TrackInfo { epoch: Epoch(1), kind, layers };
        self.room.viewer.handle_track(self.room.now, &info(MediaKind::Audio, vec![audio]));
        self.room.viewer.handle_track(self.room.now, &info(MediaKind::Video, layers));
    }

    fn step(&mut self) {
        self.millis += 1;
        self.room.advance(1);
        let mut arrivals = Vec::new();
        if self.millis.is_multiple_of(33) {
            for layer in 0..self.sources.len() {
                self.publish(layer, &mut arrivals);
            }
        }
        if self.millis.is_multiple_of(20) {
            self.audio_seq += 1;
            let timestamp = self.millis as u32 * 48;
            let media = Media::raw(Codec::Opus, self.audio_seq, timestamp, &[7; AUDIO_BYTES]);
            arrivals.push(self.room.store(&media));
        }
        if !self.is_described {
            arrivals.iter().for_each(|arrival| self.room.rings.handle_arrival(*arrival));
            arrivals.clear();
        }
        if !arrivals.is_empty() {
            let sent = self.room.announce(&arrivals);
            self.enter(sent);
        }
        while self.feedback.front().is_some_and(|(at, _)| *at <= self.millis) {
            let (_, compound) = self.feedback.pop_front().unwrap();
            let sent = self.room.rtcp(&compound);
            self.enter(sent);
        }
        while self.room.viewer.next_timeout().is_some_and(|at| at <= self.room.now) {
            self.timers += 1;
            assert!(self.timers < 1_000_000, "a timer that is always due");
            let sent = self.room.tick();
            self.enter(sent);
            let mut report = [0; 512];
            while self.room.viewer.write_rtcp(self.room.now, &mut report).is_some() {}
        }
        self.obey();
        self.arrive();
        if self.millis.is_multiple_of(50) {
            match self.reports {
                Reports::TransportWide => self.report(),
                Reports::BySource => self.report_by_source(),
                Reports::Estimate(kbps) if self.millis.is_multiple_of(1_000) => {
                    let compound = remb(kbps * 1_000);
                    self.feedback.push_back((self.millis + self.delay, compound));
                }
                Reports::Estimate(_) | Reports::Nothing => {}
            }
        }
    }

    fn publish(&mut self, layer: usize, arrivals: &mut Vec<Arrival>) {
        let source = &mut self.sources[layer];
        let keyframe = source.wants_keyframe || source.frame.is_multiple_of(self.published.gop);
        source.wants_keyframe = false;
        let mean = self.published.layers[layer] * 33 / 8;
        let bytes = if keyframe { mean * 5 } else { mean };
        let packets = bytes.div_ceil(1_100).max(1);
        for place in 0..packets {
            source.seq += 1;
            let media = Media {
                layer: layer as u8,
                start: place == 0,
                marker: place + 1 == packets,
                keyframe: keyframe && place == 0,
                temporal: u8::from(self.published.temporal && !keyframe && source.frame % 2 == 1),
                layer_sync: self.published.temporal,
                picture: (source.frame as u16 & 0x7fff, true, 0),
                size: (bytes / packets) as usize,
                ..Media::vp8(layer as u8, source.seq, self.millis as u32 * 90)
            };
            arrivals.push(self.room.store(&media));
        }
        self.sources[layer].frame += 1;
    }

    fn obey(&mut self) {
        while let Some(output) = self.room.viewer.poll_output() {
            match output {
                ViewerOutput::RequestKeyframe(LayerIndex(layer)) => {
                    self.requests.push((self.millis, layer));
                    let source = &mut self.sources[usize::from(layer)];
                    let merged = source.last_request.is_some_and(|at| self.millis - at < 1_000);
                    if self.published.answers && !merged {
                        source.last_request = Some(self.millis);
                        source.wants_keyframe = true;
                    }
                }
                ViewerOutput::LayerChanged { kind: MediaKind::Video, from, to, reason } => {
                    self.changes.push((self.millis, from.map(|from| from.0), to.0, reason));
                }
                ViewerOutput::LayerChanged { .. } => {}
                ViewerOutput::CodecUnsupported(codec) => panic!("{codec:?}"),
            }
        }
    }

    /// Puts packets onto the path.
    pub(super) fn enter(&mut self, sent: Vec<Sent>) {
        for packet in sent {
            if self.is_cut {
                self.expected = None;
                continue;
            }
            let bytes = packet.payload.len() + usize::from(packet.padding) + 50;
            self.sent += bytes;
            self.padding += if packet.forward.is_padding { bytes } else { 0 };
            let begins = self.free_at.max(self.millis as f64);
            self.free_at = begins + bytes as f64 * 8.0 / self.rate as f64;
            let ring = self.room.rings.get(packet.forward.kind, packet.forward.layer);
            let stored = ring.packet(packet.forward.source);
            let source = stored.map_or((0, false), |it| (it.timestamp.0, it.descriptor.frame_start));
            self.arriving.push_back((self.free_at.ceil() as u64 + self.delay, packet, source));
        }
    }

    fn arrive(&mut self) {
        while self.arriving.front().is_some_and(|(at, ..)| *at <= self.millis) {
            let (at, packet, source) = self.arriving.pop_front().unwrap();
            if let Some(number) = packet.extension(TRANSPORT_CC_ID) {
                let number = u16::from_be_bytes(number.try_into().unwrap());
                self.transport.push((number, MonoTime::from_millis(at)));
            }
            self.by_source.push((packet.ssrc, packet.seq, at));
            if packet.ssrc == AUDIO {
                self.audio_delays.push(at.saturating_sub(u64::from(source.0 / 48)));
            }
            if packet.ssrc == VIDEO {
                self.show(at, &packet, source);
            }
        }
    }

    /// Shows a frame when its last packet has come, and each number came in its turn.
    fn show(&mut self, at: u64, packet: &Sent, (timestamp, starts): (u32, bool)) {
        if let Some(expected) = self.expected {
            assert_eq!(packet.seq, expected, "a hole in the numbering, at {at} ms");
        }
        self.expected = Some(packet.seq.plus(1));
        if starts {
            self.frame_is_whole = true;
        }
        if packet.marker && self.frame_is_whole {
            let captured = u64::from(timestamp) / 90;
            let shown = Shown { at, delay: at.saturating_sub(captured) };
            self.shown.push(shown);
            self.frame_is_whole = false;
        }
    }

    fn report(&mut self) {
        let Some(&(first, _)) = self.transport.first() else { return };
        let mut arrivals = vec![None; usize::from(self.transport.last().unwrap().0.wrapping_sub(first)) + 1];
        for (number, at) in self.transport.drain(..) {
            arrivals[usize::from(number.wrapping_sub(first))] = Some(at);
        }
        let mut compound = [0; 1_200];
        let mut writer = Writer::new(&mut compound);
        let mut from = 0;
        while from < arrivals.len() {
            let base = SeqNo(first.wrapping_add(from as u16));
            let feedback = TransportCcFeedback::new(base, self.feedback_count, &arrivals[from..]);
            from += feedback.covered().max(1);
            assert!(writer.transport_cc(Ssrc(1), VIDEO, &feedback));
            self.feedback_count = self.feedback_count.wrapping_add(1);
        }
        let length = writer.finish();
        self.feedback.push_back((self.millis + self.delay, compound[..length].to_vec()));
    }
}

impl Path {
    /// Reports as RFC 8888 has it, the sources one behind the other.
    fn report_by_source(&mut self) {
        let report_time = (u128::from(self.millis + 500_000) * 65_536 / 1_000) as u32;
        let mut body = 1_u32.to_be_bytes().to_vec();
        let mut arrived = std::mem::take(&mut self.by_source);
        arrived.sort_by_key(|(ssrc, seq, _)| (ssrc.0, seq.0));
        for source in arrived.chunk_by(|a, b| a.0 == b.0 && b.1.0 - a.1.0 < 100) {
            let (ssrc, first, _) = source[0];
            let count = source.last().unwrap().1.0 - first.0 + 1;
            body.extend(ssrc.0.to_be_bytes());
            body.extend([first.0, count].map(u16::to_be_bytes).concat());
            for seq in first.0..first.0 + count {
                let came = source.iter().find(|(_, known, _)| known.0 == seq);
                let metric =
                    came.map_or(0, |(_, _, at)| 0x8000 | ((self.millis - at) * 1_024 / 1_000) as u16);
                body.extend(metric.to_be_bytes());
            }
            body.resize(body.len().next_multiple_of(4), 0);
        }
        body.extend(report_time.to_be_bytes());
        let mut compound = vec![0x8b, 205];
        compound.extend(((body.len() / 4) as u16).to_be_bytes());
        compound.extend(body);
        self.feedback.push_back((self.millis + self.delay, compound));
    }
}

/// How a viewer reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reports {
    /// Arrivals, by transport-wide number.
    TransportWide,
    /// Arrivals, by source.
    BySource,
    /// An estimate of its own, in kilobits a second.
    Estimate(u64),
    /// Nothing.
    Nothing,
}

fn with_transport_cc(mut track: ViewedTrack) -> ViewedTrack {
    track.transport_cc = true;
    track.extensions.insert(TRANSPORT_CC_ID, rtp::Extension::TransportCc);
    track
}

/// A receiver's own estimate.
pub(super) fn remb(bitrate_bps: u64) -> Vec<u8> {
    let mut compound = [0; 64];
    let mut writer = Writer::new(&mut compound);
    assert!(writer.remb(Ssrc(1), bitrate_bps, &[VIDEO]));
    let length = writer.finish();
    compound[..length].to_vec()
}

/// A second, in milliseconds.
pub(super) const SECOND: u64 = Duration::from_secs(1).as_millis() as u64;
