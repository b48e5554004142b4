//! A link of a limited rate and the queue before it.
//!
//! Think of it as a wire that sends one packet after the other, each for as long as its bits take; what arrives
//! meanwhile waits, and what would wait beyond the bound is dropped at the tail. The times at which packets leave
//! depend on the times at which they came and on nothing else: a driver that looks late does not slow the link.

use std::collections::VecDeque;
use std::time::Duration;

use rtp::MonoTime;

use super::config::{Bitrate, QueueBound};

/// A packet and what it counts for.
#[derive(Debug)]
pub(super) struct Parcel<T> {
    pub(super) packet: T,
    pub(super) bytes: usize,
}

/// The queue and the wire.
#[derive(Debug)]
pub(super) struct Bottleneck<T> {
    rate: Option<Bitrate>,
    bound: QueueBound,
    /// The first one is on the wire.
    waiting: VecDeque<Parcel<T>>,
    waiting_bytes: usize,
    /// When the first one has left; meaningless while nothing waits.
    first_leaves: MonoTime,
}

impl<T> Bottleneck<T> {
    pub(super) fn new(rate: Option<Bitrate>, bound: QueueBound) -> Self {
        Self { rate, bound, waiting: VecDeque::new(), waiting_bytes: 0, first_leaves: MonoTime::ZERO }
    }

    /// Takes a packet in, or refuses it because the queue is full. An idle link takes a packet of any size.
    pub(super) fn accepts(&mut self, now: MonoTime, arrived: Parcel<T>) -> bool {
        if !self.waiting.is_empty() && self.is_full(now, arrived.bytes) {
            return false;
        }
        if self.waiting.is_empty() {
            self.first_leaves = now + self.time_of(arrived.bytes);
        }
        self.waiting_bytes = self.waiting_bytes.saturating_add(arrived.bytes);
        self.waiting.push_back(arrived);
        true
    }

    /// Takes out a packet that has left by `now`, and when it did.
    pub(super) fn pop_left(&mut self, now: MonoTime) -> Option<(MonoTime, Parcel<T>)> {
        if self.first_leaves > now {
            return None;
        }
        let gone = self.waiting.pop_front()?;
        let left = self.first_leaves;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(gone.bytes);
        if let Some(next) = self.waiting.front() {
            self.first_leaves = left + self.time_of(next.bytes);
        }
        Some((left, gone))
    }

    /// Changes rate and bound; returns how many packets no longer fit. What is on the wire has as many bits left as it
    /// had, at the new rate.
    pub(super) fn change(&mut self, now: MonoTime, rate: Option<Bitrate>, bound: QueueBound) -> usize {
        if rate != self.rate {
            let left =
                self.rate.map_or(Duration::ZERO, |old| rescaled(self.first_leaves.since(now), old, rate));
            self.first_leaves = now + left;
        }
        (self.rate, self.bound) = (rate, bound);
        let before = self.waiting.len();
        while self.waiting.len() > 1 && self.is_full(now, 0) {
            let gone = self.waiting.pop_back().map_or(0, |last| last.bytes);
            self.waiting_bytes = self.waiting_bytes.saturating_sub(gone);
        }
        before.saturating_sub(self.waiting.len())
    }

    pub(super) fn next_leaves(&self) -> Option<MonoTime> {
        self.waiting.front().map(|_| self.first_leaves)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// How long what is here takes to leave.
    pub(super) fn backlog(&self, now: MonoTime) -> Duration {
        let Some(first) = self.waiting.front() else {
            return Duration::ZERO;
        };
        let behind = self.waiting_bytes.saturating_sub(first.bytes);
        self.first_leaves.since(now).saturating_add(self.time_of(behind))
    }

    fn is_full(&self, now: MonoTime, more: usize) -> bool {
        match self.bound {
            QueueBound::Time(bound) => self.backlog(now).saturating_add(self.time_of(more)) > bound,
            QueueBound::Bytes(bound) => self.waiting_bytes.saturating_add(more) > bound,
        }
    }

    fn time_of(&self, bytes: usize) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| rate.duration_of(bytes))
    }
}

/// How long the bits that take `time` at the old rate take at the new one.
fn rescaled(time: Duration, old: Bitrate, new: Option<Bitrate>) -> Duration {
    let Some(new) = new else {
        return Duration::ZERO;
    };
    let bit_nanos = time.as_nanos().saturating_mul(u128::from(old.bits_per_second()));
    let nanos = bit_nanos.div_ceil(u128::from(new.bits_per_second()));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
