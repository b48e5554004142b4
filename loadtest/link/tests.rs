//! Two links against each other, over a path that loses what it is told to.

use super::*;
use rtp::ExtensionMap;

fn identity() -> Arc<Identity> {
    Identity::generate(&Profile::CHROMIUM).unwrap()
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn answer_of(link: &Link, setup: Setup, candidate: SocketAddr) -> Answer {
    let Local { credentials, fingerprint } = link.local().clone();
    let track = crate::signal::Track {
        mid: "0".to_owned(),
        kind: rtp::MediaKind::Video,
        formats: Vec::new(),
        extensions: ExtensionMap::new(),
        ssrcs: Vec::new(),
        rids: Vec::new(),
        transport_cc: false,
    };
    Answer {
        ufrag: credentials.ufrag,
        pwd: credentials.pwd,
        fingerprint,
        setup,
        ice_lite: false,
        candidates: vec![candidate],
        tracks: vec![track],
    }
}

/// Two links, their addresses 1 and 2, and what they said.
struct Wire {
    now: MonoTime,
    links: [Link; 2],
    random: Random,
    /// Loses one datagram in this many; zero loses none.
    loses_one_in: u64,
    lost: u32,
    connected: [Option<Profile>; 2],
    closed: [Option<CloseReason>; 2],
}

impl Wire {
    fn new(profiles: [&[Profile]; 2], seed: u64, loses_one_in: u64) -> Self {
        let link = |profiles, seed| {
            let identity = Identity::generate(profiles).unwrap();
            Link::new(Config { identity, random: Random::new(seed) })
        };
        let mut links = [link(profiles[0], seed), link(profiles[1], seed + 1)];
        let now = MonoTime::from_millis(1_000);
        let answers = [
            answer_of(&links[1], Setup::Passive, address(2)),
            answer_of(&links[0], Setup::Active, address(1)),
        ];
        for (link, answer) in links.iter_mut().zip(&answers) {
            link.set_remote(now, answer);
        }
        let random = Random::new(seed + 2);
        Self { now, links, random, loses_one_in, lost: 0, connected: [None; 2], closed: [None; 2] }
    }

    /// Carries everything that there is to carry, then goes to the next timer; `false` when nothing is left.
    fn step(&mut self) -> bool {
        self.carry();
        let Some(next) = self.links.iter().filter_map(Link::next_timeout).min() else { return false };
        self.now = self.now.max(next);
        self.links.iter_mut().for_each(|link| link.handle_timeout(self.now));
        true
    }

    fn carry(&mut self) {
        loop {
            let mut datagrams = Vec::new();
            for (index, link) in self.links.iter_mut().enumerate() {
                while let Some(output) = link.poll_output() {
                    match output {
                        Output::Transmit(to, datagram) => datagrams.push((index, to, datagram)),
                        Output::Connected(profile) => self.connected[index] = Some(profile),
                        Output::Closed(reason) => self.closed[index] = Some(reason),
                    }
                }
            }
            if datagrams.is_empty() {
                return;
            }
            for (sender, to, datagram) in datagrams {
                if self.loses_one_in > 0 && self.random.below(self.loses_one_in) == 0 {
                    self.lost += 1;
                    continue;
                }
                let receiver = 1 - sender;
                if to == address(receiver as u16 + 1) {
                    self.links[receiver].handle_datagram(self.now, address(sender as u16 + 1), &datagram);
                }
            }
        }
    }

    fn run_until(&mut self, limit: MonoTime) {
        self.carry();
        while self.now < limit && self.connected.contains(&None) && self.step() {
            self.carry();
        }
    }
}

fn packet() -> Vec<u8> {
    vec![0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3]
}

#[test]
fn two_links_connect_and_open_each_others_packets() {
    let mut wire = Wire::new([&Profile::CHROMIUM, &Profile::CHROMIUM], 1, 0);

    wire.run_until(MonoTime::from_millis(2_000));

    assert_eq!(wire.connected, [Some(Profile::Aes128CmSha1); 2], "the client's order decides");
    assert!(
        wire.now.since(MonoTime::from_millis(1_000)) < Duration::from_millis(100),
        "no timer was waited for"
    );
    for (sender, receiver) in [(0, 1), (1, 0)] {
        let mut sealed = packet();
        wire.links[sender].seal_rtp(&mut sealed).unwrap();
        let mut plain = Vec::new();
        assert_eq!(wire.links[receiver].handle_datagram(wire.now, address(1), &sealed), Inbound::Rtp);
        wire.links[receiver].open_rtp(&sealed, &mut plain).unwrap();
        assert_eq!(plain, packet());
    }
}

#[test]
fn a_hello_that_comes_before_our_own_check_is_answered_waits_for_it() {
    let mut wire = Wire::new([&Profile::CHROMIUM, &Profile::CHROMIUM], 1, 0);
    while wire.links[1].poll_output().is_some() {} // its first check is lost

    wire.run_until(MonoTime::from_millis(3_000));

    assert!(!wire.connected.contains(&None));
    let passed = wire.now.since(MonoTime::from_millis(1_000));
    assert!(passed < Duration::from_millis(500), "{passed:?}: the hello had to be sent again");
}

#[test]
fn the_first_profile_that_both_have_is_taken() {
    let mut wire = Wire::new([&Profile::CHROMIUM, &[Profile::Aes128Gcm]], 1, 0);

    wire.run_until(MonoTime::from_millis(2_000));

    assert_eq!(wire.connected, [Some(Profile::Aes128Gcm); 2]);
}

#[test]
fn links_connect_over_a_path_that_loses_a_tenth() {
    let mut lost = 0;

    for seed in 0..20 {
        let mut wire = Wire::new([&Profile::CHROMIUM, &Profile::CHROMIUM], seed, 10);
        wire.run_until(MonoTime::from_millis(11_000));

        assert!(!wire.connected.contains(&None), "seed {seed}: {:?}", wire.closed);
        lost += wire.lost;
    }

    assert!(lost > 20, "{lost}");
}

#[test]
fn a_certificate_that_is_not_the_answers_ends_the_session() {
    let mut wire = Wire::new([&Profile::CHROMIUM, &Profile::CHROMIUM], 1, 0);
    let stranger = Fingerprint::of("sha-256", b"stranger").unwrap();
    wire.links[0].remote = Some((Setup::Passive, stranger));

    wire.run_until(MonoTime::from_millis(3_000));

    assert_eq!(wire.connected[0], None);
    assert!(matches!(wire.closed[0], Some(CloseReason::DtlsFailed(_))));
    assert!(!wire.links[0].is_connected());
}

#[test]
fn a_link_that_closes_tells_the_other_and_sends_nothing_more() {
    let mut wire = Wire::new([&Profile::CHROMIUM, &Profile::CHROMIUM], 1, 0);
    wire.run_until(MonoTime::from_millis(2_000));

    wire.links[0].close(wire.now);
    wire.step();

    assert_eq!(wire.closed, [Some(CloseReason::Closed), Some(CloseReason::ClosedByPeer)]);
    assert_eq!(wire.links[0].next_timeout(), None);
    wire.links[0].handle_timeout(wire.now + Duration::from_secs(60));
    assert_eq!(wire.links[0].poll_output(), None);
}

#[test]
fn a_session_whose_other_side_is_silent_fails_by_ice() {
    let mut link = Link::new(Config { identity: identity(), random: Random::new(1) });
    let other = Link::new(Config { identity: identity(), random: Random::new(2) });
    link.set_remote(MonoTime::ZERO, &answer_of(&other, Setup::Passive, address(2)));

    let mut outputs = Vec::new();
    while let Some(at) = link.next_timeout() {
        link.handle_timeout(at);
        outputs.extend(std::iter::from_fn(|| link.poll_output()));
    }

    assert_eq!(outputs.last(), Some(&Output::Closed(CloseReason::IceFailed)));
    assert!(outputs.len() > 5, "it tried");
}

#[test]
fn a_handshake_that_nobody_answers_times_out() {
    let mut wire = Wire::new([&Profile::CHROMIUM, &Profile::CHROMIUM], 1, 0);
    // STUN passes, DTLS does not.
    let mut timed_out = None;
    while timed_out.is_none() {
        for index in 0..2 {
            while let Some(output) = wire.links[index].poll_output() {
                match output {
                    Output::Transmit(_, datagram) if classify(&datagram) == Kind::Stun => {
                        wire.links[1 - index].handle_datagram(wire.now, address(index as u16 + 1), &datagram);
                    }
                    Output::Closed(reason) if index == 0 => timed_out = Some(reason),
                    _ => {}
                }
            }
        }
        let Some(next) = wire.links[0].next_timeout() else { continue };
        wire.now = wire.now.max(next);
        wire.links.iter_mut().for_each(|link| link.handle_timeout(wire.now));
    }

    assert!(
        matches!(timed_out, Some(CloseReason::DtlsTimeout | CloseReason::DtlsFailed(_))),
        "{timed_out:?}"
    );
}

#[test]
fn garbage_harms_nobody() {
    let mut wire = Wire::new([&Profile::CHROMIUM, &Profile::CHROMIUM], 1, 0);
    let mut random = Random::new(9);

    for _ in 0..2_000 {
        let mut garbage = random.bytes::<64>();
        garbage[0] %= 64;
        let length = random.below(64) as usize;
        wire.links[0].handle_datagram(wire.now, address(2), &garbage[..length]);
    }
    wire.run_until(MonoTime::from_millis(3_000));

    assert!(!wire.connected.contains(&None));
}
