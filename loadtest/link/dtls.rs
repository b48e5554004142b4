//! The DTLS handshake of one session, behind the library.
//!
//! The library is `rtc-dtls`, not the server's: it lets us say in which order the SRTP profiles are offered, speaks
//! to RSA certificates too, and a server is tested best against code that is not its own.

use super::Fingerprint;
use super::instant::{from_instant, to_instant};
use super::srtp::{Profile, Srtp};
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::crypto_provider::RTCCryptoProvider;
use rtc_dtls::crypto_provider::providers::AwsLcRsProvider;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtp::MonoTime;
use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The certificate of a process with its key, and how its sessions shake hands. One serves all sessions.
pub struct Identity {
    client: Arc<HandshakeConfig>,
    server: Arc<HandshakeConfig>,
    fingerprint: Fingerprint,
}

impl Identity {
    /// Makes a new P-256 key and its certificate; `profiles` are offered in this order.
    ///
    /// # Errors
    /// When the library refuses the key or the profiles.
    pub fn generate(profiles: &[Profile]) -> anyhow::Result<Arc<Self>> {
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(AwsLcRsProvider::new());
        let certificate = Certificate::generate_self_signed(vec![NAME.to_owned()], provider.crypto())?;
        let der = certificate.certificate.first().map(AsRef::as_ref).unwrap_or_default();
        let fingerprint = Fingerprint::of("sha-256", der).ok_or_else(|| anyhow::anyhow!("no SHA-256"))?;
        let config = |is_client: bool| {
            ConfigBuilder::default()
                .with_crypto_provider(Arc::clone(&provider))
                .with_certificates(vec![certificate.clone()])
                .with_srtp_protection_profiles(profiles.iter().map(|profile| to_library(*profile)).collect())
                .with_extended_master_secret(ExtendedMasterSecretType::Require)
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                // What counts is the fingerprint, which the session compares.
                .with_insecure_skip_verify(true)
                .with_server_name(NAME.to_owned())
                .with_flight_interval(FLIGHT_INTERVAL)
                .build(is_client, None)
        };
        Ok(Arc::new(Self { client: Arc::new(config(true)?), server: Arc::new(config(false)?), fingerprint }))
    }

    /// Returns the fingerprint for the offer.
    #[must_use]
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// What a datagram or a timer led to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The handshake goes on, or something that does not matter came.
    Nothing,
    /// Keys are there, and the other side is who the answer said.
    Connected(Box<Srtp>),
    /// The other side said goodbye.
    Closed,
    /// The handshake cannot succeed any more.
    Failed(&'static str),
}

/// One association.
pub(super) struct Dtls {
    endpoint: Endpoint,
    expected: Fingerprint,
    is_client: bool,
    connected: bool,
    messages: VecDeque<Vec<u8>>,
}

impl Dtls {
    /// Begins a handshake; as the client its hello is ready at once.
    pub(super) fn new(
        identity: &Identity,
        expected: Fingerprint,
        is_client: bool,
        now: MonoTime,
    ) -> Result<Self, &'static str> {
        let server = (!is_client).then(|| Arc::clone(&identity.server));
        let mut endpoint = Endpoint::new(LOCAL, Default::default(), server);
        if is_client {
            let connect = endpoint.connect(to_instant(now), REMOTE, Arc::clone(&identity.client), None);
            connect.map_err(|_| "the DTLS handshake could not begin")?;
        }
        Ok(Self { endpoint, expected, is_client, connected: false, messages: VecDeque::new() })
    }

    pub(super) fn handle(&mut self, now: MonoTime, datagram: &[u8]) -> Outcome {
        match self.endpoint.read(to_instant(now), REMOTE, None, datagram.into()) {
            Ok(events) => self.note(events),
            // A stranger's bytes come as far as this; the handshake has its own limit.
            Err(_) => Outcome::Nothing,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: MonoTime) -> Outcome {
        if self.next_timeout().is_none_or(|at| now < at) {
            return Outcome::Nothing;
        }
        match self.endpoint.handle_timeout(REMOTE, to_instant(now)) {
            Ok(()) => Outcome::Nothing,
            Err(_) => Outcome::Failed("the DTLS handshake was given up"),
        }
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, now: MonoTime) {
        // Without a connection there is nobody to tell.
        let _ = self.endpoint.stop(to_instant(now), REMOTE);
    }

    /// Sends a message of the protocol above.
    pub(super) fn send(&mut self, now: MonoTime, message: &[u8]) {
        // Without a connection there is nobody to send to.
        let _ = self.endpoint.write(to_instant(now), REMOTE, message);
    }

    /// Returns the next message of the protocol above.
    pub(super) fn poll_message(&mut self) -> Option<Vec<u8>> {
        self.messages.pop_front()
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message.to_vec())
    }

    pub(super) fn next_timeout(&self) -> Option<MonoTime> {
        self.endpoint.poll_timeout(&REMOTE).map(from_instant).filter(|_| !self.connected)
    }

    fn note(&mut self, events: Vec<EndpointEvent>) -> Outcome {
        let mut outcome = Outcome::Nothing;
        for event in events {
            outcome = match event {
                EndpointEvent::HandshakeComplete => self.finish(),
                EndpointEvent::PeerClosed => Outcome::Closed,
                EndpointEvent::ApplicationData(message) => {
                    if self.messages.len() < MESSAGES_MAX {
                        self.messages.push_back(message.to_vec());
                    }
                    outcome
                }
                _ => outcome,
            };
        }
        outcome
    }

    fn finish(&mut self) -> Outcome {
        self.connected = true;
        let Some(state) = self.endpoint.get_connection_state(REMOTE) else {
            return Outcome::Failed("the DTLS handshake left no state");
        };
        let certificate = state.peer_certificates.first();
        if !certificate.is_some_and(|der| self.expected.matches(der)) {
            return Outcome::Failed("the certificate is not the one of the answer");
        }
        let Some(profile) = from_library(state.srtp_protection_profile()) else {
            return Outcome::Failed("no SRTP profile was agreed");
        };
        let material = state.export_keying_material(EXPORTER, &[], profile.material_bytes());
        let srtp = material.ok().and_then(|material| Srtp::new(profile, material.as_ref(), self.is_client));
        match srtp {
            Some(srtp) => Outcome::Connected(Box::new(srtp)),
            None => Outcome::Failed("the SRTP keys could not be derived"),
        }
    }
}

impl fmt::Debug for Dtls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Dtls").field("is_client", &self.is_client).finish_non_exhaustive()
    }
}

const fn to_library(profile: Profile) -> SrtpProtectionProfile {
    match profile {
        Profile::Aes128CmSha1 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        Profile::Aes256Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
        Profile::Aes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
    }
}

const fn from_library(profile: SrtpProtectionProfile) -> Option<Profile> {
    match profile {
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Some(Profile::Aes128CmSha1),
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Some(Profile::Aes256Gcm),
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Some(Profile::Aes128Gcm),
        _ => None,
    }
}

const NAME: &str = "nearcast-loadtest";
/// The driver takes them after each datagram, which holds few.
const MESSAGES_MAX: usize = 64;
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";
/// Between two repetitions of a flight. The library does not lengthen it and gives up after seven: a shorter one would
/// count a server that is slow under a storm of joins as one that fails.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(1_000);
/// The library tells associations apart by address; each of ours has an endpoint of its own, with constant addresses,
/// so that a change of path is none of its business.
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const REMOTE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2);
