//! One training run, from spec to model.

use super::callbacks::Callbacks;
use super::divergence::{Diverged, RunPosition, find_batch};
use super::drawn_pairs::with_drawn_images;
use super::networks::Networks;
use super::rotation::rotate;
use super::run_paths::RunPaths;
use super::samples::Sampler;
use super::step_metrics::StepMetrics;
use crate::checkpoint::{Manifest, RunIdentity, State, check_resumable, load_state, save_state};
use crate::collective::ProcessGroup;
use crate::data::batch::{Batch, Batches};
use crate::data::encoded::EncodedSet;
use crate::data::votes::as_files;
use crate::optim::{Gradients, LossScale, MovingAverage, Optimiser, learning_rate};
use crate::origins::Origins;
use anyhow::Result;
use candle_core::Device;
use catalogue::clip::require_clip;
use catalogue::run_folder;
use diffusion::config::VaeConfig;
use domain::run::metric;
use domain::train::{LearningRateSchedule, TrainSpec};
use files::write_atomically;
use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Finished,
    /// It saved its state and stopped on request after this many steps.
    Stopped(u32),
}

/// Trains in one process.
///
/// # Errors
/// As [`train_together`].
pub fn train(
    spec: &TrainSpec,
    paths: &RunPaths,
    device: &Device,
    callbacks: &mut dyn Callbacks,
) -> Result<Ending> {
    train_together(spec, paths, device, &ProcessGroup::alone(), callbacks)
}

/// Trains as one of several processes that make each update together. They share the folders of `paths`; rank 0 writes
/// to them.
///
/// # Errors
/// Fails if the spec is invalid, a model cannot be read, a loss or gradient is not finite (the last good checkpoint
/// stays on disk), another process is lost, or a callback fails.
pub fn train_together(
    spec: &TrainSpec,
    paths: &RunPaths,
    device: &Device,
    group: &ProcessGroup,
    callbacks: &mut dyn Callbacks,
) -> Result<Ending> {
    spec.validate()?;
    require_clip(spec, &paths.start)?;
    let share = group.share(spec.gradient_accumulation)?;
    let new_rate = callbacks.takes_new_learning_rate();
    let mut origins = Origins::of_models(spec, &paths.start, paths.reference.as_ref())?;
    // Before the set is encoded, which takes long.
    check_resumable(&paths.run, RunIdentity { spec, origins: &origins }, new_rate)?;
    let networks = Networks::open(spec, paths, device)?;
    let set = encode(spec, paths, device, group, callbacks)?;
    origins.set = set.keys(spec.image().mirrored, spec.objective.weighting().is_some());
    let identity = RunIdentity { spec, origins: &origins };
    let vae = VaeConfig::read(&paths.start.part("vae")?.join("config.json"))?;
    let batches = Batches::new(&set, spec, &networks.schedule, &vae, device)?;
    let held_out = batches.held_out()?;
    if group.leads() && !held_out.is_empty() {
        write_validation_prompts(&paths.run, &batches.held_out_captions()?)?;
    }

    let masters = networks.policy.masters();
    let mut optimiser = Optimiser::new(&spec.optimizer, masters)?;
    let mut average = spec.ema_decay.map(|decay| MovingAverage::new(decay, masters)).transpose()?;
    let mut state = State {
        variables: masters,
        optimiser: &mut optimiser,
        average: average.as_mut(),
        loss_scale: LossScale::of(spec.precision),
        best: None,
    };
    let saved = load_state(&paths.run, identity, new_rate, &mut state)?;
    networks.policy.refresh()?;
    let first = saved.as_ref().map_or(0, |saved| saved.step);
    saved.iter().for_each(|saved| warn_of_schedule(saved, spec));
    callbacks.begin(first)?;
    let sampler = Sampler::new(spec, paths, &networks.policy, device)?;
    let position = RunPosition { step: first, first, parts: spec.gradient_accumulation };
    let run = Run {
        spec,
        identity,
        paths,
        group,
        share,
        networks: &networks,
        batches,
        held_out,
        state,
        sampler,
        position,
        callbacks,
    };
    run.finish()
}

