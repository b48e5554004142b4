//! The filter with the library behind it, against honest peers, broken networks and hostile datagrams.

use super::*;
use crate::dtls::HashAlgorithm;
use crate::dtls_peer::{DtlsPeer, Speaks};
use std::time::Duration;

/// Our version and that of the other side, in every pair that can agree.
const VERSIONS: [(Version, Speaks); 5] = [
    (Version::Only12, Speaks::Only12),
    (Version::Only12, Speaks::Auto),
    (Version::Auto, Speaks::Only12),
    (Version::Auto, Speaks::Only13),
    (Version::Auto, Speaks::Auto),
];

#[test]
fn both_sides_get_the_same_keys_in_every_version_and_role() {
    for (version, speaks) in VERSIONS {
        for role in [Role::Server, Role::Client] {
            let mut pair = Pair::new(role, version, speaks);

            pair.run();

            assert_eq!(pair.connected_profile(), Some("AEAD_AES_256_GCM"), "{role:?} {version:?} {speaks:?}");
        }
    }
}

#[test]
fn application_data_passes_both_ways_and_close_notify_ends_it() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        pair.run();

        pair.guard.send(pair.now, b"to them");
        pair.peer.send(b"to us");
        pair.run();
        assert_eq!(pair.peer.data.pop_front().unwrap(), b"to them");
        assert_eq!(pair.data.pop_front().unwrap(), b"to us");

        pair.guard.close(pair.now);
        pair.run();
        assert!(pair.peer.closed, "{version:?} {speaks:?}");
    }
}

#[test]
fn close_notify_of_the_peer_is_reported() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        pair.run();

        pair.peer.close();
        pair.run();

        assert!(pair.closed_by_peer, "{version:?} {speaks:?}");
    }
}

#[test]
fn asvs_17_2_8_fingerprint_checked() {
    for (version, speaks) in VERSIONS {
        for role in [Role::Server, Role::Client] {
            let mut pair = Pair::new(role, version, speaks);
            pair.guard.config.fingerprint = Fingerprint::of(HashAlgorithm::Sha256, b"another certificate");

            pair.run();

            assert_eq!(pair.failure, Some(Failure::FingerprintMismatch), "{role:?} {version:?} {speaks:?}");
            assert_eq!(pair.connected_profile(), None);
        }
    }
}

#[test]
fn stronger_fingerprints_are_compared_alike() {
    for algorithm in [HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
        let mut pair = Pair::new(Role::Server, Version::Auto, Speaks::Auto);
        pair.guard.config.fingerprint = pair.peer.fingerprint_by(algorithm);

        pair.run();

        assert!(pair.connected_profile().is_some());
    }
}

#[test]
fn a_client_whose_first_hello_is_lost_connects_within_half_a_second() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Client, version, speaks);
        pair.guard.start(pair.now);
        while pair.guard.poll_output().is_some() {}

        pair.run();

        assert!(pair.connected_profile().is_some());
        assert!(pair.now <= MonoTime::from_millis(500), "{:?}", pair.now);
    }
}

#[test]
fn handshakes_survive_loss_reorder_and_duplicates() {
    let mut connected = 0;
    for seed in 0..60 {
        let (version, speaks) = VERSIONS[seed as usize % VERSIONS.len()];
        let role = if seed % 2 == 0 { Role::Server } else { Role::Client };
        let mut dice = Dice(seed + 1);
        let mut pair = Pair::new(role, version, speaks);

        pair.run_over(|datagrams| dice.disturb(datagrams, 10));

        connected += usize::from(pair.connected_profile().is_some() && pair.peer.connected);
    }
    assert!(connected >= 57, "{connected} of 60 connected at 10 % loss");
}

#[test]
fn a_viewer_gets_an_aead_profile_whatever_the_order_of_its_list() {
    let pair = Pair::new(Role::Server, Version::Only12, Speaks::Only12);
    let mut hello = pair.hello();
    // Type 14 and two lengths that belong to each other: the random bytes of a hello may hold a 14 too.
    let begins = |w: &[u8]| matches!(w, [0, 14, 0, extension, 0, list] if *extension == list + 3);
    let at = hello.windows(6).position(begins).unwrap_or_else(|| panic!("no use_srtp in {hello:02x?}"));
    let list_len = usize::from(hello[at + 5]);
    hello[at + 6..at + 6 + list_len].rotate_right(2);
    assert_eq!(hello[at + 6..at + 8], [0, 1], "SHA1_80 stands first");
    let mut pair = pair;

    pair.guard.handle_datagram(pair.now, &hello).unwrap();

    let flight = pair.sent_by_guard().concat();
    assert!(find(&flight, &[0, 14, 0, 5, 0, 2, 0, 8, 0]).is_some(), "AES-256-GCM in the ServerHello");
}

