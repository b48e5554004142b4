//! Tests of the pacer through its public API.

use super::*;
use crate::bwe::{Config, Estimator, Output};

#[test]
fn audio_overtakes_all_video() {
    let mut pacer = Feed::new(1_000);
    pacer.frame(0, 1, true, 20);
    pacer.audio(1);

    assert_eq!(pacer.release(1).first(), Some(&(MediaKind::Audio, 0)));
}

#[test]
fn a_keyframe_is_spread_over_the_estimate() {
    let mut pacer = Feed::new(2_000);
    pacer.has_room(true);
    pacer.frame(0, 1, true, 60);

    // 60 packets at 2.5 times 2 Mbit/s, which are 520 packets in a second.
    let left_at = pacer.times_of_leaving(200);

    assert_eq!(left_at.len(), 60);
    assert!((90..=130).contains(&left_at[59]), "{left_at:?}");
    assert!(left_at.iter().filter(|ms| **ms < 10).count() < 15, "{left_at:?}");
}

#[test]
fn a_keyframe_that_may_fill_the_path_alone_takes_nearly_as_long_as_the_path_for_it() {
    // 20 packets are 77 ms at 1.25 times 2 Mbit/s.
    let mut without_room = Feed::new(2_000);
    without_room.has_room(false);
    without_room.frame(0, 1, true, 20);
    assert!((65..=90).contains(without_room.times_of_leaving(200).last().unwrap()));

    // Thirteen packets are what was saved up, the other 27 take 104 ms.
    let mut of_another_layer = Feed::new(2_000);
    of_another_layer.has_room(true);
    of_another_layer.frame(0, 1, false, 1);
    of_another_layer.times_of_leaving(99);
    of_another_layer.layer = LayerIndex(1);
    of_another_layer.frame(100, 1, true, 40);
    let left_at = of_another_layer.times_of_leaving(399);
    assert!((190..=215).contains(left_at.last().unwrap()), "{left_at:?}");

    // The next one of that layer finds the room that there is.
    of_another_layer.frame(400, 2, true, 40);
    let left_at = of_another_layer.times_of_leaving(600);
    assert!((440..=465).contains(left_at.last().unwrap()), "{left_at:?}");
}

#[test]
fn a_keyframe_that_the_estimate_cannot_spread_is_out_in_time_and_whole() {
    let mut pacer = Feed::new(100);
    pacer.frame(0, 1, true, 60);

    let mut left = 0;
    for ms in 0..=205 {
        left += pacer.release(ms).len();
    }

    assert_eq!(left, 60);
    assert_eq!(pacer.pacer.drops(), Drops::default());
}

#[test]
fn nothing_waits_longer_than_its_limit() {
    for kbps in [50, 300, 1_000, 5_000] {
        let mut pacer = Feed::new(kbps);
        let mut longest = Duration::ZERO;
        for ms in 0..5_000 {
            // Twice what is paced: 30 frames a second, a keyframe every two seconds.
            if ms % 33 == 0 {
                let packets = kbps * 5 * 33 / 9_600 + 1;
                pacer.frame(ms, (ms / 33) as u32, (ms / 33) % 60 == 0, packets);
            }
            pacer.release(ms);
            longest = longest.max(pacer.pacer.waited(MonoTime::from_millis(ms)));
        }

        assert!(longest <= WAIT_MAX, "{kbps}: {longest:?}");
    }
}

#[test]
fn stale_frames_go_whole_and_up_to_the_next_keyframe() {
    let mut pacer = Feed::new(100);
    let mut out = Vec::new();
    for ms in 0..3_000 {
        if ms % 33 == 0 {
            pacer.frame(ms, (ms / 33) as u32, (ms / 33) % 45 == 0, 6);
        }
        out.extend(pacer.release(ms).into_iter().map(|(_, frame)| frame));
    }

    // Every frame that came out is whole, and none comes out behind a dropped one but for a keyframe.
    let mut previous: Option<u32> = None;
    for frame in out.chunk_by(|a, b| a == b) {
        assert!(frame.len() == 6 || frame[0] == *out.last().unwrap(), "{frame:?}");
        let follows = previous.is_none_or(|previous| frame[0] == previous + 1);
        assert!(follows || frame[0] % 45 == 0, "{previous:?} {frame:?}");
        previous = Some(frame[0]);
    }
    let drops = pacer.pacer.drops();
    assert!(drops.stale_video > 0 && drops.undecodable_video > 0, "{drops:?}");
}

