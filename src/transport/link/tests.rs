//! A whole link against a whole other side: checks, handshake, media and messages.

use super::*;
use crate::dtls::HashAlgorithm;
use crate::dtls_peer::{DtlsPeer, Speaks};
use crate::sctp_peer::SctpPeer;
use crate::stun::tests::{PWD, check};
use sctp_proto::PayloadProtocolIdentifier;

#[test]
fn a_viewer_connects_with_an_aead_profile_and_media_passes_both_ways() {
    for speaks in [Speaks::Only12, Speaks::Auto] {
        let mut world = World::new(Role::Server, true, speaks);
        world.nominate(HOME);
        world.run();

        assert_eq!(world.link.profile(), Some("AEAD_AES_256_GCM"));
        assert!(world.connected_reported);
        world.assert_media_passes();
    }
}

#[test]
fn a_publisher_connects_in_both_roles_and_media_passes_both_ways() {
    for role in [Role::Server, Role::Client] {
        for speaks in [Speaks::Only12, Speaks::Auto] {
            let mut world = World::new(role, false, speaks);
            world.nominate(HOME);
            world.run();

            assert!(world.link.is_connected(), "{role:?} {speaks:?}");
            world.assert_media_passes();
        }
    }
}

#[test]
fn every_check_is_answered_on_its_own_path() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);

    world.validate(AWAY);
    world.validate(HOME);

    let paths: Vec<_> = world.take_transmits().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, [AWAY, HOME]);
    assert_eq!(world.link.selected_path(), None);
}

#[test]
fn unvalidated_source_never_reaches_stack() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    world.nominate(HOME);
    let hello = world.dtls.sent.front().unwrap().clone();

    for kind in [hello, vec![0x80; 60], [&[0x80, 200], [7; 60].as_slice()].concat()] {
        let outcome = world.link.handle_datagram(world.now, AWAY, &mut kind.clone());
        assert_eq!(outcome, Err(DropReason::UnvalidatedPath));
    }
    world.take_transmits();
    world.run();
    assert!(world.link.is_connected());

    let mut media = world.sealed_by_peer(1);
    assert_eq!(
        world.link.handle_datagram(world.now, AWAY, &mut media.clone()),
        Err(DropReason::UnvalidatedPath)
    );
    assert!(matches!(world.link.handle_datagram(world.now, HOME, &mut media), Ok(Inbound::Rtp(_))));
}

#[test]
fn asvs_17_2_6_clienthello_race() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    let attacker = DtlsPeer::new(Speaks::Auto, true, world.now).sent;

    for round in 0..50 {
        for hello in &attacker {
            let outcome = world.link.handle_datagram(world.now, AWAY, &mut hello.clone());
            assert_eq!(outcome, Err(DropReason::UnvalidatedPath));
        }
        if round == 0 {
            world.nominate(HOME);
        }
        world.step();
    }
    world.run();

    assert!(world.link.is_connected());
    assert_eq!(world.strayed, 0);
}

#[test]
fn unclassifiable_datagrams_and_media_before_keys_are_counted() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    world.nominate(HOME);
    let mut handle = |bytes: &[u8]| world.link.handle_datagram(world.now, HOME, &mut bytes.to_vec());

    assert_eq!(handle(&[]), Err(DropReason::Unclassified));
    assert_eq!(handle(&[0x40; 30]), Err(DropReason::Unclassified));
    assert_eq!(handle(&[0x80; 30]), Err(DropReason::NoKeys));
    assert_eq!(handle(&[&[0x80, 200], [7; 30].as_slice()].concat()), Err(DropReason::NoKeys));
}

#[test]
fn the_latest_nomination_moves_media_and_dtls() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    world.nominate(HOME);
    world.run();

    world.validate(AWAY);
    assert_eq!(world.link.selected_path(), Some(HOME));
    world.nominate(AWAY);

    assert_eq!(world.link.selected_path(), Some(AWAY));
    world.link.close(world.now);
    let goodbye = world.take_transmits().pop().unwrap();
    assert_eq!(goodbye.0, AWAY);
}

