//! What the model promises, on many seeds.

use super::*;

const SEEDS: std::ops::Range<u64> = 0..16;
const BYTES: usize = 1200;
/// Packets of all seeds of a test of 40,000 each.
const SENT: f64 = 16.0 * 40_000.0;

fn config(spec: &str) -> Config {
    Config::default().changed_by(spec).unwrap()
}

fn micros(micros: u64) -> MonoTime {
    MonoTime::from_nanos(micros * 1000)
}

/// A driver in virtual time that keeps what comes out.
struct Run {
    direction: Direction<u32>,
    out: Vec<Delivery<u32>>,
}

impl Run {
    fn new(spec: &str, seed: u64) -> Self {
        Self { direction: Direction::new(config(spec), seed), out: Vec::new() }
    }

    /// Sends `count` packets, one each `gap_us`, numbered from 0, and waits for the last.
    fn steady(spec: &str, seed: u64, count: u32, gap_us: u64) -> Self {
        let mut run = Self::new(spec, seed);
        for number in 0..count {
            run.send(micros(u64::from(number) * gap_us), number);
        }
        run.finish();
        run
    }

    fn send(&mut self, at: MonoTime, number: u32) {
        self.pass(at);
        self.direction.handle_packet(at, number, BYTES);
        self.poll();
    }

    fn pass(&mut self, until: MonoTime) {
        while let Some(next) = self.direction.next_timeout().filter(|next| *next <= until) {
            self.direction.handle_timeout(next);
            self.poll();
        }
    }

    fn finish(&mut self) {
        self.pass(MonoTime::from_nanos(u64::MAX));
    }

    fn poll(&mut self) {
        while let Some(delivery) = self.direction.poll_output() {
            self.out.push(delivery);
        }
        let Counters { received, delivered, duplicated, .. } = *self.direction.counters();
        let gone = self.direction.counters().dropped() + delivered + self.direction.inside() as u64;
        assert_eq!(received + duplicated, gone, "conservation: {:?}", self.direction.counters());
    }

    fn numbers(&self) -> Vec<u32> {
        self.out.iter().map(|delivery| delivery.packet).collect()
    }

    /// Lengths of the runs of numbers that never came out.
    fn losses(&self, count: u32) -> Vec<u32> {
        let mut runs = Vec::new();
        let mut expected = 0;
        for number in self.numbers().into_iter().chain([count]) {
            if number > expected {
                runs.push(number - expected);
            }
            expected = number + 1;
        }
        runs
    }
}

#[test]
fn a_clear_direction_gives_everything_at_once() {
    let run = Run::steady("clear", 1, 100, 10);

    assert_eq!(run.numbers(), (0..100).collect::<Vec<_>>());
    assert!(run.out.iter().all(|delivery| delivery.due == micros(u64::from(delivery.packet) * 10)));
}

#[test]
fn delay_is_exact_however_late_the_driver_looks() {
    let mut run = Run::new("delay=50ms", 1);
    run.send(micros(0), 0);

    run.direction.handle_timeout(micros(49_999));
    assert_eq!(run.direction.poll_output(), None);
    assert_eq!(run.direction.next_timeout(), Some(micros(50_000)));
    run.direction.handle_timeout(micros(80_000));

    assert_eq!(run.direction.poll_output(), Some(Delivery { due: micros(50_000), packet: 0 }));
}

#[test]
fn jitter_stays_within_its_bounds_uses_them_and_keeps_the_order() {
    for seed in SEEDS {
        let run = Run::steady("delay=50ms,jitter=10ms", seed, 20_000, 700);

        let delays: Vec<u64> = run
            .out
            .iter()
            .map(|delivery| delivery.due.as_nanos() / 1000 - u64::from(delivery.packet) * 700)
            .collect();
        let mean = delays.iter().sum::<u64>() / delays.len() as u64;
        assert!(run.numbers().is_sorted(), "seed {seed}");
        assert!(delays.iter().all(|delay| (40_000..=60_000).contains(delay)), "seed {seed}");
        assert!((48_500..=51_500).contains(&mean), "seed {seed}: mean {mean} µs");
        assert!(*delays.iter().min().unwrap() < 41_000, "seed {seed}");
        assert!(*delays.iter().max().unwrap() > 59_000, "seed {seed}");
    }
}

#[test]
fn even_loss_has_the_mean_asked_for() {
    for seed in SEEDS {
        let run = Run::steady("loss=5%", seed, 40_000, 100);

        let lost = run.direction.counters().lost;
        // Five standard deviations of a binomial.
        assert!((1782..=2218).contains(&lost), "seed {seed}: {lost}");
        assert_eq!(run.out.len() as u64 + lost, 40_000);
    }
}

