//! `nearcast-loadtest`: publishers, viewers and bad networks for any WHIP/WHEP server.

use clap::{Parser, Subcommand};
use loadtest::bench::{command as bench, limit};

/// Loads and measures any WHIP/WHEP server, and spoils the network on the way.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Start a server, run the standard scenarios, print what was reached.
    Bench(bench::Arguments),
    /// Print what this machine's kernel can send at most: GSO runs, no protection, nobody reading.
    Limit(limit::Arguments),
}

fn main() -> anyhow::Result<()> {
    let Arguments { command } = Arguments::parse();
    match command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Limit(arguments) => limit::run(&arguments),
    }
}