#[test]
fn dtls_is_answered_by_the_path_it_came_by_until_there_is_a_nomination() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    world.validate(HOME);
    world.take_transmits();
    let hello = world.dtls.sent.front().unwrap().clone();

    world.link.handle_datagram(world.now, HOME, &mut hello.clone()).unwrap();
    let flight = world.take_transmits();
    world.validate(AWAY);
    assert_eq!(world.link.selected_path(), Some(HOME), "another check moves nothing");
    world.nominate(AWAY);

    assert!(!flight.is_empty() && flight.iter().all(|(path, _)| *path == HOME));
    assert_eq!(world.link.selected_path(), Some(AWAY));
}

#[test]
fn a_peer_that_never_nominates_gets_the_validated_path_after_half_a_second() {
    for role in [Role::Server, Role::Client] {
        let mut world = World::new(role, false, Speaks::Only12);
        world.validate(HOME);
        assert_eq!(world.link.next_timeout(), Some(world.now + NOMINATION_WAIT));

        world.advance(NOMINATION_WAIT - Duration::from_millis(1));
        assert_eq!(world.link.selected_path(), None);
        world.advance(Duration::from_millis(1));
        assert_eq!(world.link.selected_path(), Some(HOME));
        world.validate(AWAY);
        assert_eq!(world.link.selected_path(), Some(HOME), "no flipping between validated paths");

        world.run();
        assert!(world.link.is_connected(), "{role:?}");
    }
}

#[test]
fn media_on_another_validated_path_takes_over_once_the_selected_one_has_been_silent_for_a_second() {
    for viewer in [true, false] {
        let mut world = World::new(Role::Server, viewer, Speaks::Auto);
        world.nominate(HOME);
        world.run();
        let (mut sealer, _) = world.peer_keys();
        world.report(&mut sealer, HOME);
        let moved = world.now;

        world.advance(Duration::from_millis(100));
        world.validate(AWAY);
        while world.link.selected_path() == Some(HOME) && world.now.since(moved) < Duration::from_secs(2) {
            world.report(&mut sealer, AWAY);
            world.advance(Duration::from_millis(100));
        }

        assert_eq!(world.link.selected_path(), Some(AWAY), "viewer: {viewer}");
        assert!(world.now.since(moved) >= MEDIA_SILENCE, "after {:?}", world.now.since(moved));
    }
}

#[test]
fn media_moves_a_peer_that_never_nominated() {
    let mut world = World::new(Role::Server, false, Speaks::Auto);
    world.validate(HOME);
    world.run();
    world.validate(AWAY);

    world.advance(Duration::from_secs(2));
    let mut media = world.sealed_by_peer(1);
    world.link.handle_datagram(world.now, AWAY, &mut media).unwrap();

    assert_eq!(world.link.selected_path(), Some(AWAY));
}

#[test]
fn media_on_two_living_paths_stays_on_the_nominated_one() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    world.nominate(HOME);
    world.run();
    world.validate(AWAY);
    let (mut sealer, _) = world.peer_keys();

    for round in 0..100 {
        world.report(&mut sealer, if round % 4 == 0 { HOME } else { AWAY });
        assert_eq!(world.link.selected_path(), Some(HOME), "in round {round}");
        world.advance(Duration::from_millis(200));
    }
}

#[test]
fn what_was_on_its_way_before_a_nomination_does_not_take_it_back() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    world.nominate(HOME);
    world.run();
    world.advance(Duration::from_secs(5));
    let (mut sealer, _) = world.peer_keys();

    world.nominate(AWAY);
    world.report(&mut sealer, HOME);

    assert_eq!(world.link.selected_path(), Some(AWAY));
}

#[test]
fn what_anybody_could_have_sent_moves_nothing() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    world.nominate(HOME);
    world.run();
    world.validate(AWAY);
    let (mut sealer, _) = world.peer_keys();
    let mut seen = sealed_report(&mut sealer);
    let (mut replayed, mut forged) = (seen.clone(), sealed_report(&mut sealer));
    world.link.handle_datagram(world.now, HOME, &mut seen).unwrap();
    forged[10] ^= 1;
    world.advance(Duration::from_secs(2));

    for datagram in [&mut replayed, &mut forged] {
        assert!(world.link.handle_datagram(world.now, AWAY, datagram).is_err());
    }

    assert_eq!(world.link.selected_path(), Some(HOME));
}

