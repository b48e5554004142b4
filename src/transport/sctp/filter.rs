//! The guard in front of the SCTP library: clamps what a connected peer may make it do.
//!
//! The library survives everything, but its costs grow with the square of what is queued, and it enforces
//! neither its limit of streams nor one of chunks. So each packet is walked first: what no honest peer needs
//! is dropped, what only an attack does closes the session. The library's view of the receive side is read
//! from its own outgoing SACKs: the cumulative TSN, and whether anything is queued at all.
//!
//! Invariants: a refused packet changes no state here; at most [`UNDELIVERED_MAX`] chunks wait in the library;
//! no TSN enters it further than [`TSN_AHEAD_MAX`] ahead. RFC 9260, RFC 3758, RFC 6525.

use crate::DropReason;
use rtp::MonoTime;
use std::time::Duration;

/// The filter of one association, on the side that answers the INIT.
#[derive(Debug)]
pub struct Filter {
    init: Option<Init>,
    established: bool,
    /// The highest TSN up to which the library has everything; known from the INIT on.
    cumulative: u32,
    /// Which TSNs behind the cumulative one were passed in: one bit each, by TSN modulo the window.
    passed: [u64; WINDOW_WORDS],
    /// Per stream: fragments passed in since one ended a message.
    open_fragments: [u16; STREAMS_MAX as usize],
    undelivered: usize,
    heartbeats: Rate,
    reconfigurations: Rate,
}

