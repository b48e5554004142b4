//! What bytes cost to read and to write: RTCP compounds, RTP headers, payload descriptors.
//!
//! Budget, CPU time: a viewer that reports every 50 ms at 350 packets/s sends one compound for 17 packets. 2.5 % of
//! the 1,400 ns that each of them may cost is 600 ns a compound. A sender report goes out once a second and a track:
//! 100 ns. A publisher's packet is parsed once for all of its viewers: 60 ns for header and extensions, 60 ns for
//! what its payload or descriptor shows (AV1's structure, once a keyframe: 600 ns).
//!
//! `cargo bench --locked -p nearcast-rtp --bench rtcp`
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a bench may end its process"
)]

mod budget;

use std::hint::black_box;
use std::time::Duration;

use budget::{Bench, Budget, Chunk, Each, OverBudget, cpu_time};
use rtp::payload::{TemplateTable, describe};
use rtp::rtcp::{self, Packet, ReferenceAnswer, ReportBlock, SenderInfo, TransportCcFeedback, Writer};
use rtp::{
    Codec, Extension, ExtensionMap, ExtensionWriter, MonoTime, NtpTime, OutgoingHeader, PayloadType,
    RtpTimestamp, RtpView, SeqNo, Ssrc,
};

fn main() -> Result<(), OverBudget> {
    let mut bench = Bench::new("rtcp");
    read_compounds(&mut bench);
    write_compounds(&mut bench);
    read_headers(&mut bench);
    describe_payloads(&mut bench);
    bench.finish()
}

fn read_compounds(bench: &mut Bench) {
    let compound = viewer_compound();
    let whole = rtcp::packets(&compound).map(Result::unwrap).fold(0, |sum, packet| sum + listed(&packet));
    assert_eq!(whole, 2 + 1 + 17 + 4, "the compound is read to its end");

    let bytes = Each::Bytes(compound.len());
    repeat(bench, "read_viewer_compound", Budget::Nanos(600.0), bytes, || {
        rtcp::packets(black_box(&compound)).flatten().map(|packet| listed(&packet)).sum::<u32>()
    });
    let mut out = [0; 1_200];
    let mut writer = Writer::new(&mut out);
    assert!(writer.receiver_report(VIEWER, &[block(VIDEO), block(AUDIO)]));
    let length = writer.finish();
    repeat(bench, "read_receiver_report", Budget::Nanos(100.0), Each::Bytes(length), || {
        rtcp::packets(black_box(&out[..length])).flatten().map(|packet| listed(&packet)).sum::<u32>()
    });
}

fn write_compounds(bench: &mut Bench) {
    let mut out = [0; 1_200];
    repeat(bench, "write_sender_compound", Budget::Nanos(100.0), Each::Operation, || {
        let mut writer = Writer::new(black_box(&mut out));
        assert!(writer.sender_report(sender_info(), &[]));
        assert!(writer.sdes_cname(VIDEO, "nearcast-7f3a9c"));
        let answer = ReferenceAnswer { ssrc: VIEWER, last_rr: 7, delay_since_last_rr: 9 };
        assert!(writer.reference_answer(VIDEO, answer));
        writer.finish()
    });
    let arrivals = arrivals(100);
    let mut out = [0; 1_200];
    repeat(bench, "write_transport_cc_100", Budget::Nanos(2_500.0), Each::Operation, || {
        let feedback = TransportCcFeedback::new(SeqNo(65_500), 7, black_box(&arrivals));
        let mut writer = Writer::new(black_box(&mut out));
        assert!(writer.transport_cc(VIEWER, VIDEO, &feedback));
        writer.finish()
    });
}

fn read_headers(bench: &mut Bench) {
    let map = extension_map();
    let packet = publisher_packet(&map);
    let bytes = Each::Bytes(packet.len());
    repeat(bench, "read_header", Budget::Nanos(40.0), bytes, || {
        RtpView::parse(black_box(&packet)).unwrap().payload.len()
    });
    repeat(bench, "read_header_and_extensions", Budget::Nanos(60.0), bytes, || {
        let view = RtpView::parse(black_box(&packet)).unwrap();
        let found = WANTED.map(|extension| view.extensions.find(&map, extension).unwrap().len());
        found.iter().sum::<usize>()
    });
}

fn describe_payloads(bench: &mut Bench) {
    for (name, codec) in
        [("describe_vp8", Codec::Vp8), ("describe_h264", Codec::H264), ("describe_av1", Codec::Av1)]
    {
        let payloads = payloads(codec);
        assert!(payloads.iter().any(|payload| describe(codec, payload).unwrap().keyframe));
        let operations = payloads.len() as u64 * 100;
        bench.part(name, Budget::Nanos(60.0), Chunk { operations, each: Each::Operation }, || {
            cpu_time(|| {
                for payload in (0..100).flat_map(|_| &payloads) {
                    black_box(describe(codec, black_box(payload)).unwrap());
                }
            })
        });
    }
    let mut table = TemplateTable::new();
    let structure = unhex("800001800214eaa860414d141020842701df010d");
    assert!(table.read(&structure).unwrap().has_structure);
    repeat(bench, "read_av1_structure", Budget::Nanos(600.0), Each::Operation, || {
        table.read(black_box(&structure)).unwrap().template_id
    });
    let mut frame: u16 = 1;
    repeat(bench, "read_av1_descriptor", Budget::Nanos(60.0), Each::Operation, || {
        frame = frame.wrapping_add(1);
        let [high, low] = frame.to_be_bytes();
        table.read(black_box(&[0xc0, high, low])).unwrap().template_id
    });
}

