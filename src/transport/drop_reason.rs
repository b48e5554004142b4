//! Why a datagram was not used: an outcome, not an error.
//!
//! Every function that takes bytes from the network answers with one of these reasons, and whoever drives it
//! counts them: the set is closed, so that it can be a metric label. A reason never carries bytes or addresses.

/// Why a received datagram, or a part of it, was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The first byte belongs to no protocol that shares the port (RFC 7983 §7).
    Unclassified,
    /// The datagram is not well-formed STUN.
    StunMalformed,
    /// The STUN message is not a Binding request.
    StunNotRequest,
    /// No session has the ICE user name fragment that the request names.
    StunUnknownUser,
    /// The message integrity of the request is wrong.
    StunIntegrity,
    /// Too many failed checks came from the network of the source address.
    StunLimit,
    /// The source address is not a validated pair of the session.
    UnvalidatedPath,
    /// The session sends more control datagrams than any client needs.
    SessionLimit,
    /// The session is closed.
    Closed,
    /// The DTLS record is malformed.
    DtlsMalformed,
    /// The DTLS record is well-formed, and not acceptable in this state of the handshake.
    DtlsUnexpected,
    /// A bound on handshake records, fragments or bytes was reached.
    DtlsLimit,
    /// The DTLS engine refused the record, and the handshake starts over.
    DtlsRefused,
    /// Media arrived before its keys exist.
    NoKeys,
    /// The SRTP or SRTCP packet is too short or malformed.
    SrtpMalformed,
    /// The SRTP or SRTCP authentication tag is wrong.
    SrtpTag,
    /// The SRTP or SRTCP packet was seen before or is too old (RFC 3711 §3.3.2).
    SrtpReplay,
    /// The SRTP or SRTCP packet names more sources than a session may have.
    SrtpSources,
    /// RTP of a viewer, which has nothing to publish.
    RtpFromViewer,
    /// The SCTP packet is malformed.
    SctpMalformed,
    /// The SCTP packet asks for more than a session may have, and was dropped.
    SctpLimit,
    /// The SCTP packet is not acceptable in this state of the association.
    SctpUnexpected,
    /// A data channel message could not be understood.
    MessageMalformed,
}

impl DropReason {
    /// Every reason, in the order of [`DropReason::index`].
    pub const ALL: [Self; 23] = [
        Self::Unclassified,
        Self::StunMalformed,
        Self::StunNotRequest,
        Self::StunUnknownUser,
        Self::StunIntegrity,
        Self::StunLimit,
        Self::UnvalidatedPath,
        Self::SessionLimit,
        Self::Closed,
        Self::DtlsMalformed,
        Self::DtlsUnexpected,
        Self::DtlsLimit,
        Self::DtlsRefused,
        Self::NoKeys,
        Self::SrtpMalformed,
        Self::SrtpTag,
        Self::SrtpReplay,
        Self::SrtpSources,
        Self::RtpFromViewer,
        Self::SctpMalformed,
        Self::SctpLimit,
        Self::SctpUnexpected,
        Self::MessageMalformed,
    ];

    /// Returns the reason's place in [`DropReason::ALL`], for counters in an array.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns the reason as a metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unclassified => "unclassified",
            Self::StunMalformed => "stun_malformed",
            Self::StunNotRequest => "stun_not_request",
            Self::StunUnknownUser => "stun_unknown_user",
            Self::StunIntegrity => "stun_integrity",
            Self::StunLimit => "stun_limit",
            Self::UnvalidatedPath => "unvalidated_path",
            Self::SessionLimit => "session_limit",
            Self::Closed => "closed",
            Self::DtlsMalformed => "dtls_malformed",
            Self::DtlsUnexpected => "dtls_unexpected",
            Self::DtlsLimit => "dtls_limit",
            Self::DtlsRefused => "dtls_refused",
            Self::NoKeys => "no_keys",
            Self::SrtpMalformed => "srtp_malformed",
            Self::SrtpTag => "srtp_tag",
            Self::SrtpReplay => "srtp_replay",
            Self::SrtpSources => "srtp_sources",
            Self::RtpFromViewer => "rtp_from_viewer",
            Self::SctpMalformed => "sctp_malformed",
            Self::SctpLimit => "sctp_limit",
            Self::SctpUnexpected => "sctp_unexpected",
            Self::MessageMalformed => "message_malformed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_its_own_place_and_its_own_label() {
        let names: BTreeSet<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();

        assert_eq!(names.len(), DropReason::ALL.len());
        for (place, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
    }
}
