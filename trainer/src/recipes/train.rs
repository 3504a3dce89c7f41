//! One training run, from spec to model.

use crate::checkpoint::{SavedModel, State, load_state, save_state};
use crate::collective::Collective;
use crate::data::batch::Dealer;
use crate::data::encoded::EncodedSet;
use crate::data::votes::as_files;
use crate::optim::{Gradients, LossScale, MovingAverage, Optimiser, learning_rate};
use crate::policy::Policy;
use crate::recipes::broken::{self, Stand};
use crate::recipes::rotate::{folder_of, rotate};
use crate::recipes::trainee::Trainee;
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use diffusion::config::VaeConfig;
use diffusion::model_folders::ModelFolders as Folders;
use diffusion::pipeline::{Prompt, Settings, TextToImage};
use diffusion::unet::Unet;
use diffusion::weights::{Parameters, values};
use domain::run::metric;
use domain::train::{Objective, TrainSpec};
use image::RgbImage;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
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

impl Places {
    /// The folder of the run's models.
    #[must_use]
    pub fn models(&self) -> PathBuf {
        self.run.join("models")
    }
}

/// What a run tells, and asks. Who does not want to hear of something leaves it out.
pub trait Watcher {
    /// Examples encoded so far, of all.
    ///
    /// # Errors
    /// What ends the run.
    fn encoding(&mut self, _done: usize, _of: usize) -> Result<()> {
        Ok(())
    }
    /// A step is done. `Break` asks the run to save and stop.
    ///
    /// # Errors
    /// What ends the run.
    fn step(&mut self, _step: u32, _metrics: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }
    /// Sample images of the weights after `step` steps, one per prompt of the spec.
    ///
    /// # Errors
    /// What ends the run.
    fn samples(&mut self, _step: u32, _settings: &Settings, _images: &[RgbImage]) -> Result<()> {
        Ok(())
    }
    /// Whether the run may remove the model it made after `step` steps: not if anything refers to it. What refers to
    /// it no more after this may be forgotten.
    ///
    /// # Errors
    /// What ends the run.
    fn retire(&mut self, step: u32) -> Result<bool>;
    /// A model is on disk.
    ///
    /// # Errors
    /// What ends the run.
    fn model(&mut self, model: &SavedModel) -> Result<()>;
    /// The run begins at this step: 0, or where its saved state stands.
    ///
    /// # Errors
    /// What ends the run.
    fn begin(&mut self, _step: u32) -> Result<()> {
        Ok(())
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Finished,
    /// It saved its state and stopped, as asked, after this many steps.
    Stopped(u32),
}

/// Seed of the sample images: the same at every step, so that they can be compared.
pub const SAMPLE_SEED: u64 = 1;

/// Trains, in one process.
///
/// # Errors
/// As [`train_together`].
pub fn train(
    spec: &TrainSpec,
    places: &Places,
    device: &Device,
    watcher: &mut dyn Watcher,
) -> Result<Ending> {
    train_together(spec, places, device, &Collective::alone(), watcher)
}

/// Trains, as one of the processes that do so together. They share the folders, and the first writes to them.
///
/// # Errors
/// A spec that is invalid, a model that cannot be read, a loss or gradient that is not finite (the last good checkpoint
/// stays on disk), another process that is gone, or what the watcher returns.
pub fn train_together(
    spec: &TrainSpec,
    places: &Places,
    device: &Device,
    collective: &Collective,
    watcher: &mut dyn Watcher,
) -> Result<Ending> {
    spec.validate()?;
    let parts = spec.gradient_accumulation;
    let share = collective.share(parts)?;
    let trainee = Trainee::open(spec, places, device)?;
    let needs_clip = matches!(spec.objective, Objective::DiffContrast { .. } | Objective::Rpo { .. });
    // The first process encodes what the others then find in the cache.
    if !collective.leads() {
        collective.agree(false)?;
    }
    let set = EncodedSet::prepare(
        &as_files(&spec.data, &places.run)?,
        &spec.image(),
        &places.start,
        needs_clip,
        &places.cache,
        device,
        &mut |done, of| watcher.encoding(done, of),
    )?;
    if collective.leads() {
        collective.agree(true)?;
    }
    let vae = VaeConfig::read(&places.start.part("vae")?.join("config.json"))?;
    let mut dealer = Dealer::new(&set, spec, &trainee.schedule, &vae, device)?;
    let held_out = dealer.held_out()?;

    let (masters, variables) = (trainee.policy.masters(), trainee.policy.variables());
    let mut optimiser = Optimiser::new(&spec.optimizer, masters)?;
    let mut average = spec.ema_decay.map(|decay| MovingAverage::new(decay, masters)).transpose()?;
    let mut state = State {
        variables: masters,
        optimiser: &mut optimiser,
        average: average.as_mut(),
        loss_scale: LossScale::of(spec.precision),
        best: None,
    };
    let mut step = load_state(&places.run, spec, &mut state)?;
    trainee.policy.refresh()?;
    watcher.begin(step)?;
    let mut sampler = Sampler::new(spec, places, &trainee.policy, device)?;
    if step == 0 && !spec.from_nothing && collective.leads() {
        sampler.render(0, &state, watcher)?;
    }

    let first = step;
    while step < spec.steps {
        let begun = Instant::now();
        let stand = Stand { step, first, parts };
        let factor = state.loss_scale.map_or(1.0, |scale| scale.factor());
        let mut gradients = Gradients::default();
        let mut metrics = Mean::default();
        for part in share.clone() {
            let batch = dealer.deal(stand.number(step, part))?;
            let (forward, loss) = trainee.run(&batch)?;
            let value = loss.value()?;
            if !value.is_finite() {
                let what = format!("the loss is not finite ({value})");
                let run = (&trainee, &mut dealer, &state);
                return Err(broken::stop(&what, part, stand, spec, places, run, watcher)?);
            }
            metrics.add(metric::LOSS, value);
            loss.metrics.iter().for_each(|&(name, value)| metrics.add(name, value));
            forward.backward(&(loss.loss * factor)?, variables, &mut gradients)?;
        }
        gradients.sum_over(collective)?;
        metrics.mean_over(collective)?;
        let rate = learning_rate(spec, step);
        let divisor = f64::from(parts) * factor;
        let norm = state.optimiser.update_if_finite(masters, &gradients, divisor, rate)?;
        drop(gradients);
        let overflowed = !norm.is_finite();
        if overflowed && !state.loss_scale.as_mut().is_some_and(LossScale::overflowed) {
            let part = broken::find(&trainee, &mut dealer, stand, factor)?;
            let (what, run) = ("the gradient is not finite", (&trainee, &mut dealer, &state));
            return Err(broken::stop(what, part, stand, spec, places, run, watcher)?);
        }
        if overflowed {
            tracing::warn!(
                step,
                "gradients overflow in f16 at a loss scale of {factor}: no update, half the scale"
            );
        } else {
            metrics.add(metric::GRAD_NORM, norm);
            state.loss_scale.iter_mut().for_each(LossScale::held);
            trainee.policy.refresh()?;
            if let Some(average) = state.average.as_mut() {
                average.update(masters)?;
            }
        }
        step += 1;
        if state.loss_scale.is_some() {
            metrics.add(metric::LOSS_SCALE, factor);
            metrics.add(metric::OVERFLOWED, f64::from(u8::from(overflowed)));
        }
        metrics.add(metric::LEARNING_RATE, rate);
        let images =
            f64::from(spec.batch_size * parts) * if spec.objective.is_preference() { 2.0 } else { 1.0 };
        metrics.add(metric::SAMPLES_PER_SECOND, images / begun.elapsed().as_secs_f64());

        let last = step == spec.steps;
        let due = last || (spec.checkpoint_every > 0 && step % spec.checkpoint_every == 0);
        if due && !held_out.is_empty() {
            let unet = trainee.policy.frozen(&best(&state)?, trainee.policy.unet().dtype())?;
            let (loss, accuracy) = trainee.validate(&unet, &held_out)?;
            metrics.add(metric::VALIDATION_LOSS, loss);
            accuracy.iter().for_each(|&value| metrics.add(metric::VALIDATION_ACCURACY, value));
            state.note(step, loss);
        }
        let asked = watcher.step(step, &metrics.values())?;
        let stops = collective.agree(asked.is_break())?;
        if spec.sample_every > 0 && step % spec.sample_every == 0 && collective.leads() {
            sampler.render(step, &state, watcher)?;
        }
        // The state last: a process that dies before makes the model again and removes again what must go.
        if due && collective.leads() {
            watcher.model(&save(spec, places, &trainee, &state, step)?)?;
            if let Some(keep) = spec.keep_checkpoints {
                let best = state.best.filter(|_| spec.keep_best).map(|(step, _)| step);
                rotate(&places.models(), step, keep, best, watcher)?;
            }
        }
        if (due || stops) && collective.leads() {
            save_state(&places.run, spec, step, &state)?;
        }
        if stops && !last {
            return Ok(Ending::Stopped(step));
        }
    }
    Ok(Ending::Finished)
}

/// Writes the weights that should generate as a model of the run.
pub(super) fn save(
    spec: &TrainSpec,
    places: &Places,
    trainee: &Trainee,
    state: &State<'_>,
    step: u32,
) -> Result<SavedModel> {
    let config = trainee.folder.join("config.json");
    trainee.policy.save(&folder_of(&places.models(), step), &config, &best(state)?, spec, step)
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

    /// The same over all processes that train together.
    fn mean_over(&mut self, collective: &Collective) -> Result<()> {
        let mut means: Vec<f64> = self.values().into_iter().map(|(_, mean)| mean).collect();
        collective.mean(&mut means)?;
        self.0.values_mut().zip(means).for_each(|(entry, mean)| *entry = (mean, 1));
        Ok(())
    }

    fn values(&self) -> Vec<(&'static str, f64)> {
        self.0.iter().map(|(&name, &(sum, count))| (name, sum / f64::from(count))).collect()
    }
}

/// Renders the spec's sample prompts.
struct Sampler<'a> {
    pipeline: Option<TextToImage>,
    prompts: Vec<Prompt>,
    policy: &'a Policy,
}

