//! How far two sets of images lie apart, by features: Frechet Inception Distance in the three ways it is commonly
//! computed, kernel distances beside it, and the Frechet distance on a CLIP's features, which is **not** FID.
//!
//! Rooms: `mode` (what the network sees), `resize`, `listing` (files of a folder), `extract` (images to features),
//! `features`, `statistics` (mean and covariance), `npz` (numpy's file of them), `frechet`, `kernel`.

mod extract;
mod features;
mod frechet;
mod kernel;
mod listing;
mod mode;
mod npz;
mod resize;
mod statistics;

pub use extract::{Extractor, extract};
pub use features::Features;
pub use frechet::frechet_distance;
pub use kernel::{KernelDistance, cmmd, kernel_distance};
pub use listing::{images_of, open_image};
pub use mode::Mode;
pub use npz::{read_statistics, write_statistics};
pub use statistics::{Statistics, TRUSTED_COUNT};

use std::path::PathBuf;

/// What can go wrong with a distance.
#[derive(Debug, thiserror::Error)]
pub enum FidError {
    /// A file is not what it should be.
    #[error("{}: {problem}", file.display())]
    File {
        /// The file or folder.
        file: PathBuf,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// The two sides cannot be compared.
    #[error("{0}")]
    Sides(String),
    /// A network's.
    #[error(transparent)]
    Network(#[from] diffusion::Error),
}

impl FidError {
    fn file(file: &std::path::Path, problem: impl ToString) -> Self {
        Self::File { file: file.to_owned(), problem: problem.to_string() }
    }
}

impl From<candle_core::Error> for FidError {
    fn from(error: candle_core::Error) -> Self {
        Self::Network(error.into())
    }
}
