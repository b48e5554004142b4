//! RTP header extensions: names, the negotiated identifiers, reading and writing (RFC 8285).
//!
//! Packet path. An [`ExtensionMap`] says which identifier an extension has in one session; [`Extensions`] is
//! the borrowed block of one packet; [`ExtensionWriter`] builds the block of a packet to send. A block that is
//! cut short gives the elements before the cut: one bad element does not cost the packet.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

/// A header extension that the server knows.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extension {
    /// Media identification (RFC 9143).
    Mid,
    /// RTP stream identification, the simulcast layer's name (RFC 8852).
    Rid,
    /// The layer that a retransmission repairs (RFC 8852).
    RepairedRid,
    /// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    TransportCc,
    /// Absolute send time, 24 bits of 6.18 fixed point seconds.
    AbsSendTime,
    /// Absolute capture time, 64 bits of NTP and an optional clock offset.
    AbsCaptureTime,
    /// Client-to-mixer audio level (RFC 6464).
    AudioLevel,
    /// Coordination of video orientation (3GPP TS 26.114).
    VideoOrientation,
    /// Limits of the receiver's playout delay.
    PlayoutDelay,
    /// Dependency descriptor (AV1 RTP specification, appendix A).
    DependencyDescriptor,
}

impl Extension {
    /// Every extension.
    pub const ALL: [Self; EXTENSION_COUNT] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::TransportCc,
        Self::AbsSendTime,
        Self::AbsCaptureTime,
        Self::AudioLevel,
        Self::VideoOrientation,
        Self::PlayoutDelay,
        Self::DependencyDescriptor,
    ];

    /// Returns the name that `a=extmap` gives it (RFC 8285 §5).
    #[must_use]
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::TransportCc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::AbsCaptureTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::VideoOrientation => "urn:3gpp:video-orientation",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
        }
    }

    /// Finds the extension of a name.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.uri() == uri)
    }
}

/// Which identifier each extension has in one session. A small value, copied freely.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionMap {
    /// Indexed by extension; zero means not negotiated.
    ids: [u8; EXTENSION_COUNT],
    /// Indexed by identifier, for the identifiers that one-byte elements can carry.
    extensions: [Option<Extension>; ONE_BYTE_IDS],
}

impl ExtensionMap {
    /// Makes an empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self { ids: [0; EXTENSION_COUNT], extensions: [None; ONE_BYTE_IDS] }
    }

    /// Binds an identifier in 1..=14 or 16..=255 and says whether it could be: neither side may have another
    /// partner already, and 0 and 15 are reserved (RFC 8285 §4.2).
    pub fn insert(&mut self, id: u8, extension: Extension) -> bool {
        if id == 0 || id == RESERVED_ID {
            return false;
        }
        if let (None, None) = (self.id(extension), self.extension(id)) {
            if let Some(slot) = self.ids.get_mut(extension as usize) {
                *slot = id;
            }
            if let Some(slot) = self.extensions.get_mut(usize::from(id)) {
                *slot = Some(extension);
            }
        }
        self.id(extension) == Some(id)
    }

    /// Returns the identifier of an extension.
    #[must_use]
    pub fn id(&self, extension: Extension) -> Option<u8> {
        self.ids.get(extension as usize).copied().filter(|&id| id != 0)
    }

    /// Returns the extension of an identifier.
    #[must_use]
    pub fn extension(&self, id: u8) -> Option<Extension> {
        match self.extensions.get(usize::from(id)) {
            Some(extension) => *extension,
            None => self.iter().find(|&(bound, _)| bound == id).map(|(_, extension)| extension),
        }
    }

    /// Iterates over the bound pairs in the order of [`Extension::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (u8, Extension)> {
        self.ids.into_iter().zip(Extension::ALL).filter(|&(id, _)| id != 0)
    }
}

/// The extension elements of one packet, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Extensions<'a> {
    block: &'a [u8],
    form: Form,
}

impl<'a> Extensions<'a> {
    /// No elements.
    pub(crate) const EMPTY: Self = Self { block: &[], form: Form::OneByte };

    /// Wraps a block; one of an unknown profile has no elements.
    pub(crate) const fn new(profile: u16, block: &'a [u8]) -> Self {
        match profile {
            ONE_BYTE_PROFILE => Self { block, form: Form::OneByte },
            // The low four bits are free for the application (RFC 8285 §4.3).
            0x1000..=0x100f => Self { block, form: Form::TwoByte },
            _ => Self::EMPTY,
        }
    }

    /// Iterates over identifiers and values, ending before an element that does not fit.
    #[must_use]
    pub const fn iter(&self) -> Elements<'a> {
        Elements { rest: self.block, form: self.form }
    }

    /// Returns the value of an extension, when the map names it and the packet carries it.
    #[must_use]
    pub fn find(&self, map: &ExtensionMap, extension: Extension) -> Option<&'a [u8]> {
        let wanted = map.id(extension)?;
        self.iter().find(|&(id, _)| id == wanted).map(|(_, value)| value)
    }

    /// Says whether the packet carries no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'a> IntoIterator for &Extensions<'a> {
    type Item = (u8, &'a [u8]);
    type IntoIter = Elements<'a>;

    fn into_iter(self) -> Elements<'a> {
        self.iter()
    }
}

