//! The TCP side of the one port: HTTP and ICE-TCP, told apart by their first bytes.
//!
//! An upper-case letter begins an HTTP request; a length of at most 2,048 and a STUN header begin ICE-TCP (RFC 6544
//! with the framing of RFC 4571), and such a socket goes to the node; 0x16 begins TLS, which this listener does not
//! speak. Whatever has not said which it is after five seconds is closed. Sockets are bounded in total and by
//! address; at the bound the newest is closed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use node::NodeHandle;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::Service;

use crate::limits::HEADER_BYTES_MAX;

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for http on tcp {address}")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// How many sockets may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketLimits {
    /// From all addresses together.
    pub total: usize,
    /// From one address; many viewers may share one behind a proxy or a carrier's NAT.
    pub per_address: usize,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self { total: 10_000, per_address: 1_000 }
    }
}

/// Bound sockets that are not served yet.
#[derive(Debug)]
pub struct Listeners {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Listeners {
    /// Binds all addresses; after port 0 in the first, later zeros take the same port if it is free.
    ///
    /// # Errors
    /// When one of them cannot be bound; none is left open then.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let mut this = Self { listeners: Vec::new(), addresses: Vec::new() };
        for &address in addresses {
            let chosen = this.addresses.first().map_or(0, SocketAddr::port);
            let same =
                SocketAddr::new(address.ip(), if address.port() == 0 { chosen } else { address.port() });
            let listener =
                open(same).or_else(|error| if same == address { Err(error) } else { open(address) });
            let listener = listener.map_err(|source| BindError { address, source })?;
            this.addresses.push(listener.local_addr().map_err(|source| BindError { address, source })?);
            this.listeners.push(listener);
        }
        Ok(this)
    }

