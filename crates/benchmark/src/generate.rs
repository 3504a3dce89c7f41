//! A generation step.

use crate::arguments::Arguments;
use crate::networks::{autoencoder, frozen_unet, random_inputs};
use crate::step::Step;
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use diffusion::conditioning::Conditioning;
use diffusion::noise::Noise;
use diffusion::part_folders::PartFolders;
use diffusion::sampler::{Sampler, SamplerKind};

const GUIDANCE_SCALE: f64 = 5.0;

/// One batch of images: DDIM with guidance, where each UNet call computes the conditional and the unconditional
/// prediction, then the decoder.
pub(crate) fn step(arguments: &Arguments, folders: &PartFolders, device: &Device) -> Result<Step<'static>> {
    let dtype = arguments.dtype(device)?;
    let unet = frozen_unet(arguments, folders, dtype, device)?;
    let vae = autoencoder(arguments, folders, dtype, device)?;
    let sampler = Sampler::new(SamplerKind::Ddim, &folders.schedule()?, arguments.steps)?;
    let (noise, conditioning) = random_inputs(arguments, folders, &unet, &mut Noise::new(0), device)?;
    let conditioning = Conditioning::join(&[conditioning.clone(), conditioning])?.to_dtype(dtype)?;
    let (batch, device) = (arguments.batch, device.clone());
    Ok(Box::new(move || {
        let mut denoising = sampler.start(&noise)?;
        for t in sampler.timesteps() {
            let input = denoising.model_input()?.to_dtype(dtype)?;
            let inputs = Tensor::cat(&[&input, &input], 0)?;
            let timesteps = Tensor::full(t as f32, 2 * batch, &device)?;
            let predictions =
                unet.forward_with(&inputs, &timesteps, &conditioning.text, conditioning.added.as_ref())?;
            let halves = predictions.to_dtype(DType::F32)?.chunk(2, 0)?;
            let prediction = (&halves[0] + ((&halves[1] - &halves[0])? * GUIDANCE_SCALE)?)?;
            denoising.advance(&prediction, || Ok(noise.clone()))?;
        }
        let latents = (denoising.latents() / vae.config().scaling_factor)?;
        let images = vae.decode(&latents.to_dtype(dtype)?)?.to_dtype(DType::F32)?;
        // Waits for a GPU to finish.
        images.sum_all()?.to_scalar::<f32>().context("the sum of the images")?;
        Ok(None)
    }))
}
