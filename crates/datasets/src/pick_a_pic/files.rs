//! The files of a split, by their names.

use crate::error::ReadError;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The split that is meant when none is named.
const DEFAULT: &str = "train";
/// The folder in which published sets have their files.
const DATA: &str = "data";

/// The parquet files of a folder, or of its folder `data`, in the order of their names. A file belongs to the split that
/// its name begins with: `train-00000-of-00645-abc.parquet`, `validation_unique.parquet`.
pub(super) fn find(folder: &Path, split: Option<&str>) -> Result<Vec<PathBuf>, ReadError> {
    let mut there = files_in(folder)?;
    if folder.join(DATA).is_dir() {
        there.extend(files_in(&folder.join(DATA))?);
    }
    let there: Vec<&Path> = there.iter().map(PathBuf::as_path).collect();
    among(folder, &there, split).map_err(|problem| ReadError::format(folder, problem))
}

/// The same among files that are named; what is wrong with the folder where there are none.
pub(super) fn among(folder: &Path, files: &[&Path], split: Option<&str>) -> Result<Vec<PathBuf>, String> {
    let lying_in = |folder: &Path| -> Vec<PathBuf> {
        let parquet = |file: &&&Path| file.extension().is_some_and(|ending| ending == "parquet");
        let inside = files.iter().filter(|file| file.parent() == Some(folder)).filter(parquet);
        inside.map(|&file| file.to_owned()).collect()
    };
    let mut files = lying_in(folder);
    if files.is_empty() {
        files = lying_in(&folder.join(DATA));
    }
    files.sort_unstable();
    if files.is_empty() {
        return Err("holds no .parquet file, nor does a folder data in it".to_owned());
    }
    let of_split = |split: &str| -> Vec<PathBuf> {
        files.iter().filter(|file| split_of(file) == split).cloned().collect()
    };
    let found = of_split(split.unwrap_or(DEFAULT));
    match split {
        _ if !found.is_empty() => Ok(found),
        None => Ok(files),
        Some(split) => {
            let there: BTreeSet<String> = files.iter().map(|file| split_of(file)).collect();
            let there = there.into_iter().collect::<Vec<_>>().join(", ");
            Err(format!("has no split {split:?}; there are: {there}"))
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
