//! RPO weighting (Eq. 15, the paper's ablation): the weight inside the log-sigmoid.

use super::Loss;
use super::pairs::{PairErrors, log_sigmoid};
use candle_core::{Result, Tensor};

/// Mean over i, j of -log sigmoid(W_ij logit_ij). `weights`: (M, M), without gradient.
///
/// # Errors
/// Shapes that do not fit.
pub fn rpo(errors: &PairErrors, weights: &Tensor, beta: f64) -> Result<Loss> {
    let weights = weights.detach();
    let loss = log_sigmoid(&(errors.logits(beta)? * &weights)?)?.mean_all()?.neg()?;
    let mut metrics = errors.metrics(beta)?;
    metrics.extend(errors.weighted_metrics(&weights)?);
    Ok(Loss { loss, metrics })
}
