//! Paths that carry more than there is to send.

use super::link::{Conditions, Loss};
use super::path::{Media, Path};
use crate::Bitrate;
use crate::bwe::Limiter;

#[test]
fn estimate_of_an_ample_path_stays_above_the_top_layer() {
    let mut wrong = Vec::new();
    for seed in 0..20 {
        let conditions = Conditions {
            rate: Bitrate::from_kbps(4_000 + seed * 300),
            jitter_ms: [0, 5, 15, 30][seed as usize % 4],
            delay_ms: 5 + seed * 4,
            loss: Loss { share: [0.0, 0.01, 0.03][seed as usize % 3], burst: 1.0 },
            ..Conditions::of(0)
        };
        let mut path = Path::new(conditions, &[Media::Layers(&LAYERS)], seed);

        path.run_until(60_000);

        let flow = &path.flows[0];
        let lowest = flow.trace[50..].iter().map(|it| it.bitrate.as_bps() / 1_000).min().unwrap();
        if lowest < LAYERS[2] || flow.layer != 2 {
            wrong.push((seed, conditions, lowest, flow.layer, flow.switches.clone()));
        }
    }

    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn top_layer_on_a_fast_path_is_reached_within_3_seconds() {
    for seed in 0..10 {
        let mut path =
            Path::new(Conditions { delay_ms: 1, ..Conditions::of(50_000) }, &[Media::Layers(&LAYERS)], seed);

        path.run_until(3_500);

        assert_eq!(path.flows[0].layer, 2, "{seed}: {:?}", path.flows[0].trace);
    }
}

#[test]
fn limiter_of_a_satisfied_viewer_is_not_the_path() {
    let mut path = Path::new(Conditions::of(20_000), &[Media::Layers(&LAYERS)], 1);

    path.run_until(10_000);

    let limiter = path.flows[0].estimator.estimate().limiter;
    assert!(matches!(limiter, Limiter::Probe | Limiter::Application), "{limiter:?}");
}

#[test]
fn a_satisfied_viewer_claims_no_more_of_a_fast_path_than_it_could_use() {
    let mut path = Path::new(Conditions::of(20_000), &[Media::Layers(&LAYERS)], 1);

    path.run_until(60_000);

    let flow = &path.flows[0];
    let highest = flow.trace[50..].iter().map(|it| it.bitrate.as_bps() / 1_000).max().unwrap();
    assert!((LAYERS[2]..LAYERS[2] * 11 / 10).contains(&highest), "{highest}");
    assert!(flow.estimator.carried().as_bps() / 1_000 >= highest);
}

/// In kbit/s.
const LAYERS: [u64; 3] = [250, 900, 2_500];
