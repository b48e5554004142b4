//! Tests of the allocator through its public API.

use super::*;

#[test]
fn a_viewer_begins_on_the_lowest_layer_and_climbs_when_more_was_proved_for_a_second() {
    let mut viewer = Viewer::new(&SIMULCAST);
    assert_eq!(viewer.layer(), Some(0));
    viewer.estimate_at(0, 5_000, Limiter::Start);
    assert_eq!(viewer.layer(), Some(0));

    viewer.estimate_at(100, 1_200, Limiter::Probe);
    assert_eq!((viewer.layer(), viewer.reason()), (Some(0), Reason::Confirming));
    viewer.pass_to(1_099);
    assert_eq!(viewer.layer(), Some(0));
    viewer.pass_to(1_100);

    assert_eq!((viewer.layer(), viewer.reason()), (Some(1), Reason::Path));
}

#[test]
fn several_layers_are_climbed_at_once() {
    let mut viewer = Viewer::new(&SIMULCAST);

    viewer.estimate_at(0, 3_000, Limiter::Probe);
    viewer.pass_to(1_000);

    assert_eq!((viewer.layer(), viewer.reason()), (Some(2), Reason::Best));
}

#[test]
fn an_estimate_that_falls_back_within_the_second_changes_nothing() {
    let mut viewer = Viewer::new(&SIMULCAST);
    viewer.estimate_at(0, 1_200, Limiter::Probe);
    viewer.estimate_at(900, 1_000, Limiter::Probe);
    viewer.estimate_at(950, 1_200, Limiter::Probe);

    viewer.pass_to(1_900);
    assert_eq!(viewer.layer(), Some(0));
    viewer.pass_to(1_950);
    assert_eq!(viewer.layer(), Some(1));
}

#[test]
fn a_layer_that_is_near_to_what_the_path_carries_is_taken_after_a_longer_while() {
    let mut viewer = Viewer::new(&SIMULCAST);
    let need = 900 + AUDIO_KBPS;

    viewer.estimate_at(0, need * 110 / 100, Limiter::Probe);
    viewer.pass_to(3_900);
    assert_eq!((viewer.layer(), viewer.reason()), (Some(0), Reason::Confirming));
    viewer.estimate_at(3_950, need * 105 / 100, Limiter::Delay);
    viewer.estimate_at(4_000, need * 110 / 100, Limiter::Probe);
    viewer.pass_to(7_900);
    assert_eq!(viewer.layer(), Some(0), "it was not there all the time");

    viewer.pass_to(8_000);
    assert_eq!(viewer.layer(), Some(1));
}

#[test]
fn a_layer_that_takes_88_percent_of_the_path_is_taken_on_what_is_trusted_of_a_probe_that_filled_it() {
    let mut viewer = Viewer::new(&SIMULCAST);
    let path = (900 + AUDIO_KBPS) * 100 / 88;
    // 95 % of what passed (`bwe::probe`), measured to a percent or two.
    let trusted = path * 94 / 100;

    viewer.estimate_at(0, trusted, Limiter::Probe);
    viewer.pass_to(4_000);

    assert_eq!(viewer.layer(), Some(1));
}

#[test]
fn a_picture_that_was_given_up_does_not_come_back_because_the_publisher_is_described_again() {
    let mut viewer = Viewer::new(&SIMULCAST);
    viewer.estimate_at(0, 60, Limiter::Delay);
    viewer.pass_to(3_000);
    assert_eq!(viewer.layer(), None);

    for second in 4..20 {
        viewer.pass_to(second * 1_000);
        viewer.allocator.handle_layers(viewer.now, Wish::Auto, &SIMULCAST, AUDIO);
        assert_eq!(viewer.layer(), None);
    }
    viewer.estimate_at(21_000, 400, Limiter::Probe);
    assert_eq!(viewer.layer(), Some(0));
    viewer.allocator.handle_layers(viewer.now, Wish::AudioOnly, &SIMULCAST, AUDIO);
    viewer.allocator.handle_layers(viewer.now, Wish::Auto, &SIMULCAST, AUDIO);
    assert_eq!(viewer.layer(), Some(0));
}

