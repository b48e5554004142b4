//! Extended reports: the round trip as a receiver that sends nothing measures it (RFC 3611 §4.4, §4.5).
//!
//! A viewer has no sender reports for us to answer, so it sends the time, and we say how long ago that was. Without
//! the answer a browser knows no round trip, and then tells no frame's capture time either.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use crate::reader::Reader;
use crate::{NtpTime, ParseError, Ssrc};

/// The answer to a receiver's reference time (RFC 3611 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceAnswer {
    /// The receiver that sent the time.
    pub ssrc: Ssrc,
    /// The middle 32 bits of that time.
    pub last_rr: u32,
    /// How long ago it came, in 1/65,536 s.
    pub delay_since_last_rr: u32,
}

/// Returns the first reference time among the blocks of an extended report.
pub(super) fn reference_time(mut blocks: Reader<'_>) -> Result<Option<NtpTime>, ParseError> {
    while !blocks.rest().is_empty() {
        let [block_type, _specific] = blocks.array()?;
        let length = usize::from(blocks.u16()?).saturating_mul(4);
        let mut body = Reader::new(blocks.take(length)?);
        if block_type == REFERENCE_TIME {
            return body.u64().map(|time| Some(NtpTime(time)));
        }
    }
    Ok(None)
}

/// The receiver's reference time block.
const REFERENCE_TIME: u8 = 4;
/// The block of answers to reference times.
pub(super) const REFERENCE_ANSWERS: u8 = 5;
