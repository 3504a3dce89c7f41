//! The denoising loop that all pipelines share.

use crate::noise::Noise;
use crate::sampler::Sampler;
use crate::weights::is_finite;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::ops::ControlFlow;

/// The stream of a seed for the noise that samplers add in their steps.
pub(super) const STEP_NOISE: u64 = 1;

/// A callback after each step, with the number of steps done and their total. It can stop the loop.
pub(super) type Progress<'a> = &'a mut dyn FnMut(usize, usize) -> ControlFlow<()>;

/// Denoises `noise`. `predict` returns the network's prediction for its input latents and the timestep. Returns `None` if
/// `progress` stopped the loop. Latents that are not finite are an error.
pub(super) fn denoise(
    sampler: &Sampler,
    noise: &Tensor,
    step_noise: &mut dyn FnMut() -> Result<Tensor>,
    progress: Progress<'_>,
    predict: impl Fn(&Tensor, f64) -> Result<Tensor>,
) -> Result<Option<Tensor>> {
    let mut denoising = sampler.start(noise)?;
    let total = sampler.timesteps().len();
    for (i, t) in sampler.timesteps().enumerate() {
        let prediction = predict(&denoising.model_input()?, t)?;
        denoising.advance(&prediction, &mut *step_noise)?;
        // Not at every step, because a GPU has to wait for the answer.
        if (i == 0 || i + 1 == total) && !is_finite(denoising.latents())? {
            return Err(Error::NotFinite { what: "latents" });
        }
        if progress(i + 1, total).is_break() {
            return Ok(None);
        }
    }
    Ok(Some(denoising.latents().clone()))
}

/// Standard normal latents, (sources, channels, height, width), each image's from its own source.
pub(super) fn draw_noise(sources: &mut [Noise], shape: [usize; 3], device: &Device) -> Result<Tensor> {
    let [channels, height, width] = shape;
    let noise = sources
        .iter_mut()
        .map(|source| source.normal_tensor((1, channels, height, width), device))
        .collect::<candle_core::Result<Vec<_>>>()?;
    Ok(Tensor::cat(&noise, 0)?)
}