#[test]
fn the_step_down_is_immediate_and_has_its_hysteresis() {
    let mut viewer = Viewer::on_top();
    let need = 2_500 + AUDIO_KBPS;

    viewer.estimate_at(20_000, need * 96 / 100, Limiter::Delay);
    assert_eq!(viewer.layer(), Some(2));
    viewer.estimate_at(20_001, need * 94 / 100, Limiter::Delay);

    assert_eq!((viewer.layer(), viewer.reason()), (Some(1), Reason::Path));
}

#[test]
fn a_step_down_goes_as_far_as_it_must() {
    let mut viewer = Viewer::on_top();

    viewer.estimate_at(20_000, 400, Limiter::Delay);

    assert_eq!(viewer.layer(), Some(0));
}

#[test]
fn a_failed_step_makes_the_next_one_wait_twice_as_long_each_time() {
    let mut viewer = Viewer::new(&SIMULCAST);
    let mut now = 0;
    let mut waits = Vec::new();

    for _ in 0..6 {
        viewer.estimate_at(now, 1_300, Limiter::Probe);
        let began = now;
        while viewer.layer() == Some(0) {
            now += 100;
            viewer.pass_to(now);
        }
        waits.push((now - began) / 1_000);
        now += 1_000;
        viewer.estimate_at(now, 700, Limiter::Delay);
        assert_eq!(viewer.layer(), Some(0));
    }

    assert_eq!(waits, [1, 4, 8, 16, 32, 60]);
}

#[test]
fn a_step_that_lasted_ends_the_backing_off() {
    let mut viewer = Viewer::new(&SIMULCAST);
    viewer.estimate_at(0, 1_300, Limiter::Probe);
    viewer.pass_to(1_000);
    viewer.estimate_at(2_000, 700, Limiter::Delay);
    viewer.estimate_at(2_100, 1_300, Limiter::Probe);
    viewer.pass_to(5_900);
    assert_eq!((viewer.layer(), viewer.reason()), (Some(0), Reason::BackingOff));
    viewer.pass_to(6_000);
    assert_eq!(viewer.layer(), Some(1));

    viewer.estimate_at(30_000, 700, Limiter::Delay);
    viewer.estimate_at(30_100, 1_300, Limiter::Probe);
    viewer.pass_to(31_100);

    assert_eq!(viewer.layer(), Some(1));
}

#[test]
fn a_failed_step_says_nothing_of_a_path_that_carries_twice_as_much() {
    let mut viewer = Viewer::new(&SIMULCAST);
    viewer.estimate_at(0, 1_300, Limiter::Probe);
    viewer.pass_to(1_000);
    viewer.estimate_at(2_000, 700, Limiter::Delay);
    assert_eq!(viewer.layer(), Some(0));

    viewer.estimate_at(2_100, 1_400, Limiter::Probe);
    viewer.pass_to(3_099);
    assert_eq!((viewer.layer(), viewer.reason()), (Some(0), Reason::Confirming));
    viewer.pass_to(3_100);

    assert_eq!(viewer.layer(), Some(1));
}

#[test]
fn what_does_not_fit_loses_frames_then_the_picture_and_says_so() {
    let mut viewer = Viewer::new(&SIMULCAST);

    viewer.estimate_at(0, 210, Limiter::Delay);
    assert_eq!((viewer.layer(), viewer.temporal(), viewer.reason()), (Some(0), 1, Reason::ReducedFrameRate));
    viewer.estimate_at(1, 160, Limiter::Delay);
    assert_eq!((viewer.layer(), viewer.temporal()), (Some(0), 0));
    viewer.estimate_at(2, 60, Limiter::Delay);
    viewer.pass_to(2_900);
    assert_eq!((viewer.layer(), viewer.reason()), (Some(0), Reason::ReducedFrameRate));
    viewer.pass_to(3_002);
    assert_eq!((viewer.layer(), viewer.reason()), (None, Reason::AudioOnly));
    assert!(viewer.allocator.allocation().audio);

    viewer.estimate_at(3_100, 400, Limiter::Probe);
    assert_eq!((viewer.layer(), viewer.temporal()), (Some(0), 0));
    viewer.pass_to(3_200);
    viewer.pass_to(4_200);
    assert_eq!((viewer.layer(), viewer.temporal()), (Some(0), u8::MAX));
}

