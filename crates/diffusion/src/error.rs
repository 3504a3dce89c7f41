//! The error type of this crate.

use std::path::{Path, PathBuf};

/// What can go wrong with a model's files, settings or tensors.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The content of a file is invalid or not supported.
    #[error("{}: {problem}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A tensor of a weights file does not fit the network.
    #[error("{origin}: tensor {tensor:?} {problem}")]
    Tensor {
        /// The weights file.
        origin: String,
        /// The tensor's name.
        tensor: String,
        /// What is wrong, as the rest of a sentence that begins with the tensor.
        problem: String,
    },
    /// Several tensors of a weights file do not fit the network.
    #[error("{origin}: {}", list_problems(problems, *more))]
    Tensors {
        /// The weights file, or the index of its shards.
        origin: String,
        /// The first tensors, each with what is wrong.
        problems: Vec<(String, String)>,
        /// The number of further tensors.
        more: usize,
    },
    /// A setting is invalid for this model.
    #[error("{field}: {problem}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The model computed values that are not finite.
    #[error(
        "the model gave values that are not finite, in the {what}: its weights, or those of an adapter, are damaged or too \
         large; use an earlier checkpoint, a smaller scale of the adapter, or another model"
    )]
    NotFinite {
        /// What the values are.
        what: &'static str,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The result of a fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn format(file: &Path, problem: impl ToString) -> Self {
        Self::Format { file: file.to_owned(), problem: problem.to_string() }
    }

    pub(crate) fn setting(field: &'static str, problem: impl ToString) -> Self {
        Self::Setting { field, problem: problem.to_string() }
    }

    pub(crate) fn tensor(origin: impl ToString, tensor: impl ToString, problem: impl ToString) -> Self {
        Self::Tensor { origin: origin.to_string(), tensor: tensor.to_string(), problem: problem.to_string() }
    }

    pub(crate) fn file(file: &Path, source: std::io::Error) -> Self {
        Self::File { file: file.to_owned(), source }
    }

    /// An error about tensors that no other variant describes.
    pub(crate) fn message(problem: impl ToString) -> Self {
        Self::Candle(candle_core::Error::Msg(problem.to_string()))
    }
}

impl From<files::Error> for Error {
    fn from(error: files::Error) -> Self {
        Self::File { file: error.path, source: error.source }
    }
}

fn list_problems(problems: &[(String, String)], more: usize) -> String {
    let mut text: Vec<String> =
        problems.iter().map(|(tensor, problem)| format!("tensor {tensor:?} {problem}")).collect();
    if more > 0 {
        text.push(format!("and {more} more"));
    }
    text.join("; ")
}
