//! What can go wrong with a model.

use std::path::{Path, PathBuf};

/// What can go wrong with a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {problem}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// A weights file does not fit its config.
    #[error("{origin}: tensor {tensor:?} {problem}")]
    Tensor {
        /// The weights file.
        origin: String,
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The same, of several tensors.
    #[error("{origin}: {}", listed(problems, *more))]
    Tensors {
        /// The weights file, or the index of its shards.
        origin: String,
        /// Tensors, and what is wrong with each.
        problems: Vec<(String, String)>,
        /// How many more there are.
        more: usize,
    },
    /// A setting of an image that cannot be had.
    #[error("{field}: {problem}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Or an [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn format(file: &Path, problem: impl ToString) -> Self {
        Self::Format { file: file.to_owned(), problem: problem.to_string() }
    }

    pub(crate) fn setting(field: &'static str, problem: impl ToString) -> Self {
        Self::Setting { field, problem: problem.to_string() }
    }

    pub(crate) fn tensor(origin: String, tensor: String, problem: String) -> Self {
        Self::Tensor { origin, tensor, problem }
    }

    pub(crate) fn file(file: &Path, source: std::io::Error) -> Self {
        Self::File { file: file.to_owned(), source }
    }
}

fn listed(problems: &[(String, String)], more: usize) -> String {
    let mut text: Vec<String> =
        problems.iter().map(|(tensor, problem)| format!("tensor {tensor:?} {problem}")).collect();
    if more > 0 {
        text.push(format!("and {more} more"));
    }
    text.join("; ")
}
