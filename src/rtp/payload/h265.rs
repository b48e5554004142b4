//! H.265 payloads.
use super::Descriptor;
use crate::ParseError;

/// Describes one payload.
///
/// # Errors
///
/// When the payload contradicts its format.
pub fn describe(payload: &[u8]) -> Result<Descriptor, ParseError> {
    if payload.is_empty() {
        return Err(ParseError::Truncated { expected: 1, came: 0 });
    }
    Ok(Descriptor::default())
}
