//! What makes a set unreadable as a whole.

use std::path::{Path, PathBuf};

/// A set that cannot be read, with the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or folder that the system does not give.
    #[error("cannot read {file}: {error}")]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Not what it should be.
    #[error("{file}: {problem}")]
    Format {
        /// Which file or folder.
        file: PathBuf,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
}

impl ReadError {
    /// Of the system.
    pub fn file(file: &Path, error: std::io::Error) -> Self {
        Self::File { file: file.to_owned(), error }
    }

    /// Of the content.
    pub fn format(file: &Path, problem: impl Into<String>) -> Self {
        Self::Format { file: file.to_owned(), problem: problem.into() }
    }
}
