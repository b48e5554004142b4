//! Feedback that lies, repeats itself, or never comes.

use rtp::rtcp::{self, Fate, Packet, TransportCcFeedback, Writer};
use rtp::{MonoTime, SeqNo, Ssrc};

use super::path::time;
use crate::Bitrate;
use crate::bwe::{Config, Estimator, Feedback, Limiter, Output, STATUSES_PER_SECOND, Sent};

#[test]
fn numbers_of_the_future_are_counted_and_change_nothing() {
    let mut viewer = Viewer::new();
    viewer.send(100);
    let before = viewer.estimator.estimate();

    viewer.report(SeqNo(100), &[Some(time(5_000)); 200]);
    viewer.report(SeqNo(20_000), &[Some(time(5_000)); 200]);

    let stats = viewer.estimator.stats();
    assert_eq!((stats.from_the_future, stats.received, stats.lost), (2, 0, 0));
    assert_eq!(viewer.estimator.estimate(), before);
}

#[test]
fn repeated_and_reordered_feedback_counts_each_packet_once() {
    let mut viewer = Viewer::new();
    viewer.send(100);
    let arrivals: Vec<_> = (0..100).map(|packet| Some(time(packet * 1_000))).collect();

    viewer.report(SeqNo(50), &arrivals[50..]);
    viewer.report(SeqNo(0), &arrivals[..50]);
    viewer.report(SeqNo(0), &arrivals);

    let stats = viewer.estimator.stats();
    assert_eq!((stats.received, stats.repeated), (100, 100));
}

#[test]
fn what_arrived_at_a_time_unknown_is_no_loss() {
    let mut viewer = Viewer::new();
    viewer.send(10);
    let fates: Vec<_> = (0..10).map(|seq| (SeqNo(seq), Fate::ArrivedSometime)).collect();

    viewer.estimator.handle_congestion(viewer.now(), 0, &fates);

    assert_eq!((viewer.estimator.stats().received, viewer.estimator.stats().lost), (10, 0));
}

#[test]
fn a_packet_that_was_called_lost_and_came_is_no_loss() {
    let mut viewer = Viewer::new();
    viewer.send(50);
    viewer.report(SeqNo(0), &[None; 50]);
    assert_eq!(viewer.estimator.stats().lost, 50);

    viewer.report(SeqNo(0), &(0..50).map(|packet| Some(time(packet * 10_000))).collect::<Vec<_>>());

    assert_eq!(viewer.estimator.stats().received, 50);
}

#[test]
fn impossible_rates_raise_the_estimate_no_further_than_the_proof_of_what_was_sent() {
    let mut viewer = Viewer::new();
    viewer.estimator.set_wanted(viewer.now(), Some(Bitrate::from_bps(u64::MAX)));

    // Everything arrives in the same instant, whatever was sent; probes are not served.
    for _ in 0..200 {
        let first = viewer.next;
        viewer.send(20);
        viewer.report(SeqNo(first), &[Some(time(viewer.now_us)); 20]);
    }

    // Twenty packets in 20 ms are 9.6 Mbit/s.
    let estimate = viewer.estimator.estimate().bitrate;
    assert!(estimate <= Bitrate::from_kbps(12_000), "{estimate:?}");
}

#[test]
fn deltas_that_run_backwards_and_leaping_clocks_stay_within_bounds() {
    let mut viewer = Viewer::new();
    for round in 0..500_u64 {
        let first = viewer.next;
        viewer.send(20);
        let lie = [0, 30_000_000, 7_000_000, 1, 900_000_000][round as usize % 5];
        let arrivals: Vec<_> = (0..20_u64).map(|packet| Some(time(lie + 8_000_000 * (packet % 2)))).collect();

        viewer.report(SeqNo(first), &arrivals);

        let estimate = viewer.estimator.estimate().bitrate;
        let config = Config::default();
        assert!((config.min..=config.max).contains(&estimate), "{estimate:?}");
        assert!(estimate <= Bitrate::from_kbps(12_000), "{estimate:?}");
    }
    assert!(viewer.estimator.stats().implausible > 100);
}

