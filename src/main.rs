//! START HERE: arguments to configuration to [`app::App::run`].

mod app;
mod banner;
mod cli;
mod config;
mod descriptors;
mod sources;
mod telemetry;
mod units;

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use crate::app::App;
use crate::cli::{Cli, Command, ConfigArgs, PrintArgs, ServeArgs};
use crate::config::Config;
use crate::sources::{Fault, Setting};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve(&args),
        Command::CheckConfig(source) => check(&source),
        Command::PrintConfig(args) => print(&args),
    }
}

fn serve(args: &ServeArgs) -> ExitCode {
    let config = match load(&args.source, args.settings()) {
        Ok(config) => config,
        Err(faults) => return refuse(&faults),
    };
    telemetry::start(&config.log);
    let ended = run(App::new(config, args.is_open_by_dev()));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&mut stderr(), &format!("nearcast: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Runs the control plane on a few threads of its own; media has the shards.
fn run(app: App) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control threads")?;
    let ended = runtime.block_on(app.run());
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

fn check(source: &ConfigArgs) -> ExitCode {
    match load(source, Vec::new()) {
        Ok(_) => {
            say(&mut stdout(), "the configuration is good\n");
            ExitCode::SUCCESS
        }
        Err(faults) => refuse(&faults),
    }
}

fn print(args: &PrintArgs) -> ExitCode {
    let config = if args.default { Ok(Config::default()) } else { load(&args.source, Vec::new()) };
    let config = match config {
        Ok(config) => config,
        Err(faults) => return refuse(&faults),
    };
    match toml::to_string_pretty(&config) {
        Ok(text) => {
            say(&mut stdout(), &text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&mut stderr(), &format!("nearcast: the configuration cannot be written: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn load(source: &ConfigArgs, flags: Vec<Setting>) -> Result<Config, Vec<Fault>> {
    // A name or value that is not UTF-8 cannot be one of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    sources::load(source.config.as_deref(), environment, flags)
}

fn refuse(faults: &[Fault]) -> ExitCode {
    for fault in faults {
        say(&mut stderr(), &format!("{fault}\n"));
    }
    ExitCode::from(CONFIGURATION_IS_WRONG)
}

/// Writes for a person; a closed pipe is no failure of ours.
fn say(out: &mut dyn Write, text: &str) {
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Requests are short and never wait for media.
const CONTROL_THREADS: usize = 2;
/// The same code as for a wrong command line.
const CONFIGURATION_IS_WRONG: u8 = 2;
