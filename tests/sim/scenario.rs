//! What a seed stands for: a publisher, paths with their changes, viewers.
//!
//! **What is drawn, and why no more.** Rates are those of datagrams' contents, SRTP tags included, which is the unit of
//! the server's estimate. Every path carries the lowest layer with sound and a quarter more, except while it is cut
//! or deliberately below it: on less there is nothing to promise. Queues hold 100 ms to 1 s: in less than that a
//! keyframe of one frame's time does not fit at any rate. Losses by chance stay below 6 % (10 % in a few), as above
//! that no repair keeps up with frames of fifty packets. A publisher who is deaf to keyframe requests sends one every
//! four seconds at least, as OBS does; without either nobody can join.

use std::fmt;
use std::time::Duration;

use loadtest::impair::config::{Bitrate, Config, Hold, Loss, QueueBound, Share};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::encoder::{Camera, LayerPlan};
use crate::publisher::{AUDIO_KBPS, PublisherPlan};
use crate::receiver::Habits;

/// What a scenario is about, and so which properties it is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One viewer, nothing changes.
    Steady,
    /// One viewer whose path's rate changes.
    Steps,
    /// One viewer whose path is cut for a while.
    Blackout,
    /// Two viewers behind one bottleneck.
    Pair,
    /// Some viewers whose paths change in every way at any time.
    Storm,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where all of it comes from.
    pub seed: u64,
    /// What it is about.
    pub kind: Kind,
    /// The publisher.
    pub publisher: PublisherPlan,
    /// The publisher's path to the server.
    pub uplink: Config,
    /// The ways from the server and back; several viewers may share one.
    pub paths: Vec<PathPlan>,
    /// The viewers.
    pub viewers: Vec<ViewerPlan>,
    /// What happens on the way, by time.
    pub changes: Vec<Change>,
    /// When it ends.
    pub length_ms: u64,
}

/// A path between server and viewers.
#[derive(Clone, Copy, Debug)]
pub struct PathPlan {
    /// From the server.
    pub down: Config,
    /// To the server.
    pub up: Config,
}

/// A viewer.
#[derive(Clone, Copy, Debug)]
pub struct ViewerPlan {
    /// The path that it is behind.
    pub path: usize,
    /// When it joins.
    pub joins_ms: u64,
    /// How it behaves.
    pub habits: Habits,
}

/// From then on a path is another one.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// When.
    pub at_ms: u64,
    /// Which path.
    pub path: usize,
    /// How it is from the server, from now on.
    pub down: Config,
}

/// Media begins before the first viewer comes, so that there is something to join.
const FIRST_JOIN_MS: u64 = 5_000;

impl Scenario {
    /// Draws the scenario of a seed. Kinds take turns, so that a range of seeds has its share of each.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let kind = match seed % 10 {
            0 | 3 | 6 | 9 => Kind::Steady,
            1 | 7 => Kind::Steps,
            4 => Kind::Blackout,
            2 | 8 => Kind::Pair,
            _ => Kind::Storm,
        };
        Draw { dice: ChaCha8Rng::seed_from_u64(seed ^ 0x5eed_0000), seed }.scenario(kind)
    }

    /// The rate of the lowest layer with sound, on the wire, in kbit/s.
    #[must_use]
    pub fn lowest_kbps(&self) -> f64 {
        self.layer_kbps().fold(f64::INFINITY, f64::min) + AUDIO_KBPS
    }

    /// The rate of the highest layer with sound, on the wire, in kbit/s.
    #[must_use]
    pub fn top_kbps(&self) -> f64 {
        self.layer_kbps().fold(0.0, f64::max) + AUDIO_KBPS
    }

    /// The rates of the layers on the wire, in kbit/s, in the order of the offer.
    pub fn layer_kbps(&self) -> impl Iterator<Item = f64> {
        let camera = self.publisher.camera;
        self.publisher.layers.iter().map(move |layer| wire_kbps(&camera, layer))
    }

    /// How a path is from the server at a time.
    #[must_use]
    pub fn down_at(&self, path: usize, at_ms: u64) -> Config {
        let mut changes = self.changes.iter().rev();
        let newest = changes.find(|change| change.path == path && change.at_ms <= at_ms);
        newest.map_or(self.paths[path].down, |change| change.down)
    }

    /// The viewers behind a path.
    pub fn viewers_of(&self, path: usize) -> impl Iterator<Item = usize> {
        (0..self.viewers.len()).filter(move |viewer| self.viewers[*viewer].path == path)
    }
}

