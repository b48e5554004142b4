//! One `m=` section of an offer, as plain data.

use super::OfferError;
use super::limits::{self, FORMATS_MAX, RIDS_MAX, SOURCES_MAX};
use rtc_sdp::MediaDescription;
use rtp::negotiation::SsrcPair;
use rtp::{Codec, Extension, MediaKind, PayloadType, Ssrc};

/// A section of the offer, in the offer's order.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) content: Content,
    /// The media of the `m=` line.
    pub(super) media: String,
    /// The transport as the offer writes it; an answer repeats it.
    pub(super) transport: String,
    /// `None` when the offer names none, which only a single section may.
    pub(super) mid: Option<String>,
    /// Whether the offer itself has turned it off: port zero, and not merely bundled.
    pub(super) rejected: bool,
    pub(super) direction: Direction,
    pub(super) rtcp_mux: bool,
    pub(super) rtcp_rsize: bool,
    /// Whether the offer's receivers measure the round trip by extended reports (RFC 3611 §5).
    pub(super) receiver_round_trip: bool,
    pub(super) formats: Vec<OfferedFormat>,
    /// The format list of the `m=` line.
    pub(super) format_list: Vec<String>,
    pub(super) extensions: Vec<OfferedExtension>,
    /// The simulcast layers that the offer sends, in its order.
    pub(super) rids: Vec<String>,
    pub(super) sources: Vec<SsrcPair>,
    pub(super) cname: String,
}

/// What a section is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Media(MediaKind),
    /// A data channel association (RFC 8841).
    Data,
    Other,
}

/// The direction of a section, as the offering side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direction {
    pub(super) sends: bool,
    pub(super) receives: bool,
}

/// A format that the section describes, ours or not.
#[derive(Clone, Debug, Default)]
pub(super) struct OfferedFormat {
    pub(super) payload_type: PayloadType,
    pub(super) name: String,
    pub(super) clock_rate: u32,
    /// The rest of the map, such as the number of audio channels.
    pub(super) encoding: String,
    pub(super) parameters: String,
    pub(super) feedback: Feedback,
}

impl OfferedFormat {
    /// Returns the codec, when it is one that we carry.
    pub(super) fn codec(&self) -> Option<Codec> {
        Codec::from_name(&self.name).filter(|codec| codec.clock_rate() == self.clock_rate)
    }

    /// Returns the payload type that it retransmits, when it is `rtx` (RFC 4588 §8.6).
    pub(super) fn retransmits(&self) -> Option<PayloadType> {
        if !self.name.eq_ignore_ascii_case("rtx") {
            return None;
        }
        let apt = self.parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("apt="))?;
        payload_type(apt)
    }
}

/// Which feedback a format may have (`a=rtcp-fb`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Feedback {
    pub(super) nack: bool,
    pub(super) pli: bool,
    pub(super) fir: bool,
    pub(super) transport_cc: bool,
    pub(super) remb: bool,
    /// Feedback by source (RFC 8888 §6).
    pub(super) ccfb: bool,
}

impl Feedback {
    fn note(&mut self, value: &str) {
        match value {
            "nack" => self.nack = true,
            "nack pli" => self.pli = true,
            "ccm fir" => self.fir = true,
            "transport-cc" => self.transport_cc = true,
            "goog-remb" => self.remb = true,
            "ack ccfb" => self.ccfb = true,
            _ => {}
        }
    }
}

/// A header extension that we know.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfferedExtension {
    pub(super) id: u8,
    pub(super) extension: Extension,
    /// The direction that the offer restricts it to.
    pub(super) direction: Option<Direction>,
}

