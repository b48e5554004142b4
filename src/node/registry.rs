//! Who is where: rooms, sessions, and which shard owns what.
//!
//! One lock guards it. It is taken by HTTP requests, by the first check of a session and by the once-a-second
//! sweep; never for a packet. Invariants: a session's secret id, its ICE user fragments and its room entry appear
//! and vanish together; a room has at most one publisher; a room without a publisher lives for the linger time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rtp::negotiation::{PublishedTrack, ViewedTrack};
use rtp::{MediaKind, MonoTime};
use sfu::track::Epoch;
use sfu::viewer::LayerRequest;
use tokio::sync::watch;
use transport::ice::Credentials;
use transport::link::LinkConfig;

use crate::admission::Overload;
use crate::api::{LayerStatus, Role, RoomStatus, SessionStatus};
use crate::explain::timeline::Timeline;
use crate::explain::{self, Explanation, Head};
use crate::name::{PublicId, RoomId, RoomName, SessionId};

mod farewells;
mod spread;

pub(crate) use self::farewells::Farewell;
use self::farewells::Farewells;
use self::spread::Spread;

/// A shard's number, from zero.
pub(crate) type ShardId = usize;

/// What a shard needs to build a session at its first valid check.
#[derive(Debug)]
pub(crate) struct Seed {
    pub(crate) session: SessionId,
    pub(crate) public_id: PublicId,
    pub(crate) room: RoomId,
    pub(crate) room_name: RoomName,
    pub(crate) link: LinkConfig,
    pub(crate) media: SeedMedia,
    pub(crate) shared: Arc<Shared>,
    pub(crate) timeline: Timeline,
    /// What the viewer wished before it connected.
    pub(crate) layer: Option<LayerRequest>,
}

/// The media that was negotiated.
#[derive(Debug)]
pub(crate) enum SeedMedia {
    Publisher { epoch: Epoch, tracks: Vec<PublishedTrack> },
    Viewer { tracks: Vec<ViewedTrack> },
}

impl SeedMedia {
    pub(crate) const fn role(&self) -> Role {
        match self {
            Self::Publisher { .. } => Role::Publisher,
            Self::Viewer { .. } => Role::Viewer,
        }
    }
}

/// What the owning shard tells the rest about a session, without a lock.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    last_media_nanos: AtomicU64,
}

impl Shared {
    /// Notes that media arrived.
    pub(crate) fn note_media(&self, at: MonoTime) {
        self.last_media_nanos.store(at.as_nanos(), Ordering::Relaxed);
    }

    fn last_media(&self) -> MonoTime {
        MonoTime::from_nanos(self.last_media_nanos.load(Ordering::Relaxed))
    }
}

/// A session from its answer to its end.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) public_id: PublicId,
    pub(crate) role: Role,
    pub(crate) room: RoomName,
    pub(crate) credential: Option<Credential>,
    pub(crate) etag: String,
    /// The shard that it goes to, once a valid check has come.
    pub(crate) owner: Option<ShardId>,
    /// The first media section, which fragments name.
    pub(crate) section: FirstSection,
    created: MonoTime,
    /// Until its shard has taken it.
    seed: Option<Box<Seed>>,
    shared: Arc<Shared>,
    /// The present ICE generation last; at most three.
    generations: Vec<Credentials>,
}

/// The first media section of an answer.
#[derive(Clone, Debug)]
pub(crate) struct FirstSection {
    pub(crate) mid: String,
    pub(crate) kind: &'static str,
}

impl FirstSection {
    fn of(media: &NewMedia) -> Self {
        let first = match media {
            NewMedia::Publisher(tracks) => tracks.first().map(|track| (&track.mid, track.kind)),
            NewMedia::Viewer(tracks) => tracks.first().map(|track| (&track.mid, track.kind)),
        };
        let (mid, kind) =
            first.map_or_else(|| ("0".to_owned(), MediaKind::Audio), |(mid, kind)| (mid.clone(), kind));
        let kind = match kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        };
        Self { mid, kind }
    }
}

/// The bearer that a session was created with. It reaches no log.
pub(crate) struct Credential(Box<[u8]>);

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credential(secret)")
    }
}

