//! The parts that every answer has: session head, section head, transport, codecs, extensions.
//!
//! The templates are ours from the first line to the last; from the offer come only what `section` has
//! checked: mids, payload types, codecs' parameters, layer names, transports.

use super::OfferError;
use super::candidate::Candidate;
use super::limits;
use super::offer::Offer;
use super::section::{Content, Direction, Feedback, OfferedFormat, Section};
use crate::dtls::{Fingerprint, Role};
use crate::ice;
use rtp::negotiation::Format;
use rtp::{Codec, Extension, ExtensionMap, MediaKind, PayloadType};
use std::fmt::Write;

/// The longest answer, in bytes: what the smallest known reader has room for (ffmpeg).
pub const ANSWER_MAX: usize = 8_192;

/// What the server puts into an answer.
#[derive(Clone, Debug)]
pub struct AnswerConfig {
    /// Our ICE credentials.
    pub credentials: ice::Credentials,
    /// The fingerprint of our certificate.
    pub fingerprint: Fingerprint,
    /// Our candidates, best first.
    pub candidates: Vec<Candidate>,
    /// The number of the `o=` line; below 2⁶³ (RFC 8829 §5.2.1).
    pub session_id: u64,
    /// The canonical name of what we send (RFC 3550 §6.5.1).
    pub cname: String,
}

/// An answer in the making.
pub(super) struct Answer<'a> {
    text: String,
    offer: &'a Offer,
    config: &'a AnswerConfig,
    first: bool,
}

impl<'a> Answer<'a> {
    /// Writes the session part.
    pub(super) fn begin(offer: &'a Offer, config: &'a AnswerConfig, sends: bool) -> Self {
        let mut answer = Self { text: String::with_capacity(ANSWER_MAX / 2), offer, config, first: true };
        answer.line("v=0");
        answer.line(format_args!("o=- {} 1 IN IP4 127.0.0.1", config.session_id));
        answer.line("s=-");
        answer.line("t=0 0");
        let live = |mid: &&String| {
            offer.sections.iter().any(|section| section.mid.as_ref() == Some(*mid) && is_accepted(section))
        };
        let group: Vec<&str> = offer.bundle.iter().filter(live).map(String::as_str).collect();
        if !group.is_empty() {
            answer.line(format_args!("a=group:BUNDLE {}", group.join(" ")));
        }
        answer.line("a=ice-lite");
        if offer.extmap_allow_mixed {
            answer.line("a=extmap-allow-mixed");
        }
        if sends {
            answer.line(format_args!("a=msid-semantic: WMS {MEDIA_STREAM}"));
        }
        answer
    }

    /// Writes one line; `line` holds no line break.
    pub(super) fn line(&mut self, line: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{line}\r\n");
    }

    /// Writes a section in which no media flows: turned off by the offer, or of no use to us.
    pub(super) fn unused(&mut self, section: &Section) {
        if !is_accepted(section) {
            self.head(
                section,
                0,
                &section.format_list.iter().take(1).map(String::as_str).collect::<Vec<_>>(),
            );
            self.line("a=inactive");
            return;
        }
        if section.content == Content::Data {
            self.data(section);
            return;
        }
        let formats: Vec<&OfferedFormat> =
            section.formats.iter().filter(|format| is_usable(section, format)).collect();
        let known = if formats.is_empty() { section.formats.iter().take(1).collect() } else { formats };
        let list: Vec<String> = known.iter().map(|format| format.payload_type.0.to_string()).collect();
        self.head(section, DISCARD_PORT, &list.iter().map(String::as_str).collect::<Vec<_>>());
        self.transport();
        self.line("a=inactive");
        self.line("a=rtcp-mux");
        for format in known {
            self.map(format);
        }
    }

    /// Writes a data channel section (RFC 8841 §5).
    fn data(&mut self, section: &Section) {
        self.head(section, DISCARD_PORT, &["webrtc-datachannel"]);
        self.transport();
        self.line(format_args!("a=sctp-port:{SCTP_PORT}"));
        self.line(format_args!("a=max-message-size:{MESSAGE_MAX}"));
    }

    /// Writes the `m=`, `c=` and `a=mid` lines.
    pub(super) fn head(&mut self, section: &Section, port: u16, formats: &[&str]) {
        let media = match section.content {
            Content::Media(MediaKind::Audio) => "audio",
            Content::Media(MediaKind::Video) => "video",
            Content::Data | Content::Other => section.media.as_str(),
        };
        let formats = if formats.is_empty() { "0".to_owned() } else { formats.join(" ") };
        self.line(format_args!("m={media} {port} {} {formats}", section.transport));
        self.line("c=IN IP4 0.0.0.0");
        if let Some(mid) = &section.mid {
            self.line(format_args!("a=mid:{mid}"));
        }
    }

