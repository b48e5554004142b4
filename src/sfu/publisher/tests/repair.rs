//! Loss: what is asked for, what comes back, what is given up.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::bench::*;

#[test]
fn lost_packet_is_asked_for_and_its_retransmission_fills_the_hole() {
    let mut bench = Bench::new(vec![video()]);
    let first = bench.store(0, &Sent::vp8(70, 1)).seq;
    bench.store(1, &Sent::vp8(70, 3));
    bench.pass(1, 20);
    assert_eq!(bench.take_nacked(), [(70, 2)]);
    assert_eq!(bench.publisher.measured_rtt(), None, "an assumption is no measurement");

    bench.store(41, &Sent::vp8(70, 2).rtx(71, 1));
    bench.pass(41, 300);

    assert!(bench.is_stored(0, first.plus(1)));
    assert_eq!(bench.take_nacked(), []);
    let stats = bench.publisher.stats();
    assert_eq!((stats.nacks_sent, stats.packets_nacked, stats.recovered), (1, 1, 1));
    assert_eq!(bench.publisher.measured_rtt(), Some(Duration::from_millis(30)));
}

#[test]
fn packet_that_never_comes_ends_in_one_keyframe_request() {
    let mut path = AnsweringPath::with_rtx();
    path.lose(30);
    let (mut bench, now) = (path.bench, path.now);
    bench.take_nacked();
    bench.store(now, &Sent::vp8(70, path.newest + 2));

    bench.pass(now, now + 900);

    assert_eq!(bench.publisher.stats().packets_nacked, 1 + 10);
    assert_eq!(bench.take_keyframe_requests(), (vec![70], vec![]));
}

#[test]
fn layer_whose_first_losses_bring_no_answer_asks_for_keyframes_at_once() {
    let mut bench = Bench::new(vec![video()]);
    for (now, seq) in [(0, 1), (1, 3), (2, 5)] {
        bench.store(now, &Sent::vp8(70, seq));
    }
    bench.pass(2, 1_500);
    assert!(bench.publisher.layer_stats(MediaKind::Video, LayerIndex(0)).unwrap().unanswered_nacks);
    bench.store(1_500, &Sent::vp8_keyframe(70, 6, 640, 360));
    bench.compounds.clear();
    let asked = bench.publisher.stats().packets_nacked;

    bench.store(2_500, &Sent::vp8(70, 8));
    bench.pass(2_500, 2_511);

    assert_eq!(bench.publisher.stats().packets_nacked, asked);
    assert_eq!(bench.take_keyframe_requests().0, [70]);
}

#[test]
fn one_layer_that_answers_nothing_leaves_the_others_repaired() {
    let mut bench = Bench::simulcast(&["h", "l"]);
    for (ssrc, rid) in [(10, "h"), (11, "l")] {
        bench.store(0, &Sent { mid: "1", rid, ..Sent::vp8(ssrc, 1) });
        bench.store(1, &Sent::vp8(ssrc, 3));
        bench.store(2, &Sent::vp8(ssrc, 5));
    }
    bench.pass(2, 15);
    for (seq, at) in [(2, 1), (4, 2)] {
        bench.store(40, &Sent { mid: "1", repaired_rid: "h", ..Sent::vp8(10, seq).rtx(20, at) });
    }

    bench.pass(40, 1_500);

    let unanswered = |layer| bench.publisher.layer_stats(MediaKind::Video, layer).unwrap().unanswered_nacks;
    assert!(!unanswered(LayerIndex(0)) && unanswered(LayerIndex(1)));
}

#[test]
fn format_without_nack_is_never_sent_one() {
    let mut track = video();
    track.formats[0].nack = false;
    let mut bench = Bench::new(vec![track]);
    bench.store(0, &Sent::vp8(70, 1));
    bench.store(1, &Sent::vp8(70, 3));

    bench.pass(1, 50);

    assert_eq!(bench.publisher.stats().nacks_sent, 0);
    assert_eq!(bench.take_keyframe_requests().0, [70]);
}

#[test]
fn lost_audio_is_neither_asked_for_nor_mended_by_a_keyframe() {
    let mut bench = Bench::new(vec![audio(), video()]);
    bench.store(0, &Sent::opus(71, 1));
    bench.store(60, &Sent::opus(71, 4));

    bench.pass(60, 700);

    let stats = bench.publisher.stats();
    assert_eq!((stats.nacks_sent, stats.keyframe_requests_sent), (0, 0));
}

