//! What the system says of a process: CPU time, memory, threads, descriptors (proc(5)).

use anyhow::{Context, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One look at a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The CPU time of all its threads since its start.
    pub cpu: Duration,
    /// Its resident memory in kibibytes.
    pub rss_kb: u64,
    /// Its threads.
    pub threads: u64,
    /// Its open descriptors; zero when they may not be counted.
    pub descriptors: u64,
}

impl Reading {
    /// Looks at a process.
    ///
    /// # Errors
    /// When there is no such process, or it may not be looked at.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        ensure!(folder.exists(), "there is no process {pid}");
        let status = fs::read_to_string(folder.join("status")).with_context(|| format!("process {pid}"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_ascii_whitespace().next()?.parse().ok()
        };
        let descriptors = fs::read_dir(folder.join("fd")).map_or(0, Iterator::count);
        Ok(Self {
            cpu: cpu_of_threads(&folder).max(cpu_in_ticks(&folder)),
            rss_kb: field("VmRSS:").unwrap_or(0),
            threads: field("Threads:").unwrap_or(0),
            descriptors: u64::try_from(descriptors).unwrap_or(u64::MAX),
        })
    }

    /// Looks at this process.
    ///
    /// # Errors
    /// When the system shows no processes.
    pub fn of_self() -> anyhow::Result<Self> {
        Self::of(std::process::id())
    }
}

/// Sums what the scheduler counted for each living thread, in nanoseconds.
fn cpu_of_threads(folder: &Path) -> Duration {
    let Ok(threads) = fs::read_dir(folder.join("task")) else { return Duration::ZERO };
    let nanos = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Reads user and system time in ticks of 10 ms; ended threads are in it.
fn cpu_in_ticks(folder: &Path) -> Duration {
    let Ok(stat) = fs::read_to_string(folder.join("stat")) else { return Duration::ZERO };
    // The name stands in parentheses and may hold anything; the fields behind it are counted from 3.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 =
        fields.split_ascii_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks.saturating_mul(MILLIS_PER_TICK))
}

/// `USER_HZ` is 100 on every Linux that there is.
const MILLIS_PER_TICK: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::time::Instant;

    #[test]
    fn work_shows_as_cpu_time_and_memory_as_memory() {
        let before = Reading::of_self().unwrap();

        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(60) {
            black_box(0);
        }
        let memory = black_box(vec![1_u8; 32 << 20]);
        let after = Reading::of_self().unwrap();

        assert!(after.cpu > before.cpu, "{before:?} {after:?}");
        assert!(after.rss_kb >= before.rss_kb + 30_000, "{before:?} {after:?}");
        assert!(after.threads >= 1 && after.descriptors >= 3);
        drop(memory);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Reading::of(u32::MAX).is_err());
    }
}
