//! Load and measurement for any WHIP/WHEP server: a black box that shares nothing with the server but wire formats.
//!
//! Think of it as the other side of the wire. `link` is one negotiated session as a state machine (ICE, DTLS, SRTP);
//! `publisher` and `viewer` put media on it and check what comes; `impair` spoils the path between; `bench` starts a
//! server and runs scenarios with all of them. Start reading at the binary's `main.rs`.

pub mod bench;
pub mod churn;
pub mod clock;
mod descriptors;
mod guest;
pub mod hostile;
pub mod impair;
pub mod link;
pub mod process;
pub mod progress;
pub mod publisher;
pub mod report;
pub mod signal;
pub mod socket;
pub mod stamp;
pub mod stop;
pub mod viewer;
pub mod whep;
pub mod whip;
