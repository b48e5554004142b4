//! Viewers that misbehave against the real server, all as processes: what they say of themselves.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end its process"
)]

mod stage;

use stage::{Stage, loadtest, number, parse, text};
use std::process::Command;

#[test]
fn a_flood_at_its_rate_is_success_and_a_smaller_one_is_not() {
    let stage = Stage::start();

    let (report, flood) = parse(hostile(&stage, "1000/s").output().unwrap());
    let (weak_report, weak) = parse(hostile(&stage, "9000000/s").output().unwrap());

    assert!(flood.status.success(), "{}\n{report}", text(&flood.stderr));
    assert!(number(&report, "sent_per_s") > 900.0, "{report}");
    assert_eq!(weak.status.code(), Some(1), "{weak_report}");
    assert!(text(&weak.stderr).contains("9000000/s were asked for"), "{}", text(&weak.stderr));
}

fn hostile(stage: &Stage, rate: &str) -> Command {
    let mut command = loadtest();
    let url = format!("{}/whep/show", stage.url);
    command.args([
        "hostile",
        "--json",
        "--kind",
        "garbage",
        "--duration",
        "1s",
        "--rate",
        rate,
        "--url",
        &url,
    ]);
    command
}