#[test]
fn a_storm_of_feedback_is_read_up_to_the_budget() {
    let mut viewer = Viewer::new();
    viewer.send(400);
    for _ in 0..1_000 {
        viewer.report(SeqNo(0), &[Some(time(1_000)); 400]);
    }

    let stats = viewer.estimator.stats();
    assert_eq!(stats.received, 400);
    assert!(stats.repeated <= STATUSES_PER_SECOND, "{stats:?}");
    assert!(stats.over_budget > 900);
}

#[test]
fn arbitrary_bytes_do_no_harm() {
    let mut viewer = Viewer::new();
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for _ in 0..3_000 {
        viewer.send(5);
        let mut bytes = [0_u8; 64];
        bytes.iter_mut().for_each(|byte| *byte = random());
        bytes[..4].copy_from_slice(&[0x8f, 205, 0, 15]);
        if random() < 128 {
            bytes[12..14].copy_from_slice(&viewer.next.wrapping_sub(10).to_be_bytes());
        }

        viewer.deliver(&bytes);

        let (config, estimate) = (Config::default(), viewer.estimator.estimate().bitrate);
        assert!((config.min..=config.max).contains(&estimate));
    }
    assert!(viewer.estimator.stats().feedbacks > 1_000);
}

#[test]
fn a_viewer_that_acknowledges_nothing_any_more_falls_to_the_lowest_rate() {
    let mut viewer = Viewer::new();
    viewer.send(10);
    let arrived = Some(viewer.now());
    viewer.report(SeqNo(0), &[arrived; 10]);

    viewer.send(10_000);

    let estimate = viewer.estimator.estimate();
    assert_eq!((estimate.bitrate, estimate.limiter), (Config::default().min, Limiter::Silence));
}

#[test]
fn a_viewer_that_never_reported_begins_again_at_the_start_after_three_seconds_of_packets() {
    let mut viewer = Viewer::new();
    viewer.send(1);
    viewer.pass(2_000);
    assert_eq!(viewer.estimator.estimate().limiter, Limiter::Silence);

    viewer.send(1_100);

    let estimate = viewer.estimator.estimate();
    assert_eq!((estimate.bitrate, estimate.limiter), (Config::default().start, Limiter::Unreported));
    assert_eq!(viewer.estimator.stats().fallbacks, 1);
    viewer.send(30_000);
    assert_eq!(viewer.estimator.estimate(), estimate, "silence means nothing any more");
}

#[test]
fn silence_of_a_paused_viewer_means_nothing() {
    let mut viewer = Viewer::new();
    let before = viewer.estimator.estimate();

    viewer.pass(60_000);

    assert_eq!(viewer.estimator.estimate(), before);
}

#[test]
fn receivers_estimates_of_nought_and_beyond_measure_stay_within_bounds() {
    for (remb, expected) in
        [(0, Config::default().min), (1 << 63, Config::default().max), (700_000, Bitrate::from_kbps(700))]
    {
        let config = Config { feedback: Feedback::Remb, ..Config::default() };
        let mut estimator = Estimator::new(config, MonoTime::ZERO);

        estimator.handle_remb(MonoTime::ZERO, remb);

        assert_eq!(estimator.estimate().bitrate, expected);
        assert_eq!(estimator.estimate().limiter, Limiter::Remb);
    }
}

#[test]
fn receivers_estimate_bounds_ours() {
    let mut viewer = Viewer::new();

    viewer.estimator.handle_remb(viewer.now(), 1 << 63);
    assert_eq!(viewer.estimator.estimate().bitrate, Config::default().start);
    viewer.estimator.handle_remb(viewer.now(), 300_000);

    assert_eq!(viewer.estimator.estimate().bitrate, Bitrate::from_kbps(300));
}

