//! ICE as the controlling agent of one pair of sockets: the least that works with lite and with full agents
//! (RFC 8445, RFC 7675).
//!
//! Every candidate of the other side gets checks, repeated with growing pauses; the first that answers is selected
//! and nominated. Of the other side's checks each is answered, and an address that nobody told us is checked too.
//! Afterwards checks go on as a browser's do, to show consent and to see that the other side still lives.

use super::stun::{self, Check, Received, Transaction};
use super::{Credentials, Random};
use rtp::MonoTime;
use std::net::SocketAddr;
use std::time::Duration;

/// One agent.
#[derive(Debug)]
pub(super) struct Agent {
    ours: Credentials,
    theirs: Credentials,
    random: Random,
    tie_breaker: u64,
    pairs: Vec<Pair>,
    selected: Option<usize>,
    /// Nothing has answered since.
    alive_at: MonoTime,
    failed: bool,
}

/// A datagram to send, and where to.
pub(super) type Outgoing = (SocketAddr, Vec<u8>);

#[derive(Debug)]
struct Pair {
    remote: SocketAddr,
    check_at: MonoTime,
    /// The last checks; an answer to an earlier one counts too.
    transactions: [Transaction; TRANSACTIONS_KEPT],
    sent: u32,
    validated: bool,
    nominated: bool,
}

impl Agent {
    pub(super) fn new(ours: Credentials, mut random: Random) -> Self {
        let tie_breaker = random.number();
        Self {
            ours,
            theirs: Credentials::default(),
            random,
            tie_breaker,
            pairs: Vec::new(),
            selected: None,
            alive_at: MonoTime::ZERO,
            failed: false,
        }
    }

    /// Tells the other side's credentials and candidates: checks begin.
    pub(super) fn begin(&mut self, now: MonoTime, theirs: Credentials, candidates: &[SocketAddr]) {
        self.theirs = theirs;
        self.alive_at = now;
        for &remote in candidates {
            self.add_pair(now, remote);
        }
    }

    /// Takes a STUN datagram; answers go to `out`. Returns whether it selected the path, which happens once.
    pub(super) fn handle(
        &mut self,
        now: MonoTime,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Vec<Outgoing>,
    ) -> bool {
        let username = format!("{}:{}", self.ours.ufrag, self.theirs.ufrag);
        match stun::read(datagram, &username, &self.ours.pwd, &self.theirs.pwd) {
            Received::Request { transaction } => {
                self.alive_at = now;
                self.add_pair(now, from);
                out.extend(stun::success(transaction, from, &self.ours.pwd).map(|answer| (from, answer)));
                false
            }
            Received::Success { transaction } => self.note_answer(now, transaction),
            Received::Nothing => false,
        }
    }

    /// Sends the checks that are due.
    pub(super) fn handle_timeout(&mut self, now: MonoTime, out: &mut Vec<Outgoing>) {
        let limit = if self.selected.is_some() { CONSENT_LIMIT } else { CONNECT_LIMIT };
        if !self.pairs.is_empty() && now.since(self.alive_at) >= limit {
            self.failed = true;
            return;
        }
        let username = format!("{}:{}", self.theirs.ufrag, self.ours.ufrag);
        // One candidate can be nominated at once; of several only the one that works (RFC 8445 §8.1.1).
        let only = self.pairs.len() == 1;
        for (index, pair) in self.pairs.iter_mut().enumerate().filter(|(_, pair)| pair.check_at <= now) {
            let selected = self.selected == Some(index);
            pair.nominated |= only || selected;
            let check = Check {
                username: &username,
                password: &self.theirs.pwd,
                tie_breaker: self.tie_breaker,
                nominates: pair.nominated,
                transaction: self.random.bytes(),
            };
            pair.note_check(now, check.transaction, selected);
            out.extend(stun::check(&check).map(|datagram| (pair.remote, datagram)));
        }
    }

    pub(super) fn next_timeout(&self) -> Option<MonoTime> {
        let checks = self.pairs.iter().map(|pair| pair.check_at);
        checks.min().filter(|_| !self.failed)
    }

    pub(super) fn selected(&self) -> Option<SocketAddr> {
        self.selected.and_then(|index| self.pairs.get(index)).map(|pair| pair.remote)
    }

    /// Says whether nobody answered for too long.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed
    }

    fn add_pair(&mut self, now: MonoTime, remote: SocketAddr) {
        if self.pairs.len() < PAIRS_MAX && self.pairs.iter().all(|pair| pair.remote != remote) {
            self.pairs.push(Pair {
                remote,
                check_at: now,
                transactions: [[0; 12]; TRANSACTIONS_KEPT],
                sent: 0,
                validated: false,
                nominated: false,
            });
        }
    }

    fn note_answer(&mut self, now: MonoTime, transaction: Transaction) -> bool {
        let Some(index) = self.pairs.iter().position(|pair| pair.sent_recently(transaction)) else {
            return false;
        };
        self.alive_at = now;
        let first = self.selected.is_none();
        if first {
            self.selected = Some(index);
        }
        let selected = self.selected == Some(index);
        if let Some(pair) = self.pairs.get_mut(index) {
            pair.validated = true;
            // A nomination is a check of its own; when this one was it, consent is next.
            let nominate = selected && !pair.nominated;
            pair.check_at = if nominate { now } else { now + CONSENT_INTERVAL };
        }
        first
    }
}

impl Pair {
    fn note_check(&mut self, now: MonoTime, transaction: Transaction, selected: bool) {
        self.transactions.rotate_right(1);
        if let Some(latest) = self.transactions.first_mut() {
            *latest = transaction;
        }
        self.sent = self.sent.saturating_add(1);
        let pause = if selected || self.validated {
            CONSENT_INTERVAL
        } else {
            RETRY_FIRST.saturating_mul(1 << self.sent.saturating_sub(1).min(RETRY_DOUBLINGS))
        };
        self.check_at = now + pause;
    }

    fn sent_recently(&self, transaction: Transaction) -> bool {
        let kept = usize::try_from(self.sent).unwrap_or(TRANSACTIONS_KEPT).min(TRANSACTIONS_KEPT);
        self.transactions.iter().take(kept).any(|sent| *sent == transaction)
    }
}

/// The first repetition; a browser's checks are 50 ms apart and more.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// 100 ms, 200 ms, … 1.6 s.
const RETRY_DOUBLINGS: u32 = 4;
/// What browsers leave between two checks of a stable path.
const CONSENT_INTERVAL: Duration = Duration::from_millis(2_500);
/// RFC 7675 §5.1.
const CONSENT_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// The other side may name more; a server has few addresses.
const PAIRS_MAX: usize = 16;
const TRANSACTIONS_KEPT: usize = 4;

#[cfg(test)]
mod tests;
