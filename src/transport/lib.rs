//! Sockets and the protocols between a socket and media: UDP, ICE-lite, DTLS, SRTP, SCTP, SDP.
//!
//! The only server crate that names the foreign engines `rtc-*`, `dimpl` and `sctp-proto`; none of their types
//! appears in a public signature. Everything but the sockets is sans-IO. Start reading at [`link`], one
//! session's bundle of ICE, DTLS, SRTP and SCTP.

pub mod addresses;
#[cfg(test)]
mod corpus;
pub mod drop_reason;
pub mod dtls;
#[cfg(test)]
mod dtls_peer;
pub mod ice;
mod instant;
pub mod link;
pub mod path;
pub mod rate;
pub mod sctp;
#[cfg(test)]
mod sctp_peer;
pub mod sdp;
pub mod srtp;
pub mod stun;
pub mod tcp_framing;
pub mod udp;

pub use drop_reason::DropReason;
pub use link::{CloseReason, Inbound, Link, LinkConfig, LinkOutput};
pub use path::{Path, Via};
