//! `nearcast-sim`: runs seeds of the simulation, or one of them with a trace.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to whoever runs it")]

use std::io::Write;
use std::process::ExitCode;

use sim::scenario::Scenario;
use sim::sweep::Sweep;
use sim::world::Outcome;
use sim::{kept, table, trace, world};

const USAGE: &str = "\
usage: nearcast-sim sweep FIRST COUNT     runs seeds; keeps the first that break a property more often than is known
       nearcast-sim trace SEED [FROM TO]  runs one and writes down what happened, some seconds of it closely
       nearcast-sim table                 runs the paths of the table in docs/performance.md
       nearcast-sim trace table ROW RUN [FROM TO]   the same of a path of the table";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    match arguments.as_slice() {
        ["trace", "table", row, seed, close @ ..] => {
            let (Some(row), Some(seed)) = (number(row), number(seed)) else { return usage() };
            let Some(outcome) = usize::try_from(row).ok().and_then(|row| table::outcome(row, seed)) else {
                return usage();
            };
            print(&outcome, close)
        }
        ["trace", seed, close @ ..] if number(seed).is_some() => {
            let outcome = world::run(Scenario::draw(number(seed).unwrap_or(0)));
            print(&outcome, close)
        }
        ["table"] => {
            let lines: Vec<String> = table::play().iter().map(|figure| format!("{figure}\n")).collect();
            say(&lines.concat())
        }
        ["sweep", first, count] => {
            let (Some(first), Some(count)) = (number(first), number(count)) else { return usage() };
            let sweep = Sweep::of(first..first.saturating_add(count));
            println!("{sweep}");
            for (seed, breach) in sweep.news() {
                match kept::keep(seed, breach) {
                    Ok(()) => println!("kept: seed {seed}, {breach}"),
                    Err(error) => eprintln!("seed {seed} could not be kept: {error}"),
                }
            }
            if sweep.is_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        _ => usage(),
    }
}

/// Prints a trace; the seconds from the first to the second of `close` in tenths.
fn print(outcome: &Outcome, close: &[&str]) -> ExitCode {
    let seconds: Vec<u64> = close.iter().filter_map(|text| text.parse().ok()).collect();
    let close = match seconds.as_slice() {
        [from, to, ..] => *from..*to,
        _ => 0..0,
    };
    say(&trace::of(outcome, &close))
}

/// Whoever reads it may have seen enough, and that is no panic.
fn say(text: &str) -> ExitCode {
    let written = std::io::stdout().write_all(text.as_bytes());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
