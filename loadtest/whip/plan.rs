//! From what a user asks to what is offered, and from the answer to what is published.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rtp::negotiation::Format;
use rtp::{Codec, MediaKind, SeqNo, Ssrc};

use crate::link::Random;
use crate::publisher::{budget, layer, track};
use crate::signal::{Answer, Direction, Offer, Section, Source, Track};

/// What is published.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The picture's codec; none for sound alone.
    pub(super) video: Option<Codec>,
    pub(super) audio: bool,
    /// Bits a second of the largest layer.
    pub(super) bitrate_bps: u64,
    pub(super) frames_per_second: u32,
    /// How many layers.
    pub(super) layers: usize,
    /// From a keyframe to the next.
    pub(super) gop: Duration,
    /// Names the sources and begins the variation of sizes.
    pub(super) seed: u64,
}

/// The layers and the sound, as the answer accepts them.
pub(super) struct Accepted {
    pub(super) layers: Vec<(layer::Config, track::Config)>,
    pub(super) sound: Option<track::Config>,
}

impl Plan {
    /// Returns the offer: sound first, as browsers' libraries do it.
    pub(super) fn offer(&self, cname: String, candidate: std::net::SocketAddr) -> Offer {
        let rids = if self.layers > 1 { self.rids().map(str::to_owned).collect() } else { Vec::new() };
        let video = self.video.map(|codec| Section {
            kind: MediaKind::Video,
            codecs: vec![codec],
            rids,
            source: Some(self.source(0)),
        });
        let sound = self.audio.then(|| Section {
            kind: MediaKind::Audio,
            codecs: vec![Codec::Opus],
            rids: Vec::new(),
            source: Some(self.sound_source()),
        });
        Offer {
            direction: Direction::SendOnly,
            sections: sound.into_iter().chain(video).collect(),
            cname,
            candidate: Some(candidate),
        }
    }

    /// Returns the plan as the answer accepts it.
    ///
    /// # Errors
    ///
    /// When the answer refuses the picture, one of its layers, or the sound: what was asked is not reached then.
    pub(super) fn accepted(&self, answer: &Answer) -> Result<Accepted> {
        let sound = answer.track(MediaKind::Audio).filter(|_| self.audio);
        let sound = sound.and_then(|track| Some((track, format_of(track, Codec::Opus)?)));
        let sound = sound.map(|(track, format)| self.track(track, format, self.sound_source(), None));
        ensure!(sound.is_some() || !self.audio, "asked for sound, and the answer refuses it (--no-audio)");
        let mut layers = Vec::new();
        if let Some(codec) = self.video {
            let video = answer.track(MediaKind::Video).context("the answer refuses the picture")?;
            let format = format_of(video, codec)
                .with_context(|| format!("the answer does not accept {}", codec.name()))?;
            layers = self.accepted_layers(codec, video, format)?;
        }
        Ok(Accepted { layers, sound })
    }

    fn accepted_layers(
        &self,
        codec: Codec,
        video: &Track,
        format: &Format,
    ) -> Result<Vec<(layer::Config, track::Config)>> {
        if self.layers == 1 {
            return Ok(vec![(self.layer(codec, 0), self.track(video, format, self.source(0), None))]);
        }
        let accepted = self.rids().filter(|rid| video.rids.iter().any(|accepted| accepted == rid));
        let accepted: Vec<&str> = accepted.collect();
        ensure!(
            accepted.len() == self.layers,
            "asked for the layers {}, and the answer takes {} (--simulcast)",
            self.rids().collect::<Vec<_>>().join(", "),
            if accepted.is_empty() { "one without a name".to_owned() } else { accepted.join(", ") }
        );
        let make = |(index, rid): (usize, &str)| {
            (self.layer(codec, index), self.track(video, format, self.source(index), Some(rid.to_owned())))
        };
        Ok(accepted.into_iter().enumerate().map(make).collect())
    }

    /// The layer of an index, the smallest first; each has a quarter of the next one's pixels and bits.
    fn layer(&self, codec: Codec, index: usize) -> layer::Config {
        let halvings = self.layers.saturating_sub(1).saturating_sub(index);
        let parts = 4_u64.saturating_pow(u32::try_from(halvings).unwrap_or(u32::MAX));
        let gop_frames = self.gop.as_secs_f64() * f64::from(self.frames_per_second);
        let budget = budget::Config {
            bitrate_bps: self.bitrate_bps / parts,
            frames_per_second: self.frames_per_second,
            gop_frames: gop_frames.round() as u32,
            seed: self.seed.wrapping_add(u64::try_from(index).unwrap_or(0)),
        };
        layer::Config { codec, halvings, budget }
    }

    fn track(&self, track: &Track, format: &Format, source: Source, rid: Option<String>) -> track::Config {
        let mut random = Random::new(self.seed ^ u64::from(source.media.0));
        track::Config {
            ssrc: source.media,
            payload_type: format.payload_type,
            rtx: source.rtx.zip(format.rtx),
            extensions: track.extensions,
            mid: track.mid.clone(),
            rid,
            // In the lower half, so that nothing wraps before the first keyframe came (RFC 3711 §3.3.1).
            first_seq: SeqNo(u16::try_from(random.below(0x7fff)).unwrap_or(0)),
        }
    }

