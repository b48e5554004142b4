//! A UDP socket that receives coalesced runs with the kernel's time of arrival, and sends runs in one call.
//!
//! One call of [`Socket::receive`] may bring many packets of one sender (`UDP_GRO`): [`Received::packets`] divides
//! them. The buffers belong to the caller, so that thousands of sockets share one that stays in the cache.

use mio::event::Source;
use mio::{Interest, Registry, Token};
use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// One socket, registered with an event loop as any other of `mio`.
#[derive(Debug)]
pub struct Socket {
    inner: mio::net::UdpSocket,
    local: SocketAddr,
    connected: Option<SocketAddr>,
}

impl Socket {
    /// Binds; port 0 takes any.
    ///
    /// # Errors
    /// When the address cannot be bound, or no descriptor is left.
    pub fn bind(local: SocketAddr) -> io::Result<Self> {
        let inner = mio::net::UdpSocket::bind(local)?;
        // Without these the packets come one by one, without times, or are lost in bursts: worse, but not wrong.
        let _ = setsockopt(&inner, sockopt::UdpGroSegment, &true);
        let _ = setsockopt(&inner, sockopt::ReceiveTimestampns, &true);
        if setsockopt(&inner, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            let _ = setsockopt(&inner, sockopt::RcvBuf, &RECEIVE_BUFFER);
        }
        let local = inner.local_addr()?;
        Ok(Self { inner, local, connected: None })
    }

    /// Binds any port; [`Self::local`] is then where the machine would send from to reach `remote`: a candidate for the
    /// other side. Media may come from another host than signaling, so the socket is bound to no address.
    ///
    /// # Errors
    /// As [`Self::bind`], and when there is no way to `remote`.
    pub fn bind_towards(remote: SocketAddr) -> io::Result<Self> {
        let (address, any) = local_address(remote)?;
        let mut socket = Self::bind(any)?;
        socket.local.set_ip(address);
        Ok(socket)
    }

    /// Returns the address for the other side to send to.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Fixes the other side: sending to it costs less, and nobody else is heard any more.
    ///
    /// # Errors
    /// When there is no way to `remote`.
    pub fn connect(&mut self, remote: SocketAddr) -> io::Result<()> {
        self.inner.connect(remote)?;
        self.connected = Some(remote);
        Ok(())
    }

    /// Receives one datagram or one coalesced run.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing is there.
    pub fn receive<'a>(&self, buffer: &'a mut ReceiveBuffer) -> io::Result<Received<'a>> {
        let ReceiveBuffer { bytes, control } = buffer;
        let (len, from, segment, at_wall_ns) = {
            let mut slices = [IoSliceMut::new(bytes)];
            let message = recvmsg::<SockaddrStorage>(
                self.inner.as_raw_fd(),
                &mut slices,
                Some(control),
                MsgFlags::MSG_DONTWAIT,
            )?;
            let (mut segment, mut at_wall_ns) = (None, None);
            for control in message.cmsgs()? {
                match control {
                    ControlMessageOwned::UdpGroSegments(size) => segment = usize::try_from(size).ok(),
                    ControlMessageOwned::ScmTimestampns(time) => at_wall_ns = nanos(time),
                    _ => {}
                }
            }
            let from = message.address.as_ref().and_then(to_std);
            (message.bytes, from.ok_or(io::ErrorKind::InvalidData)?, segment, at_wall_ns)
        };
        let bytes = bytes.get(..len).unwrap_or_default();
        Ok(Received {
            bytes,
            from,
            segment: segment.filter(|size| *size > 0).unwrap_or(len.max(1)),
            at_wall_ns,
        })
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the socket's buffer is full.
    pub fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        if self.connected == Some(to) {
            return self.inner.send(datagram).map(|_| ());
        }
        self.inner.send_to(datagram, to).map(|_| ())
    }

    /// Sends packets that stand one behind the other, each `segment` bytes long but the last, which may be shorter, in
    /// one call (`UDP_SEGMENT`). At most 64 packets and 65,507 bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the socket's buffer is full; others when the path has no such offload.
    pub fn send_run(&self, packets: &[u8], segment: u16, to: SocketAddr) -> io::Result<()> {
        let controls = [ControlMessage::UdpGsoSegments(&segment)];
        let to = SockaddrStorage::from(to);
        let slices = [IoSlice::new(packets)];
        sendmsg(self.inner.as_raw_fd(), &slices, &controls, MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.inner.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.inner.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.inner.deregister(registry)
    }
}

