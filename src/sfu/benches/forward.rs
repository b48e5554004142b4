//! What a viewer costs per packet: decide, write, switch layers, answer a NACK.
//!
//! Budget, CPU time: of the 1,400 ns that a forwarded packet may cost, sending in runs of eight takes 800 to 900 and
//! sealing 200, which leaves 300 for everything else. Deciding may take 100 and writing 130, for one viewer
//! and with the states of 500 viewers taking turns. A switch of layers is a decision about a frame of both layers and
//! its effects: 2,000 ns. A NACKed packet, from the compound to the written retransmission: 600 ns, so that 0.5 %
//! of them cost 3 ns per forwarded packet.
//!
//! Keeping 1,000 viewers within their paths (notes of what was sent, pacing, transport-wide feedback every 100 ms,
//! timers) may cost a tenth of the packet path, 140 ns a packet: the same turns are measured with it and without.
//!
//! `cargo bench --locked -p nearcast-sfu --bench forward`
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench may end its process"
)]

#[path = "../../rtp/benches/budget/mod.rs"]
mod budget;

use std::hint::black_box;
use std::time::Duration;

use budget::{Bench, Budget, Chunk, Each, OverBudget, cpu_time};
use rtp::negotiation::{Format, ViewedTrack};
use rtp::payload::describe;
use rtp::rtcp::{TransportCcFeedback, Writer};
use rtp::{
    Codec, ExtSeq, Extension, ExtensionMap, MediaClock, MediaKind, MonoTime, NtpTime, PayloadType,
    RtpTimestamp, SeqNo, Ssrc,
};
use sfu::packet::Parts;
use sfu::ring::{Inserted, Limits, RingWriter};
use sfu::viewer::{Forward, LayerRequest, Viewer, ViewerConfig};
use sfu::{Arrival, Epoch, LayerIndex, LayerInfo, Rings, TrackInfo};

fn main() -> Result<(), OverBudget> {
    let mut bench = Bench::new("forward");
    for (codec, viewers, decide, write) in [
        (Codec::H264, 1, "decide_h264_1", "write_h264_1"),
        (Codec::H264, 500, "decide_h264_500", "write_h264_500"),
        (Codec::Vp8, 1, "decide_vp8_1", "write_vp8_1"),
        (Codec::Vp8, 500, "decide_vp8_500", "write_vp8_500"),
    ] {
        // One viewer's frame is too short for the clock: many frames are decided in one go, which no path would take.
        let (frames, reports) = if viewers == 1 { (32, Reports::Nothing) } else { (1, Reports::Arrivals) };
        forward(&mut bench, Room::of(codec, viewers, reports), frames, (decide, write));
    }
    regulate(&mut bench);
    switch(&mut bench);
    answer(&mut bench);
    bench.finish()
}

/// Measures deciding and writing apart, over the same packets.
fn forward(bench: &mut Bench, mut room: Room, frames: u64, (decide, write): (&'static str, &'static str)) {
    let operations = frames * FRAME_PACKETS * room.viewers.len() as u64;
    let chunk = Chunk { operations, each: Each::Operation };
    bench.part(decide, Budget::Nanos(100.0), chunk, || {
        let announced = room.publish(frames);
        let spent = room.decide(&announced);
        room.write();
        room.report();
        spent
    });
    bench.part(write, Budget::Nanos(130.0), chunk, || {
        let announced = room.publish(frames);
        room.decide(&announced);
        let spent = room.write();
        room.report();
        spent
    });
}

/// Measures whole turns of 1,000 viewers whose paths nobody knows, and of as many that report on them.
fn regulate(bench: &mut Bench) {
    let chunk = Chunk { operations: FEEDBACK_FRAMES * FRAME_PACKETS * 1_000, each: Each::Operation };
    let mut plain = Room::of(Codec::H264, 1_000, Reports::Nothing);
    bench.part("turn_plain_1000", Budget::Reference, chunk, || plain.turn());
    let mut regulated = Room::of(Codec::H264, 1_000, Reports::Arrivals);
    bench.part("turn_regulated_1000", Budget::More(140.0, "turn_plain_1000"), chunk, || regulated.turn());
    for state in &regulated.viewers {
        let congestion = state.viewer.congestion().unwrap();
        let counters = congestion.counters;
        assert!(counters.received > 200 && counters.lost + counters.stale == 0, "{congestion:?}");
        assert_eq!(congestion.pacer_drops.stale_video, 0, "{congestion:?}");
    }
}

