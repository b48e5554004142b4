//! What a datagram is, by its first two bytes (RFC 7983 §7, RFC 5761 §4).
//!
//! Packet path.

/// The protocol of a datagram on the one media port.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// STUN (first byte 0..=3).
    Stun,
    /// DTLS (first byte 20..=63).
    Dtls,
    /// RTP or SRTP (first byte 128..=191).
    Rtp,
    /// RTCP or SRTCP (first byte 128..=191, second 192..=223).
    Rtcp,
    /// Nothing that the server speaks; to be dropped and counted.
    Unknown,
}

/// Tells the protocol of a datagram; the rest of it may still be malformed.
#[must_use]
pub const fn classify(datagram: &[u8]) -> Kind {
    match datagram {
        [0..=3, ..] => Kind::Stun,
        [20..=63, ..] => Kind::Dtls,
        [128..=191, 192..=223, ..] => Kind::Rtcp,
        [128..=191, _, ..] => Kind::Rtp,
        _ => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_first_byte_has_the_protocol_of_the_table() {
        let expected = |first: u8| match first {
            0..=3 => Kind::Stun,
            20..=63 => Kind::Dtls,
            128..=191 => Kind::Rtp,
            _ => Kind::Unknown,
        };

        for first in 0..=255 {
            assert_eq!(classify(&[first, 96]), expected(first), "first byte {first}");
        }
    }

    #[test]
    fn reports_and_feedback_are_told_from_media_with_the_marker_bit() {
        assert_eq!(classify(&[0x80, 192]), Kind::Rtcp);
        assert_eq!(classify(&[0x80, 200]), Kind::Rtcp);
        assert_eq!(classify(&[0xbf, 223]), Kind::Rtcp);
        assert_eq!(classify(&[0x8f, 205]), Kind::Rtcp);
        assert_eq!(classify(&[0x80, 0x80 | 111]), Kind::Rtp);
        assert_eq!(classify(&[0x80, 191]), Kind::Rtp);
        assert_eq!(classify(&[0x80, 224]), Kind::Rtp);
    }

    #[test]
    fn a_datagram_of_no_or_one_byte_is_never_media() {
        assert_eq!(classify(&[]), Kind::Unknown);
        assert_eq!(classify(&[0x80]), Kind::Unknown);
    }
}
