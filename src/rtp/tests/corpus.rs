//! Replays the kept fuzz corpus on stable: every file as it is, cut at every byte, and with every byte changed.
#![cfg(not(miri))] // it has no files, and `tests/arbitrary.rs` walks the same code
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may end its process"
)]

use std::fs;
use std::path::PathBuf;

mod exercise;

#[test]
fn every_kept_rtp_packet_is_survived() {
    replay("rtp", exercise::rtp);
}

#[test]
fn every_kept_rtcp_compound_is_survived() {
    replay("rtcp", exercise::rtcp);
}

#[test]
fn every_kept_payload_is_survived() {
    replay("payload", exercise::payload);
}

#[test]
fn every_kept_red_payload_is_survived() {
    replay("red", exercise::red);
}

fn replay(target: &str, exercise: impl Fn(&[u8])) {
    let files = corpus(target);
    assert!(!files.is_empty(), "the corpus of {target} is empty: the test looks in the wrong place");
    for seed in &files {
        exercise(seed);
        for end in 0..seed.len() {
            exercise(&seed[..end]);
        }
        let mut changed = seed.clone();
        for place in 0..seed.len() {
            let original = seed[place];
            for value in [0x00, 0x7f, 0x80, 0xff, original ^ 0x01, original ^ 0x10] {
                changed[place] = value;
                exercise(&changed);
            }
            changed[place] = original;
        }
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap();
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}
