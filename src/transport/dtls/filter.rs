//! The guard in front of a DTLS library: walks records, bounds them and reassembles handshake messages.
//!
//! A DTLS library must accept fragments in any order and cut, from a peer it does not know yet; that is where
//! such libraries hang, grow or crash. This filter takes the datagrams instead and hands on one record at a
//! time: a plaintext handshake message only when it is whole and its turn has come, as one record with one
//! fragment. The handshake transcript covers whole messages (RFC 6347 §4.2.6), so the peer cannot tell.
//!
//! Invariants: before the first whole hello nothing passes; before completion, what is held and what was passed
//! is bounded by the constants below for the whole session, restarts included; what follows a malformed record
//! in a datagram is dropped. Start at [`Filter::handle_datagram`].

use super::Role;
use crate::DropReason;
use std::collections::{BTreeMap, VecDeque};

/// The filter of one session.
#[derive(Debug)]
pub struct Filter {
    role: Role,
    /// The first whole hello has passed.
    opened: bool,
    /// The handshake is complete.
    completed: bool,
    /// The message sequence number whose turn it is.
    next_seq: u16,
    assemblies: BTreeMap<u16, Assembly>,
    ready: VecDeque<Vec<u8>>,
    spent: Spent,
}

impl Filter {
    /// Makes the filter of our side of a handshake.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self {
            role,
            opened: false,
            completed: false,
            next_seq: 0,
            assemblies: BTreeMap::new(),
            ready: VecDeque::new(),
            spent: Spent::new(),
        }
    }

    /// Takes a datagram; [`Filter::poll_record`] then gives the records that may be handed on.
    ///
    /// # Errors
    /// The first reason why a part of the datagram was dropped; the other parts are handed on all the same.
    pub fn handle_datagram(&mut self, datagram: &[u8]) -> Result<(), DropReason> {
        let mut rest = datagram;
        let mut outcome = Ok(());
        for _ in 0..RECORDS_PER_DATAGRAM_MAX {
            if rest.is_empty() {
                return outcome;
            }
            let Some((record, after)) = Record::split(rest) else {
                return outcome.and(Err(DropReason::DtlsMalformed));
            };
            outcome = outcome.and(self.handle_record(&record));
            rest = after;
        }
        if rest.is_empty() { outcome } else { outcome.and(Err(DropReason::DtlsLimit)) }
    }

    /// Lifts the bounds that hold before completion, and sets those that hold after it.
    pub fn complete(&mut self) {
        self.completed = true;
        self.assemblies.clear();
    }

    /// Starts over with a fresh library behind: waits for a whole hello again. What was spent stays spent.
    pub fn restart(&mut self) {
        self.opened = false;
        self.next_seq = 0;
        self.assemblies.clear();
        self.ready.clear();
    }

    /// Returns the next record to hand on.
    pub fn poll_record(&mut self) -> Option<Vec<u8>> {
        self.ready.pop_front()
    }

    /// Returns how many bytes of incomplete messages are held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.assemblies.values().map(|assembly| assembly.body.len()).sum()
    }

    fn handle_record(&mut self, record: &Record<'_>) -> Result<(), DropReason> {
        match record.kind {
            Kind::Handshake => self.handle_handshake(record),
            _ if !self.opened => Err(DropReason::DtlsUnexpected),
            Kind::Protected if self.completed => self.pass(record),
            Kind::Protected => {
                spend(&mut self.spent.protected, 1, PROTECTED_MAX)?;
                self.pass(record)
            }
            Kind::ChangeCipherSpec if !self.completed => {
                spend(&mut self.spent.change_cipher_specs, 1, CHANGE_CIPHER_SPECS_MAX)?;
                self.pass(record)
            }
            Kind::ChangeCipherSpec | Kind::OtherPlaintext => Err(DropReason::DtlsUnexpected),
        }
    }

    fn pass(&mut self, record: &Record<'_>) -> Result<(), DropReason> {
        self.ready.push_back(record.bytes.to_vec());
        Ok(())
    }

    /// Walks the messages and fragments of one plaintext handshake record.
    fn handle_handshake(&mut self, record: &Record<'_>) -> Result<(), DropReason> {
        if self.completed {
            spend(&mut self.spent.late, 1, LATE_MAX)?;
        } else {
            spend(&mut self.spent.bytes, record.bytes.len(), BYTES_MAX)?;
        }
        let mut rest = record.body;
        while !rest.is_empty() {
            let (fragment, after) = Fragment::split(rest).ok_or(DropReason::DtlsMalformed)?;
            self.handle_fragment(record, &fragment)?;
            rest = after;
        }
        Ok(())
    }

    fn handle_fragment(&mut self, record: &Record<'_>, fragment: &Fragment<'_>) -> Result<(), DropReason> {
        self.check(fragment)?;
        if !fragment.is_whole() {
            spend(&mut self.spent.fragments, 1, FRAGMENTS_MAX)?;
        }
        let held = self.held_bytes();
        let assembly = match self.assemblies.entry(fragment.seq) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                if held + fragment.length > BYTES_MAX {
                    return Err(DropReason::DtlsLimit);
                }
                entry.insert(Assembly::new(fragment))
            }
        };
        if !assembly.fits(fragment) {
            *assembly = Assembly::new(fragment);
        }
        assembly.add(record, fragment);
        self.deliver(fragment.seq);
        Ok(())
    }

    /// Refuses fragments that no honest peer sends in this state.
    fn check(&self, fragment: &Fragment<'_>) -> Result<(), DropReason> {
        let is_hello = match self.role {
            Role::Server => fragment.message_type == CLIENT_HELLO,
            Role::Client => matches!(fragment.message_type, SERVER_HELLO | HELLO_VERIFY_REQUEST),
        };
        if !self.opened && (!is_hello || fragment.seq != self.next_seq) {
            return Err(DropReason::DtlsUnexpected);
        }
        if self.completed && fragment.seq >= self.next_seq {
            return Err(DropReason::DtlsUnexpected);
        }
        if fragment.message_type == CLIENT_HELLO && fragment.length < HELLO_MIN {
            return Err(DropReason::DtlsMalformed);
        }
        let length_max = if fragment.message_type == CLIENT_HELLO { HELLO_MAX } else { MESSAGE_MAX };
        let ahead = fragment.seq.saturating_sub(self.next_seq);
        if fragment.length > length_max || ahead > SEQS_AHEAD_MAX {
            return Err(DropReason::DtlsLimit);
        }
        Ok(())
    }

    /// Hands on what is whole: a repeated message at once, a new one when all before it were handed on.
    fn deliver(&mut self, touched: u16) {
        if touched < self.next_seq {
            self.deliver_one(touched);
            return;
        }
        while self.deliver_one(self.next_seq) {
            self.opened = true;
            let Some(next) = self.next_seq.checked_add(1) else { return };
            self.next_seq = next;
        }
    }

    fn deliver_one(&mut self, seq: u16) -> bool {
        if !self.assemblies.get(&seq).is_some_and(Assembly::is_whole) {
            return false;
        }
        let record = self.assemblies.remove(&seq).map(|assembly| assembly.into_record(seq));
        self.ready.extend(record);
        true
    }
}

