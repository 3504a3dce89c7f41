//! The objective of a spec, computed from the denoising errors of a micro-batch.

use crate::data::batch::Batch;
use crate::forward::Forward;
use crate::objectives::{Loss, contrast_weights, denoise, diff_contrast, diffusion_dpo, rpo, sft};
use anyhow::{Context, Result};
use candle_core::Tensor;
use diffusion::config::Prediction;
use diffusion::schedule::Schedule;
use domain::train::{Objective, SnrClamp, Weighting};

/// The loss of one micro-batch.
///
/// # Errors
/// Fails if a preference objective gets no losers or no reference, or if an objective with weights gets no CLIP
/// features.
pub fn objective(
    objective: &Objective,
    schedule: &Schedule,
    forward: &Forward<'_>,
    batch: &Batch,
) -> Result<Loss> {
    let weights = || -> Result<Tensor> {
        let Weighting { tau, embedding } = objective.weighting().context("the objective has no weights")?;
        let features = batch.clip.as_ref().context("the micro-batch has no CLIP features")?;
        Ok(contrast_weights(features, embedding, tau)?)
    };
    Ok(match *objective {
        Objective::Denoise { snr_clamp } => {
            denoise(&forward.winner(), &timestep_weights(schedule, snr_clamp, &batch.timesteps))?
        }
        Objective::Sft {} => sft(&forward.winner())?,
        Objective::DiffusionDpo { beta } => diffusion_dpo(&forward.pairs()?, beta)?,
        Objective::DiffContrast { beta, .. } => diff_contrast(&forward.pairs()?, &weights()?, beta)?,
        Objective::Rpo { beta, .. } => rpo(&forward.pairs()?, &weights()?, beta)?,
    })
}

/// Weights of the errors at these timesteps: clamp(SNR, min, max) / SNR for a noise prediction and / (SNR + 1) for a
/// v-prediction (Hang et al. 2023, Min-SNR), scaled so that the mean over all timesteps is 1.
fn timestep_weights(schedule: &Schedule, clamp: Option<SnrClamp>, timesteps: &[usize]) -> Vec<f32> {
    let Some(SnrClamp { min, max }) = clamp else { return vec![1.0; timesteps.len()] };
    let weight = |t: usize| {
        let snr = schedule.signal_to_noise(t);
        let divisor = match schedule.prediction() {
            Prediction::Epsilon => snr,
            Prediction::VPrediction => snr + 1.0,
        };
        snr.clamp(min, max) / divisor
    };
    let mean = (0..schedule.timesteps()).map(weight).sum::<f64>() / schedule.timesteps() as f64;
    timesteps.iter().map(|&t| (weight(t) / mean) as f32).collect()
}