/// What of a path's rate is left after loss, in kbit/s; infinite without a bottleneck, nought while it is cut.
#[must_use]
pub fn left_kbps(config: &Config) -> f64 {
    if config.blackout {
        return 0.0;
    }
    let rate = config.rate.map_or(f64::INFINITY, |rate| rate.bits_per_second() as f64 / 1_000.0);
    rate * (1.0 - loss_share(config))
}

/// The mean share of packets lost by chance.
#[must_use]
pub fn loss_share(config: &Config) -> f64 {
    let share = match config.loss {
        Loss::Even(share) | Loss::Bursts { share, .. } => share,
        Loss::Chain(_) => Share::ZERO,
    };
    share.billionths() as f64 / 1e9
}

/// What a layer takes on the wire: each packet has a header with its extension, and a tag.
fn wire_kbps(camera: &Camera, layer: &LayerPlan) -> f64 {
    let frame = f64::from(layer.kbps) * 125.0 / f64::from(camera.frames_per_second);
    let packets = (frame / 1_130.0).ceil();
    (frame + packets * PACKET_OVERHEAD) * f64::from(camera.frames_per_second) / 125.0
}

/// RTP header, one extension block, SRTP tag.
const PACKET_OVERHEAD: f64 = 36.0;

/// The dice with what is drawn by them.
struct Draw {
    dice: ChaCha8Rng,
    seed: u64,
}

impl Draw {
    fn scenario(mut self, kind: Kind) -> Scenario {
        let publisher = self.publisher(kind);
        let mut scenario = Scenario {
            seed: self.seed,
            kind,
            publisher,
            uplink: self.uplink(),
            paths: Vec::new(),
            viewers: Vec::new(),
            changes: Vec::new(),
            length_ms: 0,
        };
        match kind {
            Kind::Steady => self.steady(&mut scenario),
            Kind::Steps => self.steps(&mut scenario),
            Kind::Blackout => self.blackout(&mut scenario),
            Kind::Pair => self.pair(&mut scenario),
            Kind::Storm => self.storm(&mut scenario),
        }
        scenario
    }

    fn publisher(&mut self, kind: Kind) -> PublisherPlan {
        let count = if kind == Kind::Pair { self.within(2, 3) } else { self.within(1, 3) };
        let low = self.within(150, 350) as u32;
        let middle = low * self.within(25, 35) as u32 / 10;
        let top = middle * self.within(25, 35) as u32 / 10;
        let mut layers = vec![
            LayerPlan { kbps: low, size: (320, 180) },
            LayerPlan { kbps: middle, size: (640, 360) },
            LayerPlan { kbps: top, size: (1_280, 720) },
        ];
        if count == 1 {
            layers = vec![layers[self.within(0, 2) as usize]];
        } else {
            layers.truncate(count as usize);
        }
        if self.chance(0.3) {
            layers.reverse();
        }
        let frames_per_second = [25, 30, 30][self.within(0, 2) as usize];
        let answers_requests = self.chance(0.6);
        let groups: &[Option<u32>] = if answers_requests {
            &[Some(1), Some(2), Some(4), None, None]
        } else {
            &[Some(1), Some(2), Some(4)]
        };
        let group = groups[self.within(0, groups.len() as u64 - 1) as usize];
        let camera = Camera {
            frames_per_second,
            group: group.map(|seconds| seconds * frames_per_second),
            answers_requests,
            temporal: self.chance(0.3),
            keyframe_factor: self.within(3, 8) as u32,
            noise_percent: self.within(5, 25) as u32,
        };
        PublisherPlan { camera, layers }
    }

    fn uplink(&mut self) -> Config {
        let delay = self.within(2, 30);
        let clear = self.chance(0.6);
        let loss = if clear { Loss::default() } else { Loss::Even(self.share(0.001, 0.01)) };
        let reorder = if clear { Share::ZERO } else { self.share(0.0, 0.005) };
        let jitter = Duration::from_millis(self.within(0, delay.min(6)));
        Config { delay: Duration::from_millis(delay), jitter, loss, reorder, ..Config::default() }
    }