/// What a session has used of its bounds.
#[derive(Debug)]
struct Spent {
    fragments: usize,
    bytes: usize,
    change_cipher_specs: usize,
    protected: usize,
    late: usize,
}

impl Spent {
    const fn new() -> Self {
        Self { fragments: 0, bytes: 0, change_cipher_specs: 0, protected: 0, late: 0 }
    }
}

fn spend(spent: &mut usize, amount: usize, max: usize) -> Result<(), DropReason> {
    let total = spent.saturating_add(amount);
    if total > max {
        return Err(DropReason::DtlsLimit);
    }
    *spent = total;
    Ok(())
}

/// One record of a datagram (RFC 6347 §4.1, RFC 9147 §4).
struct Record<'a> {
    kind: Kind,
    /// The whole record.
    bytes: &'a [u8],
    /// What stands behind the header of a plaintext record.
    body: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Handshake,
    ChangeCipherSpec,
    /// An alert, application data or anything else that nobody sends unprotected with good intent.
    OtherPlaintext,
    Protected,
}

impl<'a> Record<'a> {
    /// Splits the first record off; `None` when it is malformed, and then nothing behind it can be found.
    fn split(datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let first = *datagram.first()?;
        if first & 0b1110_0000 == UNIFIED_HEADER {
            return Self::split_unified(first, datagram);
        }
        let header = datagram.first_chunk::<RECORD_HEADER_LEN>()?;
        let [content_type, major, _, e0, e1, .., l0, l1] = *header;
        if major != DTLS_MAJOR {
            return None;
        }
        let len = RECORD_HEADER_LEN + usize::from(u16::from_be_bytes([l0, l1]));
        let (bytes, rest) = datagram.split_at_checked(len)?;
        let kind = match (u16::from_be_bytes([e0, e1]), content_type) {
            (0, 22) => Kind::Handshake,
            (0, 20) => Kind::ChangeCipherSpec,
            (0, _) => Kind::OtherPlaintext,
            (1, 20..=26) => Kind::Protected,
            _ => return None,
        };
        Some((Self { kind, bytes, body: bytes.get(RECORD_HEADER_LEN..)? }, rest))
    }

