//! One training run, from spec to model.

use crate::checkpoint::{SavedModel, State, load_state, save_model, save_state};
use crate::data::batch::Dealer;
use crate::data::encoded::EncodedSet;
use crate::forward::{Forward, Way};
use crate::optim::{Gradients, MovingAverage, Optimiser, learning_rate};
use crate::recipes::objective::objective;
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use diffusion::pipeline::{Folders, Prompt, Settings, TextToImage};
use diffusion::unet::Unet;
use diffusion::weights::{Parameters, Variables, values};
use domain::run::metric;
use domain::train::{Objective, TrainSpec};
use image::RgbImage;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where a run finds and leaves things.
#[derive(Clone, Debug)]
pub struct Places {
    /// The start checkpoint, and its base's parts.
    pub start: Folders,
    /// The frozen reference; the start checkpoint when absent.
    pub reference: Option<Folders>,
    /// The run's own folder: state and models.
    pub run: PathBuf,
    /// Encoded sets, shared between runs.
    pub cache: PathBuf,
}

/// What a run tells, and asks.
pub trait Watcher {
    /// Examples encoded so far, of all.
    ///
    /// # Errors
    /// What ends the run.
    fn encoding(&mut self, done: usize, of: usize) -> Result<()>;
    /// A step is done. `Break` asks the run to save and stop.
    ///
    /// # Errors
    /// What ends the run.
    fn step(&mut self, step: u32, metrics: &[(&'static str, f64)]) -> Result<ControlFlow<()>>;
    /// Sample pictures of the weights after `step` steps, one per prompt of the spec.
    ///
    /// # Errors
    /// What ends the run.
    fn samples(&mut self, step: u32, settings: &Settings, pictures: &[RgbImage]) -> Result<()>;
    /// A model is on disk.
    ///
    /// # Errors
    /// What ends the run.
    fn model(&mut self, model: &SavedModel) -> Result<()>;
    /// The run begins at this step: 0, or where its saved state stands.
    ///
    /// # Errors
    /// What ends the run.
    fn begin(&mut self, step: u32) -> Result<()>;
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Finished,
    /// It saved its state and stopped, as asked, after this many steps.
    Stopped(u32),
}

/// Seed of the sample pictures: the same at every step, so that they can be compared.
pub const SAMPLE_SEED: u64 = 1;

/// Trains.
///
/// # Errors
/// A spec that is invalid, a model that cannot be read, a loss or gradient that is not finite (the last good
/// state stays on disk), or what the watcher returns.
pub fn train(
    spec: &TrainSpec,
    places: &Places,
    device: &Device,
    watcher: &mut dyn Watcher,
) -> Result<Ending> {
    spec.validate()?;
    let schedule = places.start.schedule()?;
    let unet_folder = places.start.part("unet")?;
    let (policy, variables) = open_policy(spec, &unet_folder, device)?;
    let reference = match spec.objective.is_preference() {
        true => {
            let folders = places.reference.as_ref().unwrap_or(&places.start);
            Some(Unet::load(&folders.part("unet")?, device, false)?.0)
        }
        false => None,
    };
    let needs_clip = matches!(spec.objective, Objective::DiffContrast { .. } | Objective::Rpo { .. });
    let set = EncodedSet::prepare(
        &spec.data,
        &places.start,
        needs_clip,
        &places.cache,
        device,
        &mut |done, of| watcher.encoding(done, of),
    )?;
    let scaling_factor = scaling_factor(&places.start)?;
    let mut dealer = Dealer::new(&set, spec, &schedule, scaling_factor, device)?;

    let mut optimiser = Optimiser::new(&spec.optimizer, &variables)?;
    let mut average = spec.ema_decay.map(|decay| MovingAverage::new(decay, &variables)).transpose()?;
    let mut state = State { variables: &variables, optimiser: &mut optimiser, average: average.as_mut() };
    let mut step = load_state(&places.run, spec, &mut state)?;
    watcher.begin(step)?;
    let mut sampler = Sampler::new(spec, places, &unet_folder, device)?;
    if step == 0 && !spec.from_nothing {
        sampler.render(0, &state, watcher)?;
    }

    let way = Way::of(spec);
    let parts = spec.gradient_accumulation;
    while step < spec.steps {
        let begun = Instant::now();
        let mut gradients = Gradients::default();
        let mut metrics = Mean::default();
        for part in 0..parts {
            let batch = dealer.deal(u64::from(step) * u64::from(parts) + u64::from(part))?;
            let forward = Forward::run(&policy, reference.as_ref(), &schedule, &batch, way)?;
            let loss = objective(&spec.objective, &schedule, &forward, &batch)?;
            let value = f64::from(loss.loss.to_scalar::<f32>()?);
            ensure!(value.is_finite(), "the loss is not finite ({value}) at step {step}, micro-batch {part}");
            metrics.add(metric::LOSS, value);
            loss.metrics.iter().for_each(|&(name, value)| metrics.add(name, value));
            forward.backward(&loss.loss, &variables, &mut gradients)?;
        }
        let rate = learning_rate(spec, step);
        let norm = state
            .optimiser
            .update(&variables, &gradients, parts, rate)
            .with_context(|| format!("at step {step}"))?;
        if let Some(average) = state.average.as_mut() {
            average.update(&variables)?;
        }
        step += 1;
        metrics.add(metric::GRAD_NORM, norm);
        metrics.add(metric::LEARNING_RATE, rate);
        let pictures =
            f64::from(spec.batch_size * parts) * if spec.objective.is_preference() { 2.0 } else { 1.0 };
        metrics.add(metric::SAMPLES_PER_SECOND, pictures / begun.elapsed().as_secs_f64());

        let asked = watcher.step(step, &metrics.values())?;
        if spec.sample_every > 0 && step % spec.sample_every == 0 {
            sampler.render(step, &state, watcher)?;
        }
        let last = step == spec.steps;
        let due = spec.checkpoint_every > 0 && step % spec.checkpoint_every == 0;
        if last || due || asked.is_break() {
            save_state(&places.run, spec, step, &state)?;
        }
        if last || due {
            let folder = places.run.join("models").join(format!("step-{step:07}"));
            let model = save_model(&folder, &unet_folder.join("config.json"), &best(&state)?, spec, step)?;
            watcher.model(&model)?;
        }
        if asked.is_break() && !last {
            return Ok(Ending::Stopped(step));
        }
    }
    Ok(Ending::Finished)
}

/// The network to train: the start checkpoint's, or drawn anew.
fn open_policy(spec: &TrainSpec, folder: &Path, device: &Device) -> Result<(Unet, Variables)> {
    if !spec.from_nothing {
        return Ok(Unet::load(folder, device, true)?);
    }
    let config = Unet::config_of(folder)?;
    let parameters = Parameters::random(spec.seed, device);
    let unet = Unet::new(&parameters.root(), config)?;
    Ok((unet, parameters.finish()?))
}

fn scaling_factor(folders: &Folders) -> Result<f64> {
    let config: diffusion::config::VaeConfig =
        diffusion::config::read(&folders.part("vae")?.join("config.json"))?;
    Ok(config.scaling_factor)
}

/// The weights that should generate: the moving average where there is one.
fn best(state: &State<'_>) -> Result<BTreeMap<String, Tensor>> {
    match &state.average {
        Some(average) => Ok(average.values().clone()),
        None => Ok(values(state.variables, DType::F32)?),
    }
}

/// Sums of metrics over micro-batches.
#[derive(Default)]
struct Mean(BTreeMap<&'static str, (f64, u32)>);

impl Mean {
    fn add(&mut self, name: &'static str, value: f64) {
        let (sum, count) = self.0.entry(name).or_default();
        *sum += value;
        *count += 1;
    }

    fn values(&self) -> Vec<(&'static str, f64)> {
        self.0.iter().map(|(&name, &(sum, count))| (name, sum / f64::from(count))).collect()
    }
}

/// Renders the spec's sample prompts.
struct Sampler<'a> {
    pipeline: Option<TextToImage>,
    prompts: Vec<Prompt>,
    unet_folder: &'a Path,
    device: &'a Device,
}

impl<'a> Sampler<'a> {
    fn new(spec: &TrainSpec, places: &Places, unet_folder: &'a Path, device: &'a Device) -> Result<Self> {
        let wanted = spec.sample_every > 0;
        let prompts = spec.sample_prompts.iter().map(|prompt| Prompt {
            prompt: prompt.clone(),
            negative_prompt: String::new(),
            seed: SAMPLE_SEED,
        });
        // The pipeline's own network is replaced before it is ever used.
        let pipeline = match wanted {
            true => {
                let parameters = Parameters::random(0, device);
                let unet = Unet::new(&parameters.root(), Unet::config_of(unet_folder)?)?;
                Some(TextToImage::with_unet(unet, &places.start, device)?)
            }
            false => None,
        };
        Ok(Self { pipeline, prompts: prompts.collect(), unet_folder, device })
    }

    fn render(&mut self, step: u32, state: &State<'_>, watcher: &mut dyn Watcher) -> Result<()> {
        let Some(pipeline) = &mut self.pipeline else { return Ok(()) };
        let frozen = Parameters::of_tensors(best(state)?, self.device);
        pipeline.set_unet(Unet::new(&frozen.root(), Unet::config_of(self.unet_folder)?)?);
        let defaults = *pipeline.defaults();
        let settings = Settings {
            width: defaults.width,
            height: defaults.height,
            steps: defaults.steps,
            guidance_scale: defaults.guidance_scale,
            sampler: defaults.sampler,
        };
        let pictures = pipeline.generate(&self.prompts, &settings, &mut |_, _| ControlFlow::Continue(()))?;
        watcher.samples(step, &settings, &pictures.context("nobody stopped the rendering")?)
    }
}
