//! `bench`: one step at a time on request, so that `cargo xtask bench` can drive us and a peer in turn. Prints
//! `ready`, then answers each line `step` with `<seconds> <peak bytes of memory>`. Inputs are random numbers of the
//! model's shapes; `xtask/bench/bench.py` does the same work.

use crate::data::batch::Batch;
use crate::forward::Forward;
use crate::host::peak_memory;
use crate::optim::{Gradients, Optimiser};
use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use clap::{Args, ValueEnum};
use diffusion::clip::TextTower;
use diffusion::noise::Noise;
use diffusion::pipeline::Folders;
use diffusion::sampler::{Sampler, SamplerKind};
use diffusion::unet::Unet;
use diffusion::vae::Autoencoder;
use domain::train::OptimizerSpec;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

const GUIDANCE_SCALE: f64 = 5.0;

/// What to repeat.
#[derive(Debug, Args)]
pub struct BenchCommand {
    task: Task,
    /// A folder in diffusers layout.
    #[arg(long)]
    model: PathBuf,
    /// Pictures in a batch.
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Denoising steps of `generate`.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Threads, which the environment (`RAYON_NUM_THREADS`) has to say too: pools read it before we could.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Task {
    Train,
    Generate,
}

impl BenchCommand {
    /// # Errors
    /// A model that cannot be read, or a peer that speaks otherwise.
    pub fn run(self) -> Result<()> {
        if let Some(threads) = self.threads {
            let pool = candle_core::utils::get_num_threads();
            anyhow::ensure!(pool == threads, "set RAYON_NUM_THREADS={threads}: the pool has {pool} threads");
        }
        let mut step = match self.task {
            Task::Train => self.train()?,
            Task::Generate => self.generate()?,
        };
        println!("ready");
        std::io::stdout().flush()?;
        for line in std::io::stdin().lines() {
            let line = line?;
            if line.trim() != "step" {
                bail!("expected `step`, got {line:?}");
            }
            let begun = Instant::now();
            step()?;
            println!("{:.6} {}", begun.elapsed().as_secs_f64(), peak_memory());
            std::io::stdout().flush()?;
        }
        Ok(())
    }

    /// Latents and text states of the shapes that the model's configs state.
    fn inputs(&self, unet: &Unet, noise: &mut Noise) -> Result<(Tensor, Tensor)> {
        let folders = Folders::new(&self.model, None);
        let (text, _) = TextTower::load(&folders.part("text_encoder")?, &Device::Cpu)?;
        let config = unet.config();
        let side = config.sample_size;
        let latents = noise.normal_tensor((self.batch, config.in_channels, side, side), &Device::Cpu)?;
        let tokens = text.config().max_position_embeddings;
        let text = noise.normal_tensor((self.batch, tokens, config.cross_attention_dim), &Device::Cpu)?;
        Ok((latents, text))
    }

    /// One update as the training recipe makes it: per-sample timesteps, mean squared error, backward, clip to norm
    /// 1, AdamW.
    fn train(&self) -> Result<Box<dyn FnMut() -> Result<()>>> {
        let folders = Folders::new(&self.model, None);
        let (unet, variables) = Unet::load(&folders.part("unet")?, &Device::Cpu, true)?;
        let schedule = folders.schedule()?;
        let mut noise = Noise::new(0);
        let (latents, text) = self.inputs(&unet, &mut noise)?;
        let batch = Batch {
            noise: noise.normal_tensor(latents.shape().clone(), &Device::Cpu)?,
            winner: latents,
            loser: None,
            timesteps: (0..self.batch).map(|_| noise.below(schedule.timesteps())).collect(),
            text,
            clip: None,
        };
        let mut optimiser = Optimiser::new(&OptimizerSpec::default(), &variables)?;
        Ok(Box::new(move || {
            let forward = Forward::run(&unet, None, &schedule, &batch)?;
            let loss = forward.winner().mean_all()?;
            let mut gradients = Gradients::default();
            forward.backward(&loss, &variables, &mut gradients)?;
            optimiser.update(&variables, &gradients, 1, 1e-6)?;
            loss.to_scalar::<f32>()?;
            Ok(())
        }))
    }

    /// One batch of pictures: DDIM with guidance, each UNet call on prompted and unprompted, then the decoder.
    fn generate(&self) -> Result<Box<dyn FnMut() -> Result<()>>> {
        let folders = Folders::new(&self.model, None);
        let (unet, _) = Unet::load(&folders.part("unet")?, &Device::Cpu, false)?;
        let (vae, _) = Autoencoder::load(&folders.part("vae")?, &Device::Cpu, false)?;
        let sampler = Sampler::new(SamplerKind::Ddim, &folders.schedule()?, self.steps)?;
        let (noise, text) = self.inputs(&unet, &mut Noise::new(0))?;
        let text = Tensor::cat(&[&text.zeros_like()?, &text], 0)?;
        let batch = self.batch;
        Ok(Box::new(move || {
            let mut denoising = sampler.start(&noise)?;
            for t in sampler.timesteps() {
                let seen = denoising.seen()?;
                let both = Tensor::cat(&[&seen, &seen], 0)?;
                let timesteps = Tensor::full(t as f32, 2 * batch, &Device::Cpu)?;
                let halves = unet.forward(&both, &timesteps, &text)?.chunk(2, 0)?;
                let prediction = (&halves[0] + ((&halves[1] - &halves[0])? * GUIDANCE_SCALE)?)?;
                denoising.advance(&prediction, || Ok(noise.clone()))?;
            }
            let pictures = vae.decode(&(denoising.latents() / vae.config().scaling_factor)?)?;
            pictures
                .sum_all()?
                .to_dtype(DType::F32)?
                .to_scalar::<f32>()
                .context("the sum of the pictures")?;
            Ok(())
        }))
    }
}
