//! Many seeds: how often each property held, and which seeds broke it.

use std::collections::BTreeMap;
use std::fmt;

use crate::properties::{Breach, Property, judge};
use crate::scenario::Scenario;
use crate::world::run;

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
    /// Runs a seed and takes it in.
    pub fn add(&mut self, seed: u64) {
        let judgement = judge(&run(Scenario::draw(seed)));
        self.runs += 1;
        for property in judgement.judged {
            *self.judged.entry(property).or_default() += 1;
        }
        if !judgement.breaches.is_empty() {
            self.breaches.insert(seed, judgement.breaches);
        }
    }

    /// The seeds that broke a property.
    #[must_use]
    pub fn broken(&self, property: Property) -> Vec<u64> {
        let breaks = |breaches: &Vec<Breach>| breaches.iter().any(|breach| breach.property == property);
        self.breaches.iter().filter(|(_, breaches)| breaks(breaches)).map(|(seed, _)| *seed).collect()
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} seeds", self.runs)?;
        for property in Property::ALL {
            let judged = self.judged.get(&property).copied().unwrap_or(0);
            let broken = self.broken(property);
            let name = format!("{property:?}");
            writeln!(formatter, "  {name:<10} {:>5} of {judged:>5} kept; broken by {broken:?}", judged - broken.len())?;
        }
        Ok(())
    }
}