impl Credential {
    pub(crate) fn new(bearer: &str) -> Self {
        Self(bearer.as_bytes().into())
    }

    /// Compares without a shortcut at the first difference.
    pub(crate) fn matches(&self, bearer: &str) -> bool {
        let pairs = self.0.iter().zip(bearer.as_bytes());
        let difference = pairs.fold(0, |sum, (left, right)| sum | (left ^ right));
        difference == 0 && self.0.len() == bearer.len()
    }
}

#[derive(Debug)]
struct Room {
    id: RoomId,
    publisher: Option<SessionId>,
    viewers: usize,
    next_epoch: u32,
    offline_since: Option<MonoTime>,
    status: watch::Sender<RoomStatus>,
}

/// A new session, complete but for its place in the registry.
#[derive(Debug)]
pub(crate) struct NewSession {
    pub(crate) id: SessionId,
    pub(crate) room: RoomName,
    pub(crate) credential: Option<Credential>,
    pub(crate) etag: String,
    pub(crate) link: LinkConfig,
    pub(crate) media: NewMedia,
    /// When the request that asks for it began.
    pub(crate) began: MonoTime,
}

/// What a new session will send or receive.
#[derive(Debug)]
pub(crate) enum NewMedia {
    Publisher(Vec<PublishedTrack>),
    Viewer(Vec<ViewedTrack>),
}

/// Why a session did not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    RoomNotFound,
    Offline,
    Conflict,
    Full(Overload),
}

/// A session that got in.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) public_id: PublicId,
    /// The publisher that has to go, with its shard.
    pub(crate) replaced: Option<Ended>,
}

/// A session that has left the registry; its shard must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) session: SessionId,
    pub(crate) public_id: PublicId,
    pub(crate) owner: Option<ShardId>,
}

/// What a check's user fragment leads to.
pub(crate) struct Lookup {
    pub(crate) session: SessionId,
    pub(crate) pwd: String,
}

/// What became of a shard's claim.
#[derive(Debug)]
pub(crate) enum Claim {
    /// The session is this shard's; build it.
    Granted(Box<Seed>),
    /// It is another shard's.
    Taken(ShardId),
    /// It ended in between.
    Gone,
}

/// Bounds and times of the registry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) shards: usize,
    pub(crate) sessions_max: usize,
    /// Viewers of all rooms together.
    pub(crate) max_viewers: usize,
    /// How long a room and its viewers stay without a publisher.
    pub(crate) room_linger: Duration,
    /// A publisher silent for this long may be taken over.
    pub(crate) takeover_after: Duration,
    /// A session whose first check does not come ends after this.
    pub(crate) unclaimed_max: Duration,
}

/// The registry; see the module's text.
#[derive(Debug)]
pub(crate) struct Registry {
    limits: Limits,
    rooms: BTreeMap<RoomName, Room>,
    sessions: HashMap<SessionId, Session>,
    by_public: HashMap<PublicId, SessionId>,
    by_ufrag: HashMap<String, SessionId>,
    farewells: Farewells,
    spread: Spread,
    next_public: u64,
    next_room: u32,
}

