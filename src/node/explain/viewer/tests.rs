use rtp::Codec;
use sfu::allocator::Reason as Allocated;

use super::*;

#[test]
fn a_viewer_on_the_best_layer_has_no_more_to_want() {
    let layers = three();

    assert_eq!(facts(&LayerRequest::Auto, &layers).why(), Reason::Best);
    assert_eq!(facts(&LayerRequest::Rid("f".to_owned()), &layers).why(), Reason::Best);
}

#[test]
fn a_viewer_that_asked_for_less_is_told_that_it_did() {
    let layers = three();
    let request = LayerRequest::MaxHeight(360);
    let facts =
        Facts { target: Some(LayerIndex(1)), current: Some(LayerIndex(1)), ..facts(&request, &layers) };

    assert_eq!(facts.why(), Reason::Wish);
    assert_eq!(facts.desired().map(|layer| layer.index), Some(LayerIndex(1)));
}

#[test]
fn a_viewer_that_asked_for_no_picture_has_none_by_its_own_wish() {
    let layers = three();
    let of = |request: &LayerRequest| {
        let facts = Facts { target: None, current: None, ..facts(request, &layers) };
        (facts.why(), facts.desired().cloned())
    };

    assert_eq!(of(&LayerRequest::AudioOnly), (Reason::Wish, None));
    assert_eq!(of(&LayerRequest::Paused), (Reason::Paused, None));
}

#[test]
fn a_switch_that_waits_says_for_what() {
    let layers = three();
    let auto = LayerRequest::Auto;
    let waiting = Facts { current: Some(LayerIndex(0)), ..facts(&auto, &layers) };

    assert_eq!(waiting.why(), Reason::AwaitingKeyframe);
    assert_eq!(Facts { current: None, ..waiting }.why(), Reason::AwaitingKeyframe);
    assert_eq!(Facts { catching_up: true, ..waiting }.why(), Reason::CatchingUp);
}

#[test]
fn a_layer_that_is_asked_for_and_not_sent_is_named_as_the_desired_one() {
    let mut layers = three();
    layers[2].active = false;
    let request = LayerRequest::Rid("f".to_owned());
    let facts =
        Facts { target: Some(LayerIndex(1)), current: Some(LayerIndex(1)), ..facts(&request, &layers) };

    assert_eq!(facts.why(), Reason::NotSent);
    assert_eq!(facts.desired().map(|layer| layer.index), Some(LayerIndex(2)));
}

#[test]
fn a_layer_that_rested_is_waking_for_the_viewer_who_wants_it() {
    let mut layers = three();
    layers[2].active = false;
    let lower = |request| Facts {
        target: Some(LayerIndex(1)),
        current: Some(LayerIndex(1)),
        waking: LayerSet::of(|layer| layer == LayerIndex(2)),
        ..facts(request, &layers)
    };
    let (auto, named) = (LayerRequest::Auto, LayerRequest::Rid("f".to_owned()));
    let (small, other) = (LayerRequest::MaxHeight(360), LayerRequest::Rid("h".to_owned()));

    for wanting in [lower(&auto), lower(&named)] {
        assert_eq!(wanting.why(), Reason::Waking);
        assert_eq!(Facts { allocation: Some(Allocated::Best), ..wanting }.why(), Reason::Waking);
        assert_eq!(wanting.desired().map(|layer| layer.index), Some(LayerIndex(2)));
        assert_eq!(Facts { current: None, ..lower(&auto) }.why(), Reason::AwaitingKeyframe, "first that");
    }
    let asleep: Vec<LayerInfo> =
        three().into_iter().map(|layer| LayerInfo { active: false, ..layer }).collect();
    let none = Facts { layers: &asleep, target: None, current: None, ..lower(&auto) };
    assert_eq!(none.why(), Reason::Waking, "also where it is the first picture");
    assert_eq!(lower(&small).why(), Reason::Best, "it asked for no more than it has");
    assert_eq!(lower(&other).why(), Reason::Best);
    assert_eq!(Facts { waking: LayerSet::default(), ..lower(&auto) }.why(), Reason::Best);
    assert_eq!(Facts { waking: LayerSet::default(), ..lower(&named) }.why(), Reason::NotSent);
}

