//! Another implementation reads what we write and writes what we read.

use rtc_rtcp::extended_report::{DLRRReport, DLRRReportBlock, ExtendedReport};
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::source_description::{
    SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem,
};
use rtc_rtcp::transport_feedbacks::cc_feedback_report::{
    CcFeedbackMetricBlock, CcFeedbackReport, CcFeedbackReportBlock, Ecn,
};
use rtc_rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    SymbolTypeTcc, TransportLayerCc,
};
use rtc_rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};

use super::*;

#[test]
fn reports_mean_the_same_to_both() {
    let sender_report = SenderReport {
        ssrc: OURS.0,
        ntp_time: 0xe000_0000_8000_0000,
        rtp_time: 0x10,
        packet_count: 0x20,
        octet_count: 0x30,
        reports: vec![oracle_report()],
        ..SenderReport::default()
    };
    let receiver_report =
        ReceiverReport { ssrc: OURS.0, reports: vec![oracle_report()], ..ReceiverReport::default() };
    let info = SenderInfo {
        ssrc: OURS,
        ntp: NtpTime(0xe000_0000_8000_0000),
        rtp: RtpTimestamp(0x10),
        packets: 0x20,
        octets: 0x30,
    };

    assert_same(&compound(|writer| writer.sender_report(info, &[REPORT])), sender_report);
    assert_same(&compound(|writer| writer.receiver_report(OURS, &[REPORT])), receiver_report);
}

#[test]
fn the_answer_to_a_viewers_time_means_the_same_to_both() {
    let sub_block = DLRRReport { ssrc: THEIRS.0, last_rr: 0x1234_5678, dlrr: 0x8000 };
    let theirs = ExtendedReport {
        sender_ssrc: OURS.0,
        reports: vec![Box::new(DLRRReportBlock { reports: vec![sub_block] })],
    };
    let answer = ReferenceAnswer { ssrc: THEIRS, last_rr: 0x1234_5678, delay_since_last_rr: 0x8000 };

    assert_same(&compound(|writer| writer.reference_answer(OURS, answer)), theirs);
}

#[test]
fn arrivals_by_source_are_read_as_the_oracle_writes_them() {
    let metric = |received, arrival_time_offset| CcFeedbackMetricBlock {
        received,
        ecn: Ecn::Ect1,
        arrival_time_offset,
    };
    let block = |media_ssrc, begin_sequence, metric_blocks| CcFeedbackReportBlock {
        media_ssrc,
        begin_sequence,
        metric_blocks,
    };
    let theirs = CcFeedbackReport {
        sender_ssrc: THEIRS.0,
        report_blocks: vec![
            block(1, 65_535, vec![metric(true, 1_024), metric(false, 0), metric(true, 0x1ffd)]),
            block(2, 7, vec![]),
            block(3, 9, vec![metric(true, 0x1ffe), metric(true, 0x1fff)]),
        ],
        report_timestamp: 0x8765_4321,
    };
    let bytes = marshal(theirs);

    let Some(Ok(Packet::Congestion(view))) = packets(&bytes).next() else { panic!("no feedback") };

    let report = |ssrc, seq, fate| PacketReport { ssrc: Ssrc(ssrc), seq: SeqNo(seq), fate };
    assert_eq!(view.report_time, 0x8765_4321);
    assert_eq!(
        view.reports().collect::<Vec<_>>(),
        [
            report(1, 65_535, Fate::Arrived(1_024)),
            report(1, 0, Fate::Lost),
            report(1, 1, Fate::Arrived(0x1ffd)),
            report(3, 9, Fate::ArrivedSometime),
            report(3, 10, Fate::ArrivedSometime),
        ]
    );
}

#[test]
fn arrivals_end_where_the_bytes_do_whatever_is_claimed() {
    // One source, 16,384 reports claimed, two and a half there.
    let mut bytes = vec![0x8b, 205, 0, 6];
    for word in [1_u32, 2, 0x0005_4000, 0xa001_0000, 0xa002_a003, 0x0000_0000] {
        bytes.extend(word.to_be_bytes());
    }
    let Some(Ok(Packet::Congestion(view))) = packets(&bytes).next() else { panic!("no feedback") };

    assert_eq!(view.reports().count(), 4);
    assert!(matches!(packets(&[0x8b, 205, 0, 1, 0, 0, 0, 1]).next(), Some(Err(_))));
    assert!(matches!(packets(&[0x8b, 205, 0, 0]).next(), Some(Err(_))));
}

