//! Feedback that lies, floods or never comes: bounded, counted, and nobody else's matter.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rtp::rtcp::{ReportBlock, TransportCcFeedback, Writer};
use rtp::{MonoTime, SeqNo, Ssrc};

use super::harness::VIDEO;
use super::path::{Path, Published, Reports, SECOND, SIMULCAST, remb};
use crate::allocator::Reason;
use crate::bwe::Limiter;
use crate::pacer::{AUDIO_MAX, VIDEO_MAX};
use crate::viewer::Congestion;

#[test]
fn numbers_of_the_future_prove_nothing() {
    let mut path = deaf();
    for step in 0..100_u16 {
        path.run(50);
        let arrivals = vec![Some(path.room.now); 200];
        lie(&mut path, 10_000 + step * 200, &arrivals);
    }

    let congestion = known(&path);
    assert!(congestion.counters.from_the_future >= 100, "{congestion:?}");
    assert_eq!(congestion.counters.received, 0);
    assert!(congestion.estimate.bitrate.as_bps() <= 600_000, "{congestion:?}");
}

#[test]
fn arrivals_before_their_sending_and_impossible_rates_raise_nothing_beyond_what_was_sent() {
    for seed in 0..20 {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut path = deaf();
        let mut next = 0_u16;
        for _ in 0..200 {
            path.run(50);
            // All at one instant, or backwards in time, from a clock that leaps.
            let base = u64::from(dice.next_u32() % 60_000);
            let step = u64::from(dice.next_u32() % 3);
            let arrivals: Vec<_> =
                (0..40).map(|index| Some(MonoTime::from_millis(base + 40_000 - index * step))).collect();
            lie(&mut path, next, &arrivals);
            next = next.wrapping_add(dice.next_u32() as u16 % 60);
        }

        let congestion = known(&path);
        let sent = path.sent as u64 * 8 / 10;
        assert!(congestion.estimate.bitrate.as_bps() < sent * 6, "seed {seed}: {congestion:?}, {sent} sent");
        assert!(path.longest_stall(0, 200) <= 200, "{:?}", path.shown.len());
    }
}

#[test]
fn receivers_estimates_of_nought_and_beyond_measure_are_bounded() {
    let mut path = Path::new(SIMULCAST, 10_000);
    path.run(6 * SECOND);
    assert_eq!(path.layer(), Some(2));

    path.room.rtcp(&remb(1 << 63));
    path.run(SECOND);
    assert_eq!(path.layer(), Some(2));
    path.room.rtcp(&remb(0));
    path.run(2 * SECOND);

    let congestion = known(&path);
    assert_eq!((congestion.estimate.limiter, congestion.counters.remb_zero), (Limiter::Remb, 1));
    assert!(congestion.estimate.bitrate.as_bps() >= 50_000);
    assert!(congestion.waiting_packets <= VIDEO_MAX + AUDIO_MAX);
    path.room.rtcp(&remb(u64::MAX));
    path.run(10 * SECOND);
    assert_eq!(path.layer(), Some(2), "{:?}", known(&path));
}

#[test]
fn a_storm_of_feedback_is_read_in_part_and_counted_and_nothing_goes_out_for_it() {
    let mut path = Path::new(SIMULCAST, 10_000);
    path.run(6 * SECOND);
    let before = known(&path);
    let timers = path.timers;

    for _ in 0..5_000 {
        let arrivals = vec![Some(path.room.now); 400];
        let sent = lie(&mut path, 0, &arrivals);
        assert_eq!(sent, 0);
    }

    let after = known(&path);
    assert!(after.counters.over_budget - before.counters.over_budget > 4_900, "{after:?}");
    path.run(SECOND);
    assert!(path.timers - timers < 600, "{}", path.timers - timers);
    assert_eq!(path.layer(), Some(2), "{:?}", known(&path));
}

#[test]
fn a_viewer_that_never_reports_keeps_its_picture_and_is_led_by_what_it_loses() {
    let mut path = deaf();

    path.run(30 * SECOND);

    let congestion = known(&path);
    assert_eq!((path.layer(), congestion.estimate.limiter), (Some(0), Limiter::Unreported), "{congestion:?}");
    assert_eq!((congestion.counters.fallbacks, congestion.waiting_packets), (1, 0), "{congestion:?}");
    assert!(path.longest_stall(500, 30_000) < 200, "{}", path.longest_stall(500, 30_000));

    report_losses(&mut path, 30, 0);
    assert_eq!(path.layer(), Some(2), "nothing is lost: {:?}", known(&path));

    report_losses(&mut path, 5, 60);
    assert!(matches!(path.layer(), Some(0 | 1)), "a quarter is lost: {:?}", known(&path));

    report_losses(&mut path, 20, 128);
    report_losses(&mut path, 60, 0);
    assert_eq!(path.layer(), Some(2), "nothing is lost again: {:?}", known(&path));
    assert_eq!(known(&path).counters.fallbacks, 1);
}

