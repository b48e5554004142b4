//! One session's bundle: ICE, DTLS, SRTP and SCTP behind one sans-IO machine. Packet path.
//!
//! Give [`Link::handle_datagram`] every datagram of the session: STUN and DTLS are consumed, media is opened in
//! place. Poll [`Link::poll_output`] until `None` after every call that takes `now`.
//!
//! Invariants: nothing but STUN is looked at from a path that ICE has not validated; media and DTLS leave only
//! to the selected pair; no key is used before the peer certificate matched the offer's fingerprint.
//! RFC 8445, RFC 5764, RFC 7675.

use crate::dtls::{Certificate, Fingerprint, Role};
use crate::ice;
use crate::sctp::{ChannelId, Message, SendError};
use crate::{DropReason, Path};
use rtp::MonoTime;
use std::sync::Arc;

pub use crate::srtp::SRTP_OVERHEAD;

/// What a session's offer and answer agreed about its transport.
#[derive(Debug)]
pub struct LinkConfig {
    /// Our side's ICE credentials, as the answer carries them.
    pub ice: ice::Credentials,
    /// Our side of the DTLS handshake.
    pub role: Role,
    /// The fingerprint of the offer.
    pub fingerprint: Fingerprint,
    /// The certificate whose fingerprint the answer carries.
    pub certificate: Arc<Certificate>,
    /// Whether the other side is a viewer: its DTLS is 1.2, so that an AEAD profile is chosen.
    pub viewer: bool,
}

/// One session's ICE, DTLS, SRTP and SCTP.
#[derive(Debug)]
pub struct Link {}

impl Link {
    /// Makes the link of a new session.
    #[must_use]
    pub fn new(_config: LinkConfig, _now: MonoTime) -> Self {
        Self {}
    }

    /// Takes one datagram of the session; media is decrypted in place. Packet path for media.
    ///
    /// # Errors
    /// A reason to count when the datagram, or a part of it, was dropped.
    pub fn handle_datagram(
        &mut self,
        _now: MonoTime,
        _path: Path,
        _datagram: &mut [u8],
    ) -> Result<Inbound, DropReason> {
        Err(DropReason::Unclassified)
    }

    /// Does what is due: retransmissions, deadlines, consent.
    pub fn handle_timeout(&mut self, _now: MonoTime) {}

    /// Returns when [`Link::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        None
    }

    /// Returns the next thing to do for the driver.
    pub fn poll_output(&mut self) -> Option<LinkOutput> {
        None
    }

    /// Seals the RTP packet `buffer[..len]` in place and returns its new length. Packet path.
    ///
    /// `None` before the keys exist, when `buffer` has less than `len + SRTP_OVERHEAD` bytes, when the packet is
    /// malformed, or when its index was sealed before.
    pub fn seal_rtp(&mut self, _buffer: &mut [u8], _len: usize) -> Option<usize> {
        None
    }

    /// Seals the RTCP compound packet `buffer[..len]` in place and returns its new length. Packet path.
    ///
    /// `None` as for [`Link::seal_rtp`].
    pub fn seal_rtcp(&mut self, _buffer: &mut [u8], _len: usize) -> Option<usize> {
        None
    }

    /// Queues a message for an open data channel.
    ///
    /// # Errors
    /// When the channel is not open, the message too long or the peer too slow.
    pub fn send_message(
        &mut self,
        _now: MonoTime,
        _channel: ChannelId,
        _message: &Message,
    ) -> Result<(), SendError> {
        Err(SendError::NotOpen)
    }

    /// Ends the session: queues a `close_notify`, then [`LinkOutput::Closed`].
    pub fn close(&mut self, _now: MonoTime) {}

    /// Begins an ICE restart: accepts checks with new credentials beside the old ones.
    pub fn restart_ice(&mut self, _credentials: ice::Credentials) {}

    /// Returns the path that media leaves by.
    #[must_use]
    pub fn selected_path(&self) -> Option<Path> {
        None
    }

    /// Tells whether the handshake is complete and the keys exist.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        false
    }

    /// Returns the name of the SRTP profile, once connected.
    #[must_use]
    pub fn profile(&self) -> Option<&'static str> {
        None
    }
}

/// What a datagram turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// STUN or DTLS: consumed.
    Nothing,
    /// A decrypted RTP packet in the first bytes of the datagram; its length.
    Rtp(usize),
    /// A decrypted RTCP compound packet in the first bytes of the datagram; its length.
    Rtcp(usize),
}

/// What a link asks of its driver.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkOutput {
    /// Send a datagram.
    Transmit {
        /// Where to.
        path: Path,
        /// The bytes.
        datagram: Vec<u8>,
    },
    /// ICE selected a path, or another one than before.
    PathSelected(Path),
    /// The handshake is complete: media may be sealed and opened.
    Connected {
        /// The SRTP profile's name.
        profile: &'static str,
    },
    /// The other side opened a data channel.
    ChannelOpened {
        /// Its identifier for [`Link::send_message`].
        channel: ChannelId,
        /// Its label.
        label: String,
        /// Its subprotocol, often empty.
        protocol: String,
    },
    /// The other side closed a data channel.
    ChannelClosed {
        /// The identifier, which may be used again later.
        channel: ChannelId,
    },
    /// A message arrived.
    Message {
        /// The data channel.
        channel: ChannelId,
        /// The message.
        message: Message,
    },
    /// The session is over; nothing follows.
    Closed(CloseReason),
}

/// Why a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum CloseReason {
    /// We closed it.
    #[error("closed by the server")]
    Local,
    /// The other side sent a DTLS `close_notify`.
    #[error("closed by the other side")]
    Remote,
    /// No valid ICE check arrived for 30 s (RFC 7675).
    #[error("no valid ICE check for 30 s")]
    ConsentExpired,
    /// The DTLS handshake did not complete within 10 s of the first valid ICE check.
    #[error("the DTLS handshake did not complete within 10 s")]
    HandshakeTimeout,
    /// The peer certificate is not the one of the offer.
    #[error("the certificate does not match the fingerprint of the offer")]
    FingerprintMismatch,
    /// The peer offered no SRTP profile that we speak.
    #[error("no common SRTP profile: expected AEAD_AES_256_GCM, AEAD_AES_128_GCM or AES_CM_128_HMAC_SHA1_80")]
    NoSrtpProfile,
    /// The peer has no ECDSA certificate: RSA is not supported.
    #[error("no usable certificate: expected ECDSA with P-256 or P-384, RSA is not supported")]
    NoUsableCertificate,
    /// The DTLS handshake failed more often than it may start over.
    #[error("the DTLS handshake failed")]
    HandshakeFailed,
    /// The DTLS engine gave up after the handshake.
    #[error("the DTLS connection failed")]
    DtlsFailed,
    /// The data channel association broke a limit.
    #[error("the data channel association broke a limit")]
    SctpAbuse,
}

impl CloseReason {
    /// Returns the reason as a metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
            Self::ConsentExpired => "consent_expired",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::FingerprintMismatch => "fingerprint_mismatch",
            Self::NoSrtpProfile => "no_srtp_profile",
            Self::NoUsableCertificate => "no_usable_certificate",
            Self::HandshakeFailed => "handshake_failed",
            Self::DtlsFailed => "dtls_failed",
            Self::SctpAbuse => "sctp_abuse",
        }
    }
}
