//! What the payload types of one track mean. Packet path.

use rtp::PayloadType;
use rtp::codec::Codec;
use rtp::negotiation::Format;

/// Payload types are 7-bit numbers (RFC 3550 §5.1).
const PAYLOAD_TYPES: usize = 128;

/// The meaning of a payload type. The index leads to [`Formats::get`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Media in this format.
    Media(usize),
    /// Retransmissions of media in this format (RFC 4588).
    Rtx(usize),
}

/// The negotiated formats of one track.
#[derive(Debug)]
pub(super) struct Formats {
    list: Vec<Format>,
    meanings: [Option<Meaning>; PAYLOAD_TYPES],
}

impl Formats {
    /// Indexes the formats of an answer. Where a payload type is named twice, the first meaning counts.
    pub(super) fn new(list: Vec<Format>) -> Self {
        let mut meanings = [None; PAYLOAD_TYPES];
        for (index, format) in list.iter().enumerate() {
            let named =
                [(Some(format.payload_type), Meaning::Media(index)), (format.rtx, Meaning::Rtx(index))];
            for (payload_type, meaning) in named {
                let slot =
                    payload_type.and_then(|payload_type| meanings.get_mut(usize::from(payload_type.0)));
                if let Some(slot) = slot {
                    slot.get_or_insert(meaning);
                }
            }
        }
        Self { list, meanings }
    }

    /// Returns what a payload type means in this track.
    pub(super) fn meaning(&self, payload_type: PayloadType) -> Option<Meaning> {
        self.meanings.get(usize::from(payload_type.0)).copied().flatten()
    }

    /// Returns a format.
    pub(super) fn get(&self, index: usize) -> Option<&Format> {
        self.list.get(index)
    }

    /// True when the payload type is plain Opus, which RED may carry.
    pub(super) fn is_opus(&self, payload_type: PayloadType) -> bool {
        match self.meaning(payload_type) {
            Some(Meaning::Media(index)) => self.get(index).is_some_and(|format| format.codec == Codec::Opus),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_types_lead_to_their_format_and_others_to_none() {
        let formats = Formats::new(vec![format(96, Codec::Vp8, Some(97)), format(98, Codec::H264, None)]);

        assert_eq!(formats.meaning(PayloadType(96)), Some(Meaning::Media(0)));
        assert_eq!(formats.meaning(PayloadType(97)), Some(Meaning::Rtx(0)));
        assert_eq!(formats.meaning(PayloadType(98)), Some(Meaning::Media(1)));
        assert_eq!(formats.meaning(PayloadType(99)), None);
        assert_eq!(formats.meaning(PayloadType(255)), None);
    }

    fn format(payload_type: u8, codec: Codec, rtx: Option<u8>) -> Format {
        Format {
            payload_type: PayloadType(payload_type),
            codec,
            parameters: String::new(),
            rtx: rtx.map(PayloadType),
            nack: true,
            pli: true,
            fir: false,
        }
    }
}
