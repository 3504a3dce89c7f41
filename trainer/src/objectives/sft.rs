//! Supervised fine-tuning on winners.

use super::Objective;
use candle_core::{Result, Tensor};
use domain::run::metric;

/// Mean of the policy's errors on winners, (M).
///
/// # Errors
/// candle's.
pub fn sft(policy_winner: &Tensor) -> Result<Objective> {
    let loss = policy_winner.mean_all()?;
    let value = f64::from(loss.to_scalar::<f32>()?);
    Ok(Objective { loss, metrics: vec![(metric::MSE_WINNER, value)] })
}