impl<'a> Sampler<'a> {
    fn new(spec: &TrainSpec, places: &Places, policy: &'a Policy, device: &Device) -> Result<Self> {
        let wanted = spec.sample_every > 0;
        let prompts = spec.sample_prompts.iter().map(|prompt| Prompt {
            prompt: prompt.clone(),
            negative_prompt: None,
            seed: SAMPLE_SEED,
        });
        // The pipeline's own network is replaced before it is ever used.
        let pipeline = match wanted {
            true => {
                let parameters = Parameters::random(0, device);
                let unet = Unet::new(&parameters.root(), policy.unet().config().clone())?;
                Some(TextToImage::with_unet(unet, &places.start, device)?)
            }
            false => None,
        };
        Ok(Self { pipeline, prompts: prompts.collect(), policy })
    }

    fn render(&mut self, step: u32, state: &State<'_>, watcher: &mut dyn Watcher) -> Result<()> {
        let Some(pipeline) = &mut self.pipeline else { return Ok(()) };
        pipeline.set_unet(self.policy.frozen(&best(state)?, DType::F32)?);
        let defaults = *pipeline.defaults();
        let settings = Settings {
            width: defaults.width,
            height: defaults.height,
            steps: defaults.steps,
            guidance_scale: defaults.guidance_scale,
            sampler: defaults.sampler,
        };
        let images = pipeline.generate(&self.prompts, &settings, &mut |_, _| ControlFlow::Continue(()))?;
        watcher.samples(step, &settings, &images.context("nobody stopped the rendering")?)
    }
}
