#![expect(clippy::arithmetic_side_effects, reason = "a test may end its process")]

use proptest::collection::vec;
use proptest::prelude::*;
use rtc_rtcp::packet::Packet as OraclePacket;

use super::*;
use crate::{MonoTime, SeqNo};

mod oracle;

#[test]
fn a_written_compound_is_walked_packet_by_packet() {
    let mut out = [0; 256];
    let mut writer = Writer::new(&mut out);
    assert!(writer.receiver_report(OURS, &[REPORT]));
    assert!(writer.sdes_cname(OURS, "nearcast"));
    assert!(writer.pli(OURS, THEIRS));
    assert!(writer.bye(OURS));
    let length = writer.finish();

    let walked: Vec<_> = packets(&out[..length]).map(Result::unwrap).collect();

    let [
        Packet::ReceiverReport { reports, .. },
        Packet::Sdes { cnames },
        Packet::Pli { media },
        Packet::Bye { ssrcs },
    ] = &walked[..]
    else {
        panic!("came {walked:?}");
    };
    assert_eq!(reports.clone().collect::<Vec<_>>(), [REPORT]);
    assert_eq!(cnames.clone().collect::<Vec<_>>(), [(OURS, &b"nearcast"[..])]);
    assert_eq!(*media, THEIRS);
    assert_eq!(ssrcs.clone().collect::<Vec<_>>(), [OURS]);
}

#[test]
fn a_packet_that_does_not_fit_leaves_the_compound_as_it_was() {
    let mut out = [0; 40];
    let mut writer = Writer::new(&mut out);
    assert!(writer.receiver_report(OURS, &[REPORT]));

    assert!(!writer.pli(OURS, THEIRS));
    assert!(writer.bye(OURS));
    let length = writer.finish();

    assert_eq!(length, 40);
    assert!(matches!(packets(&out[..length]).last(), Some(Ok(Packet::Bye { .. }))));
}

#[test]
fn more_than_31_reports_or_a_long_name_are_not_written() {
    let mut out = [0; 1500];
    let mut writer = Writer::new(&mut out);

    assert!(!writer.receiver_report(OURS, &[REPORT; 32]));
    assert!(!writer.sdes_cname(OURS, &"x".repeat(256)));
    assert!(writer.receiver_report(OURS, &[REPORT; 31]));
    assert!(writer.sdes_cname(OURS, &"x".repeat(255)));
}

#[test]
fn a_nack_of_nothing_is_not_written() {
    let mut out = [0; 64];
    let mut writer = Writer::new(&mut out);

    assert!(writer.nack(OURS, THEIRS, &[]));

    assert_eq!(writer.finish(), 0);
}

#[test]
fn lost_numbers_share_an_entry_across_the_wrap() {
    let lost = [65_534, 65_535, 0, 14].map(SeqNo);
    let mut out = [0; 64];
    let mut writer = Writer::new(&mut out);
    assert!(writer.nack(OURS, THEIRS, &lost));
    let length = writer.finish();

    assert_eq!(length, 12 + 4, "sixteen numbers follow the first of an entry");
    let Some(Ok(Packet::Nack { lost: read, .. })) = packets(&out[..length]).next() else {
        panic!("no NACK");
    };
    assert_eq!(read.collect::<Vec<_>>(), lost);
}

#[test]
fn the_seventeenth_number_behind_the_first_needs_another_entry() {
    assert_eq!(compound(|writer| writer.nack(OURS, THEIRS, &[SeqNo(3), SeqNo(19)])).len(), 12 + 4);
    assert_eq!(compound(|writer| writer.nack(OURS, THEIRS, &[SeqNo(3), SeqNo(20)])).len(), 12 + 2 * 4);
}

#[test]
fn every_chunk_of_a_description_begins_at_a_word() {
    let mut compound = vec![0x83, 202, 0, 8];
    compound.extend([0, 0, 0, 1, 1, 2, b'a', b'b', 0, 0, 0, 0]);
    compound.extend([0, 0, 0, 2, 2, 1, b'x', 0]); // no name, another item
    compound.extend([0, 0, 0, 3, 1, 3, b'c', b'd', b'e', 0, 0, 0]);

    let Some(Ok(Packet::Sdes { cnames })) = packets(&compound).next() else { panic!("no names") };

    assert_eq!(cnames.collect::<Vec<_>>(), [(Ssrc(1), &b"ab"[..]), (Ssrc(3), &b"cde"[..])]);
}

