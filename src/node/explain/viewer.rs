//! Why a viewer gets what it gets.

use rtp::{MediaKind, MonoTime};
use serde::Serialize;
use sfu::bwe::Estimate;
use sfu::track::{LayerIndex, LayerInfo};
use sfu::viewer::{LayerRequest, Viewer};

use super::reason::limiter_text;
use super::{Explanation, Head, Part, Reason, millis, ratio};
use crate::api::LayerBrief;
use crate::shard::wanted::LayerSet;

/// What an explanation of a viewer has beside what all have.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ViewerExplanation {
    /// The picture that it gets, and the one that it wants.
    pub video: VideoChoice,
    /// What its path carries; absent while nothing estimates it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimated>,
    /// The share of packets lost on the way to it, 0 to 1; absent until it has reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_ratio: Option<f64>,
    /// How long ago it asked for a keyframe (PLI or FIR); absent if never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pli_ms: Option<f64>,
    /// How long ago a keyframe went out to it; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_keyframe_ms: Option<f64>,
}

/// The layers between which a viewer stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VideoChoice {
    /// What it asked for, in the words of the layer call.
    pub request: Pick,
    /// The layer that this means, of those that the publisher has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<LayerBrief>,
    /// The layer that it was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<LayerBrief>,
    /// The layer that is being forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<LayerBrief>,
}

/// A viewer's wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Pick {
    /// The best.
    Auto,
    /// No picture.
    #[serde(rename = "audio-only")]
    AudioOnly,
    /// Neither picture nor sound.
    Paused,
    /// This layer.
    Rid(String),
    /// The highest that is not above this height in pixels.
    MaxHeight(u16),
}

/// What a viewer's path carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Estimated {
    /// bit/s of everything that is sent.
    pub bitrate: u64,
    /// What keeps it from being more, of a closed set.
    pub limiter: &'static str,
    /// The same as a sentence.
    pub text: &'static str,
}

/// What decides about the reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) connected: bool,
    /// Its TCP socket is full.
    pub(crate) blocked: bool,
    pub(crate) catching_up: bool,
    pub(crate) has_publisher: bool,
    pub(crate) request: &'a LayerRequest,
    pub(crate) layers: &'a [LayerInfo],
    /// Those that rested while nobody wanted them, and that this viewer wants now.
    pub(crate) waking: LayerSet,
    pub(crate) target: Option<LayerIndex>,
    pub(crate) current: Option<LayerIndex>,
    /// What the allocator says, where one is at work.
    pub(crate) allocation: Option<sfu::allocator::Reason>,
}

impl Facts<'_> {
    /// Says why the viewer has what it has: first what keeps everything away, then what keeps this layer away.
    pub(crate) fn why(&self) -> Reason {
        if !self.connected {
            return Reason::Connecting;
        }
        if !self.has_publisher {
            return Reason::NoPublisher;
        }
        match self.request {
            LayerRequest::Paused => return Reason::Paused,
            LayerRequest::AudioOnly => return Reason::Wish,
            LayerRequest::Auto | LayerRequest::Rid(_) | LayerRequest::MaxHeight(_) => {}
        }
        let allocated = self.allocation.map(Reason::from);
        if allocated == Some(Reason::AudioOnly) {
            return Reason::AudioOnly;
        }
        if !self.layers.iter().any(|layer| layer.active) || self.target.is_none() {
            return if self.wakes_for_this() { Reason::Waking } else { Reason::NoLayer };
        }
        if self.blocked {
            return Reason::Blocked;
        }
        if self.catching_up {
            return Reason::CatchingUp;
        }
        if self.asks_for_what_is_not_sent() {
            return if self.wakes_for_this() { Reason::Waking } else { Reason::NotSent };
        }
        if self.current != self.target {
            return Reason::AwaitingKeyframe;
        }
        if self.wakes_for_this() {
            return Reason::Waking;
        }
        allocated.unwrap_or_else(|| self.by_wish())
    }

    /// Returns the layer that the wish means. One that is asked for by name is meant also while it is not sent.
    pub(crate) fn desired(&self) -> Option<&LayerInfo> {
        let active = || self.layers.iter().filter(|layer| layer.active || self.waking.has(layer.index));
        let best = || active().max_by_key(|layer| rank(layer));
        match self.request {
            LayerRequest::AudioOnly | LayerRequest::Paused => None,
            LayerRequest::Auto => best(),
            LayerRequest::Rid(rid) => self.named(rid).or_else(best),
            LayerRequest::MaxHeight(most) => active()
                .filter(|layer| layer.size.is_some_and(|(_, height)| height <= *most))
                .max_by_key(|layer| rank(layer))
                .or_else(|| active().min_by_key(|layer| rank(layer))),
        }
    }

    /// Says whether what the wish means is just being woken.
    fn wakes_for_this(&self) -> bool {
        self.desired().is_some_and(|layer| !layer.active && self.waking.has(layer.index))
    }

    fn by_wish(&self) -> Reason {
        let best = self.layers.iter().filter(|layer| layer.active).max_by_key(|layer| rank(layer));
        let is_best = best.map(|layer| layer.index) == self.current;
        if *self.request == LayerRequest::Auto || is_best { Reason::Best } else { Reason::Wish }
    }

    fn asks_for_what_is_not_sent(&self) -> bool {
        match self.request {
            LayerRequest::Rid(rid) => self.named(rid).is_none_or(|layer| !layer.active),
            _ => false,
        }
    }

    fn named(&self, rid: &str) -> Option<&LayerInfo> {
        self.layers.iter().find(|layer| layer.rid.as_deref() == Some(rid))
    }
}