#[test]
fn what_an_estimate_begins_with_has_to_be_proved_before_it_is_climbed_on() {
    let small = [candidate(0, 180, 170), candidate(1, 360, 400)];
    let mut viewer = Viewer::new(&small);
    viewer.pass_to(5_000);
    assert_eq!(viewer.layer(), Some(0));

    let wanted = viewer.allocator.wanted();

    assert!(wanted.is_some_and(|wanted| wanted > Bitrate::from_kbps(448)), "{wanted:?}");
    viewer.estimate_at(5_100, 600, Limiter::Probe);
    assert_eq!(viewer.allocator.wanted(), None);
}

#[test]
fn a_moment_in_which_nothing_seems_to_fit_takes_no_picture_away() {
    let mut viewer = Viewer::on_top();

    for second in 15..40 {
        viewer.estimate_at(second * 1_000, 60, Limiter::Delay);
        viewer.pass_to(second * 1_000 + 900);
        assert_eq!(viewer.layer(), Some(0), "{second}");
        viewer.estimate_at(second * 1_000 + 950, 320, Limiter::Delay);
    }
}

#[test]
fn a_picture_that_arrives_whole_is_not_given_up_whatever_the_estimate() {
    let layers = [candidate(0, 180, 250), candidate(1, 360, 900)];
    let mut viewer = Viewer::new(&layers.map(|it| Candidate { temporal: Temporal::ONE, ..it }));
    viewer.allocator.handle_arriving(Bitrate::from_kbps(250).plus(AUDIO));
    viewer.estimate_at(0, 100, Limiter::Delay);

    viewer.pass_to(20_000);
    assert_eq!(viewer.layer(), Some(0));
    assert!(viewer.allocator.is_spared() && !viewer.allocator.is_dark());

    viewer.allocator.handle_arriving(Bitrate::from_kbps(150));
    viewer.pass_to(22_999);
    assert_eq!(viewer.layer(), Some(0));
    viewer.pass_to(23_000);
    assert_eq!(viewer.layer(), None);
    assert!(viewer.allocator.is_dark());
}

#[test]
fn a_picture_that_comes_back_in_vain_waits_longer_each_time() {
    let mut viewer = Viewer::new(&SIMULCAST);
    let mut shown = 0;

    for tick in 0..600 {
        // Proved whenever there is no picture, and refuted as soon as there is one.
        let kbps = if viewer.layer().is_none() { 400 } else { 60 };
        viewer.estimate_at(tick * 100, kbps, Limiter::Delay);
        shown += u32::from(viewer.layer().is_some());
    }

    assert!((150..300).contains(&shown), "{shown}");
}

#[test]
fn wishes_are_obeyed() {
    let mut viewer = Viewer::on_top();
    let mut outcomes = Vec::new();

    let wishes = [
        Wish::MaxHeight(400),
        Wish::MaxHeight(90),
        Wish::Fixed(LayerIndex(1)),
        Wish::AudioOnly,
        Wish::Paused,
    ];
    for wish in wishes {
        viewer.allocator.handle_layers(viewer.now, wish, &SIMULCAST, AUDIO);
        viewer.pass_to(30_000);
        viewer.pass_to(31_000);
        let allocation = viewer.allocator.allocation();
        outcomes.push((allocation.layer.map(|layer| layer.0), allocation.audio, allocation.reason));
    }

    assert_eq!(
        outcomes,
        [
            (Some(1), true, Reason::Wish),
            (Some(0), true, Reason::Wish),
            (Some(1), true, Reason::Wish),
            (None, true, Reason::Wish),
            (None, false, Reason::Paused),
        ]
    );
}

