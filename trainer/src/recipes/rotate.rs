//! Checkpoint rotation: which of a run's models stay.

use super::train::Watcher;
use anyhow::{Context, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const PREFIX: &str = "step-";

/// Folder of the model after `step` steps, in a run's folder of models.
#[must_use]
pub fn folder_of(models: &Path, step: u32) -> PathBuf {
    models.join(format!("{PREFIX}{step:07}"))
}

/// Removes the models before `step` that are neither among the `keep` newest nor `best`, and that the watcher lets go.
/// Those later than `step` were made by a process that died, and will be made again.
///
/// # Errors
/// The disk's, or the watcher's.
pub fn rotate(
    models: &Path,
    step: u32,
    keep: u32,
    best: Option<u32>,
    watcher: &mut dyn Watcher,
) -> Result<()> {
    let mut steps = Vec::new();
    for entry in std::fs::read_dir(models).with_context(|| format!("cannot read {}", models.display()))? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).map(str::parse::<u32>);
        steps.extend(number.and_then(Result::ok).filter(|&at| at <= step));
    }
    steps.sort_unstable_by(|a, b| b.cmp(a));
    for &old in steps.iter().skip(keep as usize).filter(|&&at| Some(at) != best) {
        // What refers to the model goes first: a reference without a folder cannot exist.
        if !watcher.retire(old)? {
            continue;
        }
        let folder = folder_of(models, old);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
