//! Proves the packet path's first rule: after warm-up, forwarding a packet allocates nothing.
//!
//! The real machines stand in a row as a shard puts them: a publisher's sealed packet is opened, received into the
//! rings, decided on for a viewer, written, sealed and handed to the kernel, and the reports of both sides are taken
//! and written, while a counting allocator looks on.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unsafe_code,
    reason = "a test may end its process, and an allocator is unsafe by nature"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use rtp::negotiation::{Format, PublishedTrack, SsrcPair, ViewedTrack};
use rtp::rtcp::{ReportBlock, SenderInfo, TransportCcFeedback, Writer};
use rtp::{
    Codec, Extension, ExtensionMap, MediaClock, MediaKind, MonoTime, NtpTime, PayloadType, RtpTimestamp,
    SeqNo, Ssrc,
};
use sfu::viewer::{Forward, Viewer, ViewerConfig, ViewerOutput};
use sfu::{Arrival, Epoch, Publisher, PublisherConfig, PublisherOutput, Rings};
use transport::dtls::Role;
use transport::srtp::{MasterKeys, Opener, Profile, SRTP_OVERHEAD, Sealer};
use transport::udp::{GsoMode, SendBatch, UdpGroup, UdpSocket};

/// Counts the allocations of the thread that asks for it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local number only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn forwarding_a_packet_allocates_nothing_after_warm_up() {
    let mut path = PacketPath::new(Talk::TransportCc);
    path.run(WARM_UP_FRAMES);
    let before = path.count;

    path.run(MEASURED_FRAMES);

    let forwarded = path.count.forwarded - before.forwarded;
    assert_eq!(
        forwarded,
        (MEASURED_FRAMES * PACKETS_PER_FRAME) as u64,
        "every packet must have been forwarded: {:?}",
        path.viewer.congestion()
    );
    assert_eq!(
        path.count.viewer_allocations - before.viewer_allocations,
        0,
        "allocations on the way to the viewer"
    );
    // Each announcement of the track is a small list; there are a few a second, and none per packet.
    let announcements = path.count.announcements - before.announcements;
    let allowed = announcements * ALLOCATIONS_PER_ANNOUNCEMENT;
    let found = path.count.publisher_allocations - before.publisher_allocations;
    assert!(found <= allowed, "{found} allocations while receiving, {announcements} announcements");
    assert!(allowed < forwarded / 10, "announcements must be rare beside packets");
    let congestion = path.viewer.congestion().unwrap();
    assert!(
        congestion.counters.received > forwarded,
        "the viewer's reports must have counted: {congestion:?}"
    );
}

#[test]
fn reports_of_every_kind_cost_one_allocation_at_most_and_only_to_announce_the_track() {
    for talk in [Talk::Everything, Talk::EverythingBySource] {
        let mut path = PacketPath::new(talk);
        path.run(WARM_UP_FRAMES);
        let before = path.count;

        path.run(MEASURED_FRAMES);

        let rose = |of: fn(&Count) -> u64| of(&path.count) - of(&before);
        // Each report has the track announced, for it moves the clock's line: one list, once a second, and nothing else.
        let (reports, found) =
            (rose(|count| count.publisher_reports), rose(|count| count.publisher_report_allocations));
        assert!(found <= reports, "{talk:?}: {found} allocations for {reports} of the publisher's reports");
        assert_eq!(rose(|count| count.viewer_allocations), 0, "{talk:?}: to the viewer, and its reports");
        assert_eq!(rose(|count| count.written_allocations), 0, "{talk:?}: our own reports");
        assert!(rose(|count| count.retransmitted) > 100, "{talk:?}: NACKs must have been answered");
        assert!(rose(|count| count.keyframes_wanted) > 5, "{talk:?}: PLIs must have been passed on");
        assert!(rose(|count| count.publisher_reports) > 5, "{talk:?}");
        assert!(rose(|count| count.written) > 100, "{talk:?}: reports must have been written");
        let congestion = path.viewer.congestion().unwrap();
        assert!(congestion.counters.received > rose(|count| count.forwarded), "{talk:?}: {congestion:?}");
        assert_eq!(path.viewer.stats().malformed_rtcp, 0, "{talk:?}");
    }
}

#[test]
fn the_counter_counts() {
    let before = allocations();

    drop(std::hint::black_box(Box::new(7)));

    assert!(allocations() > before);
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    forwarded: u64,
    announcements: u64,
    retransmitted: u64,
    keyframes_wanted: u64,
    publisher_reports: u64,
    written: u64,
    publisher_allocations: u64,
    viewer_allocations: u64,
    publisher_report_allocations: u64,
    written_allocations: u64,
}

