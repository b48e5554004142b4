//! A run: the publisher, the server and the viewers in virtual time, a millisecond at a time.

use std::collections::{BTreeMap, BTreeSet};

use loadtest::impair::config::{Config, Loss};
use loadtest::impair::model::Direction;
use rtp::MonoTime;

use crate::decoder::Shown;
use crate::ledger::Ledger;
use crate::publisher::{self, Publisher};
use crate::receiver::Receiver;
use crate::scenario::Scenario;
use crate::server::{Served, Server, Switch};

/// What a datagram takes besides its RTP or RTCP: the SRTP tag.
const SEAL_BYTES: usize = 16;
/// How often it is looked at what stands in queues and estimates.
pub(crate) const SAMPLE_MS: u64 = 100;

/// What happened to one viewer.
#[derive(Debug)]
pub struct Record {
    /// When it joined.
    pub joined_ms: u64,
    /// Every picture that it saw.
    pub shown: Vec<Shown>,
    /// Audio frames that came: when, in microseconds, and which.
    pub audio: Vec<(u64, u32)>,
    /// The layers that it was given.
    pub switches: Vec<Switch>,
    /// The state each tenth of a second, from time nought on.
    pub samples: Vec<Sample>,
    /// The queue that each packet found, with the time, in milliseconds.
    pub queues: Vec<(u64, f64)>,
    /// What nobody may do, with the time.
    pub faults: Vec<(u64, String)>,
    /// Numbers of video and of audio that were left out for good.
    pub holes: [usize; 2],
    /// Counts for people.
    pub counts: BTreeMap<&'static str, u64>,
}

/// The state of a viewer at one time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// The server's estimate in kbit/s, once it has one.
    pub estimate_kbps: Option<f64>,
    /// What limits it.
    pub limiter: &'static str,
    /// Why the viewer gets no more.
    pub allocation: &'static str,
    /// The layer that is being forwarded.
    pub layer: Option<u8>,
    /// What was sent in the last tenth of a second, in kbit/s.
    pub sent_kbps: f64,
    /// What of it was retransmissions and padding.
    pub repeated_kbps: f64,
    /// The longest queue that a packet found in the last tenth of a second, in milliseconds.
    pub queue_ms: f64,
    /// The longest that a packet was in the server since the last sample, in milliseconds.
    pub waited_ms: f64,
}

/// What happened in a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was run.
    pub scenario: Scenario,
    /// The viewers.
    pub viewers: Vec<Record>,
    /// Keyframes that the encoders made, with their layer.
    pub keyframes: Vec<(u64, u8)>,
    /// Packets of video and of audio that never reached the server, neither by themselves nor repaired.
    pub never_came: [usize; 2],
    /// What nobody may do, apart from viewers.
    pub faults: Vec<String>,
}

/// A datagram on a path that viewers may share.
type Parcel = (usize, Vec<u8>);

struct World {
    scenario: Scenario,
    publisher: Publisher,
    server: Server,
    /// Which viewer of the scenario each of the server's is.
    joined: Vec<usize>,
    receivers: Vec<Receiver>,
    uplink: Direction<Vec<u8>>,
    to_publisher: Direction<Vec<u8>>,
    down: Vec<Direction<Parcel>>,
    up: Vec<Direction<Parcel>>,
    /// Media of the publisher that has not reached the server.
    under_way: BTreeSet<(u32, u16)>,
    changes: usize,
    faults: Vec<(usize, u64, String)>,
    samples: Vec<Vec<Sample>>,
    queues: Vec<Vec<(u64, f64)>>,
    bytes_before: Vec<[u64; 2]>,
    out: Vec<Vec<u8>>,
}

/// Runs a scenario.
#[must_use]
pub fn run(scenario: Scenario) -> Outcome {
    let mut world = World::new(scenario);
    for now_ms in 0..world.scenario.length_ms {
        world.tick(now_ms);
    }
    world.end()
}

