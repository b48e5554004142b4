//! DTLS: the handshake that proves who the other side is and gives the media keys.
//!
//! Think of three layers. [`DtlsLink`] is what any DTLS library must do for us, one record in, outputs out;
//! the module `dimpl` fits one library to it. [`Filter`] stands in front: a stranger's bytes are walked,
//! bounded and reassembled there, so that the library sees only whole, plausible messages. [`Guard`] joins the
//! two, starts the library afresh when a hostile first attempt broke it, and compares the peer certificate with
//! the fingerprint of the offer **before** any key leaves it.
//!
//! Invariants: no key without a matching fingerprint; nothing reaches the library before a whole first hello;
//! memory before completion is bounded by the constants of [`filter`]. RFC 6347, RFC 9147, RFC 5764, RFC 8122.

pub mod certificate;
mod dimpl;
pub mod filter;
pub mod fingerprint;
pub mod guard;

pub use certificate::{Certificate, CertificateError};
pub use filter::Filter;
pub use fingerprint::{Fingerprint, HashAlgorithm};
pub use guard::{Failure, Guard};

use crate::srtp::MasterKeys;
use rtp::MonoTime;

/// Which side of the handshake we are (RFC 8842 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We wait for the ClientHello: the offer said `actpass` or `active`.
    Server,
    /// We send the ClientHello: the offer said `passive`.
    Client,
}

/// Which versions of DTLS a [`DtlsLink`] negotiates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Only 1.2, whose server side chooses an AEAD profile whatever the order of the ClientHello.
    Only12,
    /// 1.3 where the other side has it, else 1.2.
    Auto,
}

/// What a DTLS library must do for us, sans-IO.
///
/// The driver polls [`DtlsLink::poll_output`] until `None` after every other call. An error is final: the link
/// is of no more use.
pub trait DtlsLink: Send {
    /// Takes one whole record.
    ///
    /// # Errors
    /// When the library gives up; the link must be dropped.
    fn handle_record(&mut self, now: MonoTime, record: &[u8]) -> Result<(), LinkError>;

    /// Does what is due: retransmissions and deadlines.
    ///
    /// # Errors
    /// As [`DtlsLink::handle_record`].
    fn handle_timeout(&mut self, now: MonoTime) -> Result<(), LinkError>;

    /// Sends application data, once connected.
    ///
    /// # Errors
    /// As [`DtlsLink::handle_record`].
    fn send(&mut self, now: MonoTime, data: &[u8]) -> Result<(), LinkError>;

    /// Queues a `close_notify`, if the handshake has completed.
    fn close(&mut self, now: MonoTime);

    /// Returns the next thing to do for the driver.
    fn poll_output(&mut self) -> Option<LinkOutput>;

    /// Returns when [`DtlsLink::handle_timeout`] is due.
    fn next_timeout(&self) -> Option<MonoTime>;
}

/// What a [`DtlsLink`] asks of its driver.
#[derive(Debug)]
pub enum LinkOutput {
    /// A datagram to send.
    Transmit(Vec<u8>),
    /// The peer's leaf certificate in DER; always before [`LinkOutput::Keys`].
    PeerCertificate(Vec<u8>),
    /// The exported SRTP keys (RFC 5764 §4.2).
    Keys(MasterKeys),
    /// The handshake is complete.
    Connected,
    /// Decrypted application data.
    Data(Vec<u8>),
    /// The peer said `close_notify`.
    CloseNotify,
}

/// Why a [`DtlsLink`] gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The peer gave no certificate that we can use: an RSA one, or none.
    #[error("the peer offered no ECDSA certificate")]
    NoUsableCertificate,
    /// The library's own deadline passed.
    #[error("the handshake did not complete in time")]
    Timeout,
    /// The peer closed, or we did.
    #[error("the link is closed")]
    Closed,
    /// Anything else: a malformed or forbidden message, or an internal bound.
    #[error("the DTLS engine gave up")]
    Refused,
}
