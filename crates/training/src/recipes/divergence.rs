//! Runs that diverge: which micro-batch gave a non-finite loss or gradient, and whether the weights before it can be
//! saved.

use super::callbacks::Callbacks;
use super::networks::Networks;
use super::run_paths::RunPaths;
use crate::checkpoint::{State, save_state};
use crate::data::batch::Batches;
use crate::optim::Gradients;
use anyhow::{Result, anyhow};
use domain::train::TrainSpec;

/// The progress of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunPosition {
    /// Updates made.
    pub(super) step: u32,
    /// Updates made when this process started or resumed the run.
    pub(super) first: u32,
    /// Micro-batches per step.
    pub(super) parts: u32,
}

impl RunPosition {
    /// The number of a step's micro-batch, counted from the start of the run.
    pub(super) fn batch_number(self, step: u32, part: u32) -> u64 {
        u64::from(step) * u64::from(self.parts) + u64::from(part)
    }
}

/// The first micro-batch of the current step whose own gradient is not finite; the last one if only their sum is not.
///
/// # Errors
/// Fails if a tensor operation does.
pub(super) fn find_batch(
    networks: &Networks,
    batches: &mut Batches<'_>,
    position: RunPosition,
    loss_scale: f64,
) -> Result<u32> {
    for part in 0..position.parts {
        let batch = batches.get(position.batch_number(position.step, part))?;
        let (forward, loss) = networks.run(&batch)?;
        let mut gradients = Gradients::default();
        forward.backward(&(loss.loss * loss_scale)?, networks.policy.variables(), &mut gradients)?;
        if !gradients.norm()?.is_finite() {
            return Ok(part);
        }
    }
    Ok(position.parts - 1)
}

/// What a diverged run saves, and the folders it saves to.
pub(super) struct Diverged<'a, 'b> {
    pub(super) spec: &'a TrainSpec,
    pub(super) paths: &'a RunPaths,
    pub(super) networks: &'a Networks,
    pub(super) state: &'a State<'b>,
    pub(super) position: RunPosition,
}

impl Diverged<'_, '_> {
    /// The error that ends the run. If the weights still give a finite loss on the previous step's micro-batch, this
    /// micro-batch is the cause, and the weights are saved. Otherwise the last update is the cause, and the newest
    /// checkpoint on disk stays the last good one.
    ///
    /// # Errors
    /// Fails if the weights cannot be examined or saved.
    pub(super) fn end(
        &self,
        what: &str,
        part: u32,
        batches: &mut Batches<'_>,
        callbacks: &mut dyn Callbacks,
    ) -> Result<anyhow::Error> {
        let RunPosition { step, first, .. } = self.position;
        let batch = batches.get(self.position.batch_number(step, part))?;
        let problem = format!("{what} at step {step}, micro-batch {part}: {}", batches.describe(&batch)?);
        if step == first {
            return Ok(anyhow!(
                "{problem}; no update was made since the run started or resumed, so nothing is lost"
            ));
        }
        let before = batches.get(self.position.batch_number(step - 1, 0))?;
        let (loss, _) = self.networks.validate(self.networks.policy.unet(), &[before])?;
        if !loss.is_finite() {
            return Ok(anyhow!(
                "{problem}; the update before it made the weights unusable: lower learning_rate.rate. The last good \
                 checkpoint is the newest in {} before step {step}",
                self.paths.run.display()
            ));
        }
        let model = self.networks.save(self.spec, self.paths, self.state, step)?;
        callbacks.model(&model)?;
        save_state(&self.paths.run, self.spec, step, self.state)?;
        Ok(anyhow!(
            "{problem}; the weights before this step are finite and saved in {}",
            model.folder.display()
        ))
    }
}