    /// Writes ICE and DTLS, and in the first section our candidates: one transport carries the whole bundle.
    pub(super) fn transport(&mut self) {
        let config = self.config;
        self.line(format_args!("a=ice-ufrag:{}", config.credentials.ufrag));
        self.line(format_args!("a=ice-pwd:{}", config.credentials.pwd));
        self.line(format_args!("a=fingerprint:{}", config.fingerprint));
        self.line(match self.offer.role() {
            Role::Server => "a=setup:passive",
            Role::Client => "a=setup:active",
        });
        if std::mem::take(&mut self.first) {
            for candidate in &config.candidates {
                self.line(format_args!("a=candidate:{candidate}"));
            }
            self.line("a=end-of-candidates");
        }
    }

    /// Writes a media section up to and with its codecs, and returns nothing that is not written.
    pub(super) fn media(&mut self, section: &Section, agreed: &Agreed<'_>, direction: &str) {
        let list = agreed.list();
        self.head(section, DISCARD_PORT, &list.iter().map(String::as_str).collect::<Vec<_>>());
        self.transport();
        self.line(format_args!("a={direction}"));
        self.line("a=rtcp-mux");
        if section.rtcp_rsize {
            self.line("a=rtcp-rsize");
        }
        for (id, extension, way) in &agreed.extensions {
            self.line(format_args!("a=extmap:{id}{way} {}", extension.uri()));
        }
        // It counts what is sent, whatever its format (RFC 8888 §6). Browsers list it format by format, and read this.
        if agreed.ccfb {
            self.line("a=rtcp-fb:* ack ccfb");
        }
        for (format, rtx) in &agreed.formats {
            self.map(format);
            self.feedback(format, agreed);
            if let Some(rtx) = rtx {
                self.map(rtx);
            }
        }
    }

    fn map(&mut self, format: &OfferedFormat) {
        let number = format.payload_type.0;
        if !format.name.is_empty() {
            let channels = if format.encoding.is_empty() { "" } else { "/" };
            let (name, rate, encoding) = (&format.name, format.clock_rate, &format.encoding);
            self.line(format_args!("a=rtpmap:{number} {name}/{rate}{channels}{encoding}"));
        }
        if !format.parameters.is_empty() {
            self.line(format_args!("a=fmtp:{number} {}", format.parameters));
        }
    }

    fn feedback(&mut self, format: &OfferedFormat, agreed: &Agreed<'_>) {
        let number = format.payload_type.0;
        let Feedback { nack, pli, fir, transport_cc, remb, ccfb: _ } = format.feedback;
        // REMB is the fallback of those who do not report arrivals.
        let agreed = [
            (transport_cc && agreed.transport_cc, "transport-cc"),
            (remb && !agreed.transport_cc && !agreed.ccfb, "goog-remb"),
            (fir, "ccm fir"),
            (nack, "nack"),
            (pli, "nack pli"),
        ];
        for (_, name) in agreed.into_iter().filter(|(agreed, _)| *agreed) {
            self.line(format_args!("a=rtcp-fb:{number} {name}"));
        }
    }

    /// Returns the text.
    pub(super) fn finish(self) -> Result<String, OfferError> {
        if self.text.len() > ANSWER_MAX {
            return Err(OfferError::AnswerTooLarge { max: ANSWER_MAX });
        }
        Ok(self.text)
    }
}

/// What a section and we have in common.
pub(super) struct Agreed<'a> {
    /// Each codec that we carry, with its retransmission format.
    pub(super) formats: Vec<(&'a OfferedFormat, Option<&'a OfferedFormat>)>,
    /// Identifier, extension, and the restriction of its direction as the answer writes it.
    pub(super) extensions: Vec<(u8, Extension, &'static str)>,
    pub(super) transport_cc: bool,
    /// Feedback by source, of what we send.
    pub(super) ccfb: bool,
}

impl<'a> Agreed<'a> {
    /// Finds what a section and we have in common; `receives` says which way our media flows.
    ///
    /// # Errors
    /// [`OfferError::NoUsableCodec`].
    pub(super) fn find(section: &'a Section, offer: &Offer, receives: bool) -> Result<Self, OfferError> {
        let codecs: Vec<&OfferedFormat> =
            section.formats.iter().filter(|format| is_usable(section, format)).take(CODECS_MAX).collect();
        if codecs.is_empty() {
            let kind = section.kind().map_or("media", kind_name);
            return Err(OfferError::NoUsableCodec { kind });
        }
        let rtx = |codec: &OfferedFormat| {
            section.formats.iter().find(|format| format.retransmits() == Some(codec.payload_type))
        };
        let offers_cc = codecs.iter().any(|format| format.feedback.transport_cc);
        let ccfb = !receives && codecs.iter().any(|format| format.feedback.ccfb);
        let formats = codecs.into_iter().map(|codec| (codec, rtx(codec))).collect();
        let mut agreed = Self { formats, extensions: Vec::new(), transport_cc: false, ccfb };
        agreed.find_extensions(section, offer, receives, offers_cc);
        agreed.transport_cc = agreed.extensions.iter().any(|known| known.1 == Extension::TransportCc);
        Ok(agreed)
    }

