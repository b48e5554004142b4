//! STUN Binding requests: the only STUN that an ICE-lite agent reads (RFC 8489, RFC 8445 §7.3).
//!
//! Think of two steps. [`BindingRequest::parse`] walks the attributes in place, without allocation, and refuses
//! whatever is not a well-formed request: this is all that a stranger's datagram costs. Only when the user name
//! fragment is known does [`BindingRequest::verify`] spend an HMAC, and [`respond`] write the answer.
//!
//! Invariants: the length field covers the datagram exactly; what stands behind MESSAGE-INTEGRITY is not read
//! (RFC 8489 §14.5); nothing is ever answered to a request whose integrity is wrong.

use crate::DropReason;
use rtc_stun::crypto::providers::AwsLcRsCrypto;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_SUCCESS, Message, Setter, TransactionId};
use rtc_stun::xoraddr::XorMappedAddress;
use std::net::SocketAddr;

/// A well-formed Binding request, borrowed. Its integrity is **not** yet verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingRequest<'a> {
    datagram: &'a [u8],
    local_ufrag: &'a str,
    remote_ufrag: &'a str,
    use_candidate: bool,
    fingerprint: bool,
}

impl<'a> BindingRequest<'a> {
    /// Reads a datagram that [`rtp`'s demultiplexer](rtp) took for STUN.
    ///
    /// Costs one pass over at most [`ATTRIBUTES_MAX`] attributes, and no allocation.
    ///
    /// # Errors
    /// [`DropReason::StunNotRequest`] for another class or method, [`DropReason::StunIntegrity`] when there is no
    /// MESSAGE-INTEGRITY, and [`DropReason::StunMalformed`] for everything else.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, DropReason> {
        let (header, body) = datagram.split_first_chunk::<HEADER_LEN>().ok_or(DropReason::StunMalformed)?;
        let [t0, t1, l0, l1, c0, c1, c2, c3, ..] = *header;
        if datagram.len() > DATAGRAM_MAX || [c0, c1, c2, c3] != MAGIC_COOKIE || t0 & 0xc0 != 0 {
            return Err(DropReason::StunMalformed);
        }
        if usize::from(u16::from_be_bytes([l0, l1])) != body.len() || body.len() % 4 != 0 {
            return Err(DropReason::StunMalformed);
        }
        if u16::from_be_bytes([t0, t1]) != BINDING_REQUEST {
            return Err(DropReason::StunNotRequest);
        }
        let found = Found::walk(body)?;
        let (local_ufrag, remote_ufrag) =
            found.username.and_then(|name| name.split_once(':')).ok_or(DropReason::StunMalformed)?;
        if !found.integrity {
            return Err(DropReason::StunIntegrity);
        }
        let (use_candidate, fingerprint) = (found.use_candidate, found.fingerprint);
        Ok(Self { datagram, local_ufrag, remote_ufrag, use_candidate, fingerprint })
    }

    /// Returns the user name fragment of the answerer: ours, when the request is for us.
    #[must_use]
    pub const fn local_ufrag(&self) -> &'a str {
        self.local_ufrag
    }

    /// Returns the user name fragment of the sender.
    #[must_use]
    pub const fn remote_ufrag(&self) -> &'a str {
        self.remote_ufrag
    }

    /// Says whether the request nominates its pair (RFC 8445 §7.3.1.5).
    #[must_use]
    pub const fn use_candidate(&self) -> bool {
        self.use_candidate
    }

    /// Verifies MESSAGE-INTEGRITY with our password, and FINGERPRINT when there is one.
    ///
    /// # Errors
    /// [`DropReason::StunIntegrity`] when either is wrong.
    pub fn verify(&self, pwd: &str) -> Result<(), DropReason> {
        let mut message = Message::default();
        message.unmarshal_binary(self.datagram).map_err(|_| DropReason::StunMalformed)?;
        if self.fingerprint {
            FINGERPRINT.check(&message).map_err(|_| DropReason::StunIntegrity)?;
        }
        MessageIntegrity::check(&mut message, pwd.as_bytes(), &CRYPTO).map_err(|_| DropReason::StunIntegrity)
    }
}

/// Returns the two user name fragments of a Binding request, ours first, without verifying anything.
///
/// This finds the session of a first datagram; `None` when it is no well-formed Binding request.
#[must_use]
pub fn username(datagram: &[u8]) -> Option<(&str, &str)> {
    let request = BindingRequest::parse(datagram).ok()?;
    Some((request.local_ufrag, request.remote_ufrag))
}

/// Tells whether a datagram is a Binding request whose integrity holds for our password.
#[must_use]
pub fn verify(datagram: &[u8], pwd: &str) -> bool {
    BindingRequest::parse(datagram).is_ok_and(|request| request.verify(pwd).is_ok())
}

/// The bytes of a Binding success response, in a fixed buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Response {
    bytes: [u8; RESPONSE_MAX],
    len: u8,
}