#[test]
fn checks_alone_move_a_peer_whose_selected_path_has_been_silent_for_eight_seconds() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    world.nominate(HOME);
    world.run();
    world.nominate(HOME);

    world.advance(CHECK_SILENCE - Duration::from_millis(1));
    world.validate(AWAY);
    assert_eq!(world.link.selected_path(), Some(HOME));
    world.advance(Duration::from_millis(1));
    world.validate(AWAY);

    assert_eq!(world.link.selected_path(), Some(AWAY));
}

#[test]
fn checks_on_another_path_move_nothing_while_checks_or_media_come_by_the_selected_one() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    world.nominate(HOME);
    world.run();
    let (mut sealer, _) = world.peer_keys();

    for second in 0..25 {
        world.report(&mut sealer, HOME);
        world.advance(Duration::from_secs(1));
        world.validate(AWAY);
        assert_eq!(world.link.selected_path(), Some(HOME), "after {second} s of media");
    }
    for round in 0..10 {
        world.validate(HOME);
        world.advance(Duration::from_secs(6));
        world.validate(AWAY);
        assert_eq!(world.link.selected_path(), Some(HOME), "after {round} checks");
    }
}

#[test]
fn a_certificate_of_another_machine_closes_the_session_without_keys() {
    for role in [Role::Server, Role::Client] {
        let mut world = World::new(role, false, Speaks::Auto);
        world.link = World::link(role, false, Fingerprint::of(HashAlgorithm::Sha256, b"another"));
        world.nominate(HOME);
        world.run();

        assert_eq!(world.closed, Some(CloseReason::FingerprintMismatch), "{role:?}");
        assert!(!world.connected_reported);
        assert!(world.link.seal_rtp(&mut [0x80; 100], 50).is_none());
        assert_eq!(world.link.next_timeout(), None);
    }
}

#[test]
fn a_handshake_that_does_not_complete_closes_after_ten_seconds() {
    for role in [Role::Server, Role::Client] {
        let mut world = World::new(role, true, Speaks::Auto);
        world.nominate(HOME);
        let begun = world.now;
        world.dtls.sent.clear();

        while world.closed.is_none() {
            world.now = world.link.next_timeout().unwrap();
            world.link.handle_timeout(world.now);
            world.collect();
        }

        let reason = world.closed.unwrap();
        assert!(matches!(reason, CloseReason::HandshakeTimeout | CloseReason::HandshakeFailed), "{reason:?}");
        assert!(world.now.since(begun) <= HANDSHAKE_TIMEOUT, "{role:?} {:?}", world.now);
    }
}

#[test]
fn a_session_without_checks_closes_after_30_seconds() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    world.nominate(HOME);
    world.run();
    world.nominate(HOME);
    let last_check = world.now;

    while world.closed.is_none() {
        world.now = world.link.next_timeout().unwrap().max(world.now + Duration::from_millis(1));
        world.link.handle_timeout(world.now);
        world.collect();
    }

    assert_eq!(world.closed, Some(CloseReason::ConsentExpired));
    assert!((30_000..30_100).contains(&world.now.since(last_check).as_millis()));
}

#[test]
fn close_says_goodbye_and_ends_everything() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    world.nominate(HOME);
    world.run();

    world.link.close(world.now);
    world.step();

    assert_eq!(world.closed, Some(CloseReason::Local));
    assert!(world.dtls.closed);
    assert_eq!(world.link.handle_datagram(world.now, HOME, &mut [0x80; 60]), Err(DropReason::Closed));
    assert!(world.link.seal_rtp(&mut [0x80; 100], 50).is_none());
    world.link.close(world.now);
    assert_eq!(world.link.poll_output(), None);
}

#[test]
fn the_goodbye_of_the_peer_closes_the_session() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    world.nominate(HOME);
    world.run();

    world.dtls.close();
    world.step();

    assert_eq!(world.closed, Some(CloseReason::Remote));
}

#[test]
fn a_restart_keeps_the_keys_and_accepts_both_credentials_until_the_first_new_check() {
    let mut world = World::new(Role::Server, true, Speaks::Auto);
    world.nominate(HOME);
    world.run();
    let fresh = ice::Credentials { ufrag: "NewUfrag".into(), pwd: "zyxwvutsrqponmlkjihgfedcba".into() };

    world.link.restart_ice(fresh.clone());
    world.nominate(HOME);
    let mut datagram = check("NewUfrag:themtoo", &fresh.pwd).nominating().build();
    world.link.handle_datagram(world.now, AWAY, &mut datagram).unwrap();
    world.collect();

    assert_eq!(world.link.selected_path(), Some(AWAY));
    let mut old = check("OurUfrag:themtoo", PWD).build();
    assert!(world.link.handle_datagram(world.now, HOME, &mut old).is_err());
    world.assert_media_passes();
}

