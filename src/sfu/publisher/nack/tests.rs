use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

const PACE: Pace = Pace { rtt: Duration::from_millis(50), repairs: true };

#[test]
fn late_packet_within_ten_milliseconds_is_never_asked_for() {
    let mut nack = Nack::new();
    receive(&mut nack, 0, &[100, 102]);
    assert_eq!(due(&mut nack, 9), []);

    receive(&mut nack, 9, &[101]);

    assert_eq!(due(&mut nack, 100), []);
    assert_eq!(nack.next_timeout(PACE), None);
}

#[test]
fn hole_is_asked_for_after_ten_milliseconds() {
    let mut nack = Nack::new();
    receive(&mut nack, 0, &[100, 102]);

    assert_eq!(nack.next_timeout(PACE), Some(at(10)));
    assert_eq!(due(&mut nack, 10), [101]);
}

#[test]
fn hole_is_asked_for_at_once_when_three_later_packets_have_come() {
    let mut nack = Nack::new();
    receive(&mut nack, 0, &[100, 102, 103]);
    assert_eq!(due(&mut nack, 1), []);

    receive(&mut nack, 1, &[104]);

    assert_eq!(due(&mut nack, 1), [101]);
}

#[test]
fn request_is_repeated_once_a_round_trip_and_never_within_twenty_milliseconds() {
    for (rtt, expected) in [(50, 50), (5, 20)] {
        let pace = Pace { rtt: Duration::from_millis(rtt), repairs: true };
        let mut nack = Nack::new();
        nack.handle_answer();
        receive(&mut nack, 0, &[100, 102]);
        let mut asked = Vec::new();

        for now in 0..100 {
            if !due_at(&mut nack, now, pace).is_empty() {
                asked.push(now);
            }
        }

        assert!(asked.len() >= 2, "{asked:?}");
        assert!(asked.windows(2).all(|pair| pair[1] - pair[0] == expected), "{asked:?}");
    }
}

#[test]
fn hole_is_given_up_after_ten_requests_and_wants_one_keyframe() {
    let pace = Pace { rtt: Duration::from_millis(20), repairs: true };
    let mut nack = Nack::new();
    nack.handle_answer();
    receive(&mut nack, 0, &[100, 102]);
    let (mut requests, mut keyframes) = (0, 0);

    for now in 0..1_000 {
        requests += due_at(&mut nack, now, pace).len();
        keyframes += usize::from(nack.take_gave_up());
    }

    assert_eq!((requests, keyframes), (10, 1));
    assert_eq!(nack.next_timeout(pace), None);
}

#[test]
fn hole_is_given_up_when_no_answer_could_come_within_half_a_second() {
    for (rtt, requests, given_up_at) in [(100, 4, 410), (200, 2, 410), (495, 0, 10)] {
        let pace = Pace { rtt: Duration::from_millis(rtt), repairs: true };
        let mut nack = Nack::new();
        nack.handle_answer();
        receive(&mut nack, 0, &[100, 102]);
        let (mut asked, mut given_up) = (0, None);

        for now in 0..1_000 {
            asked += due_at(&mut nack, now, pace).len();
            if nack.take_gave_up() {
                given_up.get_or_insert(now);
            }
        }

        assert_eq!((asked, given_up), (requests, Some(given_up_at)), "{rtt} ms");
        assert_eq!(nack.next_timeout(pace), None);
    }
}

#[test]
fn hole_before_a_keyframe_is_asked_for_only_while_its_picture_may_still_be_shown() {
    let mut nack = Nack::new();
    nack.handle_answer();
    receive(&mut nack, 0, &[100, 102]);
    nack.handle_keyframe(ExtSeq(102));

    let asked: Vec<u64> = (0..1_000).filter(|now| !due_at(&mut nack, *now, PACE).is_empty()).collect();

    assert_eq!(asked, [10, 60]);
    assert!(!nack.take_gave_up());
}

#[test]
fn hole_before_a_keyframe_wants_no_other_keyframe() {
    let mut nack = Nack::new();
    receive(&mut nack, 0, &[100, 102]);
    nack.handle_keyframe(ExtSeq(102));

    due(&mut nack, 600);

    assert!(!nack.take_gave_up());
    assert_eq!(nack.next_timeout(PACE), None);
}

