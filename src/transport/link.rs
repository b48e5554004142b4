//! One session's bundle: ICE, DTLS, SRTP and SCTP behind one sans-IO machine. Packet path.
//!
//! Give [`Link::handle_datagram`] every datagram of the session: STUN and DTLS are consumed, media is opened in
//! place. Poll [`Link::poll_output`] until `None` after every call that takes `now`.
//!
//! Invariants: nothing but STUN is looked at from a path that ICE has not validated; media and DTLS leave only
//! to the selected pair; no key is used before the peer certificate matched the offer's fingerprint; another path takes
//! over without a nomination only once nothing authentic has come by the selected one for a while.
//! RFC 8445, RFC 5764, RFC 7675.

use crate::dtls::{self, Certificate, Fingerprint, Guard, Role, Version, guard};
use crate::ice::{self, IceLite};
use crate::rate::{Rate, TokenBucket};
use crate::sctp::{self, Association, ChannelId, Message, SendError};
use crate::srtp::{MasterKeys, Opener, Sealer};
use crate::{DropReason, Path};
use rtp::MonoTime;
use rtp::demux::{Kind, classify};
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
///
/// What a packet of media reads stands together, in the order of the memory: most of what a packet costs is the wait for
/// lines that left the cache.
#[derive(Debug)]
#[repr(C)]
pub struct Link {
    outputs: VecDeque<LinkOutput>,
    /// Where DTLS and media go.
    path: Option<Path>,
    /// When something authentic came by that path, or it was chosen.
    heard: MonoTime,
    role: Role,
    /// Whether the other side only watches.
    viewer: bool,
    closed: bool,
    media: Option<Media>,
    /// What it may still send of feedback, and of STUN and DTLS.
    feedback: TokenBucket,
    control: TokenBucket,
    /// When the first valid check came: the handshake and the wait for a nomination count from here.
    reached: Option<MonoTime>,
    ice: IceLite,
    sctp: Association,
    guard: Guard,
    /// The path of the latest valid check, for a peer that never nominates.
    latest: Option<Path>,
    /// DTLS datagrams that wait for a path.
    waiting: VecDeque<Vec<u8>>,
}

