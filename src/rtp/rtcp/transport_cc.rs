//! Transport-wide feedback: when each packet of a session arrived
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! Both directions work on one idea: a status for each number from a base on, `None` for lost, and arrival
//! times in ticks of 250 µs. The count in the packet is a claim; what is iterated is what the bytes hold.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use super::writer::Sink;
use crate::reader::Reader;
use crate::{MonoTime, ParseError, SeqNo, Ssrc};

/// A received feedback packet, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct TransportCcView<'a> {
    /// The media source that the packet names; the feedback itself is for all sources of the session.
    pub media: Ssrc,
    /// The number of the first status.
    pub base: SeqNo,
    /// How many statuses the chunks hold: at most what the packet claims, and at most 8,191.
    pub status_count: u16,
    /// The instant that the first delta counts from: 24 bits of 64 ms, wrapping.
    pub reference_time: u32,
    /// The number of this feedback packet, wrapping.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportCcView<'a> {
    /// Parses the body behind the RTCP header.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(body);
        let _sender = reader.u32()?;
        let media = Ssrc(reader.u32()?);
        let base = SeqNo(reader.u16()?);
        let claimed = reader.u16()?.min(STATUSES_READ_MAX);
        let reference_time = reader.u24()?;
        let feedback_count = reader.u8()?;
        let (chunk_bytes, status_count) = measure_chunks(reader.rest(), claimed);
        let chunks = reader.take(chunk_bytes)?;
        Ok(Self { media, base, status_count, reference_time, feedback_count, chunks, deltas: reader.rest() })
    }

    /// Iterates over the statuses in rising order: `None` for a packet that did not arrive, otherwise the time
    /// since the previous arrival in 250 µs (for the first: since the reference time), possibly negative.
    ///
    /// Ends early where the deltas do.
    #[must_use]
    pub const fn statuses(&self) -> Statuses<'a> {
        Statuses {
            next: self.base,
            left: self.status_count,
            chunks: Reader::new(self.chunks),
            chunk: Chunk::EMPTY,
            deltas: Reader::new(self.deltas),
        }
    }
}

/// The iterator of [`TransportCcView::statuses`].
#[derive(Clone, Debug)]
pub struct Statuses<'a> {
    next: SeqNo,
    left: u16,
    chunks: Reader<'a>,
    chunk: Chunk,
    deltas: Reader<'a>,
}

impl Statuses<'_> {
    fn step(&mut self) -> Option<(SeqNo, Option<i32>)> {
        self.left = self.left.checked_sub(1)?;
        if self.chunk.left == 0 {
            self.chunk = Chunk::new(self.chunks.u16().ok()?);
        }
        let delta = match self.chunk.symbol() {
            SMALL_DELTA => Some(i32::from(self.deltas.u8().ok()?)),
            LARGE_DELTA => Some(i32::from(self.deltas.u16().ok()?.cast_signed())),
            _ => None,
        };
        let seq = self.next;
        self.next = seq.plus(1);
        Some((seq, delta))
    }
}

impl Iterator for Statuses<'_> {
    type Item = (SeqNo, Option<i32>);

    fn next(&mut self) -> Option<Self::Item> {
        let status = self.step();
        if status.is_none() {
            self.left = 0;
        }
        status
    }
}

/// The arrivals to report in one feedback packet.
#[derive(Clone, Copy, Debug)]
pub struct TransportCcFeedback<'a> {
    base: SeqNo,
    feedback_count: u8,
    reference_time: u32,
    arrivals: &'a [Option<MonoTime>],
}

impl<'a> TransportCcFeedback<'a> {
    /// The most statuses in one packet: they fit 1,200 bytes whatever they are.
    pub const STATUSES_MAX: usize = 500;

