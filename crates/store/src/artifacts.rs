//! Bytes under keys, in a local folder. What is there is whole: a file is written under a temporary name, forced to
//! the disk, renamed, and the folder forced to the disk, before `put` returns.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why bytes could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The key could leave the folder or upset a file system.
    #[error(
        "{0:?} is no artifact key: use parts of letters, digits, '-', '_' and '.', not starting with '.', joined by '/'"
    )]
    Key(String),
    /// The disk said no.
    #[error("artifact {path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A folder of artifacts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Artifacts {
    root: Arc<PathBuf>,
}

impl Artifacts {
    /// Opens a folder, which is made if absent.
    ///
    /// # Errors
    /// The disk's.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ArtifactError> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(at(&root))?;
        // Absolute, so that paths stay right whatever the working directory becomes.
        let root = fs::canonicalize(&root).map_err(at(&root))?;
        Ok(Self { root: Arc::new(root) })
    }

    /// Where a key's bytes lie or would lie.
    ///
    /// # Errors
    /// That it is no key.
    pub fn path(&self, key: &str) -> Result<PathBuf, ArtifactError> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part.len() <= 200
                && !part.starts_with('.')
                && part.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
        };
        if key.len() <= 1000 && key.split('/').all(is_part) {
            Ok(self.root.join(key))
        } else {
            Err(ArtifactError::Key(key.chars().take(100).collect()))
        }
    }

    /// Keeps bytes under a key, in place of what was there.
    ///
    /// # Errors
    /// That it is no key, or the disk's.
    pub async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), ArtifactError> {
        let path = self.path(key)?;
        let root = Arc::clone(&self.root);
        off_the_async_threads(&path.clone(), move || write_whole(&root, &path, &bytes)).await
    }

    /// The bytes of a key, if there are any.
    ///
    /// # Errors
    /// That it is no key, or the disk's.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, ArtifactError> {
        let path = self.path(key)?;
        off_the_async_threads(&path.clone(), move || match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(at(&path)(e)),
        })
        .await
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ArtifactError {
    let path = path.to_owned();
    move |source| ArtifactError::Io { path, source }
}

async fn off_the_async_threads<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, ArtifactError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(at(path)(io::Error::other(e))),
    }
}

fn write_whole(root: &Path, path: &Path, bytes: &[u8]) -> Result<(), ArtifactError> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let folder = path.parent().unwrap_or(root);
    make_folders(root, folder)?;
    // Keys do not start with '.', so the temporary name is nobody's; process and count make it this write's own.
    let count = WRITES.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{}-{count}.tmp", std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(e) = written {
        // The first error is the one to tell; what cannot be removed is only clutter.
        fs::remove_file(&temporary).unwrap_or_default();
        return Err(at(path)(e));
    }
    sync_folder(folder)
}

/// Makes the folders between the root and this one, each forced to the disk in the one that holds it.
fn make_folders(root: &Path, folder: &Path) -> Result<(), ArtifactError> {
    if folder.is_dir() || folder == root {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(root);
    make_folders(root, above)?;
    match fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(at(folder)(e)),
        _ => sync_folder(above),
    }
}

fn sync_folder(folder: &Path) -> Result<(), ArtifactError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}
