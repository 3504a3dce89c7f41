//! `origin.json`: where an imported model came from.

use super::files::MODEL_INDEX;
use crate::Result;
use crate::config;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file in a model's folder that says where an imported model came from.
pub const ORIGIN: &str = "origin.json";

/// The content of `origin.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// A path, or the name of a repository.
    pub source: String,
    /// The commit of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The name of the model, in the same models folder, from which missing parts are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

impl Origin {
    /// Reads the origin of a model's folder, if it has one.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is invalid.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let file = folder.join(ORIGIN);
        if file.is_file() { config::read(&file).map(Some) } else { Ok(None) }
    }

    /// The folder of the base that `folder` names in its origin, if any: a sibling in the same models folder.
    ///
    /// # Errors
    /// Fails if the origin cannot be read or is invalid.
    pub fn base_of(folder: &Path) -> Result<Option<PathBuf>> {
        let base = Self::read(folder)?.and_then(|origin| origin.base);
        Ok(base.map(|base| folder.parent().unwrap_or(Path::new(".")).join(base)))
    }

    /// Whether a folder is a model: a complete one in diffusers layout, or parts of one with a base.
    #[must_use]
    pub fn is_model(folder: &Path) -> bool {
        folder.join(MODEL_INDEX).is_file()
            || Self::read(folder).is_ok_and(|origin| origin.is_some_and(|origin| origin.base.is_some()))
    }
}
