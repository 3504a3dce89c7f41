//! Distances between two sets of images, computed on features: the Frechet Inception Distance (FID) as its three common
//! implementations compute it, kernel distances (KID, CMMD), and the Frechet distance on features of a CLIP, which is
//! **not** FID.

mod error;
mod extract;
mod features;
mod frechet;
mod kernel;
mod listing;
mod mode;
mod npz;
mod resize;
mod statistics;

pub use error::FidError;
pub use extract::{Extractor, extract};
pub use features::Features;
pub use frechet::frechet_distance;
pub use kernel::{KernelDistance, cmmd, kernel_distance};
pub use listing::{images_of, open_image};
pub use mode::Mode;
pub use npz::{read_statistics, write_statistics};
pub use statistics::{Statistics, TRUSTED_COUNT};