/// The iterator of [`Extensions::iter`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    form: Form,
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            self.rest = rest;
            if first == 0 {
                continue; // padding (RFC 8285 §4.2, §4.3)
            }
            let (id, length) = match self.form {
                Form::OneByte => (first >> 4, usize::from(first & 0x0f).saturating_add(1)),
                Form::TwoByte => {
                    let (&length, rest) = rest.split_first()?;
                    self.rest = rest;
                    (first, usize::from(length))
                }
            };
            if self.form == Form::OneByte && (id == RESERVED_ID || id == 0) {
                self.rest = &[]; // nothing after a reserved identifier may be read (RFC 8285 §4.2)
                return None;
            }
            let Some((value, rest)) = self.rest.split_at_checked(length) else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            return Some((id, value));
        }
    }
}

/// Writes one extension block: in the one-byte form as long as each element allows it.
#[derive(Debug)]
pub struct ExtensionWriter<'a> {
    out: &'a mut [u8],
    /// Where the next element begins; elements begin behind the block's header.
    end: usize,
    form: Form,
}

impl<'a> ExtensionWriter<'a> {
    /// Makes a writer at the front of `out`.
    #[must_use]
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, end: BLOCK_HEADER, form: Form::OneByte }
    }

    /// Appends an element. Returns `false`, and changes nothing, when there is no room, the value is longer
    /// than 255 bytes, or the identifier is 0 or 15.
    ///
    /// An empty value, one over 16 bytes, or an identifier over 14 turns the whole block into the two-byte form.
    pub fn push(&mut self, id: u8, value: &[u8]) -> bool {
        if id == 0 || id == RESERVED_ID {
            return false;
        }
        let Ok(length) = u8::try_from(value.len()) else { return false };
        let needs_two_bytes = !(1..=16).contains(&length) || id > RESERVED_ID;
        let widen = needs_two_bytes && self.form == Form::OneByte;
        let growth = if widen { self.element_count() } else { 0 };
        let element_header = if needs_two_bytes || self.form == Form::TwoByte { 2 } else { 1 };
        let end = self.end.saturating_add(growth).saturating_add(element_header).saturating_add(value.len());
        if end.next_multiple_of(4) > self.out.len() {
            return false;
        }
        if widen {
            self.widen();
        }
        let Some(element) = self.out.get_mut(self.end..end) else { return false };
        let (header, body) = element.split_at_mut(element_header);
        match header {
            [only] => *only = (id << 4) | (length.wrapping_sub(1) & 0x0f),
            [first, second] => (*first, *second) = (id, length),
            _ => return false,
        }
        body.copy_from_slice(value);
        self.end = end;
        true
    }

    /// Completes the block and returns its length with header and padding: a multiple of four, or zero when
    /// nothing was pushed.
    #[must_use]
    pub fn finish(self) -> usize {
        if self.end == BLOCK_HEADER {
            return 0;
        }
        let total = self.end.next_multiple_of(4);
        let Some(padding) = self.out.get_mut(self.end..total) else { return 0 };
        padding.fill(0);
        let Ok(words) = u16::try_from(total.saturating_sub(BLOCK_HEADER) / 4) else { return 0 };
        let profile = if self.form == Form::OneByte { ONE_BYTE_PROFILE } else { TWO_BYTE_PROFILE };
        let ([p0, p1], [w0, w1]) = (profile.to_be_bytes(), words.to_be_bytes());
        let Some(header) = self.out.first_chunk_mut::<BLOCK_HEADER>() else { return 0 };
        *header = [p0, p1, w0, w1];
        total
    }

    fn element_count(&self) -> usize {
        let block = self.out.get(BLOCK_HEADER..self.end).unwrap_or(&[]);
        Elements { rest: block, form: self.form }.count()
    }

    /// Rewrites the one-byte elements as two-byte ones, in place; the caller has checked the room.
    fn widen(&mut self) {
        self.form = Form::TwoByte;
        let mut position = BLOCK_HEADER;
        while position < self.end {
            let Some(&header) = self.out.get(position) else { return };
            let length = (header & 0x0f).saturating_add(1);
            let body = position.saturating_add(1);
            self.out.copy_within(body..self.end, body.saturating_add(1));
            self.end = self.end.saturating_add(1);
            let Some(new_header) = self.out.get_mut(position..position.saturating_add(2)) else { return };
            new_header.copy_from_slice(&[header >> 4, length]);
            position = position.saturating_add(2).saturating_add(usize::from(length));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    OneByte,
    TwoByte,
}

const EXTENSION_COUNT: usize = 10;
/// One more than the largest identifier of a one-byte element.
const ONE_BYTE_IDS: usize = 15;
const RESERVED_ID: u8 = 15;
const ONE_BYTE_PROFILE: u16 = 0xbede;
const TWO_BYTE_PROFILE: u16 = 0x1000;
const BLOCK_HEADER: usize = 4;

#[cfg(test)]
mod tests;
