//! Measurements of a trained autoencoder.

use crate::held_out;
use anyhow::Result;
use candle_core::Device;
use diffusion::noise::Noise;
use diffusion::vae::Autoencoder;
use shapes::Image;
use shapes::world::{Kind, Split, scene};
use training::data::images::to_tensor;

/// Mean peak signal-to-noise ratio of the reconstructions of 64 held-out images, in dB.
pub(super) fn peak_signal_to_noise(vae: &Autoencoder) -> Result<f64> {
    let images: Vec<Image> =
        (0..64).map(|i| scene(held_out::AUTOENCODER + i, Split::HeldOut, Kind::Single).paint()).collect();
    let x = to_tensor(images.iter(), &Device::Cpu)?;
    let reconstructed = vae.decode(&vae.encode(&x)?.mean.detach())?.detach().clamp(-1.0, 1.0)?;
    let errors = (((reconstructed - x)? * 0.5)?.sqr()?.mean((1, 2, 3))?).to_vec1::<f32>()?;
    Ok(errors.iter().map(|&e| -10.0 * f64::from(e).log10()).sum::<f64>() / errors.len() as f64)
}

/// Standard deviation of the latents of 256 random images of the training set.
pub(super) fn latent_deviation(vae: &Autoencoder, images: &[Image], noise: &mut Noise) -> Result<f64> {
    let picked: Vec<&Image> = (0..256).map(|_| &images[noise.below(images.len())]).collect();
    let latents = vae.encode(&to_tensor(picked.into_iter(), &Device::Cpu)?)?.mean.detach();
    let mean = f64::from(latents.mean_all()?.to_scalar::<f32>()?);
    let square = f64::from(latents.sqr()?.mean_all()?.to_scalar::<f32>()?);
    Ok((square - mean * mean).sqrt())
}