#[test]
fn publisher_whose_first_two_losses_bring_no_answer_is_asked_no_more() {
    let mut nack = Nack::new();
    receive(&mut nack, 0, &[100, 102, 104]);
    assert_eq!(due(&mut nack, 10), [101, 103]);
    due(&mut nack, 159);
    assert!(!nack.is_unanswered());

    assert_eq!(due(&mut nack, 160), [], "two round trips and 50 ms have passed");
    assert!(nack.is_unanswered() && nack.take_gave_up());

    receive(&mut nack, 200, &[110]);
    assert_eq!(due(&mut nack, 210), []);
    assert!(nack.take_gave_up(), "a keyframe is wanted as soon as the packets are not merely late");
}

#[test]
fn publisher_that_answered_nothing_is_asked_again_each_time_after_twice_as_long() {
    let mut nack = Nack::new();
    let mut begun = Vec::new();
    let mut seq = 100;

    // A packet of two is lost, all the time.
    for now in (0..200_000).step_by(10) {
        let was_asked = begun.last().is_some_and(|begun| now - begun < 1_000);
        receive(&mut nack, now, &[seq]);
        seq += 2;
        if !due(&mut nack, now).is_empty() && !was_asked {
            begun.push(now);
        }
    }

    // A trial is over 150 ms after its second request, which is 10 ms behind the first one.
    assert_eq!(begun, [20, 10_180, 30_340, 70_500, 150_660]);
    assert!(nack.is_unanswered(), "what is asked once more is not answered yet");
}

#[test]
fn publisher_that_answers_at_last_is_asked_for_every_hole() {
    let mut nack = Nack::new();
    receive(&mut nack, 0, &[100, 102, 104]);
    due(&mut nack, 10);
    due(&mut nack, 160);
    receive(&mut nack, 10_160, &[106]);
    assert_eq!(due(&mut nack, 10_170), [105]);

    receive(&mut nack, 10_200, &[105]);
    nack.handle_answer();

    assert!(!nack.is_unanswered());
    receive(&mut nack, 10_210, &[108]);
    assert_eq!(due(&mut nack, 10_220), [107]);
}

#[test]
fn one_unanswered_loss_condemns_nobody() {
    let mut nack = Nack::new();
    receive(&mut nack, 0, &[100, 102]);

    for now in 0..1_000 {
        due(&mut nack, now);
    }

    assert!(!nack.is_unanswered());
}

#[test]
fn answer_that_comes_after_all_clears_the_mark() {
    let mut nack = Nack::new();
    receive(&mut nack, 0, &[100, 102, 104]);
    due(&mut nack, 10);
    due(&mut nack, 400);
    assert!(nack.is_unanswered());

    nack.handle_answer();
    receive(&mut nack, 500, &[106]);

    assert_eq!(due(&mut nack, 510), [105]);
}

#[test]
fn format_without_nack_wants_a_keyframe_as_soon_as_a_packet_is_lost() {
    let pace = Pace { repairs: false, ..PACE };
    let mut nack = Nack::new();
    receive(&mut nack, 0, &[100, 102]);

    assert_eq!(due_at(&mut nack, 9, pace), []);
    assert!(!nack.take_gave_up());
    assert_eq!(due_at(&mut nack, 10, pace), []);
    assert!(nack.take_gave_up());
}

#[test]
fn round_trip_is_measured_from_the_first_request_however_often_it_was_repeated() {
    let mut nack = Nack::new();
    receive(&mut nack, 0, &[100, 102, 104]);
    due(&mut nack, 10);
    let once = nack.handle_packet(at(47), ExtSeq(101));
    due(&mut nack, 60);
    let twice = nack.handle_packet(at(61), ExtSeq(103));

    assert_eq!(once, Filled { was_missing: true, round_trip: Some(Duration::from_millis(37)) });
    assert_eq!(twice, Filled { was_missing: true, round_trip: Some(Duration::from_millis(51)) });
}

#[test]
fn packet_that_was_asked_for_and_given_up_is_remembered_for_a_second() {
    for (came, expected) in [(999, Some(Duration::from_millis(989))), (1_000, None)] {
        let mut nack = Nack::new();
        receive(&mut nack, 0, &[100, 102]);
        for now in 0..600 {
            due(&mut nack, now);
        }
        assert!(nack.take_gave_up());
        assert_eq!(nack.next_timeout(PACE), None);

        assert_eq!(due(&mut nack, came), []);

        assert_eq!(nack.handle_packet(at(came), ExtSeq(101)).round_trip, expected);
        assert!(!nack.take_gave_up(), "it is given up once");
    }
}