/// Measures a viewer that goes to the other layer with each frame: request, keyframe, switch.
fn switch(bench: &mut Bench) {
    let mut room = Room::of(Codec::Vp8, 500, Reports::Nothing);
    let heights = [180, 720];
    let mut turn: usize = 0;
    let chunk = Chunk { operations: room.viewers.len() as u64, each: Each::Operation };
    bench.part("switch_layer_500", Budget::Nanos(2_000.0), chunk, || {
        room.advance();
        let announced: Vec<Arrival> =
            [LOWER, UPPER].into_iter().flat_map(|layer| room.publish_frame(layer, true)).collect();
        let now = room.now;
        let mut changes = 0;
        let spent = cpu_time(|| {
            for state in &mut room.viewers {
                state.viewer.set_layer(now, LayerRequest::MaxHeight(heights[turn % 2]));
                state.viewer.handle_arrivals(now, &room.rings, &announced, &mut state.forwards);
                changes += std::iter::from_fn(|| state.viewer.poll_output()).count();
            }
        });
        assert!(changes >= room.viewers.len(), "only {changes} things happened: the switches did not");
        room.write();
        turn += 1;
        spent
    });
    assert!(room.viewers.iter().all(|state| state.viewer.stats().video.layer_changes > 1));
}

/// Measures one lost packet of each viewer: the compound read, the packet found, the retransmission written.
fn answer(bench: &mut Bench) {
    let mut room = Room::new(Codec::H264, 500);
    let chunk = Chunk { operations: room.viewers.len() as u64, each: Each::Operation };
    bench.part("answer_nack_500", Budget::Nanos(600.0), chunk, || {
        let announced = room.publish(1);
        room.decide(&announced);
        // One in 16 is asked for: more would be over the share that retransmissions may have.
        let asked: Vec<Vec<u8>> = room.viewers.iter().map(|state| nack(&state.forwards[3])).collect();
        room.write();
        let announced = room.publish(1);
        room.decide(&announced);
        room.write();
        room.report();
        let now = room.now;
        let (mut bytes, mut answered) = ([0; 1_500], 0);
        let spent = cpu_time(|| {
            for (state, compound) in room.viewers.iter_mut().zip(&asked) {
                state.viewer.handle_rtcp(now, &room.rings, black_box(compound), &mut state.forwards);
                for forward in state.forwards.drain(..) {
                    assert!(forward.rtx.is_some());
                    black_box(state.viewer.write_packet(now, &forward, &room.rings, &mut bytes).unwrap());
                    state.sent.push(now);
                    answered += 1;
                }
            }
        });
        assert_eq!(answered, room.viewers.len(), "every request is answered");
        spent
    });
}

/// A room on one shard: a publisher's rings and the viewers that read them.
struct Room {
    codec: Codec,
    writers: [RingWriter; 2],
    rings: Rings,
    viewers: Vec<State>,
    reports: Reports,
    now: MonoTime,
    /// The next number of each layer.
    next: [u64; 2],
    frame: u32,
}

struct State {
    viewer: Viewer,
    forwards: Vec<Forward>,
    /// The first packet that was not reported on, when those from there on left, and what is written about them.
    reported: u16,
    sent: Vec<MonoTime>,
    feedback: Vec<u8>,
}

/// What viewers say of their paths.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reports {
    /// Nothing: they negotiated no way to.
    Nothing,
    /// When packets arrived.
    Arrivals,
}

impl Room {
    /// Makes a room whose viewers watch the upper of two layers, and are kept within their paths.
    fn new(codec: Codec, viewers: u64) -> Self {
        Self::of(codec, viewers, Reports::Arrivals)
    }

    fn of(codec: Codec, viewers: u64, reports: Reports) -> Self {
        let now = MonoTime::from_millis(1_000);
        let viewer = |seed| {
            let clock = MediaClock::new(NtpTime(0xec8f_0000_8000_0000), MonoTime::ZERO);
            let track = ViewedTrack { transport_cc: reports == Reports::Arrivals, ..viewed(codec) };
            let config = ViewerConfig { tracks: vec![track], cname: "room".to_owned(), clock };
            let mut viewer = Viewer::new(config, now, seed);
            viewer.handle_track(now, &published(codec));
            viewer.set_layer(now, LayerRequest::Rid("layer-1".to_owned()));
            let forwards = Vec::with_capacity(1_024);
            State {
                viewer,
                forwards,
                reported: 0,
                sent: Vec::with_capacity(512),
                feedback: Vec::with_capacity(1_024),
            }
        };
        let mut room = Self {
            codec,
            writers: [RingWriter::new(Limits::default()), RingWriter::new(Limits::default())],
            rings: Rings::new(),
            viewers: (0..viewers).map(viewer).collect(),
            reports,
            now,
            next: [1 << 16; 2],
            frame: 0,
        };
        // Behind another frame, so that no parameter sets seem to be missing.
        room.publish(1);
        room.advance();
        let keyframe = room.publish_frame(UPPER, true);
        room.announce(&keyframe);
        room.write();
        if reports == Reports::Arrivals {
            room.prove();
        }
        for state in &mut room.viewers {
            while state.viewer.poll_output().is_some() {}
            assert_eq!(state.viewer.current_layer(MediaKind::Video), Some(UPPER));
        }
        room
    }

