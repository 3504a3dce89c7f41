//! `diff-contrast-benchmark`: one step at a time on request, so that `cargo xtask bench` can drive us and a peer in turn. Prints
//! `ready`, then answers each line `step` with `<seconds> <peak bytes of memory>`, and the number that the work came to
//! where both must come to the same. `xtask/bench/bench.py` does the same work on random numbers of the model's shapes,
//! `xtask/bench/score.py` on the same images.

mod score;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Shape, Tensor};
use catalogue::images::png;
use clap::{Parser, ValueEnum};
use datasets::decode::decode;
use datasets::rows::Pairs;
use diffusion::conditioning::{Conditioning, TIME_IDS};
use diffusion::config::{ClipTextConfig, VaeConfig};
use diffusion::device::{DeviceName, peak_memory as device_peak_memory};
use diffusion::lora::Adapter;
use diffusion::nn::enable_gpu_kernels;
use diffusion::noise::Noise;
use diffusion::part_folders::PartFolders;
use diffusion::sampler::{Sampler, SamplerKind};
use diffusion::tape::BackwardMode;
use diffusion::unet::{AddedConditioning, Unet};
use diffusion::vae::Autoencoder;
use diffusion::weights::{self, Parameters, Variables};
use domain::data::{DataSpec, PickAPicSpec, ShapesSet};
use domain::dataset::Source;
use domain::lora::LoraSpec;
use domain::prepare::Crop;
use domain::train::{Embedding, ErrorSpace, Objective, OptimizerSpec, Precision};
use evaluation::rewards::RewardKind;
use process::resources::peak_memory;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;
use training::data::batch::Batch;
use training::data::encoder::Encoder;
use training::data::encoding::Encoding;
use training::data::example::Example;
use training::data::frame::Frame;
use training::data::key::EncodedPart;
use training::data::sets::draw;
use training::data::tensor_name::{Side, TensorName};
use training::forward::{Forward, PassOptions};
use training::objectives::ClipFeatures;
use training::optim::{Gradients, Optimiser};
use training::policy::{Policy, dtype_of};
use training::recipes::objective::objective;

const GUIDANCE_SCALE: f64 = 5.0;
/// Width of CLIP ViT-L/14's features.
const FEATURES: usize = 768;

/// Repeats one step of training, generation, scoring or reading on request.
#[derive(Debug, Parser)]
#[command(version)]
struct Benchmark {
    task: Task,
    /// A folder in diffusers layout; of `score` and `fid`, one that `xtask/bench/score.py make` made; of `read`, that of
    /// a set in the columns of Pick-a-Pic.
    #[arg(long)]
    model: PathBuf,
    /// Images in a batch.
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// What `score` scores by.
    #[arg(long, default_value = "clip_score_l14")]
    reward: RewardKind,
    /// What `train` minimises.
    #[arg(long, default_value = "denoise")]
    objective: Minimised,
    /// Side of the latents; the config's when absent.
    #[arg(long)]
    side: Option<usize>,
    /// Draws the UNet's weights instead of reading them: the folder then needs no more than configs.
    #[arg(long)]
    random_weights: bool,
    /// Trains with the graph of one image at a time (`memory.two_pass` of a spec).
    #[arg(long)]
    two_pass: bool,
    /// Trains running blocks again on the way back (`memory.checkpoint_activations` of a spec).
    #[arg(long)]
    checkpoint_activations: bool,
    /// Trains from image files: each step decodes and encodes its images and captions first, as it would have to if
    /// nothing were prepared. For objectives with pairs.
    #[arg(long)]
    from_images: bool,
    /// Trains an adapter of this rank over the frozen model instead of all weights (`lora.rank` of a spec).
    #[arg(long)]
    lora: Option<u32>,
    /// Denoising steps of `generate`.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// The device that computes: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, default_value = "cpu")]
    device: DeviceName,
    /// Composes operations of candle's on a GPU, instead of using our kernels.
    #[arg(long)]
    composed: bool,
    /// What the networks of `train` and `generate` compute in (`precision` of a spec).
    #[arg(long, default_value = "f32")]
    precision: Computing,
    /// Threads, which the environment (`RAYON_NUM_THREADS`) has to say too: pools read it before we could.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Task {
    Train,
    Generate,
    Score,
    Fid,
    Read,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Computing {
    F32,
    F16,
    Bf16,
}

impl Computing {
    fn on(self, device: &Device) -> Result<DType> {
        let precision = match self {
            Self::F32 => Precision::F32,
            Self::F16 => Precision::F16,
            Self::Bf16 => Precision::Bf16,
        };
        dtype_of(precision, device)
    }
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

/// One step, and the number that it came to.
type Step<'a> = Box<dyn FnMut() -> Result<Option<f64>> + 'a>;

impl Benchmark {
    fn run(self) -> Result<()> {
        if let Some(threads) = self.threads {
            let pool = candle_core::utils::get_num_threads();
            ensure!(pool == threads, "set RAYON_NUM_THREADS={threads}: the pool has {pool} threads");
        }
        let folders = PartFolders::new(&self.model, None);
        enable_gpu_kernels(!self.composed);
        let device = self.device.open()?;
        let mut step = match self.task {
            Task::Train => self.train(&folders, &device)?,
            Task::Generate => self.generate(&folders, &device)?,
            Task::Score => score::score(&self.model, self.reward, self.batch, &device)?,
            Task::Fid => score::fid(&self.model, self.batch, &device)?,
            Task::Read => read(&self.model),
        };
        println!("ready");
        std::io::stdout().flush()?;
        for line in std::io::stdin().lines() {
            let line = line?;
            if line.trim() != "step" {
                bail!("expected `step`, got {line:?}");
            }
            let begun = Instant::now();
            let result = step()?.map_or(String::new(), |result| format!(" {result}"));
            device.synchronize()?;
            let seconds = begun.elapsed().as_secs_f64();
            let peak = device_peak_memory(&device)?.unwrap_or_else(peak_memory);
            println!("{seconds:.6} {peak}{result}");
            std::io::stdout().flush()?;
        }
        Ok(())
    }

