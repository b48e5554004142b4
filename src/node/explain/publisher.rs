//! What of a publisher's media arrives, and why something is missing.

use std::time::Duration;

use rtp::{MediaKind, MonoTime};
use serde::Serialize;
use sfu::publisher::{LayerStats, Publisher};
use sfu::track::{LayerIndex, LayerInfo};

use super::{Explanation, Head, Part, Reason, Why, millis, ratio};
use crate::api::LayerBrief;

/// What an explanation of a publisher has beside what all have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PublisherExplanation {
    /// The layers of the video, in the order of the offer.
    pub layers: Vec<PublishedLayer>,
    /// The sound; absent when none was negotiated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<Sound>,
    /// What went back to the publisher since the start.
    pub feedback: Feedback,
}

/// One layer as it arrives.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedLayer {
    /// Its name, size and rate.
    #[serde(flatten)]
    pub brief: LayerBrief,
    /// SDP encoding name of its codec.
    pub codec: &'static str,
    /// Measured frames a second.
    pub fps: f64,
    /// Whether media came in the last two seconds.
    pub active: bool,
    /// Whether somebody wants it, as far as the publisher was told.
    pub wanted: bool,
    /// The share of packets lost in the last second, before repair, 0 to 1.
    pub loss_ratio: f64,
    /// Interarrival jitter.
    pub jitter_ms: f64,
    /// How long ago the publisher was asked for a keyframe of it; absent if never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pli_ms: Option<f64>,
    /// How long ago its newest keyframe began; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_keyframe_ms: Option<f64>,
    /// Why it is as it is.
    #[serde(flatten)]
    pub why: Why,
}

/// The sound as it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sound {
    /// SDP encoding name of its codec.
    pub codec: &'static str,
    /// Measured bit/s.
    pub bitrate: u64,
    /// Whether any has come.
    pub active: bool,
    /// The share of packets lost in the last second, before repair, 0 to 1.
    pub loss_ratio: f64,
    /// Interarrival jitter.
    pub jitter_ms: f64,
}

/// What went back to the publisher since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Feedback {
    /// Packets asked for again, repetitions included.
    pub packets_nacked: u64,
    /// Packets that had been missing and came after all.
    pub recovered: u64,
    /// PLIs and FIRs.
    pub keyframe_requests: u64,
    /// Transport-wide feedback packets.
    pub transport_feedbacks: u64,
}

/// What is known of one layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerFacts<'a> {
    pub(crate) info: &'a LayerInfo,
    pub(crate) stats: LayerStats,
    pub(crate) wanted: bool,
}

impl LayerFacts<'_> {
    /// Says why the layer is as it is.
    pub(crate) fn why(&self, now: MonoTime) -> Reason {
        if !self.info.active {
            return match self.stats.first_packet {
                _ if !self.wanted => Reason::NotWanted,
                None => Reason::NeverSent,
                Some(_) => Reason::Stopped,
            };
        }
        if ratio(self.stats.fraction_lost) >= LOSS_NOTICED {
            return Reason::Loss;
        }
        if self.lacks_keyframes(now) { Reason::KeyframesRare } else { Reason::Arrives }
    }

    /// Says whether a viewer who joined now would have to wait. Browsers make no keyframes but on request, which is
    /// enough: what counts is a request that brings none.
    fn lacks_keyframes(&self, now: MonoTime) -> bool {
        let LayerStats { last_keyframe, last_keyframe_request, first_packet, .. } = self.stats;
        let is_old = last_keyframe.or(first_packet).is_some_and(|at| now.since(at) >= sfu::ring::GOP_MAX);
        let is_unanswered = last_keyframe_request
            .is_some_and(|asked| Some(asked) > last_keyframe && now.since(asked) >= ANSWER_MAX);
        !self.info.join_cache && is_old && is_unanswered
    }
}

/// Says what is to be said of the whole: the worst of its layers.
pub(crate) fn worst(connected: bool, has_media: bool, layers: &[Reason]) -> Reason {
    if !connected {
        return Reason::Connecting;
    }
    if !has_media {
        return Reason::NoMedia;
    }
    let order = [Reason::Loss, Reason::KeyframesRare, Reason::Stopped, Reason::NeverSent];
    order.into_iter().find(|reason| layers.contains(reason)).unwrap_or(Reason::Arrives)
}

/// Explains a publisher; `wanted` says of each layer whether somebody wants it.
pub(crate) fn explain(
    now: MonoTime,
    head: Head<'_>,
    publisher: &Publisher,
    wanted: impl Fn(LayerIndex) -> bool,
) -> Explanation {
    let video = publisher.track_info(MediaKind::Video);
    let infos = video.as_ref().map_or(&[][..], |info| &info.layers);
    let facts: Vec<LayerFacts<'_>> = infos
        .iter()
        .filter_map(|info| {
            let stats = publisher.layer_stats(MediaKind::Video, info.index)?;
            Some(LayerFacts { info, stats, wanted: wanted(info.index) })
        })
        .collect();
    let reasons: Vec<Reason> = facts.iter().map(|facts| facts.why(now)).collect();
    let layers = facts.iter().zip(&reasons).map(|(facts, reason)| layer(now, facts, *reason)).collect();
    let counts = publisher.stats();
    let feedback = Feedback {
        packets_nacked: counts.packets_nacked,
        recovered: counts.recovered,
        keyframe_requests: counts.keyframe_requests_sent,
        transport_feedbacks: counts.transport_feedbacks_sent,
    };
    let part = PublisherExplanation { layers, audio: sound(publisher), feedback };
    let why = worst(head.connected, publisher.last_media().is_some(), &reasons);
    head.with(why, publisher.measured_rtt(), Part::Publisher(part))
}

