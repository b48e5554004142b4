//! A publisher: cameras and a microphone on RTP, as a browser or OBS sends them.
//!
//! It keeps what it sent for a second and answers NACKs as RTX (RFC 4588); keyframe requests reach the encoder of
//! their layer, which may be deaf to them.

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::encoder::{Camera, Encoder, LayerPlan};
use crate::feedback::{self, Report};
use crate::wire::{self, Header, Stamp, Vp8};

/// What a publisher sends.
#[derive(Clone, Debug)]
pub struct PublisherPlan {
    /// What the layers have in common.
    pub camera: Camera,
    /// The layers, in the order of the offer.
    pub layers: Vec<LayerPlan>,
}

pub(crate) const VIDEO_TYPE: u8 = 96;
pub(crate) const RTX_TYPE: u8 = 97;
pub(crate) const AUDIO_TYPE: u8 = 111;
pub(crate) const TRANSPORT_ID: u8 = 3;
pub(crate) const RID_ID: u8 = 4;
pub(crate) const REPAIRED_ID: u8 = 5;
pub(crate) const AUDIO_SSRC: u32 = 0x0a00_0001;
/// The source of its feedback.
pub(crate) const SERVER_SSRC: u32 = 0x0f00_0001;
/// The names of the layers, by their place in the offer.
pub(crate) const RIDS: [&str; 3] = ["a", "b", "c"];

pub(crate) const fn video_ssrc(layer: usize) -> u32 {
    0x0b00_0001 + layer as u32
}

pub(crate) const fn rtx_ssrc(layer: usize) -> u32 {
    0x0c00_0001 + layer as u32
}

/// Payload bytes of a packet, at most: what leaves room for headers in 1,200.
const PAYLOAD_MAX: usize = 1_130;
/// 48 kbit/s in frames of 20 ms, with the header.
const AUDIO_BYTES: usize = 108;
/// What audio takes on the wire, in kbit/s.
pub(crate) const AUDIO_KBPS: f64 = 52.0;
const AUDIO_EVERY_MS: u64 = 20;
/// Packets that are kept for retransmission: a second or two.
const KEPT: usize = 1_024;
const REPORT_EVERY_MS: u64 = 1_000;
/// 2026, in the NTP era's seconds.
const NTP_BASE: u64 = 3_989_000_000;

/// Which media packet of a publisher's a datagram brings, as itself or as a retransmission: its source and number.
pub(crate) fn media_of(bytes: &[u8]) -> Option<(u32, u16)> {
    let rtp = wire::Rtp::read(bytes).ok()?;
    let Header { ssrc, seq, payload_type, .. } = rtp.header;
    match payload_type {
        RTX_TYPE => {
            let original = rtp.payload.first_chunk()?;
            Some((ssrc - rtx_ssrc(0) + video_ssrc(0), u16::from_be_bytes(*original)))
        }
        VIDEO_TYPE | AUDIO_TYPE => Some((ssrc, seq)),
        _ => None,
    }
}

/// A publisher.
#[derive(Debug)]
pub(crate) struct Publisher {
    plan: PublisherPlan,
    layers: Vec<Layer>,
    audio: Source,
    dice: ChaCha8Rng,
    transport: u16,
    next_frame_us: u64,
    frames: u32,
    pub(crate) keyframes: Vec<(u64, u8)>,
}

#[derive(Debug)]
struct Layer {
    encoder: Encoder,
    media: Source,
    rtx_seq: u16,
    kept: VecDeque<Kept>,
}

/// A source's numbering.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    seq: u16,
    timestamp: u32,
    packets: u32,
    octets: u32,
}

#[derive(Debug)]
struct Kept {
    header: Header,
    payload: Vec<u8>,
}

