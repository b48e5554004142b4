//! Replays the kept fuzz corpus on stable: every file as it is, cut, and with bytes and lines changed.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may end its process")]

use std::fs;
use std::path::PathBuf;

mod exercise;

#[test]
fn every_kept_check_is_survived() {
    let files = corpus("fuzz/corpus/stun", "");
    let accepted =
        files.iter().filter(|file| transport::stun::verify(file, "abcdefghijklmnopqrstuvwx")).count();
    assert!(accepted >= 2, "no check of the corpus is a right one: the rest proves little");
    for file in files {
        for end in 0..=file.len() {
            exercise::stun(&file[..end]);
        }
        change_bytes(&file, 1, exercise::stun);
    }
}

#[test]
fn every_kept_offer_is_survived() {
    let mut files = corpus("fuzz/corpus/sdp", "");
    let accepted = files.iter().filter(|file| is_offer(file)).count();
    assert!(accepted >= 5, "only {accepted} offers of the corpus are right: the rest proves little");
    for file in &files {
        for end in (0..=file.len()).step_by(31) {
            exercise::sdp(&file[..end]);
        }
        change_bytes(file, 101, exercise::sdp);
    }
    files.extend(corpus("golden/offers", "sdp"));
    for file in files {
        exercise::sdp(&file);
        change_lines(&file, exercise::sdp);
    }
}

#[test]
fn every_kept_fragment_is_survived() {
    for file in corpus("fuzz/corpus/sdpfrag", "") {
        for end in 0..=file.len() {
            exercise::sdpfrag(&file[..end]);
        }
        change_bytes(&file, 1, exercise::sdpfrag);
        change_lines(&file, exercise::sdpfrag);
    }
}

fn is_offer(file: &[u8]) -> bool {
    std::str::from_utf8(file).is_ok_and(|text| transport::sdp::Offer::parse(text).is_ok())
}

fn change_bytes(file: &[u8], step: usize, exercise: fn(&[u8])) {
    let mut changed = file.to_vec();
    for place in (0..file.len()).step_by(step) {
        for value in [0x00, b'\n', b'\r', b' ', b':', b'9', 0x7f, 0x80, 0xff, file[place] ^ 0x01] {
            changed[place] = value;
            exercise(&changed);
        }
        changed[place] = file[place];
    }
}

/// A line left out, and a line twice, for at most [`LINES_CHANGED`] of the lines.
fn change_lines(file: &[u8], exercise: fn(&[u8])) {
    let lines: Vec<&[u8]> = file.split_inclusive(|&byte| byte == b'\n').collect();
    for place in (0..lines.len()).step_by(lines.len().div_ceil(LINES_CHANGED).max(1)) {
        let others = lines.iter().enumerate().filter(|(other, _)| *other != place);
        exercise(&others.flat_map(|(_, line)| line.iter().copied()).collect::<Vec<u8>>());
        let twice = lines
            .iter()
            .enumerate()
            .flat_map(|(other, line)| std::iter::repeat_n(*line, if other == place { 2 } else { 1 }));
        exercise(&twice.flatten().copied().collect::<Vec<u8>>());
    }
}

fn corpus(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(folder);
    let paths = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let wanted = paths.filter(|path| path.extension().is_none_or(|found| found == extension));
    let files: Vec<Vec<u8>> = wanted.map(|path| fs::read(path).unwrap()).collect();
    assert!(!files.is_empty(), "{} is empty: the test looks in the wrong place", folder.display());
    files
}

/// How many lines of a file are changed: the test stays quick.
const LINES_CHANGED: usize = 40;
