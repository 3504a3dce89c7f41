//! Checkpoint rotation: which of a run's models stay on disk.

use super::callbacks::Callbacks;
use anyhow::{Context, Result};
use catalogue::run_folder;
use std::io::ErrorKind;
use std::path::Path;

/// Deletes the models up to `step` that are neither among the `keep` newest nor `best`, and that the callbacks retire.
/// Models of later steps are left: an attempt that crashed made them, and the run will make them again.
///
/// # Errors
/// Fails if a folder cannot be read or deleted, or a callback fails.
pub(super) fn rotate(
    run: &Path,
    step: u32,
    keep: u32,
    best: Option<u32>,
    callbacks: &mut dyn Callbacks,
) -> Result<()> {
    let models = run_folder::models(run);
    let mut steps = run_folder::steps(run).with_context(|| format!("cannot read {}", models.display()))?;
    steps.retain(|&at| at <= step);
    steps.sort_unstable_by(|a, b| b.cmp(a));
    for &old in steps.iter().skip(keep as usize).filter(|&&at| Some(at) != best) {
        // The callback deletes the row before the files are deleted, because a row must always have its files.
        if !callbacks.retire(old)? {
            continue;
        }
        let folder = run_folder::model(run, old);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot delete {}", folder.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