#[test]
fn names_and_goodbyes_mean_the_same_to_both() {
    let description = SourceDescription {
        chunks: vec![SourceDescriptionChunk {
            source: OURS.0,
            items: vec![SourceDescriptionItem {
                sdes_type: SdesType::SdesCname,
                text: b"nearcast"[..].into(),
            }],
        }],
    };
    let goodbye = Goodbye { sources: vec![OURS.0, THEIRS.0], ..Goodbye::default() };

    // Bytes are not compared: the oracle pads both kinds in its own way.
    assert!(unmarshal(&compound(|writer| writer.sdes_cname(OURS, "nearcast"))).equal(&description));
    let read = unmarshal(&compound(|writer| writer.bye(OURS)));
    assert_eq!(read.as_any().downcast_ref::<Goodbye>().unwrap().sources, [OURS.0]);
    let theirs = [marshal(description), marshal(goodbye)].concat();
    let walked: Vec<_> = packets(&theirs).map(Result::unwrap).collect();
    let [Packet::Sdes { cnames }, Packet::Bye { ssrcs }] = &walked[..] else { panic!("came {walked:?}") };
    assert_eq!(cnames.clone().collect::<Vec<_>>(), [(OURS, &b"nearcast"[..])]);
    assert_eq!(ssrcs.clone().collect::<Vec<_>>(), [OURS, THEIRS]);
}

#[test]
fn a_sender_report_of_the_oracle_is_read() {
    let report = SenderReport {
        ssrc: OURS.0,
        ntp_time: 7,
        rtp_time: 8,
        packet_count: 9,
        octet_count: 10,
        reports: vec![oracle_report(), oracle_report()],
        ..SenderReport::default()
    };

    let bytes = marshal(report);

    let Some(Ok(Packet::SenderReport { ssrc, ntp, rtp, packets, octets, reports })) =
        super::packets(&bytes).next()
    else {
        panic!("no sender report");
    };
    assert_eq!((ssrc, ntp, rtp, packets, octets), (OURS, NtpTime(7), RtpTimestamp(8), 9, 10));
    assert_eq!(reports.collect::<Vec<_>>(), [REPORT, REPORT]);
}

#[test]
fn keyframe_requests_mean_the_same_to_both() {
    let pli = PictureLossIndication { sender_ssrc: OURS.0, media_ssrc: THEIRS.0 };
    let fir = FullIntraRequest {
        sender_ssrc: OURS.0,
        media_ssrc: 0,
        fir: vec![FirEntry { ssrc: THEIRS.0, sequence_number: 9 }],
    };

    assert_same(&compound(|writer| writer.pli(OURS, THEIRS)), pli);
    assert_same(&compound(|writer| writer.fir(OURS, THEIRS, 9)), fir);
}

#[test]
fn an_estimate_means_the_same_to_both() {
    let remb = ReceiverEstimatedMaximumBitrate {
        sender_ssrc: OURS.0,
        bitrate: 2_500_000.0,
        ssrcs: vec![THEIRS.0, 9],
    };
    let ours = compound(|writer| writer.remb(OURS, 2_500_000, &[THEIRS, Ssrc(9)]));

    assert_eq!(remb_bitrate(&marshal(remb.clone())) >> 4, 2_500_000 >> 4);
    let read = unmarshal(&ours);
    let read = read.as_any().downcast_ref::<ReceiverEstimatedMaximumBitrate>().unwrap();
    assert_eq!((read.sender_ssrc, &read.ssrcs), (remb.sender_ssrc, &remb.ssrcs));
    assert!((read.bitrate - remb.bitrate).abs() < 16.0, "came {}", read.bitrate);
}