    /// Latents and conditioning of the shapes that the model's configs state.
    fn inputs(&self, unet: &Unet, noise: &mut Noise, device: &Device) -> Result<(Tensor, Conditioning)> {
        let folders = PartFolders::new(&self.model, None);
        let text: ClipTextConfig =
            diffusion::config::read(&folders.part("text_encoder")?.join("config.json"))?;
        let config = unet.config();
        let side = self.side.unwrap_or(config.sample_size);
        let latents = noise.normal_tensor((self.batch, config.in_channels, side, side), device)?;
        let tokens = text.max_position_embeddings;
        let text = noise.normal_tensor((self.batch, tokens, config.cross_attention_dim), device)?;
        let added = match config.added_widths() {
            Some((each, all)) => {
                let pooled = all.checked_sub(TIME_IDS * each).context("the UNet reads no pooled text")?;
                Some(AddedConditioning {
                    pooled: noise.normal_tensor((self.batch, pooled), device)?,
                    time_ids: Tensor::zeros((self.batch, TIME_IDS), DType::F32, device)?,
                })
            }
            None => None,
        };
        Ok((latents, Conditioning { text, added }))
    }

    /// What is trained, and the reference where one is asked for.
    fn networks(
        &self,
        folders: &PartFolders,
        with_reference: bool,
        device: &Device,
    ) -> Result<(Policy, Option<Unet>)> {
        let dtype = self.precision.on(device)?;
        let Some(rank) = self.lora else {
            let (unet, variables) = self.unet(folders, device)?;
            let reference = with_reference.then(|| self.frozen(folders, dtype, device)).transpose()?;
            return Ok((Policy::whole(unet, variables, dtype, device)?, reference));
        };
        let (config, base) = if self.random_weights {
            let (unet, variables) = self.unet(folders, device)?;
            (unet.config().clone(), weights::values(&variables, DType::F32)?)
        } else {
            let (unet, weights) = folders.unet(device)?;
            (unet.config().clone(), weights)
        };
        let lora = LoraSpec { rank, ..LoraSpec::default() };
        let policy = Policy::adapter(&lora, 0, config, base, dtype, device)?;
        let reference = with_reference.then(|| policy.reference(None, folders)).transpose()?;
        Ok((policy, reference))
    }

    /// The model's UNet, or one drawn from its config, to train.
    fn unet(&self, folders: &PartFolders, device: &Device) -> Result<(Unet, Variables)> {
        let folder = folders.part("unet")?;
        if !self.random_weights {
            return Ok(Unet::load(&folder, device, true)?);
        }
        let parameters = Parameters::random(0, device);
        let unet = Unet::new(&parameters.root(), Unet::config_of(&folder)?)?;
        Ok((unet, parameters.finish()?))
    }

