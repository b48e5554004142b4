//! One session's bundle: ICE, DTLS, SRTP and SCTP behind one sans-IO machine. Packet path.
//!
//! Give [`Link::handle_datagram`] every datagram of the session: STUN and DTLS are consumed, media is opened in
//! place. Poll [`Link::poll_output`] until `None` after every call that takes `now`.
//!
//! Invariants: nothing but STUN is looked at from a path that ICE has not validated; media and DTLS leave only
//! to the selected pair; no key is used before the peer certificate matched the offer's fingerprint.
//! RFC 8445, RFC 5764, RFC 7675.

use crate::dtls::{Certificate, Failure, Fingerprint, Guard, Role, Version, guard};
use crate::ice::{self, IceLite};
use crate::sctp::{ChannelId, Message, SendError};
use crate::{DropReason, Path};
use crate::srtp::{Opener, Sealer};
use rtp::MonoTime;
use rtp::demux::{self, Kind};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

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
pub struct Link {
    ice: IceLite,
    dtls: Guard,
    media: Option<(Sealer, Opener)>,
    profile: Option<&'static str>,
    side: Role,
    /// Where DTLS and media go: the nominated pair, or the only validated one where nobody nominates.
    path: Option<Path>,
    /// The last validated path and since when there is one without a nomination.
    unnominated: Option<(Path, MonoTime)>,
    /// DTLS datagrams that wait for a path.
    waiting: Vec<Vec<u8>>,
    handshake_deadline: Option<MonoTime>,
    outputs: VecDeque<LinkOutput>,
    closed: bool,
}

impl Link {
    /// Makes the link of a new session.
    #[must_use]
    pub fn new(config: LinkConfig, now: MonoTime) -> Self {
        let version = if config.viewer { Version::Only12 } else { Version::Auto };
        let dtls = guard::Config {
            role: config.role,
            version,
            certificate: config.certificate,
            fingerprint: config.fingerprint,
        };
        Self {
            ice: IceLite::new(config.ice, now),
            dtls: Guard::new(dtls),
            media: None,
            profile: None,
            side: config.role,
            path: None,
            unnominated: None,
            waiting: Vec::new(),
            handshake_deadline: None,
            outputs: VecDeque::new(),
            closed: false,
        }
    }

    /// Takes one datagram of the session; media is decrypted in place. Packet path for media.
    ///
    /// # Errors
    /// A reason to count when the datagram, or a part of it, was dropped.
    pub fn handle_datagram(
        &mut self,
        now: MonoTime,
        path: Path,
        datagram: &mut [u8],
    ) -> Result<Inbound, DropReason> {
        if self.closed {
            return Err(DropReason::Closed);
        }
        let kind = demux::classify(datagram);
        if kind == Kind::Stun {
            return self.handle_stun(now, path, datagram);
        }
        if !self.ice.is_validated(&path) {
            return Err(DropReason::UnvalidatedPath);
        }
        match (kind, &mut self.media) {
            (Kind::Dtls, _) => {
                let outcome = self.dtls.handle_datagram(now, datagram);
                self.drain_dtls();
                outcome.map(|()| Inbound::Nothing)
            }
            (Kind::Rtp, Some((_, opener))) => opener.open_rtp(datagram).map(Inbound::Rtp),
            (Kind::Rtcp, Some((_, opener))) => opener.open_rtcp(datagram).map(Inbound::Rtcp),
            (Kind::Rtp | Kind::Rtcp, None) => Err(DropReason::NoKeys),
            _ => Err(DropReason::Unclassified),
        }
    }

    fn handle_stun(&mut self, now: MonoTime, path: Path, datagram: &[u8]) -> Result<Inbound, DropReason> {
        let response = self.ice.handle_stun(now, path, datagram)?;
        self.outputs.push_back(LinkOutput::Transmit { path, datagram: response.as_bytes().to_vec() });
        if self.handshake_deadline.is_none() && self.media.is_none() {
            self.handshake_deadline = Some(now + HANDSHAKE_MAX);
        }
        match self.ice.selected() {
            Some(selected) => self.select(now, selected),
            None => {
                let since = self.unnominated.map_or(now, |(_, since)| since);
                self.unnominated = Some((path, since));
            }
        }
        Ok(Inbound::Nothing)
    }

