//! The dice of one session: seeded at its making, so that one seed gives one run.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A seeded generator.
#[derive(Clone, Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// Makes a generator; one seed gives one sequence.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Makes a generator that nobody can foresee.
    #[must_use]
    pub fn from_machine() -> Self {
        Self::new(getrandom::u64().unwrap_or_default())
    }

    /// Returns a number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number below `bound`; zero when the bound is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number().checked_rem(bound).unwrap_or(0)
    }

    /// Returns bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// Returns letters and digits, six bits each as ICE credentials have them (RFC 8839 §5.4).
    pub fn letters(&mut self, count: usize) -> String {
        let letter = |random: &mut Self| {
            let index = usize::try_from(random.below(64)).unwrap_or(0);
            ICE_CHARS.get(index).copied().map_or('A', char::from)
        };
        (0..count).map(|_| letter(self)).collect()
    }
}

const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