    /// Returns the agreed formats as the tracks carry them.
    pub(super) fn to_formats(&self) -> Vec<Format> {
        let format = |(codec, rtx): &(&OfferedFormat, Option<&OfferedFormat>)| {
            Some(Format {
                payload_type: codec.payload_type,
                codec: codec.codec()?,
                parameters: codec.parameters.clone(),
                rtx: rtx.map(|rtx| rtx.payload_type),
                nack: codec.feedback.nack,
                pli: codec.feedback.pli,
                fir: codec.feedback.fir,
            })
        };
        self.formats.iter().filter_map(format).collect()
    }

    /// Returns the agreed extensions as the tracks carry them.
    pub(super) fn to_map(&self) -> ExtensionMap {
        let mut map = ExtensionMap::new();
        for &(id, extension, _) in &self.extensions {
            map.insert(id, extension);
        }
        map
    }

    fn find_extensions(&mut self, section: &Section, offer: &Offer, receives: bool, offers_cc: bool) {
        let highest = if offer.extmap_allow_mixed { u8::MAX } else { ONE_BYTE_ID_MAX };
        let mut map = ExtensionMap::new();
        for offered in &section.extensions {
            let wanted = match offered.extension {
                // Layers are ours to take, never to give; the number is of use only with its feedback.
                Extension::Rid | Extension::RepairedRid => receives,
                Extension::TransportCc => offers_cc,
                _ => true,
            };
            let way = answer_way(offered.direction, receives);
            let Some(way) = way.filter(|_| wanted && offered.id <= highest) else { continue };
            if map.id(offered.extension).is_none() && map.insert(offered.id, offered.extension) {
                self.extensions.push((offered.id, offered.extension, way));
            }
        }
    }

    fn list(&self) -> Vec<String> {
        let numbers = |(codec, rtx): &(&OfferedFormat, Option<&OfferedFormat>)| {
            [Some(codec.payload_type), rtx.map(|rtx| rtx.payload_type)]
        };
        let numbers = self.formats.iter().flat_map(numbers).flatten();
        numbers.map(|PayloadType(number)| number.to_string()).collect()
    }
}

/// Returns how an answer restricts an extension, or `None` when it cannot flow our way at all.
const fn answer_way(offered: Option<Direction>, receives: bool) -> Option<&'static str> {
    match (offered, receives) {
        (None, _) => Some(""),
        (Some(Direction { sends: true, .. }), true) => Some("/recvonly"),
        (Some(Direction { receives: true, .. }), false) => Some("/sendonly"),
        (Some(_), _) => None,
    }
}

/// Tells whether we carry a format: our codec, the section's kind, Opus in stereo, RED over Opus.
fn is_usable(section: &Section, format: &OfferedFormat) -> bool {
    let Some(codec) = format.codec() else { return false };
    if section.kind() != Some(codec.kind()) {
        return false;
    }
    match codec {
        Codec::Opus => format.encoding == "2",
        Codec::Red => repeats_opus(section, format),
        _ => true,
    }
}

/// Tells whether every block of a RED format is Opus of the same section (RFC 2198 §5).
fn repeats_opus(section: &Section, red: &OfferedFormat) -> bool {
    let is_opus = |listed: &str| {
        section.formats.iter().any(|format| {
            format.payload_type.0.to_string() == listed.trim() && format.codec() == Some(Codec::Opus)
        })
    };
    !red.parameters.is_empty() && red.parameters.split('/').all(is_opus)
}

/// Tells whether a section of the offer gets a port in the answer.
pub(super) fn is_accepted(section: &Section) -> bool {
    !section.rejected && section.is_secure()
}

/// Returns the word for a kind of media.
pub(super) const fn kind_name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}

/// The name of the one MediaStream that a viewer gets.
pub(super) const MEDIA_STREAM: &str = "nearcast";
/// The port of a section whose address comes from candidates (RFC 8839 §4.3.2).
const DISCARD_PORT: u16 = 9;
const SCTP_PORT: u16 = 5_000;
/// What a data channel message may have, in bytes.
const MESSAGE_MAX: usize = 16_384;
/// How many codecs of a section are answered. Browsers offer up to fifteen.
const CODECS_MAX: usize = 20;
/// The largest identifier of a one-byte extension element (RFC 8285 §4.2).
const ONE_BYTE_ID_MAX: u8 = 14;
const _: () = assert!(CODECS_MAX <= limits::FORMATS_MAX);