#[test]
fn a_data_channel_echoes_through_the_whole_link() {
    for speaks in [Speaks::Only12, Speaks::Auto] {
        let mut world = World::new(Role::Server, false, speaks);
        world.nominate(HOME);
        world.run();

        world.start_sctp();
        world.run();
        world.open_channel(0);
        world.run();
        assert_eq!(world.channels, ["chat"]);

        for len in [1, 1_000, 16_384] {
            world.send_binary(&vec![7; len]);
            world.run();
            let (channel, message) = world.messages.pop_front().unwrap();
            assert_eq!(message.as_bytes().len(), len);
            world.link.send_message(world.now, channel, &message).unwrap();
            world.run();
            let (_, _, bytes) = world.sctp.as_mut().unwrap().messages.pop_back().unwrap();
            assert_eq!(bytes.len(), len);
        }
        assert!(world.longest_sent <= 1_200, "{}", world.longest_sent);
    }
}

#[test]
fn a_peer_that_abuses_its_association_loses_the_session() {
    let mut world = World::new(Role::Server, false, Speaks::Auto);
    world.nominate(HOME);
    world.run();
    world.start_sctp();
    world.run();

    for stream in 0..9 {
        world.open_channel(stream);
        world.run();
    }

    assert_eq!(world.closed, Some(CloseReason::SctpAbuse));
}

#[test]
fn a_message_to_a_closed_session_is_refused() {
    let mut world = World::new(Role::Server, false, Speaks::Auto);
    world.link.close(world.now);

    let outcome = world.link.send_message(world.now, ChannelId(0), &Message::Text("x".into()));

    assert_eq!(outcome, Err(SendError::NotOpen));
}

#[test]
fn a_viewer_that_floods_feedback_is_heard_as_often_as_anybody_needs_and_no_more() {
    let mut world = World::new(Role::Server, true, Speaks::Only12);
    world.nominate(HOME);
    world.run();
    let (mut sealer, _) = world.peer_keys();
    let mut flood = |world: &mut World, count: u32| {
        let mut heard = 0;
        for _ in 0..count {
            match world.link.handle_datagram(world.now, HOME, &mut sealed_report(&mut sealer)) {
                Ok(Inbound::Rtcp(_)) => heard += 1,
                outcome => assert_eq!(outcome, Err(DropReason::SessionLimit)),
            }
        }
        heard
    };

    assert_eq!(flood(&mut world, 5_000), FEEDBACK.burst);
    world.now = world.now + Duration::from_secs(1);
    assert_eq!(flood(&mut world, 5_000), FEEDBACK.per_second);
}

#[test]
fn strangers_cannot_use_up_what_a_session_may_send() {
    let mut world = World::new(Role::Server, true, Speaks::Only12);
    world.nominate(HOME);
    world.run();

    let (mut sealer, _) = world.peer_keys();
    for _ in 0..5_000 {
        let mut forged = sealed_report(&mut sealer);
        forged[10] ^= 1;
        assert_eq!(world.link.handle_datagram(world.now, HOME, &mut forged), Err(DropReason::SrtpTag));
        let mut garbage = [&[22, 254, 253], [9; 30].as_slice()].concat();
        assert!(world.link.handle_datagram(world.now, HOME, &mut garbage).is_err());
    }

    let mut report = sealed_report(&mut sealer);
    assert!(matches!(world.link.handle_datagram(world.now, HOME, &mut report), Ok(Inbound::Rtcp(_))));
    world.validate(HOME);
}

#[test]
fn asvs_17_2_4_malformed_srtp_survives() {
    let mut world = World::new(Role::Server, false, Speaks::Auto);
    world.nominate(HOME);
    world.run();

    for second in [96, 200] {
        for len in 2..=64 {
            let mut datagram = vec![0x90; len];
            datagram[1] = second;
            assert!(world.link.handle_datagram(world.now, HOME, &mut datagram).is_err());
        }
    }
    assert!(world.link.handle_datagram(world.now, HOME, &mut vec![0x80; 65_507]).is_err());

    world.assert_media_passes();
}

