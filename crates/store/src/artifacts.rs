//! The artifact store: files under keys, in a local folder. A file is complete or absent: `put` returns after it is
//! written under a temporary name, synced, renamed, and its folder synced.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest key, and longest part of a key, in bytes.
const MAX_KEY_BYTES: usize = 1_000;
const MAX_PART_BYTES: usize = 200;

/// Why an artifact cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The key could name a file outside the folder, or one that file systems refuse.
    #[error(
        "{0:?} is not an artifact key: use parts of letters, digits, '-', '_' and '.', not starting with '.', joined by '/'"
    )]
    Key(String),
    /// The file or its folder cannot be read or written.
    #[error("artifact {0}")]
    Io(#[from] files::Error),
}

/// A folder of artifacts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Artifacts {
    root: Arc<PathBuf>,
}

impl Artifacts {
    /// Opens a folder, and creates it if it does not exist.
    ///
    /// # Errors
    /// Fails if the folder cannot be created.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ArtifactError> {
        let root = root.into();
        files::make_folder(&root)?;
        // Absolute, so that paths stay valid if the working directory changes.
        let root = fs::canonicalize(&root).map_err(files::Error::at(&root))?;
        Ok(Self { root: Arc::new(root) })
    }

    /// The file of a key, whether it exists or not.
    ///
    /// # Errors
    /// Fails if the key is invalid.
    pub fn path(&self, key: &str) -> Result<PathBuf, ArtifactError> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part.len() <= MAX_PART_BYTES
                && !part.starts_with('.')
                && part.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
        };
        if key.len() <= MAX_KEY_BYTES && key.split('/').all(is_part) {
            Ok(self.root.join(key))
        } else {
            Err(ArtifactError::Key(key.chars().take(100).collect()))
        }
    }

    /// Writes an artifact, and replaces an existing one.
    ///
    /// # Errors
    /// Fails if the key is invalid or the file cannot be written; an existing artifact then keeps its content.
    pub async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), ArtifactError> {
        let path = self.path(key)?;
        // Keys do not start with '.', so the temporary files, whose names do, are never artifacts.
        blocking(&path.clone(), move || files::write_atomically(&path, &bytes)).await
    }

    /// Reads an artifact; none if it does not exist.
    ///
    /// # Errors
    /// Fails if the key is invalid or the file cannot be read.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, ArtifactError> {
        let path = self.path(key)?;
        blocking(&path.clone(), move || match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(files::Error::at(&path)(e)),
        })
        .await
    }
}

/// Runs file operations outside the async threads. `path`: the file, for the error if the thread panics.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, files::Error> + Send + 'static,
) -> Result<T, ArtifactError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    Ok(outcome.unwrap_or_else(|e| Err(files::Error::at(path)(io::Error::other(e))))?)
}
