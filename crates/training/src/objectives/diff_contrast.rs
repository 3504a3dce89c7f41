//! Diff-contrast: every winner against every loser of the micro-batch (Diff-contrast paper, Eq. 2 and 9;
//! docs/method.md).

use super::loss::Loss;
use super::pairs::PairErrors;
use super::sigmoid::log_sigmoid;
use candle_core::{Result, Tensor};

/// 1/M sum over i, j of W_ij (-log sigmoid(logit_ij)). `weights` is W, (M, M); no gradient reaches it.
///
/// Rows of W sum to 1, so the sum over j is already a mean. The sign is that of Eq. 9; Eq. 2, 3 and 10 omit the minus.
///
/// # Errors
/// Fails if the shapes do not match.
pub fn diff_contrast(errors: &PairErrors, weights: &Tensor, beta: f64) -> Result<Loss> {
    let weights = weights.detach();
    let losses = log_sigmoid(&errors.logits(beta)?)?.neg()?;
    let loss = ((losses * &weights)?.sum_all()? / weights.dim(0)? as f64)?;
    let mut metrics = errors.metrics(beta)?;
    metrics.extend(errors.weighted_metrics(&weights)?);
    Ok(Loss { loss, metrics })
}
