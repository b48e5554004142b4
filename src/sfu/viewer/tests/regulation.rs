//! What a viewer gets of what its path carries.

use std::time::Duration;

use rtp::rtcp::Writer;
use rtp::{Codec, MediaKind, SeqNo, Ssrc};

use super::feedback::nack;
use super::harness::{
    Media, Place, Room, Sent, VIDEO, audio_track, layer_info, one_layer, two_layers, video_track,
};
use super::hostile::pli;
use super::path::{Path, Published, Reports, SECOND, SIMULCAST};
use crate::allocator::Reason;
use crate::bwe::Limiter;
use crate::viewer::subscription::Grant;
use crate::viewer::{LayerRequest, SwitchReason, ViewerOutput};
use crate::{Bitrate, DropReason, LayerIndex, TrackInfo};

#[test]
fn viewer_begins_low_and_has_the_best_picture_within_five_seconds_on_a_fast_path() {
    let mut path = Path::new(SIMULCAST, 50_000);

    path.run(200);
    assert_eq!(path.layer(), Some(0));
    path.run(4_800);

    assert_eq!(path.layer(), Some(2), "{:?}", path.room.viewer.congestion());
    path.run(10 * SECOND);
    let congestion = path.room.viewer.congestion().unwrap();
    assert_eq!(congestion.allocation.reason, Reason::Best);
    assert_eq!(congestion.estimate.limiter, Limiter::Application);
    assert_eq!(path.room.viewer.stats().video.drops.get(DropReason::Stale), 0);
    assert!(path.longest_stall(500, 15_000) < 200, "{}", path.longest_stall(500, 15_000));
    assert!(path.changes[1..].iter().all(|change| change.3 == SwitchReason::Path), "{:?}", path.changes);
    assert!(path.padding > 0 && path.padding < path.sent / 10, "{} of {}", path.padding, path.sent);
}

#[test]
fn numbering_is_unbroken_and_the_layer_falls_within_two_seconds_of_a_drop_and_is_back_within_eight() {
    let mut path = Path::new(SIMULCAST, 4_000);
    path.run(10 * SECOND);
    assert_eq!(path.layer(), Some(2));

    path.rate = 1_000;
    path.run(2 * SECOND);
    assert!(path.layer() < Some(2), "{:?}", path.changes);
    path.run(10 * SECOND);
    assert_eq!(path.layer(), Some(1), "{:?}", path.changes);
    assert!(path.longest_stall(9_000, 22_000) <= SECOND, "{}", path.longest_stall(9_000, 22_000));

    path.rate = 4_000;
    path.run(8 * SECOND);
    assert_eq!(path.layer(), Some(2), "{:?} {:?}", path.changes, path.room.viewer.congestion());
}

#[test]
fn a_path_below_the_lowest_layer_carries_fewer_frames_then_sound_only_and_says_so() {
    let published = Published { layers: &[300, 1_200], temporal: true, ..SIMULCAST };
    let mut path = Path::new(published, 365);
    path.run(20 * SECOND);
    let congestion = path.room.viewer.congestion().unwrap();
    assert_eq!(congestion.allocation.reason, Reason::ReducedFrameRate, "{congestion:?}");
    assert!(path.room.viewer.stats().video.drops.get(DropReason::TemporalLayer) > 100);

    path.rate = 120;
    path.run(10 * SECOND);
    let congestion = path.room.viewer.congestion().unwrap();
    assert_eq!(congestion.allocation.reason, Reason::AudioOnly, "{congestion:?}");
    assert_eq!(path.layer(), None);
    let sound = path.audio_delays.len();
    path.run(SECOND);
    assert!(path.audio_delays.len() >= sound + 45, "sound goes on");

    path.rate = 3_000;
    path.run(10 * SECOND);
    assert!(path.layer().is_some(), "{:?}", path.room.viewer.congestion());
}

#[test]
fn who_gets_burst_after_burst_over_a_path_that_was_slow_is_asked_for_more_all_the_same() {
    let published = Published { layers: &[300, 1_200], gop: 120, answers: false, temporal: true };
    let mut path = Path::new(published, 3_000);
    path.run(10 * SECOND);
    path.rate = 120;
    path.run(6 * SECOND);
    path.rate = 200;
    path.run(6 * SECOND);
    assert_eq!(path.room.viewer.congestion().unwrap().allocation.reason, Reason::AudioOnly);

    path.rate = 3_000;
    path.run(7 * SECOND + 500);

    let congestion = path.room.viewer.congestion().unwrap();
    assert!(congestion.estimate.bitrate > Bitrate::from_kbps(1_000), "{congestion:?}");
}