impl World {
    fn new(scenario: Scenario) -> Self {
        let seed = scenario.seed.wrapping_mul(1_000);
        let back = Config { delay: scenario.uplink.delay, ..Config::default() };
        let paths = || scenario.paths.iter().zip(seed + 100..);
        let viewers = scenario.viewers.len();
        Self {
            publisher: Publisher::new(scenario.publisher.clone(), seed + 1),
            server: Server::new(scenario.publisher.layers.len(), seed + 2),
            joined: Vec::new(),
            receivers: scenario.viewers.iter().map(|viewer| Receiver::new(viewer.habits)).collect(),
            uplink: Direction::new(scenario.uplink, seed + 3),
            to_publisher: Direction::new(back, seed + 4),
            down: paths().map(|(path, seed)| Direction::new(path.down, seed)).collect(),
            up: paths().map(|(path, seed)| Direction::new(path.up, seed + 50)).collect(),
            under_way: BTreeSet::new(),
            changes: 0,
            faults: Vec::new(),
            samples: vec![Vec::new(); viewers],
            queues: vec![Vec::new(); viewers],
            bytes_before: vec![[0; 2]; viewers],
            out: Vec::new(),
            scenario,
        }
    }

    fn tick(&mut self, now_ms: u64) {
        let now = MonoTime::from_millis(now_ms);
        self.change_paths(now_ms, now);
        self.carry_publisher(now_ms, now);
        self.let_in(now_ms, now);
        self.carry_up(now);
        self.server.handle_tick(now);
        self.carry_down(now_ms, now);
        self.hear_receivers(now_ms, now);
        if now_ms.is_multiple_of(SAMPLE_MS) {
            self.sample(now_ms);
        }
    }

    fn change_paths(&mut self, now_ms: u64, now: MonoTime) {
        while let Some(change) = self.scenario.changes.get(self.changes).filter(|it| it.at_ms <= now_ms) {
            self.changes += 1;
            self.down[change.path].handle_config(now, change.down);
            let up = self.scenario.paths[change.path].up;
            self.up[change.path].handle_config(now, Config { blackout: change.down.blackout, ..up });
        }
    }

    /// Media to the server, feedback back.
    fn carry_publisher(&mut self, now_ms: u64, now: MonoTime) {
        self.publisher.handle_tick(now_ms, &mut self.out);
        self.to_publisher.handle_timeout(now);
        while let Some(delivery) = self.to_publisher.poll_output() {
            if let Err(fault) = self.publisher.handle_rtcp(&delivery.packet, &mut self.out) {
                self.server.faults.push(fault);
            }
        }
        for packet in self.out.drain(..) {
            let bytes = packet.len() + SEAL_BYTES;
            self.under_way.extend(publisher::media_of(&packet));
            self.uplink.handle_packet(now, packet, bytes);
        }
        self.uplink.handle_timeout(now);
        while let Some(delivery) = self.uplink.poll_output() {
            if let Some(media) = publisher::media_of(&delivery.packet) {
                self.under_way.remove(&media);
            }
            self.server.handle_publisher(now, &delivery.packet);
        }
    }

    fn let_in(&mut self, now_ms: u64, now: MonoTime) {
        let whole_frames = self.scenario.uplink.loss == Loss::default();
        for (index, viewer) in self.scenario.viewers.iter().enumerate() {
            if viewer.joins_ms == now_ms {
                self.joined.push(index);
                let seed = self.scenario.seed.wrapping_mul(1_000) + 500 + index as u64;
                self.server.join(now, seed, whole_frames);
            }
        }
    }

    fn carry_up(&mut self, now: MonoTime) {
        for up in &mut self.up {
            up.handle_timeout(now);
            while let Some(delivery) = up.poll_output() {
                let (viewer, compound) = delivery.packet;
                if let Some(index) = self.joined.iter().position(|joined| *joined == viewer) {
                    self.server.handle_viewer(now, index, &compound);
                }
            }
        }
    }