#[test]
fn the_walk_ends_after_the_first_error() {
    let mut compound = compound(|writer| writer.bye(OURS));
    compound.extend([0x40, 203, 0, 0]);
    compound.extend([0x80, 203, 0, 0]);

    let walked: Vec<_> = packets(&compound).collect();

    assert_eq!(walked.len(), 2);
    assert!(walked[0].is_ok());
    assert!(matches!(walked[1], Err(ParseError::Version(1))));
}

#[test]
fn a_length_beyond_the_compound_is_refused() {
    let walked: Vec<_> = packets(&[0x80, 203, 0xff, 0xff, 0, 0, 0, 1]).collect();

    assert!(matches!(walked[..], [Err(ParseError::Length { declared: 262_140, available: 4 })]));
}

#[test]
fn more_reports_than_bytes_are_refused() {
    let mut compound = compound(|writer| writer.receiver_report(OURS, &[REPORT]));
    compound[0] |= 31;

    assert!(matches!(packets(&compound).next(), Some(Err(ParseError::Truncated { .. }))));
}

#[test]
fn padding_that_is_zero_or_larger_than_the_packet_is_refused() {
    for count in [0, 5, 255] {
        let walked: Vec<_> = packets(&[0xa0, 203, 0, 1, 0, 0, 0, count]).map(|packet| packet.err()).collect();

        assert_eq!(walked, [Some(ParseError::Padding { padding: usize::from(count), available: 4 })]);
    }
}

