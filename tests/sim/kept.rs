//! The seeds that once broke a property: they are run each time, and have to keep it.
//!
//! As with proptest's regressions, a seed stands for its scenario only as long as the drawing in [`crate::scenario`]
//! stays as it is: a change there makes other scenarios of them, which do no harm.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use crate::properties::{Breach, Property};

/// Reads the kept seeds, each with what it once broke.
///
/// # Errors
/// When the file is not to be read, or a line is neither a seed with a property nor a comment.
pub fn read() -> Result<Vec<(u64, Property)>, String> {
    let text = fs::read_to_string(path()).map_err(|error| format!("{}: {error}", path().display()))?;
    text.lines().filter_map(|line| seed_of(line).transpose()).collect()
}

/// Keeps a seed that broke a property, unless it stands there already.
///
/// # Errors
/// When the file is not to be written.
pub fn keep(seed: u64, breach: &Breach) -> Result<(), String> {
    if read()?.contains(&(seed, breach.property)) {
        return Ok(());
    }
    let opened = fs::OpenOptions::new().append(true).open(path());
    let mut file = opened.map_err(|error| format!("{}: {error}", path().display()))?;
    writeln!(file, "{seed} {:?} # {}", breach.property, breach.what).map_err(|error| error.to_string())
}

fn seed_of(line: &str) -> Result<Option<(u64, Property)>, String> {
    let said = line.split('#').next().unwrap_or_default().trim();
    if said.is_empty() {
        return Ok(None);
    }
    let (seed, property) = said.split_once(' ').ok_or_else(|| format!("`{line}` names no property"))?;
    let seed = seed.parse().map_err(|_| format!("`{seed}` is no seed"))?;
    let property = Property::named(property.trim()).ok_or_else(|| format!("`{property}` is no property"))?;
    Ok(Some((seed, property)))
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("kept-seeds.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_seed_with_its_property_or_a_comment() {
        assert_eq!(seed_of("7 Stall # no picture"), Ok(Some((7, Property::Stall))));
        assert_eq!(seed_of("# a comment"), Ok(None));
        assert_eq!(seed_of(""), Ok(None));
        assert!(seed_of("7").is_err());
        assert!(seed_of("7 Beauty").is_err());
    }
}
