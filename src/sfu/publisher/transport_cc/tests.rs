use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rtp::rtcp::{Packet, packets};

use super::*;

#[test]
fn packets_are_reported_a_tenth_of_a_second_after_the_first_at_the_latest() {
    let mut recorder = TransportCc::new();
    assert_eq!(recorder.next_timeout(), None);

    recorder.handle_packet(at(7), SeqNo(5));
    recorder.handle_packet(at(50), SeqNo(6));

    assert_eq!(recorder.next_timeout(), Some(at(107)));
    assert_eq!(report(&mut recorder), [(5, Some(7)), (6, Some(50))]);
    assert_eq!(recorder.next_timeout(), None);
}

#[test]
fn busy_publisher_is_reported_to_twice_as_often_and_a_burst_at_once() {
    let mut recorder = TransportCc::new();
    for seq in 0..16 {
        recorder.handle_packet(at(0), SeqNo(seq));
    }
    assert_eq!(recorder.next_timeout(), Some(at(50)));

    for seq in 16..200 {
        recorder.handle_packet(at(1), SeqNo(seq));
    }
    assert!(recorder.is_due(at(1)));
}

#[test]
fn holes_are_reported_as_lost() {
    let mut recorder = TransportCc::new();
    for seq in [10, 11, 14] {
        recorder.handle_packet(at(u64::from(seq)), SeqNo(seq));
    }

    let expected = [(10, Some(10)), (11, Some(11)), (12, None), (13, None), (14, Some(14))];
    assert_eq!(report(&mut recorder), expected);
}

#[test]
fn hole_between_two_reports_belongs_to_the_later_one() {
    let mut recorder = TransportCc::new();
    recorder.handle_packet(at(0), SeqNo(1));
    report(&mut recorder);

    recorder.handle_packet(at(100), SeqNo(3));

    assert_eq!(report(&mut recorder), [(2, None), (3, Some(100))]);
}

#[test]
fn packet_that_comes_after_its_hole_was_reported_is_reported_with_what_followed() {
    let mut recorder = TransportCc::new();
    for seq in [1, 3, 4] {
        recorder.handle_packet(at(u64::from(seq)), SeqNo(seq));
    }
    report(&mut recorder);

    recorder.handle_packet(at(50), SeqNo(2));
    recorder.handle_packet(at(51), SeqNo(5));

    assert_eq!(report(&mut recorder), [(2, Some(50)), (3, Some(3)), (4, Some(4)), (5, Some(51))]);
}

#[test]
fn duplicate_keeps_the_first_arrival_and_causes_no_report() {
    let mut recorder = TransportCc::new();
    recorder.handle_packet(at(1), SeqNo(1));
    report(&mut recorder);

    recorder.handle_packet(at(90), SeqNo(1));

    assert_eq!(recorder.next_timeout(), None);
}

#[test]
fn leap_of_the_numbers_begins_anew_instead_of_reporting_thousands_of_losses() {
    let mut recorder = TransportCc::new();
    recorder.handle_packet(at(0), SeqNo(1));
    report(&mut recorder);

    recorder.handle_packet(at(10), SeqNo(20_000));

    assert_eq!(report(&mut recorder), [(20_000, Some(10))]);
}

#[test]
fn arrivals_further_apart_than_the_format_can_say_go_out_in_two_reports() {
    let mut recorder = TransportCc::new();
    recorder.handle_packet(at(0), SeqNo(1));
    recorder.handle_packet(at(20_000), SeqNo(2));

    let first = report(&mut recorder);
    assert!(recorder.is_due(at(20_000)));
    let second = report(&mut recorder);

    assert_eq!((first, second), (vec![(1, Some(0))], vec![(2, Some(20_000))]));
    assert_eq!(recorder.next_timeout(), None);
}

#[test]
fn reports_are_numbered_in_order() {
    let mut recorder = TransportCc::new();
    let mut counts = Vec::new();
    for seq in 0..300 {
        recorder.handle_packet(at(u64::from(seq)), SeqNo(seq));
        counts.push(with_report(&mut recorder, |view| view.feedback_count));
    }

    let expected: Vec<u8> = (0..300_u16).map(|count| (count % 256) as u8).collect();
    assert_eq!(counts, expected);
}

#[test]
fn nothing_is_taken_as_reported_when_the_datagram_has_no_room() {
    let mut recorder = TransportCc::new();
    recorder.handle_packet(at(0), SeqNo(1));
    let mut small = [0; 8];

    assert!(!recorder.write(Ssrc(1), Ssrc(2), &mut Writer::new(&mut small)));

    assert_eq!(report(&mut recorder), [(1, Some(0))]);
}

#[test]
fn publisher_learns_every_arrival_over_loss_reorder_and_two_wraps() {
    let mut dice = ChaCha8Rng::seed_from_u64(5);
    let mut recorder = TransportCc::new();
    let (first, count) = (60_000_u64, 140_000_u64);
    let mut learned = BTreeMap::new();
    let mut sent = BTreeMap::new();

    for base in (first..first + count).step_by(8) {
        let mut order: Vec<u64> = (base..base + 8).collect();
        for position in (1..order.len()).rev() {
            order.swap(position, dice.next_u32() as usize % (position + 1));
        }
        for (step, seq) in order.into_iter().enumerate() {
            if dice.next_u32().is_multiple_of(7) {
                continue;
            }
            let now = (base - first) * 2 + step as u64;
            recorder.handle_packet(at(now), SeqNo(seq as u16));
            sent.insert(seq, now);
            if recorder.is_due(at(now)) {
                for (wire, arrival) in report(&mut recorder) {
                    // A number is within half a cycle of the newest one.
                    let full = seq.wrapping_add_signed(i64::from(SeqNo(wire).distance(SeqNo(seq as u16))));
                    if let Some(arrival) = arrival {
                        learned.insert(full, arrival);
                    }
                }
            }
        }
    }

    let end = *learned.last_key_value().unwrap().0;
    sent.retain(|seq, _| *seq <= end);
    learned.retain(|seq, _| *seq >= first);
    assert!(sent.len() > 100_000, "{} arrivals exercised the recorder", sent.len());
    let wrong = sent.iter().filter(|(seq, now)| {
        let expected = **now % REFERENCE_WRAP_MILLIS;
        learned.get(*seq).is_none_or(|learned| *learned != expected)
    });
    assert_eq!(wrong.count(), 0);
}

/// The reference time has 24 bits of 64 ms.
const REFERENCE_WRAP_MILLIS: u64 = (1 << 24) * 64;

/// Writes and parses one report: number and arrival in milliseconds.
fn report(recorder: &mut TransportCc) -> Vec<(u16, Option<u64>)> {
    with_report(recorder, |view| {
        let mut time = u64::from(view.reference_time) * 256;
        let mut read = Vec::new();
        for (seq, delta) in view.statuses() {
            let arrival = delta.map(|delta| {
                time = time.wrapping_add_signed(i64::from(delta));
                time / 4
            });
            read.push((seq.0, arrival));
        }
        read
    })
}

fn with_report<T>(recorder: &mut TransportCc, read: impl Fn(rtp::rtcp::TransportCcView<'_>) -> T) -> T {
    let mut out = [0; 1_200];
    let mut writer = Writer::new(&mut out);
    assert!(recorder.write(Ssrc(1), Ssrc(2), &mut writer));
    let length = writer.finish();
    let Some(Ok(Packet::TransportCc(view))) = packets(&out[..length]).next() else {
        panic!("the report does not parse");
    };
    read(view)
}

fn at(millis: u64) -> MonoTime {
    MonoTime::from_millis(millis)
}
