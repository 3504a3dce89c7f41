//! Diff-contrast (Eq. 2 and 9): every winner against every loser, the weight outside the log-sigmoid.

use super::Loss;
use super::pairs::{PairErrors, log_sigmoid};
use candle_core::{Result, Tensor};

/// 1/M sum over i, j of W_ij (-log sigmoid(logit_ij)). `weights`: (M, M), rows summing to 1, without gradient.
/// Rows already sum to 1, so the sum over j is no mean; Eq. 2, 3 and 10 lack the minus sign that Eq. 9 has.
///
/// # Errors
/// Shapes that do not fit.
pub fn diff_contrast(errors: &PairErrors, weights: &Tensor, beta: f64) -> Result<Loss> {
    let weights = weights.detach();
    let losses = log_sigmoid(&errors.logits(beta)?)?.neg()?;
    let loss = ((losses * &weights)?.sum_all()? / weights.dim(0)? as f64)?;
    let mut metrics = errors.metrics(beta)?;
    metrics.extend(errors.weighted_metrics(&weights)?);
    Ok(Loss { loss, metrics })
}