/// Says at which learning rate a run goes on whose number of steps has changed, if its schedule depends on that.
fn warn_of_schedule(saved: &Manifest, spec: &TrainSpec) {
    let (before, step) = (&saved.spec, saved.step);
    if before.steps != spec.steps && spec.learning_rate.schedule != LearningRateSchedule::Constant {
        tracing::warn!(
            "steps: was {} and is {}: the learning rate goes on by the schedule of {} steps, at {:e} after step {step} \
             (it was at {:e})",
            before.steps,
            spec.steps,
            spec.steps,
            learning_rate(spec, step),
            learning_rate(before, step.saturating_sub(1))
        );
    }
}

/// Encodes the set into the cache. Rank 0 encodes; the other processes wait, and find the set in the cache.
fn encode(
    spec: &TrainSpec,
    paths: &RunPaths,
    device: &Device,
    group: &ProcessGroup,
    callbacks: &mut dyn Callbacks,
) -> Result<EncodedSet> {
    // The other ranks wait here for the broadcast below.
    if !group.leads() {
        group.broadcast(false)?;
    }
    let data = with_drawn_images(
        &as_files(&spec.data, &paths.run)?,
        &paths.start,
        &paths.cache,
        device,
        &mut |done, total| callbacks.encoding(done, total),
    )?;
    let set = EncodedSet::prepare(
        &data,
        &spec.image(),
        &paths.start,
        spec.objective.weighting().is_some(),
        &paths.cache,
        device,
        &mut |done, total| callbacks.encoding(done, total),
    )?;
    if group.leads() {
        group.broadcast(true)?;
    }
    Ok(set)
}

/// Writes the captions of the validation examples, each once: the prompts of the run's evaluation.
fn write_validation_prompts(run: &Path, captions: &[String]) -> Result<()> {
    let mut seen = HashSet::new();
    let lines = captions.iter().map(|caption| caption.split_whitespace().collect::<Vec<_>>().join(" "));
    let text: String =
        lines.filter(|line| !line.is_empty() && seen.insert(line.clone())).map(|line| line + "\n").collect();
    Ok(write_atomically(&run_folder::validation_prompts(run), text.as_bytes())?)
}

/// Where the time of a step goes, in seconds.
#[derive(Default)]
struct Phases {
    data: f64,
    forward: f64,
    backward: f64,
}

impl Phases {
    /// Adds the time since `begun` to a phase; the next phase begins now.
    fn count(phase: &mut f64, begun: &mut Instant) {
        let now = Instant::now();
        *phase += now.duration_since(*begun).as_secs_f64();
        *begun = now;
    }

    /// Adds the metrics of a step that took this long.
    fn add_to(&self, metrics: &mut StepMetrics, step: f64) {
        let Self { data, forward, backward } = self;
        metrics.add(metric::SECONDS_DATA, *data);
        metrics.add(metric::SECONDS_FORWARD, *forward);
        metrics.add(metric::SECONDS_BACKWARD, *backward);
        metrics.add(metric::SECONDS_UPDATE, (step - data - forward - backward).max(0.0));
    }
}

/// A run in progress.
struct Run<'a> {
    spec: &'a TrainSpec,
    /// What its states belong to.
    identity: RunIdentity<'a>,
    paths: &'a RunPaths,
    group: &'a ProcessGroup,
    /// The micro-batches of each step that this process computes.
    share: Range<u32>,
    networks: &'a Networks,
    batches: Batches<'a>,
    /// Micro-batches to validate on.
    held_out: Vec<Batch>,
    state: State<'a>,
    sampler: Sampler<'a>,
    position: RunPosition,
    callbacks: &'a mut dyn Callbacks,
}

