//! Formats and numbers on the wire: RTP, RTCP, header extensions, payload descriptors.
//!
//! Everything here is a pure function of bytes, or a small value. Nothing is trusted: every parser takes bytes
//! from a stranger and returns an error or a borrowed view, never a panic and never an allocation that the
//! sender can grow. Start reading at [`time`] and [`number`], the vocabulary of every other crate; then
//! [`header`] for one packet, [`payload`] for what it carries, and [`rtcp`] for what comes back.
#![forbid(unsafe_code)]

pub mod codec;
pub mod demux;
pub mod error;
pub mod extension;
pub mod header;
pub mod negotiation;
pub mod number;
pub mod payload;
mod reader;
pub mod rtcp;
pub mod time;

pub use codec::{Codec, MediaKind};
pub use error::ParseError;
pub use extension::{Extension, ExtensionMap, ExtensionWriter, Extensions};
pub use header::{OutgoingHeader, RtpView};
pub use number::{ExtSeq, PayloadType, RtpTimestamp, SeqNo, SeqUnwrapper, Ssrc};
pub use payload::Descriptor;
pub use time::{MediaClock, MonoTime, NtpTime};