#[test]
fn a_viewer_that_never_reports_is_led_by_its_own_estimate_where_it_has_one() {
    for before in [true, false] {
        let mut path = deaf();
        path.run(if before { SECOND } else { 6 * SECOND });
        path.room.rtcp(&remb(1_100_000));
        path.run(8 * SECOND);

        let congestion = known(&path);
        assert_eq!((path.layer(), congestion.estimate.limiter), (Some(1), Limiter::Remb), "{congestion:?}");
        assert_eq!(congestion.counters.fallbacks, 1);
    }
}

#[test]
fn a_viewer_that_reports_at_last_is_led_by_that() {
    let mut path = deaf();
    path.run(6 * SECOND);
    assert_eq!(known(&path).estimate.limiter, Limiter::Unreported);

    path.reports = Reports::TransportWide;
    path.run(10 * SECOND);

    let congestion = known(&path);
    assert_eq!(
        (path.layer(), congestion.estimate.limiter),
        (Some(2), Limiter::Application),
        "{congestion:?}"
    );
}

#[test]
fn a_viewer_that_stops_to_acknowledge_is_led_down_and_holds_nothing() {
    let mut path = Path::new(SIMULCAST, 10_000);
    path.run(5 * SECOND);
    path.reports = Reports::Nothing;

    path.run(30 * SECOND);

    let congestion = known(&path);
    assert_eq!(
        (congestion.estimate.limiter, congestion.allocation.reason),
        (Limiter::Silence, Reason::AudioOnly)
    );
    assert!(congestion.counters.silences > 2 && congestion.waiting_packets == 0, "{congestion:?}");
    assert!(path.timers < 30 * 40, "{}", path.timers);
}

#[test]
fn a_viewer_that_reads_nothing_or_asks_without_end_makes_the_publisher_make_few_keyframes() {
    for asks in [false, true] {
        let published = Published { layers: &[2_500], gop: 120, ..SIMULCAST };
        let mut path = Path::new(published, 10_000);
        if !asks {
            path.reports = Reports::Nothing;
        }
        for _ in 0..60 * SECOND / 10 {
            path.run(10);
            if asks {
                let sent = path.room.rtcp(&pli());
                path.enter(sent);
            }
        }

        let late = path.requests.iter().filter(|(at, _)| *at > 10 * SECOND).count();
        assert!(path.requests.len() - late <= 6 && late == 0, "asks: {asks}, {:?}", path.requests);
    }
}

/// Lets seconds pass, with a receiver report at the end of each.
fn report_losses(path: &mut Path, seconds: u64, fraction_lost: u8) {
    for _ in 0..seconds {
        path.run(SECOND);
        let mut compound = [0; 64];
        let mut writer = Writer::new(&mut compound);
        let block = ReportBlock { ssrc: VIDEO, fraction_lost, ..ReportBlock::default() };
        assert!(writer.receiver_report(Ssrc(1), &[block]));
        let length = writer.finish();
        path.room.rtcp(&compound[..length]);
    }
}

/// A viewer that says nothing by itself.
fn deaf() -> Path {
    let mut path = Path::new(SIMULCAST, 10_000);
    path.reports = Reports::Nothing;
    path
}

pub(super) fn pli() -> Vec<u8> {
    let mut compound = [0; 64];
    let mut writer = Writer::new(&mut compound);
    assert!(writer.pli(Ssrc(1), VIDEO));
    let length = writer.finish();
    compound[..length].to_vec()
}

fn known(path: &Path) -> Congestion {
    path.room.viewer.congestion().unwrap()
}

/// Sends the viewer's machine a feedback packet; how many packets that made go out.
fn lie(path: &mut Path, base: u16, arrivals: &[Option<MonoTime>]) -> usize {
    let mut compound = [0; 1_500];
    let mut writer = Writer::new(&mut compound);
    assert!(writer.transport_cc(Ssrc(1), VIDEO, &TransportCcFeedback::new(SeqNo(base), 0, arrivals)));
    let length = writer.finish();
    path.room.rtcp(&compound[..length]).len()
}
