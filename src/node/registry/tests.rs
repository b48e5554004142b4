use transport::dtls::{Certificate, Role as DtlsRole};

use super::*;

const LIMITS: Limits = Limits {
    shards: 4,
    sessions_max: 10,
    max_viewers: 9,
    room_linger: Duration::from_secs(30),
    takeover_after: Duration::from_secs(1),
    unclaimed_max: Duration::from_secs(30),
};

const NO_PLACE: Refusal = Refusal::Full(Overload::Sessions { limit: LIMITS.sessions_max });

#[test]
fn a_viewer_is_refused_while_the_room_is_unknown_or_offline() {
    let mut registry = Registry::new(LIMITS);

    assert_eq!(registry.admit(at(0), viewer()).unwrap_err(), Refusal::RoomNotFound);

    let host = publisher();
    let host_id = host.id;
    registry.admit(at(0), host).unwrap();
    registry.admit(at(1), viewer()).unwrap();
    registry.end(at(2), host_id).unwrap();

    assert_eq!(registry.admit(at(3), viewer()).unwrap_err(), Refusal::Offline);
}

#[test]
fn a_publisher_is_taken_over_only_after_a_second_of_silence() {
    let mut registry = Registry::new(LIMITS);
    let host = publisher();
    let (host_id, ufrag) = (host.id, host.link.ice.ufrag.clone());
    registry.admit(at(10_000), host).unwrap();
    let Claim::Granted(seed) = registry.claim(&ufrag, 0) else { panic!("not granted") };
    seed.shared.note_media(at(20_000));

    assert_eq!(registry.admit(at(20_999), publisher()).unwrap_err(), Refusal::Conflict);
    let admitted = registry.admit(at(21_000), publisher()).unwrap();

    let replaced = admitted.replaced.unwrap();
    assert_eq!((replaced.session, replaced.owner), (host_id, Some(0)));
    assert!(registry.session(host_id).is_none());
}

#[test]
fn a_session_whose_other_side_left_is_known_for_one_more_delete() {
    let mut registry = Registry::new(LIMITS);
    let host = publisher();
    let id = host.id;
    registry.admit(at(0), host).unwrap();

    registry.part(at(1_000), id);

    assert!(registry.session(id).is_none());
    assert!(registry.farewell(at(1_000), id, Role::Viewer).is_none());
    assert!(registry.farewell(at(11_000), id, Role::Publisher).is_none());
    assert!(registry.farewell(at(10_999), id, Role::Publisher).is_some());
    registry.forget(id);
    assert!(registry.farewell(at(1_001), id, Role::Publisher).is_none());
}

#[test]
fn farewells_are_bounded() {
    let mut registry = Registry::new(LIMITS);
    let ids: Vec<_> = (0..1_025)
        .map(|_| {
            let host = publisher();
            let id = host.id;
            registry.admit(at(0), host).unwrap();
            registry.part(at(1), id);
            id
        })
        .collect();

    assert!(registry.farewell(at(2), ids[0], Role::Publisher).is_none());
    assert!(ids[1..].iter().all(|id| registry.farewell(at(2), *id, Role::Publisher).is_some()));
}

#[test]
fn a_takeover_begins_a_later_epoch() {
    let mut registry = Registry::new(LIMITS);
    let (first, second) = (publisher(), publisher());
    let ufrags = [first.link.ice.ufrag.clone(), second.link.ice.ufrag.clone()];
    let first_id = first.id;
    registry.admit(at(0), first).unwrap();
    let earlier = epoch(registry.claim(&ufrags[0], 0));
    registry.end(at(1), first_id);
    registry.admit(at(2), second).unwrap();

    assert!(epoch(registry.claim(&ufrags[1], 0)) > earlier);
}

#[test]
fn a_session_belongs_to_the_shard_that_claimed_it_first() {
    let mut registry = Registry::new(LIMITS);
    let host = publisher();
    let ufrag = host.link.ice.ufrag.clone();
    registry.admit(at(0), host).unwrap();

    assert!(matches!(registry.claim(&ufrag, 3), Claim::Granted(_)));
    assert!(matches!(registry.claim(&ufrag, 1), Claim::Taken(3)));
}

