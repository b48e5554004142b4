//! What can be had of a publisher's video, as one viewer knows it: each layer, and what it takes.
//!
//! A layer that is not being sent is *asleep*, with what it took before. That holds for as long as the same source is
//! shown: a slide takes a tenth of what a camera does, and nobody would want a layer again of which the camera is
//! remembered. So what is known of those asleep is forgotten when those that are sent tell of another source.

use super::LayerRequest;
use crate::allocator::{Candidate, Wish};
use crate::ring::Temporal;
use crate::track::MAX_LAYERS;
use crate::{Bitrate, LayerIndex, LayerInfo};

/// What can be had, by layer.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(crate) wish: Wish,
    pub(crate) audio: Bitrate,
    candidates: [Option<Candidate>; MAX_LAYERS],
    /// The heights of those that were never sent while this viewer was there; 0 where nothing has shown it.
    unseen: [Option<u16>; MAX_LAYERS],
    /// The lowest layer that was sent when each of the others fell asleep.
    slept_beside: [Option<Candidate>; MAX_LAYERS],
    /// The rates as they were told last, and how often they were news.
    told: [(u64, u8); MAX_LAYERS],
}

impl Layers {
    /// Takes the layers as they are now; one that cannot be had is none.
    pub(crate) fn update(&mut self, infos: &[LayerInfo], decodes: impl Fn(LayerIndex) -> bool) {
        let before = std::mem::take(&mut self.candidates);
        let unseen_before = std::mem::take(&mut self.unseen);
        for info in infos.iter().filter(|info| decodes(info.index)) {
            let at = usize::from(info.index.0);
            let (Some(place), Some(unseen), Some((told, count))) =
                (self.candidates.get_mut(at), self.unseen.get_mut(at), self.told.get_mut(at))
            else {
                continue;
            };
            let known = before.get(at).copied().flatten();
            let height = info.size.map(|(_, height)| height);
            if !info.active {
                *place = known.map(|known| Candidate { asleep: true, ..known });
                let shown = unseen_before.get(at).copied().flatten().or(height);
                *unseen = known.is_none().then(|| shown.unwrap_or_default());
                continue;
            }
            let is_news = std::mem::replace(told, info.bitrate_bps) != info.bitrate_bps;
            let bitrate = match known {
                // What was known before it slept says more of a layer than its size.
                Some(known) if !is_news || info.bitrate_bps == 0 => known.bitrate,
                Some(known) => {
                    *count = count.saturating_add(1);
                    smoothed(known.bitrate, on_the_wire(info), *count)
                }
                None => {
                    *count = 1;
                    on_the_wire(info)
                }
            };
            let temporal = known.map_or(Temporal::ONE, |known| known.temporal);
            *place = Some(Candidate { layer: info.index, height, bitrate, temporal, asleep: false });
        }
        self.mind_source();
    }

    /// Forgets those that sleep if another source is being sent.
    fn mind_source(&mut self) {
        let awake = self.candidates().filter(|candidate| !candidate.asleep);
        let Some(sent) = awake.min_by_key(|candidate| candidate.bitrate) else { return };
        let places = self.candidates.iter_mut().zip(&mut self.unseen).zip(&mut self.slept_beside);
        for ((place, unseen), slept_beside) in places {
            if place.is_none_or(|known| !known.asleep) {
                *slept_beside = None;
                continue;
            }
            let before = slept_beside.filter(|before| before.layer == sent.layer).unwrap_or(sent);
            *slept_beside = Some(before);
            let is_resized = before.height.zip(sent.height).is_some_and(|(before, now)| before != now);
            if is_resized || sent.bitrate < before.bitrate.scaled(OTHER_SOURCE) {
                (*place, *unseen, *slept_beside) = (None, Some(0), None);
            }
        }
    }

    /// Forgets all: they were another publisher's.
    pub(crate) fn forget(&mut self) {
        self.candidates = [None; MAX_LAYERS];
        self.unseen = [None; MAX_LAYERS];
        self.slept_beside = [None; MAX_LAYERS];
    }

    /// Returns those that are known.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = Candidate> + use<> {
        self.candidates.into_iter().flatten()
    }

    /// Returns what is wished, of these layers.
    pub(crate) fn wish_of(&self, request: &LayerRequest, infos: &[LayerInfo]) -> Wish {
        match request {
            LayerRequest::Auto => Wish::Auto,
            LayerRequest::MaxHeight(max) => Wish::MaxHeight(*max),
            LayerRequest::Rid(name) => infos
                .iter()
                .find(|info| {
                    info.rid.as_deref() == Some(name) && info.active && self.rate(info.index).is_some()
                })
                .map_or(Wish::Auto, |info| Wish::Fixed(info.index)),
            LayerRequest::AudioOnly => Wish::AudioOnly,
            LayerRequest::Paused => Wish::Paused,
        }
    }

    /// Says whether a layer is one that the viewer would take and has never seen. Nobody knows what it takes, so the
    /// publisher has to go on with it: a browser whose own path was bad at first begins it late, and one that was told to
    /// rest it never would.
    pub(crate) fn would_be_new(&self, layer: LayerIndex) -> bool {
        let unseen = self.unseen.get(usize::from(layer.0)).copied().flatten();
        unseen.is_some_and(|height| match self.wish {
            Wish::Auto => true,
            Wish::MaxHeight(max) => height <= max,
            Wish::Fixed(_) | Wish::AudioOnly | Wish::Paused => false,
        })
    }

    /// Takes a layer's temporal layers; true when they were others.
    pub(crate) fn set_temporal(&mut self, layer: LayerIndex, temporal: Temporal) -> bool {
        let known = self.candidates.get_mut(usize::from(layer.0)).and_then(Option::as_mut);
        known.is_some_and(|known| std::mem::replace(&mut known.temporal, temporal) != temporal)
    }

    /// Returns what a layer takes.
    pub(crate) fn rate(&self, layer: LayerIndex) -> Option<Bitrate> {
        self.candidates.get(usize::from(layer.0)).copied().flatten().map(|candidate| candidate.bitrate)
    }
}