    /// A protected record of DTLS 1.3: `001CSLEE`, sequence number, perhaps a length (RFC 9147 §4).
    fn split_unified(first: u8, datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if first & CONNECTION_ID_BIT != 0 {
            return None;
        }
        let seq_len = if first & SEQUENCE_16_BIT == 0 { 1 } else { 2 };
        let len = if first & LENGTH_BIT == 0 {
            datagram.len()
        } else {
            let [l0, l1] = *datagram.get(1 + seq_len..)?.first_chunk::<2>()?;
            3 + seq_len + usize::from(u16::from_be_bytes([l0, l1]))
        };
        let (bytes, rest) = datagram.split_at_checked(len)?;
        (bytes.len() > 1 + seq_len).then_some((Self { kind: Kind::Protected, bytes, body: &[] }, rest))
    }
}

/// One fragment of a handshake message (RFC 6347 §4.2.2).
struct Fragment<'a> {
    message_type: u8,
    /// The length of the whole message.
    length: usize,
    seq: u16,
    offset: usize,
    bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    fn split(body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = body.split_first_chunk::<FRAGMENT_HEADER_LEN>()?;
        let [message_type, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2] = *header;
        let (bytes, rest) = rest.split_at_checked(number([f0, f1, f2]))?;
        let fragment = Self {
            message_type,
            length: number([l0, l1, l2]),
            seq: u16::from_be_bytes([s0, s1]),
            offset: number([o0, o1, o2]),
            bytes,
        };
        let inside = fragment.offset + bytes.len() <= fragment.length;
        (inside && (!bytes.is_empty() || fragment.length == 0)).then_some((fragment, rest))
    }

    const fn is_whole(&self) -> bool {
        self.bytes.len() == self.length
    }
}

/// A handshake message of which a part has arrived.
#[derive(Debug)]
struct Assembly {
    message_type: u8,
    body: Vec<u8>,
    /// What has arrived: ranges that neither touch nor overlap, in order.
    have: Vec<(usize, usize)>,
    /// Version and sequence number of the record that came last.
    record: [u8; RECORD_HEADER_LEN],
}

impl Assembly {
    fn new(fragment: &Fragment<'_>) -> Self {
        Self {
            message_type: fragment.message_type,
            body: vec![0; fragment.length],
            have: Vec::new(),
            record: [0; RECORD_HEADER_LEN],
        }
    }