    /// As [`Benchmark::unet`], frozen, computing in this type.
    fn frozen(&self, folders: &PartFolders, dtype: DType, device: &Device) -> Result<Unet> {
        if !self.random_weights {
            return Ok(Unet::load_frozen(&folders.part("unet")?, device, dtype)?);
        }
        let (unet, variables) = self.unet(folders, device)?;
        let values = weights::values(&variables, dtype)?;
        Ok(Unet::of_weights(unet.config().clone(), &values, &Adapter::default(), dtype, device)?)
    }

    fn autoencoder(&self, folders: &PartFolders, dtype: DType, device: &Device) -> Result<Autoencoder> {
        let folder = folders.part("vae")?;
        let build = |parameters: &Parameters| {
            Autoencoder::new(&parameters.root(), VaeConfig::read(&folder.join("config.json"))?)
        };
        let values = if self.random_weights {
            let parameters = Parameters::random(1, device);
            build(&parameters)?;
            weights::values(&parameters.finish()?, dtype)?
        } else {
            weights::values(&Autoencoder::load(&folder, device, true)?.1, dtype)?
        };
        Ok(build(&Parameters::of_tensors(values, device).with_dtype(dtype))?)
    }

    /// One update as the training recipe makes it: per-sample timesteps, the objective, backward, clip to norm 1,
    /// AdamW.
    fn train<'a>(&self, folders: &'a PartFolders, device: &'a Device) -> Result<Step<'a>> {
        let asked = self.objective.asked();
        let (policy, reference) = self.networks(folders, asked.is_preference(), device)?;
        let schedule = folders.schedule()?;
        let mut noise = Noise::new(0);
        let (latents, conditioning) = self.inputs(policy.unet(), &mut noise, device)?;
        let mut like = |shape: &Shape, device: &Device| noise.normal_tensor(shape.clone(), device);
        let cpu = &Device::Cpu;
        let features = Shape::from((self.batch, FEATURES));
        let mut batch = Batch {
            noise: like(latents.shape(), device)?,
            loser: reference.is_some().then(|| like(latents.shape(), device)).transpose()?,
            clip: Some(ClipFeatures {
                winner: like(&features, cpu)?,
                loser: like(&features, cpu)?,
                text: like(&features, cpu)?,
            }),
            winner: latents,
            timesteps: (0..self.batch).map(|_| noise.below(schedule.timesteps())).collect(),
            conditioning: vec![conditioning; 1 + usize::from(reference.is_some())],
            examples: (0..self.batch as u32).collect(),
        };
        let way = PassOptions {
            two_pass: self.two_pass,
            keep: if self.checkpoint_activations {
                BackwardMode::Recompute
            } else {
                BackwardMode::StoreGraph
            },
            error_space: ErrorSpace::default(),
        };
        let mut optimiser = Optimiser::new(&OptimizerSpec::default(), policy.masters())?;
        let mut images = self.from_images.then(|| Images::draw(folders, self.batch, device)).transpose()?;
        Ok(Box::new(move || {
            if let Some(images) = &mut images {
                images.encode_into(&mut batch)?;
            }
            let forward = Forward::run(policy.unet(), reference.as_ref(), &schedule, &batch, way)?;
            let loss = objective(&asked, &schedule, &forward, &batch)?.loss;
            let mut gradients = Gradients::default();
            forward.backward(&loss, policy.variables(), &mut gradients)?;
            optimiser.update(policy.masters(), &gradients, 1, 1e-6)?;
            policy.refresh()?;
            loss.to_scalar::<f32>()?;
            Ok(None)
        }))
    }