#[test]
fn a_viewer_too_many_for_its_shard_goes_to_another_and_a_publisher_stays_where_it_arrived() {
    let mut registry = Registry::new(Limits { shards: 2, ..LIMITS });
    let mut enter = |new: NewSession| {
        let ufrag = new.link.ice.ufrag.clone();
        registry.admit(at(0), new).unwrap();
        (registry.claim(&ufrag, 0), ufrag)
    };
    assert!(matches!(enter(publisher()).0, Claim::Granted(_)));
    assert!(matches!(enter(viewer()).0, Claim::Granted(_)));
    assert!(matches!(enter(viewer()).0, Claim::Granted(_)));

    let (claim, third) = enter(viewer());

    assert!(matches!(claim, Claim::Taken(1)));
    assert!(matches!(registry.claim(&third, 0), Claim::Taken(1)), "the first hand-over was lost");
    assert!(matches!(registry.claim(&third, 1), Claim::Granted(_)));
    assert!(matches!(registry.claim(&third, 1), Claim::Taken(1)));
    let publishers = (1..4).map(|room| {
        let new = publisher_of(room);
        let ufrag = new.link.ice.ufrag.clone();
        registry.admit(at(0), new).unwrap();
        registry.claim(&ufrag, 0)
    });
    assert!(publishers.into_iter().all(|claim| matches!(claim, Claim::Granted(_))));
}

#[test]
fn a_viewer_that_its_shard_never_took_is_swept_and_leaves_its_place() {
    let mut registry = Registry::new(Limits { shards: 2, ..LIMITS });
    let host = publisher();
    let host_ufrag = host.link.ice.ufrag.clone();
    registry.admit(at(0), host).unwrap();
    registry.claim(&host_ufrag, 0);
    let enter = |registry: &mut Registry| {
        let new = viewer();
        let (id, ufrag) = (new.id, new.link.ice.ufrag.clone());
        registry.admit(at(0), new).unwrap();
        (id, registry.claim(&ufrag, 0))
    };
    enter(&mut registry);
    enter(&mut registry);
    let (lost, claim) = enter(&mut registry);
    assert!(matches!(claim, Claim::Taken(1)));
    let mut ended = Vec::new();

    registry.sweep(at(30_000), &mut ended);

    assert!(who(&ended).contains(&(lost, Some(1))), "{ended:?}");
    assert!(matches!(enter(&mut registry).1, Claim::Taken(1)), "the other shard has nobody");
}

#[test]
fn viewers_outlive_their_publisher_by_the_linger_time() {
    let mut registry = Registry::new(LIMITS);
    let (host, guest) = (publisher(), viewer());
    let (host_id, guest_id, guest_ufrag) = (host.id, guest.id, guest.link.ice.ufrag.clone());
    registry.admit(at(0), host).unwrap();
    registry.admit(at(0), guest).unwrap();
    registry.claim(&guest_ufrag, 2);
    registry.end(at(1_000), host_id);
    let mut ended = Vec::new();

    registry.sweep(at(30_999), &mut ended);
    assert!(ended.is_empty());
    registry.sweep(at(31_000), &mut ended);

    assert_eq!(who(&ended), [(guest_id, Some(2))]);
    assert!(registry.room_status(&room()).is_none());
}

#[test]
fn a_publisher_who_comes_back_in_time_keeps_the_room() {
    let mut registry = Registry::new(LIMITS);
    let host = publisher();
    let host_id = host.id;
    registry.admit(at(0), host).unwrap();
    registry.end(at(1_000), host_id);
    registry.admit(at(20_000), publisher()).unwrap();
    let mut ended = Vec::new();

    registry.sweep(at(40_000), &mut ended);

    assert!(registry.room_status(&room()).unwrap().live);
}

#[test]
fn a_session_that_never_connects_is_swept() {
    let mut registry = Registry::new(LIMITS);
    let host = publisher();
    let (host_id, ufrag) = (host.id, host.link.ice.ufrag.clone());
    registry.admit(at(0), host).unwrap();
    let mut ended = Vec::new();

    registry.sweep(at(30_000), &mut ended);

    assert_eq!(who(&ended), [(host_id, None)]);
    assert!(registry.lookup(&ufrag).is_none());
}

#[test]
fn an_ice_restart_keeps_the_first_generation_and_the_one_before_and_no_more() {
    let mut registry = Registry::new(LIMITS);
    let host = publisher();
    let (host_id, first) = (host.id, host.link.ice.ufrag.clone());
    registry.admit(at(0), host).unwrap();
    let restarts = [(); 5].map(|()| Credentials::generate().unwrap());

    for (number, credentials) in restarts.iter().enumerate() {
        registry.restart_ice(host_id, credentials, number.to_string());
        assert!(registry.lookup(&credentials.ufrag).is_some());
        assert!(registry.lookup(&first).is_some(), "nobody may have answered a restart");
        let before = number.checked_sub(1).and_then(|before| restarts.get(before));
        assert!(before.is_none_or(|before| registry.lookup(&before.ufrag).is_some()));
    }

    let kept = restarts.each_ref().map(|one| registry.lookup(&one.ufrag).is_some());
    assert_eq!(kept, [false, false, false, true, true]);
    assert_eq!(registry.session(host_id).unwrap().etag, "4");
}

