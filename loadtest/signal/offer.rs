//! Offers in a browser's shape: bundled, with mids, header extensions, RTX and `actpass` (RFC 8829).

use crate::link::Local;
use rtp::{Codec, Extension, MediaKind, PayloadType, Ssrc};
use std::fmt::Write;
use std::net::SocketAddr;

/// Who sends, as the offer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A publisher's offer.
    SendOnly,
    /// A viewer's offer.
    RecvOnly,
}

/// One `m=` section. Its mid is its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Sound or pictures.
    pub kind: MediaKind,
    /// What is offered, best first; all of the section's kind.
    pub codecs: Vec<Codec>,
    /// The names of simulcast layers; empty without simulcast.
    pub rids: Vec<String>,
    /// What a publisher without simulcast sends with.
    pub source: Option<Source>,
}

/// The source numbers of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The source of the media.
    pub media: Ssrc,
    /// The source of retransmissions.
    pub rtx: Option<Ssrc>,
}

/// An offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Who sends.
    pub direction: Direction,
    /// The sections in their order.
    pub sections: Vec<Section>,
    /// The canonical name of what a publisher sends.
    pub cname: String,
    /// Our one host candidate, for agents that want one.
    pub candidate: Option<SocketAddr>,
}

impl Offer {
    /// Makes a viewer's offer of everything that a browser plays: audio first when it is wanted.
    #[must_use]
    pub fn viewer(audio: bool, candidate: Option<SocketAddr>) -> Self {
        let section = |kind, codecs: &[Codec]| Section {
            kind,
            codecs: codecs.to_vec(),
            rids: Vec::new(),
            source: None,
        };
        let video = section(MediaKind::Video, &[Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1]);
        let sound = audio.then(|| section(MediaKind::Audio, &[Codec::Opus]));
        Self {
            direction: Direction::RecvOnly,
            sections: sound.into_iter().chain([video]).collect(),
            cname: String::new(),
            candidate,
        }
    }

    /// Writes the offer.
    #[must_use]
    pub fn to_sdp(&self, local: &Local) -> String {
        self.write(local, false)
    }

    /// Writes the offer with a section for data channels behind the others (RFC 8841).
    #[must_use]
    pub fn to_sdp_with_channel(&self, local: &Local) -> String {
        self.write(local, true)
    }

    fn write(&self, local: &Local, with_channel: bool) -> String {
        let sections = self.sections.len().saturating_add(usize::from(with_channel));
        let mids: Vec<String> = (0..sections).map(|mid| mid.to_string()).collect();
        let mut sdp = Sdp(String::with_capacity(4_096));
        sdp.line("v=0");
        sdp.line("o=- 4611731400430051336 2 IN IP4 127.0.0.1");
        sdp.line("s=-");
        sdp.line("t=0 0");
        sdp.line(format_args!("a=group:BUNDLE {}", mids.join(" ")));
        sdp.line("a=extmap-allow-mixed");
        sdp.line("a=msid-semantic: WMS");
        for (mid, section) in mids.iter().zip(&self.sections) {
            self.write_section(&mut sdp, mid, section, local);
        }
        if let Some(mid) = mids.last().filter(|_| with_channel) {
            sdp.line("m=application 9 UDP/DTLS/SCTP webrtc-datachannel");
            sdp.line("c=IN IP4 0.0.0.0");
            self.write_transport(&mut sdp, local);
            sdp.line(format_args!("a=mid:{mid}"));
            sdp.line("a=sctp-port:5000");
            sdp.line("a=max-message-size:262144");
        }
        sdp.0
    }