#[test]
fn timeouts_that_come_early_late_or_twice_do_no_harm() {
    let mut viewer = Viewer::new();
    viewer.estimator.handle_timeout(MonoTime::ZERO);
    viewer.estimator.handle_timeout(time(900_000_000));
    viewer.estimator.handle_timeout(time(900_000_000));
    viewer.estimator.handle_timeout(time(1));

    assert!(matches!(viewer.estimator.poll_output(), Some(Output::Estimate(_))));
    assert_eq!(viewer.estimator.poll_output(), None);
}

#[test]
fn who_has_no_picture_is_probed_though_the_path_has_become_longer() {
    for (longer_ms, is_urgent, is_probed) in [(90, true, true), (90, false, false), (400, true, false)] {
        let mut viewer = Viewer::new();
        viewer.hear(50, 20);
        viewer.hear(15, 20 + longer_ms);
        while viewer.estimator.poll_output().is_some() {}
        let wanted = Some(viewer.estimator.estimate().bitrate.scaled(2.0));

        viewer.estimator.set_urgent(is_urgent);
        viewer.estimator.set_wanted(viewer.now(), wanted);
        viewer.hear(25, 20 + longer_ms);

        let outputs = std::iter::from_fn(|| viewer.estimator.poll_output());
        let probes = outputs.filter(|output| matches!(output, Output::Probe(_))).count();
        assert_eq!(probes > 0, is_probed, "{longer_ms} ms longer, {:?}", viewer.estimator.queue());
    }
}

#[test]
fn an_estimator_takes_less_than_its_share_of_a_viewers_memory() {
    assert!(Estimator::footprint() <= 20 * 1_024, "{}", Estimator::footprint());
}

/// An estimator and the packets that it is told of, one in a millisecond.
struct Viewer {
    estimator: Estimator,
    next: u16,
    now_us: u64,
    feedback_count: u8,
}

impl Viewer {
    fn new() -> Self {
        Self {
            estimator: Estimator::new(Config::default(), MonoTime::ZERO),
            next: 0,
            now_us: 0,
            feedback_count: 0,
        }
    }

    fn now(&self) -> MonoTime {
        time(self.now_us)
    }

    fn send(&mut self, count: u16) {
        for _ in 0..count {
            self.now_us += 1_000;
            let now = self.now();
            let sent = Sent { seq: SeqNo(self.next), size: 1_200, run: self.next, probe: None };
            self.estimator.handle_sent(now, &sent);
            self.estimator.handle_timeout(now);
            self.next = self.next.wrapping_add(1);
        }
    }

    /// Sends sound, a packet each 20 ms, over a path of so many milliseconds; jitter keeps it from standing still.
    fn hear(&mut self, count: u16, delay_ms: u64) {
        for _ in 0..count {
            self.pass(20);
            let (now, seq) = (self.now(), SeqNo(self.next));
            self.estimator.handle_sent(now, &Sent { seq, size: 130, run: self.next, probe: None });
            let jitter_ms = u64::from(self.next % 40);
            self.report(seq, &[Some(time(self.now_us + (delay_ms + jitter_ms) * 1_000))]);
            self.next = self.next.wrapping_add(1);
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now_us += 1_000;
            self.estimator.handle_timeout(self.now());
        }
    }

    fn report(&mut self, base: SeqNo, arrivals: &[Option<MonoTime>]) {
        let feedback = TransportCcFeedback::new(base, self.feedback_count, arrivals);
        self.feedback_count = self.feedback_count.wrapping_add(1);
        let mut bytes = [0; 2_000];
        let mut writer = Writer::new(&mut bytes);
        assert!(writer.transport_cc(Ssrc(1), Ssrc(2), &feedback));
        let length = writer.finish();
        self.deliver(&bytes[..length]);
    }

    fn deliver(&mut self, bytes: &[u8]) {
        let now = self.now();
        for packet in rtcp::packets(bytes).flatten() {
            if let Packet::TransportCc(view) = packet {
                self.estimator.handle_twcc(now, &view);
            }
        }
    }
}
