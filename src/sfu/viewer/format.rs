//! Chooses the payload type under which a viewer gets a packet.
//!
//! A viewer negotiates each codec in several flavours. The publisher's flavour is matched exactly where the
//! viewer has it; H.264 falls back to the same packetisation and then to any, because decoders accept more than
//! they say; a VP9 or AV1 profile that the viewer did not negotiate cannot be decoded.

use rtp::negotiation::Format;
use rtp::{Codec, PayloadType};

use crate::Packet;
use crate::track::{LayerIndex, LayerInfo, MAX_LAYERS};

/// The payload types of one subscription, ready for the packet path. Its fields are in the order that
/// [`super::Viewer`] tells of.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct FormatTable {
    /// What each layer sends, and how that goes out.
    layers: [Option<(Codec, Option<Choice>)>; MAX_LAYERS],
    /// For a packet that is ahead of its layer's description; indexed by codec.
    any: [Option<Choice>; Codec::ALL.len()],
    formats: Vec<Format>,
}

impl FormatTable {
    /// Makes the table of the viewer's formats; no layer is known yet.
    pub(crate) fn new(formats: Vec<Format>) -> Self {
        let mut table = Self { formats, layers: [None; MAX_LAYERS], any: [None; Codec::ALL.len()] };
        for codec in Codec::ALL {
            let choice = choose(&table.formats, codec, "");
            if let Some(entry) = table.any.get_mut(codec as usize) {
                *entry = choice;
            }
        }
        table
    }

    /// Matches the layers of a track anew.
    pub(crate) fn set_layers(&mut self, layers: &[LayerInfo]) {
        self.layers = [None; MAX_LAYERS];
        for layer in layers {
            let choice = choose(&self.formats, layer.codec, &layer.parameters);
            if let Some(entry) = self.layers.get_mut(usize::from(layer.index.0)) {
                *entry = Some((layer.codec, choice));
            }
        }
    }

    pub(crate) fn warm(&self) -> u64 {
        let first = self.layers.first().is_some_and(Option::is_some);
        u64::from(first) ^ u64::from(self.any.first().is_some_and(Option::is_some))
    }

    /// Says whether the viewer can decode the layer as it was described last.
    pub(crate) fn decodes(&self, layer: LayerIndex) -> bool {
        matches!(self.layers.get(usize::from(layer.0)), Some(Some((_, Some(_)))))
    }

    /// Returns how to send a packet of a layer; `None` when the viewer has no payload type for it.
    pub(crate) fn choice(&self, layer: LayerIndex, packet: &Packet) -> Option<Choice> {
        match self.layers.get(usize::from(layer.0)) {
            Some(Some((codec, choice))) if *codec == packet.codec => *choice,
            _ => self.any.get(packet.codec as usize).copied().flatten(),
        }
    }

    /// Returns the viewer's payload type of plain Opus, which RED packets name inside.
    pub(crate) fn opus(&self) -> Option<PayloadType> {
        self.any.get(Codec::Opus as usize).copied().flatten().map(|choice| choice.payload_type)
    }
}

/// How packets of one codec go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The viewer's payload type.
    pub(crate) payload_type: PayloadType,
    /// The payload type of retransmissions, if negotiated.
    pub(crate) rtx: Option<PayloadType>,
    /// Whether the primary block alone goes out, because the viewer knows no RED (RFC 2198).
    pub(crate) primary_only: bool,
}

/// Finds the viewer's format for a codec with the publisher's parameters.
fn choose(formats: &[Format], codec: Codec, parameters: &str) -> Option<Choice> {
    let of_codec = || formats.iter().filter(|format| format.codec == codec);
    let found = match codec {
        Codec::H264 => {
            let (profile, mode) = (h264_profile(parameters), packetization_mode(parameters));
            let same_mode = || of_codec().filter(|format| packetization_mode(&format.parameters) == mode);
            let exact = same_mode().find(|format| h264_profile(&format.parameters) == profile);
            exact.or_else(|| same_mode().next()).or_else(|| of_codec().next())
        }
        Codec::Vp9 => of_codec().find(|format| same(&format.parameters, parameters, "profile-id", "0")),
        Codec::Av1 => of_codec().find(|format| same(&format.parameters, parameters, "profile", "0")),
        Codec::H265 | Codec::Vp8 | Codec::Opus | Codec::Red => of_codec().next(),
    };
    let choice = found.map(|format| Choice {
        payload_type: format.payload_type,
        rtx: format.rtx,
        primary_only: false,
    });
    match codec {
        Codec::Red if choice.is_none() => {
            choose(formats, Codec::Opus, "").map(|choice| Choice { primary_only: true, ..choice })
        }
        _ => choice,
    }
}