    fn write_section(&self, sdp: &mut Sdp, mid: &str, section: &Section, local: &Local) {
        let formats: Vec<&Format> = section.codecs.iter().flat_map(|codec| formats(*codec)).collect();
        let numbers = formats.iter().flat_map(|format| [Some(format.payload_type), format.rtx]);
        let numbers: Vec<String> = numbers.flatten().map(|number| number.to_string()).collect();
        let kind = match section.kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        };
        sdp.line(format_args!("m={kind} 9 UDP/TLS/RTP/SAVPF {}", numbers.join(" ")));
        sdp.line("c=IN IP4 0.0.0.0");
        sdp.line("a=rtcp:9 IN IP4 0.0.0.0");
        self.write_transport(sdp, local);
        sdp.line(format_args!("a=mid:{mid}"));
        for (id, extension) in extensions(section.kind) {
            sdp.line(format_args!("a=extmap:{id} {}", extension.uri()));
        }
        sdp.line(match self.direction {
            Direction::SendOnly => "a=sendonly",
            Direction::RecvOnly => "a=recvonly",
        });
        if self.direction == Direction::SendOnly {
            sdp.line(format_args!("a=msid:{MEDIA_STREAM} track-{mid}"));
        }
        sdp.line("a=rtcp-mux");
        sdp.line("a=rtcp-rsize");
        for format in formats {
            format.write(sdp);
        }
        self.write_sources(sdp, mid, section);
    }

    fn write_transport(&self, sdp: &mut Sdp, local: &Local) {
        if let Some(candidate) = self.candidate {
            let (ip, port) = (candidate.ip(), candidate.port());
            sdp.line(format_args!("a=candidate:1 1 udp 2130706431 {ip} {port} typ host generation 0"));
            sdp.line("a=end-of-candidates");
        }
        sdp.line(format_args!("a=ice-ufrag:{}", local.credentials.ufrag));
        sdp.line(format_args!("a=ice-pwd:{}", local.credentials.pwd));
        sdp.line(format_args!("a=fingerprint:{}", local.fingerprint));
        sdp.line("a=setup:actpass");
    }

    fn write_sources(&self, sdp: &mut Sdp, mid: &str, section: &Section) {
        if !section.rids.is_empty() {
            for rid in &section.rids {
                sdp.line(format_args!("a=rid:{rid} send"));
            }
            sdp.line(format_args!("a=simulcast:send {}", section.rids.join(";")));
            return;
        }
        let Some(Source { media, rtx }) = section.source else { return };
        if let Some(rtx) = rtx {
            sdp.line(format_args!("a=ssrc-group:FID {} {}", media.0, rtx.0));
        }
        for ssrc in [Some(media), rtx].into_iter().flatten() {
            sdp.line(format_args!("a=ssrc:{} cname:{}", ssrc.0, self.cname));
            sdp.line(format_args!("a=ssrc:{} msid:{MEDIA_STREAM} track-{mid}", ssrc.0));
        }
    }
}

/// A codec with the numbers and parameters that Chromium gives it.
#[derive(Debug, PartialEq, Eq)]
pub struct Format {
    payload_type: u8,
    rtx: Option<u8>,
    codec: Codec,
    parameters: &'static str,
}

impl Format {
    /// Returns its payload type.
    #[must_use]
    pub const fn payload_type(&self) -> PayloadType {
        PayloadType(self.payload_type)
    }

    fn write(&self, sdp: &mut Sdp) {
        let (number, codec) = (self.payload_type, self.codec);
        let channels = if codec.kind() == MediaKind::Audio { "/2" } else { "" };
        sdp.line(format_args!("a=rtpmap:{number} {}/{}{channels}", codec.name(), codec.clock_rate()));
        for feedback in feedback(codec.kind()) {
            sdp.line(format_args!("a=rtcp-fb:{number} {feedback}"));
        }
        if !self.parameters.is_empty() {
            sdp.line(format_args!("a=fmtp:{number} {}", self.parameters));
        }
        if let Some(rtx) = self.rtx {
            sdp.line(format_args!("a=rtpmap:{rtx} rtx/{}", codec.clock_rate()));
            sdp.line(format_args!("a=fmtp:{rtx} apt={number}"));
        }
    }
}

/// Returns the formats that are offered for a codec, best first.
pub fn formats(codec: Codec) -> impl Iterator<Item = &'static Format> {
    FORMATS.iter().filter(move |format| format.codec == codec)
}

/// Returns the payload type of the retransmissions of an offered one.
#[must_use]
pub fn rtx_of(media: PayloadType) -> Option<PayloadType> {
    FORMATS.iter().find(|format| format.payload_type == media.0)?.rtx.map(PayloadType)
}

struct Sdp(String);

impl Sdp {
    fn line(&mut self, line: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{line}\r\n");
    }
}

const fn feedback(kind: MediaKind) -> &'static [&'static str] {
    match kind {
        MediaKind::Audio => &["transport-cc"],
        MediaKind::Video => &["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"],
    }
}

