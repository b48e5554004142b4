//! Senders with their estimators and pacers, one bottleneck, and receivers that report by the real bytes.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rtp::rtcp::{self, Packet, TransportCcFeedback, Writer};
use rtp::{MediaKind, MonoTime, RtpTimestamp, SeqNo, Ssrc};

use super::link::{Conditions, Link, Passing};
use crate::allocator::{Allocator, Candidate, Wish};
use crate::bwe::{Cluster, Config, Estimate, Estimator, Output, Sent};
use crate::pacer::{Frame, Item, Pace, Pacer, Release};
use crate::{Bitrate, LayerIndex};

/// What a flow sends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Media {
    /// As much as the estimate allows, up to a rate: an encoder that follows.
    Following(Bitrate),
    /// The highest of these that fits, in kbit/s, as a viewer of a simulcast does.
    Layers(&'static [u64]),
}

pub(super) struct Path {
    pub(super) now_us: u64,
    pub(super) link: Link,
    pub(super) flows: Vec<Flow>,
}

pub(super) struct Flow {
    pub(super) estimator: Estimator,
    pub(super) layer: usize,
    pub(super) switches: Vec<u64>,
    /// The estimate at each tenth of a second.
    pub(super) trace: Vec<Estimate>,
    /// Packets that arrived.
    pub(super) arrived_bytes: u64,
    index: usize,
    media: Media,
    begins_us: u64,
    pacer: Pacer<u16>,
    next_seq: u16,
    run: u16,
    frame: u32,
    allocator: Allocator,
    highest: Option<u16>,
    reported: u16,
    received: Vec<Option<MonoTime>>,
    feedback_count: u8,
    next_feedback_us: u64,
    under_way: Vec<(u64, Vec<u8>)>,
    dice: ChaCha8Rng,
}

const TICK_US: u64 = 1_000;
/// An encoder that follows the estimate proves it by its media; it wants probes to begin with only.
const RAMP_UP_US: u64 = 4_000_000;
const FRAME_US: u64 = 33_000;
const AUDIO_US: u64 = 20_000;
const KEYFRAME_EVERY: u32 = 120;
const KEYFRAME_FACTOR: u64 = 5;

impl Path {
    pub(super) fn new(conditions: Conditions, media: &[Media], seed: u64) -> Self {
        let flows = media.iter().enumerate();
        let flows = flows.map(|(index, media)| Flow::new(*media, seed * 31 + index as u64, index)).collect();
        Self { now_us: 0, link: Link::new(conditions, seed), flows }
    }

    /// Runs until that many milliseconds.
    pub(super) fn run_until(&mut self, until_ms: u64) {
        while self.now_us < until_ms * 1_000 {
            self.step();
        }
    }

    /// The mean estimate of a flow between two times, in kbit/s.
    pub(super) fn mean(&self, flow: usize, from_ms: u64, to_ms: u64) -> f64 {
        let trace = &self.flows[flow].trace[(from_ms / 100) as usize..(to_ms / 100) as usize];
        trace.iter().map(|estimate| estimate.bitrate.as_bps() as f64 / 1_000.0).sum::<f64>()
            / trace.len() as f64
    }

    fn step(&mut self) {
        let now_us = self.now_us;
        for flow in &mut self.flows {
            if now_us < flow.begins_us {
                flow.estimator.handle_timeout(time(now_us));
                continue;
            }
            flow.produce(now_us);
            flow.drive(now_us, &mut self.link);
        }
        self.now_us += TICK_US;
        let flows = &mut self.flows;
        let back_us = self.link.conditions.delay_ms * 1_000;
        self.link.advance(self.now_us, |at_us, packet| flows[packet.flow].receive(at_us, packet));
        for flow in flows {
            flow.report(self.now_us, back_us);
            if self.now_us.is_multiple_of(100_000) {
                flow.trace.push(flow.estimator.estimate());
            }
        }
    }
}

