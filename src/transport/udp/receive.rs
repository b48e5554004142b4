//! Receiving many datagrams with one call. Packet path.
//!
//! The buffers are made once. A message may be a run of datagrams that the kernel has coalesced; the iterator
//! gives the datagrams apart, each as a mutable slice, so that media is opened where it lies.

use super::syscall::{self, MESSAGES_MAX, Received};
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

/// The longest datagram that is looked at, in bytes: what fits into Ethernet. Longer ones are counted and dropped.
pub const DATAGRAM_MAX: usize = 1_500;

/// Buffers for the datagrams of one call. One batch serves all sockets of a shard, one after the other.
#[derive(Debug)]
pub struct ReceiveBatch {
    buffers: Vec<u8>,
    received: Vec<Received>,
    /// Whether the last call brought as much as a call can.
    is_full: bool,
    oversized: u64,
}

impl ReceiveBatch {
    /// Makes the buffers: 4 MiB of address space, of which only what is used becomes memory.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffers: vec![0; MESSAGES_MAX.saturating_mul(MESSAGE_BYTES)],
            received: Vec::with_capacity(MESSAGES_MAX),
            is_full: false,
            oversized: 0,
        }
    }

    /// Fills the batch from a socket, dropping what it held, and returns how many datagrams it holds now.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        syscall::receive(socket, &mut self.buffers, MESSAGE_BYTES, &mut self.received)?;
        self.is_full = self.received.len() >= MESSAGES_MAX;
        let mut datagrams: usize = 0;
        for message in &mut self.received {
            if message.segment > DATAGRAM_MAX {
                self.oversized = self.oversized.saturating_add(1);
                message.len = 0;
            }
            datagrams = datagrams.saturating_add(message.len.div_ceil(message.segment));
        }
        Ok(datagrams)
    }

    /// Iterates over the datagrams in the order of their arrival.
    pub fn datagrams(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        self.received.iter().zip(self.buffers.chunks_exact_mut(MESSAGE_BYTES)).flat_map(
            |(message, buffer)| {
                let bytes = buffer.get_mut(..message.len).unwrap_or_default();
                bytes.chunks_mut(message.segment).map(|datagram| (message.remote, datagram))
            },
        )
    }

    /// Tells whether the socket may hold more than the last call brought. What comes after that call is told by the
    /// event queue anew.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Returns how many datagrams were longer than [`DATAGRAM_MAX`] since the batch was made.
    #[must_use]
    pub const fn oversized(&self) -> u64 {
        self.oversized
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// The largest message, coalesced or not, and three cache lines: at a distance of a power of two the beginnings of all
/// messages would fall to the same few places of the cache and push each other out.
const MESSAGE_BYTES: usize = 65_536 + 192;
