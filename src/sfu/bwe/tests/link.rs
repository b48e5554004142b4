//! A bottleneck: one rate, one queue in front of it, then delay, jitter and loss.

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::Bitrate;

/// What a path is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    pub(super) rate: Bitrate,
    /// The longest queue, in time at the present rate; more is dropped.
    pub(super) queue_ms: u64,
    /// One way.
    pub(super) delay_ms: u64,
    /// Added delay, evenly between nothing and this; never reorders.
    pub(super) jitter_ms: u64,
    pub(super) loss: Loss,
}

/// Losses behind the queue: in the bad state all are lost (Gilbert).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loss {
    /// The mean share that is lost.
    pub(super) share: f64,
    /// How many are lost in a row, in the mean; 1 or less is independent.
    pub(super) burst: f64,
}

impl Conditions {
    pub(super) const fn of(kbps: u64) -> Self {
        Self {
            rate: Bitrate::from_kbps(kbps),
            queue_ms: 300,
            delay_ms: 25,
            jitter_ms: 0,
            loss: Loss { share: 0.0, burst: 1.0 },
        }
    }
}

/// A packet under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passing {
    pub(super) flow: usize,
    pub(super) seq: u16,
    pub(super) size: u16,
}

pub(super) struct Link {
    pub(super) conditions: Conditions,
    queue: VecDeque<(u64, Passing)>,
    queue_bytes: u64,
    free_us: u64,
    arriving: VecDeque<(u64, Passing)>,
    last_arrival_us: u64,
    losing: bool,
    dice: ChaCha8Rng,
}

impl Link {
    pub(super) fn new(conditions: Conditions, seed: u64) -> Self {
        Self {
            conditions,
            queue: VecDeque::new(),
            queue_bytes: 0,
            free_us: 0,
            arriving: VecDeque::new(),
            last_arrival_us: 0,
            losing: false,
            dice: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    pub(super) fn send(&mut self, now_us: u64, packet: Passing) {
        let waiting = self.conditions.rate.time_for(self.queue_bytes + u64::from(packet.size));
        if waiting.as_millis() > u128::from(self.conditions.queue_ms) {
            return;
        }
        self.queue_bytes += u64::from(packet.size);
        self.queue.push_back((now_us, packet));
    }

    /// How long a packet sent now would wait.
    pub(super) fn queue_ms(&self) -> f64 {
        self.conditions.rate.time_for(self.queue_bytes).as_secs_f64() * 1_000.0
    }

    /// Passes what can pass until `until_us` and gives out what has arrived by then.
    pub(super) fn advance(&mut self, until_us: u64, mut arrived: impl FnMut(u64, Passing)) {
        while let Some(&(at_us, packet)) = self.queue.front() {
            let begins_us = self.free_us.max(at_us);
            let takes =
                self.conditions.rate.time_for(u64::from(packet.size)).as_micros().min(u128::from(u64::MAX));
            if begins_us >= until_us || takes > 60_000_000 {
                break;
            }
            self.free_us = begins_us + takes as u64;
            self.queue.pop_front();
            self.queue_bytes -= u64::from(packet.size);
            if !self.loses() {
                let jitter_us = (self.roll() * self.conditions.jitter_ms as f64 * 1_000.0) as u64;
                let at_us = self.free_us + self.conditions.delay_ms * 1_000 + jitter_us;
                self.last_arrival_us = self.last_arrival_us.max(at_us);
                self.arriving.push_back((self.last_arrival_us, packet));
            }
        }
        while let Some(&(at_us, packet)) = self.arriving.front() {
            if at_us > until_us {
                break;
            }
            self.arriving.pop_front();
            arrived(at_us, packet);
        }
    }

    /// Begins the queue anew after a blackout.
    pub(super) fn release_at(&mut self, now_us: u64) {
        self.free_us = self.free_us.max(now_us);
    }

    fn loses(&mut self) -> bool {
        let Loss { share, burst } = self.conditions.loss;
        if share <= 0.0 {
            return false;
        }
        let roll = self.roll();
        let leave = 1.0 / burst.max(1.0);
        let enter = share * leave / (1.0 - share);
        self.losing = if burst <= 1.0 {
            roll < share
        } else if self.losing {
            roll >= leave
        } else {
            roll < enter
        };
        self.losing
    }

    fn roll(&mut self) -> f64 {
        f64::from(self.dice.next_u32()) / f64::from(u32::MAX)
    }
}
