use super::*;
use rtc_stun::attributes::{ATTR_PRIORITY, ATTR_SOFTWARE, ATTR_USE_CANDIDATE, ATTR_USERNAME, AttrType};
use rtc_stun::message::{BINDING_REQUEST as REQUEST, Getter};

pub(crate) const PWD: &str = "abcdefghijklmnopqrstuvwx";
const SESSION: &str = "OurUfrag:themtoo";

#[test]
fn a_check_is_read_and_verified_with_our_password_alone() {
    let datagram = check(SESSION, PWD).nominating().build();

    let request = BindingRequest::parse(&datagram).unwrap();

    assert_eq!((request.local_ufrag(), request.remote_ufrag()), ("OurUfrag", "themtoo"));
    assert!(request.use_candidate());
    assert_eq!(request.verify(PWD), Ok(()));
    assert_eq!(request.verify("another-password-entirely"), Err(DropReason::StunIntegrity));
    assert_eq!(username(&datagram), Some(("OurUfrag", "themtoo")));
    assert!(verify(&datagram, PWD));
}

#[test]
fn the_response_tells_the_mapped_address_and_is_not_larger_than_the_request() {
    for remote in ["203.0.113.9:50000", "[2001:db8::9]:50000"] {
        let remote: SocketAddr = remote.parse().unwrap();
        let datagram = check(SESSION, PWD).build();
        let request = BindingRequest::parse(&datagram).unwrap();

        let response = respond(&request, remote, PWD).unwrap();

        let mut message = Message::default();
        message.unmarshal_binary(response.as_bytes()).unwrap();
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&message).unwrap();
        assert_eq!(SocketAddr::new(mapped.ip, mapped.port), remote);
        assert_eq!(message.typ, BINDING_SUCCESS);
        assert_eq!(message.transaction_id.0, datagram[8..20]);
        assert!(!message.contains(ATTR_SOFTWARE));
        FINGERPRINT.check(&message).unwrap();
        MessageIntegrity::check(&mut message, PWD.as_bytes(), &CRYPTO).unwrap();
        assert!(response.as_bytes().len() <= datagram.len());
    }
}

#[test]
fn a_request_without_fingerprint_is_answered_without_one() {
    let datagram = check(SESSION, PWD).without_fingerprint().build();
    let request = BindingRequest::parse(&datagram).unwrap();

    let response = respond(&request, "203.0.113.9:50000".parse().unwrap(), PWD).unwrap();

    let mut message = Message::default();
    message.unmarshal_binary(response.as_bytes()).unwrap();
    assert!(!message.contains(rtc_stun::attributes::ATTR_FINGERPRINT));
    assert!(response.as_bytes().len() <= datagram.len());
}

#[test]
fn every_changed_byte_of_a_check_is_noticed() {
    let datagram = check(SESSION, PWD).nominating().build();
    // With another type the fingerprint is an unknown attribute behind the integrity, which is not read.
    let fingerprint_type = datagram.len() - 8..datagram.len() - 6;
    for place in (0..datagram.len()).filter(|place| !fingerprint_type.contains(place)) {
        let mut changed = datagram.clone();
        changed[place] ^= 0x01;

        assert!(!verify(&changed, PWD), "byte {place}");
    }
}

#[test]
fn every_cut_of_a_check_is_malformed() {
    let datagram = check(SESSION, PWD).build();
    for end in 0..datagram.len() {
        assert_eq!(BindingRequest::parse(&datagram[..end]), Err(DropReason::StunMalformed), "{end} bytes");
    }
}

#[test]
fn stun_that_is_no_binding_request_is_told_apart() {
    let indication = message(0x0011, &[]);
    let success = message(0x0101, &[(0x0020, &[0; 8])]);
    let allocate = message(0x0003, &[]);

    for datagram in [indication, success, allocate] {
        assert_eq!(BindingRequest::parse(&datagram), Err(DropReason::StunNotRequest));
    }
}

#[test]
fn seed_integrity_as_the_last_1_to_19_bytes() {
    for len in 1..20 {
        let mut datagram = message(0x0001, &[(USERNAME_TYPE, SESSION.as_bytes())]);
        // The attribute claims its full length, and the datagram ends inside it.
        datagram.extend([0x00, 0x08, 0x00, 20]);
        datagram.extend(vec![0xaa; len]);
        let claimed = u16::try_from(datagram.len() - HEADER_LEN).unwrap();
        datagram[2..4].copy_from_slice(&claimed.to_be_bytes());

        assert_eq!(BindingRequest::parse(&datagram), Err(DropReason::StunMalformed), "{len} bytes left");

        // The attribute is as short as it says.
        let short =
            message(0x0001, &[(USERNAME_TYPE, SESSION.as_bytes()), (INTEGRITY_TYPE, &vec![0xaa; len])]);
        assert_eq!(BindingRequest::parse(&short), Err(DropReason::StunMalformed), "{len} bytes long");
    }
}

