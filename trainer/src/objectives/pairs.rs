//! What the preference objectives share: errors of pairs, logits, rewards.

use candle_core::{Result, Tensor};
use domain::run::metric;

/// Denoising errors of M pairs, each (M), in f32. Those of the reference carry no gradient.
#[derive(Clone, Debug)]
pub struct PairErrors {
    /// Of the policy on winners.
    pub policy_winner: Tensor,
    /// Of the policy on losers.
    pub policy_loser: Tensor,
    /// Of the reference on winners.
    pub reference_winner: Tensor,
    /// Of the reference on losers.
    pub reference_loser: Tensor,
}

impl PairErrors {
    /// a: how much worse than the reference the policy denoises each winner, (M).
    pub(super) fn a(&self) -> Result<Tensor> {
        &self.policy_winner - self.reference_winner.detach()
    }

    /// b: the same for losers, (M).
    pub(super) fn b(&self) -> Result<Tensor> {
        &self.policy_loser - self.reference_loser.detach()
    }

    /// logit_ij = -beta/2 (a_i - b_j) for every winner i and loser j, (M, M).
    pub(super) fn logits(&self, beta: f64) -> Result<Tensor> {
        self.a()?.unsqueeze(1)?.broadcast_sub(&self.b()?.unsqueeze(0)?)? * (-0.5 * beta)
    }

    /// Errors, gaps and implicit rewards, by TRL's names where it has one. The implicit reward of a picture is
    /// -beta/2 times its gap, so that a pair's margin is its logit.
    pub(super) fn metrics(&self, beta: f64) -> Result<Vec<(&'static str, f64)>> {
        let (a, b) = (self.a()?.to_vec1::<f32>()?, self.b()?.to_vec1::<f32>()?);
        let (mean_a, mean_b) = (mean(&a), mean(&b));
        let right = a.iter().zip(&b).map(|(a, b)| half_if_equal(*b, *a)).sum::<f64>() / a.len().max(1) as f64;
        let error = |t: &Tensor| Ok::<_, candle_core::Error>(mean(&t.to_vec1::<f32>()?));
        Ok(vec![
            (metric::REWARDS_CHOSEN, -0.5 * beta * mean_a),
            (metric::REWARDS_REJECTED, -0.5 * beta * mean_b),
            (metric::REWARDS_MARGINS, -0.5 * beta * (mean_a - mean_b)),
            (metric::REWARDS_ACCURACIES, right),
            (metric::MSE_WINNER, error(&self.policy_winner)?),
            (metric::MSE_LOSER, error(&self.policy_loser)?),
            (metric::MSE_REFERENCE_WINNER, error(&self.reference_winner)?),
            (metric::MSE_REFERENCE_LOSER, error(&self.reference_loser)?),
            (metric::MEAN_A, mean_a),
            (metric::MEAN_B, mean_b),
        ])
    }

    /// What a run with weights W also reports: accuracy weighted by W, W's mean diagonal, its rows' mean entropy.
    pub(super) fn weighted_metrics(&self, weights: &Tensor) -> Result<Vec<(&'static str, f64)>> {
        let (a, b) = (self.a()?.to_vec1::<f32>()?, self.b()?.to_vec1::<f32>()?);
        let rows = weights.to_vec2::<f32>()?;
        let (mut right, mut diagonal, mut entropy) = (0.0, 0.0, 0.0);
        for (i, row) in rows.iter().enumerate() {
            diagonal += f64::from(row[i]);
            for (j, &w) in row.iter().enumerate() {
                let w = f64::from(w);
                right += w * half_if_equal(b[j], a[i]);
                if w > 0.0 {
                    entropy -= w * w.ln();
                }
            }
        }
        let m = rows.len().max(1) as f64;
        Ok(vec![
            (metric::REWARDS_ACCURACIES_WEIGHTED, right / m),
            (metric::WEIGHT_DIAGONAL, diagonal / m),
            (metric::WEIGHT_ENTROPY, entropy / m),
        ])
    }
}

/// 1 if the loser's gap is the larger, 1/2 if they are equal, else 0.
fn half_if_equal(loser: f32, winner: f32) -> f64 {
    if loser > winner {
        1.0
    } else if loser < winner {
        0.0
    } else {
        0.5
    }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len().max(1) as f64
}

/// log sigmoid(x) = -log(1 + e^-x), as the logarithm of a sum with its larger term taken out: neither end
/// overflows. The part taken out is a constant to the gradient, so that the slope is sigmoid(-x) everywhere, also
/// at 0, where every preference run begins.
///
/// # Errors
/// candle's.
pub fn log_sigmoid(x: &Tensor) -> Result<Tensor> {
    let largest = x.neg()?.relu()?.detach();
    let sum = (largest.neg()?.exp()? + (x.neg()? - &largest)?.exp()?)?;
    (sum.log()? + largest)?.neg()
}