#[test]
fn bursts_have_the_mean_share_and_length_asked_for() {
    let (mut lost, mut runs) = (0, 0);
    for seed in SEEDS {
        let run = Run::steady("loss=5%,burst=4", seed, 40_000, 100);
        let lengths = run.losses(40_000);
        lost += lengths.iter().sum::<u32>();
        runs += lengths.len();
        assert!(lengths.iter().any(|length| *length >= 10), "seed {seed}: no long burst");
    }

    let (share, length) = (f64::from(lost) / SENT, f64::from(lost) / runs as f64);
    assert!((0.0475..=0.0525).contains(&share), "mean loss {share}");
    assert!((3.85..=4.15).contains(&length), "mean length {length}");
}

#[test]
fn the_chain_loses_in_both_states_as_asked() {
    let mut lost = 0;
    for seed in SEEDS {
        lost += Run::steady("p=1%,r=9%,good=1%,bad=51%", seed, 40_000, 100).direction.counters().lost;
    }

    // A tenth of the time in the bad state: 0.9 × 1 % + 0.1 × 51 %.
    let share = lost as f64 / SENT;
    assert!((0.057..=0.063).contains(&share), "{share}");
}

#[test]
fn the_rate_is_reached_and_never_exceeded_over_any_100_ms() {
    for seed in SEEDS {
        // 4 Mbit/s offered in clumps to a link of 1.5.
        let mut run = Run::new("delay=20ms,rate=1.5M,queue=300ms", seed);
        for clump in 0..300_u32 {
            for place in 0..10 {
                run.send(micros(u64::from(clump) * 24_000 + seed * 7), clump * 10 + place);
            }
        }
        run.finish();

        let due: Vec<u64> = run.out.iter().map(|delivery| delivery.due.as_nanos()).collect();
        for (index, start) in due.iter().enumerate() {
            let within = due[index..].partition_point(|time| *time < start + 100_000_000);
            // A packet that was on the wire before the window began ends in it.
            assert!(within * BYTES * 8 <= 150_000 + BYTES * 8, "seed {seed}: {within} packets from {start}");
        }
        let seconds = (due[due.len() - 1] - due[0]) as f64 / 1e9;
        let rate = (due.len() - 1) as f64 * (BYTES * 8) as f64 / seconds;
        assert!((1.499e6..=1.501e6).contains(&rate), "seed {seed}: {rate} bit/s");
    }
}

#[test]
fn the_queue_never_exceeds_its_bound_in_time_or_bytes() {
    // Of the packet on the wire only the rest counts as time, but all of it as bytes.
    for (spec, delay_ms, bound) in
        [("rate=1M,queue=100ms", 100, 12_500 + BYTES), ("rate=1M,queue=20kB", 160, 20_000)]
    {
        let mut run = Run::new(spec, 1);
        let mut fullest = 0;
        for number in 0..2000 {
            run.send(micros(u64::from(number) * 2000), number);
            fullest = fullest.max(run.direction.queue_bytes());
            assert!(run.direction.queue_bytes() <= bound, "{spec}");
            assert!(run.direction.queue_delay() <= Duration::from_millis(delay_ms), "{spec}");
        }

        assert!(fullest > bound - BYTES * 2, "{spec}: the queue was never full, only {fullest}");
        assert!(run.direction.counters().queue_dropped > 1000, "{spec}");
    }
}

#[test]
fn a_packet_larger_than_the_queue_still_crosses_an_idle_link() {
    let run = Run::steady("rate=1M,queue=100B", 1, 3, 100_000);

    assert_eq!(run.numbers(), [0, 1, 2]);
}

#[test]
fn a_changed_rate_applies_to_the_rest_of_the_packet_on_the_wire() {
    let mut run = Run::new("rate=960k,queue=1s", 1);
    run.send(micros(0), 0);
    run.send(micros(0), 1);

    // 10 ms each; after 5 ms half of the first is left, which at a tenth of the rate takes 50 ms.
    run.pass(micros(5000));
    run.direction.handle_config(micros(5000), config("rate=96k,queue=1s"));
    run.finish();

    let due: Vec<MonoTime> = run.out.iter().map(|delivery| delivery.due).collect();
    assert_eq!(due, [micros(55_000), micros(155_000)]);
}

#[test]
fn a_queue_that_became_too_short_drops_its_tail() {
    let mut run = Run::new("rate=1M,queue=1s", 1);
    for number in 0..100 {
        run.send(micros(0), number);
    }
    assert_eq!(run.direction.counters().queue_dropped, 0);

    run.direction.handle_config(micros(0), config("rate=500k,queue=200ms"));
    run.poll();

    assert!(run.direction.queue_delay() <= Duration::from_millis(200));
    // The packet on the wire and nine more take 19.2 ms each.
    assert_eq!(run.direction.inside(), 10);
    run.finish();
    assert_eq!(run.numbers(), (0..10).collect::<Vec<_>>());
}

#[test]
fn taking_the_rate_away_empties_the_queue_in_order() {
    let mut run = Run::new("rate=1M,queue=1s,delay=5ms", 1);
    for number in 0..50 {
        run.send(micros(0), number);
    }

    run.direction.handle_config(micros(100), config("delay=5ms"));
    run.send(micros(100), 50);
    run.finish();

    assert_eq!(run.numbers(), (0..=50).collect::<Vec<_>>());
    assert!(run.out.iter().all(|delivery| delivery.due == micros(5100)));
}