#[test]
fn what_keeps_everything_away_is_said_before_what_keeps_a_layer_away() {
    let layers = three();
    let silent: Vec<LayerInfo> =
        three().into_iter().map(|layer| LayerInfo { active: false, ..layer }).collect();
    let auto = LayerRequest::Auto;
    let waiting = Facts { current: None, ..facts(&auto, &layers) };

    assert_eq!(Facts { connected: false, ..waiting }.why(), Reason::Connecting);
    assert_eq!(
        Facts { has_publisher: false, layers: &[], target: None, ..waiting }.why(),
        Reason::NoPublisher
    );
    assert_eq!(Facts { layers: &silent, ..waiting }.why(), Reason::NoLayer);
    assert_eq!(Facts { target: None, ..waiting }.why(), Reason::NoLayer);
    assert_eq!(Facts { blocked: true, ..waiting }.why(), Reason::Blocked);
    assert_eq!(
        Facts { allocation: Some(Allocated::AudioOnly), target: None, ..waiting }.why(),
        Reason::AudioOnly
    );
}

#[test]
fn the_allocators_reason_counts_for_a_viewer_that_has_what_it_was_granted() {
    let layers = three();
    let auto = LayerRequest::Auto;
    let granted =
        Facts { target: Some(LayerIndex(0)), current: Some(LayerIndex(0)), ..facts(&auto, &layers) };

    for (said, told) in [
        (Allocated::Path, Reason::Path),
        (Allocated::Confirming, Reason::Confirming),
        (Allocated::BackingOff, Reason::BackingOff),
        (Allocated::ReducedFrameRate, Reason::ReducedFrameRate),
        (Allocated::WishAbovePath, Reason::WishAbovePath),
    ] {
        assert_eq!(Facts { allocation: Some(said), ..granted }.why(), told);
    }
    assert_eq!(granted.desired().map(|layer| layer.index), Some(LayerIndex(2)), "the best is still desired");
}

#[test]
fn without_a_layer_below_the_height_the_lowest_is_meant() {
    let layers = three();

    let request = LayerRequest::MaxHeight(90);

    assert_eq!(facts(&request, &layers).desired().map(|layer| layer.index), Some(LayerIndex(0)));
}

#[test]
fn a_wish_is_written_in_the_words_of_the_layer_call() {
    let json = |request| serde_json::to_value(pick(&request)).unwrap();

    assert_eq!(json(LayerRequest::Auto), serde_json::json!("auto"));
    assert_eq!(json(LayerRequest::Rid("h".to_owned())), serde_json::json!({"rid": "h"}));
    assert_eq!(json(LayerRequest::MaxHeight(480)), serde_json::json!({"maxHeight": 480}));
    assert_eq!(json(LayerRequest::AudioOnly), serde_json::json!("audio-only"));
    assert_eq!(json(LayerRequest::Paused), serde_json::json!("paused"));
}

#[test]
fn an_estimate_says_what_limits_it_in_the_estimators_own_word() {
    let estimate = Estimate { bitrate: sfu::Bitrate::from_kbps(1_200), limiter: sfu::bwe::Limiter::Delay };

    let json = serde_json::to_value(estimated(estimate)).unwrap();

    assert_eq!((&json["bitrate"], &json["limiter"]), (&1_200_000.into(), &"delay".into()));
    assert!(json["text"].as_str().is_some_and(|text| text.ends_with('.')));
}

/// A viewer that has the highest of the layers.
fn facts<'a>(request: &'a LayerRequest, layers: &'a [LayerInfo]) -> Facts<'a> {
    Facts {
        connected: true,
        blocked: false,
        catching_up: false,
        has_publisher: true,
        request,
        layers,
        waking: LayerSet::default(),
        target: Some(LayerIndex(2)),
        current: Some(LayerIndex(2)),
        allocation: None,
    }
}

fn three() -> Vec<LayerInfo> {
    vec![layer(0, "q", (320, 180)), layer(1, "h", (640, 360)), layer(2, "f", (1280, 720))]
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