    /// One batch of images: DDIM with guidance, each UNet call on prompted and unprompted, then the decoder.
    fn generate(&self, folders: &PartFolders, device: &Device) -> Result<Step<'static>> {
        let dtype = self.precision.on(device)?;
        let unet = self.frozen(folders, dtype, device)?;
        let vae = self.autoencoder(folders, dtype, device)?;
        let sampler = Sampler::new(SamplerKind::Ddim, &folders.schedule()?, self.steps)?;
        let (noise, told) = self.inputs(&unet, &mut Noise::new(0), device)?;
        let told = Conditioning::join(&[told.clone(), told])?.to_dtype(dtype)?;
        let (batch, device) = (self.batch, device.clone());
        Ok(Box::new(move || {
            let mut denoising = sampler.start(&noise)?;
            for t in sampler.timesteps() {
                let seen = denoising.model_input()?.to_dtype(dtype)?;
                let both = Tensor::cat(&[&seen, &seen], 0)?;
                let timesteps = Tensor::full(t as f32, 2 * batch, &device)?;
                let both = unet.forward_with(&both, &timesteps, &told.text, told.added.as_ref())?;
                let halves = both.to_dtype(DType::F32)?.chunk(2, 0)?;
                let prediction = (&halves[0] + ((&halves[1] - &halves[0])? * GUIDANCE_SCALE)?)?;
                denoising.advance(&prediction, || Ok(noise.clone()))?;
            }
            let latents = (denoising.latents() / vae.config().scaling_factor)?;
            let images = vae.decode(&latents.to_dtype(dtype)?)?.to_dtype(DType::F32)?;
            images.sum_all()?.to_scalar::<f32>().context("the sum of the images")?;
            Ok(None)
        }))
    }
}

/// All pairs of a set of files, one after the other. Like the peer it touches every image's length, no more; the result is
/// how many there are.
fn read(folder: &Path) -> Step<'static> {
    let folder = folder.to_string_lossy().into_owned();
    let spec = DataSpec::PickAPic(PickAPicSpec { folder, ..PickAPicSpec::default() });
    Box::new(move || {
        let (mut pairs, mut bytes) = (0u32, 0);
        for pair in Pairs::open(&spec)?.context("no set of files")? {
            let pair = pair?;
            pairs += 1;
            bytes += pair.winner.len() + pair.loser.len();
        }
        ensure!(bytes > 0, "the set has no images");
        Ok(Some(f64::from(pairs)))
    })
}

/// Pairs as they lie in a set of files, and the encoders that make a batch of them.
struct Images<'a> {
    encoder: Encoder<'a>,
    scale: f64,
    /// Captions, and PNG files of winners and losers.
    pairs: Vec<(String, [Vec<u8>; 2])>,
}

impl<'a> Images<'a> {
    /// Pairs of the bundled world, scaled to the model's size when they are encoded.
    fn draw(folders: &'a PartFolders, count: usize, device: &'a Device) -> Result<Self> {
        let (defaults, _) = folders.defaults()?;
        let frame = Frame { width: defaults.width, height: defaults.height, crop: Crop::default() };
        let pairs = draw(ShapesSet::Quality, 0, 0..count as u64).into_iter().map(|example| {
            let loser = example.loser.context("a set without losers")?;
            let files = [png(&example.winner)?, png(&loser)?];
            Ok((example.caption, files))
        });
        Ok(Self {
            pairs: pairs.collect::<Result<_>>()?,
            scale: VaeConfig::read(&folders.part("vae")?.join("config.json"))?.scaling_factor,
            encoder: Encoder::new(folders, device, frame),
        })
    }

    /// Latents, text states and features of the pairs in place of those that the batch has.
    fn encode_into(&mut self, batch: &mut Batch) -> Result<()> {
        let decoded = |file: &Vec<u8>| decode(file).map_err(anyhow::Error::msg);
        let examples = self.pairs.iter().zip(0..).map(|((caption, [winner, loser]), row)| {
            let source = Source { file: "seed 0".to_owned(), row };
            Ok(Example {
                row,
                caption: caption.clone(),
                winner: decoded(winner)?,
                loser: Some(decoded(loser)?),
                source,
            })
        });
        let examples: Vec<Example> = examples.collect::<Result<_>>()?;
        let mut encoding = Encoding::of(&[EncodedPart::Latents, EncodedPart::Text, EncodedPart::Clip].into());
        self.encoder.add(&mut encoding, &examples)?;
        let made: BTreeMap<TensorName, Tensor> =
            self.encoder.finish(encoding)?.into_values().flatten().collect();
        let of = |name: TensorName| made.get(&name).with_context(|| format!("the encoders make no {name}"));
        let captions = of(TensorName::CaptionRow)?;
        let device = batch.winner.device().clone();
        let latents = |name| -> Result<Tensor> { Ok((of(name)? * self.scale)?.to_device(&device)?) };
        batch.winner = latents(TensorName::Mean { side: Side::Winner, mirrored: false })?;
        batch.loser = Some(latents(TensorName::Mean { side: Side::Loser, mirrored: false })?);
        let states = of(TensorName::TextStates)?.index_select(captions, 0)?.to_device(&device)?;
        batch.conditioning.iter_mut().for_each(|side| side.text = states.clone());
        batch.clip = Some(ClipFeatures {
            winner: of(TensorName::ClipImage(Side::Winner))?.clone(),
            loser: of(TensorName::ClipImage(Side::Loser))?.clone(),
            text: of(TensorName::ClipText)?.index_select(captions, 0)?,
        });
        Ok(())
    }
}

fn main() -> Result<()> {
    process::resources::prepare();
    Benchmark::parse().run()
}
