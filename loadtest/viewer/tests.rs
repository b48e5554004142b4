//! A viewer against a server made of another link, which sends it VP8 with stamps.

use super::*;
use crate::link::{Config, Credentials, Identity, Local, Profile};
use crate::signal::{Setup, Track as Agreed};
use crate::stamp;
use rtp::negotiation::{Format, SsrcPair};
use rtp::{Codec, ExtensionMap, ExtensionWriter, MediaKind, OutgoingHeader, PayloadType, RtpTimestamp};
use std::sync::Arc;

const MEDIA: Ssrc = Ssrc(70);
const RTX: Ssrc = Ssrc(71);
const TRANSPORT_CC: u8 = 3;
const KEY: &[u8] = &[0x10, 0x50, 0x52, 0x00, 0x9d, 0x01, 0x2a, 0x42, 0x01, 0xb6, 0x00];
const DELTA: &[u8] = &[0x10, 0x31, 0x9d];

const BEHAVIOUR: Behaviour = Behaviour {
    verify_one_in: None,
    nack_one_in: None,
    feedback_interval: Duration::from_millis(100),
    thorough: 0,
    silent: false,
};

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn agreed() -> Agreed {
    let mut extensions = ExtensionMap::new();
    extensions.insert(TRANSPORT_CC, Extension::TransportCc);
    let format = Format {
        payload_type: PayloadType(96),
        codec: Codec::Vp8,
        parameters: String::new(),
        rtx: Some(PayloadType(97)),
        nack: true,
        pli: true,
        fir: false,
    };
    Agreed {
        mid: "0".to_owned(),
        kind: MediaKind::Video,
        formats: vec![format],
        extensions,
        ssrcs: vec![SsrcPair { media: MEDIA, rtx: Some(RTX) }],
        rids: Vec::new(),
        transport_cc: true,
    }
}

fn answer(local: &Local, setup: Setup, port: u16) -> Answer {
    let Credentials { ufrag, pwd } = local.credentials.clone();
    let fingerprint = local.fingerprint.clone();
    let candidates = vec![address(port)];
    Answer { ufrag, pwd, fingerprint, setup, ice_lite: false, candidates, tracks: vec![agreed()] }
}

/// The viewer, the server that it joined, and what it said to it.
struct Stage {
    now: MonoTime,
    viewer: Viewer,
    shared: Shared,
    server: Link,
    events: Vec<Event>,
    compounds: Vec<Vec<u8>>,
    transport_seq: u16,
}

impl Stage {
    /// Lets a viewer join at one second.
    fn new(behaviour: Behaviour, number: u64) -> Self {
        let identity = Identity::generate(&Profile::CHROMIUM).unwrap();
        let link = |seed| Link::new(Config { identity: Arc::clone(&identity), random: Random::new(seed) });
        let (ours, mut server) = (link(1), link(2));
        let now = MonoTime::from_millis(1_000);
        server.set_remote(now, &answer(ours.local(), Setup::Active, 1));
        let theirs = answer(server.local(), Setup::Passive, 2);
        let mut shared = Shared::new(behaviour, Random::new(3));
        let viewer = Viewer::new(ours, &theirs, (now, now), number, &mut shared);
        let (events, compounds) = (Vec::new(), Vec::new());
        let mut stage = Self { now, viewer, shared, server, events, compounds, transport_seq: 0 };
        stage.settle();
        assert_eq!(std::mem::take(&mut stage.events), [Event::Connected]);
        stage
    }

    /// Carries what both sides have to say.
    fn settle(&mut self) {
        loop {
            self.events.append(&mut self.shared.events);
            let up = std::mem::take(&mut self.shared.outgoing);
            let mut down = Vec::new();
            for (_, datagram) in &up {
                if self.server.handle_datagram(self.now, address(1), datagram) == Inbound::Rtcp {
                    let mut plain = Vec::new();
                    self.server.open_rtcp(datagram, &mut plain).unwrap();
                    self.compounds.push(plain);
                }
            }
            while let Some(output) = self.server.poll_output() {
                if let Output::Transmit(_, datagram) = output {
                    down.push(datagram);
                }
            }
            if up.is_empty() && down.is_empty() {
                return;
            }
            for datagram in down {
                self.viewer.handle_packet(self.now, self.now, address(2), &datagram, &mut self.shared);
            }
        }
    }

