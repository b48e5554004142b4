//! The seeds that once broke a property: they are run each time.
//!
//! As with proptest's regressions, a seed stands for its scenario only as long as the drawing in [`crate::scenario`]
//! stays as it is: a change there makes other scenarios of them, which do no harm.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use crate::properties::Breach;

/// Reads the kept seeds.
///
/// # Errors
/// When the file is not to be read, or a line is neither a number nor a comment.
pub fn read() -> Result<Vec<u64>, String> {
    let text = fs::read_to_string(path()).map_err(|error| format!("{}: {error}", path().display()))?;
    seeds_of(&text)
}

/// Keeps a seed that broke something, unless it stands there already.
///
/// # Errors
/// When the file is not to be written.
pub fn keep(seed: u64, breaches: &[Breach]) -> Result<(), String> {
    if read()?.contains(&seed) {
        return Ok(());
    }
    let why = breaches.first().map(ToString::to_string).unwrap_or_default();
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(path())
        .map_err(|error| format!("{}: {error}", path().display()))?;
    writeln!(file, "{seed} # {why}").map_err(|error| error.to_string())
}

fn seeds_of(text: &str) -> Result<Vec<u64>, String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let numbers = lines.filter(|line| !line.is_empty());
    numbers.map(|line| line.parse().map_err(|_| format!("`{line}` is no seed"))).collect()
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("kept-seeds.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_seed_with_its_reason_or_a_comment() {
        assert_eq!(seeds_of("# all of them\n\n7 # Stall\n123\n"), Ok(vec![7, 123]));
        assert!(seeds_of("seven\n").is_err());
    }
}
