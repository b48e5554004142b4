//! SDP offer and answer (RFC 8866, RFC 3264, RFC 8829 in the server's half).
//!
//! Think of a one-way street: [`Offer::parse`] checks the text against [`limits`], lets the grammar of `rtc-sdp`
//! take it apart, and keeps only what we understand as plain data; [`answer_publish`] and [`answer_watch`] write
//! the answer from our own templates and return what was agreed as [`rtp::negotiation`] tracks. No text of the
//! offer reaches an answer without having passed the character checks, and no name in it is ever resolved.
//!
//! Invariants: one answer section for every offered one, in order; every transport attribute is ours; an answer
//! is at most [`ANSWER_MAX`] bytes and begins with `v=0`. WHIP (RFC 9725) and WHEP say which offers are refused
//! as a whole: [`OfferError::class`]. Start reading at [`offer`].

pub mod answer;
pub mod candidate;
pub mod fragment;
pub mod limits;
pub mod offer;
mod publish;
mod section;
mod watch;

pub use answer::{ANSWER_MAX, AnswerConfig};
pub use candidate::{Candidate, RemoteCandidate, host_candidates};
pub use fragment::{Fragment, FragmentError};
pub use offer::Offer;
pub use publish::answer_publish;
pub use watch::answer_watch;

use thiserror::Error;

/// Why an offer is not accepted; always the whole of it, never one section (RFC 9725 §4.2).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OfferError {
    /// The text is longer than [`limits::TEXT_MAX`].
    #[error("the offer has {bytes} bytes, at most {max} are accepted")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The text has more lines than [`limits::LINES_MAX`].
    #[error("the offer has more than {max} lines")]
    TooManyLines {
        /// The limit.
        max: usize,
    },
    /// A line is longer than [`limits::LINE_MAX`].
    #[error("line {line} is longer than {max} bytes")]
    LineTooLong {
        /// The line's number, from one.
        line: usize,
        /// The limit.
        max: usize,
    },
    /// A line has a control character, such as NUL or a carriage return that no line feed follows.
    #[error("line {line} has a control character")]
    ControlCharacter {
        /// The line's number, from one.
        line: usize,
    },
    /// The text does not begin with `v=0`.
    #[error("the offer does not begin with v=0")]
    NotSdp,
    /// The text is not SDP by its grammar.
    #[error("the offer is not SDP: {reason}")]
    Grammar {
        /// What the parser said, at most 128 bytes of it.
        reason: String,
    },
    /// There is more of something than a session may have.
    #[error("the offer has more than {max} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// An attribute cannot be understood.
    #[error("the attribute {attribute} is malformed")]
    Malformed {
        /// The attribute's name.
        attribute: &'static str,
    },
    /// Two sections have the same media identification.
    #[error("two sections have the same mid")]
    DuplicateMid,
    /// The offer has several sections that are not all in one BUNDLE group (RFC 9143).
    #[error("the sections are not bundled: offer all of them in one BUNDLE group")]
    NotBundled,
    /// There are no ICE credentials.
    #[error("the offer has no ice-ufrag and ice-pwd")]
    MissingIce,
    /// There is no certificate fingerprint.
    #[error("the offer has no certificate fingerprint")]
    MissingFingerprint,
    /// Every fingerprint uses a hash weaker than SHA-256.
    #[error("the fingerprint is weaker than sha-256 or malformed")]
    WeakFingerprint,
    /// RTP and RTCP are not on one port (RFC 5761).
    #[error("a section has no rtcp-mux")]
    MissingRtcpMux,
    /// The DTLS role is not one that can be answered.
    #[error("the setup role cannot be answered: offer actpass, active or passive")]
    Setup,
    /// A media section is not secured by DTLS.
    #[error("a section's transport is not DTLS-SRTP with feedback (UDP/TLS/RTP/SAVPF)")]
    Transport,
    /// No section has media in the direction that the endpoint is for.
    #[error("the offer has no section to {verb}")]
    NothingTo {
        /// `send` or `receive`, as the offering side sees it.
        verb: &'static str,
    },
    /// There are two tracks of a kind.
    #[error("the offer has more than one {kind} track")]
    TooManyTracks {
        /// `audio` or `video`.
        kind: &'static str,
    },
    /// There are more simulcast layers than are forwarded.
    #[error("the offer has {layers} simulcast layers, at most {max} are accepted")]
    TooManyLayers {
        /// How many there are.
        layers: usize,
        /// The limit.
        max: usize,
    },
    /// The answer would be longer than [`ANSWER_MAX`].
    #[error("the answer to this offer would be longer than {max} bytes")]
    AnswerTooLarge {
        /// The limit.
        max: usize,
    },
    /// None of a section's codecs is carried.
    #[error("none of the offered {kind} codecs is carried")]
    NoUsableCodec {
        /// `audio` or `video`.
        kind: &'static str,
    },
}

impl OfferError {
    /// Returns whose business the error is, in the words of the HTTP API.
    #[must_use]
    pub const fn class(&self) -> OfferClass {
        match self {
            Self::TooLarge { .. }
            | Self::TooManyLines { .. }
            | Self::LineTooLong { .. }
            | Self::ControlCharacter { .. }
            | Self::NotSdp
            | Self::Grammar { .. }
            | Self::TooMany { .. }
            | Self::Malformed { .. }
            | Self::DuplicateMid => OfferClass::Syntax,
            Self::NoUsableCodec { .. } => OfferClass::Codec,
            Self::NotBundled
            | Self::MissingIce
            | Self::MissingFingerprint
            | Self::WeakFingerprint
            | Self::MissingRtcpMux
            | Self::Setup
            | Self::Transport
            | Self::NothingTo { .. }
            | Self::TooManyTracks { .. }
            | Self::TooManyLayers { .. }
            | Self::AnswerTooLarge { .. } => OfferClass::Unsupported,
        }
    }
}

/// What kind of refusal an [`OfferError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferClass {
    /// The text is broken or beyond a limit: `400 offer/syntax`.
    Syntax,
    /// No codec in common: `422 media/codec`.
    Codec,
    /// Well-formed, and not something that this server does: `422 offer/unsupported`.
    Unsupported,
}
