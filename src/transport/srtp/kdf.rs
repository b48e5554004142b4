//! The key derivation function of SRTP: one master key and salt give six session secrets.
//!
//! A secret is AES in counter mode over zeros, under the master key, from a counter block that is the master
//! salt with the secret's label folded in. The key derivation rate is always 0, so that a packet index never
//! enters it. RFC 3711 §4.3; RFC 7714 §11 pads its 96-bit salt with zeros on the right.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

/// Which secret of a session to derive (RFC 3711 §4.3.1, §4.3.2).
#[derive(Clone, Copy, Debug)]
pub(super) enum Label {
    RtpKey = 0,
    RtpTag = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpTag = 4,
    RtcpSalt = 5,
}

/// Derives `N` bytes of one secret; `None` when the master key is neither 16 nor 32 bytes long.
pub(super) fn derive<const N: usize>(master_key: &[u8], master_salt: &[u8], label: Label) -> Option<[u8; N]> {
    let mut secret = [0; N];
    derive_into(master_key, master_salt, label, &mut secret)?;
    Some(secret)
}

/// Derives one secret of the length of `secret`.
pub(super) fn derive_into(key: &[u8], salt: &[u8], label: Label, secret: &mut [u8]) -> Option<()> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let key = EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
    let mut block = [0; 16];
    for (byte, salt) in block.iter_mut().take(SALT_LEN_MAX).zip(salt) {
        *byte = *salt;
    }
    if let Some(byte) = block.get_mut(LABEL_AT) {
        *byte ^= label as u8;
    }
    secret.fill(0);
    key.less_safe_encrypt(secret, EncryptionContext::Iv128(FixedLength::from(block))).ok()?;
    Some(())
}

/// The salt is 112 bits; the low 16 bits of the counter block count.
const SALT_LEN_MAX: usize = 14;
/// The label stands left of a 48-bit index that is always zero.
const LABEL_AT: usize = SALT_LEN_MAX - 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_128_session_secrets_are_those_of_the_rfc() {
        let key = bytes("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt = bytes("0EC675AD498AFEEBB6960B3AABE6");

        let cipher_key = derive::<16>(&key, &salt, Label::RtpKey).unwrap();
        let cipher_salt = derive::<14>(&key, &salt, Label::RtpSalt).unwrap();
        let tag_key = derive::<20>(&key, &salt, Label::RtpTag).unwrap();

        assert_eq!(cipher_key.to_vec(), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(cipher_salt.to_vec(), bytes("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(tag_key.to_vec(), bytes("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    #[test]
    fn a_master_key_of_another_length_gives_nothing() {
        assert!(derive::<16>(&[0; 15], &[0; 14], Label::RtpKey).is_none());
        assert!(derive::<16>(&[], &[], Label::RtpKey).is_none());
    }

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }
}
