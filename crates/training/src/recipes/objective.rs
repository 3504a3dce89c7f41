//! The objective of a spec, computed from the denoising errors of a micro-batch.

use crate::data::batch::Batch;
use crate::forward::Forward;
use crate::objectives::{
    Loss, contrast_weights, denoise, diff_contrast, diffusion_dpo, diffusion_lpo, rpo, sft,
};
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
        Objective::DiffusionLpo { beta } => diffusion_lpo(&forward.pairs()?, &batch.lists, beta)?,
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

#[cfg(test)]
mod tests {
    use super::timestep_weights;
    use diffusion::schedule::Schedule;
    use domain::train::SnrClamp;
    use std::path::Path;

    /// At zero signal-to-noise ratio the weight is the clamp's lower end, and all weights are finite with mean 1.
    #[test]
    fn weights_are_finite_where_there_is_no_signal() {
        let text = r#"{"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
            "prediction_type": "v_prediction", "rescale_betas_zero_snr": true}"#;
        let config = serde_json::from_str(text).expect("a config");
        let schedule = Schedule::new(config, Path::new("test")).expect("a schedule");
        let all: Vec<usize> = (0..schedule.timesteps()).collect();
        let weights = timestep_weights(&schedule, Some(SnrClamp { min: 0.5, max: 5.0 }), &all);
        assert!(weights.iter().all(|weight| weight.is_finite() && *weight > 0.0));
        let mean = weights.iter().map(|weight| f64::from(*weight)).sum::<f64>() / weights.len() as f64;
        assert!((mean - 1.0).abs() < 1e-6, "{mean}");
        // Before scaling: clamp(snr) / (snr + 1) = 0.5 at the end and, where snr is 1 or more and less than 5, snr / (snr + 1).
        let t = (0..1000).rev().find(|&t| schedule.signal_to_noise(t) >= 1.0).expect("a timestep");
        let snr = schedule.signal_to_noise(t);
        let ratio = f64::from(weights[999]) / f64::from(weights[t]);
        assert!((ratio - 0.5 / (snr / (snr + 1.0))).abs() < 1e-5, "{ratio}");
    }
}
