//! ICE-lite (RFC 8445 §2.5): we are always controlled, gather nothing, and only answer checks.
//!
//! Think of [`IceLite`] as the guard of one session's door. A Binding request with the right integrity makes its
//! path a *validated pair*; USE-CANDIDATE selects it, and the latest nomination wins. The link may select another
//! validated pair, where it finds the peer. DTLS may come and go over a validated pair, media only over the selected
//! one; nothing else may pass.
//!
//! Invariants: a wrong or missing integrity changes nothing and is answered by silence; at most [`PAIRS_MAX`]
//! pairs are kept (the longest unheard that is not selected goes first); a pair without an authenticated check
//! for [`CONSENT`] is forgotten (RFC 7675), and a session without any pair expires. After [`IceLite::restart`]
//! both credentials are accepted until the first valid check with the new ones (RFC 8445 §9).

use crate::DropReason;
use crate::path::Path;
use crate::stun::{self, BindingRequest};
use rtp::MonoTime;
use std::fmt;
use std::io;
use std::time::Duration;

pub use crate::stun::Response;

/// How long a pair lives without an authenticated check (RFC 7675 §5.1).
pub const CONSENT: Duration = Duration::from_secs(30);

/// How many validated pairs a session may have: a browser with four interfaces makes eight.
pub const PAIRS_MAX: usize = 16;

/// The ICE agent of one session.
#[derive(Debug)]
pub struct IceLite {
    current: Credentials,
    next: Option<Credentials>,
    pairs: Vec<Pair>,
    selected: Option<Path>,
    last_check: MonoTime,
    expired: bool,
}

impl IceLite {
    /// Makes an agent that waits for its first check; it expires when none comes within [`CONSENT`].
    #[must_use]
    pub const fn new(local: Credentials, now: MonoTime) -> Self {
        Self {
            current: local,
            next: None,
            pairs: Vec::new(),
            selected: None,
            last_check: now,
            expired: false,
        }
    }

    /// Takes a STUN datagram and returns the response to send back on the same path.
    ///
    /// # Errors
    /// Why there is no answer: not a Binding request, for another session, or with a wrong integrity.
    pub fn handle_stun(
        &mut self,
        now: MonoTime,
        path: Path,
        datagram: &[u8],
    ) -> Result<Response, DropReason> {
        if self.expired {
            return Err(DropReason::Closed);
        }
        let request = BindingRequest::parse(datagram)?;
        let restarted = self.next.as_ref().is_some_and(|next| next.ufrag == request.local_ufrag());
        let credentials = match &self.next {
            Some(next) if restarted => next,
            _ if self.current.ufrag == request.local_ufrag() => &self.current,
            _ => return Err(DropReason::StunUnknownUser),
        };
        request.verify(&credentials.pwd)?;
        let response =
            stun::respond(&request, path.remote, &credentials.pwd).ok_or(DropReason::StunMalformed)?;

        if let (true, Some(next)) = (restarted, self.next.take_if(|_| restarted)) {
            self.current = next;
        }
        self.last_check = now;
        self.validate(now, path);
        if request.use_candidate() {
            self.selected = Some(path);
        }
        Ok(response)
    }

    /// Selects a validated pair in place of a nomination: the peer was found there. The next nomination wins over it.
    pub(crate) fn select(&mut self, path: Path) {
        if self.is_validated(&path) {
            self.selected = Some(path);
        }
    }