    /// A path without a rate yet.
    fn path(&mut self) -> Config {
        let delay = self.logarithmic(3.0, 120.0) as u64;
        let jitter = if self.chance(0.5) { 0 } else { self.within(0, (delay / 2).min(20)) };
        let share = if self.chance(0.1) { self.share(0.06, 0.1) } else { self.share(0.003, 0.05) };
        let loss = match self.within(0, 9) {
            0..=4 => Loss::default(),
            5..=7 => Loss::Even(share),
            _ => Loss::Bursts { share: self.share(0.003, 0.04), length: self.within(2, 5) as u32 },
        };
        let reorder = if self.chance(0.25) { self.share(0.001, 0.01) } else { Share::ZERO };
        let duplicate = if self.chance(0.25) { self.share(0.001, 0.02) } else { Share::ZERO };
        Config {
            delay: Duration::from_millis(delay),
            jitter: Duration::from_millis(jitter),
            loss,
            rate: None,
            queue: QueueBound::Time(Duration::from_millis(self.logarithmic(100.0, 1_000.0) as u64)),
            reorder,
            hold: Hold(Duration::from_millis(self.within(5, 20))),
            duplicate,
            blackout: false,
        }
    }

    /// Sets the rate so that this much of it is left after loss.
    fn leaving(config: Config, kbps: f64) -> Config {
        let bits = kbps / (1.0 - loss_share(&config)) * 1_000.0;
        Config { rate: Some(Bitrate::from_bits_per_second(bits as u64)), ..config }
    }

    /// The way back: the same delay, half the loss, no bottleneck.
    fn back(down: &Config) -> Config {
        let loss = Loss::Even(Share::from_billionths((loss_share(down) * 0.5e9) as u64));
        Config { delay: down.delay, jitter: down.jitter, loss, ..Config::default() }
    }

    fn add_path(scenario: &mut Scenario, down: Config) {
        scenario.paths.push(PathPlan { down, up: Self::back(&down) });
    }

    fn add_viewer(&mut self, scenario: &mut Scenario, path: usize, joins_ms: u64) {
        let habits = Habits {
            feedback_ms: self.within(50, 100),
            nack_hold_ms: [0, 0, 5, 20][self.within(0, 3) as usize],
            patience_ms: [3_000, 3_000, 1_000][self.within(0, 2) as usize],
        };
        scenario.viewers.push(ViewerPlan { path, joins_ms, habits });
    }

    fn steady(&mut self, scenario: &mut Scenario) {
        let path = self.path();
        let left = self.logarithmic(scenario.lowest_kbps() * 1.25, scenario.top_kbps() * 2.5);
        Self::add_path(scenario, Self::leaving(path, left));
        let joins_ms = FIRST_JOIN_MS + self.within(0, 4_000);
        self.add_viewer(scenario, 0, joins_ms);
        scenario.length_ms = joins_ms + 20_000;
    }

    fn steps(&mut self, scenario: &mut Scenario) {
        let path = self.path();
        let (low, top) = (scenario.lowest_kbps() * 1.25, scenario.top_kbps() * 2.0);
        let first = self.logarithmic(low, top);
        Self::add_path(scenario, Self::leaving(path, first));
        let joins_ms = FIRST_JOIN_MS + self.within(0, 4_000);
        self.add_viewer(scenario, 0, joins_ms);
        let mut at_ms = joins_ms;
        for _ in 0..self.within(1, 2) {
            at_ms += self.within(12_000, 16_000);
            let left = self.logarithmic(low, top);
            scenario.changes.push(Change { at_ms, path: 0, down: Self::leaving(path, left) });
            at_ms += 6_000;
        }
        scenario.length_ms = at_ms + 14_000;
    }