/// What both sides say of what they got and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    /// Transport-wide feedback alone.
    TransportCc,
    /// The same, the publisher's sender reports, and the viewer's receiver reports, NACK, PLI and REMB.
    Everything,
    /// All of that, with feedback by source in place of the transport-wide one (RFC 8888).
    EverythingBySource,
}

/// A packet that arrived at the viewer.
#[derive(Clone, Copy)]
struct Arrived {
    ssrc: Ssrc,
    seq: SeqNo,
    at: MonoTime,
}

/// The row of machines.
struct PacketPath {
    host: Sealer,
    opener: Opener,
    publisher: Publisher,
    rings: Rings,
    viewer: Viewer,
    sealer: Sealer,
    batch: SendBatch,
    socket: UdpSocket,
    remote: SocketAddr,
    forwards: Vec<Forward>,
    arrivals: Vec<Arrival>,
    now: MonoTime,
    seq: u16,
    frame: u32,
    /// When the viewer's packets arrived there, from the first that it has not reported on.
    arrived: Vec<Option<MonoTime>>,
    /// The same by source.
    by_source: Vec<Arrived>,
    reported: u16,
    talk: Talk,
    count: Count,
}

impl PacketPath {
    fn new(talk: Talk) -> Self {
        let keys = || MasterKeys::new(Profile::Aes128Gcm, &[7; 56]).unwrap();
        let (host, _) = keys().split(Role::Client).unwrap();
        let (sealer, opener) = keys().split(Role::Server).unwrap();
        let mut group = UdpGroup::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        let socket = group.sockets.pop().unwrap();
        let now = MonoTime::from_millis(1_000);
        let clock = MediaClock::new(NtpTime::from_unix_nanos(1_795_000_000_000_000_000), now);
        let publisher = PublisherConfig {
            epoch: Epoch(1),
            tracks: vec![published()],
            rtcp_ssrc: Ssrc(1),
            cname: "server".to_owned(),
            clock,
        };
        let viewer = ViewerConfig { tracks: vec![viewed(talk)], cname: "server".to_owned(), clock };
        Self {
            host,
            opener,
            publisher: Publisher::new(publisher, now, 1),
            rings: Rings::new(),
            viewer: Viewer::new(viewer, now, 2),
            sealer,
            batch: SendBatch::new(GsoMode::Auto, &socket),
            remote: group.address,
            socket,
            forwards: Vec::with_capacity(64),
            arrivals: Vec::with_capacity(64),
            now,
            seq: 65_000,
            frame: 0,
            arrived: Vec::with_capacity(64),
            by_source: Vec::with_capacity(64),
            talk,
            reported: 0,
            count: Count::default(),
        }
    }

    fn run(&mut self, frames: usize) {
        for _ in 0..frames {
            self.now = self.now + Duration::from_millis(33);
            for index in 0..PACKETS_PER_FRAME {
                self.receive(index);
            }
            self.forward();
            if self.frame.is_multiple_of(3) {
                self.report();
            }
            self.tick();
            self.frame += 1;
        }
    }

    fn receive(&mut self, index: usize) {
        let mut datagram = [0; 1_400];
        let len = self.packet(index, &mut datagram);
        let sealed = self.host.seal_rtp(&mut datagram, len).unwrap();

        let before = allocations();
        let opened = self.opener.open_rtp(&mut datagram[..sealed]).unwrap();
        let arrival = self.publisher.handle_rtp(self.now, &datagram[..opened]).unwrap().unwrap();
        self.arrivals.push(arrival);
        self.count.publisher_allocations += allocations() - before;
        self.drain_publisher();
    }

    fn drain_publisher(&mut self) {
        while let Some(output) = self.publisher.poll_output() {
            match output {
                PublisherOutput::Page { kind, layer, page } => self.rings.get_mut(kind, layer).add_page(page),
                PublisherOutput::Track(info) => {
                    self.count.announcements += 1;
                    self.viewer.handle_track(self.now, &info);
                }
                PublisherOutput::GopOutgrewRing(_) => {}
            }
        }
    }

