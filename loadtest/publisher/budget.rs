//! How many bytes each frame takes: sizes like a camera's encoder gives them, and the asked bitrate in the long run.
//!
//! A keyframe takes five to seven times what another frame takes, and each frame differs by up to a fifth. What a
//! frame took beside its share is made good over about a second by the frames that follow, within another fifth.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a budget is made from.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bits of payload a second.
    pub bitrate_bps: u64,
    /// Frames a second.
    pub frames_per_second: u32,
    /// Frames from one keyframe to the next.
    pub gop_frames: u32,
    /// Where the variation of sizes begins.
    pub seed: u64,
}

/// Says how large the next frame should be, and is told how large it became. Counts thousandths of a byte.
#[derive(Clone, Debug)]
pub struct Budget {
    /// A frame's mean share.
    share: i64,
    /// What a frame takes that is no keyframe.
    ordinary: i64,
    frames_per_second: i64,
    /// Shares received less bytes spent.
    credit: i64,
    /// What `credit` would be if every frame had been as large as planned.
    planned_credit: i64,
    random: ChaCha8Rng,
}

impl Budget {
    /// Makes a budget; rates and lengths of zero count as one.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let per_second = config.bitrate_bps.max(1).saturating_mul(THOUSANDTHS / 8);
        let frames_per_second = u64::from(config.frames_per_second.max(1));
        let share = signed(per_second / frames_per_second);
        let gop = i64::from(config.gop_frames.max(1));
        let weights = gop.saturating_sub(1).saturating_add(KEYFRAME_WEIGHT);
        Self {
            share,
            ordinary: share.saturating_mul(gop) / weights,
            frames_per_second: signed(frames_per_second),
            credit: 0,
            planned_credit: 0,
            random: ChaCha8Rng::seed_from_u64(config.seed),
        }
    }

    /// Returns the bytes that the next frame should take. [`Self::spend`] must follow.
    pub fn next_bytes(&mut self, keyframe: bool) -> usize {
        let planned = if keyframe { self.ordinary.saturating_mul(KEYFRAME_WEIGHT) } else { self.ordinary };
        let wanted = planned.saturating_add(self.variation(planned)).saturating_add(self.correction());
        // A keyframe begins the plan anew; what it takes out of turn stays a debt.
        let before = if keyframe { 0 } else { self.planned_credit };
        self.planned_credit = before.saturating_add(self.share).saturating_sub(planned).min(0);
        usize::try_from(wanted / signed(THOUSANDTHS)).unwrap_or(0)
    }

    /// Counts what the frame took.
    pub fn spend(&mut self, bytes: usize) {
        let took = i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(signed(THOUSANDTHS));
        self.credit = self.credit.saturating_add(self.share).saturating_sub(took);
    }

    /// Up to a fifth of `planned`, up or down.
    fn variation(&mut self, planned: i64) -> i64 {
        let steps = i64::from(self.random.next_u32() % VARIATION_STEPS)
            .saturating_sub(i64::from(VARIATION_STEPS / 2));
        planned.saturating_mul(steps) / i64::from(VARIATION_STEPS / 2) / VARIATION_PART
    }

    fn correction(&self) -> i64 {
        let bound = self.ordinary / VARIATION_PART;
        let off = self.credit.saturating_sub(self.planned_credit);
        (off / self.frames_per_second).clamp(-bound, bound)
    }
}

const fn signed(value: u64) -> i64 {
    if value > i64::MAX.cast_unsigned() { i64::MAX } else { value.cast_signed() }
}

const THOUSANDTHS: u64 = 1_000;
/// How many ordinary frames a keyframe is worth.
const KEYFRAME_WEIGHT: i64 = 6;
/// One part in five.
const VARIATION_PART: i64 = 5;
/// Odd, so that the mean is zero.
const VARIATION_STEPS: u32 = 2_001;

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Config = Config { bitrate_bps: 2_500_000, frames_per_second: 30, gop_frames: 120, seed: 7 };

    #[test]
    fn the_mean_over_a_minute_is_the_bitrate() {
        for seed in 0..20 {
            let sizes = run(Config { seed, ..CONFIG }, 1_800, 0, |frame| frame % 120 == 0);

            assert_close(sizes.iter().sum(), 60 * 2_500_000 / 8, 1);
        }
    }

    #[test]
    fn keyframes_out_of_turn_are_made_good() {
        let sizes = run(CONFIG, 1_800, 0, |frame| frame % 45 == 0);

        assert_close(sizes.iter().sum(), 60 * 2_500_000 / 8, 2);
    }

    #[test]
    fn frames_that_cannot_be_small_are_made_good_by_others() {
        let sizes = run(Config { bitrate_bps: 300_000, ..CONFIG }, 1_800, 1_200, |frame| frame % 120 == 0);

        assert_close(sizes.iter().sum(), 60 * 300_000 / 8, 5);
    }

    #[test]
    fn a_keyframe_takes_four_to_eight_times_what_the_others_take_and_these_differ() {
        let sizes = run(CONFIG, 1_800, 0, |frame| frame % 120 == 0);

        let (keyframes, others): (Vec<_>, Vec<_>) =
            sizes.iter().enumerate().partition(|(frame, _)| frame % 120 == 0);
        let mean = others.iter().map(|(_, size)| **size).sum::<usize>() / others.len();
        assert!(
            keyframes.iter().all(|(_, size)| (mean * 4..mean * 8).contains(*size)),
            "{mean} {keyframes:?}"
        );
        let smallest = others.iter().map(|(_, size)| **size).min().unwrap();
        let largest = others.iter().map(|(_, size)| **size).max().unwrap();
        assert!(smallest < mean * 85 / 100 && smallest > mean * 60 / 100, "{smallest} of {mean}");
        assert!(largest > mean * 115 / 100 && largest < mean * 140 / 100, "{largest} of {mean}");
    }

    #[test]
    fn one_seed_gives_one_run() {
        let one = run(CONFIG, 100, 0, |frame| frame == 0);

        assert_eq!(run(CONFIG, 100, 0, |frame| frame == 0), one);
        assert_ne!(run(Config { seed: 8, ..CONFIG }, 100, 0, |frame| frame == 0), one);
    }

    fn run(config: Config, frames: usize, least: usize, is_keyframe: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut budget = Budget::new(config);
        let frame = |number| {
            let bytes = budget.next_bytes(is_keyframe(number)).max(least);
            budget.spend(bytes);
            bytes
        };
        (0..frames).map(frame).collect()
    }

    fn assert_close(sum: usize, expected: usize, percent: usize) {
        assert!(sum.abs_diff(expected) * 100 <= expected * percent, "{sum} instead of {expected}");
    }
}