#[test]
fn retransmission_on_the_media_source_counts_as_an_answer_where_there_is_no_rtx() {
    let mut track = video();
    track.formats[0].rtx = None;
    let mut bench = Bench::new(vec![track]);
    for (now, seq) in [(0, 1), (1, 3), (2, 5)] {
        bench.store(now, &Sent::vp8(70, seq));
    }
    bench.pass(2, 40);
    bench.store(40, &Sent::vp8(70, 2));
    bench.pass(40, 2_000);

    assert!(!bench.publisher.layer_stats(MediaKind::Video, LayerIndex(0)).unwrap().unanswered_nacks);
    assert_eq!(bench.publisher.measured_rtt(), Some(Duration::from_millis(29)));
}

#[test]
fn repairs_on_the_media_source_that_take_longer_than_assumed_are_measured_and_asked_for_again() {
    let mut path = AnsweringPath::without_rtx();
    path.lose(160);
    path.lose(160);
    path.bench.take_nacked();

    let lost = path.lose(160);

    assert!(path.bench.take_nacked().contains(&(70, lost)));
    assert!(!path.is_unanswered());
    assert_eq!(path.bench.publisher.measured_rtt(), Some(Duration::from_millis(160)));
}

#[test]
fn answer_that_comes_after_its_packet_was_given_up_still_counts() {
    for round_trip in [300, 450, 900] {
        let mut path = AnsweringPath::without_rtx();
        path.lose(round_trip);
        path.lose(round_trip);
        path.bench.take_nacked();

        let lost = path.lose(round_trip);

        assert!(path.bench.take_nacked().contains(&(70, lost)), "{round_trip} ms");
        assert!(!path.is_unanswered(), "{round_trip} ms");
    }
}

#[test]
fn round_trip_follows_a_path_that_becomes_slower_and_its_losses_need_no_keyframes() {
    let mut path = AnsweringPath::with_rtx();
    path.lose(20);
    path.lose(250);
    path.lose(250);
    path.send_keyframe();
    let asked = path.bench.publisher.stats().keyframe_requests_sent;

    for _ in 0..5 {
        path.lose(250);
    }

    assert_eq!(path.bench.publisher.stats().keyframe_requests_sent, asked);
    assert_eq!(path.bench.publisher.measured_rtt(), Some(Duration::from_millis(250)));
}

#[test]
fn round_trip_follows_a_path_down_from_where_repair_was_too_late() {
    for slow in [250, 900] {
        let mut path = AnsweringPath::with_rtx();
        for _ in 0..5 {
            path.lose(slow);
        }
        assert_eq!(path.bench.publisher.measured_rtt(), Some(Duration::from_millis(slow)));

        for _ in 0..5 {
            path.lose(30);
        }

        assert_eq!(path.bench.publisher.measured_rtt(), Some(Duration::from_millis(30)));
    }
}

#[test]
fn packet_that_is_merely_late_hardly_moves_the_round_trip() {
    let mut path = AnsweringPath::without_rtx();
    for _ in 0..3 {
        path.lose(160);
    }

    path.lose(2);

    assert_eq!(path.bench.publisher.measured_rtt(), Some(Duration::from_millis(160)));
}

#[test]
fn retransmission_of_an_unknown_source_is_a_counted_drop() {
    let mut bench = Bench::simulcast(&["h", "l"]);
    bench.store(0, &Sent { mid: "1", rid: "h", ..Sent::vp8(10, 1) });

    assert_eq!(bench.send(1, &Sent::vp8(10, 2).rtx(20, 1)), Err(DropReason::UnknownRtx));

    assert_eq!(bench.publisher.stats().drops.get(DropReason::UnknownRtx), 1);
}

#[test]
fn retransmission_of_nothing_is_a_probe_and_of_half_a_number_a_drop() {
    let mut bench = Bench::new(vec![video()]);
    bench.store(0, &Sent::vp8(70, 1));

    let probe = Sent { payload: vec![], padding: 200, ..Sent::vp8(70, 2).rtx(71, 1) };
    let half = Sent { payload: vec![1], ..Sent::vp8(70, 2).rtx(71, 2) };

    assert_eq!(bench.send(1, &probe), Ok(None));
    assert_eq!(bench.send(1, &half), Err(DropReason::TruncatedRtx));
    assert_eq!(bench.publisher.stats().padding_packets, 1);
}

