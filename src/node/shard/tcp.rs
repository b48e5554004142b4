//! ICE-TCP sockets of a shard (RFC 6544, RFC 4571): nonblocking, with bounded buffers.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rtp::MonoTime;
use transport::path::Path;
use transport::tcp_framing::{self, Deframer};

/// One accepted socket.
#[derive(Debug)]
struct Pipe {
    socket: TcpStream,
    remote: SocketAddr,
    deframer: Deframer,
    outgoing: Vec<u8>,
    accepted: MonoTime,
    /// A valid check arrived on it.
    proven: bool,
    broken: bool,
}

/// The sockets by number. Numbers are not used twice, so that a path never means another socket.
#[derive(Debug, Default)]
pub(super) struct TcpTable {
    pipes: std::collections::BTreeMap<u32, Pipe>,
    next: u32,
}

impl TcpTable {
    /// Takes a socket and what was already read of it; its number, or `None` when there are too many or it broke.
    pub(super) fn accept(
        &mut self,
        registry: &Registry,
        now: MonoTime,
        (socket, remote): (std::net::TcpStream, SocketAddr),
        first: &[u8],
    ) -> io::Result<u32> {
        if self.pipes.len() >= ICE_TCP_SOCKETS_MAX {
            return Err(io::Error::other("too many ICE-TCP sockets on this shard"));
        }
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let mut socket = TcpStream::from_std(socket);
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        socket.register(registry, token(number), Interest::READABLE | Interest::WRITABLE)?;
        let mut deframer = Deframer::new();
        let broken = deframer.extend(first) < first.len();
        let pipe =
            Pipe { socket, remote, deframer, outgoing: Vec::new(), accepted: now, proven: false, broken };
        self.pipes.insert(number, pipe);
        Ok(number)
    }

    /// Reads what has come, then takes the next whole frame into `frame`; its path.
    pub(super) fn next_frame(&mut self, number: u32, frame: &mut Vec<u8>) -> Option<Path> {
        let pipe = self.pipes.get_mut(&number)?;
        loop {
            match pipe.deframer.next_frame() {
                Ok(Some(bytes)) => {
                    frame.clear();
                    frame.extend_from_slice(bytes);
                    return Some(Path::tcp(number, pipe.remote));
                }
                Ok(None) => {}
                Err(_) => pipe.broken = true,
            }
            if pipe.broken || !pipe.fill() {
                return None;
            }
        }
    }

    /// Notes that a valid check arrived, so that the socket may stay.
    pub(super) fn prove(&mut self, number: u32) {
        if let Some(pipe) = self.pipes.get_mut(&number) {
            pipe.proven = true;
        }
    }

    /// Frames a packet into the socket's buffer; false when there is no room or no socket.
    pub(super) fn send(&mut self, number: u32, packet: &[u8]) -> bool {
        let Some(pipe) = self.pipes.get_mut(&number) else { return false };
        let has_room = !pipe.broken && pipe.outgoing.len() + packet.len() <= OUTGOING_MAX + HEADROOM;
        has_room && tcp_framing::frame(packet, &mut pipe.outgoing)
    }

    /// Says whether the buffer has room for media; control may use the headroom above.
    pub(super) fn is_writable(&self, number: u32) -> bool {
        self.pipes.get(&number).is_some_and(|pipe| !pipe.broken && pipe.outgoing.len() <= OUTGOING_MAX)
    }

    /// Says whether the buffer has run empty.
    pub(super) fn is_drained(&self, number: u32) -> bool {
        self.pipes.get(&number).is_some_and(|pipe| pipe.outgoing.is_empty())
    }

    /// Returns our address on a socket.
    pub(super) fn local_address(&self, number: u32) -> Option<SocketAddr> {
        self.pipes.get(&number).and_then(|pipe| pipe.socket.local_addr().ok())
    }

    /// Writes what the kernel takes.
    pub(super) fn flush(&mut self) {
        for pipe in self.pipes.values_mut() {
            pipe.write();
        }
    }

    /// Closes sockets that broke, and those on which no valid check came in time; the numbers that went.
    pub(super) fn sweep(&mut self, registry: &Registry, now: MonoTime) {
        self.pipes.retain(|_, pipe| {
            let late = !pipe.proven && now.since(pipe.accepted) > UNPROVEN_MAX;
            if pipe.broken || late {
                let _ = pipe.socket.deregister(registry);
            }
            !pipe.broken && !late
        });
    }

    /// Gives a socket away for the shard that owns its session.
    pub(super) fn release(&mut self, registry: &Registry, number: u32) -> Option<Released> {
        let mut pipe = self.pipes.remove(&number)?;
        pipe.socket.deregister(registry).ok()?;
        let rest = pipe.deframer.pending().to_vec();
        Some((std::net::TcpStream::from(pipe.socket), pipe.remote, rest))
    }

    /// Closes a socket.
    pub(super) fn close(&mut self, registry: &Registry, number: u32) {
        if let Some(mut pipe) = self.pipes.remove(&number) {
            pipe.write();
            let _ = pipe.socket.deregister(registry);
        }
    }
}

impl Pipe {
    /// Reads once; false when there is nothing more for now.
    fn fill(&mut self) -> bool {
        match self.socket.read(self.deframer.space()) {
            Ok(0) => self.broken = true,
            Ok(count) => self.deframer.filled(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.broken = true,
        }
        !self.broken
    }

    fn write(&mut self) {
        while !self.outgoing.is_empty() && !self.broken {
            match self.socket.write(&self.outgoing) {
                Ok(0) => self.broken = true,
                Ok(len) => drop(self.outgoing.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.broken = true,
            }
        }
    }
}

/// A socket that goes to another shard: whose it is, and what was read but not used, as it came.
pub(super) type Released = (std::net::TcpStream, SocketAddr, Vec<u8>);

/// Turns a socket's number into its token for the event queue.
pub(super) const fn token(number: u32) -> Token {
    Token(FIRST_TOKEN + number as usize)
}

/// Turns a token back into a socket's number.
pub(super) fn number(token: Token) -> Option<u32> {
    token.0.checked_sub(FIRST_TOKEN).and_then(|number| u32::try_from(number).ok())
}

/// Tokens below are the waker's and the UDP sockets'.
const FIRST_TOKEN: usize = 1_024;

/// How many ICE-TCP sockets a shard takes: they are the way out for firewalls, not the common case.
pub const ICE_TCP_SOCKETS_MAX: usize = 4_096;

/// Half a second of 4 Mbit/s; beyond that a viewer is better served by the next keyframe.
const OUTGOING_MAX: usize = 256 * 1024;

/// Room for STUN, DTLS and reports above the bound for media.
const HEADROOM: usize = 16 * 1024;

/// The first frame must be a valid check within this time.
const UNPROVEN_MAX: std::time::Duration = std::time::Duration::from_secs(5);