#[test]
fn a_fixed_layer_stays_when_it_does_not_fit_and_the_reason_tells() {
    let mut viewer = Viewer::on_top();
    viewer.allocator.handle_layers(viewer.now, Wish::Fixed(LayerIndex(2)), &SIMULCAST, AUDIO);

    viewer.estimate_at(30_000, 300, Limiter::Delay);

    assert_eq!((viewer.layer(), viewer.reason()), (Some(2), Reason::WishAbovePath));
    let need = SIMULCAST[2].bitrate.plus(AUDIO);
    assert!(viewer.allocator.wanted().is_some_and(|wanted| wanted > need), "whether it would fit");
}

#[test]
fn the_only_layer_is_kept_on_a_path_that_carries_most_of_it_and_the_reason_tells() {
    let only = Candidate { temporal: Temporal::ONE, ..SIMULCAST[2] };
    let mut viewer = Viewer::new(&[only]);
    assert_eq!((viewer.layer(), viewer.reason()), (Some(2), Reason::OnlyLayer));
    assert!(viewer.allocator.wanted() > Some(only.bitrate));

    viewer.estimate_at(5_000, 1_400, Limiter::Delay);
    viewer.pass_to(60_000);

    let allocation = viewer.allocator.allocation();
    assert_eq!((allocation.layer, allocation.temporal), (Some(LayerIndex(2)), u8::MAX));
    assert_eq!(allocation.reason, Reason::OnlyLayer);
    viewer.estimate_at(69_000, 9_000, Limiter::Delay);
    assert_eq!((viewer.reason(), viewer.allocator.wanted()), (Reason::Best, None));
}

#[test]
fn the_only_layer_gives_way_to_sound_where_not_half_of_it_passes_and_is_back_when_it_fits() {
    let only = Candidate { temporal: Temporal::ONE, ..SIMULCAST[2] };
    let mut viewer = Viewer::new(&[only]);
    viewer.estimate_at(1_000, 3_000, Limiter::Probe);

    viewer.estimate_at(5_000, 1_100, Limiter::Delay);
    viewer.pass_to(7_900);
    assert_eq!((viewer.layer(), viewer.reason()), (Some(2), Reason::OnlyLayer), "it may pass");
    viewer.pass_to(8_000);
    assert_eq!((viewer.layer(), viewer.reason()), (None, Reason::AudioOnly));
    assert!(viewer.allocator.is_dark(), "so that it is asked for more");
    assert!(viewer.allocator.wanted() > Some(only.bitrate));

    viewer.estimate_at(9_000, 1_700, Limiter::Probe);
    assert_eq!(viewer.layer(), None, "it would have gaps, or be gone again");
    viewer.estimate_at(9_500, 2_100, Limiter::Probe);
    assert_eq!((viewer.layer(), viewer.reason()), (Some(2), Reason::OnlyLayer), "as who joins gets it");
    viewer.estimate_at(10_000, 3_000, Limiter::Probe);
    assert_eq!((viewer.layer(), viewer.reason()), (Some(2), Reason::Best));
}

#[test]
fn who_waits_without_a_picture_after_one_that_failed_is_told_that_there_is_sound_only() {
    let mut viewer = Viewer::new(&SIMULCAST);
    viewer.estimate_at(0, 60, Limiter::Delay);
    viewer.pass_to(3_000);
    viewer.estimate_at(4_000, 400, Limiter::Probe);
    assert_eq!(viewer.layer(), Some(0));
    viewer.estimate_at(5_000, 60, Limiter::Delay);
    viewer.pass_to(8_000);
    assert_eq!(viewer.layer(), None);

    viewer.estimate_at(8_500, 400, Limiter::Probe);

    assert_eq!((viewer.layer(), viewer.reason()), (None, Reason::AudioOnly));
}