impl Filter {
    /// Makes the filter of an association that does not exist yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            init: None,
            established: false,
            cumulative: 0,
            passed: [0; WINDOW_WORDS],
            open_fragments: [0; STREAMS_MAX as usize],
            undelivered: 0,
            heartbeats: Rate::new(HEARTBEATS_PER_SECOND),
            reconfigurations: Rate::new(RECONFIGURATIONS_PER_SECOND),
        }
    }

    /// Decides whether a packet may be handed to the library, and counts it in if so.
    ///
    /// # Errors
    /// [`Refusal::Drop`] for a packet to ignore, [`Refusal::Close`] when the session must end.
    pub fn check(&mut self, now: MonoTime, packet: &[u8]) -> Result<(), Refusal> {
        let chunks = Chunks::of(packet).ok_or(MALFORMED)?;
        let mut seen = Seen::default();
        for chunk in chunks.clone() {
            let chunk = chunk.ok_or(MALFORMED)?;
            seen.chunks += 1;
            self.check_chunk(&chunk, &mut seen)?;
        }
        if seen.chunks == 0 || (seen.init.is_some() && seen.chunks > 1) {
            return Err(MALFORMED);
        }
        if seen.chunks > CHUNKS_MAX || seen.heartbeats > 1 {
            return Err(LIMIT);
        }
        if seen.heartbeats > 0 && !self.heartbeats.take(now) {
            return Err(LIMIT);
        }
        if seen.reconfigurations > 0 && !self.reconfigurations.take(now) {
            return Err(LIMIT);
        }
        if let Some(init) = seen.init {
            return self.count_init(init);
        }
        chunks.flatten().try_for_each(|chunk| self.count_chunk(&chunk))
    }

    /// Says that the association is established: from here on, an INIT is dropped.
    pub const fn establish(&mut self) {
        self.established = true;
    }

    /// Says that a message of so many chunks left the library.
    pub const fn delivered(&mut self, chunks: usize) {
        self.undelivered = self.undelivered.saturating_sub(chunks);
    }

    /// Looks at a packet of the library; tells whether it may be sent.
    ///
    /// What is longer than a datagram should be is not: a SACK with thousands of gaps, which the peer made.
    pub fn check_outgoing(&mut self, packet: &[u8]) -> bool {
        for chunk in Chunks::of(packet).into_iter().flatten().flatten() {
            if chunk.kind == SACK
                && let Some([c0, c1, c2, c3, w0, w1, w2, w3]) = chunk.value.first_chunk().copied()
            {
                self.advance(u32::from_be_bytes([c0, c1, c2, c3]));
                if u32::from_be_bytes([w0, w1, w2, w3]) >= RECEIVE_BUFFER_BYTES {
                    self.undelivered = 0;
                }
            }
        }
        packet.len() <= OUTGOING_MAX
    }

    /// Returns how many chunks were passed in and not delivered yet.
    #[must_use]
    pub const fn undelivered(&self) -> usize {
        self.undelivered
    }

    fn check_chunk(&self, chunk: &Chunk<'_>, seen: &mut Seen) -> Result<(), Refusal> {
        if self.init.is_none() && chunk.kind != INIT {
            return Err(UNEXPECTED);
        }
        match chunk.kind {
            DATA => self.check_data(&Data::of(chunk).ok_or(MALFORMED)?),
            INIT => {
                seen.init = Some(Init::of(chunk).ok_or(MALFORMED)?);
                Ok(())
            }
            // We never send an INIT, and never agree to interleaving.
            INIT_ACK | I_DATA => Err(UNEXPECTED),
            FORWARD_TSN | I_FORWARD_TSN => {
                let tsn = chunk.value.first_chunk().copied().map(u32::from_be_bytes).ok_or(MALFORMED)?;
                if self.ahead(tsn) > FORWARD_TSN_MAX { Err(Refusal::Close) } else { Ok(()) }
            }
            HEARTBEAT => {
                seen.heartbeats += 1;
                Ok(())
            }
            RE_CONFIG => {
                seen.reconfigurations += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A chunk that was passed in before may pass again: the library answers it, should our SACK be lost.
    fn check_data(&self, data: &Data) -> Result<(), Refusal> {
        if data.stream >= STREAMS_MAX {
            return Err(Refusal::Close);
        }
        let near = (-TSN_BEHIND_MAX..=TSN_AHEAD_MAX).contains(&self.ahead(data.tsn));
        if near { Ok(()) } else { Err(LIMIT) }
    }

    fn count_init(&mut self, init: Init) -> Result<(), Refusal> {
        match &mut self.init {
            _ if self.established => Err(UNEXPECTED),
            None => {
                self.cumulative = init.initial_tsn.wrapping_sub(1);
                self.init = Some(init);
                Ok(())
            }
            Some(first) if !first.is_repeated_by(init) => Err(UNEXPECTED),
            Some(first) if first.repeats >= INIT_REPEATS_MAX => Err(LIMIT),
            Some(first) => {
                first.repeats += 1;
                Ok(())
            }
        }
    }

    fn count_chunk(&mut self, chunk: &Chunk<'_>) -> Result<(), Refusal> {
        let Some(data) = Data::of(chunk).filter(|data| chunk.kind == DATA && self.is_new(data.tsn)) else {
            return Ok(());
        };
        if let Some(word) = self.passed.get_mut(word_of(data.tsn)) {
            *word |= bit_of(data.tsn);
        }
        self.undelivered += 1;
        let Some(open) = self.open_fragments.get_mut(usize::from(data.stream)) else {
            return Err(Refusal::Close);
        };
        *open = if data.ends_message { 0 } else { *open + 1 };
        if *open > FRAGMENTS_MAX || self.undelivered > UNDELIVERED_MAX {
            return Err(Refusal::Close);
        }
        Ok(())
    }

    fn is_new(&self, tsn: u32) -> bool {
        let passed = self.passed.get(word_of(tsn)).is_some_and(|word| word & bit_of(tsn) != 0);
        self.ahead(tsn) > 0 && !passed
    }

    /// Returns how far a TSN is ahead of the cumulative one, in serial arithmetic (RFC 9260 §1.6).
    const fn ahead(&self, tsn: u32) -> i32 {
        tsn.wrapping_sub(self.cumulative).cast_signed()
    }

    fn advance(&mut self, cumulative: u32) {
        let distance = self.ahead(cumulative);
        if distance >= TSN_AHEAD_MAX {
            self.passed = [0; WINDOW_WORDS];
        } else {
            for step in 1..=distance.max(0) {
                let tsn = self.cumulative.wrapping_add(step.cast_unsigned());
                if let Some(word) = self.passed.get_mut(word_of(tsn)) {
                    *word &= !bit_of(tsn);
                }
            }
        }
        if distance > 0 {
            self.cumulative = cumulative;
        }
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a packet is not handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Ignore the packet.
    Drop(DropReason),
    /// End the session.
    Close,
}

/// What one packet holds, gathered before anything of it is counted.
#[derive(Default)]
struct Seen {
    chunks: usize,
    heartbeats: usize,
    reconfigurations: usize,
    init: Option<Init>,
}

/// The INIT that began the association (RFC 9260 §3.3.2).
#[derive(Clone, Copy, Debug)]
struct Init {
    tag: u32,
    initial_tsn: u32,
    repeats: usize,
}

impl Init {
    fn of(chunk: &Chunk<'_>) -> Option<Self> {
        let [t0, t1, t2, t3, .., i0, i1, i2, i3] = *chunk.value.first_chunk::<16>()?;
        let (tag, initial_tsn) = (u32::from_be_bytes([t0, t1, t2, t3]), u32::from_be_bytes([i0, i1, i2, i3]));
        Some(Self { tag, initial_tsn, repeats: 0 })
    }

    const fn is_repeated_by(&self, other: Self) -> bool {
        self.tag == other.tag && self.initial_tsn == other.initial_tsn
    }
}

/// The fixed part of a DATA chunk (RFC 9260 §3.3.1).
struct Data {
    tsn: u32,
    stream: u16,
    ends_message: bool,
}

impl Data {
    /// `None` for a chunk without a byte of user data, which nobody may send.
    fn of(chunk: &Chunk<'_>) -> Option<Self> {
        let (header, user_data) = chunk.value.split_first_chunk::<12>()?;
        let [t0, t1, t2, t3, s0, s1, ..] = *header;
        let (tsn, stream) = (u32::from_be_bytes([t0, t1, t2, t3]), u16::from_be_bytes([s0, s1]));
        (!user_data.is_empty()).then_some(Self { tsn, stream, ends_message: chunk.flags & 1 != 0 })
    }
}

/// One chunk of a packet.
struct Chunk<'a> {
    kind: u8,
    flags: u8,
    value: &'a [u8],
}

/// The chunks of a packet; ends with a `None` item at the first malformed one.
#[derive(Clone)]
struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    fn of(packet: &'a [u8]) -> Option<Self> {
        (packet.len() <= INCOMING_MAX).then_some(Self { rest: packet.get(PACKET_HEADER_LEN..)? })
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Option<Chunk<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let Some((&[kind, flags, l0, l1], _)) = rest.split_first_chunk::<CHUNK_HEADER_LEN>() else {
            return Some(None);
        };
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let Some(value) = rest.get(CHUNK_HEADER_LEN..len) else { return Some(None) };
        // The padding of the last chunk may be missing.
        self.rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Some(Chunk { kind, flags, value }))
    }
}

