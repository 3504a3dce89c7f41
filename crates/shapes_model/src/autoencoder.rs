//! Trains the autoencoder of the bundled model: 64 x 64 images to 16 x 16 x 4 latents.
//!
//! Group norms have two groups, because groups of two or three channels would normalise absolute colour away in flat
//! images. The log-variance starts low, because noise on the latents would dominate the first steps. The training set
//! has styled and degraded images, because the decoder would remove their strokes otherwise.

mod loss;
mod quality;

use super::files::write_part;
use super::held_out;
use super::learning_rate::learning_rate;
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
use std::path::{Path, PathBuf};
use training::data::images::to_tensor;
use training::optim::{Gradients, Optimiser};

/// Images per step.
const BATCH: usize = 8;
/// Learning rate after warm-up.
const LEARNING_RATE: f64 = 1.5e-3;
const WARMUP_STEPS: u32 = 50;
/// Weight of the KL divergence of the latents from the standard normal distribution, per latent value.
const KL_WEIGHT: f64 = 1e-4;

/// Settings of the autoencoder's training.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder of the model; its `vae/` is written.
    #[arg(long, default_value = "models/shapes")]
    out: PathBuf,
    /// Steps of 8 images.
    #[arg(long, default_value_t = 3000)]
    steps: u32,
    /// Images in the training set.
    #[arg(long, default_value_t = 9000)]
    images: u32,
    /// Keep the encoder in `vae/` and train only the decoder.
    #[arg(long)]
    decoder_only: bool,
    /// Start from the weights in `vae/` instead of random ones.
    #[arg(long)]
    warm_start: bool,
    /// Seed of all random numbers.
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
        let folder = self.out.join("vae");
        let images = training_set(self.images, self.seed);
        let (vae, variables) = self.network(&folder)?;
        let trained: Variables = variables
            .iter()
            .filter(|(name, _)| {
                !self.decoder_only || name.starts_with("decoder.") || name.starts_with("post_quant_conv.")
            })
            .map(|(name, v)| (name.clone(), v.clone()))
            .collect();
        let mut noise = Noise::stream(self.seed, 1);
        self.train(&vae, &trained, &images, &mut noise)?;
        let scaling = if self.decoder_only {
            vae.config().scaling_factor
        } else {
            1.0 / quality::latent_deviation(&vae, &images, &mut noise)?
        };
        write_part(&folder, &config(scaling), WEIGHTS_FILE, &variables)?;
        println!(
            "{}: {:.2} dB on held-out images, scaling factor {scaling:.4}",
            folder.display(),
            quality::peak_signal_to_noise(&vae)?
        );
        Ok(())
    }

    fn network(&self, folder: &Path) -> Result<(Autoencoder, Variables)> {
        let device = Device::Cpu;
        if self.decoder_only || self.warm_start {
            return Ok(Autoencoder::load(folder, &device, true)?);
        }
        let parameters = Parameters::random(self.seed, &device);
        let vae = Autoencoder::new(&parameters.root(), serde_json::from_value(config(1.0))?)?;
        let variables = parameters.finish()?;
        lower_latent_variance(&variables)?;
        Ok((vae, variables))
    }

    fn train(
        &self,
        vae: &Autoencoder,
        variables: &Variables,
        images: &[Image],
        noise: &mut Noise,
    ) -> Result<()> {
        let spec = OptimizerSpec::AdamW {
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            weight_decay: 1e-4,
            max_grad_norm: 1.0,
            moments: Moments::F32,
        };
        let mut optimiser = Optimiser::new(&spec, variables)?;
        let mut progress = Progress::new("autoencoder", u64::from(self.steps));
        for step in 0..self.steps {
            let picked: Vec<&Image> = (0..BATCH).map(|_| &images[noise.below(images.len())]).collect();
            let loss = self.loss(vae, &to_tensor(picked.into_iter(), &Device::Cpu)?, noise)?;
            let mut gradients = Gradients::default();
            gradients.add(&loss.backward()?, variables)?;
            let rate = learning_rate(LEARNING_RATE, WARMUP_STEPS, step, self.steps);
            optimiser.update(variables, &gradients, 1, rate)?;
            progress.step(&[("loss", f64::from(loss.to_scalar::<f32>()?))], BATCH as f64);
            if (step + 1) % 500 == 0 && step + 1 < self.steps {
                let decibels = quality::peak_signal_to_noise(vae)?;
                progress.note(&format!("step {}: {decibels:.2} dB on held-out images", step + 1));
            }
        }
        progress.finish();
        Ok(())
    }

    /// The loss on a batch of images, (batch, 3, 64, 64).
    fn loss(&self, vae: &Autoencoder, images: &Tensor, noise: &mut Noise) -> Result<Tensor> {
        let posterior = vae.encode(images)?;
        if self.decoder_only {
            // Generated latents are never exactly the encoder's, so the decoder trains on latents with noise.
            let mean = posterior.mean.detach();
            let perturbation = (noise.normal_tensor(mean.shape().clone(), &Device::Cpu)? * 0.1)?;
            return loss::reconstruction(&vae.decode(&(mean + perturbation)?)?, images);
        }
        let mean = &posterior.mean;
        let kl = ((mean.sqr()? + posterior.log_variance.exp()?)? - &posterior.log_variance)?;
        let kl = ((kl - 1.0)?.mean_all()? * (0.5 * KL_WEIGHT))?;
        let latents = posterior.sample(noise)?;
        Ok((loss::reconstruction(&vae.decode(&latents)?, images)? + kl)?)
    }
}

/// Images of the world (60%), styled images (30%) and degraded images (10%).
fn training_set(count: u32, seed: u64) -> Vec<Image> {
    (0..u64::from(count))
        .into_par_iter()
        .map(|i| {
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(i) % held_out::AUTOENCODER;
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

/// Sets the initial log-variance of the latents to about -5 for every image.
fn lower_latent_variance(variables: &Variables) -> Result<()> {
    let weight = variables.get("quant_conv.weight").context("quant_conv")?;
    let bias = variables.get("quant_conv.bias").context("quant_conv")?;
    let half = bias.dim(0)? / 2;
    let old = weight.as_detached_tensor();
    let damped = (old.narrow(0, half, half)? * 0.1)?;
    weight.set(&Tensor::cat(&[&old.narrow(0, 0, half)?, &damped], 0)?)?;
    let old = bias.as_detached_tensor().narrow(0, 0, half)?;
    bias.set(&Tensor::cat(&[&old, &Tensor::full(-5f32, half, bias.device())?], 0)?)?;
    Ok(())
}