#[test]
fn a_moment_in_which_half_of_it_passes_keeps_the_only_layer() {
    let mut viewer = Viewer::new(&[Candidate { temporal: Temporal::ONE, ..SIMULCAST[2] }]);
    viewer.estimate_at(1_000, 3_000, Limiter::Probe);

    viewer.estimate_at(5_000, 1_100, Limiter::Delay);
    viewer.pass_to(7_500);
    viewer.estimate_at(7_600, 1_500, Limiter::Delay);
    viewer.estimate_at(7_700, 1_100, Limiter::Delay);
    viewer.pass_to(10_600);
    assert_eq!(viewer.layer(), Some(2));

    viewer.pass_to(10_700);
    assert_eq!(viewer.layer(), None);
}

#[test]
fn nobody_loses_the_only_layer_whose_path_is_not_known_or_cannot_be_asked_for_more() {
    for limiter in
        [Limiter::Start, Limiter::Application, Limiter::Remb, Limiter::Unreported, Limiter::Silence]
    {
        let mut viewer = Viewer::new(&[Candidate { temporal: Temporal::ONE, ..SIMULCAST[2] }]);
        viewer.estimate_at(5_000, 60, limiter);
        viewer.pass_to(60_000);
        assert_eq!((viewer.layer(), viewer.reason()), (Some(2), Reason::OnlyLayer), "{limiter:?}");
    }
}

#[test]
fn the_only_layer_of_a_room_without_sound_is_kept_whatever_passes() {
    let only = [Candidate { temporal: Temporal::ONE, ..SIMULCAST[2] }];
    let mut viewer = Viewer::new(&only);
    viewer.allocator.handle_layers(viewer.now, Wish::Auto, &only, Bitrate::ZERO);
    viewer.estimate_at(1_000, 3_000, Limiter::Probe);

    viewer.estimate_at(5_000, 60, Limiter::Delay);
    viewer.pass_to(60_000);

    assert_eq!((viewer.layer(), viewer.reason()), (Some(2), Reason::OnlyLayer));
}

#[test]
fn who_cannot_be_asked_for_more_gets_the_layer_that_is_left_though_the_lowest_of_three_was_given_up() {
    for limiter in [Limiter::Remb, Limiter::Unreported] {
        let mut viewer = Viewer::new(&SIMULCAST);
        viewer.estimate_at(0, 60, limiter);
        viewer.pass_to(3_000);
        assert_eq!(viewer.layer(), None, "{limiter:?}");

        let only = [Candidate { temporal: Temporal::ONE, ..SIMULCAST[2] }];
        viewer.allocator.handle_layers(viewer.now, Wish::Auto, &only, AUDIO);
        assert_eq!(viewer.layer(), Some(2), "{limiter:?}");
        viewer.pass_to(60_000);
        assert_eq!(viewer.layer(), Some(2), "{limiter:?}");
    }
}

#[test]
fn who_changes_the_wish_has_three_seconds_anew() {
    let only = [Candidate { temporal: Temporal::ONE, ..SIMULCAST[2] }];
    let mut viewer = Viewer::new(&only);
    viewer.estimate_at(1_000, 3_000, Limiter::Probe);
    viewer.estimate_at(5_000, 60, Limiter::Delay);
    viewer.pass_to(7_500);
    for wish in [Wish::Fixed(LayerIndex(2)), Wish::Auto] {
        viewer.allocator.handle_layers(viewer.now, wish, &only, AUDIO);
        viewer.pass_to(9_000);
    }

    viewer.pass_to(11_900);
    assert_eq!(viewer.layer(), Some(2));
    viewer.pass_to(12_000);
    assert_eq!(viewer.layer(), None);
}

#[test]
fn who_lost_the_only_layer_of_one_waits_for_the_next_ones_to_fit() {
    let only = |layer: usize| [Candidate { temporal: Temporal::ONE, ..SIMULCAST[layer] }];
    let mut viewer = Viewer::new(&only(2));
    viewer.estimate_at(1_000, 3_000, Limiter::Probe);
    viewer.estimate_at(5_000, 600, Limiter::Delay);
    viewer.pass_to(8_000);
    assert_eq!(viewer.layer(), None);

    viewer.allocator.handle_layers(viewer.now, Wish::Auto, &only(1), AUDIO);
    viewer.pass_to(8_100);
    assert_eq!(viewer.layer(), None, "600 of 900 kbit/s");
    viewer.allocator.handle_layers(viewer.now, Wish::Auto, &only(0), AUDIO);
    viewer.pass_to(8_200);
    assert_eq!(viewer.layer(), Some(0));
}

