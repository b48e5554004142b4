//! The certificate that every session of a process shows.

use super::{Fingerprint, HashAlgorithm};
use std::fmt;
use std::sync::Arc;

/// A self-signed ECDSA P-256 certificate with its key, made at start and kept in memory only.
///
/// One serves every session of the process, in an `Arc`. It is valid for a year: peers of WebRTC check the
/// fingerprint, not the dates, and a process is restarted before.
pub struct Certificate {
    identity: ::dimpl::DtlsCertificate,
    config: Arc<::dimpl::Config>,
    fingerprint: Fingerprint,
}

impl Certificate {
    /// Makes a new key and its certificate.
    ///
    /// # Errors
    /// When the key cannot be generated, or the DTLS engine fails its own test of the cryptography.
    pub fn generate() -> Result<Self, CertificateError> {
        let identity = ::dimpl::certificate::generate_self_signed_certificate()
            .map_err(|_| CertificateError::Generation)?;
        let config = super::dimpl::config().map_err(|_| CertificateError::Engine)?;
        let fingerprint = Fingerprint::of(HashAlgorithm::Sha256, &identity.certificate);
        Ok(Self { identity, config: Arc::new(config), fingerprint })
    }

    /// Returns the SHA-256 fingerprint for our `a=fingerprint` line.
    #[must_use]
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Returns the certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.identity.certificate
    }

    pub(super) const fn identity(&self) -> &::dimpl::DtlsCertificate {
        &self.identity
    }

    /// Returns the configuration of the engine, which every session shares.
    pub(super) const fn config(&self) -> &Arc<::dimpl::Config> {
        &self.config
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Certificate").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// Why no certificate could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The key or its self-signature could not be made.
    #[error("could not make a P-256 key and its certificate")]
    Generation,
    /// The DTLS engine refused its configuration.
    #[error("the DTLS engine failed its self-test")]
    Engine,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_certificates_of_one_process_differ() {
        let first = Certificate::generate().unwrap();
        let second = Certificate::generate().unwrap();

        assert_ne!(first.fingerprint(), second.fingerprint());
        assert!(first.fingerprint().matches(first.der()));
    }

    #[test]
    fn the_private_key_is_not_in_the_debug_text() {
        let certificate = Certificate::generate().unwrap();

        let text = format!("{certificate:?}");

        assert!(text.contains("fingerprint"));
        assert!(!text.contains("private"));
    }
}
