//! Supervised fine-tuning on winners.

use super::loss::Loss;
use candle_core::{DType, Result, Tensor};
use domain::run::metric;

/// Mean over i of e_policy(winner i); `policy_winner` has shape (M).
///
/// # Errors
/// Fails if a tensor operation does.
pub fn sft(policy_winner: &Tensor) -> Result<Loss> {
    let loss = policy_winner.mean_all()?;
    let value = loss.to_dtype(DType::F64)?.to_scalar()?;
    Ok(Loss { loss, metrics: vec![(metric::MSE_WINNER, value)] })
}
