use super::*;
use crate::link::Random;
use std::collections::BTreeSet;

fn ms(millis: u64) -> MonoTime {
    MonoTime::from_millis(millis)
}

fn reception() -> Reception {
    Reception::new(Ssrc(9), 90_000)
}

fn receive(reception: &mut Reception, at: MonoTime, seq: u16) -> Arrival {
    reception.handle_packet(at, SeqNo(seq), RtpTimestamp(0))
}

fn asked(reception: &mut Reception, now: MonoTime) -> Vec<u16> {
    let mut out = Vec::new();
    reception.handle_timeout(now, true, &mut out);
    out.into_iter().map(|seq| seq.0).collect()
}

#[test]
fn packets_in_order_over_the_wrap_leave_nothing_missing() {
    let mut reception = reception();

    let arrivals: Vec<Arrival> =
        (65_000..70_000_u32).map(|seq| receive(&mut reception, ms(1), seq as u16)).collect();

    assert!(arrivals.iter().all(|arrival| *arrival == Arrival::InOrder));
    assert_eq!(reception.next_timeout(true), None);
    let report = reception.report(ms(2)).unwrap();
    assert_eq!((report.cumulative_lost, report.fraction_lost), (0, 0));
    assert_eq!(report.highest_seq, 69_999, "one cycle and 4,463");
}

#[test]
fn a_gap_is_asked_for_after_the_wait_and_again_until_it_is_repaired() {
    let mut reception = reception();
    receive(&mut reception, ms(0), 10);

    assert_eq!(receive(&mut reception, ms(0), 13), Arrival::AfterGap);

    assert!(asked(&mut reception, ms(9)).is_empty());
    assert_eq!(reception.next_timeout(true), Some(ms(10)));
    assert_eq!(asked(&mut reception, ms(10)), [11, 12]);
    assert!(asked(&mut reception, ms(11)).is_empty());
    assert!(reception.handle_repair(ms(50), SeqNo(11)));
    assert_eq!(asked(&mut reception, ms(60)), [12]);
    assert_eq!(reception.next_timeout(true), Some(ms(160)), "ever more rarely");
    assert!(!reception.handle_repair(ms(120), SeqNo(11)), "it is here already");
    assert!(reception.handle_repair(ms(120), SeqNo(12)));
    assert_eq!((reception.lost(), reception.next_timeout(true)), (0, None));
}

#[test]
fn what_is_reordered_is_late_but_not_lost() {
    let mut reception = reception();
    for seq in [10, 12] {
        receive(&mut reception, ms(0), seq);
    }

    assert_eq!(receive(&mut reception, ms(5), 11), Arrival::Late);
    assert_eq!(receive(&mut reception, ms(5), 11), Arrival::Surplus);
    assert!(asked(&mut reception, ms(10)).is_empty());
}

#[test]
fn what_nobody_repairs_is_lost_after_a_second() {
    let mut reception = reception();
    for seq in [10, 12] {
        receive(&mut reception, ms(0), seq);
    }

    let mut times = 0;
    while let Some(at) = reception.next_timeout(true) {
        times += asked(&mut reception, at).len();
    }

    assert_eq!((times, reception.lost()), (5, 1));
}

#[test]
fn a_source_without_nack_asks_for_nothing_and_loses_all_the_same() {
    let mut reception = reception();
    for seq in [10, 12] {
        receive(&mut reception, ms(0), seq);
    }
    assert_eq!(reception.next_timeout(false), Some(ms(1_000)));

    let mut out = Vec::new();
    let lost = reception.handle_timeout(ms(1_000), false, &mut out);

    assert_eq!((lost, out.len()), (1, 0));
}

#[test]
fn a_report_says_what_was_lost_since_the_last_one() {
    let mut reception = reception();
    for seq in [0, 1, 2, 3, 5, 6, 7] {
        receive(&mut reception, ms(0), seq);
    }
    let first = reception.report(ms(100)).unwrap();
    for seq in 8..16 {
        receive(&mut reception, ms(200), seq);
    }
    reception.note_sender_report(ms(500), 0xabcd);

    let second = reception.report(ms(1_500)).unwrap();

    assert_eq!((first.fraction_lost, first.cumulative_lost), (32, 1));
    assert_eq!((second.fraction_lost, second.cumulative_lost), (0, 1));
    assert_eq!((second.last_sr, second.delay_since_last_sr), (0xabcd, 65_536));
}

#[test]
fn only_numbers_that_were_sent_lately_can_be_retransmitted() {
    let mut reception = reception();
    assert!(!reception.knows(SeqNo(1)));
    for seq in 100..110 {
        receive(&mut reception, ms(0), seq);
    }

    assert!(reception.knows(SeqNo(100)) && reception.knows(SeqNo(109)) && reception.knows(SeqNo(120)));
    assert!(!reception.knows(SeqNo(99)) && !reception.knows(SeqNo(5_000)));
}

#[test]
fn a_jump_of_half_the_numbers_is_bounded() {
    let mut reception = reception();
    receive(&mut reception, ms(0), 0);

    receive(&mut reception, ms(0), 30_000);

    assert_eq!(reception.missing.len(), MISSING_MAX);
    assert_eq!(reception.lost() + 1_000, 29_999);
}

#[test]
fn whatever_the_order_each_packet_is_received_missing_or_lost() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let mut reception = reception();
        let (mut arrived, mut delayed) = (BTreeSet::new(), Vec::new());
        let mut clock = 0;
        for seq in 0..3_000_u16 {
            clock += 1;
            match random.below(20) {
                0 => {}
                1 => delayed.push(seq),
                _ => {
                    arrived.insert(seq);
                    receive(&mut reception, ms(clock), seq);
                }
            }
            if !delayed.is_empty() && random.below(4) == 0 {
                let index = random.below(delayed.len() as u64) as usize;
                let seq = delayed.swap_remove(index);
                let first = *arrived.first().unwrap_or(&u16::MAX);
                if seq > first && receive(&mut reception, ms(clock), seq) != Arrival::Surplus {
                    arrived.insert(seq);
                }
            }
            asked(&mut reception, ms(clock));
        }

        let (first, last) = (*arrived.first().unwrap(), *arrived.last().unwrap());
        let span = u64::from(last - first) + 1;
        let missing = reception.missing.len() as u64;
        assert!(missing > 0 && reception.lost() > 0, "seed {seed} exercises both");
        assert_eq!(arrived.len() as u64 + missing + reception.lost(), span, "seed {seed}");
    }
}
