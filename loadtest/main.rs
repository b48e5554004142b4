//! `nearcast-loadtest`: publishers, viewers and bad networks for any WHIP/WHEP server.
#![expect(clippy::print_stderr, reason = "why a command failed is said where a shell shows it")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use loadtest::bench::{command as bench, limit};
use loadtest::{churn, hostile, impair, whep, whip};

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
    /// Let viewers come and go, and look for failures and for what the server does not give back.
    Churn(churn::Arguments),
    /// Join viewers that misbehave.
    Hostile(hostile::Arguments),
    /// Be a bad network between a server and its viewers, changed by lines on stdin.
    Impair(impair::Arguments),
    /// Print what this machine's kernel can send at most: GSO runs, no protection, nobody reading.
    Limit(limit::Arguments),
    /// Join a crowd of viewers, measure what they get, and leave.
    Whep(whep::Arguments),
    /// Publish real pictures and sound to any WHIP server, at any bitrate.
    Whip(whip::Arguments),
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Churn(arguments) => churn::run(&arguments),
        Command::Hostile(arguments) => hostile::run(&arguments),
        Command::Impair(arguments) => impair::run(&arguments),
        Command::Limit(arguments) => limit::run(&arguments),
        Command::Whep(arguments) => whep::run(&arguments),
        Command::Whip(arguments) => whip::run(&arguments),
    }
}