    /// Goes on in time, timer by timer.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.viewer.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.viewer.handle_timeout(self.now, &mut self.shared);
            self.settle();
        }
        self.now = end;
    }

    /// Sends one packet of media, or loses it on the way.
    fn send(&mut self, seq: u16, timestamp: u32, marker: bool, payload: &[u8]) {
        let sealed = self.packet(PayloadType(96), MEDIA, (seq, timestamp, marker), payload);
        self.viewer.handle_packet(self.now, self.now, address(2), &sealed, &mut self.shared);
        self.settle();
    }

    /// Sends a packet again as RTX.
    fn send_again(&mut self, rtx_seq: u16, original: u16, timestamp: u32, payload: &[u8]) {
        let payload = [&original.to_be_bytes()[..], payload].concat();
        let sealed = self.packet(PayloadType(97), RTX, (rtx_seq, timestamp, false), &payload);
        self.viewer.handle_packet(self.now, self.now, address(2), &sealed, &mut self.shared);
        self.settle();
    }

    fn packet(
        &mut self,
        payload_type: PayloadType,
        ssrc: Ssrc,
        (seq, timestamp, marker): (u16, u32, bool),
        payload: &[u8],
    ) -> Vec<u8> {
        let timestamp = RtpTimestamp(timestamp);
        let header = OutgoingHeader { payload_type, marker, seq: SeqNo(seq), timestamp, ssrc };
        let mut packet = vec![0; 64];
        let start = header.write(true, false, &mut packet).unwrap();
        let mut writer = ExtensionWriter::new(&mut packet[start..]);
        assert!(writer.push(TRANSPORT_CC, &self.transport_seq.to_be_bytes()));
        let end = start + writer.finish();
        packet.truncate(end);
        packet.extend_from_slice(payload);
        self.transport_seq += 1;
        self.server.seal_rtp(&mut packet).unwrap();
        packet
    }

    /// Returns what the viewer said in control packets, and forgets it.
    fn said(&mut self) -> Vec<String> {
        let compounds = std::mem::take(&mut self.compounds);
        let name = |packet: rtcp::Packet<'_>| match packet {
            rtcp::Packet::ReceiverReport { reports, .. } => format!("report of {}", reports.count()),
            rtcp::Packet::Sdes { .. } => "name".to_owned(),
            rtcp::Packet::Nack { lost, .. } => {
                format!("nack {:?}", lost.map(|seq| seq.0).collect::<Vec<_>>())
            }
            rtcp::Packet::Pli { media } => format!("pli {}", media.0),
            rtcp::Packet::TransportCc(view) => format!("feedback of {}", view.status_count),
            other => format!("{other:?}"),
        };
        let packets = |compound: &Vec<u8>| -> Vec<String> {
            rtcp::packets(compound).map(|packet| name(packet.unwrap())).collect()
        };
        compounds.iter().flat_map(packets).collect()
    }
}

#[test]
fn a_viewer_tells_its_first_packet_and_its_first_keyframe() {
    let mut stage = Stage::new(BEHAVIOUR, 9);

    stage.pass(Duration::from_millis(20));
    stage.send(1, 90, true, DELTA);
    stage.pass(Duration::from_millis(10));
    stage.send(2, 180, true, KEY);

    let [Event::FirstPacket(packet), Event::FirstKeyframe(keyframe)] = stage.events.as_slice() else {
        panic!("{:?}", stage.events);
    };
    assert_eq!((*packet, *keyframe), (Duration::from_millis(20), Duration::from_millis(30)));
    assert_eq!((stage.shared.totals.packets, stage.shared.totals.verify_failures), (2, 0));
}

#[test]
fn a_viewer_that_is_out_stands_for_nobody_who_is_in_without_media() {
    let mut stage = Stage::new(BEHAVIOUR, 9);
    stage.send(1, 90, true, KEY);
    assert!(stage.viewer.has_media());

    stage.viewer.close(stage.now, &mut stage.shared);

    assert!(!stage.viewer.has_media());
}

#[test]
fn a_keyframe_is_asked_for_until_one_is_complete() {
    let mut stage = Stage::new(BEHAVIOUR, 9);
    stage.pass(Duration::from_secs(1));
    assert!(!stage.said().iter().any(|said| said.starts_with("pli")), "nothing is shown, nothing is missed");

    stage.send(1, 90, true, DELTA);
    stage.pass(Duration::from_millis(450));
    let before = stage.said().iter().filter(|said| *said == "pli 70").count();
    stage.send(2, 180, true, KEY);
    stage.pass(Duration::from_millis(450));

    assert_eq!(before, 2);
    assert!(!stage.said().iter().any(|said| said.starts_with("pli")));
}

#[test]
fn a_viewer_reports_and_gives_feedback_as_a_browser_does() {
    let mut stage = Stage::new(BEHAVIOUR, 9);
    for seq in 0..500 {
        stage.send(seq, u32::from(seq), true, KEY);
        stage.pass(Duration::from_millis(10));
    }

    let said = stage.said();

    let count = |what: &str| said.iter().filter(|said| said.starts_with(what)).count();
    assert!((3..=9).contains(&count("report of 1")), "{said:?}");
    assert_eq!(count("report"), count("name"));
    assert!((45..=50).contains(&count("feedback of 1")), "{} feedbacks", count("feedback"));
}

