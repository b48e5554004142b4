//! What every change has to pass: the committed seeds, the kept ones, and the paths of the table.

#![expect(clippy::expect_used, reason = "a test may end its process")]

use sim::properties::{Property, judge};
use sim::scenario::{Kind, Scenario};
use sim::sweep::{SEEDS, Sweep};
use sim::world::{Outcome, run};
use sim::{kept, table, trace};

#[test]
fn committed_seeds_keep_each_property_as_often_as_they_have_to() {
    let sweep = Sweep::of(0..SEEDS);

    println!("{sweep}");
    assert!(Property::ALL.iter().all(|property| sweep.judged.get(property).is_some_and(|count| *count > 10)));
    assert!(sweep.is_kept(), "{sweep}\nrepeat one of them by: make sim-trace SEED=…");
}

#[test]
fn kept_seeds_keep_what_they_once_broke() {
    for (seed, property) in kept::read().unwrap() {
        let judgement = judge(&run(Scenario::draw(seed)));

        assert!(judgement.judged.contains(&property), "seed {seed} is no test of {property:?} any more");
        let broken = judgement.breaches.iter().find(|breach| breach.property == property);
        assert!(broken.is_none(), "seed {seed}: {}\nmake sim-trace SEED={seed}", broken.unwrap());
    }
}

#[test]
fn paths_of_the_table_reach_their_numbers_but_for_those_known_to_be_missed() {
    let figures = table::play();

    let lines: Vec<String> = figures.iter().map(ToString::to_string).collect();
    println!("{}", lines.join("\n"));
    assert!(figures.iter().all(table::Figure::is_bearable), "{}", lines.join("\n"));
}

#[test]
fn one_seed_gives_one_run() {
    let traces = [5, 5, 15].map(|seed| trace::of(&run(Scenario::draw(seed)), &(0..0)));

    assert_eq!(traces[0], traces[1]);
    assert_ne!(traces[0], traces[2]);
}

#[test]
fn every_kind_and_every_hardship_is_among_the_committed_seeds() {
    let scenarios: Vec<Scenario> = (0..SEEDS).map(Scenario::draw).collect();
    let count = |wanted: &dyn Fn(&Scenario) -> bool| scenarios.iter().filter(|it| wanted(it)).count();

    for kind in [Kind::Steady, Kind::Steps, Kind::Blackout, Kind::Pair, Kind::Storm] {
        assert!(count(&|it| it.kind == kind) >= 15, "{kind:?}");
    }
    for layers in 1..=3 {
        assert!(count(&|it| it.publisher.layers.len() == layers) >= 25, "{layers} layers");
    }
    assert!(count(&|it| !it.publisher.camera.answers_requests) >= 50);
    assert!(count(&|it| it.publisher.camera.group.is_none()) >= 30);
    assert!(count(&|it| it.publisher.camera.temporal) >= 30);
    assert!(count(&|it| it.paths.iter().any(|path| path.down.reorder > Default::default())) >= 30);
    assert!(count(&|it| it.paths.iter().any(|path| path.down.duplicate > Default::default())) >= 30);
    assert!(count(&|it| it.changes.iter().any(|change| change.down.blackout)) >= 20);
}

/// A run that keeps everything, for the tests below to spoil.
fn kept_run(kind: Kind) -> Outcome {
    let seeds = (0..SEEDS).filter(|seed| Scenario::draw(*seed).kind == kind);
    let runs = seeds.map(|seed| run(Scenario::draw(seed)));
    runs.into_iter()
        .find(|outcome| judge(outcome).breaches.is_empty())
        .expect("one seed of this kind keeps all")
}

fn broken(outcome: &Outcome) -> Vec<Property> {
    judge(outcome).breaches.iter().map(|breach| breach.property).collect()
}

