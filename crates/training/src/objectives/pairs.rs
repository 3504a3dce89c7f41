//! What the preference objectives share: errors of pairs, logits, rewards.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use domain::run::metric;

/// Denoising errors of M pairs, each (M), in f32 or f64. Those of the reference carry no gradient.
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

    /// Errors, gaps and implicit rewards, by TRL's names where it has one. The implicit reward of an image is
    /// -beta/2 times its gap, so that a pair's margin is its logit.
    pub(super) fn metrics(&self, beta: f64) -> Result<Vec<(&'static str, f64)>> {
        let (a, b) = (values(&self.a()?)?, values(&self.b()?)?);
        let (mean_a, mean_b) = (mean(&a), mean(&b));
        let right = a.iter().zip(&b).map(|(a, b)| half_if_equal(*b, *a)).sum::<f64>() / a.len().max(1) as f64;
        let error = |t: &Tensor| Ok::<_, candle_core::Error>(mean(&values(t)?));
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
        let (a, b) = (values(&self.a()?)?, values(&self.b()?)?);
        let rows = weights.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        let (mut right, mut diagonal, mut entropy) = (0.0, 0.0, 0.0);
        for (i, row) in rows.iter().enumerate() {
            diagonal += row[i];
            for (j, &w) in row.iter().enumerate() {
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
fn half_if_equal(loser: f64, winner: f64) -> f64 {
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

/// log sigmoid(x) = -log(1 + e^-x), exact to the last digits at both ends: neither overflows, and a pair that is
/// almost certain still has a loss. Its slope is sigmoid(-x) everywhere, also at 0, where every preference run begins.
///
/// # Errors
/// Not on the CPU, where the errors of a micro-batch are mixed.
pub fn log_sigmoid(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(LogSigmoid)
}

struct LogSigmoid;

impl CustomOp1 for LogSigmoid {
    fn name(&self) -> &'static str {
        "log-sigmoid"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let value = |x: f64| x.min(0.0) - (-x.abs()).exp().ln_1p();
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("log-sigmoid: not contiguous") };
        let y = match x {
            CpuStorage::F32(x) => {
                CpuStorage::F32(x[start..end].iter().map(|&x| value(f64::from(x)) as f32).collect())
            }
            CpuStorage::F64(x) => CpuStorage::F64(x[start..end].iter().map(|&x| value(x)).collect()),
            _ => bail!("log-sigmoid: neither f32 nor f64"),
        };
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(((x.detach().exp()? + 1.0)?.recip()? * gradient)?))
    }
}
