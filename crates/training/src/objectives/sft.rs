//! Supervised fine-tuning on winners.

use super::Loss;
use candle_core::{DType, Result, Tensor};
use domain::run::metric;

/// Mean of the policy's errors on winners, (M).
///
/// # Errors
/// candle's.
pub fn sft(policy_winner: &Tensor) -> Result<Loss> {
    let loss = policy_winner.mean_all()?;
    let value = loss.to_dtype(DType::F64)?.to_scalar()?;
    Ok(Loss { loss, metrics: vec![(metric::MSE_WINNER, value)] })
}
