//! A publisher as a state machine: real pictures and sound, brought to a bitrate, as RTP packets at their time.
//!
//! It is told the time and what the receiver says, and gives packets to seal and send. All packets of one instant
//! are one burst: a frame of each layer, or a packet of sound. Start reading at [`layer`] for what is in a frame,
//! at [`track`] for what is around it.
//!
//! Invariants: deadlines are absolute, so lateness is never carried on; timestamps tell the deadline, not the
//! moment of sending, and sender reports map them by the same line.

pub mod beat;
pub mod budget;
pub mod clip;
#[cfg(test)]
mod depacketise;
pub mod h264;
pub mod history;
pub mod layer;
pub mod payloads;
pub mod track;
pub mod vp8;

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;
use rtp::rtcp::{self, Writer};
use rtp::{Codec, MediaClock, MonoTime, RtpTimestamp, SeqNo, Ssrc};

use beat::Beat;
use layer::Layer;
use track::{Departure, Packet, Track};

/// What a publisher is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// The layers of the picture; none for sound alone.
    pub layers: Vec<(layer::Config, track::Config)>,
    /// The sound.
    pub sound: Option<track::Config>,
    /// Frames a second.
    pub frames_per_second: u32,
    /// Whether keyframes that are asked for do not come.
    pub ignore_pli: bool,
    /// The canonical name of all sources.
    pub cname: String,
    /// The clock of the sender reports.
    pub clock: MediaClock,
}

/// What the publisher wants sent, before it is sealed.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// A packet of media.
    Rtp(Vec<u8>),
    /// A compound of reports.
    Rtcp(Vec<u8>),
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames of all layers.
    pub frames_sent: u64,
    /// Keyframes of all layers.
    pub keyframes_sent: u64,
    /// Requests for a keyframe, PLI or FIR, of all layers.
    pub plis_received: u64,
    /// Of those, how many the layer had that had most.
    pub plis_of_one_layer: u64,
    /// The shortest time between two of them for one layer.
    pub pli_gap_min: Option<Duration>,
    /// Packets that the receiver asked for again.
    pub nacks_received: u64,
    /// Packets that were sent again.
    pub retransmissions_sent: u64,
}

/// A publisher that is connected.
#[derive(Debug)]
pub struct Publisher {
    start: MonoTime,
    layers: Vec<(Layer, Track)>,
    /// How often a keyframe was asked for, and when last, layer by layer.
    asked: Vec<(u64, Option<MonoTime>)>,
    frames: Beat,
    sound: Option<Sound>,
    reports: Beat,
    ignore_pli: bool,
    cname: String,
    clock: MediaClock,
    transport_seq: SeqNo,
    stats: Stats,
    outputs: VecDeque<Output>,
}

/// The tone that goes round and round.
#[derive(Debug)]
struct Sound {
    track: Track,
    packets: Vec<&'static [u8]>,
    position: usize,
    beat: Beat,
}

impl Publisher {
    /// Makes a publisher whose media begin now.
    ///
    /// # Errors
    ///
    /// When there is no picture in a layer's codec and size.
    pub fn new(config: Config, now: MonoTime) -> Result<Self> {
        let make = |(layer, track)| Ok((Layer::new(layer)?, Track::new(track)));
        let sound = config.sound.map(|track| Sound::new(track, now)).transpose()?;
        Ok(Self {
            start: now,
            asked: vec![(0, None); config.layers.len()],
            layers: config.layers.into_iter().map(make).collect::<Result<_>>()?,
            frames: Beat::new(now, config.frames_per_second),
            sound,
            reports: Beat::new(now, REPORTS_PER_SECOND),
            ignore_pli: config.ignore_pli,
            cname: config.cname,
            clock: config.clock,
            transport_seq: SeqNo(1),
            stats: Stats::default(),
            outputs: VecDeque::new(),
        })
    }

    /// Takes a compound from the receiver; a malformed rest of it is skipped.
    pub fn handle_rtcp(&mut self, now: MonoTime, compound: &[u8]) {
        for packet in rtcp::packets(compound).map_while(Result::ok) {
            match packet {
                rtcp::Packet::Pli { media } => self.want_keyframe(now, media),
                rtcp::Packet::Fir { targets } => targets.for_each(|media| self.want_keyframe(now, media)),
                rtcp::Packet::Nack { media, lost } => lost.for_each(|seq| self.send_again(now, media, seq)),
                rtcp::Packet::SenderReport { reports, .. } | rtcp::Packet::ReceiverReport { reports, .. } => {
                    reports.for_each(|report| self.acknowledge(report.ssrc));
                }
                _ => {}
            }
        }
    }