#[test]
fn a_path_that_becomes_longer_while_keyframes_make_queues_on_it_is_found_to_carry_what_it_did() {
    let mut path = Path::new(Published { gop: 60, ..SIMULCAST }, 3_000);
    path.run(15 * SECOND);
    assert_eq!(path.layer(), Some(2));

    path.delay += 100;
    path.run(5 * SECOND);

    let congestion = path.room.viewer.congestion().unwrap();
    assert!(congestion.estimate.bitrate > Bitrate::from_kbps(2_500), "{congestion:?}");
}

#[test]
fn the_only_layer_goes_on_with_half_its_frames_where_the_path_carries_no_more() {
    let published = Published { layers: &[600], temporal: true, ..SIMULCAST };
    let mut path = Path::new(published, 3_000);
    path.run(10 * SECOND);
    assert_eq!(path.room.viewer.congestion().unwrap().allocation.reason, Reason::Best);

    path.rate = 500;
    path.run(5 * SECOND);
    let shown = path.shown.len();
    path.run(15 * SECOND);
    let congestion = path.room.viewer.congestion().unwrap();
    assert_eq!(congestion.allocation.temporal, 0, "{congestion:?}");
    assert!((210..=240).contains(&(path.shown.len() - shown)), "{} of 450", path.shown.len() - shown);
    assert!(path.longest_stall(15_000, 30_000) < 250, "{}", path.longest_stall(15_000, 30_000));
    assert_eq!(path.room.viewer.stats().video.drops.get(DropReason::Stale), 0);

    path.rate = 3_000;
    path.run(8 * SECOND);
    let congestion = path.room.viewer.congestion().unwrap();
    assert_eq!((congestion.allocation.temporal, congestion.allocation.reason), (u8::MAX, Reason::Best));
    assert!(path.longest_stall(30_000, 38_000) < 250, "{}", path.longest_stall(30_000, 38_000));
}

#[test]
fn a_room_of_one_layer_keeps_its_picture_and_nothing_waits_longer_than_200_ms() {
    let published = Published { layers: &[1_500], gop: 60, answers: false, ..SIMULCAST };
    let mut path = Path::new(published, 3_000);

    path.run(15 * SECOND);

    assert_eq!(path.layer(), Some(0));
    assert_eq!(path.room.viewer.stats().video.drops.get(DropReason::Stale), 0);
    assert!(path.longest_stall(500, 15_000) < 250, "{}", path.longest_stall(500, 15_000));
    assert!(path.longest_delay(500, 15_000) < 250, "{}", path.longest_delay(500, 15_000));
}

#[test]
fn the_only_layer_on_a_path_that_carries_half_of_it_moves_now_and_then_and_sound_goes_through() {
    let published = Published { layers: &[1_200], gop: 30, answers: false, ..SIMULCAST };
    let mut path = Path::new(published, 700);
    path.run(5 * SECOND);
    path.audio_delays.clear();
    let shown = path.shown.len();

    path.run(20 * SECOND);

    assert_eq!(path.room.viewer.congestion().unwrap().allocation.reason, Reason::OnlyLayer);
    assert!(path.longest_stall(6_000, 25_000) < 1_300, "{}", path.longest_stall(6_000, 25_000));
    let mut delays = path.audio_delays.clone();
    delays.sort_unstable();
    let (p50, p95) = (delays[delays.len() / 2], delays[delays.len() * 95 / 100]);
    let pictures = path.shown.len() - shown;
    assert!(p50 < 200 && p95 < 350, "sound {p50} and {p95} ms late, {pictures} pictures");
    assert!(pictures > 22, "a keyframe a second, and something between: {pictures}");
}

