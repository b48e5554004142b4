//! The payloads of one frame, one behind another in memory that the next frame uses again.

use std::ops::Range;

/// The longest payload. With header, extensions and the SRTP tag around it a packet stays below 1,280 bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1_200;

/// The payloads of one frame in their order.
#[derive(Clone, Debug, Default)]
pub struct Payloads {
    bytes: Vec<u8>,
    /// Where each payload ends.
    ends: Vec<usize>,
}

impl Payloads {
    /// Makes an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the payloads and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends one payload, which the closure writes to the end of the bytes.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Iterates over the payloads.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.ends.len()).map(|index| self.bytes.get(self.range(index)).unwrap_or_default())
    }

    /// Returns how many bytes the payloads have together.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn range(&self, index: usize) -> Range<usize> {
        let end_of = |index: usize| self.ends.get(index).copied().unwrap_or(0);
        index.checked_sub(1).map_or(0, end_of)..end_of(index)
    }
}

/// Cuts `total` into `count` lengths that differ by at most one, the longer ones first.
pub fn near_equal(total: usize, count: usize) -> impl ExactSizeIterator<Item = usize> {
    let count = count.max(1);
    let longer = total % count;
    (0..count).map(move |index| (total / count).saturating_add(usize::from(index < longer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_add_up_and_differ_by_at_most_one() {
        for (total, count) in [(0, 1), (1, 3), (10, 3), (1_200, 1), (10_417, 9)] {
            let lengths: Vec<_> = near_equal(total, count).collect();

            assert_eq!(lengths.len(), count);
            assert_eq!(lengths.iter().sum::<usize>(), total);
            assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() <= 1);
            assert!(lengths.is_sorted_by(|one, next| one >= next));
        }
    }

    #[test]
    fn payloads_come_back_as_they_were_pushed() {
        let mut payloads = Payloads::new();
        payloads.push(|bytes| bytes.extend_from_slice(b"left over"));
        payloads.clear();

        payloads.push(|bytes| bytes.extend_from_slice(b"one"));
        payloads.push(|bytes| bytes.extend_from_slice(b"another"));

        assert_eq!(payloads.iter().collect::<Vec<_>>(), [&b"one"[..], b"another"]);
        assert_eq!(payloads.total_bytes(), 10);
    }
}
