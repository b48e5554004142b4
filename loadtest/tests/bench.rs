//! The bench as a whole, quickly: a real server, a publisher and a few viewers. It says that the runner works, not how
//! fast anything is.
#![expect(clippy::unwrap_used, reason = "a test may end its process")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The server of this build, made if this is the first to want it.
fn server() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--quiet", "--bin", "nearcast"])
        .current_dir(root)
        .status()
        .unwrap();
    assert!(built.success(), "the server does not build");
    Path::new(env!("CARGO_BIN_EXE_nearcast-loadtest")).with_file_name("nearcast")
}

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nearcast-loadtest")).arg("bench").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_quick_run_measures_a_server_that_it_starts_and_ends_itself() {
    let server = server();

    let output = bench(&["--quick", "--json", "--only", "fanout", "--server", server.to_str().unwrap()]);

    assert!(output.status.success(), "{}", text(&output.stderr));
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let scenario = &object["scenarios"][0];
    let figure = |name: &str| scenario["figures"][name].as_f64().unwrap();
    assert!((figure("viewers_connected") - 10.0).abs() < 0.5, "{scenario}");
    assert!(figure("packets_received") > 100.0, "{scenario}");
    assert!(figure("server_cpu_ns_per_packet") > 0.0, "{scenario}");
    assert!(figure("limit_packets_per_core_s") > 0.0, "{scenario}");
    assert!(scenario["targets"].as_array().unwrap().iter().all(|target| target["verdict"] != "not measured"));
    assert_eq!(scenario["commands"].as_array().unwrap().len(), 3, "{scenario}");
}

#[test]
fn a_server_that_cannot_be_started_is_a_failure_with_its_reason() {
    let output = bench(&["--quick", "--only", "idle", "--server", "/bin/false"]);

    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("server ended early"), "{}", text(&output.stdout));
}

#[test]
fn a_scenario_that_does_not_exist_is_named_with_those_that_do() {
    let output = bench(&["--only", "fan-out"]);

    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.contains("fan-out") && complaint.contains("two-shards"), "{complaint}");
}
