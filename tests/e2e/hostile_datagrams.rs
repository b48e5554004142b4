//! Bad datagrams beside and inside a running show: silence towards the sender, a counter in `/metrics`, and a show
//! that does not notice.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::healthy::Show;
use crate::rust_peer::{Access, Publisher, Viewer};
use crate::server::Server;

/// First bytes by RFC 7983.
const STUN: std::ops::RangeInclusive<u8> = 0..=3;
const DTLS: std::ops::RangeInclusive<u8> = 20..=63;
const MEDIA: std::ops::RangeInclusive<u8> = 128..=191;

#[test]
fn a_foreign_address_gets_silence_and_each_of_its_datagrams_is_counted() {
    let show = Show::begin();
    let stranger = Stranger::new(&show.server);
    let rtp = media(&show, |payload_type| !(64..=95).contains(&payload_type));
    let rtcp = media(&show, |payload_type| (64..=95).contains(&payload_type));
    let hello = show.relay.captured(DTLS)[0].clone();
    let check = show.relay.captured(STUN)[0].clone();

    // The very bytes of the validated publisher, from another address.
    stranger.sends_in_vain(&rtp, "unvalidated_path");
    stranger.sends_in_vain(&rtcp, "unvalidated_path");
    stranger.sends_in_vain(std::slice::from_ref(&hello), "unvalidated_path");
    // STUN: cut anywhere, with a wrong integrity value, for nobody.
    let cuts: Vec<Vec<u8>> = (20..check.len()).map(|length| check[..length].to_vec()).collect();
    stranger.sends_in_vain(&cuts, "stun_malformed");
    let integrity = find(&check, &[0x00, 0x08, 0x00, 0x14]).expect("a check has MESSAGE-INTEGRITY") + 4;
    stranger.sends_in_vain(&[flipped(&check, integrity)], "stun_integrity");
    let name = find(&check, &[0x00, 0x06]).expect("a check has USERNAME") + 4;
    stranger.sends_in_vain(&[flipped(&check, name)], "stun_unknown_user");
    // What is nothing at all.
    let noise: Vec<Vec<u8>> = (1..200).map(|length| vec![0xff; length]).collect();
    stranger.sends_in_vain(&noise, "unclassified");

    show.assert_unharmed();
}

#[test]
fn hostile_media_from_the_validated_address_is_dropped_and_counted() {
    let show = Show::begin();
    let rtp = media(&show, |payload_type| !(64..=95).contains(&payload_type));
    let rtcp = media(&show, |payload_type| (64..=95).contains(&payload_type));

    inside(&show, &rtp, "srtp_replay");
    let tags: Vec<Vec<u8>> =
        rtp.iter().take(50).map(|datagram| flipped(&fresh_number(datagram), datagram.len() - 1)).collect();
    inside(&show, &tags, "srtp_tag");
    // SRTCP of each length up to 64, RTP with less payload than a tag has (security fact sheet: crashed others).
    let short: Vec<Vec<u8>> = rtcp
        .iter()
        .take(1)
        .flat_map(|one| (8..64.min(one.len())).map(|length| one[..length].to_vec()))
        .collect();
    inside_any(&show, &short, &["srtp_tag", "srtp_malformed", "srtp_replay"]);
    let short: Vec<Vec<u8>> = (12..40).map(|length| rtp[0][..length].to_vec()).collect();
    inside_any(&show, &short, &["srtp_tag", "srtp_malformed", "srtp_replay"]);
    // Headers that promise more than there is: 15 CSRCs, an endless extension, padding beyond the packet.
    let liars = [
        [&[0x8f, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0; 20]].concat(),
        [&[0x90, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xbe, 0xde, 0xff, 0xff][..], &[0; 20]].concat(),
        [&[0xa0, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0xff; 20]].concat(),
    ];
    inside_any(&show, &liars, &["srtp_tag", "srtp_malformed", "srtp_sources"]);

    show.assert_unharmed();
}

