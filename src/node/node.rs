//! Starts a node: binds the sockets, makes the shards, hands out the handle.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mio::{Poll, Waker};
use tokio::sync::watch;
use transport::dtls::Certificate;
use transport::udp::{GsoMode, UdpGroup, UdpSocket};

use crate::admission::Admission;
use crate::advertise::Advertised;
use crate::clock::Clock;
use crate::handle::{Inner, NodeHandle};
use crate::mesh::Mailboxes;
use crate::metrics::Metrics;
use crate::registry::{Limits, Registry};
use crate::shard::{self, Shard};

/// An address that answers name besides, or instead of, the local ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertisedAddress {
    /// The address as clients reach it.
    pub ip: IpAddr,
    /// The port as clients reach it; the bound ports when absent.
    pub port: Option<u16>,
}

/// What a node needs to know to start.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where media arrives. A wildcard address means loopback and every usable local address that there is at the
    /// start; port 0 lets the system choose.
    pub udp: SocketAddr,
    /// Where the HTTP listener really listens, so that answers can name it for ICE-TCP.
    pub tcp: Vec<SocketAddr>,
    /// When not empty, only these addresses go into answers.
    pub advertise: Vec<AdvertisedAddress>,
    /// How many shards to run, at least one.
    pub shards: usize,
    /// Whether to use segmentation offload.
    pub gso: GsoMode,
    /// How many sessions may exist at once. Viewers leave an eighth of the places, 64 at most, to publishers.
    pub sessions_max: usize,
    /// How many viewers may watch at once, in all rooms together.
    pub max_viewers: usize,
    /// The part of a second, in percent, that a shard may work before new viewers are refused.
    pub max_busy_percent: u16,
    /// How long a room and its viewers stay without a publisher.
    pub room_linger: Duration,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            udp: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tcp: Vec::new(),
            advertise: Vec::new(),
            shards: 1,
            gso: GsoMode::Auto,
            sessions_max: 20_000,
            max_viewers: 20_000,
            max_busy_percent: 85,
            room_linger: Duration::from_secs(30),
        }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No local address is usable for a wildcard.
    #[error("no usable local address was found for {0}")]
    NoAddress(SocketAddr),
    /// The system does not list its addresses.
    #[error("cannot list the local addresses")]
    Addresses(#[source] io::Error),
    /// A media socket could not be bound.
    #[error("cannot listen for media on udp {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The DTLS certificate could not be made.
    #[error("cannot make the DTLS certificate: {0}")]
    Certificate(String),
    /// A thread or its event queue could not be made.
    #[error("cannot start a shard")]
    Shard(#[source] io::Error),
    /// The metrics clash.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    handle: NodeHandle,
    udp: Vec<SocketAddr>,
}

impl Node {
    /// Binds all sockets, then starts all shards; when it returns, the node takes sessions.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: &NodeConfig) -> Result<Self, StartError> {
        let Assembled { inner, shards, stopped, udp } = assemble(config)?;
        for (id, shard) in shards.into_iter().enumerate() {
            spawn(id, shard, (Arc::clone(&inner), Arc::clone(&stopped))).map_err(StartError::Shard)?;
        }
        Ok(Self { handle: NodeHandle::new(inner), udp })
    }

    /// Returns the door for signaling.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Returns the addresses that media arrives at, as bound.
    #[must_use]
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        &self.udp
    }
}

/// The parts of a node, none of which runs yet.
pub(crate) struct Assembled {
    pub(crate) inner: Arc<Inner>,
    pub(crate) shards: Vec<Shard>,
    /// Counts the shards that have ended.
    stopped: Arc<watch::Sender<usize>>,
    udp: Vec<SocketAddr>,
}

/// Binds all sockets and makes all shards.
pub(crate) fn assemble(config: &NodeConfig) -> Result<Assembled, StartError> {
    let shards = config.shards.clamp(1, SHARDS_MAX);
    let (udp, mut sockets) = bind(config.udp, shards)?;
    let polls: Vec<Poll> =
        (0..shards).map(|_| Poll::new()).collect::<Result<_, _>>().map_err(StartError::Shard)?;
    let wakers: Vec<Waker> = polls
        .iter()
        .map(|poll| Waker::new(poll.registry(), shard::WAKER))
        .collect::<Result<_, _>>()
        .map_err(StartError::Shard)?;
    let (stopped_sender, stopped) = watch::channel(0);
    let inner = Arc::new(Inner {
        clock: Clock::start(),
        registry: Mutex::new(Registry::new(limits(config, shards))),
        mailboxes: Mailboxes::new(wakers),
        metrics: Metrics::register()?,
        certificate: Arc::new(
            Certificate::generate().map_err(|error| StartError::Certificate(error.to_string()))?,
        ),
        advertised: Advertised::new(config, &udp),
        admission: Admission::new(shards, config.max_busy_percent),
        draining: AtomicBool::new(false),
        stopped,
    });
    let make = |(id, poll)| {
        let own: Vec<UdpSocket> = sockets.iter_mut().filter_map(Vec::pop).collect();
        Shard::new(id, Arc::clone(&inner), poll, (own, config.gso)).map_err(StartError::Shard)
    };
    let shards = polls.into_iter().enumerate().map(make).collect::<Result<_, _>>()?;
    Ok(Assembled { inner, shards, stopped: Arc::new(stopped_sender), udp })
}

