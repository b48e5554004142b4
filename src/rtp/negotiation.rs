//! What an offer and its answer agreed, as plain data.
//!
//! Made where SDP is read, used where packets are sorted and rewritten; neither side sees the other's types.

use crate::codec::{Codec, MediaKind};
use crate::extension::ExtensionMap;
use crate::{PayloadType, Ssrc};

/// One payload type and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// The payload type on the wire.
    pub payload_type: PayloadType,
    /// The codec that it carries.
    pub codec: Codec,
    /// The value of `a=fmtp`; empty when there is none.
    pub parameters: String,
    /// The payload type of its retransmissions (RFC 4588), when agreed.
    pub rtx: Option<PayloadType>,
    /// Whether generic NACK was agreed (RFC 4585 §6.2.1).
    pub nack: bool,
    /// Whether picture loss indication was agreed (RFC 4585 §6.3.1).
    pub pli: bool,
    /// Whether full intra request was agreed (RFC 5104 §4.3.1).
    pub fir: bool,
}

/// A source and the source of its retransmissions (RFC 5576 §4.2, `FID`).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SsrcPair {
    /// The source of the media.
    pub media: Ssrc,
    /// The source of its retransmissions.
    pub rtx: Option<Ssrc>,
}

/// A track that a publisher sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedTrack {
    /// Its media identification (RFC 9143).
    pub mid: String,
    /// Sound or pictures.
    pub kind: MediaKind,
    /// The agreed formats, in the answer's order.
    pub formats: Vec<Format>,
    /// The agreed header extensions.
    pub extensions: ExtensionMap,
    /// The simulcast layers' names in the offer's order; empty without simulcast.
    pub rids: Vec<String>,
    /// The sources that the offer declares; may be empty.
    pub ssrcs: Vec<SsrcPair>,
    /// Whether transport-wide feedback was agreed.
    pub transport_cc: bool,
    /// The publisher's canonical name; empty when the offer has none.
    pub cname: String,
}

/// A track that a viewer receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewedTrack {
    /// Its media identification (RFC 9143).
    pub mid: String,
    /// Sound or pictures.
    pub kind: MediaKind,
    /// The agreed formats, in the answer's order.
    pub formats: Vec<Format>,
    /// The agreed header extensions.
    pub extensions: ExtensionMap,
    /// The source that the server sends the media with.
    pub ssrc: Ssrc,
    /// The source that the server sends retransmissions with, when agreed.
    pub rtx_ssrc: Option<Ssrc>,
    /// Whether transport-wide feedback was agreed.
    pub transport_cc: bool,
    /// Whether feedback by source was agreed (RFC 8888 §6); never beside [`Self::transport_cc`].
    pub ccfb: bool,
    /// The canonical name that the server sends.
    pub cname: String,
}