#[test]
fn retransmission_of_a_packet_that_came_is_neither_stored_nor_a_drop() {
    let mut bench = Bench::new(vec![video()]);
    bench.store(0, &Sent::vp8(70, 1));

    assert_eq!(bench.send(1, &Sent::vp8(70, 1).rtx(71, 1)), Ok(None));
    assert_eq!(bench.send(2, &Sent::vp8(70, 1)), Ok(None));

    assert_eq!((bench.publisher.stats().duplicates, bench.publisher.stats().drops.total()), (2, 0));
}

#[test]
fn keyframe_requests_of_many_viewers_reach_the_publisher_once_a_second_and_layer() {
    let mut bench = Bench::simulcast(&["h", "l"]);
    for (ssrc, rid) in [(10, "h"), (11, "l")] {
        bench.store(0, &Sent { mid: "1", rid, ..Sent::vp8(ssrc, 1) });
    }

    for now in 0..2_500 {
        for layer in [0, 1] {
            bench.publisher.request_keyframe(at(now), LayerIndex(layer));
        }
        bench.drain(now);
    }

    assert_eq!(bench.take_keyframe_requests().0, [10, 11, 10, 11, 10, 11]);
}

#[test]
fn keyframe_request_before_the_first_packet_waits_for_its_source_without_a_timer() {
    let ssrcs = vec![SsrcPair { media: Ssrc(10), rtx: None }];
    let mut bench = Bench::new(vec![PublishedTrack { ssrcs, ..video() }]);
    bench.publisher.request_keyframe(at(0), LayerIndex(0));
    bench.drain(0);
    assert_eq!(bench.publisher.next_timeout(), None);

    bench.store(100, &Sent::vp8(10, 1));

    assert_eq!(bench.take_keyframe_requests().0, [10]);
}

#[test]
fn keyframe_ends_the_repetition_of_its_request() {
    let mut bench = Bench::new(vec![video()]);
    bench.store(0, &Sent::vp8(70, 1));
    bench.publisher.request_keyframe(at(1), LayerIndex(0));
    bench.pass(1, 100);

    bench.store(100, &Sent::vp8_keyframe(70, 2, 640, 360));
    bench.pass(100, 5_000);

    assert_eq!(bench.take_keyframe_requests().0, [70]);
}

#[test]
fn keyframes_are_asked_for_in_the_way_that_the_format_negotiated() {
    for (pli, fir, expected) in [
        (true, true, (vec![70], vec![])),
        (false, true, (vec![], vec![70])),
        (false, false, (vec![], vec![])),
    ] {
        let mut track = video();
        (track.formats[0].pli, track.formats[0].fir) = (pli, fir);
        let mut bench = Bench::new(vec![track]);
        bench.store(0, &Sent::vp8(70, 1));

        bench.publisher.request_keyframe(at(1), LayerIndex(0));
        bench.drain(1);

        assert_eq!(bench.take_keyframe_requests(), expected);
        assert!(bench.publisher.next_timeout().unwrap() > at(1), "no timer spins");
    }
}

#[test]
fn whole_session_over_a_lossy_reordering_path_ends_with_every_packet_stored() {
    for seed in 0..5 {
        let mut path = LossyPath::new(seed);

        path.run(20_000);

        let stats = path.bench.publisher.stats();
        assert!(path.lost > 1_000, "seed {seed} lost {}", path.lost);
        assert_eq!(path.holes, 0, "seed {seed}: {stats:?}");
        assert_eq!(stats.drops.total(), 0, "seed {seed}: {stats:?}");
        assert_eq!(stats.keyframe_requests_sent, 0, "seed {seed}: {stats:?}");
    }
}

/// A publisher that answers the first request for each lost packet, and loses one packet in two seconds.
struct AnsweringPath {
    bench: Bench,
    has_rtx: bool,
    now: u64,
    newest: u16,
}

impl AnsweringPath {
    fn with_rtx() -> Self {
        Self::new(video(), true)
    }

    fn without_rtx() -> Self {
        let mut track = video();
        track.formats[0].rtx = None;
        Self::new(track, false)
    }