/// Binds one socket per shard on each address. They must all exist before the first answer: adding one later would
/// re-hash every session to another shard.
fn bind(udp: SocketAddr, shards: usize) -> Result<(Vec<SocketAddr>, Vec<Vec<UdpSocket>>), StartError> {
    let mut bound = Vec::new();
    let mut groups = Vec::new();
    let mut port = udp.port();
    for ip in local_addresses(udp.ip()).map_err(StartError::Addresses)? {
        let address = SocketAddr::new(ip, port);
        let group = match UdpGroup::bind(address, shards) {
            Ok(group) => group,
            // Of a wildcard's addresses one may be unusable (IPv6 switched off); an address by name may not.
            Err(error) if udp.ip().is_unspecified() && error.kind() == io::ErrorKind::AddrNotAvailable => {
                tracing::warn!(%address, %error, "local address is not usable for media");
                continue;
            }
            Err(source) => return Err(StartError::Bind { address, source }),
        };
        if let Some(warning) = &group.warning {
            tracing::warn!("{warning}");
        }
        port = group.address.port();
        bound.push(group.address);
        groups.push(group.sockets);
    }
    if bound.is_empty() {
        return Err(StartError::NoAddress(udp));
    }
    Ok((bound, groups))
}

fn local_addresses(ip: IpAddr) -> io::Result<Vec<IpAddr>> {
    if !ip.is_unspecified() {
        return Ok(vec![ip]);
    }
    let mut addresses = transport::addresses::usable_local_addresses()?;
    let loopback: IpAddr = if ip.is_ipv4() {
        std::net::Ipv4Addr::LOCALHOST.into()
    } else {
        std::net::Ipv6Addr::LOCALHOST.into()
    };
    // `[::]` stands for both families, as it does for TCP listeners; `0.0.0.0` for IPv4 alone.
    addresses.retain(|address| ip.is_ipv6() || address.is_ipv4());
    if ip.is_ipv6() && !addresses.contains(&std::net::Ipv4Addr::LOCALHOST.into()) {
        addresses.push(std::net::Ipv4Addr::LOCALHOST.into());
    }
    if !addresses.contains(&loopback) {
        addresses.push(loopback);
    }
    Ok(addresses)
}

const fn limits(config: &NodeConfig, shards: usize) -> Limits {
    Limits {
        shards,
        sessions_max: config.sessions_max,
        max_viewers: config.max_viewers,
        room_linger: config.room_linger,
        takeover_after: Duration::from_secs(1),
        unclaimed_max: Duration::from_secs(30),
    }
}

fn spawn(
    id: usize,
    mut shard: Shard,
    (inner, stopped): (Arc<Inner>, Arc<watch::Sender<usize>>),
) -> io::Result<()> {
    let work = move || {
        let _span = tracing::info_span!("shard", id).entered();
        run_counted(&stopped, || shard.run());
        inner.registry().lose(id);
    };
    thread::Builder::new().name(format!("shard-{id}")).spawn(work).map(drop)
}

/// Runs a shard to its end and counts that it stopped. A panic is such an end: a node that lacks a shard must not say
/// that it is ready.
fn run_counted(stopped: &watch::Sender<usize>, run: impl FnOnce()) {
    let outcome = catch_unwind(AssertUnwindSafe(run));
    stopped.send_modify(|count| *count += 1);
    if outcome.is_err() {
        tracing::error!(
            "shard failed and all its sessions with it: restart this server, and report the panic"
        );
    }
}

/// A mask of shards is a `u64`.
pub(crate) const SHARDS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_panics_counts_as_stopped() {
        let (stopped, count) = watch::channel(0);

        let ran = thread::spawn(move || run_counted(&stopped, || std::panic::panic_any("a defect"))).join();

        assert_eq!(*count.borrow(), 1);
        assert!(ran.is_ok(), "its thread ends as after any other end");
    }

    #[test]
    fn a_shard_that_ends_counts_as_stopped_once() {
        let (stopped, count) = watch::channel(0);

        run_counted(&stopped, || ());

        assert_eq!(*count.borrow(), 1);
    }
}
