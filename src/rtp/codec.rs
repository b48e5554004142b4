//! The codecs that the server carries, as names and clock rates.

/// What a track carries.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

/// A codec that the server can forward.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// H.264 (RFC 6184).
    H264,
    /// H.265 (RFC 7798).
    H265,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// AV1 (AV1 RTP specification v1.0).
    Av1,
    /// Opus (RFC 7587).
    Opus,
    /// Opus with earlier frames repeated in front (RFC 2198).
    Red,
}

impl Codec {
    /// Every codec, in no order of preference.
    pub const ALL: [Self; 7] =
        [Self::H264, Self::H265, Self::Vp8, Self::Vp9, Self::Av1, Self::Opus, Self::Red];

    /// Returns whether it carries sound or pictures.
    #[must_use]
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::H264 | Self::H265 | Self::Vp8 | Self::Vp9 | Self::Av1 => MediaKind::Video,
            Self::Opus | Self::Red => MediaKind::Audio,
        }
    }

    /// Returns the ticks per second of its RTP timestamps.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self.kind() {
            MediaKind::Video => 90_000,
            MediaKind::Audio => 48_000,
        }
    }

    /// Returns its encoding name in SDP (RFC 8866 §6.6).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::H265 => "H265",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
            Self::Opus => "opus",
            Self::Red => "red",
        }
    }

    /// Finds the codec of an SDP encoding name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_is_found_by_its_name_in_any_case() {
        for codec in Codec::ALL {
            assert_eq!(Codec::from_name(codec.name()), Some(codec));
            assert_eq!(Codec::from_name(&codec.name().to_lowercase()), Some(codec));
        }
        assert_eq!(Codec::from_name("rtx"), None);
    }

    #[test]
    fn sound_runs_at_48_kilohertz_and_pictures_at_90() {
        assert_eq!(Codec::Red.clock_rate(), 48_000);
        assert_eq!(Codec::Av1.clock_rate(), 90_000);
    }
}