#[test]
fn the_only_layer_loses_frames_where_the_path_does_not_carry_it_and_gets_them_back() {
    let mut viewer = Viewer::new(&[SIMULCAST[2]]);
    viewer.estimate_at(1_000, 3_000, Limiter::Probe);
    assert_eq!((viewer.temporal(), viewer.reason()), (u8::MAX, Reason::Best));

    viewer.estimate_at(5_000, 1_600, Limiter::Delay);
    assert_eq!((viewer.temporal(), viewer.reason()), (1, Reason::ReducedFrameRate));
    assert_eq!(viewer.allocator.granted(), Some(SIMULCAST[2].bitrate.scaled(0.6)));
    assert!(viewer.allocator.wanted() > Some(SIMULCAST[2].bitrate), "{:?}", viewer.allocator.wanted());
    viewer.estimate_at(6_000, 700, Limiter::Delay);
    viewer.pass_to(60_000);
    assert_eq!((viewer.layer(), viewer.temporal(), viewer.reason()), (Some(2), 0, Reason::OnlyLayer));
    assert!(!viewer.allocator.steps_down());

    viewer.estimate_at(61_000, 4_000, Limiter::Probe);
    viewer.pass_to(62_000);
    assert_eq!((viewer.temporal(), viewer.reason()), (u8::MAX, Reason::Best));

    viewer.estimate_at(70_000, 60, Limiter::Delay);
    viewer.pass_to(73_000);
    assert_eq!((viewer.layer(), viewer.reason()), (None, Reason::AudioOnly));
    viewer.estimate_at(74_000, 4_000, Limiter::Probe);
    assert_eq!((viewer.layer(), viewer.temporal()), (Some(2), 0), "its fewest frames first");
    viewer.pass_to(74_100);
    viewer.pass_to(75_100);
    assert_eq!((viewer.temporal(), viewer.reason()), (u8::MAX, Reason::Best));
}

#[test]
fn a_rung_takes_what_its_temporal_layers_were_found_to_take() {
    let heavy = Temporal { parts: [650, 800], ..Temporal::usual(3) };
    let mut viewer = Viewer::new(&[Candidate { temporal: heavy, ..SIMULCAST[2] }]);
    viewer.estimate_at(1_000, 3_000, Limiter::Probe);

    viewer.estimate_at(5_000, 1_500, Limiter::Delay);

    assert_eq!((viewer.temporal(), viewer.reason()), (0, Reason::OnlyLayer), "1,500 of 1,625 and sound");
    viewer.estimate_at(6_000, 1_700, Limiter::Delay);
    assert_eq!((viewer.temporal(), viewer.reason()), (0, Reason::ReducedFrameRate));
}

#[test]
fn the_only_layer_loses_no_frames_while_the_estimate_is_on_its_way() {
    let mut viewer = Viewer::new(&[SIMULCAST[2]]);
    assert!(viewer.allocator.wanted() > Some(SIMULCAST[2].bitrate), "{:?}", viewer.allocator.wanted());

    viewer.estimate_at(100, 700, Limiter::Delay);
    viewer.pass_to(1_900);
    assert_eq!((viewer.temporal(), viewer.reason()), (u8::MAX, Reason::OnlyLayer));
    viewer.estimate_at(2_000, 3_000, Limiter::Probe);
    assert_eq!((viewer.temporal(), viewer.reason()), (u8::MAX, Reason::Best));

    let mut late = Viewer::new(&[SIMULCAST[2]]);
    late.estimate_at(100, 700, Limiter::Delay);
    late.pass_to(2_000);
    assert_eq!(late.temporal(), 0);
}