/// Returns what a layer takes on the wire; before that was measured, what its picture usually takes.
fn on_the_wire(info: &LayerInfo) -> Bitrate {
    if info.bitrate_bps > 0 {
        return Bitrate::from_bps(info.bitrate_bps).scaled(HEADERS);
    }
    info.size.map_or(UNKNOWN_RATE, |(width, height)| {
        let pixels = u64::from(width).saturating_mul(u64::from(height));
        Bitrate::from_bps(pixels.saturating_mul(BITS_PER_PIXEL_AND_SECOND))
    })
}

/// A second with a keyframe measures more than the ones around it. The first ones count alike: the very first has a
/// keyframe, and its tenth too much would keep a layer out of reach for long that the path just carries.
fn smoothed(known: Bitrate, measured: Bitrate, count: u8) -> Bitrate {
    let weight = (1.0 / f64::from(count.max(1))).max(NEWS_WEIGHT);
    known.scaled(1.0 - weight).plus(measured.scaled(weight))
}

/// Header, extensions and tag of a video packet of about 1,100 bytes.
const HEADERS: f64 = 1.05;
/// 2.5 Mbit/s for 1280 × 720, as browsers do.
const BITS_PER_PIXEL_AND_SECOND: u64 = 3;
/// A layer of which nothing is known yet.
const UNKNOWN_RATE: Bitrate = Bitrate::from_kbps(300);
/// How much one second's measurement counts beside the ones before.
const NEWS_WEIGHT: f64 = 0.15;
/// A source of which the lowest layer takes less than this part of what it took is another one.
const OTHER_SOURCE: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer of 16 by 9 as the publisher tells of it.
    fn told(index: u8, height: u16, kbps: u64, active: bool) -> LayerInfo {
        LayerInfo {
            index: LayerIndex(index),
            rid: None,
            codec: rtp::Codec::Vp8,
            parameters: String::new(),
            active,
            size: Some((height * 16 / 9, height)),
            bitrate_bps: kbps * 1_000,
            frames_per_second: 30.0,
            join_cache: true,
            timing: None,
        }
    }

    #[test]
    fn a_layer_that_wakes_takes_what_it_took_before_it_slept_and_not_what_its_first_second_says() {
        let mut layers = Layers::default();
        for kbps in [1_000, 1_010, 990, 1_005, 995, 1_000, 1_010, 1_000] {
            layers.update(&[told(0, 720, kbps, true)], |_| true);
        }

        for (kbps, active) in [(0, false), (0, true), (200, true)] {
            layers.update(&[told(0, 720, kbps, active)], |_| true);
        }

        let rate = layers.rate(LayerIndex(0)).map(|rate| rate.as_bps() / 1_000);
        assert!(rate.is_some_and(|kbps| (900..1_050).contains(&kbps)), "{rate:?}");
    }

    #[test]
    fn the_first_seconds_of_a_layer_count_alike_and_later_ones_little() {
        let mut rate = Bitrate::ZERO;
        // One keyframe in four seconds, and the first one alone.
        let seconds = (0..12).map(|second| if second % 4 == 0 { 2_300 } else { 1_900 });

        let mut known = Vec::new();
        for (count, kbps) in (1..).zip(seconds) {
            rate = smoothed(rate, Bitrate::from_kbps(kbps), count);
            known.push(rate.as_bps() / 1_000);
        }

        assert_eq!(known.first(), Some(&2_300));
        assert!(known.iter().skip(3).all(|kbps| (1_960..=2_060).contains(kbps)), "{known:?}");
    }

    /// Layers of which the higher one fell asleep long ago, beside a lowest one of 180 lines and 150 kbit/s.
    fn asleep() -> Layers {
        let mut layers = Layers::default();
        for second in 0..20 {
            layers.update(&[told(0, 180, 150, true), told(1, 720, 1_500, second < 10)], |_| true);
        }
        layers
    }

    #[test]
    fn what_slept_is_known_for_as_long_as_the_same_source_is_shown() {
        let mut layers = asleep();

        for kbps in [150, 110, 160, 95, 140] {
            layers.update(&[told(0, 180, kbps, true), told(1, 720, 0, false)], |_| true);
        }

        assert!(layers.rate(LayerIndex(1)).is_some() && !layers.would_be_new(LayerIndex(1)));
    }

    #[test]
    fn what_slept_while_the_source_became_another_one_would_be_new() {
        for (height, kbps) in [(180, 30), (135, 150)] {
            let mut layers = asleep();
            layers.wish = Wish::MaxHeight(540);

            // A few seconds, because the rate is smoothed.
            for more in 0..12 {
                layers.update(&[told(0, height, kbps + more % 2, true), told(1, 720, 0, false)], |_| true);
            }

            assert!(layers.rate(LayerIndex(1)).is_none(), "{height} lines, {kbps} kbit/s");
            assert!(layers.would_be_new(LayerIndex(1)), "of the other source nobody knows the height");
        }
    }
}
