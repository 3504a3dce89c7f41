//! Writing files atomically, and naming them by content. Every crate that leaves files behind writes them here.

pub mod atomic;
mod fence;
pub mod sha256;

pub use atomic::{
    copy_atomically, copy_folder, make_folder, write_atomically, write_atomically_by, write_folder_atomically,
};
pub use fence::fenced;

use std::io;
use std::path::{Path, PathBuf};

/// A file or folder that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct Error {
    /// The file or folder.
    pub path: PathBuf,
    /// The operating system's error.
    pub source: io::Error,
}

impl Error {
    /// For `map_err`: adds the path to an I/O error.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { path: path.to_owned(), source }
    }
}