    /// Makes what is due; early and repeated calls do no harm.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        while let Some(frame) = self.frames.take(now) {
            self.send_frame(now, frame);
        }
        self.send_sound(now);
        if self.reports.take(now).is_some() {
            self.send_reports(now);
        }
    }

    /// Returns the next thing to send; to be called until `None` after each `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> MonoTime {
        let frames = (!self.layers.is_empty()).then(|| self.frames.next_due());
        let sound = self.sound.as_ref().map(|sound| sound.beat.next_due());
        frames.into_iter().chain(sound).fold(self.reports.next_due(), MonoTime::min)
    }

    /// Returns what happened so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Sends one frame of every layer.
    fn send_frame(&mut self, now: MonoTime, number: u64) {
        let timestamp = ticks(number, Codec::H264.clock_rate(), self.frames.per_second());
        let mut departure = Departure { now, transport_seq: &mut self.transport_seq };
        for (layer, track) in &mut self.layers {
            let keyframe = layer.next_frame(now);
            self.stats.frames_sent = self.stats.frames_sent.saturating_add(1);
            self.stats.keyframes_sent = self.stats.keyframes_sent.saturating_add(u64::from(keyframe));
            let payloads = layer.payloads().iter();
            let last = payloads.len().saturating_sub(1);
            for (index, payload) in payloads.enumerate() {
                let packet = Packet { marker: index == last, timestamp, payload };
                self.outputs.push_back(Output::Rtp(track.send(packet, &mut departure)));
            }
        }
    }

    fn send_sound(&mut self, now: MonoTime) {
        let Some(sound) = &mut self.sound else { return };
        let mut departure = Departure { now, transport_seq: &mut self.transport_seq };
        while let Some(number) = sound.beat.take(now) {
            let timestamp = ticks(number, Codec::Opus.clock_rate(), sound.beat.per_second());
            let payload = sound.next();
            let packet = Packet { marker: false, timestamp, payload };
            self.outputs.push_back(Output::Rtp(sound.track.send(packet, &mut departure)));
        }
    }

    /// Sends a compound for each source that has sent.
    fn send_reports(&mut self, now: MonoTime) {
        let ntp = self.clock.ntp(now);
        let elapsed = now.since(self.start);
        let video = self.layers.iter().map(|(_, track)| (track, Codec::H264.clock_rate()));
        let sound = self.sound.iter().map(|sound| (&sound.track, Codec::Opus.clock_rate()));
        for (track, rate) in video.chain(sound).filter(|(track, _)| track.has_sent()) {
            let mut compound = vec![0; COMPOUND_BYTES_MAX];
            let mut writer = Writer::new(&mut compound);
            writer.sender_report(track.sender_info(ntp, elapsed_ticks(elapsed, rate)), &[]);
            writer.sdes_cname(track.ssrc(), &self.cname);
            let length = writer.finish();
            compound.truncate(length);
            self.outputs.push_back(Output::Rtcp(compound));
        }
    }

    fn send_again(&mut self, now: MonoTime, media: Ssrc, lost: SeqNo) {
        self.stats.nacks_received = self.stats.nacks_received.saturating_add(1);
        let mut departure = Departure { now, transport_seq: &mut self.transport_seq };
        let Some((_, track)) = self.layers.iter_mut().find(|(_, track)| track.ssrc() == media) else {
            return;
        };
        if let Some(packet) = track.send_again(lost, &mut departure) {
            self.stats.retransmissions_sent = self.stats.retransmissions_sent.saturating_add(1);
            self.outputs.push_back(Output::Rtp(packet));
        }
    }

    fn want_keyframe(&mut self, now: MonoTime, media: Ssrc) {
        let mut layers = self.layers.iter_mut().zip(&mut self.asked);
        let Some(((layer, _), (times, last))) = layers.find(|((_, track), _)| track.ssrc() == media) else {
            return;
        };
        *times = times.saturating_add(1);
        let stats = &mut self.stats;
        stats.plis_received = stats.plis_received.saturating_add(1);
        stats.plis_of_one_layer = stats.plis_of_one_layer.max(*times);
        if let Some(before) = last.replace(now) {
            let gap = now.since(before);
            stats.pli_gap_min = Some(stats.pli_gap_min.map_or(gap, |least| least.min(gap)));
        }
        if !self.ignore_pli {
            layer.want_keyframe();
        }
    }

    fn acknowledge(&mut self, source: Ssrc) {
        let layers = self.layers.iter_mut().map(|(_, track)| track);
        let sound = self.sound.iter_mut().map(|sound| &mut sound.track);
        if let Some(track) = layers.chain(sound).find(|track| track.ssrc() == source) {
            track.acknowledge();
        }
    }
}

impl Sound {
    fn new(track: track::Config, now: MonoTime) -> Result<Self> {
        let beat = Beat::new(now, PACKETS_OF_SOUND_PER_SECOND);
        Ok(Self { track: Track::new(track), packets: clip::tone()?, position: 0, beat })
    }

    fn next(&mut self) -> &'static [u8] {
        let packet = self.packets.get(self.position).copied().unwrap_or_default();
        self.position = self.position.saturating_add(1) % self.packets.len().max(1);
        packet
    }
}

/// The timestamp of a deadline.
fn ticks(number: u64, clock_rate: u32, per_second: u64) -> RtpTimestamp {
    let ticks = u128::from(number).saturating_mul(u128::from(clock_rate)) / u128::from(per_second.max(1));
    wrapped(ticks)
}

fn elapsed_ticks(elapsed: Duration, clock_rate: u32) -> RtpTimestamp {
    wrapped(elapsed.as_nanos().saturating_mul(u128::from(clock_rate)) / 1_000_000_000)
}

fn wrapped(ticks: u128) -> RtpTimestamp {
    RtpTimestamp(u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or(0))
}

/// 20 ms each.
const PACKETS_OF_SOUND_PER_SECOND: u32 = 50;
const REPORTS_PER_SECOND: u32 = 1;
/// A sender report and a name of at most 255 bytes.
const COMPOUND_BYTES_MAX: usize = 300;

#[cfg(test)]
mod tests;
