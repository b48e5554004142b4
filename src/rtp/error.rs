//! Why bytes from a stranger were refused.
//!
//! One small `Copy` value for every parser of the crate, so that the packet path can count a refusal without
//! allocating or formatting.

/// The reason why a parser refused its input. Always the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The input ends before a field does.
    #[error("expected at least {expected} bytes, came {came}")]
    Truncated {
        /// Bytes needed from the place where reading stopped.
        expected: usize,
        /// Bytes left at that place.
        came: usize,
    },
    /// The version field of RTP or RTCP is not 2 (RFC 3550 §5.1).
    #[error("expected version 2, came {0}")]
    Version(u8),
    /// The padding count is zero or larger than what it pads (RFC 3550 §5.1).
    #[error("expected padding of 1..={available} bytes, came {padding}")]
    Padding {
        /// The count in the last byte.
        padding: usize,
        /// Bytes that could be padding.
        available: usize,
    },
    /// A length field points beyond the input.
    #[error("expected a length of at most {available}, came {declared}")]
    Length {
        /// What the field says, in bytes.
        declared: usize,
        /// Bytes left after the field.
        available: usize,
    },
    /// A field has a value that its format forbids; the text names the field.
    #[error("expected a valid {0}")]
    Malformed(&'static str),
}