#[test]
fn a_packet_that_comes_late_waits_with_its_frame() {
    let mut pacer = Feed::new(1_000);
    pacer.frame(0, 1, true, 2);
    pacer.frame(0, 2, false, 2);
    pacer.frame(0, 1, true, 1);
    let left: Vec<_> = (0..200).flat_map(|ms| pacer.release(ms)).map(|(_, frame)| frame).collect();
    assert_eq!(left, [1, 1, 1, 2, 2]);

    pacer.frame(200, 3, false, 9);
    let begun = pacer.release(200).len();
    assert!((1..9).contains(&begun), "{begun}");
    pacer.frame(200, 4, false, 2);
    pacer.frame(200, 3, false, 1);
    let left: Vec<_> = (201..400).flat_map(|ms| pacer.release(ms)).map(|(_, frame)| frame).collect();
    assert_eq!(left, [vec![3; 10 - begun], vec![4; 2]].concat(), "what has begun is finished first");
}

#[test]
fn a_packet_that_comes_late_waits_in_the_order_of_its_layer() {
    let mut pacer = Feed::new(100);
    pacer.packet(0, (1, 10), true);
    pacer.packet(1, (2, 11), false);
    pacer.packet(2, (4, 13), true);
    pacer.packet(3, (3, 12), false);

    let left: Vec<_> = (4..240).flat_map(|ms| pacer.release(ms)).map(|(_, frame)| frame).collect();

    assert_eq!(left, [1, 2, 3, 4], "a number that is left out before the keyframe would stay so");
}

#[test]
fn a_packet_of_a_waiting_keyframe_that_comes_late_drops_nothing_of_what_follows_it() {
    let mut pacer = Feed::new(100);
    pacer.frame(0, 1, true, 9);
    pacer.frame(33, 2, false, 2);
    pacer.frame(40, 1, true, 1);

    let left: Vec<_> = (41..240).flat_map(|ms| pacer.release(ms)).map(|(_, frame)| frame).collect();

    assert_eq!(left, [vec![1; 10], vec![2; 2]].concat());
    assert_eq!(pacer.pacer.drops(), Drops::default());
}

#[test]
fn while_a_keyframe_is_missing_one_is_wanted() {
    let mut pacer = Feed::new(100);
    (0..10).for_each(|frame| pacer.frame(0, frame, false, 20));
    pacer.release(0);
    assert!(!pacer.pacer.wants_keyframe());

    for ms in 0..=1_000 {
        pacer.release(ms);
    }
    assert!(pacer.pacer.wants_keyframe());
    pacer.frame(1_000, 11, false, 1);
    assert!(pacer.pacer.is_empty());
    pacer.frame(1_001, 12, true, 1);

    assert!(!pacer.pacer.wants_keyframe());
    assert_eq!(pacer.pacer.len(), 1);
}

#[test]
fn the_queue_is_bounded_whatever_is_pushed() {
    let mut pacer = Feed::new(100);
    for frame in 0..5_000 {
        pacer.frame(0, frame, frame % 7 == 0, 3);
        pacer.audio(0);
        assert!(pacer.pacer.len() <= VIDEO_MAX + AUDIO_MAX);
    }
}

#[test]
fn a_probe_marks_media_and_fills_up_with_padding_at_its_rate() {
    let mut pacer = Feed::new(500);
    let probe = a_probe(Bitrate::from_kbps(4_000), 40_000);
    pacer.pacer.begin_probe(MonoTime::ZERO, probe);
    pacer.frame(0, 1, false, 3);
    let (mut bytes, mut padding, mut last) = (0, 0, 0);

    for ms in 0..400 {
        while let Some(release) = pacer.pacer.poll(MonoTime::from_millis(ms)) {
            last = ms;
            match release {
                Release::Media { probe: mark, .. } => {
                    assert_eq!(mark, Some(probe.cluster));
                    bytes += 1_200;
                }
                Release::Padding { size, probe: mark } => {
                    assert_eq!(mark, probe.cluster);
                    bytes += u64::from(size);
                    padding += u64::from(size);
                }
            }
        }
    }

    assert!((40_000..42_000).contains(&bytes), "{bytes}");
    assert_eq!(bytes - padding, 3_600);
    assert!((70..=90).contains(&last), "{last}");
    assert_eq!(pacer.pacer.next_timeout(), None);
}

