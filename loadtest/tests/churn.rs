//! Viewers that come and go at the real server, all as processes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end its process"
)]

mod stage;

use stage::{Stage, loadtest, number, parse, text};
use std::process::{Command, Output};

#[test]
fn viewers_come_and_go_and_the_server_is_looked_at_before_and_after() {
    let stage = Stage::start();

    let (report, output) = parse(churn(&stage, &["--max-leak", "100", "--pid", &stage.pid()]));

    assert!(output.status.success(), "{}\n{report}", text(&output.stderr));
    // Twenty a second for two seconds, and no more.
    assert!((30.0..=41.0).contains(&number(&report, "viewers_connected")), "{report}");
    assert_eq!(number(&report, "viewers_failed"), 0.0, "{report}");
    assert!(number(&report["join_ms"], "p99") > 0.0, "{report}");
    for name in ["server_rss_kb", "server_descriptors", "server_threads"] {
        for moment in ["before", "after"] {
            assert!(number(&report, &format!("{name}_{moment}")) > 0.0, "{name} {moment} in {report}");
        }
    }
    assert!(number(&report, "server_leaked_kb_per_join") >= 0.0, "{report}");
    assert!(number(&report, "server_cpu_s") > 0.0, "{report}");
    stage.wait_for_viewers(0);
}

#[test]
fn a_process_that_keeps_descriptors_is_found_out() {
    let stage = Stage::start();
    // Its descriptors are more after than before, whatever the viewers do.
    let mut hoarder = Command::new("bash");
    hoarder.args(["-c", "for n in $(seq 3 400); do eval \"exec $n</dev/null\"; sleep 0.02; done; sleep 60"]);
    let mut hoarder = hoarder.spawn().unwrap();

    let (report, output) = parse(churn(&stage, &["--pid", &hoarder.id().to_string()]));
    hoarder.kill().unwrap();
    hoarder.wait().unwrap();

    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(text(&output.stderr).contains("descriptors are leaked"), "{}", text(&output.stderr));
}

#[test]
fn more_viewers_come_than_the_limit_of_descriptors_that_it_was_started_with() {
    let stage = Stage::start();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 40; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_nearcast-loadtest")]);
    let url = format!("{}/whep/show", stage.url);
    command.args([
        "churn",
        "--json",
        "--join-rate",
        "60/s",
        "--duration",
        "1s",
        "--hold",
        "2s",
        "--url",
        &url,
    ]);

    let (report, output) = parse(command.output().unwrap());

    assert!(output.status.success(), "{}\n{report}", text(&output.stderr));
    assert!(number(&report, "viewers_connected") > 50.0, "{report}");
}

#[test]
fn viewers_who_cannot_join_fail_the_command() {
    let stage = Stage::start();
    let mut command = loadtest();
    let url = format!("{}/whep/nobody-is-here", stage.url);
    command.args(["churn", "--json", "--join-rate", "10/s", "--duration", "500ms", "--url", &url]);

    let (report, output) = parse(command.output().unwrap());

    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(number(&report, "viewers_failed") >= 5.0, "{report}");
    assert_eq!(number(&report, "viewers_connected"), 0.0, "{report}");
}

/// Two seconds of coming and going, after one second of it that does not count.
fn churn(stage: &Stage, options: &[&str]) -> Output {
    let mut command = loadtest();
    let url = format!("{}/whep/show", stage.url);
    command.args([
        "churn",
        "--json",
        "--join-rate",
        "20/s",
        "--hold",
        "300ms",
        "--settle",
        "1s",
        "--url",
        &url,
    ]);
    command.args(["--warmup", "1s", "--duration", "2s"]).args(options).output().unwrap()
}