impl Section {
    /// Reads one section. Attributes that we do not know are skipped, those that we do must be well-formed.
    pub(super) fn read(media: &MediaDescription) -> Result<Self, OfferError> {
        let name = &media.media_name;
        if name.formats.len() > FORMATS_MAX {
            return Err(OfferError::TooMany { what: "payload types in a section", max: FORMATS_MAX });
        }
        let transport = name.protos.join("/");
        let sane =
            limits::is_printable(&transport) && name.formats.iter().all(|format| limits::is_token(format));
        if !sane {
            return Err(OfferError::Malformed { attribute: "m" });
        }
        let mut section = Self {
            media: name.media.clone(),
            content: content(&name.media, &transport, &name.formats),
            transport,
            mid: None,
            rejected: name.port.value == 0 && !media.has_attribute("bundle-only"),
            direction: Direction { sends: true, receives: true },
            rtcp_mux: false,
            rtcp_rsize: false,
            receiver_round_trip: false,
            formats: Vec::new(),
            format_list: name.formats.clone(),
            extensions: Vec::new(),
            rids: Vec::new(),
            sources: Vec::new(),
            cname: String::new(),
        };
        section.list_formats();
        let mut reader = Reader::default();
        for attribute in &media.attributes {
            reader.read(&mut section, &attribute.key, attribute.value.as_deref().unwrap_or_default())?;
        }
        reader.finish(&mut section);
        Ok(section)
    }

    /// Returns the kind of its media.
    pub(super) const fn kind(&self) -> Option<MediaKind> {
        match self.content {
            Content::Media(kind) => Some(kind),
            Content::Data | Content::Other => None,
        }
    }

    /// Tells whether the section is secured as we need it (RFC 5764 §8, RFC 8841 §5).
    pub(super) fn is_secure(&self) -> bool {
        match self.content {
            Content::Media(_) => {
                matches!(
                    self.transport.as_str(),
                    "UDP/TLS/RTP/SAVPF" | "TCP/TLS/RTP/SAVPF" | "TCP/DTLS/RTP/SAVPF"
                )
            }
            Content::Data => true,
            Content::Other => false,
        }
    }

    fn list_formats(&mut self) {
        if let Content::Media(_) = self.content {
            let listed = self.format_list.iter().filter_map(|format| payload_type(format));
            self.formats = listed
                .map(|payload_type| OfferedFormat { payload_type, ..OfferedFormat::default() })
                .collect();
        }
    }

    fn format_mut(&mut self, listed: &str) -> Option<&mut OfferedFormat> {
        let wanted = payload_type(listed)?;
        self.formats.iter_mut().find(|format| format.payload_type == wanted)
    }
}

/// What must be kept between the attributes of one section.
#[derive(Default)]
struct Reader {
    wildcard: Feedback,
    sends_rids: Vec<String>,
    simulcast: Option<Vec<String>>,
    retransmits: Vec<(Ssrc, Ssrc)>,
    layers: Vec<Ssrc>,
    ssrcs: Vec<Ssrc>,
}

impl Reader {
    fn read(&mut self, section: &mut Section, key: &str, value: &str) -> Result<(), OfferError> {
        match key {
            "mid" if limits::is_token(value) => section.mid = Some(value.to_owned()),
            "mid" => return Err(OfferError::Malformed { attribute: "mid" }),
            "rtcp-mux" | "rtcp-mux-only" => section.rtcp_mux = true,
            "rtcp-rsize" => section.rtcp_rsize = true,
            "rtcp-xr" => {
                section.receiver_round_trip |= value.split(' ').any(|format| format.starts_with("rcvr-rtt="))
            }
            "sendrecv" | "sendonly" | "recvonly" | "inactive" => {
                section.direction = direction(key).unwrap_or(section.direction);
            }
            "rtpmap" => read_map(section, value)?,
            "fmtp" => read_parameters(section, value)?,
            "rtcp-fb" => self.read_feedback(section, value),
            "extmap" => read_extension(section, value)?,
            "rid" => self.read_rid(value)?,
            "simulcast" => self.read_simulcast(value)?,
            "ssrc" => self.read_source(section, value)?,
            "ssrc-group" => self.read_group(value)?,
            _ => {}
        }
        Ok(())
    }

    fn read_feedback(&mut self, section: &mut Section, value: &str) {
        let Some((listed, feedback)) = value.split_once(' ') else { return };
        if listed == "*" {
            self.wildcard.note(feedback.trim());
        } else if let Some(format) = section.format_mut(listed) {
            format.feedback.note(feedback.trim());
        }
    }

    fn read_rid(&mut self, value: &str) -> Result<(), OfferError> {
        let mut words = value.split_ascii_whitespace();
        let name = words.next().filter(|name| limits::is_rid(name));
        let (Some(name), Some(way)) = (name, words.next()) else {
            return Err(OfferError::Malformed { attribute: "rid" });
        };
        if way == "send" {
            add_rid(&mut self.sends_rids, name)?;
        }
        Ok(())
    }

