//! One negotiated session as a state machine: ICE, then DTLS, then SRTP both ways.
//!
//! Think of a browser's transport without its media. It offers `actpass`, takes whichever DTLS role the answer leaves,
//! and is told the time and the datagrams; what it wants sent comes out of [`Link::poll_output`]. An RTP packet is only
//! recognised: opening it costs time, and a load test opens a sample.
//!
//! Invariants: no DTLS is answered before an address is validated by ICE; no key is used before the certificate matched
//! the answer's fingerprint; after [`Output::Closed`] nothing is sent.

mod channel;
mod dtls;
mod fingerprint;
mod ice;
mod instant;
mod random;
mod srtp;
mod stun;

pub use dtls::Identity;
pub use fingerprint::Fingerprint;
pub use random::Random;
pub use srtp::{Profile, SrtpError};

use crate::signal::{Answer, Setup};
use channel::Channel;
use dtls::{Dtls, Outcome};
use rtp::MonoTime;
use rtp::demux::{Kind, classify};
use srtp::Srtp;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a session is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// The certificate and profiles that all sessions of a process share.
    pub identity: Arc<Identity>,
    /// The dice: credentials and transaction numbers.
    pub random: Random,
}

/// ICE credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user name fragment.
    pub ufrag: String,
    /// The password.
    pub pwd: String,
}

/// What an offer says of its transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Our ICE credentials.
    pub credentials: Credentials,
    /// The fingerprint of our certificate.
    pub fingerprint: Fingerprint,
}

/// What a datagram was, for the one who handed it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// The link's own business, or nobody's.
    Nothing,
    /// A sealed RTP packet; see [`Link::open_rtp`].
    Rtp,
    /// A sealed RTCP compound; see [`Link::open_rtcp`].
    Rtcp,
}

/// What the link wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram.
    Transmit(SocketAddr, Vec<u8>),
    /// Media may flow, protected by this profile. Comes once.
    Connected(Profile),
    /// The session is over, and why. Comes once, and last.
    Closed(CloseReason),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// No candidate of the answer answered, or none was usable.
    #[error("ice: no candidate answered")]
    IceFailed,
    /// Nothing came back for longer than consent lasts (RFC 7675).
    #[error("ice: consent expired")]
    ConsentExpired,
    /// The handshake failed.
    #[error("dtls: {0}")]
    DtlsFailed(&'static str),
    /// The handshake took too long.
    #[error("dtls: timed out")]
    DtlsTimeout,
    /// The other side closed it.
    #[error("closed by the other side")]
    ClosedByPeer,
    /// We closed it.
    #[error("closed")]
    Closed,
}

/// One session.
#[derive(Debug)]
pub struct Link {
    identity: Arc<Identity>,
    local: Local,
    agent: ice::Agent,
    remote: Option<(Setup, Fingerprint)>,
    dtls: Option<Dtls>,
    /// DTLS that came before our own check was answered.
    early: Vec<Vec<u8>>,
    dtls_deadline: MonoTime,
    srtp: Option<Box<Srtp>>,
    wants_channel: bool,
    channel: Option<Box<Channel>>,
    closed: bool,
    datagrams: Vec<ice::Outgoing>,
    outputs: VecDeque<Output>,
}

impl Link {
    /// Makes a session that knows nobody yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let Config { identity, mut random } = config;
        let credentials = Credentials { ufrag: random.letters(UFRAG_CHARS), pwd: random.letters(PWD_CHARS) };
        let local = Local { credentials: credentials.clone(), fingerprint: identity.fingerprint().clone() };
        Self {
            identity,
            local,
            agent: ice::Agent::new(credentials, random),
            remote: None,
            dtls: None,
            early: Vec::new(),
            dtls_deadline: MonoTime::ZERO,
            srtp: None,
            wants_channel: false,
            channel: None,
            closed: false,
            datagrams: Vec::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Returns what the offer must say.
    #[must_use]
    pub const fn local(&self) -> &Local {
        &self.local
    }

    /// Opens a data channel as soon as the session is connected; the offer must have offered one.
    pub const fn want_channel(&mut self) {
        self.wants_channel = true;
    }

    /// Says whether the data channel is open.
    #[must_use]
    pub fn has_channel(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.is_open())
    }