#[test]
fn packets_that_were_given_up_leave_room_for_new_holes() {
    let mut nack = Nack::new();
    nack.handle_answer();
    receive(&mut nack, 0, &[100, 200]);
    for now in 0..600 {
        due(&mut nack, now);
    }
    assert!(nack.take_gave_up());

    receive(&mut nack, 600, &[200 + MISSING_MAX as u64]);

    assert!(!nack.take_gave_up());
    assert_eq!(due(&mut nack, 610).first(), Some(&201));
}

#[test]
fn gap_wider_than_repair_is_worth_asks_for_a_keyframe_alone() {
    let mut nack = Nack::new();
    receive(&mut nack, 0, &[100, 101 + MISSING_MAX as u64 + 1]);

    assert!(nack.take_gave_up());
    assert_eq!(due(&mut nack, 100), []);
}

#[test]
fn no_request_exceeds_the_room_that_it_is_given() {
    let mut nack = Nack::new();
    receive(&mut nack, 0, &[100, 200]);
    let mut out = Vec::with_capacity(60);

    nack.take_due(at(10), PACE, &mut out);
    assert_eq!(out.len(), out.capacity());

    let taken = out.len();
    out.clear();
    nack.take_due(at(10), PACE, &mut out);
    assert_eq!(out.len() + taken, 99);
}

#[test]
fn every_loss_is_repaired_over_a_lossy_reordering_path_that_answers() {
    for seed in 0..20 {
        let mut path = Path::new(seed);
        path.run(6_000);

        let lost = path.lost;
        assert!(lost > 300, "seed {seed} lost {lost} packets only");
        assert!(path.asked_in_vain < lost / 5, "seed {seed} asked for {} late packets", path.asked_in_vain);
        assert_eq!(path.given_up, 0, "seed {seed}");
        assert!(path.nack.missing.is_empty(), "seed {seed}");
    }
}

/// A path of 40 ms round trip that loses 10 % of the packets and of the repairs, and delays some by up to 8 ms.
struct Path {
    dice: ChaCha8Rng,
    nack: Nack,
    /// What arrives when; several packets may share an instant.
    arriving: BTreeMap<(u64, u64), bool>,
    lost: usize,
    asked_in_vain: usize,
    given_up: usize,
    delivered: std::collections::BTreeSet<u64>,
}

impl Path {
    fn new(seed: u64) -> Self {
        Self {
            dice: ChaCha8Rng::seed_from_u64(seed),
            nack: Nack::new(),
            arriving: BTreeMap::new(),
            lost: 0,
            asked_in_vain: 0,
            given_up: 0,
            delivered: std::collections::BTreeSet::new(),
        }
    }

    fn run(&mut self, packets: u64) {
        for now in 0..packets + 2_000 {
            if now < packets {
                self.send(now, 65_000 + now, false);
            }
            while let Some(((due, seq), retransmitted)) = self.arriving.pop_first() {
                if due > now {
                    self.arriving.insert((due, seq), retransmitted);
                    break;
                }
                if retransmitted {
                    self.nack.handle_answer();
                }
                if self.delivered.insert(seq) {
                    self.nack.handle_packet(at(now), ExtSeq(seq));
                }
            }
            for seq in due(&mut self.nack, now) {
                let on_its_way =
                    self.arriving.iter().any(|((_, arriving), again)| *arriving == seq && !again);
                self.asked_in_vain += usize::from(on_its_way);
                self.send(now + 30, seq, true);
            }
            self.given_up += usize::from(self.nack.take_gave_up());
        }
    }

    fn send(&mut self, now: u64, seq: u64, retransmitted: bool) {
        let last = seq == 65_000 + 5_999; // nothing comes later that would show its loss
        if self.dice.next_u32().is_multiple_of(10) && !last {
            self.lost += usize::from(!retransmitted);
            return;
        }
        let late =
            if self.dice.next_u32().is_multiple_of(20) { u64::from(self.dice.next_u32() % 3) } else { 0 };
        self.arriving.insert((now + 10 + late, seq), retransmitted);
    }
}

fn receive(nack: &mut Nack, now: u64, seqs: &[u64]) {
    for seq in seqs {
        nack.handle_packet(at(now), ExtSeq(*seq));
    }
}

fn due(nack: &mut Nack, now: u64) -> Vec<u64> {
    due_at(nack, now, PACE)
}

fn due_at(nack: &mut Nack, now: u64, pace: Pace) -> Vec<u64> {
    let mut out = Vec::with_capacity(100);
    nack.handle_timeout(at(now), pace);
    nack.take_due(at(now), pace, &mut out);
    out.into_iter().map(|seq| seq.0).collect()
}

fn at(millis: u64) -> MonoTime {
    MonoTime::from_millis(millis)
}