    fn forward(&mut self) {
        let before = allocations();
        self.viewer.handle_arrivals(self.now, &self.rings, &self.arrivals, &mut self.forwards);
        for forward in self.forwards.drain(..) {
            let slot = self.batch.slot(1_700).unwrap();
            let len =
                self.viewer.write_packet(self.now, &forward, &self.rings, &mut slot[..1_700 - SRTP_OVERHEAD]);
            let sealed = self.sealer.seal_rtp(slot, len.unwrap()).unwrap();
            self.batch.commit(self.remote, sealed);
            let Forward { header, rtx, is_padding, .. } = forward;
            self.arrived.push(Some(self.now + TRAVEL));
            self.by_source.push(Arrived { ssrc: header.ssrc, seq: header.seq, at: self.now + TRAVEL });
            self.count.forwarded += u64::from(!is_padding && rtx.is_none());
            self.count.retransmitted += u64::from(!is_padding && rtx.is_some());
        }
        self.batch.flush(&self.socket);
        self.arrivals.clear();
        self.count.viewer_allocations += allocations() - before;
    }

    /// Lets the viewer report on three frames' packets, as browsers do, and say what else it is to say.
    fn report(&mut self) {
        let mut buffer = [0; 1_200];
        let length = match self.talk {
            Talk::TransportCc | Talk::Everything => self.transport_cc(&mut buffer),
            Talk::EverythingBySource => self.feedback_by_source(&mut buffer),
        };
        self.tell_viewer(&buffer[..length]);
        if self.talk != Talk::TransportCc {
            let length = self.complaints(&mut buffer);
            self.tell_viewer(&buffer[..length]);
        }
        self.arrived.clear();
        self.by_source.clear();
    }

    fn tell_viewer(&mut self, compound: &[u8]) {
        let before = allocations();
        self.viewer.handle_rtcp(self.now + TRAVEL, &self.rings, compound, &mut self.forwards);
        self.count.viewer_allocations += allocations() - before;
    }

    fn transport_cc(&mut self, out: &mut [u8]) -> usize {
        let mut writer = Writer::new(out);
        let feedback = TransportCcFeedback::new(SeqNo(self.reported), 0, &self.arrived);
        assert!(writer.transport_cc(Ssrc(9), Ssrc(2), &feedback));
        self.reported = self.reported.wrapping_add(self.arrived.len() as u16);
        writer.finish()
    }

