//! The real binary on loopback, against stacks that are not ours.
//!
//! Each test starts a server of its own on ports of the kernel's choice ([`server::Server`]), lets real peers talk
//! to it (`peers/`: ffmpeg, aiortc and werift as processes; [`rust_peer`]: the crate `webrtc` in this process) and
//! looks only at what a peer, an HTTP client or a scraper of `/metrics` can see. A missing tool fails a test, it
//! never skips one. Start reading at [`other_stacks`].
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    reason = "a test may end its process, and says what it measured"
)]

mod command_line;
mod crowd;
mod descriptors;
mod explain;
mod feedback;
mod healthy;
mod hostile_datagrams;
mod hostile_signaling;
mod http;
mod join_storm;
mod other_stacks;
mod process;
mod relay;
mod roaming;
mod rust_peer;
mod server;
mod session_api;
mod shutdown;