impl Flow {
    fn new(media: Media, seed: u64, index: usize) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        // Later flows join somewhere in the first one's group of pictures.
        let begins_us = u64::from(dice.next_u32() % if index == 0 { 100 } else { 4_000 }) * 1_000;
        let now = time(0);
        let mut estimator = Estimator::new(Config::default(), now);
        if let Media::Following(top) = media {
            estimator.set_wanted(now, Some(top));
        }
        let mut allocator = Allocator::new(estimator.estimate(), now);
        if let Media::Layers(layers) = media {
            let candidates: Vec<_> = (0..)
                .zip(layers)
                .map(|(index, kbps)| Candidate {
                    layer: LayerIndex(index),
                    height: None,
                    bitrate: Bitrate::from_kbps(*kbps),
                    temporal: crate::ring::Temporal::ONE,
                    asleep: false,
                })
                .collect();
            allocator.handle_layers(now, Wish::Auto, &candidates, Bitrate::from_kbps(48));
            allocator.handle_timeout(now);
        }
        Self {
            estimator,
            layer: 0,
            switches: Vec::new(),
            trace: Vec::new(),
            arrived_bytes: 0,
            index,
            media,
            begins_us,
            pacer: Pacer::new(Config::default().start, now),
            next_seq: (dice.next_u32() & 0xffff) as u16,
            run: 0,
            frame: 0,
            allocator,
            highest: None,
            reported: 0,
            received: Vec::new(),
            feedback_count: 0,
            next_feedback_us: 0,
            under_way: Vec::new(),
            dice,
        }
    }

    fn produce(&mut self, now_us: u64) {
        let since_us = now_us - self.begins_us;
        if since_us.is_multiple_of(AUDIO_US) {
            self.push(now_us, MediaKind::Audio, 120, false);
        }
        if !since_us.is_multiple_of(FRAME_US) {
            return;
        }
        let rate = match self.media {
            Media::Following(top) => {
                if since_us > RAMP_UP_US {
                    self.estimator.set_wanted(time(now_us), None);
                }
                let payload = self.estimator.estimate().bitrate.min(top).scaled(0.99 / 1.045);
                Bitrate::from_bps(payload.as_bps().saturating_sub(48_000).max(30_000))
            }
            Media::Layers(layers) => {
                self.choose_layer(now_us);
                Bitrate::from_kbps(layers[self.layer])
            }
        };
        self.frame += 1;
        let keyframe = self.frame % KEYFRAME_EVERY == 1;
        let mean = rate.bytes_in(Duration::from_micros(FRAME_US));
        let noise = 80 + u64::from(self.dice.next_u32() % 41);
        // The mean with keyframes is the rate.
        let delta = mean * u64::from(KEYFRAME_EVERY) / (u64::from(KEYFRAME_EVERY) - 1 + KEYFRAME_FACTOR);
        let mut left = delta * if keyframe { KEYFRAME_FACTOR } else { 1 } * noise / 100;
        while left > 0 {
            let size = left.min(1_150);
            self.push(now_us, MediaKind::Video, size as u16 + 50, keyframe);
            left -= size;
        }
    }

    fn choose_layer(&mut self, now_us: u64) {
        let now = time(now_us);
        self.allocator.handle_estimate(now, self.estimator.estimate());
        let chosen = self.allocator.allocation().layer.map_or(0, |layer| usize::from(layer.0));
        if chosen != self.layer {
            self.layer = chosen;
            self.switches.push(now_us / 1_000);
        }
        self.estimator.set_enough(self.allocator.enough());
        self.estimator.set_wanted(now, self.allocator.wanted());
    }

    fn push(&mut self, now_us: u64, kind: MediaKind, size: u16, keyframe: bool) {
        let at = time(now_us);
        let frame = Frame { layer: LayerIndex(0), timestamp: RtpTimestamp(self.frame) };
        self.pacer.push(at, Item { what: size, kind, order: 0, frame, keyframe, size, at });
    }

    fn drive(&mut self, now_us: u64, link: &mut Link) {
        let now = time(now_us);
        while let Some(bytes) =
            self.under_way.first().filter(|(at, _)| *at <= now_us).map(|(_, bytes)| bytes.clone())
        {
            self.under_way.remove(0);
            for packet in rtcp::packets(&bytes) {
                if let Ok(Packet::TransportCc(view)) = packet {
                    self.estimator.handle_twcc(now, &view);
                }
            }
        }
        self.estimator.handle_timeout(now);
        while let Some(output) = self.estimator.poll_output() {
            match output {
                Output::Estimate(estimate) => {
                    let pace = Pace {
                        estimate: estimate.bitrate,
                        floor: Bitrate::ZERO,
                        relaxed: false,
                        is_short: false,
                    };
                    self.pacer.set_pace(now, pace);
                }
                Output::Probe(probe) => self.pacer.begin_probe(now, probe),
            }
        }
        // The driver looks every five milliseconds, so that packets form runs.
        if !(now_us / TICK_US).is_multiple_of(5) {
            return;
        }
        self.run = self.run.wrapping_add(1);
        while let Some(release) = self.pacer.poll(now) {
            match release {
                Release::Media { what, probe, .. } => self.send(now_us, what, probe, link),
                Release::Padding { size, probe } => self.send(now_us, size, Some(probe), link),
            }
        }
    }

    fn send(&mut self, now_us: u64, size: u16, probe: Option<Cluster>, link: &mut Link) {
        let seq = self.next_seq;
        self.next_seq = seq.wrapping_add(1);
        self.estimator.handle_sent(time(now_us), &Sent { seq: SeqNo(seq), size, run: self.run, probe });
        link.send(now_us, Passing { flow: self.index, seq, size });
    }

    fn receive(&mut self, at_us: u64, packet: Passing) {
        self.arrived_bytes += u64::from(packet.size);
        if self.highest.is_none() {
            self.reported = packet.seq;
        }
        self.highest = Some(packet.seq);
        let place = usize::from(packet.seq.wrapping_sub(self.reported));
        if self.received.len() <= place {
            self.received.resize(place + 1, None);
        }
        self.received[place] = Some(time(at_us));
    }

    fn report(&mut self, now_us: u64, back_us: u64) {
        if now_us < self.next_feedback_us || self.received.is_empty() {
            return;
        }
        self.next_feedback_us = now_us + 50_000 + u64::from(self.dice.next_u32() % 50) * 1_000;
        while !self.received.is_empty() {
            let feedback =
                TransportCcFeedback::new(SeqNo(self.reported), self.feedback_count, &self.received);
            let covered = feedback.covered();
            let mut bytes = vec![0; 1_500];
            let mut writer = Writer::new(&mut bytes);
            assert!(writer.transport_cc(Ssrc(1), Ssrc(2), &feedback));
            let length = writer.finish();
            bytes.truncate(length);
            self.under_way.push((now_us + back_us, bytes));
            self.feedback_count = self.feedback_count.wrapping_add(1);
            self.received.drain(..covered);
            self.reported = self.reported.wrapping_add(covered as u16);
        }
    }
}

pub(super) fn time(us: u64) -> MonoTime {
    MonoTime::from_nanos(us * 1_000)
}