/// Where datagrams are received into; one serves any number of sockets.
#[derive(Debug)]
pub struct ReceiveBuffer {
    bytes: Vec<u8>,
    control: Vec<u8>,
}

impl ReceiveBuffer {
    /// Makes a buffer for the largest datagram.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![0; DATAGRAM_MAX], control: cmsg_space!(TimeSpec, i32) }
    }
}

impl Default for ReceiveBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// What one call received.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    bytes: &'a [u8],
    segment: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// When the kernel got it, in nanoseconds since 1970; see [`WallClock`](crate::clock::WallClock).
    pub at_wall_ns: Option<u64>,
}

impl<'a> Received<'a> {
    /// Returns the packets one by one, in the order of their sending.
    pub fn packets(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.bytes.chunks(self.segment)
    }
}

/// Returns the address that the machine sends from to reach `remote`, and that of no address in particular; nothing is
/// sent.
fn local_address(remote: SocketAddr) -> io::Result<(IpAddr, SocketAddr)> {
    let any: SocketAddr = if remote.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let probe = std::net::UdpSocket::bind(any)?;
    probe.connect(remote)?;
    Ok((probe.local_addr()?.ip(), any))
}

fn nanos(time: TimeSpec) -> Option<u64> {
    let seconds = u64::try_from(time.tv_sec()).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(time.tv_nsec()).ok()?)
}

fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port()))))
}

/// The most that one call brings.
const DATAGRAM_MAX: usize = 65_536;
/// A keyframe of several megabits beside the kernel's own overhead, while the reader is away.
const RECEIVE_BUFFER: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{self, WallClock};
    use std::time::Duration;

    fn pair() -> (Socket, Socket) {
        let bind = || Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        (bind(), bind())
    }

    /// Loopback delivers within the call that sends.
    fn receive<'a>(socket: &Socket, buffer: &'a mut ReceiveBuffer) -> Received<'a> {
        socket.receive(buffer).unwrap()
    }

    #[test]
    fn a_run_comes_as_its_packets_in_one_call() {
        let (sender, receiver) = pair();
        let mut buffer = ReceiveBuffer::new();
        let run: Vec<u8> = (0..250_u8).collect();

        sender.send_run(&run, 100, receiver.local()).unwrap();
        let received = receive(&receiver, &mut buffer);

        assert_eq!(received.from, sender.local());
        let lengths: Vec<usize> = received.packets().map(<[u8]>::len).collect();
        assert_eq!(lengths, [100, 100, 50]);
        assert_eq!(received.packets().flatten().copied().collect::<Vec<u8>>(), run);
    }

    #[test]
    fn a_single_datagram_is_one_packet() {
        let (sender, receiver) = pair();
        let mut buffer = ReceiveBuffer::new();

        sender.send(b"hello", receiver.local()).unwrap();

        assert_eq!(receive(&receiver, &mut buffer).packets().collect::<Vec<_>>(), [b"hello"]);
        let empty = receiver.receive(&mut buffer).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_connected_socket_hears_only_the_other_side() {
        let (mut socket, other) = pair();
        let (stranger, _) = pair();
        let mut buffer = ReceiveBuffer::new();
        socket.connect(other.local()).unwrap();

        stranger.send(b"stranger", socket.local()).unwrap();
        other.send(b"hello", socket.local()).unwrap();
        socket.send(b"there", other.local()).unwrap();

        assert_eq!(receive(&socket, &mut buffer).packets().collect::<Vec<_>>(), [b"hello"]);
        assert!(socket.receive(&mut buffer).is_err());
        assert_eq!(receive(&other, &mut buffer).from, socket.local());
    }

    #[test]
    fn the_time_of_arrival_lies_between_sending_and_reading() {
        let (sender, receiver) = pair();
        let mut buffer = ReceiveBuffer::new();
        let before = clock::now();

        sender.send(b"hello", receiver.local()).unwrap();
        let wall = receive(&receiver, &mut buffer).at_wall_ns.unwrap();
        let at = WallClock::compare().to_mono(wall);

        let slack = Duration::from_millis(5);
        assert!(at + slack >= before && clock::now() + slack >= at, "{before:?} {at:?}");
    }

    #[test]
    fn a_socket_towards_loopback_is_reached_there() {
        let socket = Socket::bind_towards(SocketAddr::from(([127, 0, 0, 1], 9))).unwrap();

        assert!(socket.local().ip().is_loopback());
        let (other, mut buffer) = (pair().0, ReceiveBuffer::new());
        other.send(b"hello", socket.local()).unwrap();
        assert_eq!(receive(&socket, &mut buffer).packets().collect::<Vec<_>>(), [b"hello"]);
    }
}