#[test]
fn a_second_without_pictures_or_sound_is_a_stall() {
    for sound in [false, true] {
        let mut outcome = kept_run(Kind::Steady);
        let record = &mut outcome.viewers[0];
        let from_us = (record.joined_ms + 8_000) * 1_000;
        let inside = |at_us: u64| (from_us..from_us + 1_100_000).contains(&at_us);
        if sound {
            record.audio.retain(|(at_us, _)| !inside(*at_us));
        } else {
            record.shown.retain(|shown| !inside(shown.at_us));
        }

        assert_eq!(broken(&outcome), [Property::Stall], "sound: {sound}");
    }
}

#[test]
fn a_viewer_who_never_sees_anything_is_a_stall() {
    let mut outcome = kept_run(Kind::Steady);
    outcome.viewers[0].shown.clear();

    assert_eq!(broken(&outcome), [Property::Stall]);
}

#[test]
fn a_hole_and_a_fault_break_the_numbering() {
    let mut hole = kept_run(Kind::Steady);
    hole.viewers[0].holes[1] = hole.never_came[1] + 1;
    let mut fault = kept_run(Kind::Steady);
    fault.viewers[0].faults.push((1, "a number was sent twice".to_owned()));

    assert_eq!(broken(&hole), [Property::Numbering]);
    assert_eq!(broken(&fault), [Property::Numbering]);
}

#[test]
fn a_packet_that_waited_and_a_long_queue_break_the_bounds() {
    let mut waited = kept_run(Kind::Steady);
    waited.viewers[0].samples[100].waited_ms = 250.0;
    let mut queue = kept_run(Kind::Steady);
    queue.viewers[0].queues.iter_mut().for_each(|(_, queue)| *queue += 1_000.0);

    assert_eq!(broken(&waited), [Property::Queue]);
    assert_eq!(broken(&queue), [Property::Queue]);
}

#[test]
fn an_estimate_that_strays_is_found_on_steady_paths_and_after_drops() {
    let mut steady = kept_run(Kind::Steady);
    spoil_estimates(&mut steady, 0.05);
    let seeds = (0..SEEDS).map(|seed| run(Scenario::draw(seed)));
    let mut dropped = seeds
        .into_iter()
        .find(|outcome| {
            let judgement = judge(outcome);
            judgement.breaches.is_empty() && judgement.judged.contains(&Property::AfterDrop)
        })
        .expect("one seed with a drop keeps all");
    spoil_estimates(&mut dropped, 0.05);

    assert_eq!(broken(&steady), [Property::Estimate]);
    assert!(broken(&dropped).contains(&Property::AfterDrop));
}

#[test]
fn three_switches_in_ten_seconds_are_too_many() {
    let mut outcome = kept_run(Kind::Steady);
    let record = &mut outcome.viewers[0];
    let first = record.switches[0];
    record.switches.truncate(1);
    record
        .switches
        .extend([1, 4, 9].map(|second| sim::Switch { at_ms: first.at_ms + second * 1_000, ..first }));

    assert_eq!(broken(&outcome), [Property::Switches]);
}

#[test]
fn two_viewers_with_unlike_estimates_or_layers_are_found() {
    let mut unlike = kept_run(Kind::Pair);
    unlike.viewers[1].samples.iter_mut().for_each(|sample| {
        sample.estimate_kbps = sample.estimate_kbps.map(|kbps| kbps * 0.5);
    });
    let mut apart = kept_run(Kind::Pair);
    apart.viewers[1].samples.iter_mut().for_each(|sample| sample.layer = None);
    apart.viewers[0].samples.iter_mut().for_each(|sample| sample.layer = Some(1));

    assert_eq!(broken(&unlike), [Property::Alike]);
    assert_eq!(broken(&apart), [Property::Apart]);
}

fn spoil_estimates(outcome: &mut Outcome, factor: f64) {
    for sample in outcome.viewers.iter_mut().flat_map(|record| &mut record.samples) {
        sample.estimate_kbps = sample.estimate_kbps.map(|kbps| kbps * factor);
    }
}
