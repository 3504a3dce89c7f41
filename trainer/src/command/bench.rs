//! `bench`: one step at a time on request, so that `cargo xtask bench` can drive us and a peer in turn. Prints
//! `ready`, then answers each line `step` with `<seconds> <peak bytes of memory>`. Inputs are random numbers of the
//! model's shapes; `xtask/bench/bench.py` does the same work.

use crate::data::batch::Batch;
use crate::forward::{Forward, Way};
use crate::host::peak_memory;
use crate::optim::{Gradients, Optimiser};
use crate::recipes::objective::objective;
use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Shape, Tensor};
use clap::{Args, ValueEnum};
use diffusion::conditioning::{Conditioning, TIME_IDS};
use diffusion::config::{ClipTextConfig, VaeConfig};
use diffusion::lora::{Adapter, Layers};
use diffusion::noise::Noise;
use diffusion::pipeline::Folders;
use diffusion::sampler::{Sampler, SamplerKind};
use diffusion::tape::Keep;
use diffusion::unet::{Added, Unet};
use diffusion::vae::Autoencoder;
use diffusion::weights::{self, Parameters, Variables};
use domain::lora::LoraSpec;
use domain::train::{Embedding, ErrorSpace, Objective, OptimizerSpec};
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

const GUIDANCE_SCALE: f64 = 5.0;
/// Width of CLIP ViT-L/14's features.
const FEATURES: usize = 768;

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
    /// What `train` minimises.
    #[arg(long, default_value = "denoise")]
    objective: Minimised,
    /// Side of the latents; the config's when absent.
    #[arg(long)]
    side: Option<usize>,
    /// Draws the UNet's weights instead of reading them: the folder then needs no more than configs.
    #[arg(long)]
    random_weights: bool,
    /// Trains with the graph of one picture at a time (`memory.two_pass` of a spec).
    #[arg(long)]
    two_pass: bool,
    /// Trains running blocks again on the way back (`memory.checkpoint_activations` of a spec).
    #[arg(long)]
    checkpoint_activations: bool,
    /// Trains an adapter of this rank over the frozen model instead of all weights (`lora.rank` of a spec).
    #[arg(long)]
    lora: Option<u32>,
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

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Minimised {
    Denoise,
    Sft,
    DiffusionDpo,
    DiffContrast,
}

impl Minimised {
    /// With the paper's settings for SD 1.5.
    fn asked(self) -> Objective {
        match self {
            Self::Denoise => Objective::Denoise { snr_clamp: None },
            Self::Sft => Objective::Sft {},
            Self::DiffusionDpo => Objective::DiffusionDpo { beta: 2000.0 },
            Self::DiffContrast => {
                Objective::DiffContrast { beta: 2000.0, tau: 0.01, embedding: Embedding::Concat }
            }
        }
    }
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

    /// Latents and conditioning of the shapes that the model's configs state.
    fn inputs(&self, unet: &Unet, noise: &mut Noise) -> Result<(Tensor, Conditioning)> {
        let folders = Folders::new(&self.model, None);
        let text: ClipTextConfig =
            diffusion::config::read(&folders.part("text_encoder")?.join("config.json"))?;
        let config = unet.config();
        let side = self.side.unwrap_or(config.sample_size);
        let latents = noise.normal_tensor((self.batch, config.in_channels, side, side), &Device::Cpu)?;
        let tokens = text.max_position_embeddings;
        let text = noise.normal_tensor((self.batch, tokens, config.cross_attention_dim), &Device::Cpu)?;
        let added = match config.added_widths() {
            Some((each, all)) => {
                let pooled = all.checked_sub(TIME_IDS * each).context("the UNet reads no pooled text")?;
                Some(Added {
                    pooled: noise.normal_tensor((self.batch, pooled), &Device::Cpu)?,
                    time_ids: Tensor::zeros((self.batch, TIME_IDS), DType::F32, &Device::Cpu)?,
                })
            }
            None => None,
        };
        Ok((latents, Conditioning { text, added }))
    }

    /// The UNet under a new adapter, the adapter's numbers, and the reference, which shares the frozen weights.
    fn adapted(
        &self,
        rank: u32,
        folders: &Folders,
        with_reference: bool,
    ) -> Result<(Unet, Variables, Option<Unet>)> {
        let (config, base) = if self.random_weights {
            let (unet, variables) = self.unet(folders, true)?;
            (unet.config().clone(), weights::values(&variables, DType::F32)?)
        } else {
            let (unet, weights) = folders.unet(&Device::Cpu)?;
            (unet.config().clone(), weights)
        };
        let spec = LoraSpec { rank, ..LoraSpec::default() };
        let layers = Layers::of(&base);
        let new = Adapter::fresh(&layers, &spec.targets, rank as usize, spec.alpha(), 0)?;
        let (adapter, variables) = new.trainable()?;
        let over = |adapter: &Adapter| Unet::of_weights(config.clone(), &base, adapter, &Device::Cpu);
        let reference = with_reference.then(|| over(&Adapter::default())).transpose()?;
        Ok((over(&adapter)?, variables, reference))
    }