#[test]
fn what_to_prove_is_the_next_layers_need_and_nothing_on_top() {
    let mut viewer = Viewer::new(&SIMULCAST);
    viewer.estimate_at(0, 600, Limiter::Probe);
    let next = Bitrate::from_kbps(900 + AUDIO_KBPS).scaled(STEP_UP);

    assert!(viewer.allocator.wanted().is_some_and(|wanted| wanted > next && wanted < next.scaled(1.1)));
    viewer.estimate_at(10, 1_200, Limiter::Probe);
    assert!(viewer.allocator.wanted() > Some(Bitrate::from_kbps(2_500)));
    viewer.estimate_at(20, 4_000, Limiter::Probe);
    assert_eq!(viewer.allocator.wanted(), None);
    viewer.pass_to(1_100);
    assert_eq!((viewer.layer(), viewer.allocator.wanted()), (Some(2), None));
}

#[test]
fn enough_is_what_the_best_layer_and_the_step_up_to_it_take() {
    let mut viewer = Viewer::new(&SIMULCAST);
    let kbps = |rate: Option<Bitrate>| rate.unwrap().as_bps() / 1_000;
    let best = kbps(Some(SIMULCAST[2].bitrate)) + AUDIO_KBPS;

    let enough = viewer.allocator.enough();
    assert!(kbps(enough.ever) > best * 115 / 100, "or nobody would ever climb");
    assert_eq!(enough.now, None, "there is nothing less");

    viewer.estimate_at(0, 1_200, Limiter::Probe);
    viewer.pass_to(1_000);
    let need = kbps(Some(SIMULCAST[1].bitrate)) + AUDIO_KBPS;
    let now = kbps(viewer.allocator.enough().now);
    assert!((need..need * 11 / 10).contains(&now), "{now}");

    let viewer = Viewer::on_top();
    let ever = kbps(viewer.allocator.enough().ever);
    assert!((best..best * 11 / 10).contains(&ever), "{ever}");
}

#[test]
fn a_layer_that_goes_away_is_left_and_order_means_nothing() {
    let mut viewer = Viewer::on_top();
    let mut left = [SIMULCAST[1], SIMULCAST[0]];

    viewer.allocator.handle_layers(viewer.now, Wish::Auto, &left, AUDIO);
    viewer.pass_to(30_000);
    viewer.pass_to(31_000);
    assert_eq!((viewer.layer(), viewer.reason()), (Some(1), Reason::Best));
    left.reverse();
    viewer.allocator.handle_layers(viewer.now, Wish::Auto, &left, AUDIO);
    assert_eq!(viewer.layer(), Some(1));
    viewer.allocator.handle_layers(viewer.now, Wish::Auto, &[], AUDIO);
    assert_eq!((viewer.layer(), viewer.reason()), (None, Reason::NoLayer));
}

#[test]
fn a_layer_that_sleeps_is_not_given_but_proved_and_wanted() {
    let mut viewer = Viewer::new(&SIMULCAST);
    let asleep = [SIMULCAST[0], SIMULCAST[1], Candidate { asleep: true, ..SIMULCAST[2] }];
    viewer.allocator.handle_layers(viewer.now, Wish::Auto, &asleep, AUDIO);
    viewer.estimate_at(0, 1_300, Limiter::Probe);
    viewer.pass_to(2_000);

    assert_eq!((viewer.layer(), viewer.reason()), (Some(1), Reason::Best));
    assert!(viewer.allocator.wanted() > Some(SIMULCAST[2].bitrate), "{:?}", viewer.allocator.wanted());
    assert!(viewer.allocator.reaches(LayerIndex(1)) && !viewer.allocator.reaches(LayerIndex(2)));
    viewer.estimate_at(3_000, 4_000, Limiter::Probe);
    viewer.pass_to(6_000);
    assert_eq!(viewer.layer(), Some(1), "it is not there");
    assert!(viewer.allocator.reaches(LayerIndex(2)), "it is wanted");

    viewer.allocator.handle_layers(viewer.now, Wish::Auto, &SIMULCAST, AUDIO);
    viewer.pass_to(8_000);
    viewer.allocator.handle_layers(viewer.now, Wish::Auto, &asleep, AUDIO);
    assert_eq!(viewer.layer(), Some(1), "what fell asleep is left for what the path carries");
}

