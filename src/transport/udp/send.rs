//! Sending many datagrams with few calls. Packet path.
//!
//! Think of a tray: [`SendBatch::slot`] hands out room, the caller writes and seals a datagram there, and
//! [`SendBatch::commit`] puts it on the tray; [`SendBatch::flush`] gives the tray to the kernel. Neighbouring
//! datagrams of equal size to one remote address travel as one *run*, which the kernel cuts apart again: this is
//! what makes a packet cheap.
//!
//! Invariants: a run has at most [`RUN_MAX`] datagrams and [`RUN_BYTES_MAX`] bytes, all of one size but the last;
//! datagrams to one remote address leave in the order of their commits; after `flush` the tray is empty, whatever
//! the kernel said. A full socket buffer drops what is left, counted: never a wait, never a second try.

use super::UdpSocket;
use super::syscall::{self, MESSAGES_MAX, Outgoing};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// How many datagrams a run has at most: more would fill the queue of the receiver's bottleneck, for little gain.
pub const RUN_MAX: usize = 16;

/// How many bytes a run has at most; the kernel's limit is 65,507.
pub const RUN_BYTES_MAX: usize = 60_000;

/// Whether runs are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GsoMode {
    /// Where the kernel can, until it refuses one.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// Datagrams on their way to one socket.
#[derive(Debug)]
pub struct SendBatch {
    arena: Vec<u8>,
    end: usize,
    pub(super) runs: Vec<Run>,
    gso: bool,
}

impl SendBatch {
    /// Makes the arena for a socket, which says whether it can send runs.
    #[must_use]
    pub fn new(mode: GsoMode, socket: &UdpSocket) -> Self {
        let gso = mode == GsoMode::Auto && socket.knows_gso();
        Self { arena: vec![0; ARENA_BYTES], end: 0, runs: Vec::with_capacity(RUNS_MAX), gso }
    }

    /// Returns `max` bytes to write a datagram into, or `None` when the batch must be flushed first.
    ///
    /// A slot that is not committed is given out again.
    pub fn slot(&mut self, max: usize) -> Option<&mut [u8]> {
        if self.runs.len() >= RUNS_MAX {
            return None;
        }
        self.arena.get_mut(self.end..self.end.checked_add(max)?)
    }

    /// Puts the first `len` bytes of the last slot on the tray. A `len` of zero gives the slot back.
    pub fn commit(&mut self, remote: SocketAddr, len: usize) {
        let start = self.end;
        let end = start.saturating_add(len);
        if len == 0 || end > self.arena.len() {
            debug_assert!(len == 0, "a datagram is longer than its slot");
            return;
        }
        self.end = end;
        let gso = self.gso;
        match self.runs.last_mut().filter(|run| gso && run.takes(remote, len)) {
            Some(run) => run.add(len),
            None => self.runs.push(Run::new(remote, start, len)),
        }
    }

    /// Returns how many bytes the next datagram to a remote address may have to leave in the run of the last one; zero when
    /// it would begin a run of its own.
    #[must_use]
    pub fn room_along(&self, remote: SocketAddr) -> usize {
        let open = self.runs.last().filter(|run| self.gso && run.takes(remote, run.segment));
        open.map_or(0, |run| run.segment)
    }

    /// Gives everything to the kernel and empties the batch.
    ///
    /// A run that the kernel refuses is sent again datagram by datagram; a device that cannot send runs at all
    /// (`EIO`) ends their use for this batch.
    pub fn flush(&mut self, socket: &UdpSocket) -> SendReport {
        let mut report = SendReport::default();
        let mut next: usize = 0;
        while let Some(refused) = report.drain(socket, &self.arena, self.runs.get(next..).unwrap_or(&[])) {
            self.gso &= !refused.for_good;
            report.refused = report.refused.saturating_add(1);
            if let Some(run) = self.runs.get(next.saturating_add(refused.place)) {
                let (datagrams, count) = run.split();
                // A single datagram is never refused as a run.
                report.drain(socket, &self.arena, datagrams.get(..count).unwrap_or(&[]));
            }
            next = next.saturating_add(refused.place).saturating_add(1);
        }
        self.runs.clear();
        self.end = 0;
        report
    }

    /// Tells whether nothing is on the tray.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Tells whether runs are used.
    #[must_use]
    pub const fn uses_gso(&self) -> bool {
        self.gso
    }
}