impl Link {
    /// Makes the link of a new session.
    #[must_use]
    pub fn new(config: LinkConfig, now: MonoTime) -> Self {
        let LinkConfig { ice, role, fingerprint, certificate, viewer } = config;
        let only12 = viewer && role == Role::Server;
        let version = if only12 { Version::Only12 } else { Version::Auto };
        Self {
            role,
            viewer,
            feedback: TokenBucket::new(FEEDBACK, now),
            control: TokenBucket::new(CONTROL, now),
            ice: IceLite::new(ice, now),
            guard: Guard::new(guard::Config { role, version, certificate, fingerprint }),
            media: None,
            sctp: Association::new(),
            path: None,
            heard: now,
            latest: None,
            reached: None,
            waiting: VecDeque::new(),
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
        let kind = classify(datagram);
        match kind {
            Kind::Unknown => return Err(DropReason::Unclassified),
            Kind::Stun => return self.within_control(now, |link| link.handle_stun(now, path, datagram)),
            _ if !self.ice.is_validated(&path) => return Err(DropReason::UnvalidatedPath),
            Kind::Dtls => {
                return self.within_control(now, |link| {
                    link.handle_dtls(now, path, datagram).map(|()| Inbound::Nothing)
                });
            }
            Kind::Rtp | Kind::Rtcp => {}
        }
        let media = self.media.as_mut().ok_or(DropReason::NoKeys)?;
        // A publisher's media is what we are here for; everything else is bounded.
        let is_limited = self.viewer || kind == Kind::Rtcp;
        if is_limited && self.feedback.is_empty(now) {
            return Err(DropReason::SessionLimit);
        }
        let inbound = match kind {
            Kind::Rtp => media.opener.open_rtp(datagram).map(Inbound::Rtp)?,
            _ => media.opener.open_rtcp(datagram).map(Inbound::Rtcp)?,
        };
        if is_limited {
            self.feedback.take(now);
        }
        self.hear(now, path, MEDIA_SILENCE);
        Ok(inbound)
    }

    /// Takes a datagram of STUN or DTLS within the limit. Only what proved to be of the session is charged: a stranger
    /// who knows the address cannot use the limit up.
    fn within_control(
        &mut self,
        now: MonoTime,
        handle: impl FnOnce(&mut Self) -> Result<Inbound, DropReason>,
    ) -> Result<Inbound, DropReason> {
        if self.control.is_empty(now) {
            return Err(DropReason::SessionLimit);
        }
        let handled = handle(self)?;
        self.control.take(now);
        Ok(handled)
    }

    /// Does what is due: retransmissions, deadlines, consent.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        if self.closed {
            return;
        }
        self.ice.handle_timeout(now);
        if self.ice.is_expired() {
            return self.end(now, CloseReason::ConsentExpired);
        }
        if self.handshake_deadline().is_some_and(|at| at <= now) {
            return self.end(now, CloseReason::HandshakeTimeout);
        }
        self.choose_path(now);
        self.guard.handle_timeout(now);
        // What a timer finds in the data channels was counted when it arrived.
        let _ = self.sctp.handle_timeout(now);
        let _ = self.pump(now);
    }

    /// Returns when [`Link::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        if self.closed {
            return None;
        }
        let nomination = self.reached.filter(|_| self.path.is_none()).map(|at| at + NOMINATION_WAIT);
        [
            self.ice.next_timeout(),
            self.handshake_deadline(),
            nomination,
            self.guard.next_timeout(),
            self.sctp.next_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Returns the next thing to do for the driver.
    pub fn poll_output(&mut self) -> Option<LinkOutput> {
        self.outputs.pop_front()
    }

    /// Tells whether [`Link::poll_output`] has something.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Reads what sealing reads, and returns something made of it, which keeps the reads. Packet path.
    ///
    /// Between two packets of one session those of a thousand others go out, and its memory leaves the cache. A
    /// driver that warms a few sessions in a row before it serves them waits for their memory once, not one by one.
    #[must_use]
    pub fn warm(&self) -> u64 {
        u64::from(self.path.is_some()) ^ self.media.as_ref().map_or(0, |media| media.sealer.warm())
    }

    /// Reads what taking a datagram reads, as [`Self::warm`] does for sending. Packet path.
    #[must_use]
    pub fn warm_inbound(&self) -> u64 {
        let here = u64::from(self.closed) ^ self.ice.warm() ^ self.feedback.warm();
        here ^ self.media.as_ref().map_or(0, |media| media.opener.warm())
    }

    /// Seals the RTP packet `buffer[..len]` in place and returns its new length. Packet path.
    ///
    /// `None` before the keys exist, when `buffer` has less than `len + SRTP_OVERHEAD` bytes, when the packet is
    /// malformed, or when its index was sealed before.
    pub fn seal_rtp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        self.media.as_mut()?.sealer.seal_rtp(buffer, len)
    }

    /// Seals the RTCP compound packet `buffer[..len]` in place and returns its new length. Packet path.
    ///
    /// `None` as for [`Link::seal_rtp`].
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        self.media.as_mut()?.sealer.seal_rtcp(buffer, len)
    }

    /// Queues a message for an open data channel.
    ///
    /// # Errors
    /// When the channel is not open, the message too long or the peer too slow.
    pub fn send_message(
        &mut self,
        now: MonoTime,
        channel: ChannelId,
        message: &Message,
    ) -> Result<(), SendError> {
        if self.closed {
            return Err(SendError::NotOpen);
        }
        self.sctp.send(now, channel, message)?;
        // Sending reads nothing, so that there is nothing to count.
        let _ = self.pump(now);
        Ok(())
    }

    /// Ends the session: queues a `close_notify`, then [`LinkOutput::Closed`].
    pub fn close(&mut self, now: MonoTime) {
        self.end(now, CloseReason::Local);
    }

    /// Begins an ICE restart: accepts checks with new credentials beside the old ones.
    pub fn restart_ice(&mut self, credentials: ice::Credentials) {
        self.ice.restart(credentials);
    }

    /// Tells whether a user name fragment is ours: of the generation in use, or of the newest restart.
    #[must_use]
    pub fn accepts_ufrag(&self, ufrag: &str) -> bool {
        self.ice.accepts_ufrag(ufrag)
    }

    /// Returns the path that media leaves by.
    #[must_use]
    pub const fn selected_path(&self) -> Option<Path> {
        self.path
    }

    /// Tells whether the handshake is complete and the keys exist.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.media.is_some()
    }

    /// Returns the name of the SRTP profile, once connected.
    #[must_use]
    pub fn profile(&self) -> Option<&'static str> {
        self.media.as_ref().map(|media| media.profile)
    }

    fn handle_stun(&mut self, now: MonoTime, path: Path, datagram: &[u8]) -> Result<Inbound, DropReason> {
        let response = self.ice.handle_stun(now, path, datagram)?;
        self.outputs.push_back(LinkOutput::Transmit { path, datagram: response.as_bytes().to_vec() });
        self.latest = Some(path);
        self.reached.get_or_insert(now);
        self.choose_path(now);
        self.hear(now, path, CHECK_SILENCE);
        self.pump(now).map(|()| Inbound::Nothing)
    }

    /// Notes that the peer itself was heard on a validated path, and follows it there when the present one has been silent
    /// for that long. A NAT may give a peer another address behind its back: it has nothing to nominate then, and most
    /// keep their consent with plain checks.
    fn hear(&mut self, now: MonoTime, path: Path, silence: Duration) {
        let Some(present) = self.path else { return };
        if path == present {
            self.heard = now;
        } else if now.since(self.heard) >= silence {
            self.ice.select(path);
            self.choose_path(now);
        }
    }

    /// Follows the nomination; without any, keeps the path that DTLS came by, or takes the latest validated one after a
    /// while.
    fn choose_path(&mut self, now: MonoTime) {
        let waited = self.reached.is_some_and(|at| now.since(at) >= NOMINATION_WAIT);
        let known = [self.path, self.latest.filter(|_| waited)];
        let fallback = || known.into_iter().flatten().find(|path| self.ice.is_validated(path));
        let chosen = self.ice.selected().or_else(fallback);
        self.follow(now, chosen);
    }

    fn follow(&mut self, now: MonoTime, chosen: Option<Path>) {
        if chosen == self.path {
            return;
        }
        self.path = chosen;
        self.heard = now;
        let Some(path) = chosen else { return };
        self.outputs.push_back(LinkOutput::PathSelected(path));
        let waiting = self.waiting.drain(..).map(|datagram| LinkOutput::Transmit { path, datagram });
        self.outputs.extend(waiting);
        self.guard.start(now);
    }

    /// Takes DTLS of a validated path. Before the nomination the answer goes back by that path, and media with it, once
    /// the handshake has proved that the peer is there (RFC 8445 §12.1): Chromium nominates only with its second check,
    /// 50 ms after the first.
    fn handle_dtls(&mut self, now: MonoTime, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        if self.path.is_none() {
            self.follow(now, Some(path));
        }
        let outcome = self.guard.handle_datagram(now, datagram);
        outcome.and(self.pump(now))
    }

    /// Moves outputs between the parts, and to the driver, until there are none.
    fn pump(&mut self, now: MonoTime) -> Result<(), DropReason> {
        let mut outcome = Ok(());
        while !self.closed {
            if let Some(output) = self.guard.poll_output() {
                outcome = outcome.and(self.handle_guard(now, output));
            } else if let Some(output) = self.sctp.poll_output() {
                self.handle_sctp(now, output);
            } else {
                break;
            }
        }
        outcome
    }

    fn handle_guard(&mut self, now: MonoTime, output: guard::Output) -> Result<(), DropReason> {
        match output {
            guard::Output::Transmit(datagram) => self.transmit(datagram),
            guard::Output::Connected(keys) => self.connect(now, &keys),
            guard::Output::Data(packet) => return self.sctp.handle_packet(now, &packet),
            guard::Output::CloseNotify => self.end(now, CloseReason::Remote),
            guard::Output::Failed(failure) => self.end(now, failure.into()),
        }
        Ok(())
    }

    fn handle_sctp(&mut self, now: MonoTime, output: sctp::Output) {
        match output {
            sctp::Output::Transmit(packet) => self.guard.send(now, &packet),
            sctp::Output::Opened { channel, label, protocol } => {
                self.outputs.push_back(LinkOutput::ChannelOpened { channel, label, protocol });
            }
            sctp::Output::Closed { channel } => self.outputs.push_back(LinkOutput::ChannelClosed { channel }),
            sctp::Output::Message { channel, message } => {
                self.outputs.push_back(LinkOutput::Message { channel, message });
            }
            sctp::Output::Abuse => self.end(now, CloseReason::SctpAbuse),
        }
    }

    fn connect(&mut self, now: MonoTime, keys: &MasterKeys) {
        let profile = keys.profile().name();
        let Some((sealer, opener)) = keys.split(self.role) else {
            return self.end(now, CloseReason::NoSrtpProfile);
        };
        self.media = Some(Media { sealer, opener, profile });
        self.outputs.push_back(LinkOutput::Connected { profile });
    }

    fn transmit(&mut self, datagram: Vec<u8>) {
        match self.path {
            Some(path) => self.outputs.push_back(LinkOutput::Transmit { path, datagram }),
            None if self.waiting.len() < WAITING_MAX => self.waiting.push_back(datagram),
            // The handshake repeats what is lost.
            None => {}
        }
    }

    fn end(&mut self, now: MonoTime, reason: CloseReason) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.guard.close(now);
        while let Some(output) = self.guard.poll_output() {
            if let guard::Output::Transmit(datagram) = output {
                self.transmit(datagram);
            }
        }
        self.media = None;
        self.waiting.clear();
        self.outputs.push_back(LinkOutput::Closed(reason));
    }

    fn handshake_deadline(&self) -> Option<MonoTime> {
        self.reached.filter(|_| self.media.is_none()).map(|at| at + HANDSHAKE_TIMEOUT)
    }
}