#[test]
fn the_only_layer_gives_way_to_sound_on_a_path_that_carries_a_third_and_is_back_soon_after_the_path_is() {
    let published = Published { layers: &[1_200], gop: 60, answers: false, ..SIMULCAST };
    let mut path = Path::new(published, 3_000);
    path.run(10 * SECOND);
    path.rate = 400;
    path.run(8 * SECOND);
    assert_eq!(path.room.viewer.congestion().unwrap().allocation.reason, Reason::AudioOnly);
    path.audio_delays.clear();

    path.run(10 * SECOND);

    let late = path.audio_delays.iter().filter(|delay| **delay > 120).count();
    assert!(late * 50 < path.audio_delays.len(), "{late} of {}", path.audio_delays.len());
    path.rate = 3_000;
    path.run(4 * SECOND);
    let congestion = path.room.viewer.congestion().unwrap();
    assert_eq!(congestion.allocation.reason, Reason::Best, "{congestion:?}");
}

#[test]
fn audio_is_never_behind_a_keyframe() {
    let published = Published { layers: &[1_500], gop: 30, answers: false, ..SIMULCAST };
    let mut path = Path::new(published, 2_500);

    path.run(10 * SECOND);

    let late = path.audio_delays.iter().filter(|delay| **delay > 120).count();
    assert!(late * 100 < path.audio_delays.len(), "{late} of {}", path.audio_delays.len());
}

#[test]
fn a_viewer_who_wants_sound_only_or_nothing_gets_that_and_the_picture_back() {
    let mut path = Path::new(SIMULCAST, 10_000);
    path.run(5 * SECOND);

    path.room.viewer.set_layer(path.room.now, LayerRequest::AudioOnly);
    path.run(100);
    let (pictures, sounds) = (path.shown.len(), path.audio_delays.len());
    path.run(2 * SECOND);
    assert_eq!(path.shown.len(), pictures);
    assert!(path.audio_delays.len() > sounds + 90);
    assert_eq!(path.room.viewer.congestion().unwrap().allocation.reason, Reason::Wish);

    path.room.viewer.set_layer(path.room.now, LayerRequest::Paused);
    path.run(100);
    let (pictures, sounds) = (path.shown.len(), path.audio_delays.len());
    path.run(2 * SECOND);
    assert_eq!((path.shown.len(), path.audio_delays.len()), (pictures, sounds));

    path.room.viewer.set_layer(path.room.now, LayerRequest::Auto);
    path.run(2 * SECOND);
    assert!(path.shown.len() > pictures + 30 && path.audio_delays.len() > sounds + 80);
}

#[test]
fn a_viewer_that_reports_by_source_is_led_as_well() {
    let mut path = Path::reporting(SIMULCAST, 4_000, Reports::BySource);
    path.run(200);
    assert_eq!(path.layer(), Some(0), "it begins low, before its first report");
    path.run(10 * SECOND);
    let congestion = path.room.viewer.congestion().unwrap();
    assert_eq!(path.layer(), Some(2), "{congestion:?}");
    assert!(congestion.counters.received > 1_000 && congestion.counters.lost < 20, "{congestion:?}");
    assert_eq!(congestion.counters.implausible, 0, "{congestion:?}");

    path.rate = 1_000;
    path.run(5 * SECOND);
    assert!(path.layer() < Some(2), "{:?}", path.room.viewer.congestion());
}

#[test]
fn a_viewer_that_takes_no_retransmissions_climbs_where_the_path_carries_more() {
    let mut path = Path::without_rtx(SIMULCAST, 20_000);

    path.run(15 * SECOND);

    assert_eq!(path.layer(), Some(2), "{:?}", path.room.viewer.congestion());
    assert_eq!(path.padding, 0);
    assert!(path.longest_stall(500, 15_000) < 200, "{}", path.longest_stall(500, 15_000));
}

#[test]
fn what_a_viewer_without_retransmissions_tries_in_vain_it_seldom_tries_again() {
    let mut path = Path::without_rtx(SIMULCAST, 1_000);

    path.run(60 * SECOND);

    let to_the_best = path.changes.iter().filter(|change| change.2 == 2).count();
    assert!((1..=3).contains(&to_the_best), "{:?}", path.changes);
    let tried = path.changes.windows(2).filter(|pair| pair[0].2 == 2);
    let tried: u64 = tried.map(|pair| pair[1].0 - pair[0].0).sum();
    assert!(path.layer() == Some(1) && tried < 3 * SECOND, "{:?}", path.changes);
    assert!(path.longest_stall(500, 60_000) <= SECOND, "{}", path.longest_stall(500, 60_000));
}

