//! What the binary says to an operator before it serves.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::server::fresh_folder;

#[test]
fn an_unknown_key_is_refused_with_the_nearest_name() {
    let folder = fresh_folder();
    let file = folder.join("typo.toml");
    let good = printed(&[]);
    let key = good.lines().find_map(|line| line.split_once(" = ").map(|(key, _)| key.trim())).expect("a key");
    let typo = format!("{}x", &key[..key.len() - 1]);
    fs::write(&file, good.replacen(&format!("{key} ="), &format!("{typo} ="), 1)).unwrap();

    for command in ["check-config", "print-config", "serve"] {
        let output = nearcast(&[command, "--config", file.to_str().unwrap()]);
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success(), "{command} accepted {typo}: {text}");
        assert!(
            text.contains(&typo) && text.contains(key),
            "{command} does not name {typo} and {key}: {text}"
        );
    }
}

#[test]
fn the_printed_configuration_reads_back_as_itself() {
    let folder = fresh_folder();
    let first = printed(&[]);
    let file = folder.join("printed.toml");
    fs::write(&file, &first).unwrap();

    let again = printed(&["--config", file.to_str().unwrap()]);
    let checked = nearcast(&["check-config", "--config", file.to_str().unwrap()]);

    assert!(first.contains(" = "), "{first}");
    assert_eq!(first, again);
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let folder = fresh_folder();
    let default = printed(&[]);
    let file = folder.join("sources.toml");
    let key = default.lines().find(|line| line.contains("127.0.0.1:8080")).expect("the default address");
    fs::write(&file, default.replacen("127.0.0.1:8080", "127.0.0.1:1001", 1)).unwrap();
    let config = ["print-config", "--config", file.to_str().unwrap()];

    let of_file = text(&nearcast(&config));
    assert!(of_file.contains("127.0.0.1:1001"), "the file does not win over the default ({key}): {of_file}");
    let mut with_environment = Command::new(env!("CARGO_BIN_EXE_nearcast"));
    with_environment.args(config).env("NEARCAST_HTTP__LISTEN", "127.0.0.1:1002");
    let of_environment = text(&with_environment.output().unwrap());
    assert!(of_environment.contains("127.0.0.1:1002"), "{of_environment}");
    assert!(!of_environment.contains("127.0.0.1:1001"), "{of_environment}");
}

#[test]
fn an_unknown_variable_of_ours_is_refused_with_the_nearest_name() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearcast"));
    let output = command.arg("check-config").env("NEARCAST_HTTP__LISTENN", "127.0.0.1:1").output().unwrap();

    let text = text(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("did you mean NEARCAST_HTTP__LISTEN?"), "{text}");
}

#[test]
fn a_missing_or_broken_file_is_refused_with_its_name() {
    let folder = fresh_folder();
    let broken = folder.join("broken.toml");
    fs::write(&broken, "= nothing").unwrap();

    for path in [Path::new("no-such-file.toml"), &broken] {
        let output = nearcast(&["check-config", "--config", path.to_str().unwrap()]);
        let text = text(&output);
        assert!(!output.status.success(), "{text}");
        assert!(text.contains(path.file_name().unwrap().to_str().unwrap()), "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn help_names_every_command_and_flag() {
    let help = text(&nearcast(&["--help"]));
    for command in ["serve", "check-config", "print-config"] {
        assert!(help.contains(command), "{help}");
    }
    let help = text(&nearcast(&["serve", "--help"]));
    for flag in [
        "--config",
        "--http",
        "--udp",
        "--advertise",
        "--shards",
        "--gso",
        "--data-dir",
        "--ready-file",
        "--dev",
    ] {
        assert!(help.contains(flag), "{help}");
    }
}

fn printed(arguments: &[&str]) -> String {
    let output = nearcast(&[&["print-config"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn nearcast(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nearcast")).args(arguments).output().expect("the server's binary starts")
}
