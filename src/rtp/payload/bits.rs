//! A bit reader for codec headers, bounded by its input.
//!
//! Reads the most significant bit first. In the escaped form it skips the emulation prevention bytes of H.264
//! and H.265 (`00 00 03`, the last of them) as it goes, so that nothing is copied.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

/// Reads bits; every step returns `None` at the end of the input.
#[derive(Clone, Debug)]
pub(super) struct Bits<'a> {
    bytes: std::slice::Iter<'a, u8>,
    current: u8,
    left: u8,
    escaped: bool,
    zeros: u8,
}

impl<'a> Bits<'a> {
    /// Reads plain bytes.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter(), current: 0, left: 0, escaped: false, zeros: 0 }
    }

    /// Reads the bytes of a NAL unit.
    pub(super) fn escaped(bytes: &'a [u8]) -> Self {
        Self { escaped: true, ..Self::new(bytes) }
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        if self.left == 0 {
            self.current = self.next_byte()?;
            self.left = 8;
        }
        self.left = self.left.saturating_sub(1);
        Some((self.current >> self.left) & 1 == 1)
    }

    /// Reads an unsigned number of at most 32 bits.
    pub(super) fn number(&mut self, width: u8) -> Option<u32> {
        debug_assert!(width <= 32, "a number of more than 32 bits");
        let mut value = 0_u32;
        for _ in 0..width {
            value = (value << 1) | u32::from(self.flag()?);
        }
        Some(value)
    }

    pub(super) fn skip(&mut self, width: u32) -> Option<()> {
        for _ in 0..width {
            self.flag()?;
        }
        Some(())
    }

    /// Reads an Exp-Golomb number (`ue(v)`, ITU-T H.264 §9.1); `None` beyond 31 leading zeros.
    pub(super) fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0_u8;
        while !self.flag()? {
            zeros = zeros.checked_add(1).filter(|zeros| *zeros <= 31)?;
        }
        let offset = self.number(zeros)?;
        (1_u32 << zeros).checked_sub(1)?.checked_add(offset)
    }

    /// Reads a signed Exp-Golomb number (`se(v)`, ITU-T H.264 §9.1.1).
    pub(super) fn signed_golomb(&mut self) -> Option<i32> {
        let code = self.golomb()?;
        let magnitude = i32::try_from(code.div_ceil(2)).ok()?;
        Some(if code % 2 == 1 { magnitude } else { magnitude.saturating_neg() })
    }

    /// Reads one of `count` values (`ns(n)`, AV1 bitstream specification §4.10.7); `None` when there are none.
    pub(super) fn non_symmetric(&mut self, count: u32) -> Option<u32> {
        let width = count.checked_ilog2()?.checked_add(1)?;
        let short_codes = 1_u32.checked_shl(width)?.checked_sub(count)?;
        let value = self.number(u8::try_from(width).ok()?.checked_sub(1)?)?;
        if value < short_codes {
            return Some(value);
        }
        value.checked_mul(2)?.checked_sub(short_codes)?.checked_add(u32::from(self.flag()?))
    }

    fn next_byte(&mut self) -> Option<u8> {
        let mut byte = *self.bytes.next()?;
        if self.escaped && self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            byte = *self.bytes.next()?;
        }
        self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_across_bytes() {
        let mut bits = Bits::new(&[0b1010_1100, 0b0101_0011]);

        assert_eq!(bits.number(3), Some(0b101));
        assert_eq!(bits.number(7), Some(0b011_0001));
        assert_eq!(bits.skip(5), Some(()));
        assert_eq!(bits.flag(), Some(true));
        assert_eq!(bits.flag(), None);
    }

    #[test]
    fn exponential_codes_are_read() {
        // 0, 1, 2, 3 and then 1, −1, 2 (ITU-T H.264 tables 9-2 and 9-3).
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0100, 0b1100_1000]);

        let unsigned: Vec<_> = (0..4).map(|_| bits.golomb()).collect();
        let signed: Vec<_> = (0..3).map(|_| bits.signed_golomb()).collect();

        assert_eq!(unsigned, [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(signed, [Some(1), Some(-1), Some(2)]);
    }

    #[test]
    fn the_longest_exponential_code_fits_and_a_longer_one_is_refused() {
        let longest = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
        let longer = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff];

        assert_eq!(Bits::new(&longest).golomb(), Some(u32::MAX - 1));
        assert_eq!(Bits::new(&longer).golomb(), None);
    }

    #[test]
    fn non_symmetric_codes_are_read() {
        // Of five values, 0..=2 take two bits and 3..=4 take three.
        let mut bits = Bits::new(&[0b0001_1011, 0b0111_0000]);

        let values: Vec<_> = (0..5).map(|_| bits.non_symmetric(5)).collect();

        assert_eq!(values, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
        assert_eq!(bits.non_symmetric(0), None);
    }

    #[test]
    fn emulation_prevention_is_skipped_only_in_the_escaped_form() {
        let bytes = [0, 0, 3, 1, 0, 0, 3, 0, 0, 3, 2];
        let read_all = |mut bits: Bits<'_>| -> Vec<u32> { std::iter::from_fn(|| bits.number(8)).collect() };

        assert_eq!(read_all(Bits::escaped(&bytes)), [0, 0, 1, 0, 0, 0, 0, 2]);
        assert_eq!(read_all(Bits::new(&bytes)).len(), bytes.len());
    }
}
