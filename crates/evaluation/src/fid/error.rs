//! Errors of distances between sets of images.

use std::path::{Path, PathBuf};

/// Why a distance cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum FidError {
    /// A file or folder that cannot be read or has unexpected content.
    #[error("{}: {problem}", file.display())]
    File {
        /// The file or folder.
        file: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// Features or statistics that cannot be compared.
    #[error("{0}")]
    Sides(String),
    /// An error of the network that computes features.
    #[error(transparent)]
    Network(#[from] diffusion::Error),
}

impl FidError {
    pub(super) fn file(file: &Path, problem: impl ToString) -> Self {
        Self::File { file: file.to_owned(), problem: problem.to_string() }
    }
}

impl From<candle_core::Error> for FidError {
    fn from(error: candle_core::Error) -> Self {
        Self::Network(error.into())
    }
}