    /// The model's UNet, or one drawn from its config.
    fn unet(&self, folders: &Folders, trainable: bool) -> Result<(Unet, Variables)> {
        let folder = folders.part("unet")?;
        if !self.random_weights {
            return Ok(Unet::load(&folder, &Device::Cpu, trainable)?);
        }
        let parameters = Parameters::random(0, &Device::Cpu);
        let unet = Unet::new(&parameters.root(), Unet::config_of(&folder)?)?;
        let variables = parameters.finish()?;
        if trainable {
            return Ok((unet, variables));
        }
        let frozen = Parameters::of_tensors(weights::values(&variables, DType::F32)?, &Device::Cpu);
        Ok((Unet::new(&frozen.root(), unet.config().clone())?, Variables::new()))
    }

    fn autoencoder(&self, folders: &Folders) -> Result<Autoencoder> {
        let folder = folders.part("vae")?;
        if !self.random_weights {
            return Ok(Autoencoder::load(&folder, &Device::Cpu, false)?.0);
        }
        let build = |parameters: &Parameters| {
            Autoencoder::new(&parameters.root(), VaeConfig::read(&folder.join("config.json"))?)
        };
        let parameters = Parameters::random(1, &Device::Cpu);
        build(&parameters)?;
        let values = weights::values(&parameters.finish()?, DType::F32)?;
        Ok(build(&Parameters::of_tensors(values, &Device::Cpu))?)
    }

    /// One update as the training recipe makes it: per-sample timesteps, the objective, backward, clip to norm 1,
    /// AdamW.
    fn train(&self) -> Result<Box<dyn FnMut() -> Result<()>>> {
        let folders = Folders::new(&self.model, None);
        let asked = self.objective.asked();
        let (unet, variables, reference) = match self.lora {
            None => {
                let (unet, variables) = self.unet(&folders, true)?;
                let reference = asked.is_preference().then(|| self.unet(&folders, false)).transpose()?;
                (unet, variables, reference.map(|(reference, _)| reference))
            }
            Some(rank) => self.adapted(rank, &folders, asked.is_preference())?,
        };
        let schedule = folders.schedule()?;
        let mut noise = Noise::new(0);
        let (latents, conditioning) = self.inputs(&unet, &mut noise)?;
        let mut like = |shape: &Shape| noise.normal_tensor(shape.clone(), &Device::Cpu);
        let features = Shape::from((self.batch, FEATURES));
        let batch = Batch {
            noise: like(latents.shape())?,
            loser: reference.is_some().then(|| like(latents.shape())).transpose()?,
            clip: Some([like(&features)?, like(&features)?, like(&features)?]),
            winner: latents,
            timesteps: (0..self.batch).map(|_| noise.below(schedule.timesteps())).collect(),
            conditioning: vec![conditioning; 1 + usize::from(reference.is_some())],
            examples: (0..self.batch as u32).collect(),
        };
        let way = Way {
            two_pass: self.two_pass,
            keep: if self.checkpoint_activations { Keep::Inputs } else { Keep::Graph },
            error_space: ErrorSpace::default(),
        };
        let mut optimiser = Optimiser::new(&OptimizerSpec::default(), &variables)?;
        Ok(Box::new(move || {
            let forward = Forward::run(&unet, reference.as_ref(), &schedule, &batch, way)?;
            let loss = objective(&asked, &schedule, &forward, &batch)?.loss;
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
        let (unet, _) = self.unet(&folders, false)?;
        let vae = self.autoencoder(&folders)?;
        let sampler = Sampler::new(SamplerKind::Ddim, &folders.schedule()?, self.steps)?;
        let (noise, told) = self.inputs(&unet, &mut Noise::new(0))?;
        let told = Conditioning::join(&[told.clone(), told])?;
        let batch = self.batch;
        Ok(Box::new(move || {
            let mut denoising = sampler.start(&noise)?;
            for t in sampler.timesteps() {
                let seen = denoising.seen()?;
                let both = Tensor::cat(&[&seen, &seen], 0)?;
                let timesteps = Tensor::full(t as f32, 2 * batch, &Device::Cpu)?;
                let halves =
                    unet.forward_with(&both, &timesteps, &told.text, told.added.as_ref())?.chunk(2, 0)?;
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
