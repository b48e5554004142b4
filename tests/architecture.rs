//! The layers and the rules of the house that a lint cannot hold, read from the manifests and the sources.
//!
//! [`CRATES`] is the table of design decisions: a new crate or a new edge is a page in `docs/decisions/` first and a
//! line here second. Every check is a pure function from text to complaints, proved below on a bad fixture, so
//! that a check which finds nothing is known to be able to find something.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may end its process"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One crate of ours: where it stands, what it may name of ours, and whether it is sans-IO.
struct Rule {
    package: &'static str,
    folder: &'static str,
    layer: u8,
    may_use: &'static [&'static str],
    sans_io: bool,
}

const CRATES: &[Rule] = &[
    Rule { package: "nearcast-rtp", folder: "src/rtp", layer: 0, may_use: &[], sans_io: true },
    Rule { package: "nearcast-sfu", folder: "src/sfu", layer: 1, may_use: &["rtp"], sans_io: true },
    Rule {
        package: "nearcast-transport",
        folder: "src/transport",
        layer: 2,
        may_use: &["rtp"],
        sans_io: false,
    },
    Rule {
        package: "nearcast-node",
        folder: "src/node",
        layer: 3,
        may_use: &["rtp", "sfu", "transport"],
        sans_io: false,
    },
    Rule {
        package: "nearcast-signaling",
        folder: "signaling",
        layer: 4,
        may_use: &["rtp", "sfu", "transport", "node"],
        sans_io: false,
    },
    // The other side of the wire: what it shares with the server proves nothing.
    Rule { package: "nearcast-loadtest", folder: "loadtest", layer: 4, may_use: &["rtp"], sans_io: false },
    // The machines on the load test's network: it drives the one and borrows the other.
    Rule {
        package: "nearcast-sim",
        folder: "tests/sim",
        layer: 5,
        may_use: &["rtp", "sfu", "loadtest"],
        sans_io: false,
    },
    Rule {
        package: "nearcast",
        folder: ".",
        layer: 5,
        may_use: &["rtp", "sfu", "transport", "node", "signaling"],
        sans_io: false,
    },
];

/// Foreign engines: a name (`*` at the end: a prefix) and the one package of the server that may depend on it. The load
/// test and `tests` name what they need.
const ENGINES: &[(&str, &str)] = &[
    ("async-nats", "nearcast-cluster"),
    ("axum", "nearcast-signaling"),
    ("dimpl", "nearcast-transport"),
    ("prometheus", "nearcast-node"),
    ("rtc-*", "nearcast-transport"),
    ("rusqlite", "nearcast-store"),
    ("rustls", "nearcast"),
    ("scuffle-rtmp", "nearcast-ingest"),
    ("sctp-proto", "nearcast-transport"),
    ("webrtc", "nearcast-cluster"),
];

/// What a sans-IO crate may depend on outside of ours: nothing that has a clock, a socket, a thread or dice of its own.
const SANS_IO_DEPENDENCIES: &[&str] = &["rand_chacha", "rand_core", "thiserror"];

/// What the sources of a sans-IO crate never name (their tests may).
const SANS_IO_WORDS: &[&str] = &[
    ".await",
    "async fn",
    "getrandom",
    "HashMap",
    "HashSet",
    "Instant::now",
    "Mutex",
    "mio::",
    "RwLock",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "SystemTime",
    "tokio",
];

/// Module names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["common", "defs", "helpers", "manager", "misc", "util", "utils"];

/// A file longer than this holds two concepts.
const FILE_LINES_MAX: usize = 800;

/// The only packages with code that the compiler cannot check.
const UNSAFE_PACKAGES: &[&str] = &["nearcast-transcode", "nearcast-transport"];

/// What of a manifest the rules speak about.
struct Manifest {
    package: String,
    /// Name of each dependency and whether the manifest leaves its version to the workspace.
    dependencies: BTreeMap<String, bool>,
    test_dependencies: BTreeMap<String, bool>,
}