const HOME: Path = path(1);
const AWAY: Path = path(2);

const fn path(last: u8) -> Path {
    let address = std::net::Ipv4Addr::new(192, 0, 2, last);
    Path::udp(0, std::net::SocketAddr::V4(std::net::SocketAddrV4::new(address, 50_000)))
}

/// A link, the other side at [`HOME`], and what the driver saw.
struct World {
    link: Link,
    role: Role,
    dtls: DtlsPeer,
    sctp: Option<SctpPeer>,
    now: MonoTime,
    to_peer: Vec<Vec<u8>>,
    /// Datagrams that went to another path than the other side's.
    strayed: usize,
    longest_sent: usize,
    connected_reported: bool,
    closed: Option<CloseReason>,
    channels: Vec<String>,
    messages: VecDeque<(ChannelId, Message)>,
}

impl World {
    fn new(role: Role, viewer: bool, speaks: Speaks) -> Self {
        let now = MonoTime::from_millis(1);
        let dtls = DtlsPeer::new(speaks, role == Role::Server, now);
        Self {
            link: Self::link(role, viewer, dtls.fingerprint()),
            role,
            dtls,
            sctp: None,
            now,
            to_peer: Vec::new(),
            strayed: 0,
            longest_sent: 0,
            connected_reported: false,
            closed: None,
            channels: Vec::new(),
            messages: VecDeque::new(),
        }
    }

    fn link(role: Role, viewer: bool, fingerprint: Fingerprint) -> Link {
        let certificate = Arc::new(Certificate::generate().unwrap());
        let ice = ice::Credentials { ufrag: "OurUfrag".into(), pwd: PWD.into() };
        Link::new(LinkConfig { ice, role, fingerprint, certificate, viewer }, MonoTime::from_millis(1))
    }

    fn validate(&mut self, path: Path) {
        let mut datagram = check("OurUfrag:themtoo", PWD).build();
        assert_eq!(self.link.handle_datagram(self.now, path, &mut datagram), Ok(Inbound::Nothing));
    }

    fn nominate(&mut self, path: Path) {
        let mut datagram = check("OurUfrag:themtoo", PWD).nominating().build();
        assert_eq!(self.link.handle_datagram(self.now, path, &mut datagram), Ok(Inbound::Nothing));
    }

    /// Lets the other side report over a path.
    fn report(&mut self, sealer: &mut Sealer, path: Path) {
        let outcome = self.link.handle_datagram(self.now, path, &mut sealed_report(sealer));
        assert!(matches!(outcome, Ok(Inbound::Rtcp(_))), "{outcome:?}");
    }

    fn start_sctp(&mut self) {
        self.sctp = Some(SctpPeer::new(self.now));
    }

    fn open_channel(&mut self, stream: u16) {
        self.sctp.as_mut().unwrap().open(self.now, stream, 0, b"chat");
    }

    fn send_binary(&mut self, bytes: &[u8]) {
        self.sctp.as_mut().unwrap().send(self.now, 0, PayloadProtocolIdentifier::Binary, bytes);
    }

    /// Runs until everything is quiet, for three seconds at most.
    fn run(&mut self) {
        let end = self.now + Duration::from_secs(3);
        let mut quiet = 0;
        while quiet < 20 && self.now < end {
            quiet = if self.step() { 0 } else { quiet + 1 };
        }
    }

    /// Moves what is on its way, then the time by 20 ms.
    fn step(&mut self) -> bool {
        self.collect();
        if let Some(sctp) = &mut self.sctp {
            for packet in sctp.sent.drain(..) {
                self.dtls.send(&packet);
            }
        }
        let to_link: Vec<_> = self.dtls.sent.drain(..).collect();
        let to_peer = std::mem::take(&mut self.to_peer);
        let busy = !to_link.is_empty() || !to_peer.is_empty();
        self.now = self.now + Duration::from_millis(20);
        for mut datagram in to_link {
            let _ = self.link.handle_datagram(self.now, HOME, &mut datagram);
        }
        for datagram in to_peer {
            self.dtls.handle(self.now, &datagram);
        }
        self.link.handle_timeout(self.now);
        self.dtls.handle_timeout(self.now);
        if let Some(sctp) = &mut self.sctp {
            for packet in self.dtls.data.drain(..) {
                sctp.handle(self.now, &packet);
            }
            sctp.handle_timeout(self.now);
        }
        self.collect();
        busy
    }

