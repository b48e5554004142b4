//! Joining from the ring: what a viewer without a picture gets, how fast, and who is asked for what.

use rtp::rtcp::Writer;
use rtp::{Codec, MediaKind, RtpTimestamp, Ssrc};

use super::feedback::nack;
use super::harness::{Media, Place, Room, Sent, VIDEO, VIDEO_RTX, one_layer, two_layers};
use crate::viewer::{LayerRequest, SwitchReason, Viewer, ViewerOutput};
use crate::{Arrival, LayerIndex};

#[test]
fn viewer_begins_with_the_first_packet_of_the_newest_keyframe_and_is_at_the_live_edge_within_half_a_second() {
    for backlog_ms in [0, 33, 500, 2_000, 3_900, 4_400] {
        let mut show = Show::after(backlog_ms);

        let sent = show.join_and_watch(1_000);

        assert_eq!(sent[0].1.forward.source.0, show.keyframe, "{backlog_ms} ms back");
        assert!(sent[0].1.payload == show.media(show.keyframe).payload_with(sent[0].1.picture.unwrap()));
        let caught_up = sent.iter().find(|(at, it)| show.arrived(it).since_millis(*at) <= 2).unwrap().0;
        assert!(caught_up - sent[0].0 <= 500, "{} ms for {backlog_ms}", caught_up - sent[0].0);
        assert!(show.room.requests().is_empty(), "nothing is asked for");
    }
}

#[test]
fn timestamps_rise_with_every_frame_and_end_where_those_of_a_viewer_stand_who_was_there() {
    for seed in 0..20 {
        let mut show = Show::seeded(seed, 200 + seed * 200);

        let sent = show.join_and_watch(1_000);

        for pair in sent.windows(2) {
            let [(_, a), (_, b)] = [&pair[0], &pair[1]];
            let same_frame =
                show.media(a.forward.source.0).timestamp == show.media(b.forward.source.0).timestamp;
            let step = b.timestamp.distance(a.timestamp);
            assert!(if same_frame { step == 0 } else { step > 0 }, "{step} after {:?}", a.forward.source);
            assert_eq!(b.seq, a.seq.plus(1));
            assert_eq!(b.forward.source.0, a.forward.source.0 + 1, "in order and complete");
        }
        let offset =
            |it: &Sent| it.timestamp.distance(RtpTimestamp(show.media(it.forward.source.0).timestamp));
        let settled: Vec<i32> =
            sent.iter().filter(|(at, _)| *at >= sent[0].0 + 500).map(|(_, it)| offset(it)).collect();
        assert!(settled.len() > 20 && settled.iter().all(|it| *it == settled[0]), "{settled:?}");
        // Sent at one instant, the burst's frame and the live one say the same within a frame.
        for (at, it) in &sent {
            let live = show.newest_at(*at);
            let lead = it.timestamp.distance(RtpTimestamp(live).plus(settled[0].cast_unsigned()));
            assert!((-2 * FRAME_TICKS..=FRAME_TICKS).contains(&lead), "{lead} ticks off at {at} ms");
        }
    }
}

#[test]
fn pictures_and_numbers_go_on_across_the_wrap() {
    let mut show = Show::after(2_000);
    show.room = std::mem::replace(&mut show.room, Room::new(1)).near_the_wraps();

    let sent = show.join_and_watch(3_000);

    assert!(sent.windows(2).any(|pair| pair[1].1.seq.0 < pair[0].1.seq.0), "the wrap was crossed");
    for pair in sent.windows(2) {
        let [(_, a), (_, b)] = [&pair[0], &pair[1]];
        assert_eq!(b.seq, a.seq.plus(1));
        let step = (b.picture.unwrap().0.wrapping_sub(a.picture.unwrap().0)) & 0x7fff;
        assert_eq!(step, u16::from(a.marker));
    }
}