#[test]
fn every_crate_stands_in_the_table_and_every_row_has_its_crate() {
    let root: toml::Table = fs::read_to_string(path("Cargo.toml")).unwrap().parse().unwrap();
    let mut members: Vec<&str> = root["workspace"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member.as_str().unwrap())
        .collect();
    members.push(".");
    members.sort_unstable();
    let mut folders: Vec<&str> = CRATES.iter().map(|rule| rule.folder).collect();
    folders.sort_unstable();

    assert_eq!(members, folders, "a new crate is a decision: docs/decisions/, then the table in this file");
}

#[test]
fn the_table_itself_points_downward() {
    let layer_of = |name: &str| CRATES.iter().find(|rule| short(rule.package) == name).map(|rule| rule.layer);
    for rule in CRATES {
        for used in rule.may_use {
            assert!(
                layer_of(used).unwrap() < rule.layer,
                "{} → {used} does not point downward",
                rule.package
            );
        }
    }
}

#[test]
fn no_manifest_has_a_forbidden_edge() {
    let complaints: Vec<String> = CRATES
        .iter()
        .flat_map(|rule| {
            let text = fs::read_to_string(path(rule.folder).join("Cargo.toml")).unwrap();
            forbidden_edges(rule, &parse_manifest(&text))
        })
        .collect();

    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn no_source_breaks_the_rules_of_its_crate() {
    let mut files_seen = 0;
    let mut complaints = Vec::new();
    for rule in CRATES {
        for file in sources(rule) {
            files_seen += 1;
            let text = fs::read_to_string(&file).unwrap();
            complaints.extend(source_complaints(rule, &name_of(&file), &text));
        }
    }

    assert!(files_seen > 10, "the walk found only {files_seen} files: it looks in the wrong place");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn no_file_is_long_and_no_module_is_a_drawer() {
    let mut files = Vec::new();
    for folder in ["src", "signaling", "tests", "web", "loadtest"] {
        walk(&path(folder), &mut files);
    }
    files.retain(|file| {
        file.extension().is_some_and(|end| ["rs", "ts", "css", "html"].iter().any(|e| end == *e))
    });
    let complaints: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let lines = fs::read_to_string(file).unwrap().lines().count();
            shape_complaints(&name_of(file), lines)
        })
        .collect();

    assert!(files.len() > 10, "the walk found only {} files: it looks in the wrong place", files.len());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn an_upward_edge_is_reported() {
    let manifest = parse_manifest(
        "[package]\nname = \"nearcast-sfu\"\n[dependencies]\nrtp.workspace = true\nnode.workspace = true\n",
    );

    assert_eq!(
        forbidden_edges(rule("nearcast-sfu"), &manifest),
        ["nearcast-sfu → node is not in the table of layers"]
    );
}

#[test]
fn an_upward_edge_of_the_tests_alone_is_reported() {
    let manifest = parse_manifest(
        "[package]\nname = \"nearcast-transport\"\n[dev-dependencies]\nsignaling.workspace = true\n",
    );

    assert_eq!(
        forbidden_edges(rule("nearcast-transport"), &manifest),
        ["nearcast-transport → signaling is not in the table of layers"]
    );
}

#[test]
fn a_foreign_engine_in_a_second_crate_is_reported_but_tests_may_name_it() {
    let manifest = parse_manifest(
        "[package]\nname = \"nearcast-node\"\n[dependencies]\nrtc-stun.workspace = true\n\
         [target.'cfg(unix)'.dependencies]\naxum.workspace = true\n[dev-dependencies]\ndimpl.workspace = true\n",
    );

    assert_eq!(
        forbidden_edges(rule("nearcast-node"), &manifest),
        [
            "nearcast-node names axum, which belongs to nearcast-signaling",
            "nearcast-node names rtc-stun, which belongs to nearcast-transport"
        ]
    );
}

#[test]
fn a_sans_io_crate_with_a_runtime_or_a_version_of_its_own_is_reported() {
    let manifest = parse_manifest("[package]\nname = \"nearcast-rtp\"\n[dependencies]\ntokio = \"1\"\n");

    assert_eq!(
        forbidden_edges(rule("nearcast-rtp"), &manifest),
        ["nearcast-rtp gives tokio a version of its own", "nearcast-rtp is sans-IO and may not use tokio"]
    );
}

#[test]
fn a_clock_in_a_sans_io_source_is_reported_but_not_in_its_comments_or_tests() {
    let good = "//! Header: never Instant::now here.\nfn f() {} // no Mutex\n#[cfg(test)]\nmod tests { use std::thread; }\n";
    let bad = "//! Header.\nfn f() { let now = std::time::Instant::now(); }\n";

    assert!(source_complaints(rule("nearcast-sfu"), "src/sfu/good.rs", good).is_empty());
    assert_eq!(
        source_complaints(rule("nearcast-sfu"), "src/sfu/bad.rs", bad),
        ["src/sfu/bad.rs:2 names `Instant::now` in a sans-IO crate"]
    );
}

#[test]
fn a_source_without_header_or_with_unsafe_code_outside_its_places_is_reported() {
    let text = "use std::fmt;\n#![allow(unsafe_code)]\n";

    assert_eq!(
        source_complaints(rule("nearcast-node"), "src/node/bad.rs", text),
        [
            "src/node/bad.rs does not open with a `//!` header",
            "src/node/bad.rs:2 lifts the ban on unsafe code outside of the crates that may"
        ]
    );
}

#[test]
fn a_sans_io_crate_that_does_not_forbid_unsafe_code_is_reported() {
    assert_eq!(
        source_complaints(rule("nearcast-rtp"), "src/rtp/lib.rs", "//! Header.\n"),
        ["src/rtp/lib.rs does not say `#![forbid(unsafe_code)]`"]
    );
}

#[test]
fn a_long_file_and_a_drawer_are_reported() {
    assert_eq!(shape_complaints("src/node/shard.rs", FILE_LINES_MAX), Vec::<String>::new());
    assert_eq!(
        shape_complaints("src/node/shard.rs", FILE_LINES_MAX + 1),
        ["src/node/shard.rs has 801 lines (at most 800)"]
    );
    assert_eq!(
        shape_complaints("src/rtp/utils/mod.rs", 3),
        ["src/rtp/utils/mod.rs: `utils` does not say what is inside"]
    );
    assert_eq!(
        shape_complaints("src/rtp/helpers.rs", 3),
        ["src/rtp/helpers.rs: `helpers` does not say what is inside"]
    );
}

fn rule(package: &str) -> &'static Rule {
    CRATES.iter().find(|rule| rule.package == package).expect("a package of the table")
}

