//! The objective that a spec asks for, on the errors of a micro-batch.

use crate::data::batch::Batch;
use crate::forward::Forward;
use crate::objectives::{Loss, contrast_weights, denoise, diff_contrast, diffusion_dpo, rpo, sft};
use anyhow::{Context, Result};
use candle_core::Tensor;
use diffusion::config::Prediction;
use diffusion::schedule::Schedule;
use domain::train::{Objective, SnrClamp, Weighting};

/// The objective of one micro-batch, from its denoising errors.
///
/// # Errors
/// The micro-batch lacks what the objective compares.
pub fn objective(
    asked: &Objective,
    schedule: &Schedule,
    forward: &Forward<'_>,
    batch: &Batch,
) -> Result<Loss> {
    let weights = || -> Result<Tensor> {
        let Weighting { tau, embedding } = asked.weighting().context("the objective has no weighting")?;
        let [winner, loser, text] = batch.clip.as_ref().context("the batch has no CLIP embeddings")?;
        Ok(contrast_weights(winner, loser, text, embedding, tau)?)
    };
    Ok(match *asked {
        Objective::Denoise { snr_clamp } => {
            denoise(&forward.winner(), &timestep_weights(schedule, snr_clamp, &batch.timesteps))?
        }
        Objective::Sft {} => sft(&forward.winner())?,
        Objective::DiffusionDpo { beta } => diffusion_dpo(&forward.pairs()?, beta)?,
        Objective::DiffContrast { beta, .. } => diff_contrast(&forward.pairs()?, &weights()?, beta)?,
        Objective::Rpo { beta, .. } => rpo(&forward.pairs()?, &weights()?, beta)?,
    })
}

/// Weight of each timestep's error: clamp(SNR, min, max), divided by what turns it into the space of the
/// prediction (SNR for the noise, SNR + 1 for v), and scaled so that the mean over all timesteps is 1.
fn timestep_weights(schedule: &Schedule, clamp: Option<SnrClamp>, timesteps: &[usize]) -> Vec<f32> {
    let Some(SnrClamp { min, max }) = clamp else { return vec![1.0; timesteps.len()] };
    let weight = |t: usize| {
        let snr = schedule.signal_to_noise(t);
        let space = match schedule.prediction() {
            Prediction::Epsilon => snr,
            Prediction::VPrediction => snr + 1.0,
        };
        snr.clamp(min, max) / space
    };
    let mean = (0..schedule.timesteps()).map(weight).sum::<f64>() / schedule.timesteps() as f64;
    timesteps.iter().map(|&t| (weight(t) / mean) as f32).collect()
}
