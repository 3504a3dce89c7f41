//! Parquet files in the columns of Pick-a-Pic v2, read page by page.
//!
//! The rule: a row is a pair if somebody said which image is better (labels 1 and 0), it has a prompt, and both
//! images are there. Ties (0.5 and 0.5), rows without a label (`has_label` false, or a label that is null) and labels
//! that contradict each other are left out.

mod column;
mod files;
mod guard;
pub mod label;
mod shard;
pub mod snappy;
mod write;

pub use write::{Record, Writer};

use crate::error::ReadError;
use crate::lanes::{self, Lanes};
use domain::data::PickAPicSpec;
use shard::Shard;
use std::path::{Path, PathBuf};

/// Memory that reading may take, in bytes: decides how many files are read at a time. One is read in any case.
const MEMORY: u64 = 400 << 20;

/// The files of a spec, in the order of their names.
///
/// # Errors
/// There are none.
pub fn files(spec: &PickAPicSpec) -> Result<Vec<PathBuf>, ReadError> {
    if let Some(hub) = &spec.hub {
        let problem = "lies on the hub: only diff-contrast-trainer fetches sets; name the folder of one that was fetched";
        return Err(ReadError::format(Path::new(hub), problem));
    }
    Ok(first(files::find(Path::new(&spec.folder), spec.split.as_deref())?, spec))
}

/// Those that a spec wants of all its files.
fn first(mut files: Vec<PathBuf>, spec: &PickAPicSpec) -> Vec<PathBuf> {
    files.truncate(spec.max_files.map_or(usize::MAX, |most| most as usize));
    files
}

/// Those of a repository's files that [`files`] finds once they are fetched, in the order of their names.
///
/// # Errors
/// There are none.
pub fn files_among<'a>(
    names: impl IntoIterator<Item = &'a str>,
    spec: &PickAPicSpec,
) -> Result<Vec<String>, ReadError> {
    let names: Vec<&Path> = names.into_iter().map(Path::new).collect();
    let found = files::among(Path::new(&spec.folder), &names, spec.split.as_deref());
    let whole = spec.hub.as_deref().unwrap_or_default();
    let found = found.map_err(|problem| ReadError::format(&Path::new(whole).join(&spec.folder), problem))?;
    Ok(first(found, spec).iter().map(|file| file.to_string_lossy().into_owned()).collect())
}

/// Looks whether a file has the columns.
///
/// # Errors
/// What it lacks, or it is no parquet file.
pub fn check(file: &Path) -> Result<(), ReadError> {
    Shard::open(Path::new(""), file).map(drop)
}

/// Rows of all files, as their footers say.
///
/// # Errors
/// A footer that cannot be read.
pub fn rows(spec: &PickAPicSpec) -> Result<u64, ReadError> {
    let folder = Path::new(&spec.folder);
    files(spec)?.iter().map(|file| Ok(Shard::open(folder, file)?.rows())).sum()
}

/// Opens a folder.
///
/// # Errors
/// It holds no such files, or the first of them has other columns: a clear word on what is missing.
pub fn open(spec: &PickAPicSpec) -> Result<Lanes, ReadError> {
    open_files(spec, files(spec)?)
}

/// Opens some files of a folder.
///
/// # Errors
/// As for [`open`].
pub fn open_files(spec: &PickAPicSpec, files: Vec<PathBuf>) -> Result<Lanes, ReadError> {
    let folder = Path::new(&spec.folder);
    // What is wrong with a whole set is wrong with its first file, and shows before anything else is done; what is wrong
    // with another, when that is read.
    let Some(first) = files.first() else { return Err(ReadError::format(folder, "holds no .parquet file")) };
    let mut per_lane = Shard::open(folder, first)?.memory();
    for file in files.iter().skip(1) {
        per_lane = per_lane.max(Shard::open(folder, file).map_or(0, |shard| shard.memory()));
    }
    let count = usize::try_from(MEMORY / (per_lane + lanes::AHEAD_BYTES as u64)).unwrap_or(lanes::MOST);
    let words: Vec<String> = spec.only_models.iter().map(|word| word.to_lowercase()).collect();
    let folder = folder.to_owned();
    Ok(Lanes::start(files, count, move |file, emit| Shard::open(&folder, file)?.read(&words, emit)))
}
