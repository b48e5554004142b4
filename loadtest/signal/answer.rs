//! Reading an answer of any server: its transport, and what was agreed for each track (RFC 8866, RFC 8829).
//!
//! Lenient where servers differ: attributes of the session apply to sections that lack them, names are never resolved,
//! unknown lines are skipped.

use crate::link::Fingerprint;
use rtp::negotiation::{Format, SsrcPair};
use rtp::{Codec, Extension, ExtensionMap, MediaKind, PayloadType, Ssrc};
use std::net::{IpAddr, SocketAddr};

/// The DTLS role that the answer takes (RFC 5763 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// It begins the handshake.
    Active,
    /// It waits: we begin.
    Passive,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its ICE user name fragment.
    pub ufrag: String,
    /// Its ICE password.
    pub pwd: String,
    /// The fingerprint of its certificate.
    pub fingerprint: Fingerprint,
    /// Its DTLS role.
    pub setup: Setup,
    /// Whether it is an ICE-lite agent.
    pub ice_lite: bool,
    /// Its UDP candidates with an address, best first.
    pub candidates: Vec<SocketAddr>,
    /// What was agreed, in the offer's order; refused sections are left out.
    pub tracks: Vec<Track>,
}

/// What was agreed for one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its media identification.
    pub mid: String,
    /// Sound or pictures.
    pub kind: MediaKind,
    /// The agreed formats, best first.
    pub formats: Vec<Format>,
    /// The agreed header extensions.
    pub extensions: ExtensionMap,
    /// The sources that the server sends with.
    pub ssrcs: Vec<SsrcPair>,
    /// The simulcast layers that the server receives.
    pub rids: Vec<String>,
    /// Whether transport-wide feedback was agreed.
    pub transport_cc: bool,
}

/// What an answer lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// No `a=ice-ufrag` or `a=ice-pwd`.
    #[error("the answer has no ICE credentials")]
    Credentials,
    /// No `a=fingerprint` that we can check.
    #[error("the answer has no usable fingerprint")]
    Fingerprint,
    /// No accepted section.
    #[error("the answer accepts nothing")]
    NothingAccepted,
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// When it lacks what a session cannot do without.
    pub fn parse(sdp: &str) -> Result<Self, AnswerError> {
        let mut parts = split_sections(sdp).into_iter();
        let session = parts.next().unwrap_or_default();
        let sections: Vec<Vec<&str>> = parts.collect();
        let all = || sections.iter().chain([&session]);
        let find = |name: &str| all().find_map(|lines| attribute(lines, name));

        let ufrag = find("ice-ufrag:").ok_or(AnswerError::Credentials)?;
        let pwd = find("ice-pwd:").ok_or(AnswerError::Credentials)?;
        let fingerprint = all()
            .flat_map(|lines| attributes(lines, "fingerprint:"))
            .find_map(Fingerprint::parse)
            .ok_or(AnswerError::Fingerprint)?;
        let setup = if find("setup:") == Some("active") { Setup::Active } else { Setup::Passive };
        let tracks: Vec<Track> =
            sections.iter().enumerate().filter_map(|(index, lines)| Track::read(index, lines)).collect();
        if tracks.is_empty() {
            return Err(AnswerError::NothingAccepted);
        }
        Ok(Self {
            ufrag: ufrag.to_owned(),
            pwd: pwd.to_owned(),
            fingerprint,
            setup,
            ice_lite: session.contains(&"a=ice-lite"),
            candidates: read_candidates(all().flat_map(|lines| attributes(lines, "candidate:"))),
            tracks,
        })
    }

    /// Leaves out the candidates that a socket of this address cannot reach.
    pub fn keep_reachable(&mut self, local: SocketAddr) {
        self.candidates.retain(|candidate| candidate.is_ipv4() == local.is_ipv4());
    }

    /// Returns the first track of a kind.
    #[must_use]
    pub fn track(&self, kind: MediaKind) -> Option<&Track> {
        self.tracks.iter().find(|track| track.kind == kind)
    }
}

impl Track {
    fn read(index: usize, lines: &[&str]) -> Option<Self> {
        let mut words = lines.first()?.strip_prefix("m=")?.split_ascii_whitespace();
        let kind = match words.next()? {
            "audio" => MediaKind::Audio,
            "video" => MediaKind::Video,
            _ => return None,
        };
        let port: u16 = words.next()?.parse().ok()?;
        if port == 0 || lines.contains(&"a=inactive") {
            return None;
        }
        let numbers: Vec<u8> = words.skip(1).filter_map(|word| word.parse().ok()).collect();
        let rids =
            attributes(lines, "rid:").filter_map(|rid| rid.split_once(" recv")).map(|rid| rid.0.to_owned());
        let feedback_of_cc =
            attributes(lines, "rtcp-fb:").any(|feedback| feedback.ends_with(" transport-cc"));
        let extensions = read_extensions(lines);
        Some(Self {
            mid: attribute(lines, "mid:").map_or_else(|| index.to_string(), str::to_owned),
            kind,
            formats: numbers.iter().filter_map(|number| read_format(lines, *number)).collect(),
            transport_cc: feedback_of_cc && extensions.id(Extension::TransportCc).is_some(),
            extensions,
            ssrcs: read_sources(lines),
            rids: rids.collect(),
        })
    }

