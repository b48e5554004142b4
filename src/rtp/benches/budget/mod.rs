//! What the benches of all crates share: CPU time as the measure, and budgets that fail the bench.
//!
//! A [`Bench`] measures parts in chunks: a closure prepares a chunk of operations unmeasured, does them inside
//! [`cpu_time`], and returns what they cost. Criterion repeats and reports it; the samples are kept here too, and
//! [`Bench::finish`] compares each part's median with its [`Budget`]. CPU time of the thread, not wall time, so
//! that a neighbour on the machine costs little; a ratio to something measured in the same run where a neighbour
//! would still cost too much.
//!
//! Nothing is judged that has not run: parts that a filter leaves out, or the single pass of `--test`.
#![allow(dead_code, reason = "each bench uses its part of this")]

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use nix::time::{ClockId, clock_gettime};

/// The measured parts of one bench file.
pub(crate) struct Bench {
    group: &'static str,
    criterion: Criterion,
    parts: BTreeMap<&'static str, Part>,
}

/// What one part may cost, as the median of its samples.
#[derive(Clone, Copy)]
pub(crate) enum Budget {
    /// CPU nanoseconds per operation.
    Nanos(f64),
    /// Times the cost of another part of the same run.
    Times(f64, &'static str),
    /// CPU nanoseconds per operation more than another part of the same run.
    More(f64, &'static str),
    /// None: it is what others are compared with.
    Reference,
}

/// What one call of a part's closure stands for.
#[derive(Clone, Copy)]
pub(crate) struct Chunk {
    /// How many operations one call does.
    pub(crate) operations: u64,
    /// What one operation is worth in the report.
    pub(crate) each: Each,
}

/// What one operation is counted as.
#[derive(Clone, Copy)]
pub(crate) enum Each {
    /// One of its kind.
    Operation,
    /// The bytes that it goes through.
    Bytes(usize),
}

impl Bench {
    /// Makes a bench that reads criterion's options from the command line.
    pub(crate) fn new(group: &'static str) -> Self {
        let criterion = Criterion::default().without_plots().configure_from_args();
        Self { group, criterion, parts: BTreeMap::new() }
    }

    /// Measures one part: `chunk` returns the CPU time of its measured operations.
    pub(crate) fn part(
        &mut self,
        name: &'static str,
        budget: Budget,
        per_call: Chunk,
        mut chunk: impl FnMut() -> Duration,
    ) {
        let mut samples = Vec::new();
        let mut group = self.criterion.benchmark_group(self.group);
        group.throughput(match per_call.each {
            Each::Operation => Throughput::Elements(1),
            Each::Bytes(bytes) => Throughput::Bytes(bytes as u64),
        });
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let calls = iterations.div_ceil(per_call.operations);
                let cpu: Duration = (0..calls).map(|_| chunk()).sum();
                let nanos = cpu.as_nanos() as f64 / (calls * per_call.operations) as f64;
                samples.push(Sample { nanos, cpu });
                Duration::from_nanos((nanos * iterations as f64) as u64)
            });
        });
        group.finish();
        self.parts.insert(name, Part { budget, samples });
    }

    /// Prints what was measured beside its budget.
    ///
    /// # Errors
    /// When the median of a part is over its budget.
    pub(crate) fn finish(self) -> Result<(), OverBudget> {
        self.criterion.final_summary();
        let mut over = Vec::new();
        for (name, part) in &self.parts {
            let Some(median) = part.median() else { continue };
            let reference = |name| self.parts.get(name).and_then(Part::median);
            let allowed = match part.budget {
                Budget::Nanos(nanos) => Some(nanos),
                Budget::Times(times, of) => reference(of).map(|nanos| times * nanos),
                Budget::More(nanos, than) => reference(than).map(|reference| reference + nanos),
                Budget::Reference => None,
            };
            let verdict = Verdict { name, median, budget: part.budget, allowed };
            say(&verdict);
            if allowed.is_some_and(|allowed| median > allowed) {
                over.push(verdict.to_string());
            }
        }
        if over.is_empty() { Ok(()) } else { Err(OverBudget(over)) }
    }
}

/// Returns the CPU time that the calling thread spends in `work`.
pub(crate) fn cpu_time(work: impl FnOnce()) -> Duration {
    let began = thread_clock();
    work();
    thread_clock().saturating_sub(began)
}

/// The parts that cost more than they may. `Debug` is what the process says as it ends.
pub(crate) struct OverBudget(Vec<String>);

impl fmt::Debug for OverBudget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "over budget: {}", self.0.join("; "))
    }
}

struct Part {
    budget: Budget,
    samples: Vec<Sample>,
}

/// The mean over one sample's operations, and the CPU time that they took together.
struct Sample {
    nanos: f64,
    cpu: Duration,
}

impl Part {
    /// Returns the median of the samples, each weighing as much as it measured: the short ones of the warm-up
    /// count little. `None` when too little ran to say anything.
    fn median(&self) -> Option<f64> {
        if self.samples.len() < SAMPLES_MIN {
            return None;
        }
        let total: Duration = self.samples.iter().map(|sample| sample.cpu).sum();
        let mut samples: Vec<&Sample> = self.samples.iter().collect();
        samples.sort_by(|a, b| a.nanos.total_cmp(&b.nanos));
        let mut passed = Duration::ZERO;
        let middle = samples.into_iter().find(|sample| {
            passed += sample.cpu;
            passed * 2 >= total
        });
        middle.map(|sample| sample.nanos)
    }
}

struct Verdict<'a> {
    name: &'a str,
    median: f64,
    budget: Budget,
    allowed: Option<f64>,
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:.1} ns", self.name, self.median)?;
        if let Some(allowed) = self.allowed {
            write!(formatter, " of {allowed:.1} ns, {:+.0} %", 100.0 * (self.median / allowed - 1.0))?;
        }
        match self.budget {
            Budget::Times(times, of) => {
                let reference = self.allowed.map_or(f64::NAN, |allowed| allowed / times);
                write!(formatter, " ({:.2} of {times} times {of})", self.median / reference)
            }
            Budget::More(nanos, than) => {
                let reference = self.allowed.map_or(f64::NAN, |allowed| allowed - nanos);
                write!(formatter, " ({:.1} of {nanos} ns more than {than})", self.median - reference)
            }
            Budget::Nanos(_) | Budget::Reference => Ok(()),
        }
    }
}

fn thread_clock() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[expect(clippy::print_stdout, reason = "a bench reports to whoever runs it")]
fn say(verdict: &Verdict<'_>) {
    println!("{verdict}");
}

/// Fewer samples than this are a single pass, and prove nothing.
const SAMPLES_MIN: usize = 5;