#[test]
fn a_probe_ends_when_its_bytes_have_left() {
    let mut pacer = Feed::new(1_000).pacer;
    pacer.begin_probe(MonoTime::ZERO, a_probe(Bitrate::from_kbps(8_000), 1_500));
    let mut sizes = vec![600, 1_000];

    for ms in 1..100 {
        while let Some(Release::Padding { size, .. }) = pacer.poll(MonoTime::from_millis(ms)) {
            let sent = sizes.pop().expect("1,600 bytes of 1,500 have left");
            pacer.correct(size, sent);
        }
    }

    assert!(sizes.is_empty() && pacer.cluster().is_none());
}

#[test]
fn timeouts_are_set_while_something_waits_and_not_otherwise() {
    let mut pacer = Feed::new(300);
    assert_eq!(pacer.pacer.next_timeout(), None);

    pacer.frame(0, 1, true, 10);
    pacer.release(0);
    let due = pacer.pacer.next_timeout().unwrap();
    assert!(due > MonoTime::ZERO && due <= MonoTime::from_millis(40), "{due:?}");
}

struct Feed {
    pacer: Pacer<(MediaKind, u32)>,
    kbps: u64,
    layer: LayerIndex,
    millis: u64,
}

impl Feed {
    fn new(kbps: u64) -> Self {
        let pacer = Pacer::new(Bitrate::from_kbps(kbps), MonoTime::ZERO);
        Self { pacer, kbps, layer: LayerIndex(0), millis: 0 }
    }

    fn has_room(&mut self, relaxed: bool) {
        let estimate = Bitrate::from_kbps(self.kbps);
        self.pacer
            .set_pace(MonoTime::ZERO, Pace { estimate, floor: Bitrate::ZERO, relaxed, is_short: false });
    }

    /// Goes on to a time and says when packets left meanwhile.
    fn times_of_leaving(&mut self, until_ms: u64) -> Vec<u64> {
        let mut left_at = Vec::new();
        while self.millis <= until_ms {
            left_at.extend(self.release(self.millis).iter().map(|_| self.millis));
            self.millis += 1;
        }
        left_at
    }

    fn frame(&mut self, ms: u64, frame: u32, keyframe: bool, packets: u64) {
        let at = MonoTime::from_millis(ms);
        for _ in 0..packets {
            let what = (MediaKind::Video, frame);
            let item = Item {
                what,
                kind: MediaKind::Video,
                order: 0,
                frame: Frame { layer: self.layer, ..of_low(frame) },
                keyframe,
                size: 1_200,
                at,
            };
            self.pacer.push(at, item);
        }
    }

    /// Pushes a packet by its frame and its place in its layer.
    fn packet(&mut self, ms: u64, (frame, order): (u32, u64), keyframe: bool) {
        let at = MonoTime::from_millis(ms);
        let (what, kind) = ((MediaKind::Video, frame), MediaKind::Video);
        self.pacer.push(at, Item { what, kind, order, frame: of_low(frame), keyframe, size: 1_200, at });
    }

    fn audio(&mut self, ms: u64) {
        let at = MonoTime::from_millis(ms);
        let what = (MediaKind::Audio, 0);
        let item =
            Item { what, kind: MediaKind::Audio, order: 0, frame: of_low(0), keyframe: false, size: 120, at };
        self.pacer.push(at, item);
    }

    fn release(&mut self, ms: u64) -> Vec<(MediaKind, u32)> {
        std::iter::from_fn(|| self.pacer.poll(MonoTime::from_millis(ms)))
            .filter_map(|release| match release {
                Release::Media { what, .. } => Some(what),
                Release::Padding { .. } => None,
            })
            .collect()
    }
}

fn of_low(timestamp: u32) -> Frame {
    Frame { layer: LayerIndex(0), timestamp: RtpTimestamp(timestamp) }
}

/// Only an estimator makes probes.
fn a_probe(target: Bitrate, bytes: u64) -> Probe {
    let mut estimator = Estimator::new(Config::default(), MonoTime::ZERO);
    estimator.set_wanted(MonoTime::ZERO, Some(target));
    let Some(Output::Probe(probe)) = estimator.poll_output() else { panic!("no probe") };
    Probe { target, bytes, ..probe }
}
