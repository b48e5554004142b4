//! The numbers on the wire and their unwrapped forms.
//!
//! A wire number (16-bit sequence, 32-bit timestamp) wraps and is therefore not `Ord`; its unwrapped form is.
//! [`SeqUnwrapper`] turns one into the other (RFC 3550 appendix A.1 in spirit, with 64 bits instead of 32).

/// A 16-bit RTP sequence number (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeqNo(pub u16);

impl SeqNo {
    /// Returns the number `distance` further on, wrapping.
    #[must_use]
    pub const fn plus(self, distance: u16) -> Self {
        Self(self.0.wrapping_add(distance))
    }

    /// Returns the signed distance `self − other` in −32,768..=32,767.
    #[must_use]
    pub const fn distance(self, other: Self) -> i16 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
}

/// An unwrapped sequence number. Its low 16 bits are the wire number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtSeq(pub u64);

impl ExtSeq {
    /// Returns the wire form.
    #[must_use]
    pub const fn wire(self) -> SeqNo {
        SeqNo((self.0 & 0xffff) as u16)
    }

    /// Returns the number `distance` further on; saturates.
    #[must_use]
    pub const fn plus(self, distance: u64) -> Self {
        Self(self.0.saturating_add(distance))
    }

    /// Returns how many numbers lie between; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Unwraps sequence numbers relative to the highest seen.
#[derive(Clone, Debug, Default)]
pub struct SeqUnwrapper {
    highest: Option<ExtSeq>,
}

impl SeqUnwrapper {
    /// Makes an unwrapper whose first number lands one cycle up, so that reordering at the start cannot underflow.
    #[must_use]
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// Unwraps `wire`, choosing the value nearest to the highest seen, and remembers it when it is higher.
    pub fn unwrap(&mut self, wire: SeqNo) -> ExtSeq {
        let unwrapped = self.peek(wire);
        if self.highest.is_none_or(|highest| unwrapped > highest) {
            self.highest = Some(unwrapped);
        }
        unwrapped
    }

    /// Unwraps `wire` without remembering it.
    #[must_use]
    pub fn peek(&self, wire: SeqNo) -> ExtSeq {
        match self.highest {
            None => ExtSeq((1 << 16) | u64::from(wire.0)),
            Some(highest) => {
                let distance = i64::from(wire.distance(highest.wire()));
                ExtSeq(highest.0.saturating_add_signed(distance))
            }
        }
    }

    /// Returns the highest number seen.
    #[must_use]
    pub const fn highest(&self) -> Option<ExtSeq> {
        self.highest
    }
}

/// A 32-bit RTP timestamp in ticks of its track's clock (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RtpTimestamp(pub u32);

impl RtpTimestamp {
    /// Returns the timestamp `ticks` further on, wrapping.
    #[must_use]
    pub const fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// Returns the signed distance `self − other` in ticks.
    #[must_use]
    pub const fn distance(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
}

/// A synchronisation source (RFC 3550 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

/// A 7-bit RTP payload type (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadType(pub u8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwrapping_follows_the_wrap_forwards_and_backwards() {
        let mut unwrapper = SeqUnwrapper::new();

        let before = unwrapper.unwrap(SeqNo(65_535));
        let after = unwrapper.unwrap(SeqNo(0));
        let late = unwrapper.unwrap(SeqNo(65_534));

        assert_eq!(after, before.plus(1));
        assert_eq!(before.since(late), 1);
        assert_eq!(unwrapper.highest(), Some(after));
    }

    #[test]
    fn reordering_before_the_first_number_does_not_underflow() {
        let mut unwrapper = SeqUnwrapper::new();

        let first = unwrapper.unwrap(SeqNo(2));
        let earlier = unwrapper.unwrap(SeqNo(65_000));

        assert!(earlier < first);
    }
}