#[test]
fn order_is_kept_through_changes_of_everything_but_reorder() {
    let specs = [
        "delay=200ms,jitter=50ms,loss=10%,burst=3",
        "clear",
        "delay=10ms,rate=3M,queue=50ms",
        "delay=1ms,jitter=1ms,duplicate=20%,rate=600k",
        "rate=none,delay=80ms,jitter=80ms",
    ];
    for seed in SEEDS {
        let mut run = Run::new("clear", seed);
        for number in 0..5000_u32 {
            let at = micros(u64::from(number) * 900);
            run.pass(at);
            if number % 250 == 0 {
                let spec = specs[(number as usize / 250 + seed as usize) % specs.len()];
                let next = run.direction.config().changed_by(spec).unwrap();
                run.direction.handle_config(at, next);
                run.poll();
            }
            run.send(at, number);
        }
        run.finish();

        assert!(run.numbers().is_sorted(), "seed {seed}");
        assert!(run.out.is_sorted_by_key(|delivery| delivery.due), "seed {seed}");
        assert!(run.direction.counters().lost > 50, "seed {seed}");
        assert!(run.direction.counters().duplicated > 50, "seed {seed}");
    }
}

#[test]
fn the_asked_share_is_overtaken() {
    for seed in SEEDS {
        let run = Run::steady("delay=20ms,reorder=2%,hold=10ms", seed, 20_000, 1000);

        let late = run.out.iter().filter(|delivery| {
            let sent = u64::from(delivery.packet) * 1000;
            delivery.due == micros(sent + 30_000)
        });
        let late = late.count() as u64;
        assert_eq!(late, run.direction.counters().reordered, "seed {seed}");
        assert!((300..=500).contains(&late), "seed {seed}: {late}");
        assert!(!run.numbers().is_sorted(), "seed {seed}");
        assert_eq!(run.out.len(), 20_000);
    }
}

#[test]
fn copies_are_counted_and_arrive_beside_their_originals() {
    for seed in SEEDS {
        let run = Run::steady("delay=10ms,duplicate=3%", seed, 20_000, 500);

        let numbers = run.numbers();
        let pairs = numbers.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
        assert_eq!(pairs, run.direction.counters().duplicated, "seed {seed}");
        assert_eq!(numbers.len() as u64, 20_000 + pairs);
        assert!((480..=720).contains(&pairs), "seed {seed}: {pairs}");
    }
}

#[test]
fn a_blackout_takes_what_comes_and_what_is_under_way_and_then_ends() {
    let mut run = Run::new("delay=10ms", 1);
    run.send(micros(0), 0);
    run.send(micros(9000), 1);

    run.pass(micros(12_000));
    run.direction.handle_config(micros(12_000), config("delay=10ms,blackout"));
    run.send(micros(13_000), 2);
    run.pass(micros(20_000));
    run.direction.handle_config(micros(20_000), config("delay=10ms"));
    run.send(micros(21_000), 3);
    run.finish();

    assert_eq!(run.numbers(), [0, 3]);
    assert_eq!(run.direction.counters().blackout_dropped, 2);
}

#[test]
fn memory_is_bounded_by_packets_and_by_bytes() {
    let mut many = Direction::new(config("delay=30s,duplicate=50%"), 1);
    let mut large = Direction::new(config("delay=30s"), 1);
    for _ in 0..PACKETS_MAX + 500 {
        many.handle_packet(micros(0), (), 1);
    }
    for _ in 0..100 {
        large.handle_packet(micros(0), (), 1 << 20);
    }

    assert_eq!(many.inside(), PACKETS_MAX);
    assert!(many.counters().overflow_dropped > 500);
    assert_eq!(large.inside() << 20, BYTES_MAX);
    assert_eq!(large.counters().overflow_dropped, 36);
}

#[test]
fn one_seed_gives_one_run_and_another_seed_another() {
    let spec = "delay=50ms,jitter=10ms,loss=5%,burst=3,reorder=1%,duplicate=1%,rate=5M";
    let run = |seed| Run::steady(spec, seed, 5000, 1500).out;

    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn early_late_and_repeated_timeouts_do_no_harm() {
    let spec = "delay=20ms,jitter=5ms,rate=2M,loss=2%";
    let calm = Run::steady(spec, 3, 2000, 3000);
    let mut restless = Run::new(spec, 3);
    for number in 0..2000 {
        let at = micros(u64::from(number) * 3000);
        restless.send(at, number);
        restless.direction.handle_timeout(MonoTime::ZERO);
        restless.direction.handle_timeout(at);
        restless.direction.handle_timeout(at + Duration::from_micros(2900));
        restless.poll();
    }
    restless.finish();

    assert_eq!(restless.out, calm.out);
}