impl Registry {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            rooms: BTreeMap::new(),
            sessions: HashMap::new(),
            by_public: HashMap::new(),
            by_ufrag: HashMap::new(),
            farewells: Farewells::default(),
            spread: Spread::new(limits.shards),
            next_public: 1,
            next_room: 1,
        }
    }

    /// Lets a publisher in, over a silent one where there is one.
    pub(crate) fn admit(&mut self, now: MonoTime, new: NewSession) -> Result<Admitted, Refusal> {
        self.check(now, &new)?;
        let replaced = match new.media {
            NewMedia::Publisher(_) => self.open_room(&new.room).publisher.and_then(|old| self.end(now, old)),
            NewMedia::Viewer(_) => None,
        };
        let public_id = PublicId(self.next_public);
        self.next_public = self.next_public.saturating_add(1);
        let session = self.seat(now, public_id, new);
        self.publish_status(&session);
        Ok(Admitted { public_id, replaced })
    }

    fn check(&self, now: MonoTime, new: &NewSession) -> Result<(), Refusal> {
        let room = self.rooms.get(&new.room);
        match new.media {
            NewMedia::Publisher(_) => {
                let rival = room.and_then(|room| room.publisher).and_then(|id| self.sessions.get(&id));
                match rival {
                    Some(rival) if !self.is_silent(now, rival) => Err(Refusal::Conflict),
                    // It gets the place of the silent one.
                    Some(_) => Ok(()),
                    None => self.check_places(0),
                }
            }
            NewMedia::Viewer(_) => match room {
                None => Err(Refusal::RoomNotFound),
                Some(room) if room.publisher.is_none() => Err(Refusal::Offline),
                Some(_) if self.census().1 >= self.limits.max_viewers => {
                    Err(Refusal::Full(Overload::Viewers { limit: self.limits.max_viewers }))
                }
                Some(_) => self.check_places(kept_for_publishers(self.limits.sessions_max)),
            },
        }
    }

    /// Says whether there is a place besides those that are kept.
    fn check_places(&self, kept: usize) -> Result<(), Refusal> {
        let limit = self.limits.sessions_max;
        if self.sessions.len() >= limit.saturating_sub(kept) {
            return Err(Refusal::Full(Overload::Sessions { limit }));
        }
        Ok(())
    }

    fn is_silent(&self, now: MonoTime, session: &Session) -> bool {
        let last = session.shared.last_media().max(session.created);
        now.since(last) >= self.limits.takeover_after
    }

    fn open_room(&mut self, name: &RoomName) -> &mut Room {
        let next_room = &mut self.next_room;
        self.rooms.entry(name.clone()).or_insert_with(|| {
            let id = RoomId(*next_room);
            *next_room = next_room.wrapping_add(1);
            let status = RoomStatus { room: name.to_string(), ..RoomStatus::default() };
            Room {
                id,
                publisher: None,
                viewers: 0,
                next_epoch: 1,
                offline_since: None,
                status: watch::Sender::new(status),
            }
        })
    }

    fn seat(&mut self, now: MonoTime, public_id: PublicId, new: NewSession) -> RoomName {
        let shared = Arc::new(Shared::default());
        let generation = new.link.ice.clone();
        let section = FirstSection::of(&new.media);
        let room = self.open_room(&new.room);
        let media = match new.media {
            NewMedia::Publisher(tracks) => {
                let epoch = Epoch(room.next_epoch);
                room.next_epoch = room.next_epoch.wrapping_add(1);
                room.publisher = Some(new.id);
                room.offline_since = None;
                SeedMedia::Publisher { epoch, tracks }
            }
            NewMedia::Viewer(tracks) => {
                room.viewers = room.viewers.saturating_add(1);
                SeedMedia::Viewer { tracks }
            }
        };
        let role = media.role();
        let seed = Box::new(Seed {
            session: new.id,
            public_id,
            room: room.id,
            room_name: new.room.clone(),
            link: new.link,
            media,
            shared: Arc::clone(&shared),
            timeline: Timeline { began: new.began, answered: now, reached: None, connected: None },
            layer: None,
        });
        self.by_ufrag.insert(generation.ufrag.clone(), new.id);
        self.by_public.insert(public_id, new.id);
        let session = Session {
            public_id,
            role,
            room: new.room.clone(),
            credential: new.credential,
            etag: new.etag,
            owner: None,
            section,
            created: now,
            seed: Some(seed),
            shared,
            generations: vec![generation],
        };
        self.sessions.insert(new.id, session);
        new.room
    }

    /// Ends a session: its URLs and user fragments stop existing at once.
    pub(crate) fn end(&mut self, now: MonoTime, id: SessionId) -> Option<Ended> {
        let session = self.unseat(now, id)?;
        Some(Ended { session: id, public_id: session.public_id, owner: session.owner })
    }

    /// Ends a session whose other side has closed the link; its DELETE may still come.
    pub(crate) fn part(&mut self, now: MonoTime, id: SessionId) {
        if let Some(Session { role, credential, .. }) = self.unseat(now, id) {
            self.farewells.push(Farewell { id, role, parted: now, credential });
        }
    }

    /// Returns what is left of a session whose other side closed the link a moment ago.
    pub(crate) fn farewell(&self, now: MonoTime, id: SessionId, role: Role) -> Option<&Farewell> {
        self.farewells.find(now, id, role)
    }

    /// Takes the DELETE of such a session; the next one finds nothing.
    pub(crate) fn forget(&mut self, id: SessionId) {
        self.farewells.remove(id);
    }

    fn unseat(&mut self, now: MonoTime, id: SessionId) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        self.by_public.remove(&session.public_id);
        for generation in &session.generations {
            self.by_ufrag.remove(&generation.ufrag);
        }
        if let Some(room) = self.rooms.get_mut(&session.room) {
            match session.role {
                Role::Viewer => {
                    room.viewers = room.viewers.saturating_sub(1);
                    session.owner.into_iter().for_each(|owner| self.spread.leave(owner));
                }
                Role::Publisher if room.publisher == Some(id) => {
                    room.publisher = None;
                    room.offline_since = Some(now);
                    room.status.send_modify(|status| status.layers.clear());
                }
                Role::Publisher => {}
            }
        }
        self.publish_status(&session.room);
        Some(session)
    }

    /// Ends what has waited too long: unclaimed sessions, and rooms without a publisher with their viewers.
    pub(crate) fn sweep(&mut self, now: MonoTime, ended: &mut Vec<Ended>) {
        let limits = self.limits;
        let over: Vec<RoomName> = self
            .rooms
            .iter()
            .filter(|(_, room)| {
                room.offline_since.is_some_and(|since| now.since(since) >= limits.room_linger)
            })
            .map(|(name, _)| name.clone())
            .collect();
        let stale: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| {
                let unclaimed = session.seed.is_some() && now.since(session.created) >= limits.unclaimed_max;
                unclaimed || over.contains(&session.room)
            })
            .map(|(id, _)| *id)
            .collect();
        ended.extend(stale.into_iter().filter_map(|id| self.end(now, id)));
        for name in over {
            self.rooms.remove(&name);
        }
    }

    /// Returns what a user fragment of ours leads to.
    pub(crate) fn lookup(&self, ufrag: &str) -> Option<Lookup> {
        let id = *self.by_ufrag.get(ufrag)?;
        let session = self.sessions.get(&id)?;
        let generation = session.generations.iter().find(|generation| generation.ufrag == ufrag)?;
        Some(Lookup { session: id, pwd: generation.pwd.clone() })
    }

    /// Gives a session to the shard whose socket its first valid check reached; a viewer to another one where that has
    /// too many. The check is then handed over, and the other shard claims the session by it.
    pub(crate) fn claim(&mut self, ufrag: &str, shard: ShardId) -> Claim {
        let Self { by_ufrag, sessions, spread, .. } = self;
        let Some(session) = by_ufrag.get(ufrag).and_then(|id| sessions.get_mut(id)) else {
            return Claim::Gone;
        };
        let owner = *session.owner.get_or_insert_with(|| match session.role {
            Role::Viewer => spread.enter(shard),
            // What it sends would cost a hop for every packet.
            Role::Publisher => shard,
        });
        match session.seed.take_if(|_| owner == shard) {
            Some(seed) => Claim::Granted(seed),
            None => Claim::Taken(owner),
        }
    }

    /// Takes note that a shard has stopped: no viewer is sent there any more.
    pub(crate) fn lose(&mut self, shard: ShardId) {
        self.spread.lose(shard);
    }

    /// Replaces the ICE generation; those that may be in use stay until the shard sees the new one used. Restarts may go
    /// unanswered, and only the shard knows which was: so the first stays, and the one before.
    pub(crate) fn restart_ice(&mut self, id: SessionId, credentials: &Credentials, etag: String) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if let Some(seed) = session.seed.as_mut() {
            seed.link.ice = credentials.clone();
        }
        session.generations.push(credentials.clone());
        if session.generations.len() > GENERATIONS_MAX {
            let middle = session.generations.remove(1);
            self.by_ufrag.remove(&middle.ufrag);
        }
        session.etag = etag;
        self.by_ufrag.insert(credentials.ufrag.clone(), id);
        true
    }

    /// Keeps a viewer's wish until a shard has taken the session; gives it back when one has.
    pub(crate) fn wish(&mut self, id: SessionId, request: LayerRequest) -> Option<(ShardId, LayerRequest)> {
        let session = self.sessions.get_mut(&id)?;
        if let Some(seed) = session.seed.as_mut() {
            seed.layer = Some(request);
            return None;
        }
        session.owner.map(|owner| (owner, request))
    }

    /// Notes the layers that a publisher's shard measured.
    pub(crate) fn note_layers(&self, room: &RoomName, layers: Vec<LayerStatus>) {
        if let Some(room) = self.rooms.get(room) {
            room.status.send_modify(|status| status.layers = layers);
        }
    }

    /// Explains a session that no shard has taken yet; `None` when one has, or it is gone.
    pub(crate) fn explain_unreached(&self, now: MonoTime, id: SessionId) -> Option<Explanation> {
        let session = self.sessions.get(&id)?;
        let seed = session.seed.as_ref()?;
        let head = Head {
            session: session.public_id,
            room: &session.room,
            connected: false,
            age: seed.timeline.age(now),
            pair: None,
            join: seed.timeline.steps(None, None),
        };
        Some(match session.role {
            Role::Publisher => explain::publisher::explain_unreached(head),
            Role::Viewer => {
                explain::viewer::explain_unreached(head, seed.layer.as_ref().unwrap_or(&LayerRequest::Auto))
            }
        })
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub(crate) fn by_public(&self, id: PublicId) -> Option<SessionId> {
        self.by_public.get(&id).copied()
    }

    pub(crate) fn room_status(&self, name: &RoomName) -> Option<RoomStatus> {
        self.rooms.get(name).map(|room| room.status.borrow().clone())
    }

    pub(crate) fn room_events(&self, name: &RoomName) -> Option<watch::Receiver<RoomStatus>> {
        self.rooms.get(name).map(|room| room.status.subscribe())
    }

    pub(crate) fn rooms(&self) -> Vec<RoomStatus> {
        self.rooms.values().map(|room| room.status.borrow().clone()).collect()
    }

    pub(crate) fn session_statuses(&self, now: MonoTime) -> Vec<SessionStatus> {
        let mut list: Vec<(PublicId, SessionStatus)> = self
            .sessions
            .values()
            .map(|session| {
                let status = SessionStatus {
                    id: session.public_id.to_string(),
                    room: session.room.to_string(),
                    role: session.role,
                    connected: session.seed.is_none(),
                    age_s: now.since(session.created).as_secs(),
                };
                (session.public_id, status)
            })
            .collect();
        list.sort_by_key(|(id, _)| *id);
        list.into_iter().map(|(_, status)| status).collect()
    }

    /// Returns how many publishers and viewers there are.
    pub(crate) fn census(&self) -> (usize, usize) {
        let publishers = self.rooms.values().filter(|room| room.publisher.is_some()).count();
        (publishers, self.rooms.values().map(|room| room.viewers).sum())
    }

    fn publish_status(&self, name: &RoomName) {
        let Some(room) = self.rooms.get(name) else { return };
        let (live, viewers) = (room.publisher.is_some(), room.viewers);
        room.status.send_if_modified(|status| {
            let changed = status.live != live || status.viewers != viewers;
            status.live = live;
            status.viewers = viewers;
            changed
        });
    }
}

/// Returns how many places viewers leave free, so that a show can begin on a node that viewers have filled. A node of
/// less than eight sessions has none to spare.
fn kept_for_publishers(sessions_max: usize) -> usize {
    (sessions_max / 8).min(KEPT_FOR_PUBLISHERS_MAX)
}

/// On a large node, more shows than this hardly begin before a viewer has left.
const KEPT_FOR_PUBLISHERS_MAX: usize = 64;

/// The first generation, the newest and the one before it.
const GENERATIONS_MAX: usize = 3;

#[cfg(test)]
mod tests;