/// Measures an operation that needs no preparation.
fn repeat<T>(
    bench: &mut Bench,
    name: &'static str,
    budget: Budget,
    each: Each,
    mut operation: impl FnMut() -> T,
) {
    bench.part(name, budget, Chunk { operations: REPEATS, each }, || -> Duration {
        cpu_time(|| {
            for _ in 0..REPEATS {
                black_box(operation());
            }
        })
    });
}

/// Walks what a packet lists, as the receiver of a compound does.
fn listed(packet: &Packet<'_>) -> u32 {
    let count = match packet {
        Packet::ReceiverReport { reports, .. } | Packet::SenderReport { reports, .. } => {
            reports.clone().map(black_box).count()
        }
        Packet::Sdes { cnames } => cnames.clone().map(black_box).count(),
        Packet::Nack { lost, .. } => lost.clone().map(black_box).count(),
        Packet::TransportCc(view) => view.statuses().map(black_box).count(),
        _ => 0,
    };
    count as u32
}

/// What a browser sends: reports of both tracks, its name, when the last 17 packets came, and what was lost.
fn viewer_compound() -> Vec<u8> {
    let mut out = [0; 1_200];
    let mut writer = Writer::new(&mut out);
    assert!(writer.receiver_report(VIEWER, &[block(VIDEO), block(AUDIO)]));
    assert!(writer.sdes_cname(VIEWER, "hZ0V5xYk3l8Yw1Qd"));
    let arrivals = arrivals(17);
    assert!(writer.transport_cc(VIEWER, VIDEO, &TransportCcFeedback::new(SeqNo(65_530), 7, &arrivals)));
    assert!(writer.nack(VIEWER, VIDEO, &[40_000, 40_001, 40_009, 40_120].map(SeqNo)));
    let length = writer.finish();
    out[..length].to_vec()
}

/// Bursts of seven packets every 20 ms, one of 33 lost.
fn arrivals(count: u64) -> Vec<Option<MonoTime>> {
    (0..count)
        .map(|number| {
            let micros = 700_000 + number / 7 * 20_000 + number % 7 * 250;
            (number % 33 != 9).then(|| MonoTime::from_nanos(micros * 1_000))
        })
        .collect()
}

fn block(ssrc: Ssrc) -> ReportBlock {
    ReportBlock {
        ssrc,
        fraction_lost: 3,
        cumulative_lost: 17,
        highest_seq: 0x1_9c40,
        jitter: 212,
        last_sr: 0x1234_5678,
        delay_since_last_sr: 23_000,
    }
}

fn sender_info() -> SenderInfo {
    SenderInfo {
        ssrc: VIDEO,
        ntp: NtpTime(0xec8f_0000_8000_0000),
        rtp: RtpTimestamp(3_000_000),
        packets: 40_000,
        octets: 48_000_000,
    }
}

fn extension_map() -> ExtensionMap {
    let mut map = ExtensionMap::new();
    for (id, extension) in (1..).zip([
        Extension::Mid,
        Extension::Rid,
        Extension::TransportCc,
        Extension::AbsSendTime,
        Extension::DependencyDescriptor,
    ]) {
        assert!(map.insert(id, extension));
    }
    map
}

/// A packet of a simulcast layer: 1,200 bytes of payload behind five extensions.
fn publisher_packet(map: &ExtensionMap) -> Vec<u8> {
    let mut packet = vec![0x5a; 1_300];
    let header = OutgoingHeader {
        payload_type: PayloadType(96),
        marker: true,
        seq: SeqNo(40_000),
        timestamp: RtpTimestamp(3_000_000),
        ssrc: VIDEO,
    };
    header.write(true, false, &mut packet).unwrap();
    let mut writer = ExtensionWriter::new(&mut packet[OutgoingHeader::LENGTH..]);
    for (extension, value) in [
        (Extension::Mid, "0".as_bytes()),
        (Extension::Rid, "high".as_bytes()),
        (Extension::TransportCc, &[0x12, 0x34]),
        (Extension::AbsSendTime, &[1, 2, 3]),
        (Extension::DependencyDescriptor, &[0xc0, 0, 7]),
    ] {
        assert!(writer.push(map.id(extension).unwrap(), value));
    }
    let length = OutgoingHeader::LENGTH + writer.finish() + 1_200;
    packet.truncate(length);
    packet
}

/// What encoders made, each brought to 1,200 bytes where its format has no lengths inside.
fn payloads(codec: Codec) -> Vec<Vec<u8>> {
    if codec == Codec::Av1 {
        let packets = ["28 0c 08000000043d06d4daf9004032 3010008340", "103048", "9048aabb", "5030aabbcc"];
        return packets.map(|packet| padded(unhex(&packet.replace(' ', "")))).into();
    }
    let lines = include_str!("../tests/encoders.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| Codec::from_name(fields[0]) == Some(codec))
        .map(|fields| unhex(fields[3]))
        .map(|payload| if payload[0] & 0x1f == STAP_A { payload } else { padded(payload) })
        .collect()
}

fn padded(mut payload: Vec<u8>) -> Vec<u8> {
    payload.resize(1_200, 0x5a);
    payload
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

const VIEWER: Ssrc = Ssrc(1);
const VIDEO: Ssrc = Ssrc(0x1111);
const AUDIO: Ssrc = Ssrc(0x3333);
/// What is read of a publisher's packet.
const WANTED: [Extension; 4] =
    [Extension::Mid, Extension::Rid, Extension::TransportCc, Extension::DependencyDescriptor];
/// An H.264 payload of several units, each with its length (RFC 6184 §5.7.1).
const STAP_A: u8 = 24;
/// Operations that one reading of the clock is spread over.
const REPEATS: u64 = 1_000;
