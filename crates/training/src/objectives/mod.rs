//! Objectives: pure functions from denoising errors to a loss and its metrics.
//!
//! Notation, for a micro-batch of M pairs (docs/method.md): e(k) is the error of image k, the mean over channels and
//! pixels of the squared difference between prediction and target, in f32. a_i = e_policy(winner i) -
//! e_reference(winner i) is the excess error on winner i, b_j the same on loser j, and logit_ij = -beta/2 (a_i - b_j)
//! the margin of winner i over loser j.

mod denoise;
mod diff_contrast;
mod diffusion_dpo;
mod diffusion_lpo;
mod loss;
mod pairs;
mod rpo;
mod sft;
mod sigmoid;
mod weights;

pub(crate) use denoise::denoise;
pub use diff_contrast::diff_contrast;
pub use diffusion_dpo::diffusion_dpo;
pub use diffusion_lpo::diffusion_lpo;
pub use loss::Loss;
pub use pairs::PairErrors;
pub use rpo::rpo;
pub use sft::sft;
pub use weights::{ClipFeatures, contrast_weights, softmax_of_cosines};

#[cfg(test)]
mod tests;
