//! UDP sockets that share one port, one for each shard, and batches that make a datagram cheap. Packet path.
//!
//! Think of a [`UdpGroup`] as one address with many ears: the kernel hashes each remote address to one socket of
//! the group (`SO_REUSEPORT`), so a shard sees the same remote addresses for as long as the group does not change
//! its size. Sending needs no ear in particular: every socket of the group has the same source address.
//!
//! Invariants: sockets never block; a socket reads into [`ReceiveBatch`] and writes from [`SendBatch`], and
//! neither allocates after it was made. Start reading at [`UdpGroup::bind`].

mod receive;
mod send;
mod syscall;

pub use receive::{DATAGRAM_MAX, ReceiveBatch};
pub use send::{GsoMode, RUN_BYTES_MAX, RUN_MAX, SendBatch, SendReport};

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// The sockets of one local address.
#[derive(Debug)]
pub struct UdpGroup {
    /// One for each shard.
    pub sockets: Vec<UdpSocket>,
    /// The address that all of them have.
    pub address: SocketAddr,
    /// What the operator should know, as a sentence with the remedy; `None` when all is well.
    pub warning: Option<String>,
}

impl UdpGroup {
    /// Binds `shards` sockets (at least one) to one address; port 0 takes any free port, the same for all.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr, shards: usize) -> io::Result<Self> {
        let first = UdpSocket::bind(address)?;
        let address = first.local_address()?;
        let warning = buffer_warning(first.buffers()?);
        let mut sockets = vec![first];
        for _ in 1..shards {
            sockets.push(UdpSocket::bind(address)?);
        }
        Ok(Self { sockets, address, warning })
    }
}

/// One socket of a group.
#[derive(Debug)]
pub struct UdpSocket {
    socket: std::net::UdpSocket,
    gso: bool,
}

impl UdpSocket {
    /// Fills a batch with what has arrived and returns how many datagrams that is. One system call.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is nothing; the batch is then empty.
    pub fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.fill(self.socket.as_fd())
    }

    /// Sends one datagram at once, for what comes rarely: STUN, DTLS.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the socket's buffer is full, and whatever the network says.
    pub fn send_to(&self, datagram: &[u8], remote: SocketAddr) -> io::Result<()> {
        self.socket.send_to(datagram, remote).map(|_| ())
    }

    /// Returns the address that the socket is bound to.
    ///
    /// # Errors
    /// When the kernel does not say, which it always does of a bound socket.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Tells whether the kernel can cut runs apart (`UDP_SEGMENT`).
    #[must_use]
    pub const fn knows_gso(&self) -> bool {
        self.gso
    }

    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        // The kernel takes what it may give; `buffer_warning` looks at what that was.
        socket.set_recv_buffer_size(BUFFER_BYTES)?;
        socket.set_send_buffer_size(BUFFER_BYTES)?;
        socket.bind(&address.into())?;
        syscall::enable_coalescing(socket.as_fd());
        let gso = syscall::knows_segmentation(socket.as_fd());
        Ok(Self { socket: socket.into(), gso })
    }

    /// Returns the sizes of the receive and the send buffer in bytes.
    fn buffers(&self) -> io::Result<Buffers> {
        let socket = socket2::SockRef::from(&self.socket);
        // The kernel reports twice what it was asked for: it counts its own bookkeeping.
        let (receive, send) = (socket.recv_buffer_size()? / 2, socket.send_buffer_size()? / 2);
        Ok(Buffers { receive, send })
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// What the kernel gave, in bytes.
#[derive(Clone, Copy, Debug)]
struct Buffers {
    receive: usize,
    send: usize,
}

/// Says which settings of the kernel keep the buffers small.
fn buffer_warning(buffers: Buffers) -> Option<String> {
    let mut remedies = Vec::new();
    if buffers.receive < BUFFER_BYTES {
        remedies.push(format!("net.core.rmem_max={BUFFER_BYTES}"));
    }
    if buffers.send < BUFFER_BYTES {
        remedies.push(format!("net.core.wmem_max={BUFFER_BYTES}"));
    }
    if remedies.is_empty() {
        return None;
    }
    let Buffers { receive, send } = buffers;
    let settings = remedies.join(" ");
    Some(format!(
        "UDP buffers are small (receive {receive}, send {send} of {BUFFER_BYTES} bytes), bursts may be lost; \
         run: sysctl -w {settings}"
    ))
}

/// What a socket's buffers should have, in bytes: a burst of a few thousand full datagrams.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests;
