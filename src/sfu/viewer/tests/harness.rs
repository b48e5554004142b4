//! A room on one shard with one viewer: builds packets, announces them, reads what goes out.

use rtp::negotiation::{Format, ViewedTrack};
use rtp::payload::{describe, patch_vp8};
use rtp::{
    Codec, ExtSeq, Extension, ExtensionMap, MediaClock, MediaKind, MonoTime, NtpTime, PayloadType,
    RtpTimestamp, RtpView, SeqNo, Ssrc,
};

use crate::packet::Parts;
use crate::ring::{Inserted, Limits, RingWriter};
use crate::track::MAX_LAYERS;
use crate::viewer::subscription::Start;
use crate::viewer::{Forward, Viewer, ViewerConfig, ViewerOutput};
use crate::{Arrival, Epoch, LayerIndex, LayerInfo, Rings, Timing, TrackInfo};

pub(super) const VIDEO: Ssrc = Ssrc(0x1111);
pub(super) const VIDEO_RTX: Ssrc = Ssrc(0x2222);
pub(super) const AUDIO: Ssrc = Ssrc(0x3333);
pub(super) const VP8: PayloadType = PayloadType(96);
pub(super) const VP8_RTX: PayloadType = PayloadType(97);
pub(super) const H264: PayloadType = PayloadType(102);
pub(super) const OPUS: PayloadType = PayloadType(111);
pub(super) const TRANSPORT_CC_ID: u8 = 3;

/// A viewer, the rings it reads and the writers that fill them.
pub(super) struct Room {
    pub(super) viewer: Viewer,
    pub(super) rings: Rings,
    pub(super) now: MonoTime,
    video: [RingWriter; MAX_LAYERS],
    audio: RingWriter,
    forwards: Vec<Forward>,
    /// What went out while outputs were read.
    early: Vec<Sent>,
}

impl Room {
    /// Makes a room whose viewer has VP8 and H.264 with RTX, and Opus without.
    pub(super) fn new(seed: u64) -> Self {
        Self::with_tracks(vec![video_track(), audio_track(false)], seed)
    }

    pub(super) fn with_tracks(tracks: Vec<ViewedTrack>, seed: u64) -> Self {
        let now = MonoTime::from_millis(1_000);
        Self {
            viewer: Viewer::new(config(tracks), now, seed).unregulated(),
            rings: Rings::new(),
            now,
            video: std::array::from_fn(|_| RingWriter::new(Limits::default())),
            audio: RingWriter::new(Limits::default()),
            forwards: Vec::new(),
            early: Vec::new(),
        }
    }

    /// Lets the viewer's path decide what it gets, as it does outside of tests.
    pub(super) fn regulated(tracks: Vec<ViewedTrack>, seed: u64) -> Self {
        let mut room = Self::with_tracks(tracks.clone(), seed);
        room.viewer = Viewer::new(config(tracks), room.now, seed);
        room
    }

    /// Lets every outgoing number begin shortly before its wrap.
    pub(super) fn near_the_wraps(mut self) -> Self {
        let start =
            Start { seq: ExtSeq(0x1_ff80), timestamp: RtpTimestamp(u32::MAX - 200_000), rtx: SeqNo(0xfff0) };
        self.viewer =
            Viewer::starting_at(config(vec![video_track(), audio_track(false)]), self.now, || start)
                .unregulated();
        self
    }

    /// Replaces the rings, as a shard does when another epoch begins.
    pub(super) fn reset_rings(&mut self) {
        self.rings.reset();
        self.video = std::array::from_fn(|_| RingWriter::new(Limits::default()));
        self.audio = RingWriter::new(Limits::default());
    }

    pub(super) fn advance(&mut self, millis: u64) {
        self.now = self.now + std::time::Duration::from_millis(millis);
    }

