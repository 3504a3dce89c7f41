//! Pre-training on images.

use super::loss::Loss;
use candle_core::{Result, Tensor};

/// Mean over k of `weights`_k e(k): `errors` has shape (M), and `weights` one value per image, that of its timestep.
///
/// # Errors
/// Fails if the shapes differ.
pub(crate) fn denoise(errors: &Tensor, weights: &[f32]) -> Result<Loss> {
    let weights = Tensor::new(weights, errors.device())?;
    Ok(Loss { loss: (errors * weights)?.mean_all()?, metrics: Vec::new() })
}