impl Response {
    /// Returns the datagram to send back to where the request came from.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Response").field("len", &self.len).finish()
    }
}

/// Writes the success response: XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY, FINGERPRINT, and no SOFTWARE.
///
/// The response is not larger than the request whenever that is possible: FINGERPRINT is left out when a request
/// came without one, as RFC 8489 §7.3 allows. `None` when the encoder fails, which no verified request causes.
#[must_use]
pub fn respond(request: &BindingRequest<'_>, remote: SocketAddr, pwd: &str) -> Option<Response> {
    let transaction = request.datagram.get(8..HEADER_LEN)?.first_chunk::<12>()?;
    let mut message = Message::new();
    message.set_type(BINDING_SUCCESS);
    message.transaction_id = TransactionId(*transaction);
    message.write_header();
    XorMappedAddress { ip: remote.ip(), port: remote.port() }.add_to(&mut message).ok()?;
    MessageIntegrity::new_raw_integrity_with_provider(pwd.as_bytes(), &CRYPTO).add_to(&mut message).ok()?;
    if request.fingerprint {
        FINGERPRINT.add_to(&mut message).ok()?;
    }
    let mut bytes = [0; RESPONSE_MAX];
    bytes.get_mut(..message.raw.len())?.copy_from_slice(&message.raw);
    Some(Response { bytes, len: u8::try_from(message.raw.len()).ok()? })
}

/// What the walk over the attributes finds.
#[derive(Default)]
struct Found<'a> {
    username: Option<&'a str>,
    use_candidate: bool,
    integrity: bool,
    fingerprint: bool,
}

impl<'a> Found<'a> {
    fn walk(mut body: &'a [u8]) -> Result<Self, DropReason> {
        let mut found = Self::default();
        for _ in 0..ATTRIBUTES_MAX {
            let Some((kind, value, rest)) = next_attribute(body)? else { return Ok(found) };
            found.note(kind, value, rest.is_empty())?;
            body = rest;
        }
        if body.is_empty() { Ok(found) } else { Err(DropReason::StunMalformed) }
    }

    fn note(&mut self, kind: u16, value: &'a [u8], last: bool) -> Result<(), DropReason> {
        match kind {
            FINGERPRINT_TYPE if !last || value.len() != FINGERPRINT_LEN => {
                return Err(DropReason::StunMalformed);
            }
            FINGERPRINT_TYPE => self.fingerprint = true,
            INTEGRITY_TYPE if value.len() != INTEGRITY_LEN || self.integrity => {
                return Err(DropReason::StunMalformed);
            }
            INTEGRITY_TYPE => self.integrity = true,
            _ if self.integrity => {}
            USERNAME_TYPE if value.len() > USERNAME_MAX => return Err(DropReason::StunMalformed),
            USERNAME_TYPE if self.username.is_none() => {
                self.username = Some(std::str::from_utf8(value).map_err(|_| DropReason::StunMalformed)?);
            }
            USE_CANDIDATE_TYPE => self.use_candidate = true,
            _ => {}
        }
        Ok(())
    }
}

type Attribute<'a> = (u16, &'a [u8], &'a [u8]);

/// Splits off the first attribute: its type, its value and what follows its padding.
fn next_attribute(body: &[u8]) -> Result<Option<Attribute<'_>>, DropReason> {
    if body.is_empty() {
        return Ok(None);
    }
    let ([k0, k1, l0, l1], rest) = body.split_first_chunk::<4>().ok_or(DropReason::StunMalformed)?;
    let len = usize::from(u16::from_be_bytes([*l0, *l1]));
    let value = rest.get(..len).ok_or(DropReason::StunMalformed)?;
    let rest = rest.get(len.next_multiple_of(4)..).ok_or(DropReason::StunMalformed)?;
    Ok(Some((u16::from_be_bytes([*k0, *k1]), value, rest)))
}

/// How many attributes a request may have; browsers send seven to ten.
pub const ATTRIBUTES_MAX: usize = 24;

const HEADER_LEN: usize = 20;
/// A UDP datagram over Ethernet; larger ones are dropped before they come here.
const DATAGRAM_MAX: usize = 1_500;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: u16 = 0x0001;
const USERNAME_TYPE: u16 = 0x0006;
const INTEGRITY_TYPE: u16 = 0x0008;
const USE_CANDIDATE_TYPE: u16 = 0x0025;
const FINGERPRINT_TYPE: u16 = 0x8028;
const INTEGRITY_LEN: usize = 20;
const FINGERPRINT_LEN: usize = 4;
/// RFC 8489 §14.3.
const USERNAME_MAX: usize = 513;
/// Header 20, XOR-MAPPED-ADDRESS of IPv6 24, MESSAGE-INTEGRITY 24, FINGERPRINT 8.
const RESPONSE_MAX: usize = 76;
static CRYPTO: AwsLcRsCrypto = AwsLcRsCrypto;

#[cfg(test)]
pub(crate) mod tests;
