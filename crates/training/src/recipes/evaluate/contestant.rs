//! A model in an evaluation.

use diffusion::fingerprint::Fingerprint;
use diffusion::part_folders::PartFolders;

/// A model that is evaluated.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// The name in the report.
    pub name: String,
    /// SHA-256 of its weights.
    pub sha256: String,
    /// What decides its images.
    pub fingerprint: Fingerprint,
    /// The folders of its parts.
    pub folders: PartFolders,
}