#[test]
fn client_hello_in_three_datagrams_is_answered_in_every_order() {
    for (version, speaks) in VERSIONS {
        for order in [[0, 1, 2].as_slice(), &[2, 1, 0], &[1, 2, 0, 1, 0], &[1, 2, 1, 2, 0, 0]] {
            let mut pair = Pair::new(Role::Server, version, speaks);
            let parts = split_hello(&pair.hello(), 3);

            for &part in order {
                let _ = pair.guard.handle_datagram(pair.now, &parts[part]);
            }
            pair.run();

            assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?} {order:?}");
        }
    }
}

#[test]
fn client_hello_in_20_or_64_datagrams_is_answered() {
    for (version, speaks) in VERSIONS {
        for count in [20, 64] {
            let mut pair = Pair::new(Role::Server, version, speaks);
            for part in split_hello(&pair.hello(), count) {
                pair.guard.handle_datagram(pair.now, &part).unwrap();
            }
            pair.run();

            assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?} {count}");
        }
    }
}

#[test]
fn two_records_in_one_datagram_are_answered_in_both_orders() {
    for (version, speaks) in VERSIONS {
        for reversed in [false, true] {
            let mut pair = Pair::new(Role::Server, version, speaks);
            let mut parts = split_hello(&pair.hello(), 2);
            if reversed {
                parts.reverse();
            }

            pair.guard.handle_datagram(pair.now, &parts.concat()).unwrap();
            pair.run();

            assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?} reversed: {reversed}");
        }
    }
}

#[test]
fn two_fragments_in_one_record_are_answered() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let parts = split_hello(&pair.hello(), 2);
        let bodies = [&parts[0][13..], &parts[1][13..]].concat();

        pair.guard.handle_datagram(pair.now, &record(22, 0, &bodies)).unwrap();
        pair.run();

        assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?}");
    }
}

#[test]
fn half_a_client_hello_then_the_whole_is_answered() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let half = split_hello(&pair.hello(), 2).remove(0);

        pair.guard.handle_datagram(pair.now, &half).unwrap();
        pair.run();

        assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?}");
    }
}

#[test]
fn overlapping_fragments_of_a_client_hello_are_answered() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let hello = pair.hello();
        let len = hello.len() - 25;

        for (start, end) in [(0, len / 2 + 20), (len / 2 - 20, len)] {
            pair.guard.handle_datagram(pair.now, &fragment(&hello, start, end)).unwrap();
        }
        pair.run();

        assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?}");
    }
}

#[test]
fn the_first_third_then_the_whole_cut_elsewhere_is_answered() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let hello = pair.hello();

        pair.guard.handle_datagram(pair.now, &split_hello(&hello, 3)[0]).unwrap();
        for part in split_hello(&hello, 2) {
            pair.guard.handle_datagram(pair.now, &part).unwrap();
        }
        pair.run();

        assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?}");
    }
}

#[test]
fn a_client_hello_with_trailing_garbage_is_answered() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let datagram = [pair.hello(), vec![0xff; 40]].concat();

        assert_eq!(pair.guard.handle_datagram(pair.now, &datagram), Err(DropReason::DtlsMalformed));
        pair.run();

        assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?}");
    }
}

#[test]
fn of_two_client_hellos_the_first_is_served() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let other = Pair::new(Role::Server, version, speaks).hello();

        let hello = pair.peer.sent.pop_front().unwrap();
        pair.guard.handle_datagram(pair.now, &hello).unwrap();
        let _ = pair.guard.handle_datagram(pair.now, &other);
        pair.run();

        assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?}");
    }
}

#[test]
fn header_only_fragments_reach_no_library_and_hold_no_memory() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let empty = |at: u16, claimed: u32| {
            let [_, a, b, c] = claimed.to_be_bytes();
            let [o0, o1] = at.to_be_bytes();
            vec![1, a, b, c, 0, 0, 0, o0, o1, 0, 0, u8::from(claimed != 0)]
        };

        for number in 0..300_u16 {
            for claimed in [0, 1 << 11, 1 << 20] {
                let body: Vec<u8> = (0..110).flat_map(|at| empty(number * 110 + at, claimed)).collect();
                let _ = pair.guard.handle_datagram(pair.now, &record(22, 0, &body));
            }
        }

        assert!(pair.guard.filter.held_bytes() <= 65_536);
        assert_eq!(pair.guard.engines_made, 0, "{version:?} {speaks:?}");
    }
}

