//! Formats and numbers on the wire: RTP, RTCP, header extensions, payload descriptors.
//!
//! Everything here is a pure function of bytes, or a small value. Nothing is trusted: every parser takes bytes
//! from a stranger and returns an error or a borrowed view, never a panic and never an allocation that the
//! sender can grow. Start reading at [`time`] and [`number`], the vocabulary of every other crate.

pub mod number;
pub mod time;

pub use number::{ExtSeq, PayloadType, RtpTimestamp, SeqNo, SeqUnwrapper, Ssrc};
pub use time::{MediaClock, MonoTime, NtpTime};
