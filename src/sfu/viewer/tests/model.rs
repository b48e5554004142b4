//! The viewer against a model, over seeded loss, reordering, repetition, wraps, switches and takeovers.
//!
//! A simulated publisher sends layers of frames; a path loses, delays and repeats what it announces; the viewer
//! changes its mind. What goes out is then compared with what came in, packet by packet.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rtp::{ExtSeq, MediaKind, NtpTime, SeqNo, SeqUnwrapper};

use super::feedback::nack;
use super::harness::{Media, Room, Sent, VIDEO, layer_info, timing};
use crate::viewer::LayerRequest;
use crate::{Arrival, Epoch, LayerIndex, TrackInfo};

#[test]
fn whatever_the_path_does_the_outgoing_numbering_is_unbroken_and_every_number_has_one_packet() {
    let mut totals = Totals::default();

    for seed in 0..24 {
        let mut simulation = Simulation::new(seed);
        simulation.run();
        simulation.check(&mut totals);
    }

    // Proof that each of the hardships occurred.
    assert!(totals.packets > 10_000, "{totals:?}");
    assert!(totals.switches > 100, "{totals:?}");
    assert!(totals.takeovers > 30, "{totals:?}");
    assert!(totals.late > 1_000, "{totals:?}");
    assert!(totals.holes > 150, "{totals:?}");
    assert!(totals.fillers > 500, "{totals:?}");
    assert!(totals.withheld > 4_000, "{totals:?}");
    assert!(totals.whole_frames > 30, "{totals:?}");
    assert!(totals.steps > 2_000, "{totals:?}");
    assert!(totals.repeated > 1_000, "{totals:?}");
    assert!(totals.repaired > 4_000, "{totals:?}");
    assert!(totals.sequence_wraps > 10 && totals.timestamp_wraps > 10, "{totals:?}");
    assert!(totals.picture_wraps > 10, "{totals:?}");
    assert!(totals.squeezed > 3, "{totals:?}");
}

#[derive(Debug, Default)]
struct Totals {
    packets: usize,
    switches: usize,
    takeovers: usize,
    late: usize,
    holes: u64,
    fillers: usize,
    withheld: u64,
    steps: usize,
    whole_frames: usize,
    repeated: u64,
    repaired: usize,
    sequence_wraps: usize,
    timestamp_wraps: usize,
    picture_wraps: usize,
    squeezed: usize,
}

/// A source packet's name.
type Name = (u32, u8, u64);

struct Simulation {
    room: Room,
    dice: ChaCha8Rng,
    epoch: u32,
    layers: Vec<Layer>,
    /// What will be announced, by when.
    path: BTreeMap<(u64, u64), (u32, Arrival)>,
    queued: u64,
    /// Everything that was sent by publishers.
    sources: BTreeMap<Name, Media>,
    announced: BTreeMap<Name, bool>,
    /// Packets announced after a later one of their layer.
    late: BTreeSet<Name>,
    highest: BTreeMap<(u32, u8), u64>,
    out: Vec<(u32, Sent)>,
    repaired: usize,
    repeated: u64,
    takeovers: usize,
}