#[test]
fn burst_is_paced() {
    let mut show = Show::after(3_900);

    let sent = show.join_and_watch(600);

    let within = |from: u64| sent.iter().filter(|(at, _)| (from..from + 10).contains(at)).count();
    let most = (0..600).map(|step| within(sent[0].0 + step)).max().unwrap();
    let whole = sent.iter().filter(|(at, _)| *at < sent[0].0 + 500).count();
    assert!(most * 10 < whole, "{most} of {whole} packets in 10 ms");
}

#[test]
fn keyframe_due_within_100_ms_is_waited_for() {
    let mut show = Show::after(3_930);

    let sent = show.join_and_watch(200);

    assert_eq!(sent[0].1.forward.source.0, show.keyframe, "the keyframe that came after the join");
    assert!(show.arrived(&sent[0].1).0 >= show.joined_at);
    assert!(sent[0].0 <= show.joined_at + 150);
    assert!(show.room.requests().is_empty());
}

#[test]
fn group_of_pictures_longer_than_the_cap_is_not_joined_and_asked_for_once_a_second() {
    let mut show = Show::after(3_000);
    show.gop = u64::MAX;
    show.play(2_000);
    show.room.viewer.handle_track(show.room.now, &one_layer(1, Codec::Vp8));

    let mut asked = Vec::new();
    for step in 0..2_500_u64 {
        asked.extend(show.room.requests().iter().map(|_| step));
        assert!(show.step().is_empty());
    }

    assert_eq!(asked, [0, 1_000, 2_000]);
}

#[test]
fn packet_missing_for_good_makes_the_ring_useless_and_one_that_may_still_come_does_not() {
    let mut show = Show::after(2_000);
    show.lose_next();
    show.play(100);
    let mut later = Show::after(2_000);
    later.lose_next();
    later.play(700);

    let sent = show.join_and_watch(100);
    let none = later.join_and_watch(100);

    assert!(!sent.is_empty() && show.room.requests().is_empty());
    assert!(none.is_empty());
    assert_eq!(later.asked, [0]);
}

#[test]
fn packet_that_is_repaired_during_the_burst_finds_its_place() {
    let mut show = Show::after(2_000);
    let lost = show.lose_next();
    show.play(60);

    let mut sent = show.join_and_watch(450);
    show.repair(lost);
    sent.extend(show.watch(100));

    let place = sent.iter().find(|(_, it)| it.forward.source.0 == lost).unwrap().1.seq;
    let before = sent.iter().find(|(_, it)| it.forward.source.0 == lost - 1).unwrap().1.seq;
    assert_eq!(place, before.plus(1));
}

#[test]
fn lost_packet_of_a_burst_is_sent_again_with_the_same_timestamp() {
    let mut show = Show::after(3_000);
    let sent = show.join_and_watch(400);
    let wanted: Vec<_> = sent.iter().rev().step_by(9).take(20).map(|(_, it)| it.clone()).collect();

    let repaired = show.room.rtcp(&nack(VIDEO, &wanted.iter().map(|it| it.seq).collect::<Vec<_>>()));

    assert_eq!(repaired.len(), wanted.len());
    for repair in repaired {
        let original = wanted.iter().find(|it| it.seq.0.to_be_bytes() == repair.payload[..2]).unwrap();
        assert_eq!((repair.ssrc, repair.timestamp), (VIDEO_RTX, original.timestamp));
        assert_eq!(repair.payload[2..], original.payload);
    }
}

#[test]
fn audio_goes_out_at_once_while_a_burst_is_under_way() {
    let mut show = Show::after(3_000);
    let audio = crate::TrackInfo { kind: MediaKind::Audio, ..one_layer(1, Codec::Opus) };
    show.room.viewer.handle_track(show.room.now, &audio);
    show.join();
    show.watch(50);

    let sound = show.room.deliver(&Media::raw(Codec::Opus, 9, 960, &[0x78, 1, 2, 3]));

    assert_eq!(sound.iter().filter(|it| it.forward.kind == MediaKind::Audio).count(), 1);
}