    /// Returns the addresses as bound.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `stop` turns true or its sender is dropped, then lets open requests end within a
    /// second.
    pub async fn serve(
        self,
        router: Router,
        node: NodeHandle,
        limits: SocketLimits,
        stop: watch::Receiver<bool>,
    ) {
        let census = Census::new(limits);
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            let door = Door {
                router: router.clone(),
                node: node.clone(),
                stop: stop.clone(),
                census: census.clone(),
            };
            accepting.spawn(accept(listener, door));
        }
        while accepting.join_next().await.is_some() {}
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the sockets of the last run to leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[derive(Clone)]
struct Door {
    router: Router,
    node: NodeHandle,
    stop: watch::Receiver<bool>,
    census: Census,
}

async fn accept(listener: TcpListener, door: Door) {
    let mut stop = door.stop.clone();
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((socket, remote)) => {
                let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
                if let Some(seat) = door.census.seat(remote.ip()) {
                    open.spawn(welcome(socket, remote, door.clone(), seat));
                }
            }
            // Out of file descriptors, or the peer was quicker: go on, but not in a hot loop.
            Err(error) => {
                tracing::warn!(%error, "socket was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, async { while open.join_next().await.is_some() {} }).await;
}

/// Waits until the server stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A dropped sender is a server that ended without saying so.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn welcome(mut socket: TcpStream, remote: SocketAddr, door: Door, seat: Seat) {
    let Ok(Ok((protocol, first))) = tokio::time::timeout(FIRST_BYTES_MAX, read_first(&mut socket)).await
    else {
        return;
    };
    let _ = socket.set_nodelay(true);
    match protocol {
        Protocol::Http1 => {
            serve_http(Replay::new(first, socket), auto_builder().http1_only(), remote, door).await
        }
        Protocol::Http2 => {
            serve_http(Replay::new(first, socket), auto_builder().http2_only(), remote, door).await
        }
        Protocol::IceTcp => match socket.into_std() {
            Ok(socket) => door.node.accept_ice_tcp(socket, remote, first),
            Err(error) => tracing::debug!(%error, "ICE-TCP socket was not handed over"),
        },
        Protocol::Tls => tracing::debug!(%remote, "TLS was spoken to the plain HTTP port"),
        Protocol::Unknown => tracing::debug!(%remote, "socket began with no known protocol"),
    }
    drop(seat);
}

/// What the first bytes of a socket say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
    IceTcp,
    Tls,
    Unknown,
}

/// Tells the protocol; `None` while the bytes may still become either.
fn tell(bytes: &[u8]) -> Option<Protocol> {
    let first = *bytes.first()?;
    match first {
        b'A'..=b'Z' => tell_http(bytes),
        0x16 => Some(Protocol::Tls),
        0..=ICE_LENGTH_HIGH_MAX => tell_ice(bytes),
        _ => Some(Protocol::Unknown),
    }
}

/// `PRI ` begins the HTTP/2 preface and no method (RFC 9113 §3.4).
fn tell_http(bytes: &[u8]) -> Option<Protocol> {
    match bytes.get(..H2_PREFACE.len()) {
        Some(head) => Some(if head == H2_PREFACE { Protocol::Http2 } else { Protocol::Http1 }),
        None if H2_PREFACE.starts_with(bytes) => None,
        None => Some(Protocol::Http1),
    }
}

/// A frame's length, then a STUN header: two zero bits, a length that is a multiple of four, the cookie.
fn tell_ice(bytes: &[u8]) -> Option<Protocol> {
    let &[high, low, kind, _, _, size_low, c0, c1, c2, c3] = bytes.get(..ICE_HEAD)? else {
        return Some(Protocol::Unknown);
    };
    let frame = u16::from_be_bytes([high, low]);
    let is_stun = (STUN_HEADER..=ICE_FRAME_MAX).contains(&frame)
        && kind & 0xc0 == 0
        && size_low & 3 == 0
        && [c0, c1, c2, c3] == STUN_COOKIE;
    Some(if is_stun { Protocol::IceTcp } else { Protocol::Unknown })
}

async fn read_first(socket: &mut TcpStream) -> io::Result<(Protocol, Vec<u8>)> {
    let mut first = Vec::with_capacity(ICE_HEAD);
    loop {
        if let Some(protocol) = tell(&first) {
            return Ok((protocol, first));
        }
        let missing = ICE_HEAD.saturating_sub(first.len()).max(1) as u64;
        if (&mut *socket).take(missing).read_buf(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn auto_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        // Headers somewhat over the limit reach the router, which refuses them with a problem; hyper answers to
        // what is far over.
        .max_buf_size(4 * HEADER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    builder
}

async fn serve_http(socket: Replay, builder: auto::Builder<TokioExecutor>, remote: SocketAddr, door: Door) {
    let Door { router, mut stop, .. } = door;
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(remote));
        let mut router = router.clone();
        async move { router.call(request).await }
    });
    let serving = builder.serve_connection(TokioIo::new(socket), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        outcome = serving.as_mut() => Some(outcome),
        () = stopped(&mut stop) => None,
    };
    let outcome = match ended {
        Some(outcome) => outcome,
        None => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::trace!(%error, "HTTP socket ended early");
    }
}

/// A socket whose first bytes were read already.
struct Replay {
    first: Vec<u8>,
    at: usize,
    socket: TcpStream,
}

impl Replay {
    const fn new(first: Vec<u8>, socket: TcpStream) -> Self {
        Self { first, at: 0, socket }
    }
}

impl AsyncRead for Replay {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = this.first.get(this.at..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut this.socket).poll_read(task, buffer);
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..count).unwrap_or_default());
        this.at += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(task)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(task, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

/// Counts open sockets.
#[derive(Clone, Debug)]
struct Census {
    limits: SocketLimits,
    seats: Arc<Mutex<Seats>>,
}

#[derive(Debug, Default)]
struct Seats {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One open socket; leaves the count when dropped.
#[derive(Debug)]
struct Seat {
    census: Census,
    address: IpAddr,
}

impl Census {
    fn new(limits: SocketLimits) -> Self {
        Self { limits, seats: Arc::default() }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seat(&self, address: IpAddr) -> Option<Seat> {
        let mut seats = self.seats();
        let of_address = seats.by_address.get(&address).copied().unwrap_or_default();
        if seats.total >= self.limits.total || of_address >= self.limits.per_address {
            return None;
        }
        seats.total += 1;
        seats.by_address.insert(address, of_address + 1);
        Some(Seat { census: self.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.census.seats();
        seats.total = seats.total.saturating_sub(1);
        match seats.by_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                seats.by_address.remove(&self.address);
            }
        }
    }
}

/// How long a socket may be silent at its start.
const FIRST_BYTES_MAX: Duration = Duration::from_secs(5);
/// How long a client may take to send all header lines, and to be idle between requests.
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);
/// How long requests may go on when the server stops; within the five seconds of the whole shutdown.
const GRACE: Duration = Duration::from_secs(1);
/// Waits after a failed accept, so that running out of descriptors does not take a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const BACKLOG: u32 = 1024;
const H2_STREAMS_MAX: u32 = 100;
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);
const H2_PREFACE: &[u8] = b"PRI ";
/// A frame's length and as much of a STUN header as tells it.
const ICE_HEAD: usize = 10;
const ICE_FRAME_MAX: u16 = 2048;
const ICE_LENGTH_HIGH_MAX: u8 = 8;
const STUN_HEADER: u16 = 20;
const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: [u8; 12] = [0, 96, 0, 1, 0, 76, 0x21, 0x12, 0xa4, 0x42, 1, 2];

    #[test]
    fn first_bytes_tell_the_protocol() {
        assert_eq!(tell(b"GET / HTTP/1.1"), Some(Protocol::Http1));
        assert_eq!(tell(b"POST /whip"), Some(Protocol::Http1));
        assert_eq!(tell(b"PRI * HTTP/2.0"), Some(Protocol::Http2));
        assert_eq!(tell(&[0x16, 3, 1]), Some(Protocol::Tls));
        assert_eq!(tell(&CHECK), Some(Protocol::IceTcp));
        assert_eq!(tell(b"ssh"), Some(Protocol::Unknown));
        assert_eq!(tell(&[9, 0]), Some(Protocol::Unknown));
    }

    #[test]
    fn too_few_bytes_tell_nothing_yet() {
        assert_eq!(tell(b""), None);
        assert_eq!(tell(b"PR"), None);
        for length in 1..ICE_HEAD {
            assert_eq!(tell(&CHECK[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_frame_without_a_stun_header_is_not_taken_for_ice() {
        let with = |at: usize, value: u8| {
            let mut bytes = CHECK;
            bytes[at] = value;
            tell(&bytes)
        };

        assert_eq!(with(0, 8), Some(Protocol::Unknown), "frame longer than 2,048");
        assert_eq!(with(1, 19), Some(Protocol::Unknown), "frame shorter than a STUN header");
        assert_eq!(with(2, 0x80), Some(Protocol::Unknown), "RTP's first bits");
        assert_eq!(with(5, 77), Some(Protocol::Unknown), "odd attribute length");
        assert_eq!(with(9, 0x43), Some(Protocol::Unknown), "another cookie");
    }

    #[test]
    fn sockets_are_bounded_by_address_and_in_total() {
        let census = Census::new(SocketLimits { total: 3, per_address: 2 });
        let near = IpAddr::from([192, 0, 2, 1]);

        let first = census.seat(near);
        let second = census.seat(near);
        let other = census.seat(IpAddr::from([192, 0, 2, 2]));

        assert!(first.is_some() && second.is_some() && other.is_some());
        assert!(census.seat(near).is_none(), "per address");
        assert!(census.seat(IpAddr::from([192, 0, 2, 3])).is_none(), "in total");
        drop(first);
        assert!(census.seat(IpAddr::from([192, 0, 2, 3])).is_some());
    }

    #[test]
    fn a_closed_socket_leaves_no_trace() {
        let census = Census::new(SocketLimits::default());

        drop(census.seat(IpAddr::from([192, 0, 2, 1])));

        assert!(census.seats().by_address.is_empty());
        assert_eq!(census.seats().total, 0);
    }
}