/// What a viewer's shard knows of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    /// Its TCP socket is full.
    pub(crate) blocked: bool,
    /// See [`Facts::waking`].
    pub(crate) waking: LayerSet,
}

/// Explains a viewer.
pub(crate) fn explain(
    now: MonoTime,
    head: Head<'_>,
    viewer: &Viewer,
    Surroundings { blocked, waking }: Surroundings,
) -> Explanation {
    let layers = viewer.track_info(MediaKind::Video).map_or(&[][..], |info| &info.layers);
    let auto = LayerRequest::Auto;
    let congestion = viewer.congestion();
    let facts = Facts {
        connected: head.connected,
        blocked,
        catching_up: viewer.is_catching_up(),
        has_publisher: [MediaKind::Audio, MediaKind::Video]
            .iter()
            .any(|kind| viewer.track_info(*kind).is_some()),
        request: viewer.desired_layer().unwrap_or(&auto),
        layers,
        waking,
        target: viewer.target_layer(MediaKind::Video),
        current: viewer.current_layer(MediaKind::Video),
        allocation: congestion.as_ref().map(|known| known.allocation.reason),
    };
    let brief = |index: Option<LayerIndex>| {
        layers.iter().find(|layer| Some(layer.index) == index).map(LayerBrief::of)
    };
    let stats = viewer.stats();
    let loss = congestion.as_ref().map(|known| (known.loss * 1_000.0).round() / 1_000.0);
    let rtt = stats.rtt.or_else(|| congestion.as_ref().and_then(|known| known.rtt));
    let part = ViewerExplanation {
        video: VideoChoice {
            request: pick(facts.request),
            desired: facts.desired().map(LayerBrief::of),
            target: brief(facts.target),
            current: brief(facts.current),
        },
        estimate: congestion.as_ref().map(|known| estimated(known.estimate)),
        loss_ratio: loss.or_else(|| stats.rtt.map(|_| ratio(stats.video.fraction_lost))),
        last_pli_ms: stats.video.last_keyframe_wanted.map(|at| millis(now.since(at))),
        last_keyframe_ms: stats.video.last_keyframe.map(|at| millis(now.since(at))),
    };
    head.with(facts.why(), rtt, Part::Viewer(part))
}

/// Explains a viewer whose first ICE check has not come.
pub(crate) fn explain_unreached(head: Head<'_>, request: &LayerRequest) -> Explanation {
    let part = ViewerExplanation {
        video: VideoChoice { request: pick(request), desired: None, target: None, current: None },
        estimate: None,
        loss_ratio: None,
        last_pli_ms: None,
        last_keyframe_ms: None,
    };
    head.with(Reason::Connecting, None, Part::Viewer(part))
}

fn pick(request: &LayerRequest) -> Pick {
    match request {
        LayerRequest::Auto => Pick::Auto,
        LayerRequest::AudioOnly => Pick::AudioOnly,
        LayerRequest::Paused => Pick::Paused,
        LayerRequest::Rid(rid) => Pick::Rid(rid.clone()),
        LayerRequest::MaxHeight(height) => Pick::MaxHeight(*height),
    }
}

fn estimated(estimate: Estimate) -> Estimated {
    let Estimate { bitrate, limiter } = estimate;
    Estimated { bitrate: bitrate.as_bps(), limiter: limiter.as_str(), text: limiter_text(limiter) }
}

/// A layer ranks by its measured picture, then by its measured bitrate, as where viewers are given theirs.
fn rank(layer: &LayerInfo) -> (u32, u64) {
    let area = layer.size.map_or(0, |(width, height)| u32::from(width).saturating_mul(u32::from(height)));
    (area, layer.bitrate_bps)
}

#[cfg(test)]
mod tests;