#[test]
fn hostile_dtls_from_the_validated_address_ends_nothing() {
    let show = Show::begin();
    let records = show.relay.captured(DTLS);
    let hello = &records[0];
    let reasons = &["dtls_malformed", "dtls_unexpected", "dtls_limit", "dtls_refused", "unclassified"];

    let cuts: Vec<Vec<u8>> = (1..hello.len()).step_by(7).map(|length| hello[..length].to_vec()).collect();
    inside_any(&show, &cuts, reasons);
    // A header that promises more than there is; epoch 1 that nobody sealed; a plaintext fatal alert after the handshake.
    let mut epoch_one = hello.clone();
    epoch_one[3..5].copy_from_slice(&[0, 1]);
    let alert = vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 2, 40];
    let noise: Vec<Vec<u8>> =
        (13..300).step_by(11).map(|length| [vec![22, 0xfe, 0xfd], vec![0x41; length]].concat()).collect();
    let before = show.server.log().matches("panicked").count();
    for datagram in [epoch_one, alert].iter().chain(&noise) {
        show.relay.inject(datagram);
    }
    // The whole handshake again, as a replaying network would.
    for record in &records {
        show.relay.inject(record);
    }

    assert_eq!(show.server.log().matches("panicked").count(), before);
    show.assert_unharmed();
}

#[test]
fn datagrams_too_large_for_any_path_are_dropped() {
    let show = Show::begin();
    let stranger = Stranger::new(&show.server);

    for first in [0x80, 0x90, 22, 0, 0xff] {
        for length in [1501, 2048, 9000, 65_507] {
            let mut datagram = vec![0xa5; length];
            datagram[0] = first;
            stranger.socket.send_to(&datagram, show.server.udp).unwrap();
            show.relay.inject(&datagram);
        }
    }

    assert!(stranger.hears_nothing());
    show.assert_unharmed();
}

#[test]
fn a_client_hello_from_another_address_before_during_and_after_does_not_stop_the_handshake() {
    let server = Server::start();
    let attacker = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let sent: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let to = server.udp;
    let relay = {
        let (attacker, sent) = (Arc::clone(&attacker), Arc::clone(&sent));
        // Each DTLS datagram of the victim arrives from the attacker first, twice, and then from the victim.
        let race = move |datagram: &[u8]| {
            if datagram.first().is_some_and(|byte| DTLS.contains(byte)) {
                for _ in 0..2 {
                    attacker.send_to(datagram, to).unwrap();
                }
                sent.lock().unwrap().push(datagram.to_vec());
            }
        };
        crate::relay::Relay::start(server.udp, Box::new(race))
    };

    let access = Access { http: server.http, media: Some(relay.front) };
    let (mut publisher, track) = Publisher::join(access, "race");
    let viewer = Viewer::join(Access { http: server.http, media: None }, "race");
    publisher.start(track);
    viewer.wait_count(60, 10);
    for datagram in sent.lock().unwrap().iter() {
        attacker.send_to(datagram, server.udp).unwrap();
    }

    let count = u64::try_from(sent.lock().unwrap().len()).unwrap();
    assert!(count >= 2, "the race met {count} datagrams");
    server.wait_until("the attacker's datagrams are counted", 3, |server| {
        server.drops("unvalidated_path") >= 3 * count
    });
    let stranger = Stranger { socket: attacker.try_clone().unwrap(), server: &server };
    assert!(stranger.hears_nothing());
    viewer.wait_count(viewer.count() + 60, 5);
    let total = publisher.stop() as usize;
    viewer.wait_count(total, 5);
    assert_eq!(viewer.assert_unbroken(), total);
}

