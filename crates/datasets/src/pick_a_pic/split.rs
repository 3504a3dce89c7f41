//! The files of a split, selected by name.

use crate::error::ReadError;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The split of a spec that names none. A set without this split is read whole.
const DEFAULT: &str = "train";
/// The folder of published sets that contains their files.
const DATA: &str = "data";

/// The parquet files of a split in a folder, or in its subfolder `data`, sorted by name. A file belongs to the split
/// that its name begins with: `train-00000-of-00645-abc.parquet`, `validation_unique.parquet`.
pub(super) fn find(folder: &Path, split: Option<&str>) -> Result<Vec<PathBuf>, ReadError> {
    let mut files = files_in(folder)?;
    if folder.join(DATA).is_dir() {
        files.extend(files_in(&folder.join(DATA))?);
    }
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    among(folder, &files, split).map_err(|problem| ReadError::format(folder, problem))
}

/// As [`find`], among the given files; the error says why there are none.
pub(super) fn among(folder: &Path, files: &[&Path], split: Option<&str>) -> Result<Vec<PathBuf>, String> {
    let parquet_in = |folder: &Path| -> Vec<PathBuf> {
        let parquet = |file: &&&Path| file.extension().is_some_and(|ending| ending == "parquet");
        let inside = files.iter().filter(|file| file.parent() == Some(folder)).filter(parquet);
        inside.map(|&file| file.to_owned()).collect()
    };
    let mut files = parquet_in(folder);
    if files.is_empty() {
        files = parquet_in(&folder.join(DATA));
    }
    files.sort_unstable();
    if files.is_empty() {
        return Err("holds no .parquet file, and neither does its subfolder data".to_owned());
    }
    let of_split = |split: &str| -> Vec<PathBuf> {
        files.iter().filter(|file| split_of(file) == split).cloned().collect()
    };
    let found = of_split(split.unwrap_or(DEFAULT));
    match split {
        _ if !found.is_empty() => Ok(found),
        None => Ok(files),
        Some(split) => {
            let splits: BTreeSet<String> = files.iter().map(|file| split_of(file)).collect();
            let splits = splits.into_iter().collect::<Vec<_>>().join(", ");
            Err(format!("has no split {split:?}: use one of {splits}"))
        }
    }
}

fn split_of(file: &Path) -> String {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    name.split('-').next().unwrap_or_default().to_owned()
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| ReadError::file(folder, e))? {
        let path = entry.map_err(|e| ReadError::file(folder, e))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}
