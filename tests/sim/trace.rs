//! A run for people to read: what happened, second by second.

use std::fmt::Write;
use std::ops::Range;

use crate::properties::{judge, samples};
use crate::scenario::left_kbps;
use crate::world::{Outcome, Record, SAMPLE_MS, Sample};

/// Writes a run down: the scenario, a line for each second and viewer, and the judgement. The seconds of `close` get a
/// line for each tenth.
#[must_use]
pub fn of(outcome: &Outcome, close: &Range<u64>) -> String {
    let mut out = outcome.scenario.to_string();
    for (index, record) in outcome.viewers.iter().enumerate() {
        let _ = writeln!(out, "\nviewer {index}: {:?}", record.counts);
        let shown: Vec<u64> = record.shown.iter().map(|shown| shown.at_us / 1_000).collect();
        let gaps = shown.windows(2).filter(|pair| pair[1] - pair[0] > 180);
        let gaps: Vec<(u64, u64)> = gaps.map(|pair| (pair[0], pair[1] - pair[0])).collect();
        let _ = writeln!(out, "  stood still (from, for ms): {gaps:?}");
        for switch in &record.switches {
            let _ = writeln!(
                out,
                "  {:>6} ms: layer {:?} -> {} ({})",
                switch.at_ms, switch.from, switch.to, switch.reason
            );
        }
        out.push_str("        s   left  estimate (lowest, limiter)      sent  repeated layer  queue  waited  pictures  longest gap  allocation\n");
        for second in record.joined_ms / 1_000..outcome.scenario.length_ms / 1_000 {
            let step_ms = if close.contains(&second) { SAMPLE_MS } else { 1_000 };
            for from in (second * 1_000..second * 1_000 + 1_000).step_by(step_ms as usize) {
                line(outcome, (index, record), from..from + step_ms, &mut out);
            }
        }
    }
    let _ = writeln!(out, "\nkeyframes (ms, layer): {:?}", outcome.keyframes);
    let judgement = judge(outcome);
    let _ = writeln!(out, "judged: {:?}", judgement.judged);
    for breach in &judgement.breaches {
        let _ = writeln!(out, "NOT KEPT: {breach}");
    }
    out
}

fn line(outcome: &Outcome, (index, record): (usize, &Record), span: Range<u64>, out: &mut String) {
    let (from, to) = (span.start, span.end);
    let path = outcome.scenario.viewers[index].path;
    let left = left_kbps(&outcome.scenario.down_at(path, from));
    let taken: Vec<_> = samples(record, from, to).collect();
    let mean = |of: &dyn Fn(&Sample) -> f64| {
        taken.iter().map(|sample| of(sample)).sum::<f64>() / taken.len().max(1) as f64
    };
    let most = |of: &dyn Fn(&Sample) -> f64| taken.iter().map(|sample| of(sample)).fold(0.0, f64::max);
    let estimate = |sample: &Sample| sample.estimate_kbps.unwrap_or(0.0);
    let lowest = taken.iter().map(|sample| estimate(sample)).fold(f64::INFINITY, f64::min);
    let last = taken.last().copied().copied().unwrap_or_default();
    let shown: Vec<u64> = record.shown.iter().map(|shown| shown.at_us / 1_000).collect();
    let inside = shown.iter().filter(|at| (from..to).contains(*at)).count();
    let around =
        shown.windows(2).filter(|pair| pair[1] >= from && pair[0] < to).map(|pair| pair[1] - pair[0]);
    let gap = around.max().unwrap_or(0);
    let layer = last.layer.map_or_else(|| "-".to_owned(), |layer| layer.to_string());
    let _ = writeln!(
        out,
        "  {:>7.1} {left:>6.0} {:>9.0} {lowest:>8.0} {:<12} {:>8.0} {:>9.0} {layer:>5} {:>6.0} {:>7.0} {inside:>9} {gap:>12}  {}",
        from as f64 / 1_000.0,
        mean(&estimate),
        last.limiter,
        mean(&|sample| sample.sent_kbps),
        mean(&|sample| sample.repeated_kbps),
        most(&|sample| sample.queue_ms),
        most(&|sample| sample.waited_ms),
        last.allocation,
    );
}