#[test]
fn an_unknown_type_or_format_is_walked_over() {
    let mut compound = vec![0x80, 208, 0, 1, 0, 0, 0, 1];
    compound.extend([0x85, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
    compound.extend([0x80, 203, 0, 0]);

    let walked: Vec<_> = packets(&compound).map(Result::unwrap).collect();

    assert!(matches!(walked[..], [Packet::Other, Packet::Other, Packet::Bye { .. }]));
}

#[test]
fn a_reference_time_is_found_behind_other_blocks() {
    let mut compound = vec![0x80, 207, 0, 7, 0, 0, 0, 1];
    compound.extend([6, 0xe0, 0, 1, 9, 9, 9, 9]);
    compound.extend([4, 0, 0, 2, 0xe0, 0, 0, 1, 0x80, 0, 0, 2]);
    compound.extend([99, 0, 0, 0]);

    let walked: Vec<_> = packets(&compound).map(Result::unwrap).collect();

    let [Packet::Extended { ssrc, reference }] = walked[..] else { panic!("came {walked:?}") };
    assert_eq!((ssrc, reference), (Ssrc(1), Some(NtpTime(0xe000_0001_8000_0002))));
}

#[test]
fn an_extended_report_without_a_time_is_none_and_a_cut_block_is_refused() {
    fn read(bytes: &[u8]) -> Result<Packet<'_>, ParseError> {
        packets(bytes).next().unwrap()
    }

    assert!(matches!(read(&[0x80, 207, 0, 1, 0, 0, 0, 1]), Ok(Packet::Extended { reference: None, .. })));
    let cut = [0x80, 207, 0, 3, 0, 0, 0, 1, 4, 0, 0, 2, 0xe0, 0, 0, 1];
    assert!(matches!(read(&cut), Err(ParseError::Truncated { .. })));
    let short = [0x80, 207, 0, 3, 0, 0, 0, 1, 4, 0, 0, 1, 0xe0, 0, 0, 1];
    assert!(matches!(read(&short), Err(ParseError::Truncated { .. })));
}

#[test]
fn every_target_of_a_full_intra_request_is_named() {
    let mut compound = compound(|writer| writer.fir(OURS, THEIRS, 9));
    compound.extend([0, 0, 0, 77, 3, 0, 0, 0]);
    compound[3] += 2;

    let Some(Ok(Packet::Fir { targets })) = packets(&compound).next() else { panic!("no FIR") };

    assert_eq!(targets.collect::<Vec<_>>(), [THEIRS, Ssrc(77)]);
}

#[test]
fn a_bitrate_keeps_eighteen_significant_bits() {
    for (given, kept) in
        [(0, 0), (262_143, 262_143), (262_145, 262_144), (1 << 40, 1 << 40), (u64::MAX, !0 << 46)]
    {
        assert_eq!(remb_bitrate(&compound(|writer| writer.remb(OURS, given, &[THEIRS]))), kept, "{given}");
    }
}

#[test]
fn a_bitrate_beyond_64_bits_saturates() {
    let mut compound = compound(|writer| writer.remb(OURS, 1, &[THEIRS]));
    compound[17..20].copy_from_slice(&[0xff, 0xff, 0xff]);

    assert_eq!(remb_bitrate(&compound), u64::MAX);
}

#[test]
fn an_estimate_that_counts_more_sources_than_bytes_names_those_present() {
    let mut compound = compound(|writer| writer.remb(OURS, 1, &[THEIRS]));
    compound[16] = 255;

    let Some(Ok(Packet::Remb { ssrcs, .. })) = packets(&compound).next() else { panic!("no REMB") };

    assert_eq!(ssrcs.collect::<Vec<_>>(), [THEIRS]);
}

#[test]
fn an_estimate_names_no_more_sources_than_it_counts() {
    let mut compound = compound(|writer| writer.remb(OURS, 1, &[THEIRS, OURS]));
    compound[16] = 1;

    let Some(Ok(Packet::Remb { ssrcs, .. })) = packets(&compound).next() else { panic!("no REMB") };

    assert_eq!(ssrcs.collect::<Vec<_>>(), [THEIRS]);
}

#[test]
fn a_status_count_beyond_the_chunks_is_clamped() {
    for (chunk, held) in [([0x3f, 0xff], 8_191), ([0xbf, 0xff], 14), ([0xea, 0xaa], 7)] {
        let view = feedback(&chunk, 65_535);

        assert_eq!(view.status_count, held);
        assert_eq!(view.statuses().count(), 0, "there is no delta for the first");
    }
}

#[test]
fn runs_of_lost_packets_cost_no_more_than_a_bounded_number_of_steps() {
    let chunks = [0x1f, 0xff].repeat(10);

    let view = feedback(&chunks, 65_535);

    assert_eq!((view.status_count, view.statuses().count()), (8_191, 8_191));
}

#[test]
fn runs_and_vectors_past_the_end_give_what_the_deltas_give() {
    let run = feedback(&[0x5f, 0xff, 0xff, 0xf0], 8_191);
    let one_bit = feedback(&[0xbf, 0xff, 1, 2], 14);
    let two_bit = feedback(&[0xea, 0xaa, 0, 3], 7);

    assert_eq!(run.statuses().collect::<Vec<_>>(), [(SeqNo(1), Some(-16))]);
    assert_eq!(one_bit.statuses().collect::<Vec<_>>(), [(SeqNo(1), Some(1)), (SeqNo(2), Some(2))]);
    assert_eq!(two_bit.statuses().collect::<Vec<_>>(), [(SeqNo(1), Some(3))]);
}

#[test]
fn runs_of_length_zero_end() {
    let view = feedback(&[0; 16], 9);

    assert_eq!((view.status_count, view.statuses().count()), (0, 0));
}

#[test]
fn feedback_counts_time_from_a_multiple_of_64_milliseconds() {
    let arrivals = [Some(MonoTime::from_millis(129)), None, Some(MonoTime::from_millis(126))];
    let mut out = [0; 64];
    let length = write_feedback(&TransportCcFeedback::new(SeqNo(65_535), 3, &arrivals), &mut out);

    let Some(Ok(Packet::TransportCc(view))) = packets(&out[..length]).next() else { panic!("no feedback") };

    assert_eq!(
        (view.media, view.base, view.feedback_count, view.status_count),
        (THEIRS, SeqNo(65_535), 3, 3)
    );
    assert_eq!(view.reference_time, 2);
    let expected = [(SeqNo(65_535), Some(4)), (SeqNo(0), None), (SeqNo(1), Some(-12))];
    assert_eq!(view.statuses().collect::<Vec<_>>(), expected);
}

#[test]
fn the_reference_time_wraps_at_24_bits() {
    let arrivals = [Some(MonoTime::from_millis(64 * ((1 << 24) + 5)))];
    let mut out = [0; 64];
    let length = write_feedback(&TransportCcFeedback::new(SeqNo(0), 0, &arrivals), &mut out);

    let Some(Ok(Packet::TransportCc(view))) = packets(&out[..length]).next() else { panic!("no feedback") };

    assert_eq!(view.reference_time, 5);
    assert_eq!(view.statuses().collect::<Vec<_>>(), [(SeqNo(0), Some(0))]);
}

#[test]
fn feedback_ends_before_an_arrival_too_far_away() {
    let arrivals = [0, 8_000, 17_000].map(|at| Some(MonoTime::from_millis(at)));

    assert_eq!(TransportCcFeedback::new(SeqNo(0), 0, &arrivals).covered(), 2);
}

#[test]
fn the_longest_feedback_fits_1200_bytes_whatever_arrived() {
    let shapes: [fn(u64) -> Option<u64>; 3] =
        [|_| None, |at| Some(at * 100), |at| (at % 3 > 0).then_some(at * at % 7 * 1_000)];
    for shape in shapes {
        let arrivals: Vec<_> = (0..600).map(|at| shape(at).map(MonoTime::from_millis)).collect();
        let feedback = TransportCcFeedback::new(SeqNo(0), 0, &arrivals);

        assert_eq!(feedback.covered(), TransportCcFeedback::STATUSES_MAX);
        assert!(Writer::new(&mut [0; 1_200]).transport_cc(OURS, THEIRS, &feedback));
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn written_feedback_gives_back_every_status(
        base in any::<u16>(),
        start_ms in 0..10_000_000_u64,
        steps in vec((-3_000..3_000_i64, prop::bool::weighted(0.8)), 1..200),
    ) {
        let mut ticks = i64::try_from(start_ms).unwrap() * 4 + 1_000_000;
        let arrivals: Vec<_> = steps
            .iter()
            .map(|&(step, arrived)| {
                ticks += if step.rem_euclid(5) == 0 { step } else { step.rem_euclid(40) };
                arrived.then(|| MonoTime::from_nanos(u64::try_from(ticks).unwrap() * 250_000))
            })
            .collect();
        let mut out = [0; 1_200];

        let feedback = TransportCcFeedback::new(SeqNo(base), 9, &arrivals);
        prop_assert_eq!(feedback.covered(), arrivals.len());
        let length = write_feedback(&feedback, &mut out);

        let Some(Ok(Packet::TransportCc(view))) = packets(&out[..length]).next() else { panic!("no feedback") };
        let statuses: Vec<_> = view.statuses().collect();
        prop_assert_eq!(statuses.len(), arrivals.len());
        let mut clock = i64::from(view.reference_time) * 256;
        let mut expected_seq = SeqNo(base);
        for ((seq, delta), arrival) in statuses.into_iter().zip(&arrivals) {
            prop_assert_eq!(seq, expected_seq);
            expected_seq = expected_seq.plus(1);
            prop_assert_eq!(delta.is_some(), arrival.is_some());
            if let (Some(delta), Some(arrival)) = (delta, arrival) {
                clock += i64::from(delta);
                let expected = i64::try_from(arrival.as_nanos() / 250_000).unwrap();
                prop_assert_eq!((clock - expected).rem_euclid(256 << 24), 0);
            }
        }
    }

    #[test]
    fn written_numbers_are_the_numbers_read(start in any::<u16>(), gaps in vec(1..40_u16, 0..60)) {
        let lost: Vec<SeqNo> = gaps
            .iter()
            .scan(SeqNo(start), |seq, &gap| {
                *seq = seq.plus(gap);
                Some(*seq)
            })
            .collect();

        let compound = compound(|writer| writer.nack(OURS, THEIRS, &lost));

        match packets(&compound).next() {
            Some(Ok(Packet::Nack { lost: read, .. })) => prop_assert_eq!(read.collect::<Vec<_>>(), lost),
            other => prop_assert!(other.is_none() && lost.is_empty()),
        }
    }
}

/// The same cases in every run, and few under Miri.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 8 } else { 256 },
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(8_285),
        ..ProptestConfig::default()
    }
}

