//! SCTP over DTLS and its data channels (RFC 8831, RFC 8832).
//!
//! [`Association`] joins a library's state machine with our [`filter`] in front, because the library's costs are
//! quadratic in what a peer may send, and with [`dcep`], the small protocol that opens a data channel.
//!
//! Invariants: at most [`CHANNELS_MAX`] channels of at most [`MESSAGE_BYTES_MAX`] a message; what we owe a slow
//! peer is bounded by [`QUEUE_BYTES_MAX`]; a peer that asks for more ends its own session only.

pub mod association;
pub mod dcep;
pub mod filter;

pub use association::{Association, Output};

/// The most data channels of one session.
pub const CHANNELS_MAX: usize = 8;
/// The longest label of a data channel, in bytes.
pub const LABEL_BYTES_MAX: usize = 64;
/// The longest message, in bytes, both ways.
pub const MESSAGE_BYTES_MAX: usize = 16_384;
/// The most bytes that wait for a slow peer; beyond, [`SendError::QueueFull`].
pub const QUEUE_BYTES_MAX: usize = 65_536;

/// A data channel of one session: its SCTP stream identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u16);

/// One message of a data channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl Message {
    /// Returns the message's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes.as_slice(),
        }
    }
}

/// Why a message was not accepted for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No such data channel is open.
    #[error("the data channel is not open")]
    NotOpen,
    /// The message is longer than [`MESSAGE_BYTES_MAX`].
    #[error("the message of {bytes} bytes is longer than {MESSAGE_BYTES_MAX}")]
    TooLong {
        /// The message's length.
        bytes: usize,
    },
    /// The peer reads too slowly: [`QUEUE_BYTES_MAX`] bytes wait already.
    #[error("{QUEUE_BYTES_MAX} bytes wait for a slow peer")]
    QueueFull,
}