#[test]
fn one_byte_fragments_are_counted_and_bounded() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let hello = pair.hello();

        for number in 0..30_usize {
            let start = |at: usize| (number * 8 + at) % (hello.len() - 25);
            let datagram: Vec<u8> =
                (0..8_usize).flat_map(|at| fragment(&hello, start(at), start(at) + 1)).collect();
            let _ = pair.guard.handle_datagram(pair.now, &datagram);
        }
        assert_eq!(pair.guard.engines_made, 0);
        assert!(pair.guard.filter.held_bytes() <= 4_096);

        pair.run();
        assert!(pair.connected_profile().is_some(), "a whole hello still passes: {version:?} {speaks:?}");
    }
}

#[test]
fn future_messages_before_a_hello_are_dropped() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);

        for seq in 1..2_000_u16 {
            let outcome = pair.guard.handle_datagram(pair.now, &record(22, 0, &message(11, seq, &[7; 20])));
            assert!(outcome.is_err());
        }
        assert_eq!(pair.guard.filter.held_bytes(), 0);
        assert_eq!(pair.guard.engines_made, 0);
    }
}

#[test]
fn future_messages_after_a_hello_are_bounded() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let hello = pair.peer.sent.pop_front().unwrap();
        pair.guard.handle_datagram(pair.now, &hello).unwrap();

        for seq in 2..2_000_u16 {
            let _ = pair.guard.handle_datagram(pair.now, &record(22, 0, &message(11, seq, &[7; 1_300])));
            assert!(pair.guard.filter.held_bytes() <= 8 * 1_300, "{version:?} {speaks:?}");
        }
    }
}

#[test]
fn protected_records_before_a_hello_are_dropped_and_the_handshake_completes() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);

        for number in 0..20_000_u32 {
            let datagram = if number % 2 == 0 { record(23, 1, &[7; 1_387]) } else { vec![0x28; 1_400] };
            assert!(pair.guard.handle_datagram(pair.now, &datagram).is_err());
        }
        assert_eq!(pair.guard.engines_made, 0);
        pair.run();

        assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?}");
    }
}

#[test]
fn plaintext_alerts_data_and_change_cipher_specs_do_not_end_a_handshake() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let noise =
            [record(21, 0, &[2, 40]), record(21, 0, &[1, 0]), record(23, 0, b"data"), record(26, 0, &[0, 0])];
        let mut rounds = 0;

        pair.run_over(|datagrams| {
            rounds += 1;
            datagrams.splice(0..0, noise.iter().cycle().take(100).cloned());
        });

        assert!(rounds > 1);
        assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?}");

        let mut pair = Pair::new(Role::Server, version, speaks);
        for _ in 0..200 {
            assert!(pair.guard.handle_datagram(pair.now, &record(20, 0, &[1])).is_err());
        }
        pair.run();
        assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?}");
    }
}

#[test]
fn change_cipher_specs_in_mid_handshake_are_bounded() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let hello = pair.peer.sent.pop_front().unwrap();
        pair.guard.handle_datagram(pair.now, &hello).unwrap();

        let passed =
            (0..200).filter(|_| pair.guard.handle_datagram(pair.now, &record(20, 0, &[1])).is_ok()).count();

        assert!(passed <= super::super::filter::CHANGE_CIPHER_SPECS_MAX, "{passed}");
        assert_eq!(pair.failure, None);
    }
}

#[test]
fn a_client_hello_that_claims_16_megabytes_is_dropped() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let mut claim = message(1, 0, &[7; 1_000]);
        claim[1..4].copy_from_slice(&[0xff, 0xff, 0xff]);

        for offset in 0..29_u8 {
            claim[7] = offset;
            let outcome = pair.guard.handle_datagram(pair.now, &record(22, 0, &claim));
            assert_eq!(outcome, Err(DropReason::DtlsLimit));
        }
        assert_eq!(pair.guard.filter.held_bytes(), 0);
        pair.run();

        assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?}");
    }
}