/// Explains a publisher whose first ICE check has not come.
pub(crate) fn explain_unreached(head: Head<'_>) -> Explanation {
    let part = PublisherExplanation { layers: Vec::new(), audio: None, feedback: Feedback::default() };
    head.with(Reason::Connecting, None, Part::Publisher(part))
}

/// Returns when the first packet and the first keyframe came.
pub(crate) fn beginnings(publisher: &Publisher) -> (Option<MonoTime>, Option<MonoTime>) {
    let of = |kind: MediaKind| {
        let layers = publisher.track_info(kind).map_or(0, |info| info.layers.len());
        let indexes = (0..u8::try_from(layers).unwrap_or(u8::MAX)).map(LayerIndex);
        indexes.filter_map(move |index| publisher.layer_stats(kind, index))
    };
    let packets = of(MediaKind::Audio).chain(of(MediaKind::Video)).filter_map(|stats| stats.first_packet);
    (packets.min(), of(MediaKind::Video).filter_map(|stats| stats.first_keyframe).min())
}

fn layer(now: MonoTime, facts: &LayerFacts<'_>, reason: Reason) -> PublishedLayer {
    let LayerFacts { info, stats, wanted } = facts;
    PublishedLayer {
        brief: LayerBrief { bitrate: stats.bitrate_bps, ..LayerBrief::of(info) },
        codec: info.codec.name(),
        fps: (f64::from(stats.frames_per_second) * 10.0).round() / 10.0,
        active: info.active,
        wanted: *wanted,
        loss_ratio: ratio(stats.fraction_lost),
        jitter_ms: millis(stats.jitter),
        last_pli_ms: stats.last_keyframe_request.map(|at| millis(now.since(at))),
        last_keyframe_ms: stats.last_keyframe.map(|at| millis(now.since(at))),
        why: reason.into(),
    }
}

fn sound(publisher: &Publisher) -> Option<Sound> {
    let track = publisher.track_info(MediaKind::Audio)?;
    let info = track.layers.first()?;
    let stats = publisher.layer_stats(MediaKind::Audio, info.index)?;
    Some(Sound {
        codec: info.codec.name(),
        bitrate: stats.bitrate_bps,
        active: info.active,
        loss_ratio: ratio(stats.fraction_lost),
        jitter_ms: millis(stats.jitter),
    })
}

/// How long a publisher that answers requests may take for a keyframe.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// A loss that repair still hides, but that shows where the trouble begins.
const LOSS_NOTICED: f64 = 0.02;

#[cfg(test)]
mod tests {
    use rtp::Codec;

    use super::*;

    #[test]
    fn a_missing_layer_says_whether_it_ever_came() {
        let silent = LayerInfo { active: false, ..info() };
        let never = LayerFacts { info: &silent, stats: LayerStats::default(), wanted: true };
        let came = LayerStats { first_packet: Some(at(1_000)), ..LayerStats::default() };

        assert_eq!(never.why(at(9_000)), Reason::NeverSent);
        assert_eq!(LayerFacts { stats: came, ..never }.why(at(9_000)), Reason::Stopped);
        assert_eq!(LayerFacts { stats: came, wanted: false, ..never }.why(at(9_000)), Reason::NotWanted);
    }

    #[test]
    fn a_layer_that_comes_with_losses_or_without_keyframes_says_so() {
        let info = info();
        let stats = LayerStats {
            first_packet: Some(at(1_000)),
            last_keyframe: Some(at(8_000)),
            ..LayerStats::default()
        };
        let good = LayerFacts { info: &info, stats, wanted: true };
        assert_eq!(good.why(at(9_000)), Reason::Arrives);

        let lossy = LayerStats { fraction_lost: 6, ..stats };
        assert_eq!(LayerFacts { stats: lossy, ..good }.why(at(9_000)), Reason::Loss);

        let uncached = LayerInfo { join_cache: false, ..info.clone() };
        let on_request = LayerFacts { info: &uncached, ..good };
        assert_eq!(on_request.why(at(60_000)), Reason::Arrives, "nobody asked");
        let asked = |millis| LayerStats { last_keyframe_request: Some(at(millis)), ..stats };
        let ignored = LayerFacts { stats: asked(11_500), ..on_request };
        assert_eq!(ignored.why(at(12_499)), Reason::Arrives, "the keyframe may be on its way");
        assert_eq!(ignored.why(at(12_500)), Reason::KeyframesRare);
        assert_eq!(LayerFacts { stats: asked(7_999), ..on_request }.why(at(60_000)), Reason::Arrives);
    }

    #[test]
    fn the_worst_layer_speaks_for_the_session_and_a_rested_one_is_no_trouble() {
        let mixed = [Reason::Arrives, Reason::NeverSent, Reason::Loss];

        assert_eq!(worst(true, true, &mixed), Reason::Loss);
        assert_eq!(worst(true, true, &[Reason::Arrives, Reason::NotWanted]), Reason::Arrives);
        assert_eq!(worst(true, false, &[Reason::NeverSent]), Reason::NoMedia);
        assert_eq!(worst(false, false, &mixed), Reason::Connecting);
    }

    fn info() -> LayerInfo {
        LayerInfo {
            index: LayerIndex(0),
            rid: Some("f".to_owned()),
            codec: Codec::Vp8,
            parameters: String::new(),
            active: true,
            size: Some((1280, 720)),
            bitrate_bps: 500_000,
            frames_per_second: 30.0,
            join_cache: true,
            timing: None,
        }
    }

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_millis(millis)
    }
}
