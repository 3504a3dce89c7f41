//! The networks of a run: the policy, the frozen reference, and how they are evaluated.

use super::objective::objective;
use super::run_paths::RunPaths;
use crate::checkpoint::{RunIdentity, SavedModel, State};
use crate::data::batch::Batch;
use crate::forward::{Forward, PassOptions};
use crate::objectives::Loss;
use crate::policy::Policy;
use anyhow::{Context, Result};
use candle_core::Device;
use catalogue::run_folder;
use diffusion::schedule::Schedule;
use diffusion::tape::BackwardMode;
use diffusion::unet::Unet;
use domain::run::metric;
use domain::train::{Objective, TrainSpec};
use std::path::PathBuf;

/// Policy and reference, with the objective that compares them.
#[derive(Debug)]
pub(super) struct Networks {
    pub(super) policy: Policy,
    pub(super) schedule: Schedule,
    /// Folder of the start checkpoint's UNet, whose config each saved model copies.
    unet_folder: PathBuf,
    reference: Option<Unet>,
    objective: Objective,
    options: PassOptions,
}

impl Networks {
    /// Opens the networks of a run.
    ///
    /// # Errors
    /// Fails if a model cannot be read.
    pub(super) fn open(spec: &TrainSpec, paths: &RunPaths, device: &Device) -> Result<Self> {
        paths.start.check_fit().context("base")?;
        if let Some(reference) = paths.reference.as_ref().filter(|_| spec.objective.is_preference()) {
            paths.start.check_reference(reference).context("reference")?;
        }
        let unet_folder = paths.start.part("unet")?;
        let policy = Policy::open(spec, &paths.start, device)?;
        let reference = match spec.objective.is_preference() {
            true => Some(policy.reference(paths.reference.as_ref(), &paths.start)?),
            false => None,
        };
        let (schedule, objective) = (paths.start.schedule()?, spec.objective.clone());
        Ok(Self { policy, schedule, unet_folder, reference, objective, options: PassOptions::of(spec) })
    }

    /// Denoising errors and loss of the policy on a micro-batch, to be differentiated.
    ///
    /// # Errors
    /// Fails if a tensor operation does, for lack of memory for example.
    pub(super) fn run(&self, batch: &Batch) -> Result<(Forward<'_>, Loss)> {
        self.run_with(self.policy.unet(), batch, self.options)
    }

    /// Mean loss of `unet` in place of the policy, without gradients, and for a preference objective its mean implicit
    /// accuracy.
    ///
    /// # Errors
    /// Fails if a tensor operation does, for lack of memory for example.
    pub(super) fn validate(&self, unet: &Unet, batches: &[Batch]) -> Result<(f64, Option<f64>)> {
        let (mut sum, mut accuracies) = (0.0, Vec::new());
        for batch in batches {
            let (_, loss) =
                self.run_with(unet, batch, PassOptions { keep: BackwardMode::Disabled, ..self.options })?;
            sum += loss.value()?;
            let accuracy = loss.metrics.iter().find(|(name, _)| *name == metric::REWARDS_ACCURACIES);
            accuracies.extend(accuracy.map(|(_, value)| *value));
        }
        let mean = |sum: f64| sum / batches.len() as f64;
        let accuracy = (!accuracies.is_empty()).then(|| mean(accuracies.iter().sum()));
        Ok((mean(sum), accuracy))
    }

    /// Saves the weights to generate with as the run's model of `step`.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub(super) fn save(
        &self,
        run: RunIdentity<'_>,
        paths: &RunPaths,
        state: &State<'_>,
        step: u32,
    ) -> Result<SavedModel> {
        let config = self.unet_folder.join("config.json");
        let folder = run_folder::model(&paths.run, step);
        // The spec is written last: without it a model is incomplete.
        run.origins.write(&folder)?;
        self.policy.save(&folder, &config, &state.model_weights()?, run.spec, step)
    }

    fn run_with<'a>(
        &'a self,
        unet: &'a Unet,
        batch: &Batch,
        options: PassOptions,
    ) -> Result<(Forward<'a>, Loss)> {
        let forward = Forward::run(unet, self.reference.as_ref(), &self.schedule, batch, options)?;
        let loss = objective(&self.objective, &self.schedule, &forward, batch)?;
        Ok((forward, loss))
    }
}