    /// Lets the viewers' paths prove that they carry the layer, as they do in their first seconds.
    fn prove(&mut self) {
        for millis in 1..=3_000 {
            self.now = self.now + Duration::from_millis(1);
            if millis % 33 == 0 {
                self.frame += 1;
                let announced = self.publish_frame(UPPER, false);
                self.announce(&announced);
                self.write();
            }
            for state in &mut self.viewers {
                if state.viewer.next_timeout().is_some_and(|at| at <= self.now) {
                    state.viewer.handle_timeout(self.now, &self.rings, &mut state.forwards);
                }
            }
            self.write();
            if millis % 100 == 0 {
                self.report();
            }
        }
        // What was sent behind the last report.
        self.report();
    }

    /// Sends every viewer the frames between two of its reports, then takes these; returns what that cost.
    fn turn(&mut self) -> Duration {
        let mut spent = Duration::ZERO;
        for _ in 0..FEEDBACK_FRAMES {
            let announced = self.publish(1);
            spent += self.decide(&announced) + self.write();
        }
        spent + self.report()
    }

    /// Lets the viewers report what arrived; returns what taking that costs, timers included.
    fn report(&mut self) -> Duration {
        let (now, reports) = (self.now + TRAVEL, self.reports);
        for state in &mut self.viewers {
            let arrivals: Vec<_> = state.sent.iter().map(|sent| Some(*sent + TRAVEL)).collect();
            let mut compound = [0; 1_024];
            let mut writer = Writer::new(&mut compound);
            let feedback = TransportCcFeedback::new(SeqNo(state.reported), 0, &arrivals);
            assert!(writer.transport_cc(Ssrc(1), VIDEO, &feedback));
            let length = writer.finish();
            state.feedback.clear();
            state.feedback.extend_from_slice(&compound[..length]);
            state.reported = state.reported.wrapping_add(state.sent.len() as u16);
            state.sent.clear();
        }
        let spent = cpu_time(|| {
            for state in &mut self.viewers {
                if reports == Reports::Arrivals {
                    state.viewer.handle_rtcp(now, &self.rings, &state.feedback, &mut state.forwards);
                }
                if state.viewer.next_timeout().is_some_and(|at| at <= now) {
                    state.viewer.handle_timeout(now, &self.rings, &mut state.forwards);
                }
                while state.viewer.poll_output().is_some() {}
            }
        });
        self.write();
        spent
    }

    fn publish(&mut self, frames: u64) -> Vec<Arrival> {
        let mut announced = Vec::new();
        for _ in 0..frames {
            self.advance();
            announced.extend(self.publish_frame(UPPER, false));
        }
        announced
    }

    fn advance(&mut self) {
        self.now = self.now + Duration::from_micros(33_333);
        self.frame += 1;
    }

    /// Stores a frame as libwebrtc cuts one: packets of two sizes that differ by a byte.
    fn publish_frame(&mut self, layer: LayerIndex, keyframe: bool) -> Vec<Arrival> {
        let at = usize::from(layer.0);
        let mut arrivals = Vec::new();
        for place in 0..FRAME_PACKETS {
            let payload = self.payload(place, keyframe);
            let timestamp = RtpTimestamp(self.frame * 3_000);
            let seq = ExtSeq(self.next[at]);
            let mut parts = Parts::new(seq, timestamp, self.codec, &payload);
            parts.marker = place == FRAME_PACKETS - 1;
            parts.arrival = self.now;
            parts.descriptor = describe(self.codec, &payload).unwrap();
            match self.writers[at].insert(&parts) {
                Inserted::New { page: Some(page) } => {
                    self.rings.get_mut(MediaKind::Video, layer).add_page(page);
                }
                Inserted::New { page: None } => {}
                refused => panic!("{refused:?}"),
            }
            arrivals.push(Arrival { kind: MediaKind::Video, layer, seq });
            self.next[at] += 1;
        }
        arrivals
    }