/// The name by which the workspace's crates call each other: `nearcast-rtp` is `rtp`.
fn short(package: &str) -> &str {
    package.strip_prefix("nearcast-").unwrap_or(package)
}

fn parse_manifest(text: &str) -> Manifest {
    let table: toml::Table = text.parse().expect("a manifest is TOML");
    let mut manifest = Manifest {
        package: table["package"]["name"].as_str().expect("a package has a name").to_owned(),
        dependencies: BTreeMap::new(),
        test_dependencies: BTreeMap::new(),
    };
    collect_dependencies(&table, &mut manifest);
    if let Some(targets) = table.get("target").and_then(toml::Value::as_table) {
        for target in targets.values().filter_map(toml::Value::as_table) {
            collect_dependencies(target, &mut manifest);
        }
    }
    manifest
}

fn collect_dependencies(table: &toml::Table, manifest: &mut Manifest) {
    for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
        let Some(entries) = table.get(section).and_then(toml::Value::as_table) else { continue };
        for (key, value) in entries {
            let name = value.get("package").and_then(toml::Value::as_str).unwrap_or(key).to_owned();
            let inherits = value.get("workspace").and_then(toml::Value::as_bool).unwrap_or(false);
            if section == "dev-dependencies" {
                manifest.test_dependencies.insert(name, inherits);
            } else {
                manifest.dependencies.insert(name, inherits);
            }
        }
    }
}

