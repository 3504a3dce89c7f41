//! Parquet files with the columns of Pick-a-Pic v2, read page by page.
//!
//! A row is a pair if its labels name a winner (1 and 0), it has a prompt, and it has both images. Rows are dropped if
//! they are ties (0.5 and 0.5), have no label (`has_label` is false or a label is null) or have contradictory labels.

mod batch;
mod bounded_file;
mod column;
pub(crate) mod label;
mod page_codec;
mod page_header;
mod page_memory;
mod shard;
pub mod snappy;
mod thrift;
mod write;

pub use write::{Record, Writer};

use crate::error::ReadError;
use crate::pair::{Row, Rows};
use crate::parallel_reader::{MAX_READERS, ParallelReader, READ_AHEAD_BYTES};
use crate::splits::{self, Chosen};
use domain::data::PickAPicSpec;
use shard::Shard;
use std::path::{Path, PathBuf};

/// Extension of the files.
const EXTENSION: &str = "parquet";
/// Memory for reading, in bytes. It decides how many files are read in parallel; one file is always read.
const MEMORY: u64 = 400 << 20;

/// The files of a spec, sorted by name.
///
/// # Errors
/// Fails if the folder cannot be listed or has no such files, or if the spec names a hub repository.
pub fn files(spec: &PickAPicSpec) -> Result<Vec<PathBuf>, ReadError> {
    Ok(chosen(spec)?.files)
}

fn chosen(spec: &PickAPicSpec) -> Result<Chosen, ReadError> {
    if let Some(hub) = &spec.hub {
        let problem = "is a hub repository, which only diff-contrast-trainer downloads: use the folder of a downloaded set";
        return Err(ReadError::format(Path::new(hub), problem));
    }
    let Chosen { files, left_out } = splits::find(Path::new(&spec.folder), EXTENSION, spec.split.as_deref())?;
    Ok(Chosen { files: at_most(files, spec), left_out })
}

/// The first `max_files` files of a spec.
fn at_most(mut files: Vec<PathBuf>, spec: &PickAPicSpec) -> Vec<PathBuf> {
    files.truncate(spec.max_files.map_or(usize::MAX, |most| most as usize));
    files
}

/// The files of a hub repository that [`files`] will find once they are downloaded, sorted by name.
///
/// # Errors
/// Fails if the repository has no such files.
pub fn files_among<'a>(
    names: impl IntoIterator<Item = &'a str>,
    spec: &PickAPicSpec,
) -> Result<Vec<String>, ReadError> {
    let names: Vec<&Path> = names.into_iter().map(Path::new).collect();
    let found = splits::among(Path::new(&spec.folder), EXTENSION, &names, spec.split.as_deref());
    let repository = spec.hub.as_deref().unwrap_or_default();
    let found =
        found.map_err(|problem| ReadError::format(&Path::new(repository).join(&spec.folder), problem))?;
    Ok(at_most(found.files, spec).iter().map(|file| file.to_string_lossy().into_owned()).collect())
}

/// Checks that a file has the columns of Pick-a-Pic.
///
/// # Errors
/// Fails if a column is missing or the file is not a parquet file.
pub fn check(file: &Path) -> Result<(), ReadError> {
    Shard::open(Path::new(""), file).map(drop)
}

/// The number of rows of all files, from their footers.
///
/// # Errors
/// Fails if there are no files or a footer cannot be read.
pub(crate) fn rows(spec: &PickAPicSpec) -> Result<u64, ReadError> {
    let folder = Path::new(&spec.folder);
    files(spec)?.iter().map(|file| Ok(Shard::open(folder, file)?.rows())).sum()
}

/// Opens the files of a spec.
///
/// # Errors
/// Fails if there are no files, or if the first one lacks a column.
pub(crate) fn open(spec: &PickAPicSpec) -> Result<Rows, ReadError> {
    let Chosen { files, left_out } = chosen(spec)?;
    let left_out = left_out.into_iter().map(|file| Ok(Row::LeftOut(file)));
    Ok(Box::new(left_out.chain(start(spec, files)?)))
}

/// Opens the given files of a spec and returns their rows.
///
/// # Errors
/// Fails if there are no files, or if the first one lacks a column.
pub fn open_files(
    spec: &PickAPicSpec,
    files: Vec<PathBuf>,
) -> Result<impl Iterator<Item = Result<Row, ReadError>> + Send + use<>, ReadError> {
    start(spec, files)
}

fn start(spec: &PickAPicSpec, files: Vec<PathBuf>) -> Result<ParallelReader, ReadError> {
    let folder = Path::new(&spec.folder);
    // A problem of the whole set shows in its first file, and is reported at once. That of another file is reported
    // when it is read.
    let Some(first) = files.first() else { return Err(ReadError::format(folder, "holds no .parquet file")) };
    let mut per_reader = Shard::open(folder, first)?.memory();
    for file in files.iter().skip(1) {
        per_reader = per_reader.max(Shard::open(folder, file).map_or(0, |shard| shard.memory()));
    }
    let count = usize::try_from(MEMORY / (per_reader + READ_AHEAD_BYTES as u64)).unwrap_or(MAX_READERS);
    let words: Vec<String> = spec.only_models.iter().map(|word| word.to_lowercase()).collect();
    let folder = folder.to_owned();
    Ok(ParallelReader::start(files, count, move |file, emit| Shard::open(&folder, file)?.read(&words, emit)))
}
