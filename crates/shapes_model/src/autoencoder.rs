//! The autoencoder of the bundled model: 64 x 64 images to 16 x 16 x 4 latents.
//!
//! Two groups per group norm, because groups of two or three channels would normalise absolute colour away in
//! flat images. The log-variance begins low, or the latents' noise drowns the first lessons. Styled and
//! degraded images are in the set, or their strokes would be wiped out.

use super::files::write_part;
use super::rate::rate;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use clap::Args;
use diffusion::noise::Noise;
use diffusion::unet::WEIGHTS_FILE;
use diffusion::vae::Autoencoder;
use diffusion::weights::{Parameters, Variables};
use domain::train::{Moments, OptimizerSpec};
use process::progress::Progress;
use rayon::prelude::*;
use serde_json::{Value, json};
use shapes::Image;
use shapes::quality::quality_pair;
use shapes::style::Style;
use shapes::world::{Kind, Split, scene};
use std::path::PathBuf;
use training::data::images::to_tensor;
use training::optim::{Gradients, Optimiser};

/// Images per step.
const BATCH: usize = 8;
/// Learning rate after warm-up; falls along half a cosine.
const RATE: f64 = 1.5e-3;
/// Steps over which the rate rises.
const WARMUP: u32 = 50;
/// Weight of the KL divergence from the unit normal, per latent value.
const KL: f64 = 1e-4;
/// Seeds from here on are kept for measuring.
pub(super) const MEASURE_SEED: u64 = 20_000_000;

/// How to train it.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder of the model; `vae/` is written there.
    #[arg(long, default_value = "models/shapes")]
    out: PathBuf,
    /// Steps of 8 images.
    #[arg(long, default_value_t = 3000)]
    steps: u32,
    /// Images in the set.
    #[arg(long, default_value_t = 9000)]
    images: u32,
    /// Keep the encoder as it is in `vae/` and train the decoder alone.
    #[arg(long)]
    decoder_only: bool,
    /// Start from the weights in `vae/` instead of from nothing.
    #[arg(long)]
    warm_start: bool,
    /// Of every draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn config(scaling_factor: f64) -> Value {
    json!({
        "_class_name": "AutoencoderKL",
        "_diffusers_version": "0.35.0",
        "act_fn": "silu",
        "block_out_channels": [16, 24, 48],
        "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "layers_per_block": 1,
        "mid_block_add_attention": false,
        "norm_num_groups": 2,
        "sample_size": 64,
        "scaling_factor": scaling_factor
    })
}

impl Options {
    pub(super) fn run(self) -> Result<()> {
        let device = Device::Cpu;
        let folder = self.out.join("vae");
        let images = training_set(self.images, self.seed);
        let (vae, all) = if self.decoder_only || self.warm_start {
            Autoencoder::load(&folder, &device, true)?
        } else {
            let parameters = Parameters::random(self.seed, &device);
            let vae = Autoencoder::new(&parameters.root(), serde_json::from_value(config(1.0))?)?;
            let variables = parameters.finish()?;
            quieten(&variables)?;
            (vae, variables)
        };
        let learnt: Variables = all
            .iter()
            .filter(|(name, _)| {
                !self.decoder_only || name.starts_with("decoder.") || name.starts_with("post_quant_conv.")
            })
            .map(|(name, v)| (name.clone(), v.clone()))
            .collect();
        let spec = OptimizerSpec::AdamW {
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            weight_decay: 1e-4,
            max_grad_norm: 1.0,
            moments: Moments::F32,
        };
        let mut optimiser = Optimiser::new(&spec, &learnt)?;
        let mut noise = Noise::stream(self.seed, 1);
        let mut progress = Progress::new("autoencoder", u64::from(self.steps));
        for step in 0..self.steps {
            let picked: Vec<&Image> = (0..BATCH).map(|_| &images[noise.below(images.len())]).collect();
            let x = to_tensor(picked.into_iter(), &device)?;
            let posterior = vae.encode(&x)?;
            let (latents, kl) = if self.decoder_only {
                // Latents that generation makes are never quite on the encoder's: teach the decoder some slack.
                let mean = posterior.mean.detach();
                let slack = (noise.normal_tensor(mean.shape().clone(), &device)? * 0.1)?;
                ((mean + slack)?, None)
            } else {
                let mean = &posterior.mean;
                let kl = ((mean.sqr()? + posterior.log_variance.exp()?)? - &posterior.log_variance)?;
                (posterior.sample(&mut noise)?, Some(((kl - 1.0)?.mean_all()? * (0.5 * KL))?))
            };
            let reconstruction = difference(&vae.decode(&latents)?, &x)?;
            let loss = match kl {
                Some(kl) => (&reconstruction + kl)?,
                None => reconstruction,
            };
            let mut gradients = Gradients::default();
            gradients.add(&loss.backward()?, &learnt)?;
            optimiser.update(&learnt, &gradients, 1, rate(RATE, WARMUP, step, self.steps))?;
            progress.step(&[("loss", f64::from(loss.to_scalar::<f32>()?))], BATCH as f64);
            if (step + 1) % 500 == 0 && step + 1 < self.steps {
                progress.note(&format!("step {}: {:.2} dB on unseen images", step + 1, quality(&vae)?));
            }
        }
        progress.finish();
        let scaling = if self.decoder_only {
            vae.config().scaling_factor
        } else {
            1.0 / deviation(&vae, &images, &mut noise)?
        };
        write_part(&folder, &config(scaling), WEIGHTS_FILE, &all)?;
        println!(
            "{}: {:.2} dB on unseen images, scaling factor {scaling:.4}",
            folder.display(),
            quality(&vae)?
        );
        Ok(())
    }
}

