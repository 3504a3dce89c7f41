//! The folders of a run.

use diffusion::part_folders::PartFolders;
use std::path::PathBuf;

/// The folders that a run reads and writes.
#[derive(Clone, Debug)]
pub struct RunPaths {
    /// The start checkpoint, with its ancestors' parts.
    pub start: PartFolders,
    /// The frozen reference; the start checkpoint when absent.
    pub reference: Option<PartFolders>,
    /// The run's own folder: resume state and models (`catalogue::run_folder`).
    pub run: PathBuf,
    /// Encoded sets, shared between runs.
    pub cache: PathBuf,
}
