//! What a reader must know of the machine to believe a figure.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::affinity::{self, Split};

/// The machine and how busy others keep it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Conditions {
    /// The processor's name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// Means of 1, 5 and 15 minutes at the start.
    pub load_average: String,
    /// The server's cores.
    pub server_cores: Vec<usize>,
    /// The load's cores.
    pub load_cores: Vec<usize>,
    /// Whether this was a quick run, which says nothing about speed.
    pub quick: bool,
    /// Whether this program was built with optimisation.
    pub release_build: bool,
    /// The line that was given.
    pub command: String,
}

impl Conditions {
    /// Reads them.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn read(split: &Split, quick: bool) -> anyhow::Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let load = read("/proc/loadavg")?;
        Ok(Self {
            cpu: processor(&read("/proc/cpuinfo")?),
            cores: affinity::allowed()?.len(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_average: load.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
            server_cores: split.server.clone(),
            load_cores: split.load.clone(),
            quick,
            release_build: !cfg!(debug_assertions),
            command: command_line(std::env::args()),
        })
    }
}

fn processor(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':'])).to_owned()
}

/// The arguments as given, the program by its bare name: its path is this machine's business.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let words = arguments.enumerate().map(|(place, word)| {
        let name = Path::new(&word).file_name().map(|name| name.to_string_lossy().into_owned());
        super::child::quoted(&if place == 0 { name.unwrap_or(word) } else { word })
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_as_the_kernel_names_it() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t: x";

        assert_eq!(processor(cpuinfo), "Some CPU @ 3 GHz");
        assert_eq!(processor("BogoMIPS: 50"), "unknown");
    }

    #[test]
    fn the_command_is_kept_without_the_folder_of_the_program() {
        let words = ["/x/y/nearcast-loadtest", "bench", "--only", "my file.toml"].map(str::to_owned);

        assert_eq!(command_line(words.into_iter()), "nearcast-loadtest bench --only 'my file.toml'");
    }
}