#[test]
fn a_flood_from_a_foreign_address_is_not_amplified_and_a_running_show_goes_on() {
    let show = Show::begin();
    let stranger = Stranger::new(&show.server);
    let check = show.relay.captured(STUN)[0].clone();
    let hello = show.relay.captured(DTLS)[0].clone();
    let integrity = find(&check, &[0x00, 0x08, 0x00, 0x14]).unwrap() + 4;
    let wrong = flipped(&check, integrity);

    let before = drops_in_all(&show.server);
    for round in 0..300u32 {
        for datagram in [&wrong, &hello, &round.to_be_bytes().repeat(50)] {
            for _ in 0..5 {
                stranger.socket.send_to(datagram, show.server.udp).unwrap();
            }
        }
        std::thread::sleep(Duration::from_millis(3));
    }

    show.server.wait_until("the flood is counted", 5, |server| drops_in_all(server) - before >= 4000);
    assert!(stranger.hears_nothing());
    show.assert_unharmed();
}

/// Somebody whom the server has never validated.
struct Stranger<'a> {
    socket: UdpSocket,
    server: &'a Server,
}

impl<'a> Stranger<'a> {
    fn new(server: &'a Server) -> Self {
        Self { socket: UdpSocket::bind("127.0.0.1:0").unwrap(), server }
    }

    /// Sends, and waits until each was counted under this reason; there is no answer.
    #[track_caller]
    fn sends_in_vain(&self, datagrams: &[Vec<u8>], reason: &str) {
        let before = self.server.drops(reason);
        for datagram in datagrams {
            self.socket.send_to(datagram, self.server.udp).unwrap();
        }
        let count = datagrams.len() as u64;
        assert!(count > 0, "nothing to send for {reason}");
        self.server.wait_until(&format!("{count} drops are counted as {reason}"), 3, |server| {
            server.drops(reason) >= before + count
        });
        assert!(self.hears_nothing(), "the server answered a stranger ({reason})");
    }

    fn hears_nothing(&self) -> bool {
        self.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        self.socket.recv(&mut [0; 2048]).is_err()
    }
}

/// Sends from the validated address and waits until each was counted under this reason.
#[track_caller]
fn inside(show: &Show, datagrams: &[Vec<u8>], reason: &str) {
    inside_any(show, datagrams, &[reason]);
}

#[track_caller]
fn inside_any(show: &Show, datagrams: &[Vec<u8>], reasons: &[&str]) {
    let sum = |server: &Server| reasons.iter().map(|reason| server.drops(reason)).sum::<u64>();
    let before = sum(&show.server);
    for datagram in datagrams {
        show.relay.inject(datagram);
    }
    let count = datagrams.len() as u64;
    assert!(count > 0, "nothing to send for {reasons:?}");
    show.server.wait_until(&format!("{count} drops are counted as one of {reasons:?}"), 3, |server| {
        sum(server) >= before + count
    });
}

fn drops_in_all(server: &Server) -> u64 {
    server.metric("nearcast_drops_total", "reason=")
}

/// Up to 100 captured RTP or RTCP datagrams, chosen by their second byte (RFC 5761 §4).
fn media(show: &Show, wanted: impl Fn(u8) -> bool) -> Vec<Vec<u8>> {
    show.server.wait_until("the publisher has sent RTCP too", 10, |_| {
        show.relay.captured(MEDIA).iter().any(|datagram| wanted(datagram[1] & 0x7f))
    });
    let mut datagrams = show.relay.captured(MEDIA);
    datagrams.retain(|datagram| wanted(datagram[1] & 0x7f));
    datagrams.truncate(100);
    datagrams
}

/// The same RTP packet under a number that the replay window has not seen, so that the tag is what refuses it.
fn fresh_number(datagram: &[u8]) -> Vec<u8> {
    let mut copy = datagram.to_vec();
    let number = u16::from_be_bytes([copy[2], copy[3]]).wrapping_add(20_000);
    copy[2..4].copy_from_slice(&number.to_be_bytes());
    copy
}

fn flipped(datagram: &[u8], at: usize) -> Vec<u8> {
    let mut copy = datagram.to_vec();
    copy[at] ^= 0x01;
    copy
}

fn find(datagram: &[u8], pattern: &[u8]) -> Option<usize> {
    datagram.windows(pattern.len()).skip(20).position(|window| window == pattern).map(|at| at + 20)
}
