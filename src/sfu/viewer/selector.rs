//! Chooses the layer that a viewer should get: request in, layer out.
//!
//! A pure function of what the viewer asked for and what the publisher sends now. The names of layers mean
//! nothing and their order means nothing: a layer ranks by its measured picture, then by its measured bitrate.

use crate::track::{LayerIndex, LayerInfo};

/// What a viewer asks for: its *desired layer*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LayerRequest {
    /// The highest layer that the publisher is sending.
    #[default]
    Auto,
    /// The layer with this name; while the publisher does not send it, as `Auto`.
    Rid(String),
    /// The highest layer whose measured height, in pixels, is at most this; without one, the lowest layer.
    MaxHeight(u16),
    /// No picture.
    AudioOnly,
    /// Neither picture nor sound.
    Paused,
}

/// Chooses among the layers of a track; `None` when the viewer can decode none of them, or wants none.
///
/// `decodable` says which layers the viewer negotiated a codec for. `holding` is the layer chosen before: it
/// stays on a tie, and on a bitrate that differs by noise.
pub(crate) fn choose(
    request: &LayerRequest,
    layers: &[LayerInfo],
    decodable: impl Fn(LayerIndex) -> bool,
    holding: Option<LayerIndex>,
) -> Option<LayerIndex> {
    if matches!(request, LayerRequest::AudioOnly | LayerRequest::Paused) {
        return None;
    }
    let decodable = || layers.iter().filter(|layer| decodable(layer.index));
    if !decodable().any(|layer| layer.active) {
        let held = decodable().find(|layer| Some(layer.index) == holding);
        return held.or_else(|| highest(decodable(), holding)).map(|layer| layer.index);
    }
    let active = || decodable().filter(|layer| layer.active);
    let named = |name: &str| active().find(|layer| layer.rid.as_deref() == Some(name));
    let fitting =
        |height_max| active().filter(move |layer| layer.size.is_some_and(|(_, height)| height <= height_max));
    let chosen = match request {
        LayerRequest::AudioOnly | LayerRequest::Paused => None,
        LayerRequest::Auto => highest(active(), holding),
        LayerRequest::Rid(name) => named(name).or_else(|| highest(active(), holding)),
        LayerRequest::MaxHeight(max) => highest(fitting(*max), holding).or_else(|| lowest(active(), holding)),
    };
    chosen.map(|layer| layer.index)
}

fn highest<'a>(
    layers: impl Iterator<Item = &'a LayerInfo>,
    holding: Option<LayerIndex>,
) -> Option<&'a LayerInfo> {
    layers.reduce(|best, layer| if ranks_above(layer, best, holding) { layer } else { best })
}

/// Returns the layer with the smallest picture.
pub(crate) fn lowest<'a>(
    layers: impl Iterator<Item = &'a LayerInfo>,
    holding: Option<LayerIndex>,
) -> Option<&'a LayerInfo> {
    layers.reduce(|best, layer| if ranks_above(best, layer, holding) { layer } else { best })
}

/// Says whether `a` is the better picture. Pictures of one size, or of unknown size, compare by bitrate, where
/// the held layer counts for more than it measures, whichever way is asked.
fn ranks_above(a: &LayerInfo, b: &LayerInfo, holding: Option<LayerIndex>) -> bool {
    if let (Some(size_a), Some(size_b)) = (a.size, b.size)
        && area(size_a) != area(size_b)
    {
        return area(size_a) > area(size_b);
    }
    let weighed = |layer: &LayerInfo, other: &LayerInfo| {
        let within_noise = layer.bitrate_bps.saturating_mul(NOISE_PERCENT) / 100 >= other.bitrate_bps;
        if Some(layer.index) == holding && within_noise {
            other.bitrate_bps.max(layer.bitrate_bps)
        } else {
            layer.bitrate_bps
        }
    };
    weighed(a, b) > weighed(b, a)
}

fn area((width, height): (u16, u16)) -> u32 {
    u32::from(width).saturating_mul(u32::from(height))
}

/// A layer must measure more than this much of the held layer's bitrate to take its place: encoders swing by a
/// fifth around their target.
const NOISE_PERCENT: u64 = 125;