/// What became of a batch. Counts datagrams, whether they travelled in runs or alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Datagrams that the kernel took.
    pub sent: u32,
    /// Datagrams that it did not: a full buffer, or no way to the remote address.
    pub dropped: u32,
    /// System calls.
    pub calls: u32,
    /// Runs that the kernel would not take as runs.
    pub refused: u32,
}

impl SendReport {
    /// Sends runs in order; stops at one that the kernel refuses as a run.
    fn drain(&mut self, socket: &UdpSocket, arena: &[u8], runs: &[Run]) -> Option<Refused> {
        let mut place: usize = 0;
        while let Some(rest) = runs.get(place..).filter(|rest| !rest.is_empty()) {
            self.calls = self.calls.saturating_add(1);
            match syscall::send(socket.as_fd(), arena, rest.iter().map(Run::message)) {
                Ok(sent) => {
                    self.sent = self.sent.saturating_add(datagrams(rest.iter().take(sent)));
                    place = place.saturating_add(sent.max(1));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.dropped = self.dropped.saturating_add(datagrams(rest.iter()));
                    return None;
                }
                Err(error) => {
                    let refused =
                        Refused::of(&error, place).filter(|_| rest.first().is_some_and(Run::is_many));
                    if refused.is_some() {
                        return refused;
                    }
                    // This one has no way; the others may have.
                    self.dropped = self.dropped.saturating_add(datagrams(rest.iter().take(1)));
                    place = place.saturating_add(1);
                }
            }
        }
        None
    }
}

/// Which run the kernel refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    place: usize,
    /// Whether the device cannot do it, and not only this run is at fault.
    pub(super) for_good: bool,
}

impl Refused {
    /// Reads an error: `EIO` is a device without checksum offload, `EINVAL` a run that this path cannot take.
    pub(super) fn of(error: &io::Error, place: usize) -> Option<Self> {
        match error.raw_os_error() {
            Some(libc::EIO) => Some(Self { place, for_good: true }),
            Some(libc::EINVAL) => Some(Self { place, for_good: false }),
            _ => None,
        }
    }
}

/// Neighbouring datagrams of one size to one remote address; the last may be shorter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    remote: SocketAddr,
    start: usize,
    pub(super) len: usize,
    segment: usize,
    count: usize,
}

impl Run {
    const fn new(remote: SocketAddr, start: usize, len: usize) -> Self {
        Self { remote, start, len, segment: len, count: 1 }
    }

    /// Tells whether the next datagram of the arena may join.
    fn takes(&self, remote: SocketAddr, len: usize) -> bool {
        let is_open = self.len == self.segment.saturating_mul(self.count);
        self.remote == remote
            && is_open
            && len <= self.segment
            && self.count < RUN_MAX
            && self.len.saturating_add(len) <= RUN_BYTES_MAX
    }

    const fn is_many(&self) -> bool {
        self.count > 1
    }

    const fn add(&mut self, len: usize) {
        self.len = self.len.saturating_add(len);
        self.count = self.count.saturating_add(1);
    }

    fn message(&self) -> Outgoing {
        let segment = if self.count > 1 { u16::try_from(self.segment).unwrap_or(0) } else { 0 };
        Outgoing { remote: self.remote, start: self.start, len: self.len, segment }
    }

    /// Returns each datagram as a run of its own, and how many there are.
    fn split(&self) -> ([Self; RUN_MAX], usize) {
        let mut datagrams = [*self; RUN_MAX];
        let mut start = self.start;
        let mut left = self.len;
        for datagram in datagrams.iter_mut().take(self.count) {
            let len = left.min(self.segment);
            *datagram = Self::new(self.remote, start, len);
            start = start.saturating_add(len);
            left = left.saturating_sub(len);
        }
        (datagrams, self.count)
    }
}

fn datagrams<'a>(runs: impl Iterator<Item = &'a Run>) -> u32 {
    runs.fold(0, |sum, run| sum.saturating_add(u32::try_from(run.count).unwrap_or(u32::MAX)))
}

/// The bytes of a batch: about 200 full datagrams, so that the arena stays in the second-level cache.
const ARENA_BYTES: usize = 256 * 1024;
/// The messages of a batch: four calls.
const RUNS_MAX: usize = 4 * MESSAGES_MAX;
