//! Signaling of WHIP and WHEP: an offer goes out by POST, an answer comes back, a DELETE ends it (RFC 9725).
//!
//! [`Offer`] writes what a browser would offer, [`Answer`] reads what any server may answer, [`Http`] carries both.

mod answer;
mod http;
mod offer;

pub use answer::{Answer, AnswerError, Setup, Track};
pub use http::{Http, Session, SessionRequest, SignalError};
pub use offer::{Direction, Offer, Section, Source, formats, rtx_of};
