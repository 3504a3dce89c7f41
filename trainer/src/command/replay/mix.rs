//! The objective on the errors alone, in f64, and its slope with respect to each.

use super::Objective;
use super::batch::{Batch, Values};
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor, Var};
use training::objectives::{PairErrors, diff_contrast, diffusion_dpo, rpo, sft, softmax_of_cosines};

/// What the objective makes of the errors.
pub(super) struct Mixed {
    pub(super) loss: f64,
    /// dL/de of every image: winners, then losers.
    pub(super) slopes: Vec<f64>,
    /// (M, M), f32, as applied.
    pub(super) weights: Tensor,
}

/// `policy`, `reference`: errors of all winners, then of all losers.
pub(super) fn mix(
    objective: Objective,
    policy: &[f64],
    reference: &[f64],
    batch: &Batch,
    beta: f64,
    tau: f64,
) -> Result<Mixed> {
    let m = batch.pairs;
    let half = |errors: &[f64], i: usize| Tensor::new(&errors[i * m..][..m], &Device::Cpu);
    let (winner, loser) = (Var::from_tensor(&half(policy, 0)?)?, Var::from_tensor(&half(policy, 1)?)?);
    let errors = PairErrors {
        policy_winner: winner.as_tensor().clone(),
        policy_loser: loser.as_tensor().clone(),
        reference_winner: half(reference, 0)?,
        reference_loser: half(reference, 1)?,
    };
    let weights = if objective.compares() {
        let (winners, losers) = batch.embeddings.as_ref().context("embeddings")?;
        softmax_of_cosines(&wide(winners)?, &wide(losers)?, tau)?
    } else {
        Tensor::eye(m, DType::F64, &Device::Cpu)?
    };
    let loss = match objective {
        Objective::Sft => sft(&errors.policy_winner)?,
        Objective::DiffusionDpo => diffusion_dpo(&errors, beta)?,
        Objective::DiffContrast => diff_contrast(&errors, &weights, beta)?,
        Objective::Rpo => rpo(&errors, &weights, beta)?,
    }
    .loss;
    let store = loss.backward()?;
    let mut slopes = Vec::new();
    for leaf in [&winner, &loser] {
        match store.get(leaf) {
            Some(slope) => slopes.extend(slope.to_vec1::<f64>()?),
            None => slopes.extend(vec![0.0; m]), // losers in `sft`
        }
    }
    let loss = loss.to_scalar::<f64>()?;
    ensure!(
        loss.is_finite() && slopes.iter().all(|s| s.is_finite()),
        "the loss is {loss}: --beta or --tau is too extreme for these errors and embeddings"
    );
    Ok(Mixed { loss, slopes, weights: weights.to_dtype(DType::F32)? })
}

fn wide(values: &Values) -> Result<Tensor> {
    Ok(Tensor::from_slice(&values.values, values.shape.as_slice(), &Device::Cpu)?.to_dtype(DType::F64)?)
}