impl Run<'_> {
    /// Trains until the last step, or until a callback stops the run.
    fn finish(mut self) -> Result<Ending> {
        if self.position.step == 0 && !self.spec.from_nothing && self.group.leads() {
            self.draw_samples()?;
        }
        while self.position.step < self.spec.steps {
            let begun = Instant::now();
            let (mut metrics, phases) = self.update()?;
            let seconds = begun.elapsed().as_secs_f64();
            metrics.add(metric::SAMPLES_PER_SECOND, self.images_per_step() / seconds);
            phases.add_to(&mut metrics, seconds);
            let stops = self.finish_step(metrics)?;
            if stops && self.position.step < self.spec.steps {
                return Ok(Ending::Stopped(self.position.step));
            }
        }
        Ok(Ending::Finished)
    }

    /// One optimiser update: gradients of all micro-batches, summed, clipped and applied.
    fn update(&mut self) -> Result<(StepMetrics, Phases)> {
        let factor = self.state.loss_scale.map_or(1.0, |scale| scale.factor());
        let mut phases = Phases::default();
        let (mut gradients, mut metrics) = self.gradients(factor, &mut phases)?;
        gradients.sum_over(self.group)?;
        metrics.mean_over(self.group)?;

        let masters = self.networks.policy.masters();
        let rate = learning_rate(self.spec, self.position.step);
        let divisor = f64::from(self.position.parts) * factor;
        let norm = self.state.optimiser.update_if_finite(masters, &gradients, divisor, rate)?;
        drop(gradients);
        let overflowed = !norm.is_finite();
        if overflowed && !self.state.loss_scale.as_mut().is_some_and(LossScale::overflowed) {
            let part = find_batch(self.networks, &mut self.batches, self.position, factor)?;
            return Err(self.diverged("the gradient is not finite", part)?);
        }
        if overflowed {
            let step = self.position.step;
            tracing::warn!(
                step,
                "gradients overflow in f16 at loss scale {factor}: the update is skipped and the scale halved"
            );
        } else {
            metrics.add(metric::GRAD_NORM, norm);
            self.state.loss_scale.iter_mut().for_each(LossScale::updated);
            self.networks.policy.refresh()?;
            if let Some(average) = self.state.average.as_mut() {
                average.update(masters)?;
            }
        }
        self.position.step += 1;
        if self.state.loss_scale.is_some() {
            metrics.add(metric::LOSS_SCALE, factor);
            metrics.add(metric::OVERFLOWED, f64::from(u8::from(overflowed)));
        }
        metrics.add(metric::LEARNING_RATE, rate);
        Ok((metrics, phases))
    }

    /// Gradients and metrics of this process's micro-batches.
    fn gradients(&mut self, loss_scale: f64, phases: &mut Phases) -> Result<(Gradients, StepMetrics)> {
        let mut gradients = Gradients::default();
        let mut metrics = StepMetrics::default();
        for part in self.share.clone() {
            let mut begun = Instant::now();
            let batch = self.batches.get(self.position.batch_number(self.position.step, part))?;
            Phases::count(&mut phases.data, &mut begun);
            let (forward, loss) = self.networks.run(&batch)?;
            let value = loss.value()?;
            Phases::count(&mut phases.forward, &mut begun);
            if !value.is_finite() {
                return Err(self.diverged(&format!("the loss is not finite ({value})"), part)?);
            }
            metrics.add(metric::LOSS, value);
            loss.metrics.iter().for_each(|&(name, value)| metrics.add(name, value));
            let variables = self.networks.policy.variables();
            forward.backward(&(loss.loss * loss_scale)?, variables, &mut gradients)?;
            Phases::count(&mut phases.backward, &mut begun);
        }
        Ok((gradients, metrics))
    }

    /// Validates, reports, draws samples and saves, as far as it is due after a step. Returns whether the run is to
    /// stop.
    fn finish_step(&mut self, mut metrics: StepMetrics) -> Result<bool> {
        let step = self.position.step;
        let due = step == self.spec.steps || is_due(step, self.spec.checkpoint_every);
        if due && !self.held_out.is_empty() {
            let (mut seconds, mut begun) = (0.0, Instant::now());
            self.validate(&mut metrics)?;
            Phases::count(&mut seconds, &mut begun);
            metrics.add(metric::SECONDS_VALIDATION, seconds);
        }
        let requested = self.callbacks.step(step, &metrics.means())?;
        let stops = self.group.broadcast(requested.is_break())?;
        let draws = is_due(step, self.spec.sample_every);
        // All processes check, so that all end.
        if due || stops || draws {
            self.check_weights()?;
        }
        if !self.group.leads() {
            return Ok(stops);
        }
        let mut begun = Instant::now();
        if draws {
            self.draw_samples()?;
            self.spent(metric::SECONDS_SAMPLES, &mut begun)?;
        }
        // The state is saved last: after a crash before that, the resumed run repeats the model and the rotation.
        if due {
            self.save_model()?;
        }
        if due || stops {
            save_state(&self.paths.run, self.identity, step, &self.state)?;
            self.spent(metric::SECONDS_CHECKPOINT, &mut begun)?;
        }
        Ok(stops)
    }

    /// Reports the time since `begun` as a metric of the step that is done.
    fn spent(&mut self, metric: &'static str, begun: &mut Instant) -> Result<()> {
        let mut seconds = 0.0;
        Phases::count(&mut seconds, begun);
        self.callbacks.spent(self.position.step, metric, seconds)
    }

    /// Checks that the weights give a finite loss before they are saved or drawn with: the next step's loss would come
    /// too late.
    fn check_weights(&mut self) -> Result<()> {
        let Self { identity, paths, networks, batches, state, position, .. } = self;
        let diverged = Diverged { run: *identity, paths, networks, state, position: *position };
        diverged.unusable(batches)?.map_or(Ok(()), Err)
    }

    fn validate(&mut self, metrics: &mut StepMetrics) -> Result<()> {
        let policy = &self.networks.policy;
        let unet = policy.frozen(&self.state.model_weights()?, policy.unet().dtype())?;
        let (loss, accuracy) = self.networks.validate(&unet, &self.held_out)?;
        metrics.add(metric::VALIDATION_LOSS, loss);
        accuracy.iter().for_each(|&value| metrics.add(metric::VALIDATION_ACCURACY, value));
        self.state.record_validation(self.position.step, loss);
        Ok(())
    }

    fn save_model(&mut self) -> Result<()> {
        let step = self.position.step;
        self.callbacks.model(&self.networks.save(self.identity, self.paths, &self.state, step)?)?;
        if let Some(keep) = self.spec.keep_checkpoints {
            let best = self.state.best.filter(|_| self.spec.keep_best).map(|(step, _)| step);
            rotate(&self.paths.run, step, keep, best, self.callbacks)?;
        }
        Ok(())
    }

    fn draw_samples(&mut self) -> Result<()> {
        self.sampler.draw(self.position.step, &self.state.model_weights()?, self.callbacks)
    }

    /// The error that ends a run whose loss or gradient is not finite.
    fn diverged(&mut self, what: &str, part: u32) -> Result<anyhow::Error> {
        let Self { identity, paths, networks, batches, state, position, callbacks, .. } = self;
        let diverged = Diverged { run: *identity, paths, networks, state, position: *position };
        diverged.end(what, part, batches, *callbacks)
    }

    /// Images that a step learns from: two per pair.
    fn images_per_step(&self) -> f64 {
        let sides = if self.spec.objective.is_preference() { 2.0 } else { 1.0 };
        f64::from(self.spec.batch_size * self.position.parts) * sides
    }
}

fn is_due(step: u32, every: u32) -> bool {
    every > 0 && step.is_multiple_of(every)
}
