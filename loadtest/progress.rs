//! One line on the terminal that says how far a command is. Where no person looks, nothing is written.
#![expect(clippy::print_stderr, reason = "the line is for a person at a terminal")]

use rtp::MonoTime;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// The line.
#[derive(Debug)]
pub struct Progress {
    visible: bool,
    written_at: MonoTime,
    width: usize,
}

impl Progress {
    /// Makes a line on stderr, when that is a terminal.
    #[must_use]
    pub fn new() -> Self {
        Self { visible: std::io::stderr().is_terminal(), written_at: MonoTime::ZERO, width: 0 }
    }

    /// Says how far the command is; more often than people can read is not written.
    pub fn show(&mut self, now: MonoTime, done: u64, all: u64, what: &str) {
        if !self.visible || now.since(self.written_at) < INTERVAL {
            return;
        }
        self.written_at = now;
        let text = line(done, all, what);
        eprint!("\r{text:<width$}", width = self.width);
        self.width = text.chars().count();
        // A terminal that is gone shows nothing.
        let _ = std::io::stderr().flush();
    }

    /// Says how much of a time has passed.
    pub fn show_time(&mut self, now: MonoTime, begin: MonoTime, all: Duration, what: &str) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.show(now, millis(now.since(begin)), millis(all), what);
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.visible && self.width > 0 {
            eprint!("\r{:width$}\r", "", width = self.width);
            self.width = 0;
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

fn line(done: u64, all: u64, what: &str) -> String {
    let share = done.min(all).saturating_mul(CELLS).checked_div(all).unwrap_or(0);
    let cells = |count: u64, cell: &str| cell.repeat(usize::try_from(count).unwrap_or(0));
    format!("[{}{}] {what}", cells(share, "█"), cells(CELLS.saturating_sub(share), "·"))
}

const CELLS: u64 = 24;
const INTERVAL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_with_what_is_done() {
        assert_eq!(line(0, 10, "x").matches('█').count(), 0);
        assert_eq!(line(5, 10, "x").matches('█').count(), 12);
        assert_eq!(line(20, 10, "x").matches('█').count(), 24);
        assert!(line(1, 0, "joining").ends_with("] joining"));
    }
}