    fn new(track: PublishedTrack, has_rtx: bool) -> Self {
        let mut bench = Bench::new(vec![track]);
        bench.store(0, &Sent::vp8(70, 1));
        Self { bench, has_rtx, now: 0, newest: 1 }
    }

    /// Loses a packet, brings it so many milliseconds after it was first asked for, and returns its number.
    fn lose(&mut self, round_trip: u64) -> u16 {
        let lost = Sent::vp8(70, self.newest + 1);
        self.newest += 2;
        self.bench.store(self.now, &Sent::vp8(70, self.newest));
        // The first request waits for a packet that is merely late.
        let answered = self.now + 10 + round_trip;
        self.bench.pass(self.now, answered);
        let answer = if self.has_rtx { lost.rtx(71, lost.seq) } else { lost.clone() };
        self.bench.store(answered, &answer);
        self.now += 2_000;
        self.bench.pass(answered, self.now);
        lost.seq
    }

    fn send_keyframe(&mut self) {
        self.newest += 1;
        self.bench.store(self.now, &Sent::vp8_keyframe(70, self.newest, 640, 360));
    }

    fn is_unanswered(&self) -> bool {
        self.bench.publisher.layer_stats(MediaKind::Video, LayerIndex(0)).unwrap().unanswered_nacks
    }
}

/// A publisher of two layers behind a path with 30 ms each way that loses 8 % of everything it carries.
struct LossyPath {
    bench: Bench,
    dice: ChaCha8Rng,
    /// What arrives when, in order.
    arriving: std::collections::BTreeMap<(u64, u64), Sent>,
    count: u64,
    rtx_seq: u16,
    lost: u64,
    holes: u64,
}

impl LossyPath {
    fn new(seed: u64) -> Self {
        Self {
            bench: Bench::simulcast(&["h", "l"]),
            dice: ChaCha8Rng::seed_from_u64(seed),
            arriving: std::collections::BTreeMap::new(),
            count: 0,
            rtx_seq: 65_500,
            lost: 0,
            holes: 0,
        }
    }

    /// Sends a packet of each layer every 2 ms.
    fn run(&mut self, packets: u64) {
        let first = 65_536 + 60_000;
        for now in 0..packets * 2 + 1_000 {
            let step = now / 2;
            if now % 2 == 0 && step < packets {
                let seq = 60_000_u16.wrapping_add((step % 65_536) as u16);
                for (ssrc, rid) in [(10, "h"), (11, "l")] {
                    // The first packets arrive, and so do the last, which nothing would show to be lost.
                    let sure = step == 0 || step + 5 > packets;
                    self.carry(now, Sent { mid: "1", rid, ..Sent::vp8(ssrc, seq) }, sure);
                }
            }
            self.deliver(now);
            for (ssrc, seq) in self.bench.take_nacked() {
                self.rtx_seq = self.rtx_seq.wrapping_add(1);
                let repaired_rid = if ssrc == 10 { "h" } else { "l" };
                let rtx = Sent::vp8(ssrc, seq).rtx(ssrc + 10, self.rtx_seq);
                self.carry(now + 30, Sent { mid: "1", repaired_rid, ..rtx }, false);
            }
            // What is a second old should be whole, and readers still have it.
            let due = now.saturating_sub(1_000);
            if now >= 1_000 && due % 2 == 0 && due / 2 < packets {
                let seq = rtp::ExtSeq(first + due / 2);
                self.holes += (0..2).map(|layer| u64::from(!self.bench.is_stored(layer, seq))).sum::<u64>();
            }
        }
    }

    fn carry(&mut self, now: u64, sent: Sent, sure: bool) {
        if !sure && self.dice.next_u32() % 100 < 8 {
            self.lost += 1;
            return;
        }
        let late =
            if self.dice.next_u32().is_multiple_of(20) { u64::from(self.dice.next_u32() % 6) } else { 0 };
        self.count += 1;
        self.arriving.insert((now + 30 + late, self.count), sent);
    }

    fn deliver(&mut self, now: u64) {
        while let Some(entry) = self.arriving.first_entry().filter(|entry| entry.key().0 <= now) {
            let sent = entry.remove();
            self.bench.send(now, &sent).unwrap();
        }
        self.bench.pass(now, now + 1);
    }
}