#[test]
fn a_keyframe_that_is_asked_for_brings_no_trial_forward() {
    let mut path = Path::without_rtx(SIMULCAST, 1_000);

    for _ in 0..30 {
        path.run(2 * SECOND);
        let answer = path.room.rtcp(&pli());
        path.enter(answer);
    }

    let to_the_best = path.changes.iter().filter(|change| change.2 == 2).count();
    assert!(to_the_best <= 3, "{:?}", path.changes);
}

#[test]
fn a_viewer_that_only_estimates_gets_what_it_says() {
    let mut path = Path::reporting(SIMULCAST, 20_000, Reports::Estimate(1_100));
    path.run(8 * SECOND);
    assert_eq!(path.layer(), Some(1), "{:?}", path.room.viewer.congestion());
    assert_eq!(path.room.viewer.congestion().unwrap().estimate.limiter, Limiter::Remb);

    path.reports = Reports::Estimate(8_000);
    path.run(4 * SECOND);
    assert_eq!(path.layer(), Some(2));
}

#[test]
fn who_joins_and_only_estimates_has_a_picture_that_moves_at_once() {
    let published = Published { layers: &[1_000], gop: 121, answers: false, ..SIMULCAST };

    let path = Path::joining_and_estimating(published, 20_000, 3_900);

    assert!(path.longest_stall(4_100, 7_900) < 200, "{}", path.longest_stall(4_100, 7_900));
}

#[test]
fn a_viewer_without_feedback_is_left_alone() {
    let mut path = Path::reporting(SIMULCAST, 20_000, Reports::Nothing);
    path.run(3 * SECOND);

    assert_eq!(path.layer(), Some(2));
    assert!(path.room.viewer.congestion().is_none());
}

#[test]
fn who_joins_over_a_slow_path_has_a_picture_at_once_and_sound_soon() {
    let published = Published { layers: &[1_000], gop: 121, answers: false, ..SIMULCAST };
    let mut path = Path::joining(published, 2_000, 3_900);

    path.run(4 * SECOND);

    let first = path.shown[0].at - 3_900;
    assert!(first < 250, "{first} ms to the first picture");
    let longest = path.audio_delays.iter().max().unwrap();
    assert!(*longest < 700, "sound {longest} ms late: {:?}", path.room.viewer.congestion());
    assert!(path.longest_stall(4_000, 7_900) < 1_000, "{}", path.longest_stall(4_000, 7_900));
    assert!(path.shown.last().unwrap().delay < 300, "{:?}", path.shown.last());
}

#[test]
fn who_joins_over_a_fast_path_is_at_the_live_edge_within_half_a_second_all_the_same() {
    for (layers, delay) in [(&[600][..], 1), (&[2_500], 1), (&[2_500], 25)] {
        let published = Published { layers, gop: 121, answers: false, ..SIMULCAST };
        let mut path = Path::joining(published, 100_000, 3_900);
        path.delay = delay;

        path.run(2 * SECOND);

        let first = path.shown[0].at - 3_900;
        assert!(first < 50 + delay, "{layers:?}: {first} ms to the first picture");
        let live = path.shown.iter().find(|shown| shown.delay < 60 + delay).map(|shown| shown.at - 3_900);
        assert!(live.is_some_and(|live| live < 550 + delay), "{layers:?}, {delay} ms: {live:?}");
        assert!(path.longest_stall(3_950, 5_900) < 150, "{}", path.longest_stall(3_950, 5_900));
    }
}

#[test]
fn a_picture_given_up_in_a_blackout_is_back_soon_after_it_though_nothing_else_is_reported() {
    let mut path = Path::numbering_pictures_alone(SIMULCAST, 2_500);
    path.run(15 * SECOND);
    path.is_cut = true;
    path.run(12 * SECOND);
    assert_eq!(path.room.viewer.congestion().unwrap().allocation.reason, Reason::AudioOnly);

    path.is_cut = false;
    path.run(6 * SECOND);

    assert!(path.longest_stall(29_500, 32_900) < 500, "{:?}", path.room.viewer.congestion());
}