    /// Takes arrivals for consecutive numbers from `base` on, `None` for what did not arrive.
    ///
    /// Takes fewer than given when there are more than [`Self::STATUSES_MAX`], or when two neighbouring arrivals
    /// lie more than 8.19 s apart: [`Self::covered`] says where the next packet has to begin.
    #[must_use]
    pub fn new(base: SeqNo, feedback_count: u8, arrivals: &'a [Option<MonoTime>]) -> Self {
        let arrivals = arrivals.get(..Self::STATUSES_MAX).unwrap_or(arrivals);
        let first = arrivals.iter().flatten().next().map_or(0, |&arrival| ticks(arrival));
        let reference = first.div_euclid(TICKS_PER_REFERENCE);
        let covered =
            Deltas::new(reference, arrivals).take_while(|delta| !matches!(delta, Delta::TooFar)).count();
        Self {
            base,
            feedback_count,
            reference_time: u32::try_from(reference & 0xff_ffff).unwrap_or(0),
            arrivals: arrivals.get(..covered).unwrap_or(arrivals),
        }
    }

    /// Returns how many of the given arrivals the packet reports.
    #[must_use]
    pub const fn covered(&self) -> usize {
        self.arrivals.len()
    }
}

impl TransportCcFeedback<'_> {
    /// Writes the body behind the two sources, unpadded; `None` when it does not fit.
    pub(super) fn write(&self, sink: &mut Sink<'_>) -> Option<()> {
        sink.u16(self.base.0)?;
        sink.u16(u16::try_from(self.arrivals.len()).ok()?)?;
        sink.u32((self.reference_time << 8) | u32::from(self.feedback_count))?;

        let mut symbols = [NOT_RECEIVED; Self::STATUSES_MAX];
        for (symbol, delta) in symbols.iter_mut().zip(self.deltas()) {
            *symbol = delta.symbol();
        }
        let mut left = symbols.get(..self.arrivals.len())?;
        while !left.is_empty() {
            let (chunk, covered) = next_chunk(left);
            sink.u16(chunk)?;
            left = left.get(covered..)?;
        }

        for delta in self.deltas() {
            match delta {
                Delta::Small(ticks) => sink.u8(ticks)?,
                Delta::Large(ticks) => sink.u16(ticks.cast_unsigned())?,
                Delta::NotReceived | Delta::TooFar => {}
            }
        }
        Some(())
    }

    fn deltas(&self) -> Deltas<'_> {
        let first = self.arrivals.iter().flatten().next().map_or(0, |&arrival| ticks(arrival));
        Deltas::new(first.div_euclid(TICKS_PER_REFERENCE), self.arrivals)
    }
}

/// What one status becomes on the wire.
enum Delta {
    NotReceived,
    Small(u8),
    Large(i16),
    /// Not representable; the packet has to end before it.
    TooFar,
}

impl Delta {
    const fn symbol(&self) -> u8 {
        match self {
            Self::NotReceived | Self::TooFar => NOT_RECEIVED,
            Self::Small(_) => SMALL_DELTA,
            Self::Large(_) => LARGE_DELTA,
        }
    }
}

/// Turns arrivals into deltas. Differences of rounded instants are taken, so that rounding never adds up.
struct Deltas<'a> {
    previous: i64,
    arrivals: std::slice::Iter<'a, Option<MonoTime>>,
}

impl<'a> Deltas<'a> {
    fn new(reference: i64, arrivals: &'a [Option<MonoTime>]) -> Self {
        Self { previous: reference.saturating_mul(TICKS_PER_REFERENCE), arrivals: arrivals.iter() }
    }
}

impl Iterator for Deltas<'_> {
    type Item = Delta;

    fn next(&mut self) -> Option<Delta> {
        let Some(arrival) = *self.arrivals.next()? else { return Some(Delta::NotReceived) };
        let arrival = ticks(arrival);
        let difference = arrival.saturating_sub(self.previous);
        self.previous = arrival;
        Some(match (u8::try_from(difference), i16::try_from(difference)) {
            (Ok(small), _) => Delta::Small(small),
            (_, Ok(large)) => Delta::Large(large),
            _ => Delta::TooFar,
        })
    }
}

/// One status chunk: a run, or a vector of seven or fourteen symbols.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    bits: u16,
    left: u16,
}

impl Chunk {
    const EMPTY: Self = Self { bits: 0, left: 0 };