const fn extensions(kind: MediaKind) -> &'static [(u8, Extension)] {
    match kind {
        MediaKind::Audio => &[
            (1, Extension::AudioLevel),
            (2, Extension::AbsSendTime),
            (3, Extension::TransportCc),
            (4, Extension::Mid),
            (8, Extension::AbsCaptureTime),
        ],
        MediaKind::Video => &[
            (2, Extension::AbsSendTime),
            (13, Extension::VideoOrientation),
            (3, Extension::TransportCc),
            (5, Extension::PlayoutDelay),
            (4, Extension::Mid),
            (10, Extension::Rid),
            (11, Extension::RepairedRid),
            (8, Extension::AbsCaptureTime),
            (12, Extension::DependencyDescriptor),
        ],
    }
}

const FORMATS: &[Format] = &[
    Format { payload_type: 111, rtx: None, codec: Codec::Opus, parameters: "minptime=10;useinbandfec=1" },
    Format { payload_type: 96, rtx: Some(97), codec: Codec::Vp8, parameters: "" },
    Format { payload_type: 98, rtx: Some(99), codec: Codec::Vp9, parameters: "profile-id=0" },
    Format {
        payload_type: 106,
        rtx: Some(107),
        codec: Codec::H264,
        parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    },
    Format {
        payload_type: 102,
        rtx: Some(103),
        codec: Codec::H264,
        parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
    },
    Format {
        payload_type: 39,
        rtx: Some(40),
        codec: Codec::H264,
        parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
    },
    Format {
        payload_type: 112,
        rtx: Some(113),
        codec: Codec::H264,
        parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f",
    },
    Format {
        payload_type: 49,
        rtx: Some(50),
        codec: Codec::H265,
        parameters: "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
    },
    Format { payload_type: 45, rtx: Some(46), codec: Codec::Av1, parameters: "level-idx=5;profile=0;tier=0" },
];

const MEDIA_STREAM: &str = "loadtest";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Config, Identity, Link, Profile, Random};

    fn local() -> Local {
        let identity = Identity::generate(&Profile::CHROMIUM).unwrap();
        Link::new(Config { identity, random: Random::new(1) }).local().clone()
    }

    #[test]
    fn a_viewers_offer_bundles_audio_and_video_and_only_receives() {
        let sdp = Offer::viewer(true, None).to_sdp(&local());

        for line in [
            "a=group:BUNDLE 0 1",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "a=recvonly",
            "a=setup:actpass",
            "a=fmtp:97 apt=96",
            "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        ] {
            assert!(sdp.lines().any(|found| found == line), "{line} in\n{sdp}");
        }
        assert!(!sdp.contains("a=ssrc"));
    }

    #[test]
    fn a_publishers_offer_names_its_sources_or_its_layers_but_not_both() {
        let source = Source { media: Ssrc(5), rtx: Some(Ssrc(6)) };
        let mut section =
            Section { kind: MediaKind::Video, codecs: vec![Codec::H264], rids: vec![], source: Some(source) };
        let offer = |section: &Section| Offer {
            direction: Direction::SendOnly,
            sections: vec![section.clone()],
            cname: "me".into(),
            candidate: Some(SocketAddr::from(([127, 0, 0, 1], 4_000))),
        };

        let plain = offer(&section).to_sdp(&local());
        section.rids = vec!["q".into(), "h".into(), "f".into()];
        let simulcast = offer(&section).to_sdp(&local());

        assert!(plain.contains("a=ssrc-group:FID 5 6\r\na=ssrc:5 cname:me\r\n"));
        assert!(plain.contains("127.0.0.1 4000 typ host"));
        assert!(simulcast.contains("a=simulcast:send q;h;f\r\n"));
        assert!(!simulcast.contains("a=ssrc"));
    }

    #[test]
    fn a_data_channel_stands_behind_the_media_in_the_bundle() {
        let sdp = Offer::viewer(false, None).to_sdp_with_channel(&local());

        assert!(sdp.contains("a=group:BUNDLE 0 1\r\n"));
        let application = sdp.split("m=application ").nth(1).unwrap();
        for line in ["a=mid:1", "a=sctp-port:5000", "a=setup:actpass"] {
            assert!(application.lines().any(|found| found == line), "{line} in {application}");
        }
    }

    #[test]
    fn no_two_formats_share_a_number() {
        let numbers = FORMATS.iter().flat_map(|format| [Some(format.payload_type), format.rtx]).flatten();
        let mut numbers: Vec<u8> = numbers.collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();

        assert_eq!(numbers.len(), count);
    }
}
