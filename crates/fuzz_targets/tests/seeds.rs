//! Every seed of every target, as it is and with mutations, the same ones in every run.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// Lengths and counts at which readers go wrong.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

/// Runs the seeds in `fuzz/seeds/NAME`, of which the reader accepts `accepted`, and `mutations` mutations of each.
fn run(name: &str, target: fn(&[u8]) -> bool, accepted: usize, mutations: u64) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name);
    let mut files: Vec<PathBuf> =
        folder.read_dir().expect("seeds").map(|entry| entry.expect("a seed").path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("a seed")).collect();
    assert_eq!(seeds.iter().filter(|seed| check(name, target, seed)).count(), accepted, "accepted seeds");
    for (index, seed) in seeds.iter().enumerate() {
        for mutation in 0..mutations {
            let mut rng = ChaCha8Rng::seed_from_u64((index as u64) << 32 | mutation);
            let other = &seeds[rng.random_range(0..seeds.len())];
            check(name, target, &mutated(seed, other, &mut rng));
        }
    }
}

/// Runs one input. Saves it if the target panics.
fn check(name: &str, target: fn(&[u8]) -> bool, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| target(input))).unwrap_or_else(|panic| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.failed"));
        std::fs::write(&file, input).expect("the input is kept");
        eprintln!("the target {name} fails for the input in {}", file.display());
        resume_unwind(panic)
    })
}

/// One to four changes: a flipped bit, a byte or number overwritten, a piece removed, doubled or taken from `other`.
fn mutated(seed: &[u8], other: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..8) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => {
                let edge = EDGES[rng.random_range(0..EDGES.len())].to_le_bytes();
                let length = [1, 2, 4, 8][rng.random_range(0..4)].min(bytes.len() - at);
                bytes[at..at + length].copy_from_slice(&edge[..length]);
            }
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..piece_end(at, bytes.len(), rng))),
            5 => {
                let piece = bytes[at..piece_end(at, bytes.len(), rng)].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            6 => bytes.insert(at, b"0123456789-.,:;[]{}\"\\"[rng.random_range(0..21)]),
            _ if other.is_empty() => {}
            _ => {
                let from = rng.random_range(0..other.len());
                let piece = other[from..piece_end(from, other.len(), rng)].to_vec();
                drop(bytes.splice(at..at, piece));
            }
        }
    }
    bytes
}

/// The end of a piece of up to 64 bytes.
fn piece_end(start: usize, end: usize, rng: &mut ChaCha8Rng) -> usize {
    start + rng.random_range(1..=64).min(end - start)
}

/// The files' names in a folder, without extension.
fn names(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(folder);
    let files = folder.read_dir().expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut names: Vec<String> =
        files.map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn every_target_has_seeds_and_a_program_for_libfuzzer() {
    let tested = [
        "parquet",
        "request_body",
        "safetensors",
        "single_file",
        "snappy",
        "torch_file",
        "torch_pickle",
        "votes_elsewhere",
    ];
    assert_eq!(names("seeds"), tested);
    assert_eq!(names("fuzz_targets"), tested);
}

#[test]
fn torch_file() {
    run("torch_file", fuzz_targets::torch_file, 9, 5000);
}

#[test]
fn torch_pickle() {
    run("torch_pickle", fuzz_targets::torch_pickle, 5, 10_000);
}

#[test]
fn safetensors() {
    run("safetensors", fuzz_targets::safetensors, 4, 5000);
}

#[test]
fn parquet() {
    run("parquet", fuzz_targets::parquet, 2, 2000);
}

#[test]
fn snappy() {
    run("snappy", fuzz_targets::snappy, 5, 20_000);
}

#[test]
fn single_file() {
    run("single_file", fuzz_targets::single_file, 3, 100);
}

#[test]
fn votes_elsewhere() {
    run("votes_elsewhere", fuzz_targets::votes_elsewhere, 4, 5000);
}

#[test]
fn request_body() {
    run("request_body", fuzz_targets::request_body, 13, 5000);
}
