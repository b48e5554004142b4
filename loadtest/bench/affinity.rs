//! Which cores a process runs on, and whether it goes first there.
//!
//! A child takes over the affinity of the thread that starts it, so pinning needs no tool and no racing after the
//! fact: [`on_core`] and [`on_cores`] run a closure on a short-lived thread with that affinity, and a process started
//! inside has it from its first instruction, in all of its threads.

use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, anyhow};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The cores for the server under test and for the load, without a common one where the machine has two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The server's: one.
    pub server: Vec<usize>,
    /// The load's: all others.
    pub load: Vec<usize>,
}

impl Split {
    /// Divides `cores`: the first to the server, the rest to the load. A single core serves both.
    pub fn of(cores: &[usize]) -> Self {
        let (server, load) = cores.split_at(cores.len().min(1));
        let load = if load.is_empty() { server } else { load };
        Self { server: server.to_vec(), load: load.to_vec() }
    }

    /// Whether server and load hinder each other.
    pub fn is_shared(&self) -> bool {
        self.server.iter().any(|core| self.load.contains(core))
    }
}

/// The cores that this process may use, in order.
///
/// # Errors
/// When the kernel does not tell.
pub fn allowed() -> anyhow::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("cannot read the affinity of this process")?;
    Ok((0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect())
}

/// Starts a program so that it goes before everything else on its cores (`SCHED_FIFO`).
pub const FIRST: [&str; 3] = ["chrt", "--fifo", "10"];

/// As [`FIRST`], but behind who was started so.
pub const SECOND: [&str; 3] = ["chrt", "--fifo", "9"];

/// Whether this user may start programs with [`FIRST`].
pub fn may_go_first() -> bool {
    let [program, arguments @ ..] = FIRST;
    let mut command = Command::new(program);
    command.args(arguments).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs `work` on a thread of its own that is pinned to `core`.
///
/// # Errors
/// When the core does not exist, is not allowed, or `work` panicked.
pub fn on_core<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    on_cores(&[core], work)
}

/// Runs `work` on a thread of its own that may use `cores` only; processes started inside inherit that.
///
/// # Errors
/// When no core of them exists and is allowed, or `work` panicked.
pub fn on_cores<T: Send>(cores: &[usize], work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core).with_context(|| format!("there is no core {core}"))?;
    }
    thread::scope(|scope| {
        let pinned = scope.spawn(move || {
            sched_setaffinity(Pid::from_raw(0), &set)?;
            anyhow::Ok(work())
        });
        pinned.join().map_err(|_| anyhow!("the pinned thread panicked"))?
    })
    .with_context(|| format!("cannot run on the cores {cores:?}"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_started_inside_has_the_affinity_and_this_process_keeps_its_own() {
        let before = allowed().unwrap();
        let core = *before.last().unwrap();

        let output =
            on_core(core, || Command::new("cat").arg("/proc/self/status").output()).unwrap().unwrap();

        let status = String::from_utf8(output.stdout).unwrap();
        let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
        assert_eq!(line.split_whitespace().last().unwrap(), core.to_string());
        assert_eq!(allowed().unwrap(), before);
    }

    #[test]
    fn a_core_that_is_not_there_is_an_error() {
        assert!(on_core(1_000_000, || ()).is_err());
        assert!(on_cores(&[], || ()).is_err());
    }

    #[test]
    fn the_server_has_a_core_of_its_own_where_there_are_two() {
        let split = Split::of(&[0, 1, 5]);

        assert_eq!(split, Split { server: vec![0], load: vec![1, 5] });
        assert!(!split.is_shared());
        assert!(Split::of(&[3]).is_shared());
    }
}
