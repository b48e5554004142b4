//! `nearcast-sim`: runs seeds of the simulation, or one of them with a trace.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to whoever runs it")]

use std::process::ExitCode;

use sim::scenario::Scenario;
use sim::sweep::Sweep;
use sim::{trace, world};

const USAGE: &str = "usage: nearcast-sim trace SEED | nearcast-sim sweep FIRST COUNT";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    match arguments.as_slice() {
        ["trace", seed] if number(seed).is_some() => {
            let outcome = world::run(Scenario::draw(number(seed).unwrap_or(0)));
            println!("{}", trace::of(&outcome));
            ExitCode::SUCCESS
        }
        ["sweep", first, count] => {
            let (Some(first), Some(count)) = (number(first), number(count)) else { return usage() };
            let mut sweep = Sweep::default();
            for seed in first..first.saturating_add(count) {
                sweep.add(seed);
                for breach in sweep.breaches.get(&seed).into_iter().flatten() {
                    println!("seed {seed}: {breach}");
                }
            }
            println!("{sweep}");
            if sweep.breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
