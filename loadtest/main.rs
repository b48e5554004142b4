//! `nearcast-loadtest`: publishers, viewers and bad networks for any WHIP/WHEP server.

use clap::{Parser, Subcommand};

/// Loads and measures any WHIP/WHEP server, and spoils the network on the way.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {}

fn main() {
    let Arguments { command } = Arguments::parse();
    match command {}
}