    const fn new(bits: u16) -> Self {
        let left = match bits & (VECTOR_BIT | TWO_BIT_SYMBOLS) {
            VECTOR_BIT => ONE_BIT_CAPACITY,
            VECTOR_AND_TWO_BIT => TWO_BIT_CAPACITY,
            _ => bits & RUN_LENGTH_MAX,
        };
        Self { bits, left }
    }

    /// Takes the next symbol; not called on an exhausted chunk, but harmless.
    fn symbol(&mut self) -> u8 {
        self.left = self.left.saturating_sub(1);
        let shifted = match self.bits & (VECTOR_BIT | TWO_BIT_SYMBOLS) {
            VECTOR_BIT => (self.bits >> self.left) & 1,
            VECTOR_AND_TWO_BIT => (self.bits >> self.left.saturating_mul(2)) & 3,
            _ => (self.bits >> RUN_SYMBOL_SHIFT) & 3,
        };
        u8::try_from(shifted).unwrap_or(NOT_RECEIVED)
    }
}

/// Returns how many bytes of chunks it takes to cover the claimed count, and the count that is covered.
fn measure_chunks(bytes: &[u8], claimed: u16) -> (usize, u16) {
    let mut reader = Reader::new(bytes);
    let mut covered = 0_u16;
    while covered < claimed {
        let Ok(bits) = reader.u16() else { break };
        covered = covered.saturating_add(Chunk::new(bits).left);
    }
    (bytes.len().saturating_sub(reader.rest().len()), covered.min(claimed))
}

/// Chooses the chunk that covers the most of the given symbols, and says how many; never zero for a non-empty
/// slice.
fn next_chunk(symbols: &[u8]) -> (u16, usize) {
    let first = symbols.first().copied().unwrap_or(NOT_RECEIVED);
    let run = symbols.iter().take(usize::from(RUN_LENGTH_MAX)).take_while(|&&symbol| symbol == first).count();
    let narrow = symbols.iter().take(usize::from(ONE_BIT_CAPACITY));
    let one_bit = if narrow.clone().all(|&symbol| symbol != LARGE_DELTA) { narrow.count() } else { 0 };
    let two_bit = symbols.len().min(usize::from(TWO_BIT_CAPACITY));

    if run >= one_bit.max(two_bit) {
        let length = u16::try_from(run).unwrap_or(RUN_LENGTH_MAX);
        ((u16::from(first) << RUN_SYMBOL_SHIFT) | length, run)
    } else if one_bit >= two_bit {
        (VECTOR_BIT | pack(symbols, ONE_BIT_CAPACITY, 1), one_bit)
    } else {
        (VECTOR_AND_TWO_BIT | pack(symbols, TWO_BIT_CAPACITY, 2), two_bit)
    }
}

/// Packs the first symbols from the top down; places beyond the end stay `NOT_RECEIVED`.
fn pack(symbols: &[u8], capacity: u16, width: u32) -> u16 {
    let padded = symbols.iter().copied().chain(std::iter::repeat(NOT_RECEIVED));
    padded.take(usize::from(capacity)).fold(0, |bits, symbol| (bits << width) | u16::from(symbol))
}

/// Returns an instant in 250 µs.
fn ticks(instant: MonoTime) -> i64 {
    i64::try_from(instant.as_nanos() / NANOS_PER_TICK).unwrap_or(i64::MAX)
}

/// The most statuses that are read of one packet: many times what a session sends between two feedbacks. A run
/// takes two bytes whatever its length, so that without this bound 40 bytes would cost 65,535 steps.
const STATUSES_READ_MAX: u16 = 8_191;

const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

const VECTOR_BIT: u16 = 0x8000;
const TWO_BIT_SYMBOLS: u16 = 0x4000;
const VECTOR_AND_TWO_BIT: u16 = VECTOR_BIT | TWO_BIT_SYMBOLS;
const RUN_SYMBOL_SHIFT: u32 = 13;
const RUN_LENGTH_MAX: u16 = 0x1fff;
const ONE_BIT_CAPACITY: u16 = 14;
const TWO_BIT_CAPACITY: u16 = 7;

const NANOS_PER_TICK: u64 = 250_000;
/// A reference time counts 64 ms.
const TICKS_PER_REFERENCE: i64 = 256;