/// What exists once the handshake is complete.
#[derive(Debug)]
#[repr(C)]
struct Media {
    sealer: Sealer,
    opener: Opener,
    profile: &'static str,
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

impl From<dtls::Failure> for CloseReason {
    fn from(failure: dtls::Failure) -> Self {
        match failure {
            dtls::Failure::FingerprintMismatch => Self::FingerprintMismatch,
            dtls::Failure::NoSrtpProfile => Self::NoSrtpProfile,
            dtls::Failure::NoUsableCertificate => Self::NoUsableCertificate,
            dtls::Failure::Timeout => Self::HandshakeTimeout,
            dtls::Failure::Handshake => Self::HandshakeFailed,
            dtls::Failure::Connection => Self::DtlsFailed,
        }
    }
}

/// How long the handshake may take, from the first valid check.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for a nomination before the latest validated path is taken.
pub const NOMINATION_WAIT: Duration = Duration::from_millis(500);
/// How long the selected path has to be silent before media on another validated one takes over: longer than what was
/// sent before a nomination is on its way, far shorter than a viewer waits.
pub const MEDIA_SILENCE: Duration = Duration::from_secs(1);
/// How long it has to be silent before a mere check takes over: one may be lost of those that come every 4 to 6 s
/// (RFC 7675 §5.1).
pub const CHECK_SILENCE: Duration = Duration::from_secs(8);
/// Feedback datagrams a session may send: many times what a browser sends, a fraction of what would be felt.
const FEEDBACK: Rate = Rate { per_second: 400, burst: 400 };
/// STUN and DTLS datagrams a session may send; data channels are among them.
const CONTROL: Rate = Rate { per_second: 1_000, burst: 1_000 };
/// DTLS datagrams that wait for a path: two flights.
const WAITING_MAX: usize = 8;

#[cfg(test)]
mod tests;
