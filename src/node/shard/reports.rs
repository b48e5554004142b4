//! What peers report (RTCP), kept until what media there was has gone out. Packet path.
//!
//! A publisher's packets and the reports of thousands of viewers come in one queue. A thousand reports take two
//! milliseconds to read, and a frame that came behind them would be late by that at every viewer, while no report is the
//! worse for waiting so long. So they are only copied when they are received, and read some at a time, in the order in
//! which they came, when no media waits; where a shard falls behind, the time that they take is what it needs to catch
//! up. Bounded: once half of the place is taken some are read in each turn, and what does not fit is no reason to lose
//! any, they are read at once then.

use std::collections::VecDeque;

use transport::path::Path;

/// Reports in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// The bytes of those that wait, and of those that were taken since all were.
    bytes: Vec<u8>,
    /// Where the first one begins.
    begin: usize,
    /// From where each came, and how long it is.
    waiting: VecDeque<(Path, usize)>,
}

impl Reports {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::with_capacity(BYTES_MAX), begin: 0, waiting: VecDeque::with_capacity(WAITING_MAX) }
    }

    /// Keeps a report. Says whether there was room for it.
    pub(super) fn push(&mut self, path: Path, report: &[u8]) -> bool {
        if self.waiting.is_empty() || self.bytes.len().saturating_add(report.len()) > BYTES_MAX {
            self.bytes.drain(..self.begin);
            self.begin = 0;
        }
        let has_room =
            self.waiting.len() < WAITING_MAX && self.bytes.len().saturating_add(report.len()) <= BYTES_MAX;
        if has_room {
            self.bytes.extend_from_slice(report);
            self.waiting.push_back((path, report.len()));
        }
        has_room
    }

    /// Takes the oldest one.
    pub(super) fn pop(&mut self) -> Option<(Path, &mut [u8])> {
        let (path, len) = self.waiting.pop_front()?;
        let from = self.begin;
        self.begin = from.saturating_add(len);
        Some((path, self.bytes.get_mut(from..self.begin)?))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Says whether so many wait that some have to be read even where media waits.
    pub(super) fn are_many(&self) -> bool {
        self.waiting.len() > WAITING_MAX / 2 || self.bytes.len().saturating_sub(self.begin) > BYTES_MAX / 2
    }

    /// Returns where the next ones came from.
    pub(super) fn next_paths(&self) -> impl Iterator<Item = Path> {
        self.waiting.iter().map(|(path, _)| *path)
    }
}

/// How many may wait: those of a crowd of thousands that report at one moment.
const WAITING_MAX: usize = 4_096;

/// And how long they may be together: few are longer than a hundred bytes.
const BYTES_MAX: usize = 512 * 1_024;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn path(port: u16) -> Path {
        Path::udp(0, SocketAddr::from(([203, 0, 113, 1], port)))
    }

    fn drain(reports: &mut Reports) -> Vec<(Path, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some((path, report)) = reports.pop() {
            all.push((path, report.to_vec()));
        }
        all
    }

    #[test]
    fn reports_are_taken_in_the_order_in_which_they_came() {
        let mut reports = Reports::new();

        assert!(reports.push(path(1), b"one") && reports.push(path(2), b"another"));
        assert_eq!(
            reports.pop().map(|(path, report)| (path, report.to_vec())),
            Some((path(1), b"one".to_vec()))
        );
        assert!(reports.push(path(1), b"later"));

        assert_eq!(drain(&mut reports), [(path(2), b"another".to_vec()), (path(1), b"later".to_vec())]);
        assert!(reports.is_empty());
    }

    #[test]
    fn what_was_read_makes_room_without_all_being_read() {
        let mut reports = Reports::new();
        let report = [7; 1_000];
        for _ in 0..100 {
            assert!(reports.push(path(1), &report));
        }

        for turn in 0..10 * BYTES_MAX / report.len() {
            assert!(reports.push(path(2), &report), "in turn {turn}");
            assert_eq!(reports.pop().map(|(_, report)| report.len()), Some(1_000));
        }

        assert_eq!(drain(&mut reports).len(), 100);
        assert!(reports.bytes.capacity() <= BYTES_MAX);
    }

    #[test]
    fn half_of_the_place_is_many() {
        for (report, many) in [(vec![0; 8], WAITING_MAX / 2 + 1), (vec![0; 1_024], BYTES_MAX / 2_048 + 1)] {
            let mut reports = Reports::new();
            for _ in 1..many {
                reports.push(path(1), &report);
            }
            assert!(!reports.are_many());

            reports.push(path(1), &report);
            assert!(reports.are_many());

            reports.pop();
            assert!(!reports.are_many());
        }
    }

    #[test]
    fn only_so_many_wait_and_there_is_room_again_when_all_were_taken() {
        for report in [vec![0; 1], vec![0; 1_500]] {
            let mut reports = Reports::new();
            let fill = |reports: &mut Reports| (0..).take_while(|_| reports.push(path(1), &report)).count();

            let first = fill(&mut reports);
            assert!(first <= WAITING_MAX && first * report.len() <= BYTES_MAX);
            assert!(!reports.push(path(1), &report));
            assert_eq!(drain(&mut reports).len(), first);

            assert_eq!(fill(&mut reports), first);
        }
    }
}
