//! Diffusion-DPO (Wallace et al. 2024): each winner against its own loser.

use super::loss::Loss;
use super::pairs::PairErrors;
use super::sigmoid::log_sigmoid;
use candle_core::Result;

/// Mean over i of -log sigmoid(logit_ii), with logit_ii = -beta/2 (a_i - b_i).
///
/// # Errors
/// Fails if the shapes differ.
pub fn diffusion_dpo(errors: &PairErrors, beta: f64) -> Result<Loss> {
    let logits = ((errors.a()? - errors.b()?)? * (-0.5 * beta))?;
    Ok(Loss { loss: log_sigmoid(&logits)?.mean_all()?.neg()?, metrics: errors.metrics(beta)? })
}