/// World images (60%), styled ones (30%) and degraded ones (10%), in parallel.
fn training_set(count: u32, seed: u64) -> Vec<Image> {
    (0..u64::from(count))
        .into_par_iter()
        .map(|i| {
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(i) % MEASURE_SEED;
            let plain = || scene(seed, Split::Train, Kind::Mixed).paint();
            match i % 10 {
                0 => Style::VanGogh.apply(&plain(), seed),
                1 => Style::Sketch.apply(&plain(), seed),
                2 => Style::Winter.apply(&plain(), seed),
                3 => quality_pair(seed).loser,
                _ => plain(),
            }
        })
        .collect()
}

/// Begins with little noise on the latents: log-variance -5, whatever the image.
fn quieten(variables: &Variables) -> Result<()> {
    let weight = variables.get("quant_conv.weight").context("quant_conv")?;
    let bias = variables.get("quant_conv.bias").context("quant_conv")?;
    let half = bias.dim(0)? / 2;
    let old = weight.as_detached_tensor();
    let quiet = (old.narrow(0, half, half)? * 0.1)?;
    weight.set(&Tensor::cat(&[&old.narrow(0, 0, half)?, &quiet], 0)?)?;
    let old = bias.as_detached_tensor().narrow(0, 0, half)?;
    bias.set(&Tensor::cat(&[&old, &Tensor::full(-5f32, half, bias.device())?], 0)?)?;
    Ok(())
}

/// L1 + 2 L2 + L1 of horizontal and vertical differences (edges) + L1 of the mean colour.
fn difference(made: &Tensor, right: &Tensor) -> Result<Tensor> {
    let d = (made - right)?;
    let (_, _, height, width) = d.dims4()?;
    let across = (d.narrow(3, 1, width - 1)? - d.narrow(3, 0, width - 1)?)?.abs()?.mean_all()?;
    let down = (d.narrow(2, 1, height - 1)? - d.narrow(2, 0, height - 1)?)?.abs()?.mean_all()?;
    let colour = d.mean((2, 3))?.abs()?.mean_all()?;
    Ok(((((d.abs()?.mean_all()? + (d.sqr()?.mean_all()? * 2.0)?)? + across)? + down)? + colour)?)
}

/// Peak signal to noise ratio of reconstructions of 64 unseen images, in dB.
fn quality(vae: &Autoencoder) -> Result<f64> {
    let images: Vec<Image> =
        (0..64).map(|i| scene(MEASURE_SEED + i, Split::HeldOut, Kind::Single).paint()).collect();
    let x = to_tensor(images.iter(), &Device::Cpu)?;
    let made = vae.decode(&vae.encode(&x)?.mean.detach())?.detach().clamp(-1.0, 1.0)?;
    let errors = (((made - x)? * 0.5)?.sqr()?.mean((1, 2, 3))?).to_vec1::<f32>()?;
    Ok(errors.iter().map(|&e| -10.0 * f64::from(e).log10()).sum::<f64>() / errors.len() as f64)
}

/// Standard deviation of the latents of 256 images of the set.
fn deviation(vae: &Autoencoder, images: &[Image], noise: &mut Noise) -> Result<f64> {
    let picked: Vec<&Image> = (0..256).map(|_| &images[noise.below(images.len())]).collect();
    let latents = vae.encode(&to_tensor(picked.into_iter(), &Device::Cpu)?)?.mean.detach();
    let mean = f64::from(latents.mean_all()?.to_scalar::<f32>()?);
    let square = f64::from(latents.sqr()?.mean_all()?.to_scalar::<f32>()?);
    Ok((square - mean * mean).sqrt())
}
