//! Paths of the files in a folder, in the form in which the hub lists a repository's files.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path};

/// Paths of all files in a folder and its sub-folders, relative to the folder, down to `levels` levels of folders.
///
/// # Errors
/// Fails if a folder cannot be read.
pub fn file_names(folder: &Path, levels: usize) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut folders = vec![(folder.to_owned(), 1)];
    while let Some((within, level)) = folders.pop() {
        let entries = fs::read_dir(&within).with_context(|| format!("cannot read {}", within.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.extend((level < levels).then_some((path, level + 1)));
            } else {
                names.extend(path.strip_prefix(folder).ok().and_then(Path::to_str).map(str::to_owned));
            }
        }
    }
    Ok(names)
}

/// Whether a path that the hub states stays inside the repository's folder.
pub(crate) fn is_inside(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}
