//! One direction of a bad network, sans-IO: packets in at one time, out at another, or never.
//!
//! A packet meets, in this order: the blackout; the bottleneck with its queue; loss, so that a lost packet has used up
//! its share of the rate; the way with delay and jitter, on which some are held back or doubled; and at its end the
//! blackout once more, for what was under way when it began. The driver tells the time, polls until `None` after each
//! input, and looks again at [`Direction::next_timeout`]; looking late changes when a packet is handed over, never
//! when it was due.
//!
//! **Invariants**: without `reorder` packets leave in the order in which they came; received + duplicated = delivered +
//! dropped + inside; what is inside is bounded by [`PACKETS_MAX`] and [`BYTES_MAX`]; one seed gives one run.

use std::collections::BTreeMap;
use std::time::Duration;

use rtp::MonoTime;
use serde::Serialize;

use super::bottleneck::{Bottleneck, Parcel};
use super::config::Config;
use super::dice::{Dice, Jitter, Losses};

/// Most packets inside one direction: two seconds at 30,000 a second. Beyond it the newest is dropped.
pub const PACKETS_MAX: usize = 65_536;
/// Most bytes inside one direction: five seconds at 100 Mbit/s. Beyond it the newest is dropped.
pub const BYTES_MAX: usize = 64 << 20;

/// One direction of a path.
#[derive(Debug)]
pub struct Direction<T> {
    config: Config,
    dice: Dice,
    losses: Losses,
    jitter: Jitter,
    bottleneck: Bottleneck<T>,
    /// By when they are due, then by number.
    under_way: BTreeMap<(MonoTime, u64), Parcel<T>>,
    under_way_bytes: usize,
    next_number: u64,
    last_due: MonoTime,
    now: MonoTime,
    counters: Counters,
}

/// A packet at the far end.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery<T> {
    /// When it is due; not after the time of the poll.
    pub due: MonoTime,
    /// What was put in.
    pub packet: T,
}

/// What happened to the packets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Packets that came in.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets that went out, copies included.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Dropped by chance.
    pub lost: u64,
    /// Dropped because the queue before the bottleneck was full.
    pub queue_dropped: u64,
    /// Dropped by a blackout.
    pub blackout_dropped: u64,
    /// Dropped because the emulator's own memory is bounded: the measurement is spoilt.
    pub overflow_dropped: u64,
    /// Held back so that others overtake them.
    pub reordered: u64,
    /// Copies made.
    pub duplicated: u64,
}

impl Counters {
    /// Returns everything that came in and never goes out.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let by_chance = self.lost.saturating_add(self.blackout_dropped);
        by_chance.saturating_add(self.queue_dropped).saturating_add(self.overflow_dropped)
    }
}

