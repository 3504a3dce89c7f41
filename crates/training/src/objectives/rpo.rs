//! RPO weighting: W inside the log-sigmoid (Diff-contrast paper, Eq. 15, an ablation).

use super::loss::Loss;
use super::pairs::PairErrors;
use super::sigmoid::log_sigmoid;
use candle_core::{Result, Tensor};

/// Mean over i, j of -log sigmoid(W_ij logit_ij). `weights` is W, (M, M); no gradient reaches it.
///
/// # Errors
/// Fails if the shapes do not match.
pub fn rpo(errors: &PairErrors, weights: &Tensor, beta: f64) -> Result<Loss> {
    let weights = weights.detach();
    let loss = log_sigmoid(&(errors.logits(beta)? * &weights)?)?.mean_all()?.neg()?;
    let mut metrics = errors.metrics(beta)?;
    metrics.extend(errors.weighted_metrics(&weights)?);
    Ok(Loss { loss, metrics })
}
