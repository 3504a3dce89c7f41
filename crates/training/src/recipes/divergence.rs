//! Runs that diverge: which micro-batch gave a non-finite loss or gradient, and whether the weights before it can be
//! saved.

use super::callbacks::Callbacks;
use super::networks::Networks;
use super::run_paths::RunPaths;
use crate::checkpoint::{RunIdentity, State, save_state, saved};
use crate::data::batch::Batches;
use crate::optim::Gradients;
use anyhow::{Error, Result, anyhow};
use catalogue::run_folder;

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

/// A diverged run: what it saves, and the folders it saves to.
pub(super) struct Diverged<'a, 'b> {
    pub(super) run: RunIdentity<'a>,
    pub(super) paths: &'a RunPaths,
    pub(super) networks: &'a Networks,
    pub(super) state: &'a State<'b>,
    pub(super) position: RunPosition,
}

impl Diverged<'_, '_> {
    /// Why the weights must not be saved: they give no finite loss on the micro-batch that the last update was made from,
    /// which gave one before. `None` if they may be.
    ///
    /// # Errors
    /// Fails if a tensor operation does.
    pub(super) fn unusable(&self, batches: &mut Batches<'_>) -> Result<Option<Error>> {
        let step = self.position.step;
        let loss = self.loss_before(batches)?;
        let problem = if !loss.is_finite() {
            format!("the update of step {step} made the weights unusable (the loss is {loss})")
        } else if !self.state.has_finite_average()? {
            format!("the moving average of the weights is not finite after step {step}")
        } else {
            return Ok(None);
        };
        Ok(Some(anyhow!("{problem}; they are not saved. Lower learning_rate.rate. {}", self.last_good()?)))
    }

    /// The error that ends the run. If the weights still give a finite loss on the previous step's micro-batch, this
    /// micro-batch is the cause, and the weights are saved. Otherwise the last update is the cause, and what was saved
    /// before stays.
    ///
    /// # Errors
    /// Fails if the weights cannot be examined or saved.
    pub(super) fn end(
        &self,
        what: &str,
        part: u32,
        batches: &mut Batches<'_>,
        callbacks: &mut dyn Callbacks,
    ) -> Result<Error> {
        let RunPosition { step, first, .. } = self.position;
        let batch = batches.get(self.position.batch_number(step, part))?;
        let problem = format!("{what} at step {step}, micro-batch {part}: {}", batches.describe(&batch)?);
        if step == 0 {
            return Ok(anyhow!("{problem}; no update was made since the run started, so nothing is lost"));
        }
        if !self.loss_before(batches)?.is_finite() {
            let cause = if step == first {
                "the saved state, from which the run resumed, is unusable"
            } else {
                "the update before it made the weights unusable"
            };
            return Ok(anyhow!("{problem}; {cause}: lower learning_rate.rate. {}", self.last_good()?));
        }
        if step == first {
            return Ok(anyhow!(
                "{problem}; no update was made since the run resumed from the state after step {step}, whose weights are \
                 finite, so nothing is lost"
            ));
        }
        let model = self.networks.save(self.run, self.paths, self.state, step)?;
        callbacks.model(&model)?;
        save_state(&self.paths.run, self.run, step, self.state)?;
        Ok(anyhow!(
            "{problem}; the weights before this step are finite and saved in {}",
            model.folder.display()
        ))
    }

    /// The loss of the weights on the first micro-batch of the previous step.
    fn loss_before(&self, batches: &mut Batches<'_>) -> Result<f64> {
        let before = batches.get(self.position.batch_number(self.position.step - 1, 0))?;
        Ok(self.networks.validate(self.networks.policy.unet(), &[before])?.0)
    }

    /// From where the run can go on: its saved state, if that is of an earlier step, or its newest model before it.
    fn last_good(&self) -> Result<String> {
        let (run, RunPosition { step, first, .. }) = (&self.paths.run, self.position);
        let file = run.join(run_folder::STATE);
        // A state from which the run has just resumed is the one that was found unusable.
        let is_usable = |at: u32| at < step || step > first;
        if let Some(manifest) = saved(run)?.filter(|manifest| is_usable(manifest.step)) {
            return Ok(format!(
                "The last good state is that after step {}, in {}: the command train goes on from it with \
                 --new-learning-rate and a lower rate",
                manifest.step,
                file.display()
            ));
        }
        let models = run_folder::saved_steps(run)?;
        Ok(match models.iter().rev().find(|&&at| at < step) {
            Some(&at) => format!(
                "The newest model before step {step} is {}: start a new run from it, in another folder",
                run_folder::model(run, at).display()
            ),
            None if file.is_file() => format!("Remove {} to restart the run from step 0", file.display()),
            None => "Nothing was saved before, so the run starts again from step 0".to_owned(),
        })
    }
}