    /// The layers' names, the smallest first.
    fn rids(&self) -> impl Iterator<Item = &'static str> {
        RIDS.into_iter().skip(RIDS.len().saturating_sub(self.layers))
    }

    fn source(&self, layer: usize) -> Source {
        let first = self.sound_source().media.0.saturating_add(1);
        let media = first.saturating_add(u32::try_from(layer).unwrap_or(0).saturating_mul(2));
        Source { media: Ssrc(media), rtx: Some(Ssrc(media.saturating_add(1))) }
    }

    fn sound_source(&self) -> Source {
        let number = Random::new(self.seed).below(1 << 31);
        Source { media: Ssrc(u32::try_from(number).unwrap_or(0).saturating_add(1)), rtx: None }
    }
}

/// The best accepted format of a codec; of H.264 only one that allows fragments.
fn format_of(track: &Track, codec: Codec) -> Option<&Format> {
    let fragments =
        |format: &&Format| codec != Codec::H264 || format.parameters.contains("packetization-mode=1");
    track.formats.iter().filter(|format| format.codec == codec).find(fragments)
}

/// A quarter, a half and the full side.
pub(super) const RIDS: [&str; 3] = ["q", "h", "f"];

#[cfg(test)]
mod tests {
    use super::*;
    use rtp::{Extension, ExtensionMap, PayloadType};

    #[test]
    fn every_accepted_layer_has_its_size_its_share_and_its_own_sources() {
        let accepted = plan(3).accepted(&answer(&["f", "h", "q"], Codec::H264)).unwrap();

        let shown: Vec<_> = accepted
            .layers
            .iter()
            .map(|(layer, track)| (track.rid.clone().unwrap(), layer.halvings, layer.budget.bitrate_bps))
            .collect();
        assert_eq!(shown, [("q".into(), 2, 100_000), ("h".into(), 1, 400_000), ("f".into(), 0, 1_600_000)]);
        let mut sources: Vec<_> = accepted
            .layers
            .iter()
            .flat_map(|(_, track)| [track.ssrc, track.rtx.unwrap().0])
            .chain([accepted.sound.unwrap().ssrc])
            .collect();
        sources.sort_unstable();
        sources.dedup();
        assert_eq!(sources.len(), 7);
    }

    #[test]
    fn an_answer_that_takes_fewer_layers_than_asked_for_is_no_success() {
        for (rids, takes) in [(&["q", "f"][..], "takes q, f"), (&[], "takes one without a name")] {
            let refusal = plan(3).accepted(&answer(rids, Codec::H264)).err().unwrap().to_string();

            assert!(
                refusal.starts_with("asked for the layers q, h, f") && refusal.contains(takes),
                "{refusal}"
            );
        }
        assert!(plan(1).accepted(&answer(&[], Codec::H264)).is_ok());
    }

    #[test]
    fn an_answer_without_sound_is_no_success_where_sound_was_asked_for() {
        let mut silent = answer(&[], Codec::H264);
        silent.tracks.retain(|track| track.kind == MediaKind::Video);

        let refusal = plan(1).accepted(&silent).err().unwrap().to_string();

        assert!(refusal.contains("sound"), "{refusal}");
        let without = Plan { audio: false, ..plan(1) };
        assert!(without.accepted(&silent).unwrap().sound.is_none());
    }

    #[test]
    fn an_answer_in_another_codec_is_no_answer() {
        assert!(plan(1).accepted(&answer(&[], Codec::Vp8)).is_err());
        let mut without_fragments = answer(&[], Codec::H264);
        without_fragments.tracks[1].formats[0].parameters = "packetization-mode=0".into();
        assert!(plan(1).accepted(&without_fragments).is_err());
    }

    #[test]
    fn one_layer_is_offered_by_its_source_and_several_by_their_names() {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 5));
        let one = plan(1).offer("me".into(), address);
        let two = plan(2).offer("me".into(), address);

        assert!(one.sections[1].rids.is_empty() && one.sections[1].source.is_some());
        assert_eq!(two.sections[1].rids, ["h", "f"]);
        let accepted = plan(1).accepted(&answer(&[], Codec::H264)).unwrap();
        assert_eq!(one.sections[1].source.unwrap().media, accepted.layers[0].1.ssrc);
        assert_eq!(one.sections[0].source.unwrap().media, accepted.sound.unwrap().ssrc);
    }

    fn plan(layers: usize) -> Plan {
        Plan {
            video: Some(Codec::H264),
            audio: true,
            bitrate_bps: 1_600_000,
            frames_per_second: 30,
            layers,
            gop: Duration::from_secs(4),
            seed: 11,
        }
    }

    fn answer(rids: &[&str], codec: Codec) -> Answer {
        let mut extensions = ExtensionMap::new();
        assert!(extensions.insert(4, Extension::Mid));
        let track = |kind, codec, number| Track {
            mid: "0".into(),
            kind,
            formats: vec![Format {
                payload_type: PayloadType(number),
                codec,
                parameters: "packetization-mode=1".into(),
                rtx: Some(PayloadType(number + 1)),
                nack: true,
                pli: true,
                fir: true,
            }],
            extensions,
            ssrcs: Vec::new(),
            rids: rids.iter().map(|rid| (*rid).to_owned()).collect(),
            transport_cc: true,
        };
        let sdp =
            "v=0\r\nm=audio 9 X 111\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\na=fingerprint:sha-256 ".to_owned();
        let sdp = sdp + &vec!["00"; 32].join(":") + "\r\na=setup:passive\r\n";
        let mut answer = Answer::parse(&sdp).unwrap();
        answer.tracks = vec![track(MediaKind::Audio, Codec::Opus, 111), track(MediaKind::Video, codec, 106)];
        answer
    }
}
