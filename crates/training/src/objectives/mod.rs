//! What is minimised: pure functions from denoising errors to a loss and its metrics.
//!
//! Throughout, for a micro-batch of M pairs: e(k) is the mean over channels and pixels of the squared error of
//! the prediction for image k, in f32; a_i = e_policy(winner i) - e_reference(winner i), b_j likewise for
//! losers; logit_ij = -beta/2 (a_i - b_j).

mod denoise;
mod diff_contrast;
mod diffusion_dpo;
mod pairs;
mod rpo;
mod sft;
mod weights;

pub use denoise::denoise;
pub use diff_contrast::diff_contrast;
pub use diffusion_dpo::diffusion_dpo;
pub use pairs::{PairErrors, log_sigmoid};
pub use rpo::rpo;
pub use sft::sft;
pub use weights::{contrast_weights, softmax_of_cosines};

use candle_core::{DType, Tensor};

/// A loss to differentiate, and what to report beside it.
#[derive(Debug)]
pub struct Loss {
    /// A scalar.
    pub loss: Tensor,
    /// Name (see `domain::run::metric`) and value.
    pub metrics: Vec<(&'static str, f64)>,
}

impl Loss {
    /// The loss as a number.
    ///
    /// # Errors
    /// It is no scalar.
    pub fn value(&self) -> candle_core::Result<f64> {
        self.loss.to_dtype(DType::F64)?.to_scalar()
    }
}

#[cfg(test)]
mod tests;
