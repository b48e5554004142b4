use super::*;
use crate::stun::tests::{PWD, check};
use std::net::{Ipv4Addr, SocketAddr};

const OLD: &str = "OldUfrag:themtoo";
const NEW: &str = "NewUfrag:themtoo";
const NEW_PWD: &str = "ABCDEFGHIJKLMNOPQRSTUVWX";

#[test]
fn a_valid_check_validates_its_path_and_only_a_nomination_selects_it() {
    let mut ice = agent();

    ice.handle_stun(at(0), path(1), &check(OLD, PWD).build()).unwrap();
    let selected_by_check = ice.selected();
    ice.handle_stun(at(1), path(1), &check(OLD, PWD).nominating().build()).unwrap();

    assert!(ice.is_validated(&path(1)));
    assert!(!ice.is_validated(&path(2)));
    assert_eq!(selected_by_check, None);
    assert_eq!(ice.selected(), Some(path(1)));
}

#[test]
fn the_latest_nomination_wins() {
    let mut ice = agent();
    for host in [1, 2, 1, 3] {
        ice.handle_stun(at(0), path(host), &check(OLD, PWD).nominating().build()).unwrap();
        assert_eq!(ice.selected(), Some(path(host)));
    }
    ice.handle_stun(at(1), path(2), &check(OLD, PWD).build()).unwrap();
    assert_eq!(ice.selected(), Some(path(3)));
}

#[test]
fn a_wrong_integrity_or_name_changes_nothing_and_is_not_answered() {
    let mut ice = agent();

    let guess = ice.handle_stun(at(0), path(1), &check(OLD, "a-guess-of-the-password").nominating().build());
    let stranger = ice.handle_stun(at(0), path(1), &check("Stranger:themtoo", PWD).nominating().build());
    let garbage = ice.handle_stun(at(0), path(1), &[0; 40]);

    assert_eq!(guess.err(), Some(DropReason::StunIntegrity));
    assert_eq!(stranger.err(), Some(DropReason::StunUnknownUser));
    assert_eq!(garbage.err(), Some(DropReason::StunMalformed));
    assert_eq!((ice.selected(), ice.pair_count()), (None, 0));
}

#[test]
fn one_remote_address_over_udp_and_tcp_is_two_paths() {
    let mut ice = agent();
    let remote: SocketAddr = "203.0.113.9:9".parse().unwrap();

    ice.handle_stun(at(0), Path::tcp(4, remote), &check(OLD, PWD).build()).unwrap();

    assert!(ice.is_validated(&Path::tcp(4, remote)));
    assert!(!ice.is_validated(&Path::udp(0, remote)));
    assert!(!ice.is_validated(&Path::tcp(5, remote)));
}

#[test]
fn pairs_are_bounded_and_the_selected_one_survives_the_crowd() {
    let mut ice = agent();
    ice.handle_stun(at(0), path(1), &check(OLD, PWD).nominating().build()).unwrap();

    for host in 2..=100 {
        ice.handle_stun(at(u64::from(host)), path(host), &check(OLD, PWD).build()).unwrap();
    }

    assert_eq!(ice.pair_count(), PAIRS_MAX);
    assert!(ice.is_validated(&path(1)));
    assert!(!ice.is_validated(&path(2)));
    assert!(ice.is_validated(&path(100)));
}

#[test]
fn a_session_without_checks_expires_after_thirty_seconds() {
    let mut ice = agent();
    assert_eq!(ice.next_timeout(), Some(at(30_000)));
    ice.handle_stun(at(10_000), path(1), &check(OLD, PWD).nominating().build()).unwrap();
    assert_eq!(ice.next_timeout(), Some(at(40_000)));

    ice.handle_timeout(at(39_999));
    assert!(!ice.is_expired());
    assert!(ice.is_validated(&path(1)));
    ice.handle_timeout(at(40_000));

    assert!(ice.is_expired());
    assert_eq!((ice.selected(), ice.next_timeout()), (None, None));
    let late = ice.handle_stun(at(40_001), path(1), &check(OLD, PWD).build());
    assert_eq!(late.err(), Some(DropReason::Closed));
}

