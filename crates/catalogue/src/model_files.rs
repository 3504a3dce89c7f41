//! The files of a model's own folder, and their deletion with the model.

use crate::models::{Catalogue, ModelError};
use domain::api::ModelFile;
use domain::model::Model;
use std::io;
use std::path::{Component, Path, PathBuf};
use store::{Conflict, StoreError};

/// Why a model was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// What breaks without it.
    #[error("{}", .0.join(", "))]
    InUse(Vec<String>),
    /// Its folder cannot be found.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its folder cannot be removed, as in a models folder that is read-only.
    #[error("the folder of the model cannot be removed: {0}")]
    Folder(io::Error),
}

/// Lists the files below a folder in the order of their paths. Links are not followed; a folder that cannot be read is empty.
#[must_use]
pub fn list_files(folder: &Path) -> Vec<ModelFile> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else { continue };
            let path = format!("{prefix}{name}");
            if kind.is_dir() {
                folders.push((entry.path(), format!("{path}/")));
            } else if kind.is_file() {
                found.push(ModelFile { path, bytes: entry.metadata().map_or(0, |metadata| metadata.len()) });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// A file of a folder by its path within; none if the path leaves the folder, passes a link, or names no file.
#[must_use]
pub fn file_within(folder: &Path, path: &str) -> Option<PathBuf> {
    let is_plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let file = folder.join(path);
    // What a link in the folder leads to is not the model's.
    let real = file.canonicalize().ok()?;
    (is_plain && real.is_file() && real.starts_with(folder.canonicalize().ok()?)).then_some(file)
}

impl Catalogue {
    /// What breaks without a model, in words: models, jobs, studies and votes.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    pub async fn uses_of(&self, model: &Model) -> Result<Vec<String>, StoreError> {
        let mut uses = self.store.dependants(model.id, &model.name).await?;
        let votes = self.store.model_votes(model.id).await?;
        match votes.wins + votes.losses + votes.ties + votes.both_bad {
            0 => {}
            1 => uses.push("1 vote on its images".to_owned()),
            count => uses.push(format!("{count} votes on its images")),
        }
        Ok(uses)
    }

    /// Deletes a model that nothing depends on, with its images and its folder. The samples of its run stay.
    ///
    /// # Errors
    /// Fails with what depends on it; or if its folder cannot be removed, or the database refuses.
    pub async fn delete_model(&self, model: &Model) -> Result<(), DeletionError> {
        let uses = self.uses_of(model).await?;
        if !uses.is_empty() {
            return Err(DeletionError::InUse(uses));
        }
        let folder = self.folder(model)?;
        // Renamed first: a folder that cannot be removed keeps its row, and a row that cannot be removed keeps its folder.
        let aside = folder.with_file_name(format!(".deleted-{}", model.id));
        std::fs::rename(&folder, &aside).map_err(DeletionError::Folder)?;
        let artifacts = match self.store.remove_model(model.id).await {
            Ok(artifacts) => artifacts,
            Err(error) => {
                std::fs::rename(&aside, &folder).map_err(DeletionError::Folder)?;
                return Err(match error {
                    StoreError::Conflict(Conflict::ModelInUse) => {
                        DeletionError::InUse(vec!["votes or models that were added just now".to_owned()])
                    }
                    error => error.into(),
                });
            }
        };
        // The rows are gone: what cannot be removed now is only space.
        if let Err(error) = std::fs::remove_dir_all(&aside) {
            tracing::warn!(folder = %aside.display(), %error, "the folder of a deleted model remains");
        }
        for key in artifacts {
            let removed = self.artifacts.path(&key).map(std::fs::remove_file);
            if !matches!(removed, Ok(Ok(()))) {
                tracing::warn!(key, ?removed, "an image of a deleted model remains");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{file_within, list_files};
    use std::fs;

    #[test]
    fn files_are_listed_with_their_sizes_and_found_only_within_the_folder() {
        let scratch = tempfile::tempdir().expect("a folder");
        let folder = scratch.path().join("model");
        fs::create_dir_all(folder.join("unet")).expect("a folder");
        fs::write(folder.join("unet/config.json"), "{}").expect("a file");
        fs::write(folder.join("a.json"), "[1]").expect("a file");
        fs::write(scratch.path().join("secret"), "s").expect("a file");
        #[cfg(unix)]
        std::os::unix::fs::symlink(scratch.path().join("secret"), folder.join("link")).expect("a link");
        let files: Vec<_> = list_files(&folder).into_iter().map(|file| (file.path, file.bytes)).collect();
        assert_eq!(files, [("a.json".to_owned(), 3), ("unet/config.json".to_owned(), 2)]);
        assert_eq!(file_within(&folder, "unet/config.json"), Some(folder.join("unet/config.json")));
        for path in ["../secret", "/etc/passwd", "unet", "unet/../../secret", "link", "none", ""] {
            assert_eq!(file_within(&folder, path), None, "{path}");
        }
    }
}