    /// Reads `send 0;1,2;~3 recv …`: of alternatives the first counts, and a paused layer counts as well.
    fn read_simulcast(&mut self, value: &str) -> Result<(), OfferError> {
        let mut words = value.split_ascii_whitespace();
        while let (Some(way), Some(list)) = (words.next(), words.next()) {
            // An old draft, still sent by some: `send rid=1;2`.
            let list = list.strip_prefix("rid=").unwrap_or(list);
            if way != "send" {
                continue;
            }
            let mut rids = Vec::new();
            for alternatives in list.split(';') {
                let first = alternatives.split(',').next().unwrap_or_default();
                let name = first.strip_prefix('~').unwrap_or(first);
                if !limits::is_rid(name) {
                    return Err(OfferError::Malformed { attribute: "simulcast" });
                }
                add_rid(&mut rids, name)?;
            }
            self.simulcast = Some(rids);
        }
        Ok(())
    }

    fn read_source(&mut self, section: &mut Section, value: &str) -> Result<(), OfferError> {
        let (ssrc, attribute) = value.split_once(' ').unwrap_or((value, ""));
        let ssrc = Ssrc(ssrc.parse().map_err(|_| OfferError::Malformed { attribute: "ssrc" })?);
        if !self.ssrcs.contains(&ssrc) && self.ssrcs.len() < SOURCES_MAX {
            self.ssrcs.push(ssrc);
        }
        if let Some(cname) = attribute.trim().strip_prefix("cname:") {
            if !limits::is_printable(cname) {
                return Err(OfferError::Malformed { attribute: "ssrc" });
            }
            cname.clone_into(&mut section.cname);
        }
        Ok(())
    }

    fn read_group(&mut self, value: &str) -> Result<(), OfferError> {
        let mut words = value.split_ascii_whitespace();
        let semantics = words.next().unwrap_or_default();
        let numbers: Result<Vec<u32>, _> = words.take(SOURCES_MAX).map(str::parse).collect();
        let numbers = numbers.map_err(|_| OfferError::Malformed { attribute: "ssrc-group" })?;
        match (semantics, numbers.as_slice()) {
            ("FID", [media, rtx]) if self.retransmits.len() < SOURCES_MAX => {
                self.retransmits.push((Ssrc(*media), Ssrc(*rtx)));
            }
            ("SIM", layers) => self.layers = layers.iter().copied().map(Ssrc).collect(),
            _ => {}
        }
        Ok(())
    }

    fn finish(self, section: &mut Section) {
        for format in &mut section.formats {
            let own = &mut format.feedback;
            own.nack |= self.wildcard.nack;
            own.pli |= self.wildcard.pli;
            own.fir |= self.wildcard.fir;
            own.transport_cc |= self.wildcard.transport_cc;
            own.remb |= self.wildcard.remb;
            own.ccfb |= self.wildcard.ccfb;
        }
        section.sources = self.pairs();
        section.rids = self.simulcast.unwrap_or(self.sends_rids);
    }

    /// Pairs each media source with the source of its retransmissions, simulcast layers first.
    fn pairs(&self) -> Vec<SsrcPair> {
        let retransmission =
            |media: Ssrc| self.retransmits.iter().find(|pair| pair.0 == media).map(|pair| pair.1);
        let is_rtx = |ssrc: &Ssrc| self.retransmits.iter().any(|pair| pair.1 == *ssrc);
        let mut media: Vec<Ssrc> = Vec::new();
        let grouped = self.layers.iter().chain(self.retransmits.iter().map(|pair| &pair.0));
        for ssrc in grouped.chain(self.ssrcs.iter().filter(|ssrc| !is_rtx(ssrc))) {
            if !media.contains(ssrc) {
                media.push(*ssrc);
            }
        }
        media.truncate(SOURCES_MAX);
        media.into_iter().map(|media| SsrcPair { media, rtx: retransmission(media) }).collect()
    }
}

fn add_rid(rids: &mut Vec<String>, name: &str) -> Result<(), OfferError> {
    if rids.iter().any(|rid| rid == name) {
        return Err(OfferError::Malformed { attribute: "rid" });
    }
    if rids.len() >= RIDS_MAX {
        return Err(OfferError::TooMany { what: "simulcast layers", max: RIDS_MAX });
    }
    rids.push(name.to_owned());
    Ok(())
}

