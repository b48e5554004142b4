//! Seeded chance, and what is decided by it: losses and jitter.
//!
//! One seed gives one run. Jitter is a continuous function of time and not a number for each packet: delays that
//! change faster than packets follow each other would reorder them, and keeping the order afterwards would turn any
//! jitter into a constant delay at its upper end.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use rtp::MonoTime;

use super::config::{Chain, Loss, Share};

/// A seeded generator.
#[derive(Debug)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Is true for this share of the asks.
    pub(super) fn hits(&mut self, share: Share) -> bool {
        // A share of zero draws nothing, so that what is not asked for does not change the rest of a seed's run.
        share > Share::ZERO && self.0.next_u64() % Share::ONE.billionths() < share.billionths()
    }

    /// Draws from `-amplitude..=amplitude`, evenly.
    fn within(&mut self, amplitude: i64) -> i64 {
        let width = amplitude.unsigned_abs().saturating_mul(2).saturating_add(1);
        let drawn = self.0.next_u64() % width;
        i64::try_from(drawn).unwrap_or(i64::MAX).saturating_sub(amplitude)
    }
}

/// In which state the Gilbert–Elliott chain is.
#[derive(Debug, Default)]
pub(super) struct Losses {
    bad: bool,
}

impl Losses {
    /// Steps the chain by one packet and decides on it.
    pub(super) fn takes_next(&mut self, loss: &Loss, dice: &mut Dice) -> bool {
        let chain = match *loss {
            Loss::Even(share) => {
                self.bad = false;
                return dice.hits(share);
            }
            Loss::Bursts { share, length } => simple_gilbert(share, length),
            Loss::Chain(chain) => chain,
        };
        let leaves = dice.hits(if self.bad { chain.r } else { chain.p });
        self.bad ^= leaves;
        dice.hits(if self.bad { chain.bad } else { chain.good })
    }
}

/// The chain that loses `share` in runs of `length` on average: it leaves the bad state with 1/length, and enters it so
/// often that `share` of the time is spent there.
fn simple_gilbert(share: Share, length: u32) -> Chain {
    let one = Share::ONE.billionths();
    let r = one / u64::from(length.max(1));
    let kept = one.saturating_sub(share.billionths()).max(1);
    let p = share.billionths().saturating_mul(r) / kept;
    Chain { p: Share::from_billionths(p), r: Share::from_billionths(r), good: Share::ZERO, bad: Share::ONE }
}

/// How far the delay is from its mean: a line from one drawn point to the next, never steeper than one half, so that
/// packets keep their order.
#[derive(Debug, Default)]
pub(super) struct Jitter {
    from: i64,
    to: i64,
    begun: MonoTime,
    period: Duration,
}

impl Jitter {
    /// Returns the nanoseconds to add to the delay at `at`, at most `amplitude` to either side.
    pub(super) fn offset(&mut self, at: MonoTime, amplitude: Duration, dice: &mut Dice) -> i64 {
        let amplitude = i64::try_from(amplitude.as_nanos()).unwrap_or(i64::MAX);
        if amplitude == 0 {
            *self = Self::default();
            return 0;
        }
        if at.since(self.begun) >= self.period {
            self.from = self.to;
            self.to = dice.within(amplitude);
            self.begun = at;
            self.period = Duration::from_nanos(amplitude.unsigned_abs()).saturating_mul(4);
        }
        self.interpolated(at).clamp(-amplitude, amplitude)
    }

    fn interpolated(&self, at: MonoTime) -> i64 {
        let (from, to) = (i128::from(self.from), i128::from(self.to));
        let elapsed = i128::try_from(at.since(self.begun).as_nanos()).unwrap_or(0);
        let period = i128::try_from(self.period.as_nanos()).unwrap_or(0).max(1);
        let value = from.saturating_add((to - from).saturating_mul(elapsed) / period);
        i64::try_from(value).unwrap_or(0)
    }
}