    /// Forgets the pairs whose consent ran out, and expires the session with the last of them.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        self.pairs.retain(|pair| now.since(pair.last_check) < CONSENT);
        if self.selected.is_some_and(|selected| !self.is_validated(&selected)) {
            self.selected = None;
        }
        self.expired |= now.since(self.last_check) >= CONSENT;
    }

    /// Accepts new credentials beside the old ones, until the first valid check with the new ones.
    ///
    /// A second restart before that replaces the first one's credentials.
    pub fn restart(&mut self, local: Credentials) {
        self.next = Some(local);
    }

    /// Returns when [`IceLite::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        if self.expired {
            return None;
        }
        let oldest = self.pairs.iter().map(|pair| pair.last_check).min();
        Some(oldest.unwrap_or(self.last_check) + CONSENT)
    }

    /// Tells whether an authenticated check came over the path, and its consent still holds.
    #[must_use]
    pub fn is_validated(&self, path: &Path) -> bool {
        self.pairs.iter().any(|pair| pair.path == *path)
    }

    /// Reads what [`Self::is_validated`] reads; see [`crate::link::Link::warm`].
    pub(crate) fn warm(&self) -> u64 {
        self.pairs.first().map_or(0, |pair| u64::from(pair.path.remote.port()))
    }

    /// Returns the nominated pair, or the one that was selected since: where DTLS and media go.
    #[must_use]
    pub const fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Tells whether no authenticated check came for [`CONSENT`]: the session is over.
    #[must_use]
    pub const fn is_expired(&self) -> bool {
        self.expired
    }

    /// Tells whether a user name fragment is one of ours.
    #[must_use]
    pub fn accepts_ufrag(&self, ufrag: &str) -> bool {
        self.current.ufrag == ufrag || self.next.as_ref().is_some_and(|next| next.ufrag == ufrag)
    }

    /// Returns how many pairs are validated.
    #[must_use]
    pub const fn pair_count(&self) -> usize {
        self.pairs.len()
    }

    fn validate(&mut self, now: MonoTime, path: Path) {
        if let Some(pair) = self.pairs.iter_mut().find(|pair| pair.path == path) {
            pair.last_check = now;
            return;
        }
        if self.pairs.len() >= PAIRS_MAX {
            self.drop_longest_unheard();
        }
        self.pairs.push(Pair { path, last_check: now });
    }

    fn drop_longest_unheard(&mut self) {
        let candidates = self.pairs.iter().enumerate().filter(|(_, pair)| Some(pair.path) != self.selected);
        if let Some((place, _)) = candidates.min_by_key(|(_, pair)| pair.last_check) {
            self.pairs.swap_remove(place);
        }
    }
}

/// A validated pair.
#[derive(Debug)]
struct Pair {
    path: Path,
    last_check: MonoTime,
}

/// A user name fragment and its password (RFC 8445 §5.3). Never logged: `Debug` leaves the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name fragment; 8 characters when it is ours.
    pub ufrag: String,
    /// The password; 24 characters when it is ours.
    pub pwd: String,
}

impl Credentials {
    /// Makes fresh credentials from the operating system's random numbers: 48 and 144 bits.
    ///
    /// # Errors
    /// When the operating system has no random numbers.
    pub fn generate() -> io::Result<Self> {
        let mut entropy = [0; ENTROPY_LEN];
        getrandom::fill(&mut entropy).map_err(io::Error::other)?;
        Ok(Self::from_entropy(&entropy))
    }

    /// Makes credentials from random bytes, six bits a character.
    #[must_use]
    pub fn from_entropy(entropy: &[u8; ENTROPY_LEN]) -> Self {
        let mut characters = entropy.chunks_exact(3).flat_map(|chunk| {
            let bits = chunk.iter().fold(0_u32, |bits, &byte| (bits << 8) | u32::from(byte));
            [18, 12, 6, 0].map(|shift| ice_char(bits >> shift))
        });
        let ufrag = characters.by_ref().take(UFRAG_LEN).collect();
        Self { ufrag, pwd: characters.collect() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// Returns the `ice-char` (RFC 8839 §5.1) of the low six bits.
fn ice_char(bits: u32) -> char {
    let index = usize::try_from(bits & 0x3f).unwrap_or(0);
    ICE_CHARS.get(index).copied().map_or('A', char::from)
}

/// How many random bytes make credentials: 8 and 24 characters of six bits.
pub const ENTROPY_LEN: usize = 24;

const UFRAG_LEN: usize = 8;
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests;