#[test]
fn a_silent_viewer_needs_no_timer() {
    let mut path = Path::new(SIMULCAST, 10_000);
    path.run(SECOND);
    path.room.viewer.handle_track_gone(path.room.now, MediaKind::Video);
    path.room.viewer.handle_track_gone(path.room.now, MediaKind::Audio);
    path.room.advance(10_000);
    path.room.tick();
    let mut report = [0; 512];
    while path.room.viewer.write_rtcp(path.room.now, &mut report).is_some() {}

    let due = path.room.viewer.next_timeout();

    assert!(
        due.is_none_or(|at| at.since(path.room.now).as_millis() >= 900),
        "{due:?} at {:?}",
        path.room.now
    );
}

#[test]
fn a_layer_that_is_asked_for_by_name_is_wanted_while_it_sleeps_whatever_the_path_carries() {
    let mut path = Path::new(SIMULCAST, 700);
    path.run(15 * SECOND);
    let room = &mut path.room;
    let mut info = room.viewer.track_info(MediaKind::Video).unwrap().clone();
    info.layers[2].active = false;
    room.viewer.handle_track(room.now, &info);
    assert!(!room.viewer.wants_layer(LayerIndex(2)), "the path is far from it");

    room.viewer.set_layer(room.now, LayerRequest::Rid(info.layers[2].rid.clone().unwrap()));

    assert!(room.viewer.wants_layer(LayerIndex(2)));
    room.viewer.set_layer(room.now, LayerRequest::AudioOnly);
    assert!(!room.viewer.wants_layer(LayerIndex(2)));
}

#[test]
fn a_layer_that_was_never_sent_is_wanted_until_the_viewer_knows_what_it_takes() {
    let mut path = Path::new(SIMULCAST, 700);
    path.run(15 * SECOND);
    let room = &mut path.room;
    let mut info = room.viewer.track_info(MediaKind::Video).unwrap().clone();
    info.layers[2].active = false;
    room.viewer.handle_track_gone(room.now, MediaKind::Video);
    room.viewer.handle_track(room.now, &info);

    assert!(room.viewer.wants_layer(LayerIndex(2)), "nobody would ever see it otherwise");
    let height = info.layers[2].size.unwrap().1;
    room.viewer.set_layer(room.now, LayerRequest::MaxHeight(height - 1));
    assert!(!room.viewer.wants_layer(LayerIndex(2)), "larger than the viewer wishes");
    room.viewer.set_layer(room.now, LayerRequest::AudioOnly);
    assert!(!room.viewer.wants_layer(LayerIndex(2)));

    room.viewer.set_layer(room.now, LayerRequest::Auto);
    info.layers[2].active = true;
    room.viewer.handle_track(room.now, &info);
    assert!(!room.viewer.wants_layer(LayerIndex(2)), "the path is far from it");
}

#[test]
fn a_viewer_that_reports_is_looked_after_with_its_reports_and_needs_hardly_a_timer() {
    let mut path = Path::new(SIMULCAST, 50_000);
    path.run(15 * SECOND);
    let before = path.timers;

    path.run(10 * SECOND);

    // Sender reports of two tracks remain.
    assert!(path.timers - before <= 25, "{} timers in ten seconds", path.timers - before);
    path.reports = Reports::Nothing;
    path.run(4 * SECOND);
    let congestion = path.room.viewer.congestion().unwrap();
    assert_eq!(
        congestion.estimate.limiter,
        Limiter::Silence,
        "the clock goes on without them: {congestion:?}"
    );
}

#[test]
fn a_keyframe_whose_beginning_is_repaired_after_a_drop_goes_out_whole_and_with_what_follows() {
    let (mut room, last, _) = flooded();
    let (first, timestamp) = (last + 1, 2_000_000);

    room.advance(5);
    for (seq, place) in [(first + 1, Place::Middle), (first + 2, Place::Last)] {
        room.deliver(&Media::part(0, seq, timestamp, place));
    }
    room.deliver(&Media::vp8(0, first + 3, timestamp + 3_000));
    room.advance(20);
    let mut sent = room.deliver(&Media { keyframe: true, ..Media::part(0, first, timestamp, Place::First) });
    for _ in 0..100 {
        room.advance(5);
        sent.extend(room.tick());
    }

    let media = sent.iter().filter(|it| it.forward.rtx.is_none() && !it.forward.is_padding);
    let numbers: Vec<u64> = media.map(|it| it.forward.source.0).collect();
    assert!(numbers.ends_with(&[first, first + 1, first + 2, first + 3]), "{numbers:?} of {first}");
}