    fn carry_down(&mut self, now_ms: u64, now: MonoTime) {
        for (served, viewer) in self.server.viewers.iter_mut().zip(&self.joined) {
            let down = &mut self.down[self.scenario.viewers[*viewer].path];
            for packet in served.out.drain(..) {
                let bytes = packet.len() + SEAL_BYTES;
                self.queues[*viewer].push((now_ms, down.queue_delay().as_secs_f64() * 1_000.0));
                down.handle_packet(now, (*viewer, packet), bytes);
            }
            let faults = served.ledger.faults.drain(..);
            self.faults.extend(faults.map(|fault| (*viewer, now_ms, fault)));
        }
        for down in &mut self.down {
            down.handle_timeout(now);
            while let Some(delivery) = down.poll_output() {
                let (viewer, bytes) = delivery.packet;
                let at_us = delivery.due.as_nanos() / 1_000;
                if let Err(fault) = self.receivers[viewer].handle_datagram(at_us, &bytes) {
                    self.faults.push((viewer, now_ms, fault));
                }
            }
        }
        for packet in self.server.to_publisher.drain(..) {
            let bytes = packet.len();
            self.to_publisher.handle_packet(now, packet, bytes);
        }
    }

    fn hear_receivers(&mut self, now_ms: u64, now: MonoTime) {
        for viewer in &self.joined {
            self.receivers[*viewer].handle_tick(now_ms * 1_000, &mut self.out);
            let up = &mut self.up[self.scenario.viewers[*viewer].path];
            for compound in self.out.drain(..) {
                let bytes = compound.len() + SEAL_BYTES;
                up.handle_packet(now, (*viewer, compound), bytes);
            }
        }
    }

    fn sample(&mut self, now_ms: u64) {
        for (viewer, samples) in self.samples.iter_mut().enumerate() {
            let lately = self.queues[viewer].iter().rev().take_while(|(at, _)| at + SAMPLE_MS > now_ms);
            let served = self.joined.iter().position(|joined| *joined == viewer);
            let mut sample =
                Sample { queue_ms: lately.map(|(_, queue)| *queue).fold(0.0, f64::max), ..Sample::default() };
            if let Some(served) = served.map(|index| &mut self.server.viewers[index]) {
                let bytes = [served.ledger.bytes, served.ledger.repeated_bytes];
                let before = std::mem::replace(&mut self.bytes_before[viewer], bytes);
                let [sent, repeated] =
                    [0, 1].map(|it| (bytes[it] - before[it]) as f64 * 8.0 / SAMPLE_MS as f64);
                (sample.sent_kbps, sample.repeated_kbps) = (sent, repeated);
                served.describe(&mut sample);
            }
            samples.push(sample);
        }
    }

    fn end(self) -> Outcome {
        let Self { scenario, server, receivers, joined, samples, queues, mut faults, .. } = self;
        let sounds = self.under_way.iter().filter(|(ssrc, _)| *ssrc == publisher::AUDIO_SSRC).count();
        let never_came = [self.under_way.len() - sounds, sounds];
        let mut viewers: Vec<Record> = Vec::new();
        for (((index, receiver), samples), queues) in
            receivers.into_iter().enumerate().zip(samples).zip(queues)
        {
            let served = joined.iter().position(|joined| *joined == index).map(|at| &server.viewers[at]);
            let own = faults.extract_if(.., |(viewer, ..)| *viewer == index);
            viewers.push(Record {
                joined_ms: scenario.viewers[index].joins_ms,
                faults: own.map(|(_, at, fault)| (at, fault)).collect(),
                switches: served.map(|served| served.switches.clone()).unwrap_or_default(),
                holes: served.map_or([0, 0], |served| served.ledger.holes()),
                counts: counts(&receiver, served),
                shown: receiver.shown,
                audio: receiver.audio_frames,
                samples,
                queues,
            });
        }
        Outcome { keyframes: self.publisher.keyframes, never_came, faults: server.faults, viewers, scenario }
    }
}

fn counts(receiver: &Receiver, served: Option<&Served>) -> BTreeMap<&'static str, u64> {
    let ledger = |of: fn(&Ledger) -> u64| served.map_or(0, |served| of(&served.ledger));
    let mut counts = BTreeMap::from([
        ("sent", ledger(|it| it.packets)),
        ("repeated", ledger(|it| it.retransmissions)),
        ("padding alone", ledger(|it| it.padding)),
        ("nacked", receiver.nacked),
        ("keyframes wanted", receiver.keyframes_wanted),
    ]);
    counts.extend(served.into_iter().flat_map(Served::counts));
    counts
}