    fn select(&mut self, now: MonoTime, path: Path) {
        self.unnominated = None;
        if self.path == Some(path) {
            return;
        }
        self.path = Some(path);
        self.outputs.push_back(LinkOutput::PathSelected(path));
        for datagram in self.waiting.drain(..) {
            self.outputs.push_back(LinkOutput::Transmit { path, datagram });
        }
        self.dtls.start(now);
        self.drain_dtls();
    }

    fn drain_dtls(&mut self) {
        while let Some(output) = self.dtls.poll_output() {
            match output {
                guard::Output::Transmit(datagram) => match self.path {
                    Some(path) => self.outputs.push_back(LinkOutput::Transmit { path, datagram }),
                    None if self.waiting.len() < WAITING_MAX => self.waiting.push(datagram),
                    None => {}
                },
                guard::Output::Connected(keys) => {
                    let profile = keys.profile().name();
                    self.media = keys.split(self.side);
                    self.profile = Some(profile);
                    self.handshake_deadline = None;
                    self.outputs.push_back(LinkOutput::Connected { profile });
                }
                guard::Output::Data(_) => {}
                guard::Output::CloseNotify => self.end(CloseReason::Remote),
                guard::Output::Failed(failure) => self.end(reason(failure)),
            }
        }
    }

    fn end(&mut self, reason: CloseReason) {
        if !self.closed {
            self.closed = true;
            self.outputs.push_back(LinkOutput::Closed(reason));
        }
    }

    /// Does what is due: retransmissions, deadlines, consent.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        if self.closed {
            return;
        }
        self.ice.handle_timeout(now);
        if self.ice.is_expired() {
            self.end(CloseReason::ConsentExpired);
            return;
        }
        if self.handshake_deadline.is_some_and(|at| at <= now) {
            self.end(CloseReason::HandshakeTimeout);
            return;
        }
        if let Some((path, since)) = self.unnominated
            && now.since(since) >= NOMINATION_MAX
        {
            self.select(now, path);
        }
        self.dtls.handle_timeout(now);
        self.drain_dtls();
    }

    /// Returns when [`Link::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        if self.closed {
            return None;
        }
        let nomination = self.unnominated.map(|(_, since)| since + NOMINATION_MAX);
        [self.ice.next_timeout(), self.dtls.next_timeout(), self.handshake_deadline, nomination]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns the next thing to do for the driver.
    pub fn poll_output(&mut self) -> Option<LinkOutput> {
        self.outputs.pop_front()
    }

    /// Seals the RTP packet `buffer[..len]` in place and returns its new length. Packet path.
    ///
    /// `None` before the keys exist, when `buffer` has less than `len + SRTP_OVERHEAD` bytes, when the packet is
    /// malformed, or when its index was sealed before.
    pub fn seal_rtp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        self.media.as_mut()?.0.seal_rtp(buffer, len)
    }

    /// Seals the RTCP compound packet `buffer[..len]` in place and returns its new length. Packet path.
    ///
    /// `None` as for [`Link::seal_rtp`].
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        self.media.as_mut()?.0.seal_rtcp(buffer, len)
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
    pub fn close(&mut self, now: MonoTime) {
        self.dtls.close(now);
        self.drain_dtls();
        self.end(CloseReason::Local);
    }

    /// Begins an ICE restart: accepts checks with new credentials beside the old ones.
    pub fn restart_ice(&mut self, credentials: ice::Credentials) {
        self.ice.restart(credentials);
    }

    /// Returns the path that media leaves by.
    #[must_use]
    pub const fn selected_path(&self) -> Option<Path> {
        self.path
    }

    /// Tells whether the handshake is complete and the keys exist.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.media.is_some() && !self.closed
    }

    /// Returns the name of the SRTP profile, once connected.
    #[must_use]
    pub const fn profile(&self) -> Option<&'static str> {
        self.profile
    }
}

const fn reason(failure: Failure) -> CloseReason {
    match failure {
        Failure::FingerprintMismatch => CloseReason::FingerprintMismatch,
        Failure::NoSrtpProfile => CloseReason::NoSrtpProfile,
        Failure::NoUsableCertificate => CloseReason::NoUsableCertificate,
        Failure::Timeout => CloseReason::HandshakeTimeout,
        Failure::Handshake => CloseReason::HandshakeFailed,
        Failure::Connection => CloseReason::DtlsFailed,
    }
}

/// From the first valid check to the keys.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long a validated path may wait for a nomination before it is taken without one.
const NOMINATION_MAX: Duration = Duration::from_millis(500);

/// DTLS datagrams that wait for a path: a flight.
const WAITING_MAX: usize = 8;

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
