//! The UDP relay: remotes on one side, the server on the other, a bad network between.
//!
//! Each remote address gets a socket of its own towards the server, as behind a NAT, so that the server sees distinct
//! addresses; a socket that carried nothing for [`IDLE_MAX`] is closed. All remotes share the one bad network: two viewers
//! meet at its bottleneck. Receive offload stays off, so that the kernel hands over single datagrams.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use rtp::MonoTime;
use serde_json::{Value, json};
use socket2::SockRef;

use super::control::Network;
use super::driver::Carrier;
use super::waiter::Waiter;
use crate::clock;

/// One datagram, and whose it is.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    remote: SocketAddr,
    payload: Box<[u8]>,
}

/// The sockets.
#[derive(Debug)]
pub(super) struct Relay {
    listener: UdpSocket,
    listen: SocketAddr,
    server: Option<SocketAddr>,
    remotes: BTreeMap<SocketAddr, Remote>,
    by_token: BTreeMap<u64, SocketAddr>,
    next_token: u64,
    next_tidy: MonoTime,
    buffer: Vec<u8>,
    counters: Counters,
}

/// One remote address.
#[derive(Debug)]
struct Remote {
    token: u64,
    upstream: UdpSocket,
    used: MonoTime,
}

/// What the network itself does not know.
#[derive(Debug, Default)]
struct Counters {
    /// Datagrams that could not get a socket towards the server.
    refused: u64,
    /// Datagrams that the kernel would not take.
    unsent: u64,
}

/// The listener's token; remotes count up from here.
const LISTENER: u64 = 0;
/// Most remotes at a time, within the usual 1,024 descriptors. Beyond it new remotes are refused and counted.
const REMOTES_MAX: usize = 512;
/// Longer than ICE consent lasts, so that no session dies of the relay.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// How often idle remotes are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(10);
/// Datagrams read from one socket before the others and the clock get their turn.
const READS_MAX: usize = 16;
/// Asked for; the kernel gives what `net.core.rmem_max` allows.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// What the wire carries beside the payload: IPv4 or IPv6, and UDP.
const HEADER_BYTES: [usize; 2] = [28, 48];

impl Relay {
    /// Binds the side of the remotes.
    pub(super) fn bind(listen: SocketAddr, server: Option<SocketAddr>, waiter: &Waiter) -> io::Result<Self> {
        let listener = socket(listen)?;
        waiter.watch(&listener, LISTENER)?;
        Ok(Self {
            listen: listener.local_addr()?,
            listener,
            server,
            remotes: BTreeMap::new(),
            by_token: BTreeMap::new(),
            next_token: LISTENER + 1,
            next_tidy: MonoTime::ZERO,
            buffer: vec![0; 65_536],
            counters: Counters::default(),
        })
    }

    fn read_listener(&mut self, waiter: &Waiter, network: &mut Network<Datagram>) {
        for _ in 0..READS_MAX {
            let Ok((bytes, remote)) = self.listener.recv_from(&mut self.buffer) else { return };
            let now = clock::now();
            if !self.knows(remote, now, waiter) {
                self.counters.refused = self.counters.refused.saturating_add(1);
                continue;
            }
            let payload = self.buffer.get(..bytes).unwrap_or_default().into();
            network.up.handle_packet(now, Datagram { remote, payload }, on_wire(remote, bytes));
        }
    }

    fn read_upstream(&mut self, token: u64, network: &mut Network<Datagram>) {
        let Some((remote, Remote { upstream, used, .. })) =
            self.by_token.get(&token).and_then(|remote| Some((*remote, self.remotes.get_mut(remote)?)))
        else {
            return;
        };
        for _ in 0..READS_MAX {
            let bytes = match upstream.recv(&mut self.buffer) {
                Ok(bytes) => bytes,
                // The answer to an earlier datagram: nobody listens there (yet).
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(_) => return,
            };
            *used = clock::now();
            let payload = self.buffer.get(..bytes).unwrap_or_default().into();
            network.down.handle_packet(*used, Datagram { remote, payload }, on_wire(remote, bytes));
        }
    }

    /// Returns whether a remote has its socket, after giving it one if that is possible.
    fn knows(&mut self, remote: SocketAddr, now: MonoTime, waiter: &Waiter) -> bool {
        if let Some(known) = self.remotes.get_mut(&remote) {
            known.used = now;
            return true;
        }
        let Some(server) = self.server.filter(|_| self.remotes.len() < REMOTES_MAX) else {
            return false;
        };
        let token = self.next_token;
        let Ok(upstream) = upstream(server, waiter, token) else {
            return false;
        };
        self.next_token = token.wrapping_add(1);
        self.by_token.insert(token, remote);
        self.remotes.insert(remote, Remote { token, upstream, used: now });
        true
    }
}

impl Carrier for Relay {
    type Packet = Datagram;

    fn read(&mut self, token: u64, waiter: &Waiter, network: &mut Network<Datagram>) {
        match token {
            LISTENER => self.read_listener(waiter, network),
            _ => self.read_upstream(token, network),
        }
    }

    fn send_down(&mut self, datagram: &Datagram) {
        if self.listener.send_to(&datagram.payload, datagram.remote).is_err() {
            self.counters.unsent = self.counters.unsent.saturating_add(1);
        }
    }

    fn send_up(&mut self, datagram: &Datagram) {
        let Some(remote) = self.remotes.get(&datagram.remote) else {
            return;
        };
        // A second try: the first may only have fetched the refusal of an earlier datagram.
        let send = || remote.upstream.send(&datagram.payload);
        if send().or_else(|_| send()).is_err() {
            self.counters.unsent = self.counters.unsent.saturating_add(1);
        }
    }

    fn turn_to(&mut self, server: SocketAddr) -> Result<Value, String> {
        self.server = Some(server);
        self.remotes.clear();
        self.by_token.clear();
        Ok(self.place())
    }

    fn tidy(&mut self, now: MonoTime) -> Option<MonoTime> {
        if now >= self.next_tidy {
            self.next_tidy = now + TIDY_EVERY;
            self.remotes.retain(|_, remote| now.since(remote.used) < IDLE_MAX);
            self.by_token
                .retain(|token, remote| self.remotes.get(remote).is_some_and(|known| known.token == *token));
        }
        (!self.remotes.is_empty()).then_some(self.next_tidy)
    }

    fn place(&self) -> Value {
        let server = self.server.map_or_else(|| "nowhere yet".to_owned(), |server| server.to_string());
        json!({ "listen": self.listen.to_string(), "to": server })
    }

    fn facts(&self) -> Value {
        let Counters { refused, unsent } = self.counters;
        json!({ "remotes": self.remotes.len(), "refused": refused, "unsent": unsent })
    }
}

/// A socket towards the server for one remote. Dropping it takes it out of the waiter too.
fn upstream(server: SocketAddr, waiter: &Waiter, token: u64) -> io::Result<UdpSocket> {
    let any = match server.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = socket(SocketAddr::new(any, 0))?;
    socket.connect(server)?;
    waiter.watch(&socket, token)?;
    Ok(socket)
}

fn socket(bind: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(bind)?;
    socket.set_nonblocking(true)?;
    let options = SockRef::from(&socket);
    options.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    options.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    Ok(socket)
}

fn on_wire(remote: SocketAddr, payload: usize) -> usize {
    let [v4, v6] = HEADER_BYTES;
    payload.saturating_add(if remote.is_ipv4() { v4 } else { v6 })
}
