use super::*;

const OURS: (&str, &str) = ("ours", "our-password");
const THEIRS: (&str, &str) = ("them", "their-password");

fn credentials((ufrag, pwd): (&str, &str)) -> Credentials {
    Credentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn agent(candidates: &[SocketAddr]) -> Agent {
    let mut agent = Agent::new(credentials(OURS), Random::new(7));
    agent.begin(MonoTime::ZERO, credentials(THEIRS), candidates);
    agent
}

fn checks_at(agent: &mut Agent, now: MonoTime) -> Vec<Outgoing> {
    let mut out = Vec::new();
    agent.handle_timeout(now, &mut out);
    out
}

/// What a lite agent answers to a check of ours.
fn answer(check: &[u8]) -> Vec<u8> {
    let username = format!("{}:{}", THEIRS.0, OURS.0);
    let Received::Request { transaction } = stun::read(check, &username, THEIRS.1, "") else {
        panic!("a check of ours that the other side cannot read");
    };
    stun::success(transaction, address(9), THEIRS.1).unwrap()
}

fn nominates(check: &[u8]) -> bool {
    // USE-CANDIDATE has no value: type 0x0025, length zero.
    check.windows(4).any(|bytes| bytes == [0x00, 0x25, 0x00, 0x00])
}

#[test]
fn the_only_candidate_is_nominated_by_its_first_check_and_selected_by_the_answer() {
    let mut agent = agent(&[address(1)]);

    let checks = checks_at(&mut agent, MonoTime::ZERO);
    let selected = agent.handle(MonoTime::from_millis(5), address(1), &answer(&checks[0].1), &mut Vec::new());

    assert!(selected && nominates(&checks[0].1));
    assert_eq!(agent.selected(), Some(address(1)));
    assert_eq!(agent.next_timeout(), Some(MonoTime::from_millis(2_505)), "consent comes next");
}

#[test]
fn of_several_candidates_the_one_that_answers_is_nominated() {
    let mut agent = agent(&[address(1), address(2)]);
    let checks = checks_at(&mut agent, MonoTime::ZERO);
    assert!(checks.iter().all(|(_, check)| !nominates(check)));

    agent.handle(MonoTime::from_millis(5), address(2), &answer(&checks[1].1), &mut Vec::new());
    let nominations = checks_at(&mut agent, MonoTime::from_millis(5));

    assert_eq!(nominations.len(), 1);
    assert_eq!(nominations[0].0, address(2));
    assert!(nominates(&nominations[0].1));
}

#[test]
fn a_check_that_nobody_answers_is_repeated_ever_more_rarely_until_the_agent_gives_up() {
    let mut agent = agent(&[address(1)]);

    let mut times = Vec::new();
    while let Some(at) = agent.next_timeout() {
        if !checks_at(&mut agent, at).is_empty() {
            times.push(at.as_nanos() / 1_000_000);
        }
    }

    assert_eq!(times[..6], [0, 100, 300, 700, 1_500, 3_100]);
    assert!(times.iter().all(|at| *at < 15_000));
    assert!(agent.has_failed());
}

#[test]
fn a_full_agents_check_is_answered_and_its_address_checked_in_turn() {
    let mut agent = agent(&[]);
    let check = stun::check(&Check {
        username: "ours:them",
        password: OURS.1,
        tie_breaker: 1,
        nominates: false,
        transaction: [9; 12],
    });
    let mut out = Vec::new();

    let selected = agent.handle(MonoTime::from_millis(1), address(4), &check.unwrap(), &mut out);
    let checks = checks_at(&mut agent, MonoTime::from_millis(1));

    assert!(!selected, "a check of theirs selects nothing");
    let [(to, response)] = out.as_slice() else { panic!("one answer expected") };
    assert_eq!(*to, address(4));
    assert!(
        matches!(stun::read(response, "", "", OURS.1), Received::Success { transaction } if transaction == [9; 12])
    );
    assert_eq!(checks.iter().map(|check| check.0).collect::<Vec<_>>(), [address(4)]);
}

#[test]
fn consent_expires_when_nothing_comes_back_for_half_a_minute() {
    let mut agent = agent(&[address(1)]);
    let checks = checks_at(&mut agent, MonoTime::ZERO);
    agent.handle(MonoTime::ZERO, address(1), &answer(&checks[0].1), &mut Vec::new());

    let mut consent_checks = 0;
    while let Some(at) = agent.next_timeout().filter(|at| *at < MonoTime::from_millis(29_999)) {
        consent_checks += checks_at(&mut agent, at).len();
    }
    let alive = !agent.has_failed();
    checks_at(&mut agent, MonoTime::from_millis(30_000));

    assert_eq!((consent_checks, alive), (11, true));
    assert!(agent.has_failed());
}

#[test]
fn strangers_cannot_make_the_agent_select_or_remember_them() {
    let mut agent = agent(&[address(1)]);
    checks_at(&mut agent, MonoTime::ZERO);
    let forged = stun::success([1; 12], address(9), THEIRS.1).unwrap();
    let unsigned = stun::check(&Check {
        username: "ours:them",
        password: "guessed",
        tie_breaker: 1,
        nominates: true,
        transaction: [9; 12],
    });
    let mut out = Vec::new();

    let selected = agent.handle(MonoTime::ZERO, address(1), &forged, &mut out);
    agent.handle(MonoTime::ZERO, address(2), &unsigned.unwrap(), &mut out);

    assert!(!selected && out.is_empty());
    assert_eq!(agent.pairs.len(), 1);
}
