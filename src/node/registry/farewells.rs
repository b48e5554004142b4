//! Sessions whose other side has left and may still say so.
//!
//! OBS and `whip-whep` close DTLS first and DELETE afterwards, and take anything but 200 for a failure (RFC 9725
//! §4.2). So a session that its other side ended is remembered for one DELETE, and for nothing else.

use std::collections::VecDeque;
use std::time::Duration;

use rtp::MonoTime;

use super::Credential;
use crate::api::Role;
use crate::name::SessionId;

/// What is left of a session: what its DELETE is checked against.
#[derive(Debug)]
pub(crate) struct Farewell {
    pub(super) id: SessionId,
    pub(super) role: Role,
    pub(super) parted: MonoTime,
    pub(crate) credential: Option<Credential>,
}

/// The latest farewells, oldest first.
#[derive(Debug, Default)]
pub(super) struct Farewells {
    waiting: VecDeque<Farewell>,
}

impl Farewells {
    /// Remembers a session; at the bound the oldest is forgotten, whose DELETE gets a harmless 404.
    pub(super) fn push(&mut self, farewell: Farewell) {
        let now = farewell.parted;
        while self.waiting.front().is_some_and(|oldest| now.since(oldest.parted) >= WAIT) {
            self.waiting.pop_front();
        }
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(farewell);
    }

    /// Returns what is left of a session of this role, if it parted a moment ago.
    pub(super) fn find(&self, now: MonoTime, id: SessionId, role: Role) -> Option<&Farewell> {
        let farewell = self.waiting.iter().find(|farewell| farewell.id == id && farewell.role == role)?;
        (now.since(farewell.parted) < WAIT).then_some(farewell)
    }

    /// Forgets a session: its DELETE has come.
    pub(super) fn remove(&mut self, id: SessionId) {
        self.waiting.retain(|farewell| farewell.id != id);
    }
}

/// A DELETE that follows a closed link comes at once; this leaves room for a slow network.
const WAIT: Duration = Duration::from_secs(10);
/// More than leave one node in ten seconds, unless somebody means it ill.
const WAITING_MAX: usize = 1_024;
