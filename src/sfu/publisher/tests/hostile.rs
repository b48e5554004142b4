//! Bytes that no publisher should send.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::bench::*;

#[test]
fn garbage_is_counted_and_leaves_the_session_as_it_was() {
    let mut bench = Bench::new(vec![audio(), video()]);
    let first = bench.store(0, &Sent::vp8(70, 1));

    for bytes in [&[][..], &[0x80], &[0x80; 11], &[0x40; 40], &[0xff; 40]] {
        assert!(bench.publisher.handle_rtp(at(1), bytes).is_err());
        bench.publisher.handle_rtcp(at(1), bytes);
    }

    assert_eq!(bench.publisher.stats().drops.total(), 5);
    assert_eq!(bench.store(2, &Sent::vp8(70, 2)).seq, first.seq.plus(1));
}

#[test]
fn unknown_payload_type_of_a_known_source_is_a_counted_drop() {
    let mut bench = Bench::new(vec![audio(), video()]);
    bench.store(0, &Sent::vp8(70, 1));

    let foreign = Sent { payload_type: 120, ..Sent::vp8(70, 2) };
    let rtx_on_media = Sent { payload_type: VP8_RTX, ..Sent::vp8(70, 2) };

    assert_eq!(bench.send(1, &foreign), Err(DropReason::UnknownPayloadType));
    assert_eq!(bench.send(1, &rtx_on_media), Err(DropReason::UnknownPayloadType));
}

#[test]
fn damaged_packets_in_any_order_never_stop_the_session_and_timers_never_spin() {
    for seed in 0..12 {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut bench = Bench::simulcast(&["h", "l"]);
        let mut stored = 0;

        for now in 0..6_000 {
            let bytes = damaged(&mut dice, (now / 8) as u16);
            if dice.next_u32().is_multiple_of(8) {
                bench.publisher.handle_rtcp(at(now), &bytes);
            } else {
                stored += u32::from(matches!(bench.publisher.handle_rtp(at(now), &bytes), Ok(Some(_))));
            }
            bench.publisher.request_keyframe(at(now), LayerIndex((dice.next_u32() % 6) as u8));
            bench.drain(now);
            bench.pass(now, now + 1);
            let next = bench.publisher.next_timeout();
            assert!(next.is_none_or(|next| next > at(now)), "seed {seed}: a timer at {now} ms is still due");
        }

        assert!(stored > 500, "seed {seed} stored {stored} packets only");
    }
}

#[test]
fn early_late_and_repeated_timeouts_do_no_harm() {
    let mut bench = Bench::new(vec![video()]);
    bench.store(1_000, &Sent::vp8(70, 1));
    bench.store(1_001, &Sent::vp8(70, 3));

    for now in [0, 1_001, 1_001, 500, 3_600_000, 3_600_000, 10] {
        bench.publisher.handle_timeout(at(now));
        bench.drain(now);
    }

    assert!(!bench.layer(0).active);
}

#[test]
fn source_that_changes_with_every_packet_still_gives_each_layer_one_numbering() {
    let mut bench = Bench::simulcast(&["h", "l"]);
    let mut seqs = [Vec::new(), Vec::new()];

    for ssrc in 0..10_000_u32 {
        let rid = if ssrc % 2 == 0 { "h" } else { "l" };
        let sent = Sent { mid: "1", rid, ..Sent::vp8(ssrc, 1) };
        let arrival = bench.publisher.handle_rtp(at(u64::from(ssrc)), &sent.packet()).unwrap().unwrap();
        seqs[usize::from(arrival.layer.0)].push(arrival.seq);
        while bench.publisher.poll_output().is_some() {}
    }

    for seqs in seqs {
        assert_eq!(seqs.len(), 5_000);
        assert!(seqs.windows(2).all(|pair| pair[1] == pair[0].plus(1)));
    }
    assert_eq!(bench.publisher.stats().source_changes, 9_998);
}

/// A plausible packet with a few bits turned.
fn damaged(dice: &mut ChaCha8Rng, around: u16) -> Vec<u8> {
    let seq = around + (dice.next_u32() % 100) as u16;
    let layer = dice.next_u32() % 2;
    let rid = if layer == 0 { "h" } else { "l" };
    let sent = match dice.next_u32() % 5 {
        0 => Sent { mid: "1", rid, ..Sent::vp8_keyframe(10 + layer, seq, 640, 360) },
        1 => Sent { mid: "1", repaired_rid: rid, ..Sent::vp8(10 + layer, seq).rtx(20 + layer, seq) },
        2 => Sent { mid: "0", ..Sent::opus(30, seq) },
        3 => Sent { transport_number: Some(seq), ..Sent::vp8(10 + layer, seq) },
        _ => Sent { mid: "1", rid, payload: vec![], padding: 20, ..Sent::vp8(10 + layer, seq) },
    };
    let mut bytes = sent.packet();
    if dice.next_u32().is_multiple_of(3) {
        for _ in 0..dice.next_u32() % 4 {
            let at = dice.next_u32() as usize % bytes.len();
            bytes[at] ^= 1 << (dice.next_u32() % 8);
        }
        bytes.truncate(1 + dice.next_u32() as usize % (2 * bytes.len()));
    }
    bytes
}