#[cfg(test)]
mod tests {
    use super::*;
    use rtp::Codec;

    #[test]
    fn auto_takes_the_largest_active_picture_whatever_its_name_and_place() {
        let mut layers = [layer(0, "z", (1280, 720)), layer(1, "a", (320, 180)), layer(2, "m", (640, 360))];

        assert_eq!(chosen(&LayerRequest::Auto, &layers, None), Some(0));

        layers[0].active = false;
        assert_eq!(chosen(&LayerRequest::Auto, &layers, Some(0)), Some(2));
    }

    #[test]
    fn a_layer_that_comes_back_is_taken() {
        let layers = [layer(0, "q", (320, 180)), layer(1, "f", (1280, 720))];

        assert_eq!(chosen(&LayerRequest::Auto, &layers, Some(0)), Some(1));
    }

    #[test]
    fn pictures_of_unknown_size_rank_by_bitrate_and_noise_does_not_move_the_choice() {
        let mut layers = [layer(0, "a", (1, 1)), layer(1, "b", (1, 1))];
        layers.iter_mut().for_each(|layer| layer.size = None);
        (layers[0].bitrate_bps, layers[1].bitrate_bps) = (1_000_000, 1_200_000);

        assert_eq!(chosen(&LayerRequest::Auto, &layers, None), Some(1));
        assert_eq!(chosen(&LayerRequest::Auto, &layers, Some(0)), Some(0));

        layers[1].bitrate_bps = 1_300_000;
        assert_eq!(chosen(&LayerRequest::Auto, &layers, Some(0)), Some(1));
    }

    #[test]
    fn a_height_limit_takes_the_highest_layer_below_it_or_else_the_lowest() {
        let layers = [layer(0, "h", (1280, 720)), layer(1, "l", (320, 180)), layer(2, "m", (640, 360))];

        assert_eq!(chosen(&LayerRequest::MaxHeight(720), &layers, None), Some(0));
        assert_eq!(chosen(&LayerRequest::MaxHeight(719), &layers, None), Some(2));
        assert_eq!(chosen(&LayerRequest::MaxHeight(90), &layers, None), Some(1));
    }

    #[test]
    fn a_named_layer_is_taken_while_it_is_sent() {
        let mut layers = [layer(0, "high", (1280, 720)), layer(1, "lo", (320, 180))];
        let request = LayerRequest::Rid("lo".to_owned());

        assert_eq!(chosen(&request, &layers, Some(0)), Some(1));

        layers[1].active = false;
        assert_eq!(chosen(&request, &layers, Some(1)), Some(0));
        assert_eq!(chosen(&LayerRequest::Rid("none".to_owned()), &layers, None), Some(0));
    }

    #[test]
    fn without_active_layers_the_held_one_stays() {
        let mut layers = [layer(0, "a", (1280, 720)), layer(1, "b", (320, 180))];
        layers.iter_mut().for_each(|layer| layer.active = false);

        assert_eq!(chosen(&LayerRequest::Auto, &layers, Some(1)), Some(1));
        assert_eq!(chosen(&LayerRequest::Auto, &layers, None), Some(0));
    }

    #[test]
    fn a_layer_that_the_viewer_cannot_decode_is_never_chosen() {
        let layers = [layer(0, "a", (1280, 720)), layer(1, "b", (320, 180))];

        assert_eq!(choose(&LayerRequest::Auto, &layers, |layer| layer.0 == 1, None), Some(LayerIndex(1)));
        assert_eq!(choose(&LayerRequest::Auto, &layers, |_| false, None), None);
    }

    fn chosen(request: &LayerRequest, layers: &[LayerInfo], holding: Option<u8>) -> Option<u8> {
        choose(request, layers, |_| true, holding.map(LayerIndex)).map(|layer| layer.0)
    }

    fn layer(index: u8, rid: &str, size: (u16, u16)) -> LayerInfo {
        LayerInfo {
            index: LayerIndex(index),
            rid: Some(rid.to_owned()),
            codec: Codec::Vp8,
            parameters: String::new(),
            active: true,
            size: Some(size),
            bitrate_bps: 500_000,
            frames_per_second: 30.0,
            join_cache: true,
            timing: None,
        }
    }
}
