//! The sessions of one shard, and how a datagram finds its session.

use std::collections::HashMap;
use std::ops::Range;

use rtp::MonoTime;
use transport::path::Path;

use super::session::Session;
use crate::name::SessionId;
use crate::registry::ShardId;

/// A session's place in the table. The generation tells a new session from the one that sat there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionKey {
    index: u32,
    generation: u32,
}

#[cfg(test)]
impl SessionKey {
    pub(super) const fn at(index: u32) -> Self {
        Self { index, generation: 0 }
    }

    pub(super) const fn place(self) -> u32 {
        self.index
    }
}

/// Where datagrams of a path go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To a session of this shard.
    Here(SessionKey),
    /// To the shard that owns the session.
    There(ShardId),
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    session: Option<Box<Session>>,
}

/// Sessions by key, by id and by path.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: Vec<Place>,
    free: Vec<u32>,
    by_id: HashMap<SessionId, SessionKey>,
    routes: HashMap<Path, Route>,
    /// Paths that lead to other shards, with their last use; bounded.
    foreign: HashMap<Path, MonoTime>,
}

impl Table {
    /// Seats a session.
    pub(super) fn insert(&mut self, session: Box<Session>) -> SessionKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let id = session.id;
        let mut generation = 0;
        if let Some(place) = self.places.get_mut(index as usize) {
            generation = place.generation;
            place.session = Some(session);
        }
        let key = SessionKey { index, generation };
        self.by_id.insert(id, key);
        key
    }

    /// Unseats a session and forgets its paths.
    pub(super) fn remove(&mut self, key: SessionKey) -> Option<Box<Session>> {
        let place =
            self.places.get_mut(key.index as usize).filter(|place| place.generation == key.generation)?;
        let session = place.session.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        self.by_id.remove(&session.id);
        for path in &session.paths {
            if self.routes.get(path) == Some(&Route::Here(key)) {
                self.routes.remove(path);
            }
        }
        Some(session)
    }

    pub(super) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        let place =
            self.places.get_mut(key.index as usize).filter(|place| place.generation == key.generation)?;
        place.session.as_deref_mut()
    }

    pub(super) fn get(&self, key: SessionKey) -> Option<&Session> {
        let place = self.places.get(key.index as usize).filter(|place| place.generation == key.generation)?;
        place.session.as_deref()
    }

    pub(super) fn key_of(&self, id: SessionId) -> Option<SessionKey> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn route(&self, path: &Path) -> Option<Route> {
        self.routes.get(path).copied()
    }

    /// Leads a path to a session; at most [`PATHS_MAX`] lead to one. Returns the path that is forgotten for it: the oldest
    /// that media does not take.
    pub(super) fn lead_here(&mut self, path: Path, key: SessionKey) -> Option<Path> {
        self.foreign.remove(&path);
        if self.routes.insert(path, Route::Here(key)) == Some(Route::Here(key)) {
            return None;
        }
        let session = self.get_mut(key)?;
        session.paths.push(path);
        if session.paths.len() <= PATHS_MAX {
            return None;
        }
        let selected = session.link.selected_path();
        let oldest = session.paths.iter().position(|path| Some(*path) != selected)?;
        let oldest = session.paths.remove(oldest);
        let was_led_here = self.routes.get(&oldest) == Some(&Route::Here(key));
        if was_led_here {
            self.routes.remove(&oldest);
        }
        was_led_here.then_some(oldest)
    }

    /// Leads a path to another shard.
    pub(super) fn lead_there(&mut self, now: MonoTime, path: Path, shard: ShardId) {
        if self.foreign.len() >= FOREIGN_MAX && !self.foreign.contains_key(&path) {
            return;
        }
        self.foreign.insert(path, now);
        self.routes.insert(path, Route::There(shard));
    }

    /// Forgets paths to other shards that no check has renewed for a while.
    pub(super) fn forget_foreign(&mut self, now: MonoTime) {
        let routes = &mut self.routes;
        self.foreign.retain(|path, used| {
            let keep = now.since(*used) < FOREIGN_IDLE_MAX;
            if !keep && matches!(routes.get(path), Some(Route::There(_))) {
                routes.remove(path);
            }
            keep
        });
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Returns the keys of all sessions.
    pub(super) fn keys(&self) -> Vec<SessionKey> {
        self.by_id.values().copied().collect()
    }

    /// Returns how many places there are, taken or free.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// Returns the sessions in some of the places.
    pub(super) fn sessions_in(&mut self, places: Range<usize>) -> impl Iterator<Item = &mut Session> {
        let places = self.places.get_mut(places).unwrap_or_default();
        places.iter_mut().filter_map(|place| place.session.as_deref_mut())
    }
}

/// Wi-Fi, mobile, both families and TCP make about six; twice that for moves.
pub(super) const PATHS_MAX: usize = 16;

/// A bound on what strangers can make a shard remember, although each entry took a valid check.
const FOREIGN_MAX: usize = 65_536;

/// Full ICE agents check every few seconds; consent ends after thirty.
const FOREIGN_IDLE_MAX: std::time::Duration = std::time::Duration::from_secs(60);