/// One layer of the simulated publisher.
struct Layer {
    index: u8,
    seq: u64,
    timestamp: u32,
    picture: u16,
    wide: bool,
    tl0: u8,
    frames: u32,
    wants_keyframe: bool,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut simulation = Self {
            room: if seed.is_multiple_of(2) { Room::new(seed) } else { Room::new(seed).near_the_wraps() },
            dice: ChaCha8Rng::seed_from_u64(seed),
            epoch: 0,
            layers: Vec::new(),
            path: BTreeMap::new(),
            queued: 0,
            sources: BTreeMap::new(),
            announced: BTreeMap::new(),
            late: BTreeSet::new(),
            highest: BTreeMap::new(),
            out: Vec::new(),
            repaired: 0,
            repeated: 0,
            takeovers: 0,
        };
        simulation.begin_epoch();
        simulation
    }

    /// Ten seconds in steps of a millisecond.
    fn run(&mut self) {
        for step in 0..10_000_u64 {
            if step % 33 == 0 {
                (0..self.layers.len()).for_each(|layer| self.send_frame(layer));
            }
            self.announce_due();
            if self.chance(1_000) {
                self.change_mind();
            }
            if self.chance(4_000) {
                self.take_over();
            }
            if step % 50 == 0 {
                self.ask_again();
            }
            let sent = self.room.tick();
            self.out.extend(sent.into_iter().map(|sent| (self.epoch, sent)));
            for layer in self.room.requests() {
                self.layers.iter_mut().filter(|it| it.index == layer).for_each(|it| it.wants_keyframe = true);
            }
            self.room.advance(1);
        }
        self.room.advance(1_000);
        self.announce_due();
    }

    fn begin_epoch(&mut self) {
        self.epoch += 1;
        self.path.clear();
        let count = 1 + self.roll(3) as u8;
        self.layers = (0..count).map(|index| self.new_layer(index)).collect();
        let described = self.roll(2) == 0;
        let layers = self.layers.iter().map(|layer| {
            let mut info = layer_info(layer.index, ["c", "a", "b"][usize::from(layer.index)], 180);
            info.size = Some((320 << layer.index, 180 << layer.index));
            // Tick `layer.timestamp` is sampled now.
            let now = 1_795_248_330_000_000_000 + self.room.now.as_nanos();
            info.timing = timing(layer.timestamp, NtpTime::from_unix_nanos(now)).filter(|_| described);
            info
        });
        let info = TrackInfo { epoch: Epoch(self.epoch), kind: MediaKind::Video, layers: layers.collect() };
        self.room.reset_rings();
        self.room.viewer.handle_track(self.room.now, &info);
    }

    fn new_layer(&mut self, index: u8) -> Layer {
        Layer {
            index,
            seq: 0x1_ff00 + u64::from(self.roll(0x200)),
            timestamp: u32::MAX - self.roll(900_000),
            picture: self.roll(0x8000) as u16,
            wide: self.roll(2) == 0,
            tl0: self.roll(256) as u8,
            frames: 0,
            wants_keyframe: true,
        }
    }

    fn take_over(&mut self) {
        self.takeovers += 1;
        if self.roll(2) == 0 {
            self.room.viewer.handle_track_gone(self.room.now, MediaKind::Video);
            let pause = u64::from(self.roll(500));
            self.room.advance(pause);
        }
        self.begin_epoch();
    }

    fn change_mind(&mut self) {
        let request = match self.roll(4) {
            0 => LayerRequest::Auto,
            1 => LayerRequest::Rid(["a", "b", "c"][self.roll(3) as usize].to_owned()),
            _ => LayerRequest::MaxHeight(180 << self.roll(3)),
        };
        self.room.viewer.set_layer(self.room.now, request);
        let limit = [0, 1, 255][self.roll(3) as usize];
        self.room.viewer.set_temporal_limit(limit);
    }

    /// Sends one frame of a layer: temporal layers 0 2 1 2, now and then padding behind it.
    fn send_frame(&mut self, layer: usize) {
        let packets = 1 + self.roll(5);
        let padding = if self.chance(12) { 1 + self.roll(3) } else { 0 };
        let layer = &mut self.layers[layer];
        let keyframe = std::mem::take(&mut layer.wants_keyframe);
        if keyframe {
            layer.frames = 0;
        }
        let temporal = [0, 2, 1, 2][layer.frames as usize % 4];
        if temporal == 0 {
            layer.tl0 = layer.tl0.wrapping_add(1);
        }
        let picture = (layer.picture & if layer.wide { 0x7fff } else { 0x7f }, layer.wide, layer.tl0);
        let mut sent = Vec::new();
        for place in 0..packets + padding {
            sent.push(Media {
                marker: place + 1 == packets,
                start: place == 0,
                keyframe: keyframe && place < packets,
                temporal,
                layer_sync: layer.frames % 4 < 3,
                picture,
                padding: place >= packets,
                ..Media::vp8(layer.index, layer.seq, layer.timestamp)
            });
            layer.seq += 1;
        }
        layer.picture = layer.picture.wrapping_add(1);
        layer.frames += 1;
        layer.timestamp = layer.timestamp.wrapping_add(33 * 90);
        for media in sent {
            self.put_on_path(media);
        }
    }

    /// Stores a packet on its way in, or loses it; a lost one comes back four times of five.
    fn put_on_path(&mut self, media: Media) {
        let name = (self.epoch, media.layer, media.seq);
        let lost = self.chance(20);
        let delay = match lost {
            true if self.chance(5) => None,
            true => Some(20 + u64::from(self.roll(180))),
            false => Some(if self.chance(10) { u64::from(self.roll(15)) } else { 0 }),
        };
        self.announced.insert(name, false);
        if let Some(delay) = delay {
            let arrival =
                Arrival { kind: MediaKind::Video, layer: LayerIndex(media.layer), seq: ExtSeq(media.seq) };
            let due = self.room.now.as_nanos() / 1_000_000 + delay;
            let times = if self.chance(15) { 2 } else { 1 };
            for copy in 0..times {
                self.queued += 1;
                self.path.insert((due + copy * 7, self.queued), (self.epoch, arrival));
            }
        }
        self.sources.insert(name, media);
    }

    fn announce_due(&mut self) {
        let now = self.room.now.as_nanos() / 1_000_000;
        let mut due = Vec::new();
        while let Some(entry) = self.path.first_entry().filter(|entry| entry.key().0 <= now) {
            let (epoch, arrival) = entry.remove();
            let name = (epoch, arrival.layer.0, arrival.seq.0);
            // Stored when it is announced, as the publisher's side does, and once.
            if self.announced.insert(name, true) == Some(true) {
                self.repeated += 1;
            } else {
                let highest = self.highest.entry((name.0, name.1)).or_default();
                if name.2 < *highest {
                    self.late.insert(name);
                }
                *highest = name.2.max(*highest);
                self.room.store(&self.sources[&name]);
            }
            due.push(arrival);
        }
        let sent = self.room.announce(&due);
        self.out.extend(sent.into_iter().map(|sent| (self.epoch, sent)));
    }

    /// Asks for a few recent numbers and compares the answers with what went out.
    fn ask_again(&mut self) {
        let recent = self.out.len().saturating_sub(60);
        let first = self.out[recent..].iter().filter(|(epoch, _)| *epoch == self.epoch);
        let wanted: BTreeMap<u16, Sent> = first.map(|(_, sent)| (sent.seq.0, sent.clone())).collect();
        let picked: Vec<SeqNo> = wanted.keys().step_by(11).map(|&seq| SeqNo(seq)).collect();
        if picked.is_empty() {
            return;
        }
        for repair in self.room.rtcp(&nack(VIDEO, &picked)) {
            let original = &wanted[&repair.forward.rtx.unwrap().0];
            assert_eq!(repair.payload[..2], original.seq.0.to_be_bytes());
            assert_eq!(repair.payload[2..], original.payload);
            assert_eq!(repair.timestamp, original.timestamp);
            self.repaired += 1;
        }
    }

    fn check(mut self, totals: &mut Totals) {
        let out = Outcome::order(std::mem::take(&mut self.out));
        totals.late += out.late;
        self.check_packets(&out);
        for pair in out.packets.windows(2) {
            self.check_neighbours(&pair[0], &pair[1], totals);
        }
        self.check_timestamps(&out, totals);
        totals.packets += out.packets.len();
        totals.fillers += out.packets.iter().filter(|packet| packet.sent.forward.filler).count();
        totals.takeovers += self.takeovers;
        totals.repeated += self.repeated;
        totals.repaired += self.repaired;
        let drops = &self.room.viewer.stats().video.drops;
        totals.withheld += drops.get(crate::DropReason::TemporalLayer);
        totals.switches += self.room.viewer.stats().video.layer_changes as usize;
    }

    /// Each packet carries its source's payload, and its source once.
    fn check_packets(&self, out: &Outcome) {
        let mut seen = BTreeSet::new();
        for packet in &out.packets {
            let source = &self.sources[&packet.name];
            assert!(seen.insert(packet.name), "{:?} went out twice", packet.name);
            match packet.sent.forward.filler {
                true => assert_eq!((packet.sent.payload.len(), packet.sent.padding), (0, 1)),
                false => {
                    assert_eq!(packet.sent.payload, source.payload_with(packet.sent.picture.unwrap()));
                    assert_eq!(packet.sent.marker, source.marker);
                }
            }
        }
    }

    /// Between two neighbours of one run there is a hole for each packet that never came, and for nothing else;
    /// between two runs there is a keyframe.
    fn check_neighbours(&self, a: &Numbered, b: &Numbered, totals: &mut Totals) {
        let holes = b.out.since(a.out) - 1;
        totals.holes += holes;
        let (epoch, layer, from) = a.name;
        if (epoch, layer) == (b.name.0, b.name.1) && a.run == b.run {
            let between = self.announced.range((epoch, layer, from + 1)..b.name);
            let missing = between.filter(|(_, announced)| !**announced).count() as u64;
            assert_eq!(holes, missing, "between {:?} and {:?}", a.name, b.name);
            self.check_pictures(a, b, totals);
            return;
        }
        assert_eq!(holes, 0, "behind {:?} at a switch", a.name);
        if epoch == b.name.0 {
            self.check_frame_end(a, totals);
        }
        let source = &self.sources[&b.name];
        assert!(source.keyframe && source.start, "{:?} joined in mid-frame", b.name);
        let (before, after) = (a.sent.picture, b.sent.picture);
        if let (Some(before), Some(after)) = (before, after) {
            let mask = if source.picture.1 { 0x7fff } else { 0x7f };
            assert_eq!(after.0, (before.0 + 1) & mask, "picture id at a switch to {:?}", b.name);
            assert_eq!(after.1, before.1.wrapping_add(1), "TL0PICIDX at a switch to {:?}", b.name);
        }
    }

    /// The last frame before a switch is whole, unless something of it was late.
    fn check_frame_end(&self, last: &Numbered, totals: &mut Totals) {
        let (epoch, layer, seq) = last.name;
        let timestamp = self.sources[&last.name].timestamp;
        let behind = self.sources.range((epoch, layer, seq + 1)..(epoch, layer, seq + 8));
        let mut rest = behind.filter(|(_, media)| media.timestamp == timestamp && !media.padding).peekable();
        let complete = rest.peek().is_none();
        totals.whole_frames += usize::from(complete);
        let excused = last.sent.forward.filler
            || rest.any(|(name, _)| !self.announced[name] || self.late.contains(name));
        assert!(complete || excused, "the frame of {:?} was cut by a switch", last.name);
    }

    /// Picture ids rise by one from frame to frame, where every packet between came in its order.
    fn check_pictures(&self, a: &Numbered, b: &Numbered, totals: &mut Totals) {
        let (Some(before), Some(after)) = (a.sent.picture, b.sent.picture) else { return };
        let mask = if self.sources[&a.name].picture.1 { 0x7fff } else { 0x7f };
        let step = after.0.wrapping_sub(before.0) & mask;
        let frames =
            self.sources[&b.name].timestamp.wrapping_sub(self.sources[&a.name].timestamp) / (33 * 90);
        assert!(u32::from(step) <= frames, "{step} pictures in {frames} frames before {:?}", b.name);
        totals.picture_wraps += usize::from(after.0 < before.0);
        if frames > 0 {
            assert!(step >= 1, "two frames with one picture id before {:?}", b.name);
        }
        if frames > 0 && self.came_in_order(a, b) {
            totals.steps += 1;
            assert_eq!(step, 1, "picture ids are broken before {:?}", b.name);
        }
    }

    fn came_in_order(&self, a: &Numbered, b: &Numbered) -> bool {
        let mut between = self.announced.range(a.name..b.name);
        between.all(|(name, announced)| *announced && !self.late.contains(name))
    }

    /// Timestamps keep their distances within a run, bursts excepted, and rise from run to run.
    fn check_timestamps(&self, out: &Outcome, totals: &mut Totals) {
        let mut runs: Vec<(u64, i64, i64)> = Vec::new();
        let mut line: Option<(u32, i64)> = None;
        for packet in &out.packets {
            let wire = packet.sent.timestamp.0;
            let (last, unwrapped) = line.unwrap_or((wire, i64::from(wire)));
            let timestamp = unwrapped + i64::from(wire.wrapping_sub(last).cast_signed());
            totals.timestamp_wraps += usize::from(timestamp > unwrapped && wire < last);
            line = Some((wire, timestamp));
            match runs.last_mut() {
                Some((run, lowest, highest)) if *run == packet.run => {
                    (*lowest, *highest) = ((*lowest).min(timestamp), (*highest).max(timestamp));
                }
                _ => runs.push((packet.run, timestamp, timestamp)),
            }
        }
        for pair in runs.windows(2) {
            assert!(pair[1].1 > pair[0].2, "timestamps fall from run {} to run {}", pair[0].0, pair[1].0);
        }
        for pair in out.packets.windows(2).filter(|pair| pair[0].run == pair[1].run) {
            let [a, b] = [&pair[0], &pair[1]];
            let came = self.sources[&b.name].timestamp.wrapping_sub(self.sources[&a.name].timestamp);
            let went = b.sent.timestamp.0.wrapping_sub(a.sent.timestamp.0);
            totals.squeezed += usize::from(went != came);
            // A burst draws frames together, and never two of them into one.
            assert!(went == came || (1..came).contains(&went), "{went} of {came} before {:?}", b.name);
        }
        let wraps = out.packets.windows(2).filter(|pair| pair[1].sent.seq.0 < pair[0].sent.seq.0).count();
        totals.sequence_wraps += wraps;
    }

    fn roll(&mut self, sides: u32) -> u32 {
        self.dice.next_u32() % sides
    }

    /// True once in `times`.
    fn chance(&mut self, times: u32) -> bool {
        self.roll(times) == 0
    }
}