    /// Takes the answer: checks begin. Candidates that the caller's socket cannot reach are to be left out before.
    pub fn set_remote(&mut self, now: MonoTime, answer: &Answer) {
        self.remote = Some((answer.setup, answer.fingerprint.clone()));
        let theirs = Credentials { ufrag: answer.ufrag.clone(), pwd: answer.pwd.clone() };
        self.agent.begin(now, theirs, &answer.candidates);
        // A full agent may check us before we know its address.
        if answer.candidates.is_empty() && answer.ice_lite {
            self.close_with(CloseReason::IceFailed);
        }
        self.handle_timeout(now);
    }

    /// Takes one datagram (one segment of a coalesced run).
    pub fn handle_datagram(&mut self, now: MonoTime, from: SocketAddr, datagram: &[u8]) -> Inbound {
        match classify(datagram) {
            Kind::Rtp => return Inbound::Rtp,
            Kind::Rtcp => return Inbound::Rtcp,
            _ if self.closed => {}
            Kind::Stun => self.handle_stun(now, from, datagram),
            Kind::Dtls => self.handle_dtls(now, datagram),
            Kind::Unknown => {}
        }
        Inbound::Nothing
    }

    /// Does what is due; early and repeated calls do no harm.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        if self.closed {
            return;
        }
        self.agent.handle_timeout(now, &mut self.datagrams);
        self.flush_ice();
        if self.agent.has_failed() {
            let connected = self.agent.selected().is_some();
            self.close_with(if connected { CloseReason::ConsentExpired } else { CloseReason::IceFailed });
            return;
        }
        let Some(dtls) = &mut self.dtls else { return };
        if self.srtp.is_none() && now >= self.dtls_deadline {
            self.close_with(CloseReason::DtlsTimeout);
            return;
        }
        let outcome = dtls.handle_timeout(now);
        self.note_dtls(now, outcome);
        if let Some(channel) = &mut self.channel {
            channel.handle_timeout(now);
            self.flush_channel(now);
        }
    }

    /// Says goodbye and ends the session; nothing else is sent afterwards.
    pub fn close(&mut self, now: MonoTime) {
        if let Some(dtls) = &mut self.dtls {
            dtls.close(now);
        }
        self.flush_dtls();
        self.close_with(CloseReason::Closed);
    }

    /// Replaces an RTP packet by its sealed form, to be sent to [`Self::remote`].
    ///
    /// # Errors
    /// When the link is not connected, or the packet is malformed.
    pub fn seal_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        self.srtp.as_mut().ok_or(SrtpError)?.seal_rtp(packet)
    }

    /// Replaces an RTCP compound by its sealed form, to be sent to [`Self::remote`].
    ///
    /// # Errors
    /// When the link is not connected, or the compound is malformed.
    pub fn seal_rtcp(&mut self, compound: &mut Vec<u8>) -> Result<(), SrtpError> {
        self.srtp.as_mut().ok_or(SrtpError)?.seal_rtcp(compound)
    }

    /// Writes the plain form of a received RTP packet to `out`.
    ///
    /// Packets of one source may be skipped, but fewer than 32,768 in a row: the rollover counter is estimated.
    ///
    /// # Errors
    /// When the packet is not one of this session.
    pub fn open_rtp(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), SrtpError> {
        self.srtp.as_mut().ok_or(SrtpError)?.open_rtp(packet, out)
    }

    /// Writes the plain form of a received RTCP compound to `out`.
    ///
    /// # Errors
    /// When the compound is not one of this session.
    pub fn open_rtcp(&mut self, compound: &[u8], out: &mut Vec<u8>) -> Result<(), SrtpError> {
        self.srtp.as_mut().ok_or(SrtpError)?.open_rtcp(compound, out)
    }

    /// Returns the next thing to do; to be called until `None` after each `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        if self.closed {
            return None;
        }
        let handshake = self.dtls.as_ref().filter(|_| self.srtp.is_none());
        let handshake = handshake
            .map(|dtls| dtls.next_timeout().map_or(self.dtls_deadline, |at| at.min(self.dtls_deadline)));
        let channel = self.channel.as_ref().and_then(|channel| channel.next_timeout());
        self.agent.next_timeout().into_iter().chain(handshake).chain(channel).min()
    }

    /// Says whether media may flow.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.srtp.is_some() && !self.closed
    }

    /// Returns where media goes.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.agent.selected()
    }

    fn handle_stun(&mut self, now: MonoTime, from: SocketAddr, datagram: &[u8]) {
        let selected = self.agent.handle(now, from, datagram, &mut self.datagrams);
        // Nominations and checks of new addresses are due at once.
        self.agent.handle_timeout(now, &mut self.datagrams);
        self.flush_ice();
        if selected {
            self.begin_dtls(now);
        }
    }

    fn begin_dtls(&mut self, now: MonoTime) {
        let Some((setup, fingerprint)) = self.remote.clone() else { return };
        self.dtls_deadline = now + DTLS_LIMIT;
        match Dtls::new(&self.identity, fingerprint, setup == Setup::Passive, now) {
            Ok(dtls) => self.dtls = Some(dtls),
            Err(reason) => self.close_with(CloseReason::DtlsFailed(reason)),
        }
        self.flush_dtls();
        for datagram in std::mem::take(&mut self.early) {
            self.handle_dtls(now, &datagram);
        }
    }

    fn handle_dtls(&mut self, now: MonoTime, datagram: &[u8]) {
        let Some(dtls) = &mut self.dtls else {
            if self.early.len() < EARLY_MAX {
                self.early.push(datagram.to_vec());
            }
            return;
        };
        let outcome = dtls.handle(now, datagram);
        self.note_dtls(now, outcome);
        while let (Some(message), Some(channel)) =
            (self.dtls.as_mut().and_then(Dtls::poll_message), &mut self.channel)
        {
            channel.handle(now, &message);
        }
        self.flush_channel(now);
    }

    fn note_dtls(&mut self, now: MonoTime, outcome: Outcome) {
        self.flush_dtls();
        match outcome {
            Outcome::Nothing => {}
            Outcome::Connected(srtp) => {
                self.outputs.push_back(Output::Connected(srtp.profile()));
                self.srtp = Some(srtp);
                if self.wants_channel {
                    let is_client = matches!(self.remote, Some((Setup::Passive, _)));
                    self.channel = Channel::new(now, is_client).map(Box::new);
                    self.flush_channel(now);
                }
            }
            Outcome::Closed => self.close_with(CloseReason::ClosedByPeer),
            Outcome::Failed(reason) => self.close_with(CloseReason::DtlsFailed(reason)),
        }
    }

    fn flush_channel(&mut self, now: MonoTime) {
        let (Some(channel), Some(dtls)) = (&mut self.channel, &mut self.dtls) else { return };
        while let Some(packet) = channel.poll_transmit() {
            dtls.send(now, &packet);
        }
        self.flush_dtls();
    }

    fn flush_ice(&mut self) {
        let datagrams = self.datagrams.drain(..).map(|(to, datagram)| Output::Transmit(to, datagram));
        self.outputs.extend(datagrams);
    }

    fn flush_dtls(&mut self) {
        let (Some(dtls), Some(remote)) = (&mut self.dtls, self.agent.selected()) else { return };
        while let Some(datagram) = dtls.poll_transmit() {
            self.outputs.push_back(Output::Transmit(remote, datagram));
        }
    }

    fn close_with(&mut self, reason: CloseReason) {
        if !std::mem::replace(&mut self.closed, true) {
            self.outputs.push_back(Output::Closed(reason));
        }
    }
}

/// Four characters are the least (RFC 8839 §5.4); browsers use four, servers dislike so few.
const UFRAG_CHARS: usize = 8;
const PWD_CHARS: usize = 24;
/// A hello has three datagrams at most; what does not fit is sent again.
const EARLY_MAX: usize = 4;
const DTLS_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