#[test]
fn random_datagrams_never_end_the_process_nor_the_session() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let mut dice = Dice(42);

        for _ in 0..5_000 {
            let len = dice.below(200);
            let mut datagram: Vec<u8> = (0..len).map(|_| dice.below(256) as u8).collect();
            if let Some(first) = datagram.first_mut() {
                *first = 20 + *first % 44;
            }
            let _ = pair.guard.handle_datagram(pair.now, &datagram);
        }
        pair.run();

        assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?}");
    }
}

#[test]
fn mutated_client_hellos_wear_out_three_libraries_at_most() {
    for (version, speaks) in VERSIONS {
        let mut dice = Dice(7);
        let mut engines = 0;
        for _ in 0..300 {
            let mut pair = Pair::new_with(version, speaks, &shared_certificate());
            let mut hello = pair.hello();
            for _ in 0..1 + dice.below(4) {
                let at = 25 + dice.below(hello.len() - 25);
                hello[at] = dice.below(256) as u8;
            }

            for _ in 0..6 {
                let _ = pair.guard.handle_datagram(pair.now, &hello);
            }

            assert!(pair.guard.engines_made <= ENGINES_MAX);
            engines += pair.guard.engines_made;
        }
        assert!(engines > 300, "some were refused and made afresh: {engines}");
    }
}

#[test]
fn a_refused_client_hello_does_not_stop_the_next_one() {
    for (version, speaks) in [(Version::Only12, Speaks::Only12), (Version::Auto, Speaks::Only12)] {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let mut refused = pair.hello();
        // The body says DTLS 1.0.
        refused[26] = 255;

        assert_eq!(pair.guard.handle_datagram(pair.now, &refused), Err(DropReason::DtlsRefused));
        assert_eq!(pair.guard.handle_datagram(pair.now, &refused), Err(DropReason::DtlsRefused));
        pair.run();

        assert!(pair.connected_profile().is_some(), "{version:?} {speaks:?}");
    }
}

#[test]
fn mutated_handshakes_never_end_the_process() {
    let mut connected = 0;
    for seed in 0..100 {
        let (version, speaks) = VERSIONS[seed as usize % VERSIONS.len()];
        let mut dice = Dice(seed + 99);
        let mut pair = Pair::new_with(version, speaks, &shared_certificate());
        pair.deadline = MonoTime::from_millis(3_000);

        pair.run_over(|datagrams| {
            for datagram in datagrams {
                if dice.below(5) == 0 {
                    let at = dice.below(datagram.len());
                    datagram[at] ^= 1 << dice.below(8);
                }
            }
        });

        assert!(pair.guard.engines_made <= ENGINES_MAX);
        connected += usize::from(pair.connected_profile().is_some());
    }
    assert!(connected > 20, "{connected} of 100 connected all the same");
}

#[test]
fn a_connected_session_survives_replays_mutations_and_plaintext() {
    for (version, speaks) in VERSIONS {
        let mut pair = Pair::new(Role::Server, version, speaks);
        let mut seen = Vec::new();
        pair.run_over(|datagrams| seen.extend(datagrams.iter().cloned()));
        assert!(pair.connected_profile().is_some());
        let mut dice = Dice(5);

        for number in 0..3_000 {
            let mut datagram = seen[dice.below(seen.len())].clone();
            match number % 5 {
                0 => {
                    let at = dice.below(datagram.len());
                    datagram[at] ^= 1 << dice.below(8);
                }
                1 => datagram = record(21, 0, &[2, 40]),
                2 => datagram = record(22, 0, &message(1, dice.below(20) as u16, &[3; 60])),
                3 => {
                    datagram = (0..60).map(|at| if at == 0 { 0x2e } else { dice.below(256) as u8 }).collect()
                }
                _ => {}
            }
            let _ = pair.guard.handle_datagram(pair.now, &datagram);
        }
        pair.peer.send(b"still here");
        pair.run();

        assert_eq!(pair.failure, None, "{version:?} {speaks:?}");
        assert_eq!(pair.data.pop_front().unwrap(), b"still here");
    }
}

#[test]
fn an_unusable_certificate_is_reported_at_once() {
    let failure = fail_with(LinkError::NoUsableCertificate);

    assert_eq!(failure, Some(Failure::NoUsableCertificate));
}

#[test]
fn a_deadline_of_the_library_is_reported_at_once() {
    assert_eq!(fail_with(LinkError::Timeout), Some(Failure::Timeout));
}