/// What went out, by outgoing number.
struct Outcome {
    packets: Vec<Numbered>,
    late: usize,
}

#[derive(Debug)]
struct Numbered {
    out: ExtSeq,
    name: Name,
    sent: Sent,
    /// Rises with each change of layer or epoch.
    run: u64,
}

impl Outcome {
    fn order(out: Vec<(u32, Sent)>) -> Self {
        let mut unwrapper = SeqUnwrapper::new();
        let mut by_number = BTreeMap::new();
        let mut late = 0;
        for (epoch, sent) in out {
            late +=
                usize::from(unwrapper.highest().is_some_and(|highest| unwrapper.peek(sent.seq) < highest));
            let number = unwrapper.unwrap(sent.seq);
            let name = (epoch, sent.forward.layer.0, sent.forward.source.0);
            let packet = Numbered { out: number, name, sent, run: 0 };
            let before = by_number.insert(number, packet);
            assert!(before.is_none(), "{number:?} was given twice: {before:?}");
        }
        let mut packets: Vec<Numbered> = by_number.into_values().collect();
        let mut run = 0;
        for at in 1..packets.len() {
            let changed =
                (packets[at - 1].name.0, packets[at - 1].name.1) != (packets[at].name.0, packets[at].name.1);
            run += u64::from(changed);
            packets[at].run = run;
        }
        Self { packets, late }
    }
}
