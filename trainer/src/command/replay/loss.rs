//! The objective as a function of the errors, in f64, and its derivative with respect to each error.

use super::batch::Batch;
use super::tensor_file::Values;
use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor, Var};
use domain::train::{Objective, Weighting};
use training::objectives::{PairErrors, diff_contrast, diffusion_dpo, rpo, sft, softmax_of_cosines};

/// The loss of a batch of M pairs.
pub(super) struct ReplayedLoss {
    pub(super) loss: f64,
    /// dL/de of every image: winners, then losers.
    pub(super) derivatives: Vec<f64>,
    /// The weights W of the pairs, (M, M), in f32; the identity for objectives without weights.
    pub(super) weights: Tensor,
}

/// `policy` and `reference`: errors of all winners, then of all losers.
pub(super) fn loss_and_derivatives(
    objective: &Objective,
    policy: &[f64],
    reference: &[f64],
    batch: &Batch,
) -> Result<ReplayedLoss> {
    let m = batch.pairs;
    let half = |errors: &[f64], i: usize| Tensor::new(&errors[i * m..][..m], &Device::Cpu);
    let (winner, loser) = (Var::from_tensor(&half(policy, 0)?)?, Var::from_tensor(&half(policy, 1)?)?);
    let errors = PairErrors {
        policy_winner: winner.as_tensor().clone(),
        policy_loser: loser.as_tensor().clone(),
        reference_winner: half(reference, 0)?,
        reference_loser: half(reference, 1)?,
    };
    let weights = match objective.weighting() {
        Some(Weighting { tau, .. }) => {
            let (winners, losers) = batch.embeddings.as_ref().context("the batch has no embeddings")?;
            softmax_of_cosines(&to_f64(winners)?, &to_f64(losers)?, tau)?
        }
        None => Tensor::eye(m, DType::F64, &Device::Cpu)?,
    };
    let loss = match *objective {
        Objective::Sft {} => sft(&errors.policy_winner)?,
        Objective::DiffusionDpo { beta } => diffusion_dpo(&errors, beta)?,
        Objective::DiffContrast { beta, .. } => diff_contrast(&errors, &weights, beta)?,
        Objective::Rpo { beta, .. } => rpo(&errors, &weights, beta)?,
        Objective::DiffusionLpo { .. } => {
            bail!("--objective: a batch holds pairs, and diffusion_lpo of a pair is diffusion_dpo")
        }
        Objective::Denoise { .. } => bail!("--objective: denoise is not an objective on pairs"),
    }
    .loss;
    let store = loss.backward()?;
    let mut derivatives = Vec::new();
    for errors in [&winner, &loser] {
        match store.get(errors) {
            Some(derivative) => derivatives.extend(derivative.to_vec1::<f64>()?),
            // `sft` does not depend on the losers.
            None => derivatives.extend(vec![0.0; m]),
        }
    }
    let loss = loss.to_scalar::<f64>()?;
    ensure!(
        loss.is_finite() && derivatives.iter().all(|d| d.is_finite()),
        "the loss is {loss}: --beta or --tau is too extreme for these errors and embeddings"
    );
    Ok(ReplayedLoss { loss, derivatives, weights: weights.to_dtype(DType::F32)? })
}

fn to_f64(values: &Values) -> Result<Tensor> {
    Ok(Tensor::from_slice(&values.values, values.shape.as_slice(), &Device::Cpu)?.to_dtype(DType::F64)?)
}
