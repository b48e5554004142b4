//! The certificate fingerprint of an offer or answer (RFC 8122 §5).
//!
//! The signalling channel vouches for a hash, the handshake shows the certificate: equal means that both reach
//! the same machine. Only SHA-256 and stronger are accepted.

use aws_lc_rs::{constant_time, digest};
use std::fmt;

/// A certificate's hash, as `a=fingerprint` carries it.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint {
    algorithm: HashAlgorithm,
    hash: Vec<u8>,
}

impl Fingerprint {
    /// Makes a fingerprint of its parts; `None` when the hash has not the algorithm's length.
    #[must_use]
    pub fn new(algorithm: HashAlgorithm, hash: &[u8]) -> Option<Self> {
        (hash.len() == algorithm.hash_len()).then(|| Self { algorithm, hash: hash.to_vec() })
    }

    /// Reads the two words of an `a=fingerprint` line: `sha-256` and the colon-separated hexadecimal bytes.
    ///
    /// `None` for an algorithm weaker than SHA-256, an unknown one, or a malformed hash.
    #[must_use]
    pub fn parse(algorithm: &str, hex: &str) -> Option<Self> {
        let algorithm = HashAlgorithm::from_name(algorithm)?;
        let mut hash = Vec::with_capacity(algorithm.hash_len());
        for byte in hex.split(':') {
            if byte.len() != 2 || !byte.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            hash.push(u8::from_str_radix(byte, 16).ok()?);
            if hash.len() > algorithm.hash_len() {
                return None;
            }
        }
        Self::new(algorithm, &hash)
    }

    /// Hashes a certificate in DER.
    #[must_use]
    pub fn of(algorithm: HashAlgorithm, certificate: &[u8]) -> Self {
        Self { algorithm, hash: algorithm.hash(certificate) }
    }

    /// Tells whether this is the fingerprint of a certificate in DER.
    #[must_use]
    pub fn matches(&self, certificate: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.hash, &self.algorithm.hash(certificate)).is_ok()
    }

    /// Returns the hash function.
    #[must_use]
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Returns the hash as upper-case hexadecimal bytes with colons between them.
    #[must_use]
    pub fn hex(&self) -> String {
        let bytes: Vec<String> = self.hash.iter().map(|byte| format!("{byte:02X}")).collect();
        bytes.join(":")
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.algorithm.name(), self.hex())
    }
}

/// A hash function that a fingerprint may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// SHA-256, what everybody sends.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// Reads the textual name, in any case (RFC 8122 §5).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha384, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Returns the textual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    const fn hash_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, bytes).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_survives_text_in_every_accepted_algorithm() {
        for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
            let fingerprint = Fingerprint::of(algorithm, b"certificate");

            let parsed = Fingerprint::parse(&algorithm.name().to_uppercase(), &fingerprint.hex()).unwrap();

            assert_eq!(parsed, fingerprint);
            assert!(parsed.matches(b"certificate"));
            assert!(!parsed.matches(b"certificatf"));
        }
    }

    #[test]
    fn sha_256_of_nothing_is_the_published_value() {
        let fingerprint = Fingerprint::of(HashAlgorithm::Sha256, b"");

        assert!(fingerprint.hex().starts_with("E3:B0:C4:42:98:FC:1C:14"));
    }

    #[test]
    fn weak_unknown_and_malformed_fingerprints_are_refused() {
        let sha1 = vec!["AB"; 20].join(":");
        let short = vec!["AB"; 31].join(":");
        let long = vec!["AB"; 33].join(":");
        let endless = vec!["AB"; 10_000].join(":");
        let wide = vec!["0AB"; 32].join(":");
        let signed = vec!["+A"; 32].join(":");

        assert!(Fingerprint::parse("sha-1", &sha1).is_none());
        assert!(Fingerprint::parse("md5", &sha1).is_none());
        for hex in [short.as_str(), &long, &endless, &wide, &signed, "", ":", "AB"] {
            assert!(Fingerprint::parse("sha-256", hex).is_none(), "{hex}");
        }
    }
}