#[test]
fn a_run_and_two_vectors_of_the_oracle_are_read() {
    use SymbolTypeTcc::{
        PacketNotReceived as Lost, PacketReceivedLargeDelta as Large, PacketReceivedSmallDelta as Small,
    };
    let vector = |symbol_size, symbol_list| {
        PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
            type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
            symbol_size,
            symbol_list,
        })
    };
    let delta = |type_tcc_packet, ticks: i64| RecvDelta { type_tcc_packet, delta: ticks * 250 };
    let mut sparse = vec![Lost; 14];
    sparse[13] = Small;
    let bytes = marshal(TransportLayerCc {
        sender_ssrc: OURS.0,
        media_ssrc: THEIRS.0,
        base_sequence_number: 65_530,
        packet_status_count: 3 + 14 + 5,
        reference_time: 0x00ab_cdef,
        fb_pkt_count: 200,
        packet_chunks: vec![
            PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                packet_status_symbol: Small,
                run_length: 3,
            }),
            vector(SymbolSizeTypeTcc::OneBit, sparse),
            vector(SymbolSizeTypeTcc::TwoBit, vec![Large, Lost, Lost, Large, Small, Lost, Lost]),
        ],
        recv_deltas: vec![
            delta(Small, 1),
            delta(Small, 2),
            delta(Small, 255),
            delta(Small, 4),
            delta(Large, -300),
            delta(Large, 256),
            delta(Small, 7),
        ],
    });

    let Some(Ok(Packet::TransportCc(view))) = packets(&bytes).next() else { panic!("no feedback") };

    assert_eq!((view.media, view.base, view.status_count), (THEIRS, SeqNo(65_530), 22));
    assert_eq!((view.reference_time, view.feedback_count), (0x00ab_cdef, 200));
    let arrived: Vec<_> =
        view.statuses().filter_map(|(seq, delta)| delta.map(|delta| (seq.0, delta))).collect();
    let expected = [(65_530, 1), (65_531, 2), (65_532, 255), (10, 4), (11, -300), (14, 256), (15, 7)];
    assert_eq!(arrived, expected);
    assert_eq!(view.statuses().count(), 22);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn lost_numbers_mean_the_same_to_both(start in any::<u16>(), gaps in vec(1..30_u16, 1..40)) {
        let lost: Vec<SeqNo> = gaps
            .iter()
            .scan(SeqNo(start), |seq, &gap| {
                *seq = seq.plus(gap);
                Some(*seq)
            })
            .collect();

        let read = unmarshal(&compound(|writer| writer.nack(OURS, THEIRS, &lost)));

        let read = read.as_any().downcast_ref::<TransportLayerNack>().unwrap();
        prop_assert_eq!((read.sender_ssrc, read.media_ssrc), (OURS.0, THEIRS.0));
        let numbers: Vec<SeqNo> =
            read.nacks.iter().flat_map(NackPair::packet_list).map(SeqNo).collect();
        prop_assert_eq!(&numbers, &lost);

        let again = marshal(read.clone());
        let Some(Ok(Packet::Nack { media, lost: walked })) = packets(&again).next() else { panic!("no NACK") };
        prop_assert_eq!(media, THEIRS);
        prop_assert_eq!(walked.collect::<Vec<_>>(), lost);
    }

    #[test]
    fn written_feedback_means_the_same_to_the_oracle(
        steps in vec((-200..400_i64, prop::bool::weighted(0.7)), 0..120),
    ) {
        let mut ticks = 1_000_000_i64;
        let mut arrivals = vec![Some(MonoTime::from_nanos(ticks.unsigned_abs() * 250_000))];
        for (step, arrived) in steps {
            ticks += step;
            arrivals.push(arrived.then(|| MonoTime::from_nanos(ticks.unsigned_abs() * 250_000)));
        }
        let mut out = [0; 1_200];
        let length = write_feedback(&TransportCcFeedback::new(SeqNo(65_500), 4, &arrivals), &mut out);
        let Some(Ok(Packet::TransportCc(view))) = packets(&out[..length]).next() else { panic!("no feedback") };

        let read = unmarshal(&out[..length]);

        let read = read.as_any().downcast_ref::<TransportLayerCc>().unwrap();
        prop_assert_eq!((read.sender_ssrc, read.media_ssrc), (OURS.0, THEIRS.0));
        prop_assert_eq!(read.base_sequence_number, 65_500);
        prop_assert_eq!(usize::from(read.packet_status_count), arrivals.len());
        prop_assert_eq!((read.reference_time, read.fb_pkt_count), (view.reference_time, 4));
        let theirs: Vec<i64> = read.recv_deltas.iter().map(|delta| delta.delta / 250).collect();
        let ours: Vec<i64> = view.statuses().filter_map(|(_, delta)| delta.map(i64::from)).collect();
        prop_assert_eq!(theirs, ours);
        let arrived: Vec<bool> = read.packet_chunks.iter().flat_map(symbols).take(arrivals.len()).collect();
        prop_assert_eq!(arrived, arrivals.iter().map(Option::is_some).collect::<Vec<_>>());
    }
}

/// Our bytes mean `theirs` to the oracle, and its bytes are ours.
fn assert_same<P: OraclePacket + 'static>(ours: &[u8], theirs: P) {
    let read = unmarshal(ours);
    assert!(read.equal(&theirs), "expected {theirs:?}, came {read:?}");
    assert_eq!(ours, &marshal(theirs)[..]);
}

fn marshal<P: OraclePacket + 'static>(packet: P) -> Vec<u8> {
    rtc_rtcp::packet::marshal(&[Box::new(packet)]).unwrap().to_vec()
}

fn unmarshal(mut bytes: &[u8]) -> Box<dyn OraclePacket> {
    let mut packets = rtc_rtcp::packet::unmarshal(&mut bytes).unwrap();
    assert_eq!(packets.len(), 1);
    packets.remove(0)
}

fn symbols(chunk: &PacketStatusChunk) -> Vec<bool> {
    let symbols = match chunk {
        PacketStatusChunk::RunLengthChunk(run) => {
            vec![run.packet_status_symbol; usize::from(run.run_length)]
        }
        PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
    };
    symbols.into_iter().map(|symbol| symbol != SymbolTypeTcc::PacketNotReceived).collect()
}

fn oracle_report() -> ReceptionReport {
    ReceptionReport {
        ssrc: THEIRS.0,
        fraction_lost: 0x40,
        total_lost: 0xff_fffe, // the oracle does not extend the sign
        last_sequence_number: 0x0001_0002,
        jitter: 3,
        last_sender_report: 4,
        delay: 5,
    }
}