fn compound(write: impl FnOnce(&mut Writer<'_>) -> bool) -> Vec<u8> {
    let mut out = vec![0; 1_500];
    let mut writer = Writer::new(&mut out);
    assert!(write(&mut writer));
    let length = writer.finish();
    out.truncate(length);
    out
}

fn write_feedback(feedback: &TransportCcFeedback<'_>, out: &mut [u8]) -> usize {
    let mut writer = Writer::new(out);
    assert!(writer.transport_cc(OURS, THEIRS, feedback));
    writer.finish()
}

/// Feedback from number 1 on, with chunks and deltas given.
fn feedback(chunks_and_deltas: &[u8], claimed: u16) -> TransportCcView<'_> {
    let mut body = vec![0, 0, 0, 1, 0, 0, 0, 2, 0, 1];
    body.extend(claimed.to_be_bytes());
    body.extend([0, 0, 0, 0]);
    body.extend(chunks_and_deltas);
    TransportCcView::parse(body.leak()).unwrap()
}

fn remb_bitrate(compound: &[u8]) -> u64 {
    match packets(compound).next() {
        Some(Ok(Packet::Remb { bitrate_bps, .. })) => bitrate_bps,
        other => panic!("came {other:?}"),
    }
}

const OURS: Ssrc = Ssrc(0x0101_0101);
const THEIRS: Ssrc = Ssrc(0x0202_0202);
const REPORT: ReportBlock = ReportBlock {
    ssrc: THEIRS,
    fraction_lost: 0x40,
    cumulative_lost: -2,
    highest_seq: 0x0001_0002,
    jitter: 3,
    last_sr: 4,
    delay_since_last_sr: 5,
};