#[test]
fn a_silent_session_gives_no_feedback() {
    let mut stage = Stage::new(BEHAVIOUR, 9);

    stage.pass(Duration::from_secs(5));

    assert!(stage.said().iter().all(|said| said == "report of 0" || said == "name"));
}

#[test]
fn what_is_lost_is_asked_for_and_its_retransmission_repairs_it() {
    let mut stage = Stage::new(BEHAVIOUR, 9);
    stage.send(1, 90, true, KEY);
    stage.packet(PayloadType(96), MEDIA, (2, 180, true), DELTA);
    stage.send(3, 270, true, DELTA);

    stage.pass(Duration::from_millis(20));
    assert!(stage.said().contains(&"nack [2]".to_owned()));
    stage.send_again(500, 2, 180, DELTA);
    stage.pass(Duration::from_secs(2));

    let totals = &stage.shared.totals;
    assert_eq!((totals.lost, totals.repaired, totals.rtx_packets, totals.verify_failures), (0, 1, 1, 0));
    assert_eq!((totals.nacks_sent, totals.nacks_on_purpose), (1, 0));
}

#[test]
fn what_nobody_repairs_is_lost_and_a_keyframe_is_asked_for() {
    let mut stage = Stage::new(BEHAVIOUR, 9);
    stage.send(1, 90, true, KEY);
    stage.send(3, 270, true, DELTA);

    stage.pass(Duration::from_secs(2));

    assert_eq!(stage.shared.totals.lost, 1);
    assert_eq!(stage.said().iter().filter(|said| *said == "pli 70").count(), 1);
}

#[test]
fn frames_that_are_withheld_are_a_frozen_picture_and_no_loss() {
    let mut stage = Stage::new(BEHAVIOUR, 9);
    stage.send(1, 90, true, KEY);
    stage.viewer.begin_span(stage.now, &mut stage.shared);
    let frozen = |stage: &mut Stage| {
        stage.viewer.begin_span(stage.now, &mut stage.shared);
        std::mem::take(&mut stage.shared.totals.frozen)
    };

    for frame in 1..100_u16 {
        stage.pass(Duration::from_millis(33));
        stage.send(frame * 2, u32::from(frame) * 90 + 90, false, DELTA);
        stage.send(frame * 2 + 1, u32::from(frame) * 90 + 90, true, DELTA);
    }
    let moving = frozen(&mut stage);
    stage.pass(Duration::from_millis(1_500));
    stage.send(200, 101 * 90, true, DELTA);
    let withheld = frozen(&mut stage);
    for seq in 201..260 {
        stage.pass(Duration::from_millis(33));
        stage.send(seq, 102 * 90, false, DELTA);
    }
    let never_complete = frozen(&mut stage);

    assert_eq!((moving, withheld, never_complete), (0, 1, 1));
    assert_eq!(stage.shared.totals.lost, 0);
}

#[test]
fn a_session_that_ends_is_frozen_only_until_then() {
    let mut stage = Stage::new(BEHAVIOUR, 9);
    stage.send(1, 90, true, KEY);
    stage.viewer.begin_span(stage.now, &mut stage.shared);

    stage.pass(Duration::from_millis(900));
    stage.viewer.close(stage.now, &mut stage.shared);
    stage.pass(Duration::from_secs(5));
    stage.viewer.begin_span(stage.now, &mut stage.shared);

    assert_eq!(stage.shared.totals.frozen, 0);
}

#[test]
fn the_asked_share_is_asked_for_again_although_it_came() {
    let mut stage = Stage::new(Behaviour { nack_one_in: Some(100), ..BEHAVIOUR }, 9);
    for seq in 0..2_000 {
        stage.send(seq, u32::from(seq), true, KEY);
        stage.pass(Duration::from_millis(5));
    }
    let said = stage.said();
    let asked: Vec<&String> = said.iter().filter(|said| said.starts_with("nack")).collect();

    let seq: u16 = asked[asked.len() - 1].trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    stage.send_again(500, seq, u32::from(seq), KEY);

    let totals = &stage.shared.totals;
    assert!((12..=28).contains(&totals.nacks_sent), "{}", totals.nacks_sent);
    assert_eq!(totals.nacks_on_purpose, totals.nacks_sent);
    assert_eq!((totals.nacks_answered, totals.repaired, totals.lost), (1, 0, 0));
}

