//! The seeds of the fuzz targets, for the tests that replay them.

use std::path::PathBuf;

/// Returns the seeds of a fuzz target with their names, in the order of the names.
pub(crate) fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

/// Cuts a seed into datagrams: each behind its length in two bytes, as the fuzz targets read it.
pub(crate) fn datagrams(mut seed: &[u8]) -> Vec<&[u8]> {
    let mut datagrams = Vec::new();
    while let Some((&[l0, l1], rest)) = seed.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([l0, l1])).min(rest.len());
        let (datagram, rest) = rest.split_at(len);
        datagrams.push(datagram);
        seed = rest;
    }
    datagrams
}

/// Returns a seed as it is, cut at each byte, and with each byte changed; of a long seed, at a thousand bytes.
pub(crate) fn variants(seed: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let places = (0..seed.len()).step_by(seed.len().div_ceil(1_000).max(1));
    let changed = places.clone().map(|at| {
        let mut bytes = seed.to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    std::iter::once(seed.to_vec()).chain(places.map(|at| seed[..at].to_vec())).chain(changed)
}