    fn fits(&self, fragment: &Fragment<'_>) -> bool {
        self.message_type == fragment.message_type && self.body.len() == fragment.length
    }

    fn add(&mut self, record: &Record<'_>, fragment: &Fragment<'_>) {
        let (mut start, mut end) = (fragment.offset, fragment.offset + fragment.bytes.len());
        if let Some(part) = self.body.get_mut(start..end) {
            part.copy_from_slice(fragment.bytes);
        }
        if let Some(header) = record.bytes.first_chunk() {
            self.record = *header;
        }
        self.have.retain(|&(from, to)| {
            let apart = to < start || end < from;
            if !apart {
                (start, end) = (start.min(from), end.max(to));
            }
            apart
        });
        let at = self.have.partition_point(|&(from, _)| from < start);
        self.have.insert(at, (start, end));
    }

    fn is_whole(&self) -> bool {
        self.have.first() == Some(&(0, self.body.len()))
    }

    /// Writes the message as one record with one fragment.
    fn into_record(self, seq: u16) -> Vec<u8> {
        let length = u32::try_from(self.body.len()).unwrap_or(0).to_be_bytes();
        let [_, length @ ..] = length;
        let record_len = u16::try_from(FRAGMENT_HEADER_LEN + self.body.len()).unwrap_or(0).to_be_bytes();
        let [header @ .., _, _] = self.record;
        let mut record = Vec::with_capacity(RECORD_HEADER_LEN + FRAGMENT_HEADER_LEN + self.body.len());
        record.extend_from_slice(&header);
        record.extend_from_slice(&record_len);
        record.push(self.message_type);
        record.extend_from_slice(&length);
        record.extend_from_slice(&seq.to_be_bytes());
        record.extend_from_slice(&[0, 0, 0]);
        record.extend_from_slice(&length);
        record.extend_from_slice(&self.body);
        record
    }
}

fn number([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}

const RECORD_HEADER_LEN: usize = 13;
const FRAGMENT_HEADER_LEN: usize = 12;
/// The first byte of every DTLS version on the wire: {254, 255}, {254, 253}.
const DTLS_MAJOR: u8 = 254;
const UNIFIED_HEADER: u8 = 0b0010_0000;
const CONNECTION_ID_BIT: u8 = 0b0001_0000;
const SEQUENCE_16_BIT: u8 = 0b0000_1000;
const LENGTH_BIT: u8 = 0b0000_0100;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;

/// A full client flight of DTLS 1.2 with an early SCTP INIT is six records.
const RECORDS_PER_DATAGRAM_MAX: usize = 8;
/// The shortest ClientHello: version, random, empty lists, one suite and one compression method.
const HELLO_MIN: usize = 2 + 32 + 1 + 1 + 4 + 2;
/// The longest ClientHello; browsers with a post-quantum key share send 1.5 kB.
const HELLO_MAX: usize = 4_096;
/// The longest message: with its header it still is one record.
const MESSAGE_MAX: usize = 16_384 - FRAGMENT_HEADER_LEN;
/// The longest flight is five plaintext messages.
const SEQS_AHEAD_MAX: u16 = 8;
/// Parts of messages before completion: a hello in two, sent again for ten seconds, is 14.
pub(super) const FRAGMENTS_MAX: usize = 64;
/// Plaintext handshake bytes before completion, and bytes held at any time.
pub(super) const BYTES_MAX: usize = 65_536;
/// One ChangeCipherSpec a flight, and its repetitions.
pub(super) const CHANGE_CIPHER_SPECS_MAX: usize = 4;
/// Protected records before completion: Finished with an early SCTP INIT, and their repetitions.
pub(super) const PROTECTED_MAX: usize = 16;
/// Plaintext handshake records after completion: repetitions of a flight whose answer was lost.
pub(super) const LATE_MAX: usize = 32;

#[cfg(test)]
mod tests;
