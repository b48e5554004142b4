//! Why a session is as it is: what a person asks when the picture is blurry or slow to come.
//!
//! An [`Explanation`] is made by the session's shard on request, from what its machines know anyway; nothing is
//! gathered for it on the packet path. It is the body of `GET /api/v1/sessions/{id}/explain` and the `explain` member of
//! the same request's answer on the data channel, so its names are public: see `docs/protocol.md`.
//!
//! Everything here is pure. `reason` holds the closed sets of words with their sentences, [`viewer`] and [`publisher`]
//! choose among them, [`timeline`] has the steps of a join.

pub(crate) mod publisher;
mod reason;
pub(crate) mod timeline;
pub(crate) mod viewer;

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::name::{PublicId, RoomName};

pub use self::publisher::{Feedback, PublishedLayer, PublisherExplanation, Sound};
pub use self::reason::Reason;
pub use self::timeline::JoinSteps;
pub use self::viewer::{Estimated, Pick, VideoChoice, ViewerExplanation};

/// Why one session is as it is now.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The short public id.
    pub session: String,
    /// Its room.
    pub room: String,
    /// Whether the media path stands: ICE and DTLS are done.
    pub connected: bool,
    /// Since the request that created it.
    pub age_ms: f64,
    /// What is to be said first, in one word, one sentence, and what to do about it.
    #[serde(flatten)]
    pub why: Why,
    /// The round trip of the media path, once something has measured it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// The addresses between which media goes; absent before a path is selected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair: Option<Pair>,
    /// How long each step of the join took.
    pub join: JoinSteps,
    /// What only one role has, with the role's name.
    #[serde(flatten)]
    pub part: Part,
}

/// What only one role has.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
pub enum Part {
    /// Of a session that watches.
    Viewer(ViewerExplanation),
    /// Of a session that sends.
    Publisher(PublisherExplanation),
}

/// A reason in its three forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The word, of a closed set.
    pub reason: Reason,
    /// The same as a sentence.
    pub text: &'static str,
    /// What to do about it, where there is something to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Self {
        Self { reason, text: reason.text(), hint: reason.hint() }
    }
}

/// The candidate pair that media uses, seen from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// How the datagrams travel.
    pub protocol: Protocol,
    /// Our address; absent when the socket has just gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The address of the other side, as the server sees it.
    pub remote: SocketAddr,
}

/// How media travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// UDP.
    Udp,
    /// ICE-TCP (RFC 6544).
    Tcp,
}

/// What every explanation begins with.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    pub(crate) session: PublicId,
    pub(crate) room: &'a RoomName,
    pub(crate) connected: bool,
    pub(crate) age: Duration,
    pub(crate) pair: Option<Pair>,
    pub(crate) join: JoinSteps,
}

impl Head<'_> {
    /// Puts an explanation together.
    pub(crate) fn with(self, why: Reason, rtt: Option<Duration>, part: Part) -> Explanation {
        Explanation {
            session: self.session.to_string(),
            room: self.room.to_string(),
            connected: self.connected,
            age_ms: millis(self.age),
            why: why.into(),
            rtt_ms: rtt.map(millis),
            pair: self.pair,
            join: self.join,
            part,
        }
    }
}

/// Milliseconds with one decimal: finer is noise, coarser would make the request's time nought.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// A share of 256ths as a ratio, with three decimals.
pub(crate) fn ratio(part_of_256: u8) -> f64 {
    (f64::from(part_of_256) * 1_000.0 / 256.0).round() / 1_000.0
}

#[cfg(test)]
mod tests;
