//! The three STUN messages of ICE: our check, its answer, and the answer to a check of theirs (RFC 8489, RFC 8445).

use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLING, ATTR_MESSAGE_INTEGRITY, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc_stun::crypto::providers::AwsLcRsCrypto;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};
use rtc_stun::xoraddr::XorMappedAddress;
use std::net::SocketAddr;

/// The number by which an answer is told from a stranger's.
pub(super) type Transaction = [u8; 12];

/// What a check of ours says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check<'a> {
    /// Theirs, a colon, ours.
    pub(super) username: &'a str,
    /// Their password.
    pub(super) password: &'a str,
    pub(super) tie_breaker: u64,
    pub(super) nominates: bool,
    pub(super) transaction: Transaction,
}

/// Writes a check; `None` when the encoder fails, which these attributes do not cause.
pub(super) fn check(check: &Check<'_>) -> Option<Vec<u8>> {
    let mut message = Message::new();
    message.set_type(BINDING_REQUEST);
    message.transaction_id = TransactionId(check.transaction);
    message.write_header();
    message.add(ATTR_USERNAME, check.username.as_bytes());
    message.add(ATTR_ICE_CONTROLLING, &check.tie_breaker.to_be_bytes());
    if check.nominates {
        message.add(ATTR_USE_CANDIDATE, &[]);
    }
    message.add(ATTR_PRIORITY, &PRIORITY.to_be_bytes());
    seal(message, check.password)
}

/// What came.
#[derive(Debug)]
pub(super) enum Received {
    /// A check for us, with its integrity verified.
    Request { transaction: Transaction },
    /// The answer to a check of ours, with its integrity verified.
    Success { transaction: Transaction },
    /// Another message (a refusal too: we repeat the check anyway), or a forged one.
    Nothing,
}

/// Reads a datagram; requests are verified with our password, answers with theirs.
pub(super) fn read(datagram: &[u8], username: &str, our_password: &str, their_password: &str) -> Received {
    let mut message = Message::default();
    if message.unmarshal_binary(datagram).is_err() {
        return Received::Nothing;
    }
    let transaction = message.transaction_id.0;
    let verified = |message: &mut Message, password: &str| {
        message.contains(ATTR_MESSAGE_INTEGRITY)
            && MessageIntegrity::check(message, password.as_bytes(), &CRYPTO).is_ok()
    };
    if message.typ == BINDING_REQUEST {
        let for_us = message.get(ATTR_USERNAME).is_ok_and(|name| name == username.as_bytes());
        if for_us && verified(&mut message, our_password) {
            return Received::Request { transaction };
        }
    } else if message.typ == BINDING_SUCCESS && verified(&mut message, their_password) {
        return Received::Success { transaction };
    }
    Received::Nothing
}

/// Writes the answer to a check of theirs.
pub(super) fn success(transaction: Transaction, to: SocketAddr, our_password: &str) -> Option<Vec<u8>> {
    let mut message = Message::new();
    message.set_type(BINDING_SUCCESS);
    message.transaction_id = TransactionId(transaction);
    message.write_header();
    XorMappedAddress { ip: to.ip(), port: to.port() }.add_to(&mut message).ok()?;
    seal(message, our_password)
}

fn seal(mut message: Message, password: &str) -> Option<Vec<u8>> {
    MessageIntegrity::new_raw_integrity_with_provider(password.as_bytes(), &CRYPTO)
        .add_to(&mut message)
        .ok()?;
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
}

static CRYPTO: AwsLcRsCrypto = AwsLcRsCrypto;
/// The priority of a peer-reflexive candidate of the only component (RFC 8445 §5.1.2).
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: Check<'_> = Check {
        username: "them:us",
        password: "their-password",
        tie_breaker: 7,
        nominates: true,
        transaction: [3; 12],
    };

    #[test]
    fn a_check_is_a_request_to_the_one_who_has_the_password() {
        let datagram = check(&CHECK).unwrap();

        let received = read(&datagram, "them:us", "their-password", "");

        assert!(matches!(received, Received::Request { transaction } if transaction == [3; 12]));
    }

    #[test]
    fn a_check_with_another_name_or_password_is_nothing() {
        let datagram = check(&CHECK).unwrap();

        assert!(matches!(read(&datagram, "them:you", "their-password", ""), Received::Nothing));
        assert!(matches!(read(&datagram, "them:us", "other-password", ""), Received::Nothing));
    }

    #[test]
    fn an_answer_counts_only_with_the_answerers_password() {
        let to = SocketAddr::from(([10, 1, 2, 3], 9));

        let datagram = success([5; 12], to, "theirs").unwrap();

        assert!(matches!(read(&datagram, "us:them", "ours", "theirs"), Received::Success { .. }));
        assert!(matches!(read(&datagram, "us:them", "ours", "guessed"), Received::Nothing));
    }
}
