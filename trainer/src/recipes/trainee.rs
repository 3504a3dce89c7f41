//! What a run trains, and against what: the networks with the way they are run.

use super::objective::objective;
use crate::data::batch::Batch;
use crate::forward::{Forward, Way};
use crate::objectives::Objective as Loss;
use crate::policy::Policy;
use crate::recipes::train::Places;
use anyhow::Result;
use candle_core::Device;
use diffusion::schedule::Schedule;
use diffusion::tape::BackwardMode;
use diffusion::unet::Unet;
use domain::run::metric;
use domain::train::{Objective, TrainSpec};
use std::path::PathBuf;

/// Policy and reference.
#[derive(Debug)]
pub struct Trainee {
    pub(super) policy: Policy,
    pub(super) schedule: Schedule,
    /// Of the start checkpoint's UNet.
    pub(super) folder: PathBuf,
    reference: Option<Unet>,
    asked: Objective,
    way: Way,
}

impl Trainee {
    /// Opens the networks of a run.
    ///
    /// # Errors
    /// One that cannot be read.
    pub fn open(spec: &TrainSpec, places: &Places, device: &Device) -> Result<Self> {
        let folder = places.start.part("unet")?;
        let policy = Policy::open(spec, &places.start, device)?;
        let reference = match spec.objective.is_preference() {
            true => Some(policy.reference(places.reference.as_ref(), &places.start)?),
            false => None,
        };
        let (schedule, asked) = (places.start.schedule()?, spec.objective.clone());
        Ok(Self { policy, schedule, folder, reference, asked, way: Way::of(spec) })
    }

    /// Errors and objective of the policy on a micro-batch, to be differentiated.
    ///
    /// # Errors
    /// candle's.
    pub fn run(&self, batch: &Batch) -> Result<(Forward<'_>, Loss)> {
        self.run_by(self.policy.unet(), batch, self.way)
    }

    /// The objective of some network in the policy's place, on micro-batches that nobody learns from: its mean, and
    /// the mean implicit accuracy where it has one.
    ///
    /// # Errors
    /// candle's.
    pub fn validate(&self, unet: &Unet, batches: &[Batch]) -> Result<(f64, Option<f64>)> {
        let (mut sum, mut accuracies) = (0.0, Vec::new());
        for batch in batches {
            let (_, loss) = self.run_by(unet, batch, Way { keep: BackwardMode::Disabled, ..self.way })?;
            sum += loss.value()?;
            let accuracy = loss.metrics.iter().find(|(name, _)| *name == metric::REWARDS_ACCURACIES);
            accuracies.extend(accuracy.map(|(_, value)| *value));
        }
        let mean = |sum: f64| sum / batches.len() as f64;
        let accuracy = (!accuracies.is_empty()).then(|| mean(accuracies.iter().sum()));
        Ok((mean(sum), accuracy))
    }

    fn run_by<'a>(&'a self, unet: &'a Unet, batch: &Batch, way: Way) -> Result<(Forward<'a>, Loss)> {
        let forward = Forward::run(unet, self.reference.as_ref(), &self.schedule, batch, way)?;
        let loss = objective(&self.asked, &self.schedule, &forward, batch)?;
        Ok((forward, loss))
    }
}
