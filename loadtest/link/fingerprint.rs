//! The fingerprint of a certificate, as SDP carries it (RFC 8122 §5).

use aws_lc_rs::digest;
use std::fmt;

/// A hash of a certificate and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    algorithm: String,
    bytes: Vec<u8>,
}

impl Fingerprint {
    /// Hashes a certificate; `None` when the algorithm is not one of ours.
    #[must_use]
    pub fn of(algorithm: &str, der: &[u8]) -> Option<Self> {
        let hash = digest::digest(find(algorithm)?, der);
        Some(Self { algorithm: algorithm.to_ascii_lowercase(), bytes: hash.as_ref().to_vec() })
    }

    /// Reads the value of `a=fingerprint`; `None` when it is malformed or of an algorithm that we do not have.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (algorithm, hex) = value.trim().split_once(' ')?;
        let expected = find(algorithm)?.output_len();
        let bytes: Option<Vec<u8>> =
            hex.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        let bytes = bytes.filter(|bytes| bytes.len() == expected)?;
        Some(Self { algorithm: algorithm.to_ascii_lowercase(), bytes })
    }

    /// Says whether it is the hash of this certificate.
    #[must_use]
    pub fn matches(&self, der: &[u8]) -> bool {
        Self::of(&self.algorithm, der).is_some_and(|other| other == *self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ", self.algorithm)?;
        for (index, byte) in self.bytes.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(formatter, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

fn find(algorithm: &str) -> Option<&'static digest::Algorithm> {
    match algorithm.to_ascii_lowercase().as_str() {
        "sha-256" => Some(&digest::SHA256),
        "sha-384" => Some(&digest::SHA384),
        "sha-512" => Some(&digest::SHA512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_survives_its_text() {
        for algorithm in ["sha-256", "SHA-384", "sha-512"] {
            let fingerprint = Fingerprint::of(algorithm, b"certificate").unwrap();

            assert_eq!(Fingerprint::parse(&fingerprint.to_string()), Some(fingerprint.clone()));
            assert!(fingerprint.matches(b"certificate"));
            assert!(!fingerprint.matches(b"another"));
        }
    }

    #[test]
    fn a_short_or_unknown_fingerprint_is_refused() {
        assert_eq!(Fingerprint::parse("sha-256 AB:CD"), None);
        assert_eq!(Fingerprint::parse("md5 AB"), None);
        assert_eq!(Fingerprint::parse("sha-256"), None);
    }
}
