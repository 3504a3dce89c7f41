//! The base of an imported model.

use anyhow::{Result, ensure};
use diffusion::layout::{MODEL_INDEX, Origin};
use std::path::{Path, PathBuf};

/// A whole model that has the parts that an import lacks.
pub(super) struct Base {
    pub(super) name: String,
    pub(super) folder: PathBuf,
}

impl Base {
    /// The base with this name. If it is itself a UNet over a base, that base is used.
    pub(super) fn find(models: &Path, name: &str) -> Result<Self> {
        let name = match Origin::read(&models.join(name))? {
            Some(Origin { base: Some(base), .. }) => base,
            _ => name.to_owned(),
        };
        let folder = models.join(&name);
        ensure!(
            folder.join(MODEL_INDEX).is_file(),
            "--base {name}: {} is not a model in diffusers layout; import it first",
            folder.display()
        );
        Ok(Self { name, folder })
    }
}
