//! From noise to latents by a sampler, whatever it is that predicts.

use crate::Result;
use crate::noise::Noise;
use crate::sampler::Sampler;
use candle_core::{Device, Tensor};
use std::ops::ControlFlow;

/// The stream of a seed that holds the noise which samplers add on the way.
pub(super) const FRESH_NOISE: u64 = 1;

/// Hears of each step (done, of all) and can stop.
pub(super) type Progress<'a> = &'a mut dyn FnMut(usize, usize) -> ControlFlow<()>;

/// Denoises `noise`; `predict` is given what the network is to see, and the timestep. `None` if `progress` stopped it.
pub(super) fn denoise(
    sampler: &Sampler,
    noise: &Tensor,
    fresh_noise: &mut dyn FnMut() -> Result<Tensor>,
    progress: Progress<'_>,
    predict: impl Fn(&Tensor, f64) -> Result<Tensor>,
) -> Result<Option<Tensor>> {
    let mut denoising = sampler.start(noise)?;
    let all = sampler.timesteps().len();
    for (i, t) in sampler.timesteps().enumerate() {
        let prediction = predict(&denoising.seen()?, t)?;
        denoising.advance(&prediction, &mut *fresh_noise)?;
        if progress(i + 1, all).is_break() {
            return Ok(None);
        }
    }
    Ok(Some(denoising.latents().clone()))
}

/// Standard normal latents, (sources, channels, height, width): each image's from its own source.
pub(super) fn draw(sources: &mut [Noise], shape: [usize; 3], device: &Device) -> Result<Tensor> {
    let [channels, height, width] = shape;
    let noise = sources
        .iter_mut()
        .map(|source| source.normal_tensor((1, channels, height, width), device))
        .collect::<candle_core::Result<Vec<_>>>()?;
    Ok(Tensor::cat(&noise, 0)?)
}
