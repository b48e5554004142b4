//! The HTTP surface over a real node: WHIP and WHEP, the rules for all routes, the sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end its process, and its helpers stand outside of #[test]"
)]

mod explain;
mod rules;
mod sockets;
mod support;
mod whip_whep;
