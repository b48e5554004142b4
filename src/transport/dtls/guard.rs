//! One session's DTLS: the library behind the filter, with the fingerprint check in between.
//!
//! In the server role the library is made when the first whole ClientHello arrives, so that a session that
//! nobody joins costs nothing. A failure before completion may be the work of garbage: the library is thrown
//! away and a fresh one made at the next ClientHello, [`ENGINES_MAX`] times. After completion it is final.

use super::dimpl::DimplLink;
use super::filter::Filter;
use super::{Certificate, DtlsLink, Fingerprint, LinkError, LinkOutput, Role, Version};
use crate::DropReason;
use crate::srtp::MasterKeys;
use rtp::MonoTime;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// What a session's DTLS needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our side of the handshake.
    pub role: Role,
    /// The versions to negotiate.
    pub version: Version,
    /// What we show.
    pub certificate: Arc<Certificate>,
    /// What the peer must show.
    pub fingerprint: Fingerprint,
}

/// One session's DTLS.
pub struct Guard {
    config: Config,
    filter: Filter,
    engine: Option<Box<dyn DtlsLink>>,
    engines_made: usize,
    state: State,
    keys: Option<MasterKeys>,
    outputs: VecDeque<Output>,
}

impl Guard {
    /// Makes the DTLS of a session; nothing is sent before [`Guard::start`] or a ClientHello.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        let filter = Filter::new(config.role);
        Self {
            config,
            filter,
            engine: None,
            engines_made: 0,
            state: State::STARTED,
            keys: None,
            outputs: VecDeque::new(),
        }
    }

    /// Sends the ClientHello in the client role; does nothing in the server role or when started before.
    pub fn start(&mut self, now: MonoTime) {
        if self.config.role == Role::Client && self.engines_made == 0 {
            self.make_engine(now);
            self.drain();
        }
    }

    /// Takes a datagram from a validated path.
    ///
    /// # Errors
    /// Why the datagram, or a part of it, was dropped.
    pub fn handle_datagram(&mut self, now: MonoTime, datagram: &[u8]) -> Result<(), DropReason> {
        if matches!(self.state, State::Over) {
            return Err(DropReason::Closed);
        }
        let mut outcome = self.filter.handle_datagram(datagram);
        while let Some(record) = self.filter.poll_record() {
            outcome = outcome.and(self.handle_record(now, &record));
        }
        outcome
    }

    /// Does what is due: the library's retransmissions.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        let due = self.next_timeout().is_some_and(|at| at <= now);
        if let (true, Some(engine)) = (due, &mut self.engine) {
            let outcome = engine.handle_timeout(now);
            self.settle(now, outcome);
        }
    }

    /// Sends application data; drops it before completion.
    pub fn send(&mut self, now: MonoTime, data: &[u8]) {
        if let (State::Connected, Some(engine)) = (&self.state, &mut self.engine) {
            let outcome = engine.send(now, data);
            self.settle(now, outcome);
        }
    }

    /// Says `close_notify`, if connected, and ends.
    pub fn close(&mut self, now: MonoTime) {
        if let Some(engine) = &mut self.engine {
            engine.close(now);
            self.drain();
        }
        self.end();
    }

    /// Returns the next thing to do for the driver.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Guard::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        self.engine.as_ref().and_then(|engine| engine.next_timeout())
    }

    fn handle_record(&mut self, now: MonoTime, record: &[u8]) -> Result<(), DropReason> {
        if self.engine.is_none() {
            if self.config.role == Role::Client {
                return Err(DropReason::DtlsUnexpected);
            }
            self.make_engine(now);
        }
        let Some(engine) = &mut self.engine else { return Err(DropReason::DtlsRefused) };
        let outcome = engine.handle_record(now, record);
        self.settle(now, outcome);
        outcome.map_err(|_| DropReason::DtlsRefused)
    }

    fn make_engine(&mut self, now: MonoTime) {
        self.engines_made += 1;
        let (role, version) = (self.config.role, self.config.version);
        match DimplLink::new(&self.config.certificate, role, version, now) {
            Ok(engine) => self.engine = Some(Box::new(engine)),
            Err(_) => self.fail(Failure::Handshake),
        }
    }

    /// Takes what the library had to say in a call, then the outcome of the call.
    fn settle(&mut self, now: MonoTime, outcome: Result<(), LinkError>) {
        self.drain();
        let Err(error) = outcome else { return };
        match self.state {
            State::Over => {}
            State::Connected => self.fail(Failure::Connection),
            State::Handshaking { .. } if error == LinkError::NoUsableCertificate => {
                self.fail(Failure::NoUsableCertificate);
            }
            State::Handshaking { .. } if error == LinkError::Timeout => self.fail(Failure::Timeout),
            State::Handshaking { .. } => self.start_over(now),
        }
    }

    fn start_over(&mut self, now: MonoTime) {
        self.engine = None;
        self.keys = None;
        self.state = State::STARTED;
        self.filter.restart();
        if self.engines_made >= ENGINES_MAX {
            self.fail(Failure::Handshake);
        } else if self.config.role == Role::Client {
            self.make_engine(now);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.as_mut().and_then(|engine| engine.poll_output()) {
            match output {
                LinkOutput::Transmit(datagram) => self.outputs.push_back(Output::Transmit(datagram)),
                LinkOutput::PeerCertificate(certificate) => self.verify(&certificate),
                LinkOutput::Keys(keys) => self.keys = Some(keys),
                LinkOutput::Connected => {
                    if let State::Handshaking { finished, .. } = &mut self.state {
                        *finished = true;
                    }
                }
                LinkOutput::Data(data) => {
                    self.complete_if_finished();
                    if matches!(self.state, State::Connected) {
                        self.outputs.push_back(Output::Data(data));
                    }
                }
                LinkOutput::CloseNotify => {
                    self.outputs.push_back(Output::CloseNotify);
                    self.end();
                }
            }
        }
        self.complete_if_finished();
    }

    fn verify(&mut self, certificate: &[u8]) {
        if !self.config.fingerprint.matches(certificate) {
            self.fail(Failure::FingerprintMismatch);
        } else if let State::Handshaking { verified, .. } = &mut self.state {
            *verified = true;
        }
    }

    /// Completes a finished handshake, with the keys of a verified peer only.
    fn complete_if_finished(&mut self) {
        let State::Handshaking { verified, finished: true } = self.state else { return };
        match (verified, self.keys.take()) {
            (false, _) => self.fail(Failure::FingerprintMismatch),
            (true, None) => self.fail(Failure::NoSrtpProfile),
            (true, Some(keys)) => {
                self.state = State::Connected;
                self.filter.complete();
                self.outputs.push_back(Output::Connected(keys));
            }
        }
    }

    fn fail(&mut self, failure: Failure) {
        // A peer that is not the one of the offer gets no further byte.
        self.outputs.clear();
        self.outputs.push_back(Output::Failed(failure));
        self.end();
    }

    fn end(&mut self) {
        self.engine = None;
        self.keys = None;
        self.state = State::Over;
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Guard")
            .field("role", &self.config.role)
            .field("state", &self.state)
            .field("engines_made", &self.engines_made)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// `verified`: the peer certificate has the right fingerprint.
    /// `finished`: the library is done; complete with the keys that it gives in the same breath.
    Handshaking {
        verified: bool,
        finished: bool,
    },
    Connected,
    Over,
}

impl State {
    const STARTED: Self = Self::Handshaking { verified: false, finished: false };
}

/// What a [`Guard`] asks of its driver.
#[derive(Debug)]
pub enum Output {
    /// A datagram to send.
    Transmit(Vec<u8>),
    /// The handshake is complete, the peer verified; here are the media keys.
    Connected(MasterKeys),
    /// Decrypted application data.
    Data(Vec<u8>),
    /// The peer said `close_notify`; nothing follows.
    CloseNotify,
    /// DTLS ended; nothing follows.
    Failed(Failure),
}

/// Why a session's DTLS ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The certificate is not the one of the offer.
    FingerprintMismatch,
    /// The handshake completed without an SRTP profile.
    NoSrtpProfile,
    /// The peer has no ECDSA certificate.
    NoUsableCertificate,
    /// The library's deadline passed.
    Timeout,
    /// Every attempt failed.
    Handshake,
    /// The library gave up after completion.
    Connection,
}

/// How many libraries a session may wear out before its handshake completes.
pub const ENGINES_MAX: usize = 3;

#[cfg(test)]
mod tests;