#[test]
fn a_pair_that_is_checked_no_more_is_forgotten_while_another_lives() {
    let mut ice = agent();
    ice.handle_stun(at(0), path(1), &check(OLD, PWD).nominating().build()).unwrap();
    ice.handle_stun(at(20_000), path(2), &check(OLD, PWD).nominating().build()).unwrap();

    ice.handle_timeout(at(30_000));

    assert!(!ice.is_validated(&path(1)));
    assert_eq!(ice.selected(), Some(path(2)));
    assert!(!ice.is_expired());
    assert_eq!(ice.next_timeout(), Some(at(50_000)));
}

#[test]
fn timeouts_that_are_early_or_repeated_do_no_harm() {
    let mut ice = agent();
    ice.handle_stun(at(5_000), path(1), &check(OLD, PWD).nominating().build()).unwrap();

    for now in [0, 1, 1, 5_000, 34_999, 2] {
        ice.handle_timeout(at(now));
    }

    assert_eq!(ice.selected(), Some(path(1)));
}

#[test]
fn a_restart_keeps_the_old_credentials_until_a_valid_check_uses_the_new() {
    let mut ice = agent();
    ice.handle_stun(at(0), path(1), &check(OLD, PWD).nominating().build()).unwrap();

    ice.restart(credentials("NewUfrag", NEW_PWD));
    assert!(ice.accepts_ufrag("OldUfrag") && ice.accepts_ufrag("NewUfrag"));
    ice.handle_stun(at(1), path(1), &check(OLD, PWD).build()).unwrap();
    let guess = ice.handle_stun(at(2), path(2), &check(NEW, PWD).nominating().build());
    assert_eq!(guess.err(), Some(DropReason::StunIntegrity));
    assert!(ice.accepts_ufrag("OldUfrag"), "a failed check must not end the old credentials");

    ice.handle_stun(at(3), path(2), &check(NEW, NEW_PWD).nominating().build()).unwrap();

    assert!(!ice.accepts_ufrag("OldUfrag") && ice.accepts_ufrag("NewUfrag"));
    let old = ice.handle_stun(at(4), path(1), &check(OLD, PWD).build());
    assert_eq!(old.err(), Some(DropReason::StunUnknownUser));
    assert_eq!(ice.selected(), Some(path(2)));
}

#[test]
fn restarts_that_nobody_answers_leave_the_credentials_in_use_and_the_newest() {
    let mut ice = agent();
    for ufrag in ["Lost0001", "Lost0002", "NewUfrag"] {
        ice.restart(credentials(ufrag, NEW_PWD));
    }

    let accepted = ["OldUfrag", "Lost0001", "Lost0002", "NewUfrag"].map(|ufrag| ice.accepts_ufrag(ufrag));

    assert_eq!(accepted, [true, false, false, true]);
    ice.handle_stun(at(1), path(1), &check(OLD, PWD).build()).unwrap();
    ice.handle_stun(at(2), path(1), &check(NEW, NEW_PWD).build()).unwrap();
}

#[test]
fn credentials_are_long_random_and_made_of_ice_characters() {
    let one = Credentials::generate().unwrap();
    let other = Credentials::generate().unwrap();

    assert_ne!(one, other);
    assert_eq!((one.ufrag.len(), one.pwd.len()), (8, 24));
    assert!(one.ufrag.bytes().chain(one.pwd.bytes()).all(|byte| ICE_CHARS.contains(&byte)));
    assert!(!format!("{one:?}").contains(&one.pwd));
}

#[test]
fn every_bit_of_the_entropy_counts() {
    let base = Credentials::from_entropy(&[0; ENTROPY_LEN]);
    let mut seen = std::collections::BTreeSet::from([(base.ufrag, base.pwd)]);
    for bit in 0..ENTROPY_LEN * 8 {
        let mut entropy = [0; ENTROPY_LEN];
        entropy[bit / 8] = 1 << (bit % 8);
        let credentials = Credentials::from_entropy(&entropy);
        assert!(seen.insert((credentials.ufrag, credentials.pwd)), "bit {bit}");
    }
}

fn agent() -> IceLite {
    IceLite::new(credentials("OldUfrag", PWD), at(0))
}

fn credentials(ufrag: &str, pwd: &str) -> Credentials {
    Credentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() }
}

fn path(host: u8) -> Path {
    Path::udp(0, SocketAddr::from((Ipv4Addr::new(203, 0, 113, host), 50_000)))
}

fn at(millis: u64) -> MonoTime {
    MonoTime::from_millis(millis)
}