    /// Stores a packet without announcing it.
    pub(super) fn store(&mut self, media: &Media) -> Arrival {
        let payload = media.payload();
        let mut parts = Parts::new(ExtSeq(media.seq), RtpTimestamp(media.timestamp), media.codec, &payload);
        parts.marker = media.marker;
        parts.arrival = self.now;
        if !payload.is_empty() {
            parts.descriptor = describe(media.codec, &payload).unwrap();
        }
        if media.codec == Codec::Red {
            parts.primary = rtp::payload::red::primary(&payload).ok().map(|(_, range)| range);
        }
        for (place, (extension, value)) in media.extensions.iter().enumerate() {
            assert_eq!(crate::packet::CARRIED[place], *extension);
            parts.carried[place] = Some(value.as_slice()).filter(|value| !value.is_empty());
        }
        let kind = media.codec.kind();
        let layer = LayerIndex(media.layer);
        let writer = match kind {
            MediaKind::Audio => &mut self.audio,
            MediaKind::Video => &mut self.video[usize::from(media.layer)],
        };
        if let Inserted::New { page: Some(page) } = writer.insert(&parts) {
            self.rings.get_mut(kind, layer).add_page(page);
        }
        Arrival { kind, layer, seq: ExtSeq(media.seq) }
    }

    /// Announces stored packets and writes what goes out.
    pub(super) fn announce(&mut self, arrivals: &[Arrival]) -> Vec<Sent> {
        arrivals.iter().for_each(|arrival| self.rings.handle_arrival(*arrival));
        let mut forwards = std::mem::take(&mut self.forwards);
        self.viewer.handle_arrivals(self.now, &self.rings, arrivals, &mut forwards);
        self.write(forwards)
    }

    /// Calls the viewer as its timer would, if it is due.
    pub(super) fn tick(&mut self) -> Vec<Sent> {
        let mut forwards = std::mem::take(&mut self.forwards);
        self.viewer.handle_timeout(self.now, &self.rings, &mut forwards);
        self.write(forwards)
    }

    /// Stores and announces one packet.
    pub(super) fn deliver(&mut self, media: &Media) -> Vec<Sent> {
        let arrival = self.store(media);
        self.announce(&[arrival])
    }

    /// Puts packets that went out in front of what goes out next.
    pub(super) fn keep(&mut self, sent: Vec<Sent>) {
        self.early.extend(sent);
    }

    pub(super) fn rtcp(&mut self, compound: &[u8]) -> Vec<Sent> {
        let mut forwards = std::mem::take(&mut self.forwards);
        self.viewer.handle_rtcp(self.now, &self.rings, compound, &mut forwards);
        self.write(forwards)
    }

    /// Returns what the viewer asks of its driver, which calls it for what is due first.
    pub(super) fn outputs(&mut self) -> Vec<ViewerOutput> {
        let early = self.tick();
        self.early.extend(early);
        std::iter::from_fn(|| self.viewer.poll_output()).collect()
    }

    /// Returns the layers of the keyframe requests among the outputs.
    pub(super) fn requests(&mut self) -> Vec<u8> {
        let request = |output| match output {
            ViewerOutput::RequestKeyframe(layer) => Some(layer.0),
            _ => None,
        };
        self.outputs().into_iter().filter_map(request).collect()
    }

    fn write(&mut self, mut forwards: Vec<Forward>) -> Vec<Sent> {
        let mut bytes = [0; 2_048];
        let mut sent = std::mem::take(&mut self.early);
        for forward in forwards.drain(..) {
            let length = self.viewer.write_packet(self.now, &forward, &self.rings, &mut bytes).unwrap();
            let hint = forward.size_hint();
            assert!(length <= hint, "{length} bytes exceed the hint of {hint}");
            sent.push(Sent::parse(&bytes[..length], forward));
        }
        self.forwards = forwards;
        sent
    }
}

/// What went out, parsed from its bytes.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) forward: Forward,
    pub(super) seq: SeqNo,
    pub(super) timestamp: RtpTimestamp,
    pub(super) marker: bool,
    pub(super) payload_type: PayloadType,
    pub(super) ssrc: Ssrc,
    pub(super) payload: Vec<u8>,
    pub(super) padding: u8,
    /// Picture id and TL0PICIDX.
    pub(super) picture: Option<(u16, u8)>,
    pub(super) extensions: Vec<(u8, Vec<u8>)>,
}