impl<T: Clone> Direction<T> {
    /// Makes a direction; the seed decides all chance in it.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            dice: Dice::new(seed),
            losses: Losses::default(),
            jitter: Jitter::default(),
            bottleneck: Bottleneck::new(config.rate, config.queue),
            under_way: BTreeMap::new(),
            under_way_bytes: 0,
            next_number: 0,
            last_due: MonoTime::ZERO,
            now: MonoTime::ZERO,
            counters: Counters::default(),
        }
    }

    /// Takes a packet in. `bytes` is what it counts for at the bottleneck, headers of lower layers included as the
    /// driver sees fit.
    pub fn handle_packet(&mut self, now: MonoTime, packet: T, bytes: usize) {
        self.advance(now);
        self.counters.received = self.counters.received.saturating_add(1);
        self.counters.received_bytes = self.counters.received_bytes.saturating_add(bytes as u64);
        if self.config.blackout {
            self.counters.blackout_dropped = self.counters.blackout_dropped.saturating_add(1);
        } else if !self.has_room(1, bytes) {
            self.counters.overflow_dropped = self.counters.overflow_dropped.saturating_add(1);
        } else if !self.bottleneck.accepts(self.now, Parcel { packet, bytes }) {
            self.counters.queue_dropped = self.counters.queue_dropped.saturating_add(1);
        }
        self.advance(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        self.advance(now);
    }

    /// Changes what this direction does from now on. What is in the queue stays there unless the queue became too short
    /// for it; what is under way arrives when it was due.
    pub fn handle_config(&mut self, now: MonoTime, config: Config) {
        self.advance(now);
        let unfit = self.bottleneck.change(self.now, config.rate, config.queue);
        self.counters.queue_dropped = self.counters.queue_dropped.saturating_add(unfit as u64);
        self.config = config;
        self.advance(now);
    }

    /// Takes out the next packet that is due.
    pub fn poll_output(&mut self) -> Option<Delivery<T>> {
        loop {
            let first = self.under_way.first_entry().filter(|entry| entry.key().0 <= self.now)?;
            let ((due, _), Parcel { packet, bytes }) = first.remove_entry();
            self.under_way_bytes = self.under_way_bytes.saturating_sub(bytes);
            if self.config.blackout {
                self.counters.blackout_dropped = self.counters.blackout_dropped.saturating_add(1);
                continue;
            }
            self.counters.delivered = self.counters.delivered.saturating_add(1);
            self.counters.delivered_bytes = self.counters.delivered_bytes.saturating_add(bytes as u64);
            return Some(Delivery { due, packet });
        }
    }

    /// Returns when to look again.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        let arrival = self.under_way.first_key_value().map(|((due, _), _)| *due);
        [arrival, self.bottleneck.next_leaves()].into_iter().flatten().min()
    }

    /// Returns what this direction does.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns what has happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns how many packets are in the queue or under way.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.bottleneck.len().saturating_add(self.under_way.len())
    }

    /// Returns how many bytes wait before the bottleneck, the packet on the wire included.
    #[must_use]
    pub fn queue_bytes(&self) -> usize {
        self.bottleneck.bytes()
    }

    /// Returns how long the queue takes to empty, as of the last input.
    #[must_use]
    pub fn queue_delay(&self) -> Duration {
        self.bottleneck.backlog(self.now)
    }

    fn advance(&mut self, now: MonoTime) {
        self.now = self.now.max(now);
        while let Some((left, sized)) = self.bottleneck.pop_left(self.now) {
            self.send_off(left, sized);
        }
    }

    /// Decides what happens to a packet behind the bottleneck.
    fn send_off(&mut self, left: MonoTime, Parcel { packet, bytes }: Parcel<T>) {
        if self.losses.takes_next(&self.config.loss, &mut self.dice) {
            self.counters.lost = self.counters.lost.saturating_add(1);
            return;
        }
        let due = self.due(left);
        if self.dice.hits(self.config.duplicate) && self.has_room(2, bytes.saturating_mul(2)) {
            self.counters.duplicated = self.counters.duplicated.saturating_add(1);
            self.put_under_way(due, Parcel { packet: packet.clone(), bytes });
        }
        self.put_under_way(due, Parcel { packet, bytes });
    }

    fn due(&mut self, left: MonoTime) -> MonoTime {
        let offset = self.jitter.offset(left, self.config.jitter, &mut self.dice);
        let early = Duration::from_nanos(u64::try_from(offset.saturating_neg()).unwrap_or(0));
        let late = Duration::from_nanos(u64::try_from(offset).unwrap_or(0));
        let due = left + self.config.delay.saturating_sub(early).saturating_add(late);
        // The delay may have become shorter: packets do not pass each other on one way.
        let due = due.max(self.last_due);
        if self.dice.hits(self.config.reorder) {
            self.counters.reordered = self.counters.reordered.saturating_add(1);
            return due + self.config.hold.0;
        }
        self.last_due = due;
        due
    }

    fn put_under_way(&mut self, due: MonoTime, sized: Parcel<T>) {
        self.under_way_bytes = self.under_way_bytes.saturating_add(sized.bytes);
        self.under_way.insert((due, self.next_number), sized);
        self.next_number = self.next_number.wrapping_add(1);
    }

    fn has_room(&self, packets: usize, bytes: usize) -> bool {
        let inside_bytes = self.bottleneck.bytes().saturating_add(self.under_way_bytes);
        self.inside().saturating_add(packets) <= PACKETS_MAX
            && inside_bytes.saturating_add(bytes) <= BYTES_MAX
    }
}

#[cfg(test)]
mod tests;