#[test]
fn what_a_wish_excludes_is_not_wanted_and_the_lowest_layer_always_is() {
    let mut viewer = Viewer::on_top();
    for (wish, wanted) in [
        (Wish::Auto, [true, true, true]),
        (Wish::MaxHeight(SIMULCAST[1].height.unwrap()), [true, true, false]),
        (Wish::Fixed(LayerIndex(2)), [false, false, true]),
        (Wish::AudioOnly, [false, false, false]),
    ] {
        viewer.allocator.handle_layers(viewer.now, wish, &SIMULCAST, AUDIO);

        let reached = [0, 1, 2].map(|layer| viewer.allocator.reaches(LayerIndex(layer)));
        assert_eq!(reached, wanted, "{wish:?}");
    }
    viewer.allocator.handle_layers(viewer.now, Wish::Auto, &SIMULCAST, AUDIO);
    viewer.estimate_at(40_000, 50, Limiter::Delay);
    assert_eq!([0, 1, 2].map(|layer| viewer.allocator.reaches(LayerIndex(layer))), [true, false, false]);
}

#[test]
fn a_change_is_told_once() {
    let mut viewer = Viewer::new(&SIMULCAST);

    assert!(viewer.allocator.poll_output().is_some());
    assert_eq!(viewer.allocator.poll_output(), None);
    viewer.estimate_at(0, 160, Limiter::Delay);
    assert_eq!(viewer.allocator.poll_output().map(|it| it.temporal), Some(0));
    assert_eq!(viewer.allocator.poll_output(), None);
}

#[test]
fn every_reason_has_a_label() {
    for reason in [Reason::Best, Reason::WishAbovePath, Reason::BackingOff, Reason::NoLayer] {
        assert!(reason.as_str().chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'));
    }
}

const AUDIO_KBPS: u64 = 48;
const AUDIO: Bitrate = Bitrate::from_kbps(AUDIO_KBPS);
const SIMULCAST: [Candidate; 3] = [candidate(0, 180, 250), candidate(1, 360, 900), candidate(2, 720, 2_500)];

const fn candidate(layer: u8, height: u16, kbps: u64) -> Candidate {
    Candidate {
        layer: LayerIndex(layer),
        height: Some(height),
        bitrate: Bitrate::from_kbps(kbps),
        temporal: Temporal::usual(3),
        asleep: false,
    }
}

struct Viewer {
    allocator: Allocator,
    now: MonoTime,
}

impl Viewer {
    fn new(layers: &[Candidate]) -> Self {
        let estimate = Estimate { bitrate: Bitrate::from_kbps(600), limiter: Limiter::Start };
        let mut allocator = Allocator::new(estimate, MonoTime::ZERO);
        allocator.handle_layers(MonoTime::ZERO, Wish::Auto, layers, AUDIO);
        allocator.handle_timeout(MonoTime::ZERO);
        Self { allocator, now: MonoTime::ZERO }
    }

    fn on_top() -> Self {
        let mut viewer = Self::new(&SIMULCAST);
        viewer.estimate_at(0, 5_000, Limiter::Probe);
        viewer.pass_to(1_000);
        assert_eq!(viewer.layer(), Some(2));
        viewer.pass_to(15_000);
        viewer
    }

    fn estimate_at(&mut self, ms: u64, kbps: u64, limiter: Limiter) {
        self.now = MonoTime::from_millis(ms);
        self.allocator.handle_estimate(self.now, Estimate { bitrate: Bitrate::from_kbps(kbps), limiter });
    }

    fn pass_to(&mut self, ms: u64) {
        self.now = MonoTime::from_millis(ms);
        self.allocator.handle_timeout(self.now);
    }

    fn layer(&self) -> Option<u8> {
        self.allocator.allocation().layer.map(|layer| layer.0)
    }

    fn temporal(&self) -> u8 {
        self.allocator.allocation().temporal
    }

    fn reason(&self) -> Reason {
        self.allocator.allocation().reason
    }
}