    fn advance(&mut self, time: Duration) {
        self.now = self.now + time;
        self.link.handle_timeout(self.now);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.link.poll_output() {
            match output {
                LinkOutput::Transmit { path, datagram } => {
                    self.longest_sent = self.longest_sent.max(datagram.len());
                    if path != HOME {
                        self.strayed += 1;
                    } else if datagram[0] >= 20 {
                        self.to_peer.push(datagram);
                    }
                }
                LinkOutput::PathSelected(path) => assert_eq!(self.link.selected_path(), Some(path)),
                LinkOutput::Connected { profile } => {
                    assert_eq!(self.link.profile(), Some(profile));
                    self.connected_reported = true;
                }
                LinkOutput::ChannelOpened { label, .. } => self.channels.push(label),
                LinkOutput::ChannelClosed { .. } => {}
                LinkOutput::Message { channel, message } => self.messages.push_back((channel, message)),
                LinkOutput::Closed(reason) => {
                    assert_eq!(self.closed, None, "closed twice");
                    self.closed = Some(reason);
                }
            }
        }
    }

    fn take_transmits(&mut self) -> Vec<(Path, Vec<u8>)> {
        std::iter::from_fn(|| self.link.poll_output())
            .filter_map(|output| match output {
                LinkOutput::Transmit { path, datagram } => Some((path, datagram)),
                _ => None,
            })
            .collect()
    }

    fn peer_keys(&self) -> (Sealer, Opener) {
        let side = if self.role == Role::Server { Role::Client } else { Role::Server };
        self.dtls.keys.as_ref().unwrap_or_else(|| panic!("no keys")).split(side).unwrap()
    }

    fn sealed_by_peer(&self, seq: u8) -> Vec<u8> {
        let (mut sealer, _) = self.peer_keys();
        let mut buffer = rtp_packet(seq);
        let len = buffer.len();
        buffer.resize(len + SRTP_OVERHEAD, 0);
        let len = sealer.seal_rtp(&mut buffer, len).unwrap();
        buffer.truncate(len);
        buffer
    }

    fn assert_media_passes(&mut self) {
        let (mut sealer, mut opener) = self.peer_keys();
        let path = self.link.selected_path().unwrap();
        let rtp = rtp_packet(9);
        let rtcp = [&[0x80, 200, 0, 3], [5; 12].as_slice()].concat();

        let mut buffer = with_room(&rtp);
        let len = sealer.seal_rtp(&mut buffer, rtp.len()).unwrap();
        assert_eq!(
            self.link.handle_datagram(self.now, path, &mut buffer[..len]),
            Ok(Inbound::Rtp(rtp.len()))
        );
        assert_eq!(buffer[..rtp.len()], rtp[..]);
        let mut buffer = with_room(&rtcp);
        let len = sealer.seal_rtcp(&mut buffer, rtcp.len()).unwrap();
        assert_eq!(
            self.link.handle_datagram(self.now, path, &mut buffer[..len]),
            Ok(Inbound::Rtcp(rtcp.len()))
        );
        assert_eq!(buffer[..rtcp.len()], rtcp[..]);

        let mut buffer = with_room(&rtp);
        let len = self.link.seal_rtp(&mut buffer, rtp.len()).unwrap();
        assert_eq!(opener.open_rtp(&mut buffer[..len]), Ok(rtp.len()));
        let mut buffer = with_room(&rtcp);
        let len = self.link.seal_rtcp(&mut buffer, rtcp.len()).unwrap();
        assert_eq!(opener.open_rtcp(&mut buffer[..len]), Ok(rtcp.len()));
    }
}

fn sealed_report(sealer: &mut Sealer) -> Vec<u8> {
    let rtcp = [&[0x80, 200, 0, 3], [5; 12].as_slice()].concat();
    let mut buffer = with_room(&rtcp);
    let len = sealer.seal_rtcp(&mut buffer, rtcp.len()).unwrap();
    buffer.truncate(len);
    buffer
}

fn rtp_packet(seq: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 96, 0, seq, 0, 0, 0, 1, 0, 0, 0, 5];
    packet.extend_from_slice(b"a payload");
    packet
}

fn with_room(packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + SRTP_OVERHEAD, 0);
    buffer
}