#[test]
fn thousand_joins_in_five_seconds_ask_for_nothing_while_the_ring_has_a_picture() {
    for layers in [1, 2] {
        let mut show = Show::with_layers(layers, 2_000);
        let (mut began, mut asked) = (0, 0);

        // All of them read the same rings, as on one shard.
        for step in 0..5_000_u64 {
            show.step();
            if step.is_multiple_of(5) {
                let mut viewer = show.another_viewer(step);
                let mut out = Vec::new();
                viewer.handle_timeout(show.room.now, &show.room.rings, &mut out);
                began += usize::from(!out.is_empty());
                while let Some(output) = viewer.poll_output() {
                    asked += usize::from(matches!(output, ViewerOutput::RequestKeyframe(_)));
                }
            }
        }

        assert_eq!(asked, 0);
        assert!(
            began > 950,
            "{began} of 1,000 began at once, the others wait for a keyframe due within 100 ms"
        );
    }
}

#[test]
fn viewer_starts_with_the_lowest_layer_and_goes_up_at_the_targets_next_keyframe_without_asking() {
    let mut show = Show::with_layers(2, 2_000);
    let mut sent = show.join_and_watch(450);
    assert!(sent.iter().all(|(_, it)| it.forward.layer == LayerIndex(0)));

    sent.extend(show.watch(3_000));

    let up = sent.iter().position(|(_, it)| it.forward.layer == LayerIndex(1)).unwrap();
    assert!(show.media_of(&sent[up].1).keyframe);
    assert!(sent[up..].iter().all(|(_, it)| it.forward.layer == LayerIndex(1)));
    assert!(show.asked.is_empty(), "{:?}", show.asked);
    check_content_rises(&show, &sent);
    let changes: Vec<_> = std::mem::take(&mut show.changes);
    assert_eq!(changes.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(changes[0].1, SwitchReason::Join);
}

#[test]
fn short_group_of_pictures_of_the_target_is_joined_directly() {
    let mut show = Show::with_layers(2, 300);

    let sent = show.join_and_watch(300);

    assert!(sent.iter().all(|(_, it)| it.forward.layer == LayerIndex(1)));
    assert!(show.asked.is_empty());
}

#[test]
fn keyframe_of_the_target_that_comes_during_the_burst_is_gone_over_to_where_the_burst_has_got_to() {
    // 200 ms before the next keyframe, which makes the burst cross it.
    let mut show = Show::with_layers(2, 3_800);

    let sent = show.join_and_watch(900);

    let up = sent.iter().position(|(_, it)| it.forward.layer == LayerIndex(1)).unwrap();
    assert!(sent[up].0 - sent[0].0 <= 500, "{} ms", sent[up].0 - sent[0].0);
    check_content_rises(&show, &sent);
    assert!(show.asked.is_empty());
}

#[test]
fn viewers_keyframe_request_is_answered_from_the_ring_at_most_once_a_second() {
    let mut show = Show::after(500);
    show.join_and_watch(1_200);
    let mut answered = Vec::new();
    let mut sent = Vec::new();

    for step in 0..20_u64 {
        let out = show.pli();
        let begins = out.iter().filter(|(_, it)| it.forward.source.0 == show.keyframe).count();
        answered.extend((0..begins).map(|_| step * 100));
        sent.extend(out);
        sent.extend(show.watch(100));
    }

    assert_eq!(answered, [0, 1_000], "then twice as long");
    for pair in sent.windows(2) {
        assert_eq!(pair[1].1.seq, pair[0].1.seq.plus(1));
        assert!(pair[1].1.timestamp.distance(pair[0].1.timestamp) >= 0);
    }
}

#[test]
fn viewers_keyframe_request_goes_to_the_publisher_when_that_is_sooner() {
    // A keyframe is due in 100 ms: the burst would take longer.
    let mut show = Show::after(300);
    show.join_and_watch(3_600);
    show.asked.clear();

    let out = show.pli();
    show.watch(10);

    assert!(out.iter().all(|(_, it)| it.forward.source.0 != show.keyframe));
    assert_eq!(show.asked, [0]);
}

#[test]
fn resumed_viewer_is_brought_to_the_live_edge_and_one_whose_path_broke_the_burst_is_not_at_once() {
    let mut show = Show::after(2_000);
    show.join_and_watch(1_000);
    show.room.viewer.handle_track_gone(show.room.now, MediaKind::Video);
    show.play(300);
    show.join();
    let resumed = show.watch(50);
    show.room.viewer.handle_track_gone(show.room.now, MediaKind::Video);
    show.join();
    let again = show.watch(50);

    assert_eq!(resumed[0].1.forward.source.0, show.keyframe);
    assert!(again.is_empty());
    assert_eq!(show.asked, [0]);
}

#[test]
fn nothing_is_lost_of_a_burst_that_waited_for_its_path() {
    let mut show = Show::after(2_000);
    show.join();
    for _ in 0..30 {
        show.room.viewer.handle_blocked(show.room.now);
        assert!(show.room.viewer.next_timeout().is_some_and(|at| at > show.room.now));
        show.room.advance(1);
    }

    let sent = show.watch(600);

    assert_eq!(sent[0].1.forward.source.0, show.keyframe);
}

#[test]
fn burst_that_the_path_holds_up_goes_on_where_it_stopped() {
    let mut show = Show::after(2_000);
    let mut sent = show.join_and_watch(100);
    for _ in 0..1_000 {
        show.room.viewer.handle_blocked(show.room.now);
        show.send_unseen();
    }
    assert!(show.room.viewer.is_catching_up());
    sent.extend(show.watch(500));

    assert!(sent.windows(2).all(|pair| pair[1].1.forward.source.0 == pair[0].1.forward.source.0 + 1));
    assert!(!show.room.viewer.is_catching_up());
    assert!(show.arrived(&sent.last().unwrap().1).since_millis(show.now()) <= FRAME_MS);
}

#[test]
fn burst_that_is_late_goes_on_until_a_keyframe_is_about_to_come() {
    for (blocked, goes_on) in [(2_500, true), (3_300, false)] {
        let mut show = Show::after(300);
        let before = show.join_and_watch(10).len() as u64;
        for _ in 0..blocked {
            show.room.viewer.handle_blocked(show.room.now);
            show.send_unseen();
        }

        let sent = show.watch(100);

        assert_eq!(show.room.viewer.current_layer(MediaKind::Video).is_some(), goes_on);
        assert_eq!(show.asked, [0], "another picture than this");
        if goes_on {
            assert_eq!(sent[0].1.forward.source.0, show.keyframe + before);
            assert!(sent.windows(2).all(|pair| pair[1].1.forward.source.0 == pair[0].1.forward.source.0 + 1));
        } else {
            let first = show.watch(400).first().map(|(_, first)| first.forward.source.0);
            assert_eq!(first, Some(show.keyframe));
        }
    }
}

/// Content never goes back to an earlier capture time, layers being sampled together.
fn check_content_rises(show: &Show, sent: &[(u64, Sent)]) {
    for pair in sent.windows(2) {
        let [a, b] = [&pair[0].1, &pair[1].1].map(|it| show.media_of(it).timestamp % (1 << 24));
        assert!(b >= a, "{a} then {b}");
        assert!(pair[1].1.timestamp.distance(pair[0].1.timestamp) >= 0);
    }
}

/// A publisher of one or two layers with a keyframe every four seconds, and a viewer that comes later.
struct Show {
    room: Room,
    /// Milliseconds between keyframes.
    gop: u64,
    layers: u8,
    frames: u64,
    /// Every packet, with its arrival, by layer.
    packets: [Vec<(u64, Media)>; 2],
    /// The first packet of the newest keyframe of the first layer.
    keyframe: u64,
    first: u64,
    joined_at: u64,
    lost: Option<Media>,
    loses: bool,
    asked: Vec<u8>,
    changes: Vec<(u8, SwitchReason)>,
}

const FRAME_MS: u64 = 40;
const FRAME_TICKS: i32 = 3_600;
const PACKETS: u64 = 3;

impl Show {
    /// A show whose newest keyframe is so many milliseconds old.
    fn after(backlog_ms: u64) -> Self {
        Self::seeded(1, backlog_ms)
    }

    fn seeded(seed: u64, backlog_ms: u64) -> Self {
        Self::new(seed, 1, backlog_ms)
    }

    fn with_layers(layers: u8, backlog_ms: u64) -> Self {
        Self::new(3, layers, backlog_ms)
    }

    fn new(seed: u64, layers: u8, backlog_ms: u64) -> Self {
        let first = 0x1_ff00 + seed * 7;
        let mut show = Self {
            room: Room::new(seed),
            gop: 4_000,
            layers,
            frames: 0,
            packets: [Vec::new(), Vec::new()],
            keyframe: 0,
            first,
            joined_at: 0,
            lost: None,
            loses: false,
            asked: Vec::new(),
            changes: Vec::new(),
        };
        // A frame comes in the first millisecond.
        show.play(8_000 + backlog_ms + 1);
        show
    }

    fn now(&self) -> u64 {
        self.room.now.as_nanos() / 1_000_000
    }

    /// Lets time pass before the viewer is there.
    fn play(&mut self, millis: u64) {
        (0..millis).for_each(|_| drop(self.step()));
    }

    /// One millisecond: what the publisher sends, and what the viewer gets.
    fn step(&mut self) -> Vec<Sent> {
        let began = 1_000;
        let mut sent = Vec::new();
        if (self.now() - began).is_multiple_of(FRAME_MS) {
            for layer in 0..self.layers {
                sent.extend(self.send_frame(layer));
            }
            self.frames += 1;
        }
        sent.extend(self.room.tick());
        self.read_outputs();
        self.room.advance(1);
        sent
    }

    /// One millisecond of which the viewer hears nothing.
    fn send_unseen(&mut self) {
        if (self.now() - 1_000).is_multiple_of(FRAME_MS) {
            for layer in 0..self.layers {
                let arrivals = self.store_frame(layer);
                arrivals.into_iter().for_each(|arrival| self.room.rings.handle_arrival(arrival));
            }
            self.frames += 1;
        }
        self.room.advance(1);
    }

    fn send_frame(&mut self, layer: u8) -> Vec<Sent> {
        let arrivals = self.store_frame(layer);
        self.room.announce(&arrivals)
    }

    fn store_frame(&mut self, layer: u8) -> Vec<Arrival> {
        let keyframe = (self.frames * FRAME_MS).is_multiple_of(self.gop);
        let timestamp = (self.frames as u32) * FRAME_TICKS.cast_unsigned() + (u32::from(layer) << 24);
        let mut arrivals = Vec::new();
        for part in 0..PACKETS {
            let place = [Place::First, Place::Middle, Place::Last][part as usize];
            let seq = self.first + self.frames * PACKETS + part;
            let picture = (self.frames as u16 & 0x7fff, true, self.frames as u8);
            let media = Media {
                keyframe: keyframe && part == 0,
                picture,
                ..Media::part(layer, seq, timestamp, place)
            };
            if media.keyframe && layer == 0 {
                self.keyframe = seq;
            }
            let now = self.now();
            self.packets[usize::from(layer)].push((now, media.clone()));
            if std::mem::take(&mut self.loses) {
                self.lost = Some(media);
                continue;
            }
            arrivals.push(self.room.store(&media));
        }
        arrivals
    }

    /// Loses the first packet of the next frame; returns its number.
    fn lose_next(&mut self) -> u64 {
        self.loses = true;
        self.first + self.frames * PACKETS
    }

    fn repair(&mut self, seq: u64) {
        let media = self.lost.take().filter(|media| media.seq == seq).unwrap();
        let sent = self.room.deliver(&media);
        self.room.keep(sent);
    }

    fn join(&mut self) {
        self.joined_at = self.now();
        let info = if self.layers == 2 { two_layers(1) } else { one_layer(1, Codec::Vp8) };
        self.room.viewer.set_layer(self.room.now, LayerRequest::Auto);
        self.room.viewer.handle_track(self.room.now, &info);
    }

    /// Another viewer of the same room, who is told of the track now.
    fn another_viewer(&self, seed: u64) -> Viewer {
        let mut viewer = Room::new(seed).viewer;
        let info = if self.layers == 2 { two_layers(1) } else { one_layer(1, Codec::Vp8) };
        viewer.handle_track(self.room.now, &info);
        viewer
    }

    fn watch(&mut self, millis: u64) -> Vec<(u64, Sent)> {
        let mut sent = Vec::new();
        for _ in 0..millis {
            let now = self.now();
            sent.extend(self.step().into_iter().map(|it| (now, it)));
        }
        sent
    }

    fn join_and_watch(&mut self, millis: u64) -> Vec<(u64, Sent)> {
        self.join();
        self.watch(millis)
    }

    /// Lets the viewer ask for a keyframe.
    fn pli(&mut self) -> Vec<(u64, Sent)> {
        let mut bytes = [0; 12];
        let mut writer = Writer::new(&mut bytes);
        assert!(writer.pli(Ssrc(1), VIDEO));
        assert_eq!(writer.finish(), 12);
        let now = self.now();
        self.room.rtcp(&bytes).into_iter().map(|it| (now, it)).collect()
    }

    fn read_outputs(&mut self) {
        for output in self.room.outputs() {
            match output {
                ViewerOutput::RequestKeyframe(layer) => self.asked.push(layer.0),
                ViewerOutput::LayerChanged { to, reason, .. } => self.changes.push((to.0, reason)),
                ViewerOutput::CodecUnsupported(_) => {}
            }
        }
    }

    fn media(&self, seq: u64) -> &Media {
        &self.packets[0][(seq - self.first) as usize].1
    }

    fn media_of(&self, sent: &Sent) -> &Media {
        &self.packets[usize::from(sent.forward.layer.0)][(sent.forward.source.0 - self.first) as usize].1
    }

    fn arrived(&self, sent: &Sent) -> Arrived {
        Arrived(
            self.packets[usize::from(sent.forward.layer.0)][(sent.forward.source.0 - self.first) as usize].0,
        )
    }

    /// The timestamp of the newest frame at a moment.
    fn newest_at(&self, at: u64) -> u32 {
        self.packets[0].iter().rev().find(|(arrived, _)| *arrived <= at).unwrap().1.timestamp
    }
}

/// When a packet came, in milliseconds.
struct Arrived(u64);

impl Arrived {
    fn since_millis(&self, now: u64) -> u64 {
        now - self.0
    }
}

#[test]
fn a_number_kept_in_an_earlier_pass_over_the_layer_is_filled_when_its_packet_comes() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    room.requests();
    let mut sent = room.deliver(&Media::key(0, 100, 0));
    sent.extend(room.deliver(&Media::vp8(0, 102, 6_000)));
    room.advance(400);
    let mut bytes = [0; 64];
    let mut writer = Writer::new(&mut bytes);
    assert!(writer.pli(Ssrc(1), VIDEO));
    let length = writer.finish();
    sent.extend(room.rtcp(&bytes[..length]));
    assert!(sent.len() > 2, "the ring answers");

    sent.extend(room.deliver(&Media::vp8(0, 101, 3_000)));
    for _ in 0..100 {
        room.advance(5);
        sent.extend(room.tick());
    }

    let mut numbers: Vec<u16> = sent.iter().map(|it| it.seq.0).collect();
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}
