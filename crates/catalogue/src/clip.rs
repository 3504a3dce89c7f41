//! Which CLIP a spec names: the one that weighs the pairs of Diff-contrast and RPO, or scores images.

use diffusion::layout::CLIP;
use diffusion::part_folders::PartFolders;
use domain::data::DataSpec;
use domain::name::is_repository;
use domain::problem::Problems;
use domain::train::{PAPER_CLIP, TrainSpec};
use std::path::{Path, PathBuf};

/// Where a CLIP is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClipSource {
    /// A folder on this machine.
    Folder(PathBuf),
    /// A repository of the hub.
    Repository(String),
}

/// Finds the CLIP of a name: a folder in the models folder or elsewhere, or that folder's `clip`, else a repository.
///
/// # Errors
/// Says where it was looked for.
pub fn find_clip(models: &Path, name: &str) -> Result<ClipSource, String> {
    for folder in [models.join(name), PathBuf::from(name)] {
        let inner = folder.join(CLIP);
        if inner.is_dir() {
            return Ok(ClipSource::Folder(inner));
        }
        if folder.is_dir() {
            return Ok(ClipSource::Folder(folder));
        }
    }
    if is_repository(name) {
        return Ok(ClipSource::Repository(name.to_owned()));
    }
    Err(format!(
        "there is no CLIP {name:?}: it is neither a folder in {}, nor a folder elsewhere, nor a repository (OWNER/NAME)",
        models.display()
    ))
}

/// Checks that a run whose objective weighs pairs by CLIP has one. `base`: the start checkpoint's folders, with the CLIP
/// that the spec names.
///
/// # Errors
/// Returns the field, and the line to add.
pub fn require_clip(spec: &TrainSpec, base: &PartFolders) -> Result<(), Problems> {
    // A prepared set holds the features.
    let needs_clip = spec.objective.weighting().is_some() && !matches!(spec.data, DataSpec::Prepared(_));
    if !needs_clip || spec.clip.is_some() || base.part(CLIP).is_ok() {
        return Ok(());
    }
    Err(Problems::one(
        "clip",
        format!(
            "objective {} weighs pairs by CLIP, and the base {:?} has none: add clip = \"{PAPER_CLIP}\" (the paper's), or \
             import the base with --clip",
            spec.objective.kind(),
            spec.base
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::{ClipSource, find_clip};

    #[test]
    fn folders_come_before_repositories() {
        let scratch = tempfile::tempdir().expect("a folder");
        let models = scratch.path();
        assert_eq!(find_clip(models, "o/n"), Ok(ClipSource::Repository("o/n".to_owned())));
        std::fs::create_dir_all(models.join("o/n")).expect("a folder");
        assert_eq!(find_clip(models, "o/n"), Ok(ClipSource::Folder(models.join("o/n"))));
        std::fs::create_dir_all(models.join("sd15/clip")).expect("a folder");
        assert_eq!(find_clip(models, "sd15"), Ok(ClipSource::Folder(models.join("sd15/clip"))));
        let problem = find_clip(models, "nothing").expect_err("no such CLIP");
        assert!(problem.contains("nothing") && problem.contains("OWNER/NAME"), "{problem}");
    }
}