#[test]
fn what_comes_late_from_before_a_keyframe_that_follows_a_drop_has_no_number() {
    let (mut room, last, before) = flooded();
    let (missing, key, timestamp) = (last + 2, last + 3, 2_000_000);
    room.advance(5);
    room.deliver(&Media::vp8(0, last + 1, timestamp - 6_000));
    room.advance(33);
    let mut sent = room.deliver(&Media::key(0, key, timestamp));
    room.advance(5);

    sent.extend(room.deliver(&Media::vp8(0, missing, timestamp - 3_000)));
    for _ in 0..100 {
        room.advance(5);
        sent.extend(room.tick());
    }
    sent.extend(room.deliver(&Media::vp8(0, key + 1, timestamp + 3_000)));

    let media: Vec<&Sent> =
        sent.iter().filter(|it| it.forward.rtx.is_none() && !it.forward.is_padding).collect();
    let behind = media.iter().position(|it| it.forward.source.0 == key).unwrap();
    assert!(media.iter().all(|it| it.forward.source.0 != missing));
    let before = behind.checked_sub(1).map_or(before, |at| media[at].seq);
    assert_eq!(media[behind].seq, before.plus(1));
    assert_eq!(media[behind + 1].seq, media[behind].seq.plus(1));
}

#[test]
fn who_asks_for_the_same_packet_for_too_long_is_given_a_keyframe() {
    let mut room = Room::regulated(vec![video_track()], 1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    let mut sent = room.deliver(&Media::key(0, 100, 0));
    for seq in 101..200 {
        room.advance(33);
        sent.extend(room.deliver(&Media::vp8(0, seq, (seq as u32 - 100) * 3_000)));
    }
    let lost = nack(VIDEO, &[sent[90].seq]);
    room.outputs();

    // Repaired each time, and never heard.
    for _ in 0..6 {
        assert!(!room.rtcp(&lost).is_empty());
        room.advance(100);
        assert_eq!(room.requests(), []);
    }
    room.rtcp(&lost);

    assert_eq!(room.requests(), [0]);
}

#[test]
fn who_leaves_a_layer_that_the_path_does_not_carry_wants_no_keyframe_of_it() {
    let mut room = Room::new(1);
    room.viewer.handle_track(room.now, &two_layers(1));
    room.deliver(&Media::key(1, 100, 0));
    assert_eq!(room.viewer.current_layer(MediaKind::Video), Some(LayerIndex(1)));
    let subscription = &mut room.viewer.video.as_mut().unwrap().subscription;
    subscription.set_grant(room.now, Grant::Layer(LayerIndex(0)), (SwitchReason::Path, true));
    room.outputs();

    let mut pli = [0; 64];
    let mut writer = Writer::new(&mut pli);
    assert!(writer.pli(Ssrc(1), VIDEO));
    let length = writer.finish();
    room.rtcp(&pli[..length]);

    assert_eq!(room.requests(), [0]);
}

#[test]
fn who_falls_to_a_lower_layer_asks_for_its_keyframe_only_if_none_comes_in_200_ms() {
    for comes_by_itself in [true, false] {
        let mut room = Room::new(1);
        room.viewer.handle_track(room.now, &two_layers(1));
        room.deliver(&Media::key(1, 100, 0));
        let subscription = &mut room.viewer.video.as_mut().unwrap().subscription;
        subscription.set_grant(room.now, Grant::Layer(LayerIndex(0)), (SwitchReason::Path, true));
        room.tick();
        room.advance(190);
        room.tick();
        assert_eq!(room.requests(), []);

        if comes_by_itself {
            room.deliver(&Media::key(0, 200, 18_000));
        }
        room.advance(20);
        room.tick();

        assert_eq!(room.requests(), if comes_by_itself { vec![] } else { vec![0] });
        let shown = LayerIndex(u8::from(!comes_by_itself));
        assert_eq!(room.viewer.current_layer(MediaKind::Video), Some(shown));
    }
}

#[test]
fn a_layer_that_chokes_the_path_is_sent_no_more_and_none_but_a_lower_one_takes_its_place() {
    for (path_kbps, is_choked, goes_on) in [(400, true, false), (600, true, true), (400, false, true)] {
        let mut room = Room::new(1);
        room.viewer.handle_track(room.now, &two_layers(1));
        room.deliver(&Media::key(1, 100, 0));
        room.deliver(&Media::vp8(1, 101, 3_000));
        let subscription = &mut room.viewer.video.as_mut().unwrap().subscription;
        // The layer takes 720 kbit/s.
        let path = Some(Bitrate::from_kbps(path_kbps));
        subscription.set_path(path, Duration::from_millis(60), (true, is_choked));
        subscription.set_grant(room.now, Grant::Layer(LayerIndex(0)), (SwitchReason::Path, true));

        assert!(room.tick().is_empty());
        let next = room.deliver(&Media::vp8(1, 102, 6_000));

        assert_eq!(!next.is_empty(), goes_on, "{path_kbps} kbit/s, {is_choked}");
        assert_eq!(room.requests(), [0]);
        assert_eq!(room.deliver(&Media::key(0, 200, 9_000)).len(), 1);
        assert_eq!(room.viewer.current_layer(MediaKind::Video), Some(LayerIndex(0)));
    }
}

#[test]
fn who_falls_and_is_started_still_lower_is_started_once() {
    let mut room = Room::new(1);
    let layers = [(0, "low", 180), (1, "middle", 360), (2, "high", 720)];
    let layers = layers.map(|(index, rid, height)| layer_info(index, rid, height)).to_vec();
    room.viewer.handle_track(room.now, &TrackInfo { layers, ..two_layers(1) });
    room.deliver(&Media::key(2, 100, 0));
    room.deliver(&Media::key(0, 200, 0));
    let subscription = &mut room.viewer.video.as_mut().unwrap().subscription;
    subscription.set_path(Some(Bitrate::from_kbps(100)), Duration::from_millis(60), (true, true));
    subscription.set_grant(room.now, Grant::Layer(LayerIndex(1)), (SwitchReason::Path, true));

    let mut started = 0;
    for seq in 201..230 {
        room.tick();
        room.advance(100);
        room.deliver(&Media::vp8(0, seq, (seq as u32 - 200) * 9_000));
        let outputs = room.outputs();
        started += outputs.iter().filter(|it| matches!(it, ViewerOutput::LayerChanged { .. })).count();
    }

    assert_eq!(started, 2, "the high layer at first, and then the low one");
}

/// A room whose viewer was sent so much at once that it waits for a keyframe, the last packet that came, and the number of
/// the last that went out.
fn flooded() -> (Room, u64, SeqNo) {
    let mut room = Room::regulated(vec![video_track(), audio_track(false)], 1);
    room.viewer.handle_track(room.now, &one_layer(1, Codec::Vp8));
    let mut sent = room.deliver(&Media::key(0, 100, 0));
    for seq in 101..1_000 {
        room.advance(1);
        sent.extend(room.deliver(&Media { size: 1_100, ..Media::vp8(0, seq, (seq as u32 - 100) * 3_000) }));
        if room.viewer.congestion().unwrap().pacer_drops.undecodable_video > 20 {
            let mut media = sent.iter().filter(|it| it.forward.rtx.is_none() && !it.forward.is_padding);
            return (room, seq, media.next_back().unwrap().seq);
        }
    }
    panic!("nothing was dropped");
}

#[test]
fn layers_that_take_less_than_an_estimate_begins_with_are_climbed_as_well() {
    for layers in [&[140, 350, 740], &[60, 150, 300], &[140, 480, 2_500]] {
        let mut path = Path::new(Published { layers, ..SIMULCAST }, 50_000);

        path.run(8 * SECOND);

        assert_eq!(path.layer(), Some(2), "{layers:?}: {:?}", path.room.viewer.congestion());
    }
}

#[test]
fn a_layer_that_takes_more_than_it_did_is_not_left_where_the_path_has_room_for_it() {
    let mut path = Path::new(Published { layers: &[150, 600, 1_000], ..SIMULCAST }, 50_000);
    path.run(10 * SECOND);
    let changes = path.changes.len();
    assert_eq!(path.layer(), Some(2), "{:?}", path.room.viewer.congestion());

    path.publish_at(&[150, 600, 1_300]);
    path.run(3 * SECOND);

    assert_eq!(path.changes.len(), changes, "{:?}", path.changes);
}