#[test]
fn the_node_holds_no_more_sessions_than_its_limit() {
    let mut registry = Registry::new(LIMITS);
    for name in 0..LIMITS.sessions_max {
        registry.admit(at(0), publisher_of(name)).unwrap();
    }

    assert_eq!(registry.admit(at(0), publisher()).unwrap_err(), NO_PLACE);
}

#[test]
fn viewers_leave_an_eighth_of_the_places_to_publishers_up_to_64() {
    for (sessions_max, kept) in [(1, 0), (2, 0), (7, 0), (8, 1), (10, 1), (16, 2), (20_000, 64)] {
        assert_eq!(kept_for_publishers(sessions_max), kept, "of {sessions_max}");
    }
    let mut registry = Registry::new(LIMITS);

    registry.admit(at(0), publisher()).unwrap();
    while registry.admit(at(0), viewer()).is_ok() {}

    assert_eq!(registry.sessions.len(), 9);
    assert_eq!(registry.admit(at(0), viewer()).unwrap_err(), NO_PLACE);
    assert!(registry.admit(at(0), publisher_of(1)).is_ok(), "a show may begin on a node full of viewers");
    assert_eq!(registry.admit(at(0), publisher_of(2)).unwrap_err(), NO_PLACE);
}

#[test]
fn a_node_of_few_sessions_lets_viewers_take_all_of_them() {
    let mut registry = Registry::new(Limits { sessions_max: 2, ..LIMITS });
    registry.admit(at(0), publisher()).unwrap();

    assert!(registry.admit(at(0), viewer()).is_ok());
    assert!(registry.admit(at(0), viewer()).is_err());
}

#[test]
fn a_publisher_takes_the_place_of_a_silent_one_on_a_full_node() {
    let mut registry = Registry::new(LIMITS);
    registry.admit(at(0), publisher()).unwrap();
    for name in 1..LIMITS.sessions_max {
        registry.admit(at(0), publisher_of(name)).unwrap();
    }

    let admitted = registry.admit(at(1_000), publisher()).unwrap();

    assert!(admitted.replaced.is_some());
    assert_eq!(registry.sessions.len(), LIMITS.sessions_max);
}

#[test]
fn a_credential_matches_only_itself() {
    let credential = Credential::new("s3cret");

    assert!(credential.matches("s3cret"));
    assert!(!credential.matches("s3cre") && !credential.matches("s3cret!") && !credential.matches(""));
    assert!(!format!("{credential:?}").contains("s3cret"));
}

fn at(millis: u64) -> MonoTime {
    MonoTime::from_millis(millis)
}

fn who(ended: &[Ended]) -> Vec<(SessionId, Option<ShardId>)> {
    ended.iter().map(|ended| (ended.session, ended.owner)).collect()
}

fn room() -> RoomName {
    RoomName::parse("demo").unwrap()
}

fn publisher() -> NewSession {
    session(NewMedia::Publisher(Vec::new()))
}

fn publisher_of(room: usize) -> NewSession {
    NewSession { room: RoomName::parse(&format!("room-{room}")).unwrap(), ..publisher() }
}

fn viewer() -> NewSession {
    session(NewMedia::Viewer(Vec::new()))
}

fn session(media: NewMedia) -> NewSession {
    let certificate = Arc::new(Certificate::generate().unwrap());
    NewSession {
        id: SessionId::draw().unwrap(),
        room: room(),
        credential: None,
        etag: "first".to_owned(),
        link: LinkConfig {
            ice: Credentials::generate().unwrap(),
            role: DtlsRole::Server,
            fingerprint: certificate.fingerprint().clone(),
            certificate,
            viewer: false,
        },
        media,
        began: at(0),
    }
}

fn epoch(claim: Claim) -> Epoch {
    match claim {
        Claim::Granted(seed) => match seed.media {
            SeedMedia::Publisher { epoch, .. } => epoch,
            SeedMedia::Viewer { .. } => panic!("a viewer has no epoch"),
        },
        Claim::Taken(_) | Claim::Gone => panic!("not granted"),
    }
}

#[test]
fn the_viewer_past_the_limit_is_refused_until_one_leaves() {
    let mut registry = Registry::new(Limits { max_viewers: 3, ..LIMITS });
    registry.admit(at(0), publisher()).unwrap();
    let mut last = None;
    for _ in 0..3 {
        let new = viewer();
        last = Some(new.id);
        registry.admit(at(0), new).unwrap();
    }

    let refused = registry.admit(at(0), viewer()).unwrap_err();
    assert_eq!(refused, Refusal::Full(Overload::Viewers { limit: 3 }));
    let second = NewSession { room: RoomName::parse("another").unwrap(), ..publisher() };
    assert!(registry.admit(at(0), second).is_ok(), "publishers are not counted");

    registry.end(at(0), last.unwrap());
    assert!(registry.admit(at(0), viewer()).is_ok());
}