/// At most so many events in each second.
#[derive(Debug)]
struct Rate {
    per_second: u32,
    since: MonoTime,
    taken: u32,
}

impl Rate {
    const fn new(per_second: u32) -> Self {
        Self { per_second, since: MonoTime::ZERO, taken: 0 }
    }

    fn take(&mut self, now: MonoTime) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            (self.since, self.taken) = (now, 0);
        }
        self.taken = self.taken.saturating_add(1);
        self.taken <= self.per_second
    }
}

const fn word_of(tsn: u32) -> usize {
    (tsn as usize / 64) % WINDOW_WORDS
}

const fn bit_of(tsn: u32) -> u64 {
    1 << (tsn % 64)
}

const MALFORMED: Refusal = Refusal::Drop(DropReason::SctpMalformed);
const LIMIT: Refusal = Refusal::Drop(DropReason::SctpLimit);
const UNEXPECTED: Refusal = Refusal::Drop(DropReason::SctpUnexpected);

const PACKET_HEADER_LEN: usize = 12;
const CHUNK_HEADER_LEN: usize = 4;
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const I_DATA: u8 = 64;
const RE_CONFIG: u8 = 130;
const FORWARD_TSN: u8 = 192;
const I_FORWARD_TSN: u8 = 194;

/// Stream identifiers are below this: both sides of eight channels, should they use even and odd ones.
pub const STREAMS_MAX: u16 = 16;
/// What the library may hold for us to read; its SACK says this much when it holds nothing.
pub const RECEIVE_BUFFER_BYTES: u32 = 65_536;
/// How far ahead of the cumulative TSN a DATA chunk may be.
pub const TSN_AHEAD_MAX: i32 = 512;
/// How many chunks may wait in the library.
pub const UNDELIVERED_MAX: usize = 1_024;
/// How far behind a repeated DATA chunk may be.
const TSN_BEHIND_MAX: i32 = 4_096;
const WINDOW_WORDS: usize = TSN_AHEAD_MAX as usize / 64;
/// How far a FORWARD-TSN may skip.
const FORWARD_TSN_MAX: i32 = 4_096;
/// A message of 16 KiB is 16 fragments of 1 kB.
const FRAGMENTS_MAX: u16 = 64;
/// A packet of 1,200 bytes cannot hold more chunks of one byte; an honest burst of small messages holds dozens.
const CHUNKS_MAX: usize = 64;
/// The INIT of a lossy path, sent again for as long as its timer does.
const INIT_REPEATS_MAX: usize = 10;
const HEARTBEATS_PER_SECOND: u32 = 10;
const RECONFIGURATIONS_PER_SECOND: u32 = 10;
/// The longest packet that we read; browsers send at most 1,200 bytes.
const INCOMING_MAX: usize = 2_048;
/// The longest packet that we send.
const OUTGOING_MAX: usize = 1_200;

#[cfg(test)]
mod tests;
