//! What a payload shows to a server that forwards it without decoding: keyframes, layers, sizes.
//!
//! Packet path. [`describe`] is called once for each received packet and never allocates. It reads only the
//! first bytes that matter; what it cannot tell stays at its default, and what contradicts the format is an error.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

pub mod av1;
mod bits;
pub mod dependency_descriptor;
pub mod h264;
pub mod h265;
pub mod red;
pub mod vp8;
pub mod vp9;

pub use dependency_descriptor::TemplateTable;
pub use vp8::{PictureId, Tl0PictureIndex, Vp8Fields, patch as patch_vp8};

use crate::{Codec, ParseError};

/// What one packet's payload shows.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Whether the packet is the first of its frame, as far as the payload shows. H.264 and H.265 cannot always
    /// tell: parameter sets, delimiters and the first slice each count as a start.
    pub frame_start: bool,
    /// Whether the packet begins a keyframe, so that a decoder may start here.
    pub keyframe: bool,
    /// The temporal layer; 0 when unknown.
    pub temporal: u8,
    /// The spatial layer; 0 when unknown.
    pub spatial: u8,
    /// Whether a receiver of lower temporal layers may move up to [`Self::temporal`] here.
    pub layer_sync: bool,
    /// Width and height in pixels, when the packet shows them.
    pub size: Option<(u16, u16)>,
    /// Where the numbers are that a rewriter changes, for VP8.
    pub vp8: Option<Vp8Fields>,
}

/// Describes one payload.
///
/// # Errors
///
/// When the payload contradicts its format: a length beyond its end, a descriptor cut short, a forbidden value.
pub fn describe(codec: Codec, payload: &[u8]) -> Result<Descriptor, ParseError> {
    match codec {
        Codec::H264 => h264::describe(payload),
        Codec::H265 => h265::describe(payload),
        Codec::Vp8 => vp8::describe(payload),
        Codec::Vp9 => vp9::describe(payload),
        Codec::Av1 => av1::describe(payload),
        Codec::Opus | Codec::Red => Ok(Descriptor { frame_start: true, ..Descriptor::default() }),
    }
}

/// Returns a size that is neither empty nor larger than 16 bits can say.
fn size(width: u32, height: u32) -> Option<(u16, u16)> {
    let sides = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    (sides.0 > 0 && sides.1 > 0).then_some(sides)
}

#[cfg(test)]
mod tests;
