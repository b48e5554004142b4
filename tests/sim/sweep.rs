//! Many seeds: how often each property held, and which seeds broke it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::properties::{Breach, Judgement, Property, judge};
use crate::scenario::Scenario;
use crate::world::run;

/// The committed seeds: from nought up to this.
pub const SEEDS: u64 = 200;

/// Threads that run seeds; each seed's run is the same on any of them.
const THREADS: usize = 2;

/// Seeds that one sweep keeps of a property.
const NEWS_MAX: usize = 3;

/// The sum of many runs.
#[derive(Debug, Default)]
pub struct Sweep {
    /// By property: in how many runs it was judged.
    pub judged: BTreeMap<Property, usize>,
    /// By seed: what was not kept.
    pub breaches: BTreeMap<u64, Vec<Breach>>,
    /// How many runs there were.
    pub runs: usize,
}

impl Sweep {
    /// Runs seeds.
    ///
    /// # Panics
    /// When a run does, after the seed was printed.
    #[must_use]
    pub fn of(seeds: impl IntoIterator<Item = u64>) -> Self {
        let seeds: Vec<u64> = seeds.into_iter().collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut judged = Vec::new();
            while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                judged.push((*seed, play(*seed)));
            }
            judged
        };
        let mut sweep = Self::default();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                thread
                    .join()
                    .expect("the seed is printed above")
                    .into_iter()
                    .for_each(|(seed, it)| sweep.add(seed, it));
            }
        });
        sweep
    }

    /// Says whether every property was kept as often as it has to be today.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        Property::ALL.iter().all(|property| self.keeps(*property))
    }

    /// Says whether a property was kept as often as it has to be today.
    fn keeps(&self, property: Property) -> bool {
        self.is_within(property, property.broken_permille_max())
    }

    fn is_within(&self, property: Property, permille: usize) -> bool {
        let judged = self.judged.get(&property).copied().unwrap_or(0);
        self.broken(property).len() * 1_000 <= judged * permille
    }

    /// The seeds that broke a property.
    #[must_use]
    pub fn broken(&self, property: Property) -> Vec<u64> {
        let breaks = |breaches: &Vec<Breach>| breaches.iter().any(|breach| breach.property == property);
        self.breaches.iter().filter(|(_, breaches)| breaks(breaches)).map(|(seed, _)| *seed).collect()
    }

    /// The first seeds of each property that is broken more often than it may be: to be kept.
    pub fn news(&self) -> impl Iterator<Item = (u64, &Breach)> {
        let worse = Property::ALL.into_iter().filter(|property| !self.keeps(*property));
        worse.flat_map(|property| {
            let first =
                move |breaches: &'_ Vec<Breach>| breaches.iter().position(|it| it.property == property);
            let all = self
                .breaches
                .iter()
                .filter_map(move |(seed, breaches)| Some((*seed, &breaches[first(breaches)?])));
            all.take(NEWS_MAX)
        })
    }

    fn add(&mut self, seed: u64, judgement: Judgement) {
        self.runs += 1;
        for property in judgement.judged {
            *self.judged.entry(property).or_default() += 1;
        }
        if !judgement.breaches.is_empty() {
            self.breaches.insert(seed, judgement.breaches);
        }
    }
}

/// Runs a seed; one that ends the process says which it was.
fn play(seed: u64) -> Judgement {
    let told = Told(seed);
    let judgement = judge(&run(Scenario::draw(seed)));
    std::mem::forget(told);
    judgement
}

/// Prints its seed when it is dropped: by a panic.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("the run of seed {} panicked", self.0);
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (seed, breaches) in &self.breaches {
            for breach in breaches {
                writeln!(formatter, "seed {seed}: {breach}")?;
            }
        }
        writeln!(formatter, "{} seeds", self.runs)?;
        for property in Property::ALL {
            let judged = self.judged.get(&property).copied().unwrap_or(0);
            let broken = self.broken(property);
            let verdict =
                match (self.is_within(property, property.promised_permille_max()), self.keeps(property)) {
                    (true, _) => "kept",
                    (false, true) => "open",
                    (false, false) => "BROKEN",
                };
            let name = format!("{property:?}");
            writeln!(
                formatter,
                "  {name:<10} {verdict:<6} {:>5} of {judged:>5}; not by {broken:?}",
                judged - broken.len()
            )?;
        }
        Ok(())
    }
}
