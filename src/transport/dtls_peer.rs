//! The other side of a DTLS handshake, for the tests: `dimpl` without our filter.

use crate::dtls::{Fingerprint, HashAlgorithm};
use crate::instant::to_instant;
use crate::srtp::{MasterKeys, Profile};
use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile};
use rtp::MonoTime;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Which handshake the other side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Only12,
    Only13,
    Auto,
}

/// The other side.
pub(crate) struct DtlsPeer {
    dtls: Dtls,
    certificate: DtlsCertificate,
    pub(crate) sent: VecDeque<Vec<u8>>,
    pub(crate) keys: Option<MasterKeys>,
    pub(crate) connected: bool,
    pub(crate) closed: bool,
    /// The library gave up.
    pub(crate) broken: bool,
    pub(crate) data: VecDeque<Vec<u8>>,
}

impl DtlsPeer {
    pub(crate) fn new(speaks: Speaks, is_client: bool, now: MonoTime) -> Self {
        let config = Config::builder()
            .use_server_cookie(false)
            .flight_start_rto(Duration::from_millis(200))
            .flight_retries(20)
            .max_queue_tx(100)
            .build()
            .unwrap();
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        let (config, at) = (Arc::new(config), to_instant(now));
        let mut dtls = match speaks {
            Speaks::Only12 => Dtls::new_12(config, certificate.clone(), at),
            Speaks::Only13 => Dtls::new_13(config, certificate.clone(), at),
            Speaks::Auto => Dtls::new_auto(config, certificate.clone(), at),
        };
        dtls.set_active(is_client);
        let mut peer = Self {
            dtls,
            certificate,
            sent: VecDeque::new(),
            keys: None,
            connected: false,
            closed: false,
            broken: false,
            data: VecDeque::new(),
        };
        peer.handle_timeout(now);
        peer
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(HashAlgorithm::Sha256, &self.certificate.certificate)
    }

    pub(crate) fn fingerprint_by(&self, algorithm: HashAlgorithm) -> Fingerprint {
        Fingerprint::of(algorithm, &self.certificate.certificate)
    }

    pub(crate) fn certificate_der(&self) -> Vec<u8> {
        self.certificate.certificate.clone()
    }

    pub(crate) fn handle(&mut self, now: MonoTime, datagram: &[u8]) {
        self.handle_timeout(now);
        if self.broken {
            return;
        }
        self.broken |= self.dtls.handle_packet(datagram).is_err();
        self.drain();
    }

    pub(crate) fn handle_timeout(&mut self, now: MonoTime) {
        if self.broken {
            return;
        }
        self.broken |= self.dtls.handle_timeout(to_instant(now)).is_err();
        self.drain();
    }

    pub(crate) fn send(&mut self, data: &[u8]) {
        self.dtls.send_application_data(data).unwrap();
        self.drain();
    }

    pub(crate) fn close(&mut self) {
        self.dtls.close().unwrap();
        self.drain();
    }

    fn drain(&mut self) {
        let mut buffer = vec![0; 20_000];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => self.sent.push_back(packet.to_vec()),
                Output::Timeout(_) => return,
                Output::Connected => self.connected = true,
                Output::KeyingMaterial(material, profile) => {
                    let profile = match profile {
                        SrtpProfile::AEAD_AES_128_GCM => Profile::Aes128Gcm,
                        SrtpProfile::AEAD_AES_256_GCM => Profile::Aes256Gcm,
                        _ => Profile::Aes128CmSha1,
                    };
                    self.keys = MasterKeys::new(profile, &material);
                }
                Output::ApplicationData(data) => self.data.push_back(data.to_vec()),
                Output::CloseNotify => self.closed = true,
                _ => {}
            }
        }
    }
}
