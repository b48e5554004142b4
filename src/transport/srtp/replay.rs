//! Which packet indices were used: the replay window of RFC 3711 §3.3.2, and the memory of one source. Packet path.
//!
//! The window is a ring of bits, one for each of the latest indices. Opening uses it against replay; sealing
//! uses the same against sealing two different packets under one nonce, which would give away the GCM key.

/// The latest indices of one source; `WORDS` × 64 of them are told apart, what is older counts as used.
#[derive(Clone, Debug)]
pub(super) struct Window<const WORDS: usize> {
    /// The highest index used, once there is one.
    highest: Option<u64>,
    bits: [u64; WORDS],
}

impl<const WORDS: usize> Window<WORDS> {
    const SIZE: u64 = WORDS as u64 * 64;

    pub(super) const fn new() -> Self {
        Self { highest: None, bits: [0; WORDS] }
    }

    /// Tells whether an index was not used yet, and is not too old to know.
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        let Some(highest) = self.highest else { return true };
        if index > highest {
            return true;
        }
        highest - index < Self::SIZE && self.word(index).is_some_and(|word| word & mask(index) == 0)
    }

    /// Marks an index as used.
    pub(super) fn mark(&mut self, index: u64) {
        match self.highest {
            Some(highest) if index > highest => {
                self.forget(highest + 1, index);
                self.highest = Some(index);
            }
            None => self.highest = Some(index),
            Some(_) => {}
        }
        if let Some(word) = self.bits.get_mut(place(index, WORDS)) {
            *word |= mask(index);
        }
    }

    /// Extends a 16-bit sequence number to the index nearest to the highest one (RFC 3711 §3.3.1).
    ///
    /// `None` for an index before the first or after the last of the key's life.
    pub(super) fn extend(&self, seq: u16) -> Option<u64> {
        let Some(highest) = self.highest else { return Some(u64::from(seq)) };
        let same = (highest & !0xffff) | u64::from(seq);
        let index = if same + HALF_CYCLE < highest {
            same + CYCLE
        } else if same > highest + HALF_CYCLE {
            same.checked_sub(CYCLE)?
        } else {
            same
        };
        (index <= INDEX_MAX).then_some(index)
    }

    fn word(&self, index: u64) -> Option<u64> {
        self.bits.get(place(index, WORDS)).copied()
    }

    /// Clears the bits that the indices `first..=last` take over from older ones.
    fn forget(&mut self, first: u64, last: u64) {
        if last - first >= Self::SIZE {
            self.bits = [0; WORDS];
            return;
        }
        for index in first..=last {
            if let Some(word) = self.bits.get_mut(place(index, WORDS)) {
                *word &= !mask(index);
            }
        }
    }
}

/// The windows of several sources, told apart by SSRC: at most `max` of them, none ever forgotten.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Sources<const WORDS: usize> {
    sources: Vec<(u32, Window<WORDS>)>,
    max: usize,
    fresh: Window<WORDS>,
}

impl<const WORDS: usize> Sources<WORDS> {
    pub(super) fn new(max: usize) -> Self {
        Self { sources: Vec::with_capacity(max), max, fresh: Window::new() }
    }

    /// Returns the window of a source, a fresh one for a new source, `None` when there are too many.
    pub(super) fn window(&self, ssrc: u32) -> Option<&Window<WORDS>> {
        match self.sources.iter().find(|(known, _)| *known == ssrc) {
            Some((_, window)) => Some(window),
            None if self.sources.len() < self.max => Some(&self.fresh),
            None => None,
        }
    }

    /// Reads what finding and marking an index read; see [`crate::link::Link::warm`].
    pub(super) fn warm(&self) -> u64 {
        self.sources.iter().fold(0, |read, (ssrc, window)| {
            let word = window.highest.map(|highest| highest ^ window.word(highest).unwrap_or_default());
            read ^ u64::from(*ssrc) ^ word.unwrap_or_default()
        })
    }

    /// Marks an index of a source as used; a new source is remembered from here on.
    pub(super) fn mark(&mut self, ssrc: u32, index: u64) {
        if let Some((_, window)) = self.sources.iter_mut().find(|(known, _)| *known == ssrc) {
            window.mark(index);
        } else if self.sources.len() < self.max {
            let mut window = Window::new();
            window.mark(index);
            self.sources.push((ssrc, window));
        }
    }
}

const fn place(index: u64, words: usize) -> usize {
    (index / 64 % words as u64) as usize
}

const fn mask(index: u64) -> u64 {
    1 << (index % 64)
}

const CYCLE: u64 = 1 << 16;
const HALF_CYCLE: u64 = 1 << 15;
/// The last packet index of a master key (RFC 3711 §9.2).
const INDEX_MAX: u64 = (1 << 48) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_index_is_fresh_once() {
        let mut window = Window::<2>::new();

        for index in [5, 6, 4, 200, 199] {
            assert!(window.is_fresh(index));
            window.mark(index);
            assert!(!window.is_fresh(index));
        }
    }

    #[test]
    fn what_left_the_window_counts_as_used() {
        let mut window = Window::<2>::new();
        window.mark(1_000);

        assert!(window.is_fresh(1_000 - 127));
        assert!(!window.is_fresh(1_000 - 128));
        assert!(!window.is_fresh(0));
    }

    #[test]
    fn window_agrees_with_a_set_of_all_indices_on_a_shuffled_run() {
        let mut window = Window::<2>::new();
        let mut used = BTreeSet::new();
        let mut state = 7_u64;
        let mut repeats = 0;

        for step in 0..50_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let index = (step / 2 + (state >> 33) % 300).saturating_sub(100);
            let highest = used.last().copied().unwrap_or(0);
            let expected = !used.contains(&index) && index + 128 > highest;

            assert_eq!(window.is_fresh(index), expected, "index {index}, highest {highest}");

            if expected {
                window.mark(index);
                used.insert(index);
            } else {
                repeats += 1;
            }
        }
        assert!(repeats > 1_000);
    }

    #[test]
    fn sequence_numbers_are_extended_over_many_wraps() {
        let mut window = Window::<2>::new();
        for index in (0..1_000_000_u64).step_by(7) {
            assert_eq!(window.extend((index & 0xffff) as u16), Some(index));
            window.mark(index);
        }
        assert_eq!(Window::<2>::new().extend(9), Some(9));
    }

    #[test]
    fn a_late_sequence_number_belongs_to_the_cycle_before() {
        let mut window = Window::<2>::new();
        window.mark(0x0003_0002);

        assert_eq!(window.extend(0xffff), Some(0x0002_ffff));
        assert_eq!(window.extend(0x8001), Some(0x0003_8001));
        assert_eq!(window.extend(0x8003), Some(0x0002_8003));
    }

    #[test]
    fn an_index_before_the_first_cycle_does_not_exist() {
        let mut window = Window::<2>::new();
        window.mark(3);

        assert_eq!(window.extend(0xfff0), None);
    }

    #[test]
    fn an_index_after_the_life_of_the_key_does_not_exist() {
        let mut window = Window::<2>::new();
        window.mark(INDEX_MAX);

        assert_eq!(window.extend(0xffff), Some(INDEX_MAX));
        assert_eq!(window.extend(0), None);
    }

    #[test]
    fn more_sources_than_allowed_are_refused_and_the_known_stay() {
        let mut sources = Sources::<2>::new(2);
        sources.mark(1, 10);
        sources.mark(2, 20);
        sources.mark(3, 30);

        assert!(sources.window(3).is_none());
        assert!(sources.window(1).is_some_and(|window| !window.is_fresh(10)));
    }
}
