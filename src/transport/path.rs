//! Where a datagram came from and where an answer goes.
//!
//! A [`Path`] is what ICE calls a candidate pair, seen from our side: our local address (or one accepted TCP
//! stream) and the remote address. It is a small value, so that maps can be keyed by it.

use std::net::SocketAddr;

/// One pair of a local and a remote transport address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Our side.
    pub via: Via,
    /// Their side.
    pub remote: SocketAddr,
}

impl Path {
    /// Makes a path through the local UDP address of an index.
    #[must_use]
    pub const fn udp(local: u8, remote: SocketAddr) -> Self {
        Self { via: Via::Udp(local), remote }
    }

    /// Makes a path through an accepted ICE-TCP stream.
    #[must_use]
    pub const fn tcp(stream: u32, remote: SocketAddr) -> Self {
        Self { via: Via::Tcp(stream), remote }
    }
}

/// Our side of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// The UDP socket of the local address with this index; the index is the same on every shard.
    Udp(u8),
    /// An accepted TCP stream of RFC 4571 frames, by the node's number for it.
    Tcp(u32),
}