#[test]
fn seed_length_that_is_no_multiple_of_four_or_not_that_of_the_datagram() {
    let whole = check(SESSION, PWD).build();
    let body = whole.len() - HEADER_LEN;
    for claimed in [0, 1, 2, 3, body - 4, body - 1, body + 1, body + 4, 0xffff, 0xfffc] {
        let mut datagram = whole.clone();
        datagram[2..4].copy_from_slice(&u16::try_from(claimed).unwrap().to_be_bytes());

        assert_eq!(BindingRequest::parse(&datagram), Err(DropReason::StunMalformed), "claims {claimed}");
    }
    let mut odd = message(0x0001, &[]);
    odd.extend([0, 0x24, 0]);
    odd[3] = 3;
    assert_eq!(BindingRequest::parse(&odd), Err(DropReason::StunMalformed));
}

#[test]
fn seed_integrity_before_the_user_name() {
    let datagram = message(0x0001, &[(INTEGRITY_TYPE, &[0; 20]), (USERNAME_TYPE, SESSION.as_bytes())]);

    // What stands behind the integrity is not read, so there is no user name.
    assert_eq!(BindingRequest::parse(&datagram), Err(DropReason::StunMalformed));
}

#[test]
fn seed_fingerprint_first() {
    let attributes: [(u16, &[u8]); 3] =
        [(FINGERPRINT_TYPE, &[0; 4]), (USERNAME_TYPE, SESSION.as_bytes()), (INTEGRITY_TYPE, &[0; 20])];

    assert_eq!(BindingRequest::parse(&message(0x0001, &attributes)), Err(DropReason::StunMalformed));
}

#[test]
fn a_nomination_behind_the_integrity_counts_for_nothing() {
    let mut datagram = check(SESSION, PWD).without_fingerprint().build();
    datagram.extend([0x00, 0x25, 0x00, 0x00]);
    let claimed = u16::try_from(datagram.len() - HEADER_LEN).unwrap();
    datagram[2..4].copy_from_slice(&claimed.to_be_bytes());

    let request = BindingRequest::parse(&datagram).unwrap();

    assert_eq!(request.verify(PWD), Ok(()));
    assert!(!request.use_candidate());
}

#[test]
fn a_check_without_integrity_is_no_check() {
    let datagram = message(0x0001, &[(USERNAME_TYPE, SESSION.as_bytes())]);

    assert_eq!(BindingRequest::parse(&datagram), Err(DropReason::StunIntegrity));
}

#[test]
fn two_integrities_a_strange_name_and_too_many_attributes_are_malformed() {
    let integrity: (u16, &[u8]) = (INTEGRITY_TYPE, &[0; 20]);
    let name = (USERNAME_TYPE, SESSION.as_bytes());
    let long_name = "a:".repeat(300);
    let many = vec![(0x8022, &b"filler"[..]); ATTRIBUTES_MAX + 1];

    for attributes in [
        vec![name, integrity, integrity],
        vec![(USERNAME_TYPE, &b"no separator"[..]), integrity],
        vec![(USERNAME_TYPE, &[0xff, b':', 0xfe][..]), integrity],
        vec![(USERNAME_TYPE, long_name.as_bytes()), integrity],
        many,
    ] {
        assert_eq!(BindingRequest::parse(&message(0x0001, &attributes)), Err(DropReason::StunMalformed));
    }
}

/// A well-formed check of an ICE agent, to be varied.
pub(crate) struct Check {
    username: String,
    pwd: String,
    nominates: bool,
    fingerprint: bool,
}

/// Begins a check for `local:remote` user name fragments.
pub(crate) fn check(username: &str, pwd: &str) -> Check {
    Check { username: username.to_owned(), pwd: pwd.to_owned(), nominates: false, fingerprint: true }
}

impl Check {
    pub(crate) fn nominating(mut self) -> Self {
        self.nominates = true;
        self
    }

    pub(crate) fn without_fingerprint(mut self) -> Self {
        self.fingerprint = false;
        self
    }

    pub(crate) fn build(self) -> Vec<u8> {
        let mut message = Message::new();
        message.set_type(REQUEST);
        message.transaction_id = TransactionId(*b"transaction!");
        message.write_header();
        message.add(ATTR_USERNAME, self.username.as_bytes());
        message.add(AttrType(0x802a), &[7; 8]); // ICE-CONTROLLING
        if self.nominates {
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        message.add(ATTR_PRIORITY, &[0x6e, 0, 1, 0xff]);
        let integrity = MessageIntegrity::new_raw_integrity_with_provider(self.pwd.as_bytes(), &CRYPTO);
        integrity.add_to(&mut message).unwrap();
        if self.fingerprint {
            FINGERPRINT.add_to(&mut message).unwrap();
        }
        message.raw
    }
}

/// A message of any attributes, with a right length.
fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut datagram = kind.to_be_bytes().to_vec();
    datagram.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    datagram.extend(MAGIC_COOKIE);
    datagram.extend(b"transaction!");
    datagram.extend(body);
    datagram
}