impl Publisher {
    pub(crate) fn new(plan: PublisherPlan, seed: u64) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let layers = plan.layers.iter().enumerate().map(|(index, layer)| Layer {
            encoder: Encoder::new(plan.camera, *layer, &mut dice),
            media: Source::new(video_ssrc(index), &mut dice),
            rtx_seq: dice.next_u32() as u16,
            kept: VecDeque::new(),
        });
        let layers = layers.collect();
        let audio = Source::new(AUDIO_SSRC, &mut dice);
        Self { plan, layers, audio, dice, transport: 0, next_frame_us: 0, frames: 0, keyframes: Vec::new() }
    }

    /// Appends what leaves in this millisecond.
    pub(crate) fn handle_tick(&mut self, now_ms: u64, out: &mut Vec<Vec<u8>>) {
        if now_ms.is_multiple_of(AUDIO_EVERY_MS) {
            self.send_audio(now_ms, out);
        }
        if now_ms * 1_000 >= self.next_frame_us {
            self.next_frame_us += 1_000_000 / u64::from(self.plan.camera.frames_per_second);
            self.send_frames(now_ms, out);
        }
        if now_ms % REPORT_EVERY_MS == 100 {
            out.push(self.reports(now_ms));
        }
    }

    /// Takes a compound of the server's and appends retransmissions.
    pub(crate) fn handle_rtcp(&mut self, compound: &[u8], out: &mut Vec<Vec<u8>>) -> Result<(), String> {
        for report in feedback::read(compound)? {
            match report {
                Report::KeyframeWanted { media } => {
                    if let Some(layer) = self.layer_of(media) {
                        self.layers[layer].encoder.request_keyframe();
                    }
                }
                Report::Nack { media, lost } => {
                    let Some(layer) = self.layer_of(media) else { continue };
                    lost.iter().for_each(|number| self.repair(layer, *number, out));
                }
                Report::Sender { .. } | Report::Transport => {}
            }
        }
        Ok(())
    }

    fn layer_of(&self, media: u32) -> Option<usize> {
        self.layers.iter().position(|layer| layer.media.ssrc == media)
    }

    fn send_audio(&mut self, now_ms: u64, out: &mut Vec<Vec<u8>>) {
        self.audio.timestamp = (now_ms * 48) as u32;
        let header = self.audio.header(AUDIO_TYPE, false, AUDIO_BYTES);
        let stamp = Stamp { layer: u8::MAX, frame: (now_ms / AUDIO_EVERY_MS) as u32, index: 0, count: 1 };
        let number = self.number();
        let rest = [0_u8; AUDIO_BYTES];
        out.push(wire::write(
            header,
            &[(TRANSPORT_ID, &number)],
            &[&[0xfc], &stamp.write(), &rest[Stamp::BYTES + 1..]],
        ));
    }

    fn send_frames(&mut self, now_ms: u64, out: &mut Vec<Vec<u8>>) {
        self.frames += 1;
        for index in 0..self.layers.len() {
            let Layer { encoder, media, .. } = &mut self.layers[index];
            let coded = encoder.encode(&mut self.dice);
            let size = encoder.size();
            if coded.keyframe {
                self.keyframes.push((now_ms, index as u8));
            }
            media.timestamp = (now_ms * 90) as u32;
            let count = coded.bytes.div_ceil(PAYLOAD_MAX);
            for place in 0..count {
                let bytes = coded.bytes * (place + 1) / count - coded.bytes * place / count;
                let vp8 = Vp8 {
                    start: place == 0,
                    keyframe: coded.keyframe && place == 0,
                    picture: coded.picture,
                    tl0: coded.tl0,
                    temporal: coded.temporal,
                    sync: coded.sync,
                };
                let stamp = Stamp {
                    layer: index as u8,
                    frame: self.frames,
                    index: place as u16,
                    count: count as u16,
                };
                let mut payload = vp8.write(size);
                payload.extend(stamp.write());
                payload.resize(payload.len().max(bytes), 0x55);
                self.send_video(index, place + 1 == count, payload, out);
            }
        }
    }

    fn send_video(&mut self, index: usize, marker: bool, payload: Vec<u8>, out: &mut Vec<Vec<u8>>) {
        let number = self.number();
        let layer = &mut self.layers[index];
        let header = layer.media.header(VIDEO_TYPE, marker, payload.len());
        let rid = RIDS[index].as_bytes();
        out.push(wire::write(header, &[(TRANSPORT_ID, &number), (RID_ID, rid)], &[&payload]));
        layer.kept.push_back(Kept { header, payload });
        if layer.kept.len() > KEPT {
            layer.kept.pop_front();
        }
    }

    fn repair(&mut self, index: usize, number: u16, out: &mut Vec<Vec<u8>>) {
        let transport = self.number();
        let layer = &mut self.layers[index];
        let Some(kept) = layer.kept.iter().rev().find(|kept| kept.header.seq == number) else { return };
        layer.rtx_seq = layer.rtx_seq.wrapping_add(1);
        let header =
            Header { payload_type: RTX_TYPE, ssrc: rtx_ssrc(index), seq: layer.rtx_seq, ..kept.header };
        let elements = [(TRANSPORT_ID, transport.as_slice()), (REPAIRED_ID, RIDS[index].as_bytes())];
        out.push(wire::write(header, &elements, &[&number.to_be_bytes(), &kept.payload]));
    }

    fn number(&mut self) -> [u8; 2] {
        self.transport = self.transport.wrapping_add(1);
        self.transport.to_be_bytes()
    }

    fn reports(&self, now_ms: u64) -> Vec<u8> {
        let ntp = (NTP_BASE << 32) + (now_ms << 32) / 1_000;
        let audio = (&self.audio, now_ms * 48);
        let video = self.layers.iter().map(|layer| (&layer.media, now_ms * 90));
        let all = std::iter::once(audio).chain(video);
        all.flat_map(|(source, timestamp)| {
            let sent = (source.packets, source.octets);
            feedback::sender_report(source.ssrc, ntp, timestamp as u32, sent)
        })
        .collect()
    }
}

impl Source {
    fn new(ssrc: u32, dice: &mut ChaCha8Rng) -> Self {
        Self { ssrc, seq: dice.next_u32() as u16, timestamp: 0, packets: 0, octets: 0 }
    }

    fn header(&mut self, payload_type: u8, marker: bool, bytes: usize) -> Header {
        self.seq = self.seq.wrapping_add(1);
        self.packets += 1;
        self.octets = self.octets.wrapping_add(bytes as u32);
        Header { payload_type, marker, seq: self.seq, timestamp: self.timestamp, ssrc: self.ssrc }
    }
}