    fn payload(&self, place: u64, keyframe: bool) -> Vec<u8> {
        let (first, last) = (place == 0, place == FRAME_PACKETS - 1);
        let [high, low] = (self.frame as u16 | 0x8000).to_be_bytes();
        let mut payload = match self.codec {
            Codec::Vp8 => {
                // Picture id of 15 bits, TL0PICIDX, one temporal layer; the frame's first byte says what it is.
                let start = [0x80 | (u8::from(first) << 4), 0xe0, high, low, self.frame as u8, 0];
                let key = [u8::from(!keyframe), 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0];
                [start.as_slice(), &key].concat()
            }
            _ => {
                let unit = if keyframe { 0x65 } else { 0x41 };
                vec![0x7c, (unit & 0x1f) | (u8::from(first) << 7) | (u8::from(last) << 6), 0x88]
            }
        };
        payload.resize(if place < FRAME_PACKETS / 2 { PAYLOAD_BYTES } else { PAYLOAD_BYTES - 1 }, 0x5a);
        payload
    }

    /// Lets every viewer decide; returns what that cost.
    fn decide(&mut self, announced: &[Arrival]) -> Duration {
        let spent = self.announce(announced);
        let forwarded: usize = self.viewers.iter().map(|state| state.forwards.len()).sum();
        assert_eq!(forwarded, announced.len() * self.viewers.len(), "every packet goes to every viewer");
        spent
    }

    fn announce(&mut self, announced: &[Arrival]) -> Duration {
        cpu_time(|| {
            for state in &mut self.viewers {
                state.viewer.handle_arrivals(self.now, &self.rings, announced, &mut state.forwards);
            }
        })
    }

    /// Writes what was decided, each viewer's packets behind each other; returns what that cost.
    fn write(&mut self) -> Duration {
        let mut run = vec![0; 1_500 * FRAME_PACKETS as usize];
        cpu_time(|| {
            for state in &mut self.viewers {
                for (place, forward) in state.forwards.drain(..).enumerate() {
                    let out = &mut run[place % FRAME_PACKETS as usize * 1_500..][..1_500];
                    let length = state.viewer.write_packet(self.now, &forward, &self.rings, out).unwrap();
                    black_box(&mut out[..length]);
                    state.sent.push(self.now);
                }
            }
        })
    }
}

fn nack(forward: &Forward) -> Vec<u8> {
    let mut out = [0; 64];
    let mut writer = Writer::new(&mut out);
    assert!(writer.receiver_report(Ssrc(1), &[]));
    assert!(writer.nack(Ssrc(1), VIDEO, &[forward.header.seq]));
    let length = writer.finish();
    out[..length].to_vec()
}

/// What a browser negotiates: transport-wide numbers and send times, retransmission.
fn viewed(codec: Codec) -> ViewedTrack {
    let mut extensions = ExtensionMap::new();
    for (id, extension) in (2..).zip([
        Extension::TransportCc,
        Extension::AbsSendTime,
        Extension::VideoOrientation,
        Extension::PlayoutDelay,
        Extension::AbsCaptureTime,
    ]) {
        assert!(extensions.insert(id, extension));
    }
    let format = Format {
        payload_type: PayloadType(96),
        codec,
        parameters: String::new(),
        rtx: Some(PayloadType(97)),
        nack: true,
        pli: true,
        fir: true,
    };
    ViewedTrack {
        mid: "0".to_owned(),
        kind: MediaKind::Video,
        formats: vec![format],
        extensions,
        ssrc: VIDEO,
        rtx_ssrc: Some(Ssrc(0x2222)),
        transport_cc: true,
        ccfb: false,
        cname: "room".to_owned(),
    }
}

fn published(codec: Codec) -> TrackInfo {
    let layer = |index, height: u16| LayerInfo {
        index: LayerIndex(index),
        rid: Some(format!("layer-{index}")),
        codec,
        parameters: String::new(),
        active: true,
        size: Some((height * 2, height)),
        bitrate_bps: u64::from(height) * 3_000,
        frames_per_second: 30.0,
        join_cache: false,
        timing: None,
    };
    TrackInfo { epoch: Epoch(1), kind: MediaKind::Video, layers: vec![layer(0, 180), layer(1, 720)] }
}

const VIDEO: Ssrc = Ssrc(0x1111);
const LOWER: LayerIndex = LayerIndex(0);
const UPPER: LayerIndex = LayerIndex(1);
const TRAVEL: Duration = Duration::from_millis(20);
/// A browser reports about ten times a second.
const FEEDBACK_FRAMES: u64 = 3;
/// 2.5 Mbit/s at 30 frames/s.
const FRAME_PACKETS: u64 = 8;
const PAYLOAD_BYTES: usize = 1_200;
