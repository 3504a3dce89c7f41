//! Plain pre-training.

use super::Loss;
use candle_core::{Result, Tensor};

/// Mean of the errors (M), each weighted by its timestep's weight (M).
///
/// # Errors
/// Shapes that do not fit.
pub fn denoise(errors: &Tensor, weights: &[f32]) -> Result<Loss> {
    let weights = Tensor::new(weights, errors.device())?;
    Ok(Loss { loss: (errors * weights)?.mean_all()?, metrics: Vec::new() })
}