impl Sent {
    fn parse(bytes: &[u8], forward: Forward) -> Self {
        let view = RtpView::parse(bytes).unwrap();
        let fields = describe(Codec::Vp8, view.payload).ok().and_then(|descriptor| descriptor.vp8);
        let picture = fields
            .and_then(|fields| fields.picture_id.zip(fields.tl0_picture_index))
            .map(|(picture, tl0)| (picture.value, tl0.value));
        Self {
            forward,
            seq: view.seq,
            timestamp: view.timestamp,
            marker: view.marker,
            payload_type: view.payload_type,
            ssrc: view.ssrc,
            payload: view.payload.to_vec(),
            padding: view.padding,
            picture: picture.filter(|_| forward.rtx.is_none()),
            extensions: view.extensions.iter().map(|(id, value)| (id, value.to_vec())).collect(),
        }
    }

    /// Returns the value of an extension element by its identifier.
    pub(super) fn extension(&self, id: u8) -> Option<&[u8]> {
        self.extensions.iter().find(|(known, _)| *known == id).map(|(_, value)| value.as_slice())
    }
}

/// A packet as its publisher sends it.
#[derive(Clone, Debug)]
pub(super) struct Media {
    pub(super) layer: u8,
    pub(super) codec: Codec,
    pub(super) seq: u64,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    /// First packet of its frame.
    pub(super) start: bool,
    pub(super) keyframe: bool,
    pub(super) temporal: u8,
    pub(super) layer_sync: bool,
    /// Picture id, whether it has 15 bits, and TL0PICIDX.
    pub(super) picture: (u16, bool, u8),
    pub(super) padding: bool,
    /// Values of the first carried extensions, in the ring's order.
    pub(super) extensions: Vec<(Extension, Vec<u8>)>,
    /// For codecs other than VP8.
    pub(super) raw: Vec<u8>,
    /// How many bytes the payload has at least.
    pub(super) size: usize,
}

impl Media {
    /// A VP8 packet that is a whole inter frame.
    pub(super) fn vp8(layer: u8, seq: u64, timestamp: u32) -> Self {
        Self {
            layer,
            codec: Codec::Vp8,
            seq,
            timestamp,
            marker: true,
            start: true,
            keyframe: false,
            temporal: 0,
            layer_sync: false,
            picture: (0, true, 0),
            padding: false,
            extensions: Vec::new(),
            raw: Vec::new(),
            size: 0,
        }
    }

    pub(super) fn key(layer: u8, seq: u64, timestamp: u32) -> Self {
        Self { keyframe: true, ..Self::vp8(layer, seq, timestamp) }
    }

    /// A packet of the frame that begins or goes on at `timestamp`.
    pub(super) fn part(layer: u8, seq: u64, timestamp: u32, place: Place) -> Self {
        let (start, marker) = match place {
            Place::First => (true, false),
            Place::Middle => (false, false),
            Place::Last => (false, true),
        };
        Self { start, marker, ..Self::vp8(layer, seq, timestamp) }
    }

    pub(super) fn raw(codec: Codec, seq: u64, timestamp: u32, raw: &[u8]) -> Self {
        Self { codec, raw: raw.to_vec(), ..Self::vp8(0, seq, timestamp) }
    }

    /// The payload, which names layer, number and timestamp, so that no two packets have the same.
    pub(super) fn payload(&self) -> Vec<u8> {
        if self.padding {
            return Vec::new();
        }
        if self.codec != Codec::Vp8 {
            return self.raw.clone();
        }
        let (picture, wide, tl0) = self.picture;
        let mut payload = vec![0x80 | (u8::from(self.start) << 4), 0xe0];
        match wide {
            true => payload.extend([0x80 | (picture >> 8) as u8, picture as u8]),
            false => payload.push(picture as u8 & 0x7f),
        }
        payload.extend([tl0, (self.temporal << 6) | (u8::from(self.layer_sync) << 5)]);
        payload.push(u8::from(!self.keyframe));
        payload.extend([0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0, self.layer]);
        payload.extend(self.seq.to_be_bytes());
        payload.extend(self.timestamp.to_be_bytes());
        payload.resize(payload.len().max(self.size), 0x5a);
        payload
    }