/// Reads `96 VP8/90000` or `111 opus/48000/2`. A map of a format that the section does not list is skipped.
fn read_map(section: &mut Section, value: &str) -> Result<(), OfferError> {
    let malformed = OfferError::Malformed { attribute: "rtpmap" };
    let (listed, map) = value.split_once(' ').ok_or_else(|| malformed.clone())?;
    if !limits::is_printable(map) {
        return Err(malformed);
    }
    let mut parts = map.trim().splitn(3, '/');
    let (Some(name), Some(rate)) = (parts.next(), parts.next()) else { return Err(malformed) };
    let clock_rate = rate.parse().map_err(|_| malformed)?;
    let encoding = parts.next().unwrap_or_default();
    if let Some(format) = section.format_mut(listed) {
        name.clone_into(&mut format.name);
        encoding.clone_into(&mut format.encoding);
        format.clock_rate = clock_rate;
    }
    Ok(())
}

/// Reads `96 level-asymmetry-allowed=1;…`, leaving out the parameter sets of the sender: an answer does not
/// repeat them (RFC 6184 §8.2.2, RFC 7798 §7.1), and they are what makes the line long.
fn read_parameters(section: &mut Section, value: &str) -> Result<(), OfferError> {
    let malformed = OfferError::Malformed { attribute: "fmtp" };
    let (listed, parameters) = value.split_once(' ').ok_or_else(|| malformed.clone())?;
    let is_kept = |parameter: &&str| !parameter.is_empty() && !is_parameter_set(parameter);
    let kept: Vec<&str> = parameters.split(';').map(str::trim).filter(is_kept).collect();
    let kept = kept.join(";");
    let Some(format) = section.format_mut(listed) else { return Ok(()) };
    if !limits::is_printable(&kept) {
        return Err(malformed);
    }
    format.parameters = kept;
    Ok(())
}

fn is_parameter_set(parameter: &str) -> bool {
    let names = ["sprop-parameter-sets=", "sprop-vps=", "sprop-sps=", "sprop-pps=", "sprop-sei="];
    names.iter().any(|name| parameter.starts_with(name))
}

/// Reads `4 urn:ietf:params:rtp-hdrext:sdes:mid` or `4/sendonly urn:…` (RFC 8285 §8).
fn read_extension(section: &mut Section, value: &str) -> Result<(), OfferError> {
    let malformed = OfferError::Malformed { attribute: "extmap" };
    let mut words = value.split_ascii_whitespace();
    let (Some(id), Some(uri)) = (words.next(), words.next()) else { return Err(malformed) };
    let (id, way) = id.split_once('/').map_or((id, None), |(id, way)| (id, Some(way)));
    // Offers may use 4096..=4351 for extensions that need a mapping of their own: skipped, with the unknown.
    let id: u16 = id.parse().map_err(|_| malformed.clone())?;
    let direction = match way {
        Some(way) => Some(direction(way).ok_or(malformed)?),
        None => None,
    };
    if let (Some(extension), Ok(id)) = (Extension::from_uri(uri), u8::try_from(id)) {
        section.extensions.push(OfferedExtension { id, extension, direction });
    }
    Ok(())
}

fn content(media: &str, transport: &str, formats: &[String]) -> Content {
    match media {
        "audio" => Content::Media(MediaKind::Audio),
        "video" => Content::Media(MediaKind::Video),
        "application" if is_data(transport, formats) => Content::Data,
        _ => Content::Other,
    }
}

fn is_data(transport: &str, formats: &[String]) -> bool {
    matches!(transport, "UDP/DTLS/SCTP" | "TCP/DTLS/SCTP")
        && formats.first().is_some_and(|format| format == "webrtc-datachannel")
}

fn direction(name: &str) -> Option<Direction> {
    let (sends, receives) = match name {
        "sendrecv" => (true, true),
        "sendonly" => (true, false),
        "recvonly" => (false, true),
        "inactive" => (false, false),
        _ => return None,
    };
    Some(Direction { sends, receives })
}

fn payload_type(text: &str) -> Option<PayloadType> {
    text.trim().parse().ok().filter(|&number: &u8| number < 128).map(PayloadType)
}