#[test]
fn a_handshake_without_an_srtp_profile_is_a_failure() {
    let mut pair = Pair::new(Role::Server, Version::Auto, Speaks::Auto);
    let certificate = pair.peer.certificate_der();
    pair.guard.engine = Some(Box::new(Scripted {
        outputs: vec![LinkOutput::PeerCertificate(certificate), LinkOutput::Connected].into(),
        outcome: Ok(()),
    }));

    let hello = pair.hello();
    pair.guard.handle_datagram(pair.now, &hello).unwrap();
    pair.collect();

    assert_eq!(pair.failure, Some(Failure::NoSrtpProfile));
}

#[test]
fn keys_without_a_peer_certificate_are_never_used() {
    let mut pair = Pair::new(Role::Server, Version::Auto, Speaks::Auto);
    let keys = MasterKeys::new(crate::srtp::Profile::Aes128Gcm, &[1; 56]).unwrap();
    pair.guard.engine = Some(Box::new(Scripted {
        outputs: vec![LinkOutput::Keys(keys), LinkOutput::Connected, LinkOutput::Data(b"x".to_vec())].into(),
        outcome: Ok(()),
    }));

    let hello = pair.hello();
    let _ = pair.guard.handle_datagram(pair.now, &hello);
    pair.collect();

    assert_eq!(pair.failure, Some(Failure::FingerprintMismatch));
    assert!(pair.keys.is_none());
    assert!(pair.data.is_empty());
}

#[test]
fn the_library_gives_up_a_silent_handshake_after_ten_seconds() {
    let mut pair = Pair::new(Role::Client, Version::Auto, Speaks::Auto);
    pair.deadline = MonoTime::from_millis(20_000);
    pair.guard.start(pair.now);

    pair.run_over(Vec::clear);

    assert!(matches!(pair.failure, Some(Failure::Timeout | Failure::Handshake)), "{:?}", pair.failure);
    assert!(pair.now <= MonoTime::from_millis(11_000), "{:?}", pair.now);
}

/// A library that says what a test wants.
struct Scripted {
    outputs: VecDeque<LinkOutput>,
    outcome: Result<(), LinkError>,
}

impl DtlsLink for Scripted {
    fn handle_record(&mut self, _now: MonoTime, _record: &[u8]) -> Result<(), LinkError> {
        self.outcome
    }

    fn handle_timeout(&mut self, _now: MonoTime) -> Result<(), LinkError> {
        self.outcome
    }

    fn send(&mut self, _now: MonoTime, _data: &[u8]) -> Result<(), LinkError> {
        self.outcome
    }

    fn close(&mut self, _now: MonoTime) {}

    fn poll_output(&mut self) -> Option<LinkOutput> {
        self.outputs.pop_front()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        None
    }
}

fn fail_with(error: LinkError) -> Option<Failure> {
    let mut pair = Pair::new(Role::Server, Version::Only12, Speaks::Only12);
    pair.guard.engine = Some(Box::new(Scripted { outputs: VecDeque::new(), outcome: Err(error) }));
    let hello = pair.hello();
    assert_eq!(pair.guard.handle_datagram(pair.now, &hello), Err(DropReason::DtlsRefused));
    pair.collect();
    pair.failure
}

/// Our side, the other side and the time between them.
struct Pair {
    guard: Guard,
    peer: DtlsPeer,
    now: MonoTime,
    deadline: MonoTime,
    keys: Option<MasterKeys>,
    failure: Option<Failure>,
    closed_by_peer: bool,
    data: VecDeque<Vec<u8>>,
    to_peer: Vec<Vec<u8>>,
}

impl Pair {
    fn new(role: Role, version: Version, speaks: Speaks) -> Self {
        let certificate = Arc::new(Certificate::generate().unwrap());
        Self::with(role, version, speaks, certificate)
    }

    fn new_with(version: Version, speaks: Speaks, certificate: &Arc<Certificate>) -> Self {
        Self::with(Role::Server, version, speaks, Arc::clone(certificate))
    }

    fn with(role: Role, version: Version, speaks: Speaks, certificate: Arc<Certificate>) -> Self {
        let now = MonoTime::from_millis(1);
        let peer = DtlsPeer::new(speaks, role == Role::Server, now);
        let fingerprint = peer.fingerprint();
        Self {
            guard: Guard::new(Config { role, version, certificate, fingerprint }),
            peer,
            now,
            deadline: MonoTime::from_millis(9_000),
            keys: None,
            failure: None,
            closed_by_peer: false,
            data: VecDeque::new(),
            to_peer: Vec::new(),
        }
    }