    /// The payload with other picture numbers.
    pub(super) fn payload_with(&self, picture: (u16, u8)) -> Vec<u8> {
        let mut payload = self.payload();
        let fields = describe(Codec::Vp8, &payload).unwrap().vp8.unwrap();
        patch_vp8(&mut payload, &fields, picture.0, picture.1);
        payload
    }
}

/// A packet's place in a frame of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    First,
    Middle,
    Last,
}

fn config(tracks: Vec<ViewedTrack>) -> ViewerConfig {
    let clock = MediaClock::new(NtpTime::from_unix_nanos(1_795_248_330_000_000_000), MonoTime::ZERO);
    ViewerConfig { tracks, cname: "room".to_owned(), clock }
}

pub(super) fn layer_info(index: u8, rid: &str, height: u16) -> LayerInfo {
    LayerInfo {
        index: LayerIndex(index),
        rid: Some(rid.to_owned()),
        codec: Codec::Vp8,
        parameters: String::new(),
        active: true,
        size: Some((height * 2, height)),
        bitrate_bps: u64::from(height) * 1_000,
        frames_per_second: 30.0,
        join_cache: true,
        timing: None,
    }
}

/// Two layers of VP8: 0 is "low", 1 is "high".
pub(super) fn two_layers(epoch: u32) -> TrackInfo {
    let layers = vec![layer_info(0, "low", 180), layer_info(1, "high", 720)];
    TrackInfo { epoch: Epoch(epoch), kind: MediaKind::Video, layers }
}

pub(super) fn one_layer(epoch: u32, codec: Codec) -> TrackInfo {
    let layer = LayerInfo { codec, rid: None, ..layer_info(0, "", 720) };
    TrackInfo { epoch: Epoch(epoch), kind: codec.kind(), layers: vec![layer] }
}

pub(super) fn timing(rtp: u32, ntp: NtpTime) -> Option<Timing> {
    Some(Timing { rtp: RtpTimestamp(rtp), ntp })
}

pub(super) fn video_track() -> ViewedTrack {
    let mut extensions = ExtensionMap::new();
    for (id, extension) in [
        (TRANSPORT_CC_ID, Extension::TransportCc),
        (4, Extension::VideoOrientation),
        (5, Extension::PlayoutDelay),
        (6, Extension::AbsSendTime),
        (7, Extension::AbsCaptureTime),
        (8, Extension::DependencyDescriptor),
    ] {
        assert!(extensions.insert(id, extension));
    }
    ViewedTrack {
        mid: "0".to_owned(),
        kind: MediaKind::Video,
        formats: vec![format(VP8, Codec::Vp8, Some(VP8_RTX)), format(H264, Codec::H264, None)],
        extensions,
        ssrc: VIDEO,
        rtx_ssrc: Some(VIDEO_RTX),
        transport_cc: true,
        ccfb: false,
        cname: "room".to_owned(),
    }
}

pub(super) fn audio_track(red: bool) -> ViewedTrack {
    let mut formats = vec![format(OPUS, Codec::Opus, None)];
    if red {
        formats.push(format(PayloadType(63), Codec::Red, None));
    }
    ViewedTrack {
        mid: "1".to_owned(),
        kind: MediaKind::Audio,
        formats,
        extensions: ExtensionMap::new(),
        ssrc: AUDIO,
        rtx_ssrc: None,
        transport_cc: false,
        ccfb: false,
        cname: "room".to_owned(),
    }
}

fn format(payload_type: PayloadType, codec: Codec, rtx: Option<PayloadType>) -> Format {
    Format { payload_type, codec, parameters: String::new(), rtx, nack: true, pli: true, fir: true }
}