    /// Returns the format of a payload type, and whether the type is that of its retransmissions.
    #[must_use]
    pub fn format(&self, payload_type: PayloadType) -> Option<(&Format, bool)> {
        let media = self.formats.iter().find(|format| format.payload_type == payload_type);
        let rtx = || self.formats.iter().find(|format| format.rtx == Some(payload_type));
        media.map(|format| (format, false)).or_else(|| rtx().map(|format| (format, true)))
    }
}

/// Divides into the session part and the sections, each beginning with its `m=` line.
fn split_sections(sdp: &str) -> Vec<Vec<&str>> {
    let mut parts = vec![Vec::new()];
    for line in sdp.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if line.starts_with("m=") {
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(line);
        }
    }
    parts
}

fn attributes<'a>(lines: &[&'a str], name: &str) -> impl Iterator<Item = &'a str> {
    lines.iter().filter_map(move |line| line.strip_prefix("a=")?.strip_prefix(name))
}

fn attribute<'a>(lines: &[&'a str], name: &str) -> Option<&'a str> {
    attributes(lines, name).next().map(str::trim)
}

fn read_format(lines: &[&str], number: u8) -> Option<Format> {
    let name = parameter(lines, "rtpmap:", number).next()?;
    let codec = Codec::from_name(name.split('/').next()?)?;
    let apt = format!("apt={number}");
    let is_rtx = |line: &str| {
        let (candidate, parameters) = line.split_once(' ')?;
        parameters.split(';').any(|parameter| parameter.trim() == apt).then(|| candidate.parse().ok())?
    };
    let feedback: Vec<&str> = parameter(lines, "rtcp-fb:", number).collect();
    Some(Format {
        payload_type: PayloadType(number),
        codec,
        parameters: parameter(lines, "fmtp:", number).next().unwrap_or_default().to_owned(),
        rtx: attributes(lines, "fmtp:").find_map(is_rtx).map(PayloadType),
        nack: feedback.contains(&"nack"),
        pli: feedback.contains(&"nack pli"),
        fir: feedback.contains(&"ccm fir"),
    })
}

/// Returns the values of an attribute that begins with this payload type, or with `*` for all.
fn parameter<'a>(lines: &[&'a str], name: &str, number: u8) -> impl Iterator<Item = &'a str> {
    attributes(lines, name).filter_map(move |value| {
        let (whose, rest) = value.split_once(' ')?;
        (whose == "*" || whose.parse() == Ok(number)).then_some(rest.trim())
    })
}

fn read_extensions(lines: &[&str]) -> ExtensionMap {
    let mut map = ExtensionMap::new();
    for value in attributes(lines, "extmap:") {
        let mut words = value.split_ascii_whitespace();
        let id = words.next().and_then(|id| id.split('/').next()?.parse().ok());
        let extension = words.next().and_then(Extension::from_uri);
        if let (Some(id), Some(extension)) = (id, extension) {
            map.insert(id, extension);
        }
    }
    map
}

fn read_sources(lines: &[&str]) -> Vec<SsrcPair> {
    let number = |word: &str| word.parse().ok().map(Ssrc);
    let mut pairs: Vec<SsrcPair> = Vec::new();
    for group in attributes(lines, "ssrc-group:FID ") {
        let mut words = group.split_ascii_whitespace().filter_map(number);
        if let Some(media) = words.next() {
            pairs.push(SsrcPair { media, rtx: words.next() });
        }
    }
    for ssrc in attributes(lines, "ssrc:").filter_map(|value| number(value.split_once(' ')?.0)) {
        if !pairs.iter().any(|pair| pair.media == ssrc || pair.rtx == Some(ssrc)) {
            pairs.push(SsrcPair { media: ssrc, rtx: None });
        }
    }
    pairs
}

/// Reads UDP candidates of the first component that have an address, best first, each once.
fn read_candidates<'a>(values: impl Iterator<Item = &'a str>) -> Vec<SocketAddr> {
    let mut found: Vec<(u32, SocketAddr)> = values.filter_map(read_candidate).collect();
    found.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    let mut candidates = Vec::new();
    for (_, candidate) in found {
        if !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    candidates.truncate(CANDIDATES_MAX);
    candidates
}

fn read_candidate(value: &str) -> Option<(u32, SocketAddr)> {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    let [_, component, transport, priority, address, port, ..] = words.as_slice() else { return None };
    let address: IpAddr = address.parse().ok()?;
    let usable = *component == "1" && transport.eq_ignore_ascii_case("udp");
    usable.then(|| Some((priority.parse().ok()?, SocketAddr::new(address, port.parse().ok()?))))?
}

/// A server has few addresses.
const CANDIDATES_MAX: usize = 12;

#[cfg(test)]
mod tests;