    fn blackout(&mut self, scenario: &mut Scenario) {
        let path = self.path();
        let left = self.logarithmic(scenario.lowest_kbps() * 1.5, scenario.top_kbps() * 2.5);
        let down = Self::leaving(path, left);
        Self::add_path(scenario, down);
        let joins_ms = FIRST_JOIN_MS + self.within(0, 4_000);
        self.add_viewer(scenario, 0, joins_ms);
        let mut at_ms = joins_ms;
        for _ in 0..self.within(1, 2) {
            at_ms += self.within(8_000, 10_000);
            scenario.changes.push(Change { at_ms, path: 0, down: Config { blackout: true, ..down } });
            at_ms += self.logarithmic(150.0, 4_000.0) as u64;
            scenario.changes.push(Change { at_ms, path: 0, down });
        }
        scenario.length_ms = at_ms + 14_000;
    }

    fn pair(&mut self, scenario: &mut Scenario) {
        let path = Config { loss: Loss::default(), ..self.path() };
        let left = self.logarithmic(scenario.lowest_kbps() * 2.5, scenario.top_kbps() * 2.2);
        Self::add_path(scenario, Self::leaving(path, left));
        let joins_ms = FIRST_JOIN_MS + self.within(0, 4_000);
        self.add_viewer(scenario, 0, joins_ms);
        let later_ms = self.within(0, 4_000);
        self.add_viewer(scenario, 0, joins_ms + later_ms);
        scenario.length_ms = joins_ms + later_ms + 60_000;
    }

    fn storm(&mut self, scenario: &mut Scenario) {
        let (low, top) = (scenario.lowest_kbps(), scenario.top_kbps());
        for index in 0..self.within(2, 3) as usize {
            let path = self.path();
            let left = self.logarithmic(low * 1.25, top * 2.5);
            Self::add_path(scenario, Self::leaving(path, left));
            let joins_ms = self.within(0, 10_000);
            self.add_viewer(scenario, index, joins_ms);
            let mut at_ms = joins_ms;
            for _ in 0..self.within(2, 4) {
                at_ms += self.logarithmic(300.0, 8_000.0) as u64;
                let path = self.path();
                let left = self.logarithmic(low * 0.5, top * 2.5);
                let down = Config { blackout: self.chance(0.2), ..Self::leaving(path, left) };
                scenario.changes.push(Change { at_ms, path: index, down });
            }
        }
        scenario.changes.sort_by_key(|change| change.at_ms);
        scenario.length_ms = 45_000;
    }

    /// A whole number between two others, both included.
    fn within(&mut self, from: u64, to: u64) -> u64 {
        from + u64::from(self.dice.next_u32()) % (to - from + 1)
    }

    /// A number between two others, evenly in its logarithm.
    fn logarithmic(&mut self, from: f64, to: f64) -> f64 {
        from * (to / from).powf(f64::from(self.dice.next_u32()) / f64::from(u32::MAX))
    }

    fn share(&mut self, from: f64, to: f64) -> Share {
        let share = from + (to - from) * f64::from(self.dice.next_u32()) / f64::from(u32::MAX);
        Share::from_billionths((share * 1e9) as u64)
    }

    fn chance(&mut self, chance: f64) -> bool {
        f64::from(self.dice.next_u32()) < chance * f64::from(u32::MAX)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "seed {}: {:?}, {} s", self.seed, self.kind, self.length_ms / 1_000)?;
        writeln!(formatter, "  camera {:?}", self.publisher.camera)?;
        let wire: Vec<u32> = self.layer_kbps().map(|kbps| kbps as u32).collect();
        writeln!(
            formatter,
            "  layers of {wire:?} kbit/s, with {AUDIO_KBPS} of sound; uplink {}",
            self.uplink
        )?;
        for (index, path) in self.paths.iter().enumerate() {
            let left = left_kbps(&path.down);
            writeln!(formatter, "  path {index}: {} ({left:.0} kbit/s left), back {}", path.down, path.up)?;
        }
        for (index, viewer) in self.viewers.iter().enumerate() {
            let ViewerPlan { path, joins_ms, habits } = viewer;
            writeln!(formatter, "  viewer {index} on path {path} from {joins_ms} ms: {habits:?}")?;
        }
        for change in &self.changes {
            let left = left_kbps(&change.down);
            writeln!(
                formatter,
                "  at {} ms path {}: {} ({left:.0} kbit/s left)",
                change.at_ms, change.path, change.down
            )?;
        }
        Ok(())
    }
}