fn forbidden_edges(rule: &Rule, manifest: &Manifest) -> Vec<String> {
    let package = &manifest.package;
    let ours = |name: &str| CRATES.iter().any(|rule| short(rule.package) == short(name));
    let mut complaints = Vec::new();

    for (name, inherits) in manifest.dependencies.iter().chain(&manifest.test_dependencies) {
        if !inherits {
            complaints.push(format!("{package} gives {name} a version of its own"));
        }
        if ours(name) && !rule.may_use.contains(&short(name)) {
            complaints.push(format!("{package} → {name} is not in the table of layers"));
        }
    }
    for name in manifest.dependencies.keys() {
        let is_black_box = package == "nearcast-loadtest";
        if let Some((_, owner)) = ENGINES
            .iter()
            .find(|(engine, owner)| !is_black_box && is_engine(engine, name) && owner != package)
        {
            complaints.push(format!("{package} names {name}, which belongs to {owner}"));
        }
        if rule.sans_io && !ours(name) && !SANS_IO_DEPENDENCIES.contains(&name.as_str()) {
            complaints.push(format!("{package} is sans-IO and may not use {name}"));
        }
    }
    complaints
}

fn is_engine(engine: &str, name: &str) -> bool {
    engine.strip_suffix('*').map_or(engine == name, |prefix| name.starts_with(prefix))
}

fn source_complaints(rule: &Rule, name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    // A `tests.rs` belongs to the module beside it, whose header speaks for both.
    if !text.starts_with("//!") && !name.ends_with("/tests.rs") {
        complaints.push(format!("{name} does not open with a `//!` header"));
    }
    if rule.sans_io && name.ends_with("/lib.rs") && !text.contains("#![forbid(unsafe_code)]") {
        complaints.push(format!("{name} does not say `#![forbid(unsafe_code)]`"));
    }
    for (index, line) in code_lines(name, text) {
        let at = format!("{name}:{}", index + 1);
        if rule.sans_io {
            for word in SANS_IO_WORDS.iter().filter(|word| line.contains(**word)) {
                complaints.push(format!("{at} names `{word}` in a sans-IO crate"));
            }
        }
        let lifts_ban = line.contains("allow(unsafe_code") || line.contains("expect(unsafe_code");
        if lifts_ban && !UNSAFE_PACKAGES.contains(&rule.package) {
            complaints.push(format!("{at} lifts the ban on unsafe code outside of the crates that may"));
        }
    }
    complaints
}

/// The lines of a source with their indexes, without comments and without what stands below `#[cfg(test)]`, which by
/// our order of a file is its end.
fn code_lines<'a>(name: &str, text: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let is_test = name.ends_with("tests.rs") || name.contains("/tests/") || name.starts_with("tests/");
    text.lines()
        .take_while(move |line| !is_test && line.trim() != "#[cfg(test)]")
        .map(|line| line.split("//").next().unwrap_or_default())
        .enumerate()
}

fn shape_complaints(name: &str, lines: usize) -> Vec<String> {
    let mut complaints = Vec::new();
    if lines > FILE_LINES_MAX {
        complaints.push(format!("{name} has {lines} lines (at most {FILE_LINES_MAX})"));
    }
    for part in Path::new(name).with_extension("").iter().filter_map(|part| part.to_str()) {
        if EMPTY_NAMES.contains(&part) {
            complaints.push(format!("{name}: `{part}` does not say what is inside"));
        }
    }
    complaints
}

/// The Rust files of one crate; the server's own are the files that lie directly in `src`, and `tests`.
fn sources(rule: &Rule) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if rule.folder == "." {
        let entries = fs::read_dir(path("src")).unwrap();
        files.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()));
        walk(&path("tests"), &mut files);
    } else {
        walk(&path(rule.folder), &mut files);
    }
    files.retain(|file| file.extension().is_some_and(|end| end == "rs"));
    files
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !["node_modules", "dist", "target", "test-results", "playwright-report"].contains(&name) {
                walk(&path, files);
            }
        } else {
            files.push(path);
        }
    }
}

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn name_of(file: &Path) -> String {
    file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(file).to_string_lossy().into_owned()
}