    /// Feedback by source (RFC 8888 §3.1): a block of each source's numbers, each with how long ago it arrived.
    fn feedback_by_source(&self, out: &mut [u8]) -> usize {
        let now = self.now + TRAVEL;
        let mut bytes = vec![0x80 | 11, 205, 0, 0, 0, 0, 0, 9];
        for ssrc in [Ssrc(2), Ssrc(3)] {
            let of_source = || self.by_source.iter().filter(|arrived| arrived.ssrc == ssrc);
            let Some(first) = of_source().next() else { continue };
            bytes.extend(ssrc.0.to_be_bytes());
            bytes.extend(first.seq.0.to_be_bytes());
            bytes.extend((of_source().count() as u16).to_be_bytes());
            for arrived in of_source() {
                let ago = now.since(arrived.at).as_micros() * 1_024 / 1_000_000;
                bytes.extend((0x8000 | ago as u16).to_be_bytes());
            }
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let time = u128::from(now.as_nanos()) * 65_536 / 1_000_000_000;
        bytes.extend((time as u32).to_be_bytes());
        let words = (bytes.len() / 4 - 1) as u16;
        bytes[2..4].copy_from_slice(&words.to_be_bytes());
        out[..bytes.len()].copy_from_slice(&bytes);
        bytes.len()
    }

    /// A receiver report, a NACK of what has just come, REMB, and a PLI now and then.
    fn complaints(&self, out: &mut [u8]) -> usize {
        let mut writer = Writer::new(out);
        let newest = self.by_source.iter().rfind(|arrived| arrived.ssrc == Ssrc(2));
        let newest = newest.map_or(SeqNo(0), |arrived| arrived.seq);
        let block = ReportBlock { ssrc: Ssrc(2), highest_seq: u32::from(newest.0), ..ReportBlock::default() };
        assert!(writer.receiver_report(Ssrc(9), &[block]));
        assert!(writer.nack(Ssrc(9), Ssrc(2), &[SeqNo(newest.0.wrapping_sub(1)), newest]));
        assert!(writer.remb(Ssrc(9), 50_000_000, &[Ssrc(2)]));
        if self.frame.is_multiple_of(45) {
            assert!(writer.pli(Ssrc(9), Ssrc(2)));
        }
        writer.finish()
    }

    /// What a shard does beside the packet path: timers and reports.
    fn tick(&mut self) {
        let mut scratch = [0; 1_500];
        if self.talk != Talk::TransportCc && self.frame.is_multiple_of(30) {
            self.tell_publisher(&mut scratch);
        }
        self.publisher.handle_timeout(self.now);
        let before = allocations();
        self.viewer.handle_timeout(self.now, &self.rings, &mut self.forwards);
        self.count.viewer_allocations += allocations() - before;
        self.drain_publisher();
        let before = allocations();
        while self.publisher.write_rtcp(self.now, &mut scratch).is_some() {
            self.count.written += 1;
        }
        while self.viewer.write_rtcp(self.now, &mut scratch).is_some() {
            self.count.written += 1;
        }
        self.count.written_allocations += allocations() - before;
        while let Some(output) = self.viewer.poll_output() {
            if let ViewerOutput::RequestKeyframe(layer) = output {
                self.count.keyframes_wanted += 1;
                self.publisher.request_keyframe(self.now, layer);
            }
        }
    }

    /// Lets the publisher send its report.
    fn tell_publisher(&mut self, scratch: &mut [u8]) {
        let mut writer = Writer::new(scratch);
        let unix = NtpTime::from_unix_nanos(1_795_000_000_000_000_000 + self.now.as_nanos());
        let info = SenderInfo {
            ssrc: Ssrc(SSRC),
            ntp: unix,
            rtp: RtpTimestamp(self.frame * 2_970),
            packets: self.frame,
            octets: self.frame,
        };
        assert!(writer.sender_report(info, &[]) && writer.sdes_cname(Ssrc(SSRC), "host"));
        let length = writer.finish();

        let before = allocations();
        self.publisher.handle_rtcp(self.now, &scratch[..length]);
        self.count.publisher_report_allocations += allocations() - before;
        self.count.publisher_reports += 1;
        self.drain_publisher();
    }

    /// Writes one packet of a VP8 frame; every ninetieth frame is a keyframe.
    fn packet(&mut self, index: usize, out: &mut [u8]) -> usize {
        let last = index + 1 == PACKETS_PER_FRAME;
        let timestamp = self.frame * 2_970;
        out[0] = 0x90;
        out[1] = 96 | (u8::from(last) << 7);
        out[2..4].copy_from_slice(&self.seq.to_be_bytes());
        out[4..8].copy_from_slice(&timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&SSRC.to_be_bytes());
        out[12..20].copy_from_slice(&[0xbe, 0xde, 0, 1, 0x31, 0, 0, 0]);
        out[17..19].copy_from_slice(&self.seq.to_be_bytes());
        let picture = (self.frame & 0x7fff) as u16 | 0x8000;
        out[20..24].copy_from_slice(&[
            0x80 | (u8::from(index == 0) << 4),
            0x80,
            (picture >> 8) as u8,
            picture as u8,
        ]);
        let keyframe = self.frame.is_multiple_of(90);
        out[24..34].copy_from_slice(&[u8::from(!keyframe), 0, 0, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02]);
        self.seq = self.seq.wrapping_add(1);
        1_200
    }
}

fn published() -> PublishedTrack {
    PublishedTrack {
        mid: "0".to_owned(),
        kind: MediaKind::Video,
        formats: vec![vp8()],
        extensions: extensions(),
        rids: Vec::new(),
        ssrcs: vec![SsrcPair { media: Ssrc(SSRC), rtx: None }],
        transport_cc: true,
        cname: "host".to_owned(),
    }
}

fn viewed(talk: Talk) -> ViewedTrack {
    ViewedTrack {
        mid: "0".to_owned(),
        kind: MediaKind::Video,
        formats: vec![vp8()],
        extensions: extensions(),
        ssrc: Ssrc(2),
        rtx_ssrc: Some(Ssrc(3)),
        transport_cc: talk != Talk::EverythingBySource,
        ccfb: talk == Talk::EverythingBySource,
        cname: "server".to_owned(),
    }
}

fn vp8() -> Format {
    Format {
        payload_type: PayloadType(96),
        codec: Codec::Vp8,
        parameters: String::new(),
        rtx: Some(PayloadType(97)),
        nack: true,
        pli: true,
        fir: false,
    }
}

fn extensions() -> ExtensionMap {
    let mut map = ExtensionMap::new();
    map.insert(3, Extension::TransportCc);
    map
}

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

const SSRC: u32 = 0x0102_0304;
const PACKETS_PER_FRAME: usize = 8;
const TRAVEL: Duration = Duration::from_millis(10);
/// Long enough for the rings to reach their bound of 4.5 s and to reuse their pages.
const WARM_UP_FRAMES: usize = 600;
const MEASURED_FRAMES: usize = 600;
const ALLOCATIONS_PER_ANNOUNCEMENT: u64 = 16;
