//! What the node offers to signaling: requests, answers and refusals as plain data.
//!
//! Nothing here knows HTTP; `signaling` turns each variant into a status. Errors carry what a person needs to go
//! on, never an address or a credential.

use std::net::IpAddr;
use std::time::Instant;

use serde::Serialize;
use sfu::track::LayerInfo;
use transport::sdp::OfferError;

use crate::admission::Overload;
use crate::name::RoomName;

/// The two ends of the media path (glossary: *role*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends media into a room, by WHIP.
    Publisher,
    /// Receives a room's media, by WHEP.
    Viewer,
}

impl Role {
    /// Returns the name used in logs, metrics and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Viewer => "viewer",
        }
    }
}

/// One WHIP or WHEP offer.
#[derive(Debug, Clone, Copy)]
pub struct JoinRequest<'a> {
    /// The room to publish into or to watch.
    pub room: &'a RoomName,
    /// The SDP offer, at most 64 KiB.
    pub offer: &'a str,
    /// The address by which this request reached us: the literal in its `Host`, loopback for `localhost`.
    pub host: Option<IpAddr>,
    /// The bearer that becomes the session's credential.
    pub credential: Option<&'a str>,
    /// When the request began.
    pub began: Instant,
}

/// A session that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The secret id: 32 hexadecimal digits, 128 random bits; the last part of `Location`.
    pub session: String,
    /// The short id that logs and lists show.
    pub public_id: String,
    /// The entity tag of the ICE generation, without quotes.
    pub etag: String,
    /// The SDP answer.
    pub answer: String,
}

/// Why no session was created.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No room of that name is known.
    #[error("room {room} does not exist")]
    RoomNotFound {
        /// The name asked for.
        room: String,
    },
    /// The room is known, but nobody is live.
    #[error("nobody is live in room {room}")]
    Offline {
        /// The name asked for.
        room: String,
    },
    /// Another publisher is live in the room.
    #[error("room {room} is live already")]
    Conflict {
        /// The name asked for.
        room: String,
    },
    /// The offer cannot be answered.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The node takes nobody in for now.
    #[error("this node is full: {0}")]
    Overloaded(Overload),
    /// The system gave no random bytes for secrets.
    #[error("the system has no randomness to give")]
    NoRandomness,
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Draining,
}

/// Why a request on an existing session was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SessionError {
    /// No such session, or it has ended.
    #[error("the session does not exist or has ended")]
    NotFound,
    /// The session was created with a bearer, and this request has none.
    #[error("the session needs the bearer it was created with")]
    Unauthenticated,
    /// The bearer is not the one the session was created with.
    #[error("the bearer is not the one the session was created with")]
    Denied,
    /// The entity tag names an ICE generation that has passed.
    #[error("the entity tag is {given}, the session's is {current}")]
    StaleEtag {
        /// What the request named.
        given: String,
        /// What it is now.
        current: String,
    },
    /// The SDP fragment cannot be read.
    #[error("the SDP fragment is not valid: {0}")]
    Fragment(String),
    /// The system gave no random bytes for secrets.
    #[error("the system has no randomness to give")]
    NoRandomness,
    /// The session's shard did not answer in time.
    #[error("the session's thread is busy")]
    Busy,
    /// The request does not apply to a session of this role.
    #[error("a {0} session has no layer to choose")]
    WrongRole(&'static str),
}

/// A restarted ICE generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restarted {
    /// The new entity tag, without quotes.
    pub etag: String,
    /// Our side as an `application/trickle-ice-sdpfrag` body.
    pub fragment: String,
}

/// A room as lists, discovery and events show it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RoomStatus {
    /// The room's name.
    pub room: String,
    /// Whether a publisher's session exists.
    pub live: bool,
    /// How many viewers are connected or connecting.
    pub viewers: usize,
    /// The video layers, in the publisher's order; empty until media arrives.
    pub layers: Vec<LayerStatus>,
}

/// What every account of a layer has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LayerBrief {
    /// The publisher's name of the layer; absent without simulcast.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// Measured width in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u16>,
    /// Measured height in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u16>,
    /// Measured bitrate in bit/s.
    pub bitrate: u64,
}

impl LayerBrief {
    /// Makes it of what the publisher's machine knows.
    pub(crate) fn of(layer: &LayerInfo) -> Self {
        Self {
            rid: layer.rid.clone(),
            width: layer.size.map(|(width, _)| width),
            height: layer.size.map(|(_, height)| height),
            bitrate: layer.bitrate_bps,
        }
    }
}

/// One simulcast layer as lists, discovery and events show it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LayerStatus {
    /// Its name, size and rate.
    #[serde(flatten)]
    pub brief: LayerBrief,
    /// SDP encoding name of its codec.
    pub codec: &'static str,
    /// Whether media arrived in the last two seconds.
    pub active: bool,
    /// Whether it rests because nobody wants it, and starts again when somebody does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resting: bool,
    /// Whether a viewer who joins gets a picture at once. Not while keyframes are further apart than 4.5 s.
    pub join_cache: bool,
}

/// A session as administrators see it. Carries no secret id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionStatus {
    /// The short id.
    pub id: String,
    /// Its room.
    pub room: String,
    /// Its role.
    pub role: Role,
    /// Whether a shard has taken it, that is, a valid ICE check arrived.
    pub connected: bool,
    /// Seconds since it was created.
    pub age_s: u64,
}
