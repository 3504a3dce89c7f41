//! Denoising errors of pairs, and what the preference objectives compute from them: excess errors, logits, metrics.

use candle_core::{DType, Result, Tensor};
use domain::run::metric;

/// Denoising errors e(k) of M pairs: four tensors of shape (M), f32 or f64. No gradient reaches the reference's.
#[derive(Clone, Debug)]
pub struct PairErrors {
    /// e_policy(winner i).
    pub policy_winner: Tensor,
    /// e_policy(loser j).
    pub policy_loser: Tensor,
    /// e_reference(winner i).
    pub reference_winner: Tensor,
    /// e_reference(loser j).
    pub reference_loser: Tensor,
}

impl PairErrors {
    /// a, (M): the excess error of the policy over the reference on each winner.
    pub(super) fn a(&self) -> Result<Tensor> {
        &self.policy_winner - self.reference_winner.detach()
    }

    /// b, (M): the excess error on each loser.
    pub(super) fn b(&self) -> Result<Tensor> {
        &self.policy_loser - self.reference_loser.detach()
    }

    /// logit_ij = -beta/2 (a_i - b_j), (M, M): winners in rows, losers in columns.
    pub(super) fn logits(&self, beta: f64) -> Result<Tensor> {
        self.a()?.unsqueeze(1)?.broadcast_sub(&self.b()?.unsqueeze(0)?)? * (-0.5 * beta)
    }

    /// Mean errors, excess errors and implicit rewards, named as in TRL where it has the metric. The implicit reward of
    /// an image is -beta/2 times its excess error, so the margin of a pair is its logit. The accuracy is the share of
    /// pairs whose winner has the higher reward; a tie counts half.
    pub(super) fn metrics(&self, beta: f64) -> Result<Vec<(&'static str, f64)>> {
        let (a, b) = (values(&self.a()?)?, values(&self.b()?)?);
        let (mean_a, mean_b) = (mean(&a), mean(&b));
        let accuracy =
            a.iter().zip(&b).map(|(a, b)| correctness(*b, *a)).sum::<f64>() / a.len().max(1) as f64;
        let error = |t: &Tensor| Ok::<_, candle_core::Error>(mean(&values(t)?));
        Ok(vec![
            (metric::REWARDS_CHOSEN, -0.5 * beta * mean_a),
            (metric::REWARDS_REJECTED, -0.5 * beta * mean_b),
            (metric::REWARDS_MARGINS, -0.5 * beta * (mean_a - mean_b)),
            (metric::REWARDS_ACCURACIES, accuracy),
            (metric::MSE_WINNER, error(&self.policy_winner)?),
            (metric::MSE_LOSER, error(&self.policy_loser)?),
            (metric::MSE_REFERENCE_WINNER, error(&self.reference_winner)?),
            (metric::MSE_REFERENCE_LOSER, error(&self.reference_loser)?),
            (metric::MEAN_A, mean_a),
            (metric::MEAN_B, mean_b),
        ])
    }

    /// Metrics of a run with weights W, (M, M): the accuracy over all winners and losers weighted by W, the mean of the
    /// diagonal of W, and the mean entropy of its rows in nats.
    pub(super) fn weighted_metrics(&self, weights: &Tensor) -> Result<Vec<(&'static str, f64)>> {
        let (a, b) = (values(&self.a()?)?, values(&self.b()?)?);
        let rows = weights.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        let (mut accuracy, mut diagonal, mut entropy) = (0.0, 0.0, 0.0);
        for (i, row) in rows.iter().enumerate() {
            diagonal += row[i];
            for (j, &w) in row.iter().enumerate() {
                accuracy += w * correctness(b[j], a[i]);
                if w > 0.0 {
                    entropy -= w * w.ln();
                }
            }
        }
        let m = rows.len().max(1) as f64;
        Ok(vec![
            (metric::REWARDS_ACCURACIES_WEIGHTED, accuracy / m),
            (metric::WEIGHT_DIAGONAL, diagonal / m),
            (metric::WEIGHT_ENTROPY, entropy / m),
        ])
    }
}

/// Whether a comparison is right, given the excess errors of both images: 1 if the loser's is larger, 0.5 if they are
/// equal (or not numbers), else 0.
fn correctness(loser: f64, winner: f64) -> f64 {
    if loser > winner {
        1.0
    } else if loser < winner {
        0.0
    } else {
        0.5
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn values(x: &Tensor) -> Result<Vec<f64>> {
    x.to_dtype(DType::F64)?.to_vec1()
}