#[test]
fn a_share_of_the_packets_is_verified_and_forged_ones_are_found() {
    let mut stage = Stage::new(Behaviour { verify_one_in: Some(10), ..BEHAVIOUR }, 9);
    stage.send(0, 0, true, KEY);
    for seq in 1..2_000 {
        stage.send(seq, u32::from(seq), true, DELTA);
    }
    let verified = stage.shared.totals.verified;
    for seq in 2_000..2_500 {
        let mut sealed = stage.packet(PayloadType(96), MEDIA, (seq, u32::from(seq), true), DELTA);
        *sealed.last_mut().unwrap() ^= 1;
        stage.viewer.handle_packet(stage.now, stage.now, address(2), &sealed, &mut stage.shared);
    }

    // One in ten, and the frames whose delay is measured.
    assert!((180..300).contains(&verified), "{verified}");
    assert!(
        (30..80).contains(&stage.shared.totals.verify_failures),
        "{}",
        stage.shared.totals.verify_failures
    );
}

#[test]
fn a_thorough_viewer_verifies_everything_and_measures_every_frame() {
    let mut stage = Stage::new(Behaviour { thorough: 1, ..BEHAVIOUR }, 0);

    for seq in 0..300 {
        let sent = stage.now;
        stage.pass(Duration::from_millis(4));
        let payload = [DELTA, &stamp::trailer(sent)].concat();
        stage.send(seq, u32::from(seq), true, if seq == 0 { KEY } else { &payload });
    }

    let totals = &stage.shared.totals;
    assert_eq!((totals.verified, totals.delay.count()), (300, 299));
    assert_eq!(totals.delay.per_mille(500).unwrap().as_millis(), 4);
}

#[test]
fn time_that_goes_back_is_counted() {
    let mut stage = Stage::new(BEHAVIOUR, 9);
    stage.send(1, 900, true, KEY);
    stage.send(2, 800, true, DELTA);
    stage.send(3, 900, true, DELTA);

    assert_eq!(stage.shared.totals.timestamp_errors, 1);
}

#[test]
fn a_packet_of_nobody_is_a_stranger() {
    let mut stage = Stage::new(BEHAVIOUR, 9);

    let sealed = stage.packet(PayloadType(50), Ssrc(5), (1, 1, true), DELTA);
    stage.viewer.handle_packet(stage.now, stage.now, address(2), &sealed, &mut stage.shared);

    assert_eq!((stage.shared.totals.strangers, stage.shared.totals.verify_failures), (1, 0));
}

#[test]
fn padding_alone_is_no_stranger_whoever_sends_it() {
    let mut stage = Stage::new(BEHAVIOUR, 9);
    let mut send = |padding: u8, payload: &[u8]| {
        let header = OutgoingHeader {
            payload_type: PayloadType(50),
            marker: false,
            seq: SeqNo(1),
            timestamp: RtpTimestamp(1),
            ssrc: Ssrc(0),
        };
        let mut packet = vec![0; OutgoingHeader::LENGTH];
        header.write(false, true, &mut packet).unwrap();
        packet.extend_from_slice(payload);
        packet.extend((1..=padding).map(|byte| if byte == padding { padding } else { 0 }));
        stage.server.seal_rtp(&mut packet).unwrap();
        stage.viewer.handle_packet(stage.now, stage.now, address(2), &packet, &mut stage.shared);
        (stage.shared.totals.strangers, stage.viewer.has_media())
    };

    assert_eq!(send(200, &[]), (0, false));
    assert_eq!(send(200, DELTA), (1, false));
}

#[test]
fn a_source_that_the_answer_left_open_is_learned() {
    let mut track = agreed();
    track.ssrcs.clear();
    let mut track = Track::new(track);

    assert_eq!(track.owns(Ssrc(9), PayloadType(97)), None, "a retransmission of what nobody sent");
    assert_eq!(track.owns(Ssrc(5), PayloadType(96)), Some(Kind::Media));
    assert_eq!(track.owns(Ssrc(6), PayloadType(97)), Some(Kind::Rtx));
    assert_eq!(track.owns(Ssrc(5), PayloadType(96)), Some(Kind::Media));
    assert_eq!(track.owns(Ssrc(7), PayloadType(96)), None);
}

#[test]
fn a_timer_that_comes_in_front_of_the_others_is_told() {
    let mut random = Random::new(5);
    let mut stage = Stage::new(Behaviour { nack_one_in: Some(30), ..BEHAVIOUR }, 9);
    let mut earlier = 0;

    for seq in 0..3_000 {
        let before = stage.viewer.next_timeout();
        stage.viewer.take_timer_change();
        if random.below(20) > 0 {
            stage.send(seq, u32::from(seq), true, if seq % 300 == 0 { KEY } else { DELTA });
        }
        let after = stage.viewer.next_timeout();
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            earlier += 1;
            assert!(stage.viewer.take_timer_change(), "packet {seq}: {before:?} became {after:?}");
        }
        stage.pass(Duration::from_millis(random.below(8)));
    }

    assert!(earlier > 50, "{earlier}");
}
