//! Errors that make a whole set unreadable. A single unusable row is not an error: see [`crate::pair::Row::Dropped`].

use std::path::{Path, PathBuf};

/// Why a set cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or folder that the operating system refuses to read.
    #[error("cannot read {file}: {error}")]
    File {
        /// The file or folder.
        file: PathBuf,
        /// The operating system's error.
        error: std::io::Error,
    },
    /// A file or folder whose content is not the expected one.
    #[error("{file}: {problem}")]
    Format {
        /// The file or folder.
        file: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
}

impl ReadError {
    pub(crate) fn file(file: &Path, error: std::io::Error) -> Self {
        Self::File { file: file.to_owned(), error }
    }

    /// An error about the content of a file or folder.
    #[must_use]
    pub fn format(file: &Path, problem: impl Into<String>) -> Self {
        Self::Format { file: file.to_owned(), problem: problem.into() }
    }
}