fn same(ours: &str, theirs: &str, name: &str, default: &str) -> bool {
    parameter(ours, name).unwrap_or(default) == parameter(theirs, name).unwrap_or(default)
}

/// Returns the value of `a=fmtp`'s `name=value` entry, names in any case.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|entry| {
        let (key, value) = entry.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Returns 0 when absent (RFC 6184 §8.1).
fn packetization_mode(parameters: &str) -> &str {
    parameter(parameters, "packetization-mode").unwrap_or("0")
}

/// Returns the profile and the constraint that tells Constrained Baseline from Baseline (RFC 6184 §8.1); the
/// level and the other constraints do not stop a decoder.
fn h264_profile(parameters: &str) -> Option<(u8, bool)> {
    let digits = parameter(parameters, "profile-level-id").unwrap_or("42000a");
    let profile = u8::from_str_radix(digits.get(0..2)?, 16).ok()?;
    let constraints = u8::from_str_radix(digits.get(2..4)?, 16).ok()?;
    Some((profile, profile == BASELINE && constraints & CONSTRAINT_SET_1 != 0))
}

const BASELINE: u8 = 66;
const CONSTRAINT_SET_1: u8 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h264_prefers_the_exact_profile_then_the_packetization_then_anything() {
        let formats = [
            format(1, Codec::H264, "packetization-mode=0;profile-level-id=42e01f"),
            format(2, Codec::H264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"),
            format(3, Codec::H264, "packetization-mode=1; profile-level-id=42e01f"),
        ];

        let exact = "profile-level-id=42E034;packetization-mode=1";
        assert_eq!(payload_type(&formats, Codec::H264, exact), Some(3));
        assert_eq!(
            payload_type(&formats, Codec::H264, "profile-level-id=640032;packetization-mode=1"),
            Some(2)
        );
        assert_eq!(
            payload_type(&formats[..1], Codec::H264, "profile-level-id=640032;packetization-mode=1"),
            Some(1)
        );
    }

    #[test]
    fn vp9_and_av1_need_their_profile() {
        let formats = [
            format(1, Codec::Vp9, "profile-id=2"),
            format(2, Codec::Vp9, "profile-id=0"),
            format(3, Codec::Av1, "level-idx=5;profile=0;tier=0"),
        ];

        assert_eq!(payload_type(&formats, Codec::Vp9, ""), Some(2));
        assert_eq!(payload_type(&formats, Codec::Vp9, "profile-id=2"), Some(1));
        assert_eq!(payload_type(&formats, Codec::Vp9, "profile-id=1"), None);
        assert_eq!(payload_type(&formats, Codec::Av1, ""), Some(3));
        assert_eq!(payload_type(&formats, Codec::Av1, "profile=1"), None);
    }

    #[test]
    fn red_goes_as_its_primary_block_to_a_viewer_without_red() {
        let opus = [format(111, Codec::Opus, "minptime=10")];
        let both = [format(111, Codec::Opus, ""), format(63, Codec::Red, "111/111")];

        let without = choose(&opus, Codec::Red, "111/111");
        let with = choose(&both, Codec::Red, "111/111");

        assert_eq!(without.map(|it| (it.payload_type.0, it.primary_only)), Some((111, true)));
        assert_eq!(with.map(|it| (it.payload_type.0, it.primary_only)), Some((63, false)));
    }

    #[test]
    fn a_codec_that_the_viewer_lacks_has_no_payload_type() {
        assert_eq!(payload_type(&[format(96, Codec::Vp8, "")], Codec::H264, ""), None);
    }

    fn payload_type(formats: &[Format], codec: Codec, parameters: &str) -> Option<u8> {
        choose(formats, codec, parameters).map(|choice| choice.payload_type.0)
    }

    fn format(payload_type: u8, codec: Codec, parameters: &str) -> Format {
        Format {
            payload_type: PayloadType(payload_type),
            codec,
            parameters: parameters.to_owned(),
            rtx: None,
            nack: true,
            pli: true,
            fir: true,
        }
    }
}
