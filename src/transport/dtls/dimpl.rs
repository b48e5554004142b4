//! The library `dimpl` behind [`DtlsLink`].
//!
//! Two habits of the library are kept inside: it wants to be told the time before the first packet, and its
//! outputs must be drained after every call, or its queue overflows.

use super::{Certificate, DtlsLink, LinkError, LinkOutput, Role, Version};
use crate::instant::{from_instant, to_instant};
use crate::srtp::{MasterKeys, Profile};
use ::dimpl::{CertificateError, Config, Dtls, Error, Output, SrtpProfile};
use rtp::MonoTime;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// One DTLS connection of the library.
#[derive(Debug)]
pub(super) struct DimplLink {
    dtls: Dtls,
    outputs: VecDeque<LinkOutput>,
    next_timeout: Option<MonoTime>,
}

impl DimplLink {
    /// Makes a connection; in the client role its ClientHello is ready at once.
    ///
    /// # Errors
    /// When the library refuses to start.
    pub(super) fn new(
        certificate: &Certificate,
        role: Role,
        version: Version,
        now: MonoTime,
    ) -> Result<Self, LinkError> {
        let config = Arc::clone(certificate.config());
        let identity = certificate.identity().clone();
        let mut dtls = match version {
            Version::Only12 => Dtls::new_12(config, identity, to_instant(now)),
            Version::Auto => Dtls::new_auto(config, identity, to_instant(now)),
        };
        dtls.set_active(role == Role::Client);
        let mut link = Self { dtls, outputs: VecDeque::new(), next_timeout: None };
        link.handle_timeout(now)?;
        Ok(link)
    }

    /// Moves the library's outputs to ours, until it asks to wait.
    fn drain(&mut self) {
        let mut buffer = vec![0; OUTPUT_LEN];
        for _ in 0..OUTPUTS_MAX {
            let output = match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => LinkOutput::Transmit(packet.to_vec()),
                Output::BufferTooSmall { needed } => {
                    buffer.resize(needed.min(OUTPUT_LEN_MAX), 0);
                    continue;
                }
                Output::Timeout(at) => {
                    self.next_timeout = from_instant(at);
                    return;
                }
                Output::Connected => LinkOutput::Connected,
                Output::PeerCert(certificate) => LinkOutput::PeerCertificate(certificate.to_vec()),
                Output::KeyingMaterial(material, profile) => match master_keys(&material, profile) {
                    Some(keys) => LinkOutput::Keys(keys),
                    None => continue,
                },
                Output::ApplicationData(data) => LinkOutput::Data(data.to_vec()),
                Output::CloseNotify => LinkOutput::CloseNotify,
                _ => continue,
            };
            self.outputs.push_back(output);
        }
    }
}

impl DtlsLink for DimplLink {
    fn handle_record(&mut self, now: MonoTime, record: &[u8]) -> Result<(), LinkError> {
        self.dtls.handle_timeout(to_instant(now)).map_err(|error| reason(&error))?;
        let outcome = self.dtls.handle_packet(record).map_err(|error| reason(&error));
        self.drain();
        outcome
    }

    fn handle_timeout(&mut self, now: MonoTime) -> Result<(), LinkError> {
        let outcome = self.dtls.handle_timeout(to_instant(now)).map_err(|error| reason(&error));
        self.drain();
        outcome
    }

    fn send(&mut self, now: MonoTime, data: &[u8]) -> Result<(), LinkError> {
        self.dtls.handle_timeout(to_instant(now)).map_err(|error| reason(&error))?;
        let outcome = self.dtls.send_application_data(data).map_err(|error| reason(&error));
        self.drain();
        outcome.map(|_| ())
    }

    fn close(&mut self, _now: MonoTime) {
        // An error means that there is nothing left to say goodbye with.
        if self.dtls.close().is_ok() {
            self.drain();
        }
    }

    fn poll_output(&mut self) -> Option<LinkOutput> {
        self.outputs.pop_front()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        self.next_timeout
    }
}

/// Makes the configuration that all connections of a certificate share; costs a self-test of the cryptography.
pub(super) fn config() -> Result<Config, Error> {
    Config::builder()
        .use_server_cookie(false)
        .flight_start_rto(FLIGHT_RTO)
        .flight_retries(FLIGHT_RETRIES)
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .mtu(MTU)
        .max_queue_rx(QUEUE_MAX)
        .max_queue_tx(QUEUE_MAX)
        .require_client_certificate(true)
        .build()
}

fn master_keys(material: &[u8], profile: SrtpProfile) -> Option<MasterKeys> {
    let profile = match profile {
        SrtpProfile::AEAD_AES_128_GCM => Profile::Aes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Profile::Aes256Gcm,
        SrtpProfile::AES128_CM_SHA1_80 => Profile::Aes128CmSha1,
        _ => return None,
    };
    MasterKeys::new(profile, material)
}

fn reason(error: &Error) -> LinkError {
    match error {
        Error::CertificateError(
            CertificateError::NoClientCertificateReceived
            | CertificateError::NoClientCertificateForVerification
            | CertificateError::NoServerCertificateReceived,
        ) => LinkError::NoUsableCertificate,
        Error::Timeout(_) => LinkError::Timeout,
        Error::ConnectionClosed => LinkError::Closed,
        _ => LinkError::Refused,
    }
}

/// The first retransmission: a passive publisher's listener often comes up after our first ClientHello.
const FLIGHT_RTO: Duration = Duration::from_millis(200);
const FLIGHT_RETRIES: usize = 6;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Room for IPv6, UDP and a TURN header inside 1,280 bytes.
const MTU: usize = 1_150;
const QUEUE_MAX: usize = 10;
const OUTPUT_LEN: usize = 2_048;
/// The longest record, decrypted.
const OUTPUT_LEN_MAX: usize = 16_384 + 256;
/// The library's queues hold ten; a drain that does not end would be its fault.
const OUTPUTS_MAX: usize = 64;