    /// Returns the ClientHello that the other side has ready.
    fn hello(&self) -> Vec<u8> {
        self.peer.sent.front().unwrap().clone()
    }

    fn run(&mut self) {
        self.run_over(|_| {});
    }

    /// Exchanges datagrams, through a network that disturbs those to us, until both sides are quiet.
    fn run_over(&mut self, mut network: impl FnMut(&mut Vec<Vec<u8>>)) {
        self.guard.start(self.now);
        let mut quiet = 0;
        while quiet < 3 && self.now < self.deadline {
            self.collect();
            let mut to_guard: Vec<_> = self.peer.sent.drain(..).collect();
            let is_quiet = to_guard.is_empty() && self.to_peer.is_empty();
            network(&mut to_guard);
            for datagram in to_guard {
                let _ = self.guard.handle_datagram(self.now, &datagram);
            }
            for datagram in std::mem::take(&mut self.to_peer) {
                self.peer.handle(self.now, &datagram);
            }
            self.collect();
            let done = self.failure.is_some() || (self.keys.is_some() && self.peer.connected);
            quiet = if is_quiet && done { quiet + 1 } else { 0 };
            if is_quiet {
                self.now = self.now + Duration::from_millis(50);
                self.guard.handle_timeout(self.now);
                self.peer.handle_timeout(self.now);
            }
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.guard.poll_output() {
            match output {
                Output::Transmit(datagram) => self.to_peer.push(datagram),
                Output::Connected(keys) => self.keys = Some(keys),
                Output::Data(data) => self.data.push_back(data),
                Output::CloseNotify => self.closed_by_peer = true,
                Output::Failed(failure) => self.failure = Some(failure),
            }
        }
    }

    fn sent_by_guard(&mut self) -> Vec<Vec<u8>> {
        self.collect();
        std::mem::take(&mut self.to_peer)
    }

    /// Returns the profile, when both sides have the same keys.
    fn connected_profile(&self) -> Option<&'static str> {
        let (ours, theirs) = (self.keys.as_ref()?, self.peer.keys.as_ref()?);
        assert!(ours.is_same_as(theirs));
        Some(ours.profile().name())
    }
}

fn shared_certificate() -> Arc<Certificate> {
    static SHARED: std::sync::OnceLock<Arc<Certificate>> = std::sync::OnceLock::new();
    Arc::clone(SHARED.get_or_init(|| Arc::new(Certificate::generate().unwrap())))
}

/// A seeded generator of small numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    fn disturb(&mut self, datagrams: &mut Vec<Vec<u8>>, loss_percent: usize) {
        datagrams.retain(|_| self.below(100) >= loss_percent);
        if datagrams.len() > 1 && self.below(2) == 0 {
            let at = self.below(datagrams.len() - 1);
            datagrams.swap(at, at + 1);
        }
        if let Some(first) = datagrams.first().filter(|_| self.below(4) == 0).cloned() {
            datagrams.push(first);
        }
    }
}

fn record(content_type: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
    let [l0, l1] = (body.len() as u16).to_be_bytes();
    let mut record = vec![content_type, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 9, l0, l1];
    record.extend_from_slice(body);
    record
}

fn message(kind: u8, seq: u16, body: &[u8]) -> Vec<u8> {
    let [_, l0, l1, l2] = (body.len() as u32).to_be_bytes();
    let [s0, s1] = seq.to_be_bytes();
    let mut message = vec![kind, l0, l1, l2, s0, s1, 0, 0, 0, l0, l1, l2];
    message.extend_from_slice(body);
    message
}

/// Cuts a part out of a whole message in one record, as a record of its own.
fn fragment(whole: &[u8], start: usize, end: usize) -> Vec<u8> {
    let [_, o0, o1, o2] = (start as u32).to_be_bytes();
    let [_, f0, f1, f2] = ((end - start) as u32).to_be_bytes();
    let mut body = whole[13..19].to_vec();
    body.extend_from_slice(&[o0, o1, o2, f0, f1, f2]);
    body.extend_from_slice(&whole[25 + start..25 + end]);
    record(22, 0, &body)
}

fn split_hello(hello: &[u8], count: usize) -> Vec<Vec<u8>> {
    let len = hello.len() - 25;
    (0..count).map(|part| fragment(hello, len * part / count, len * (part + 1) / count)).collect()
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
