//! The end of a run whose numbers are no longer finite: which micro-batch it was, and what is the last good
//! checkpoint.

use super::train::{Places, Watcher, save};
use super::trainee::Trainee;
use crate::checkpoint::{State, save_state};
use crate::data::batch::Dealer;
use crate::optim::Gradients;
use anyhow::{Result, anyhow};
use domain::train::TrainSpec;

/// Where a run stands.
#[derive(Clone, Copy)]
pub(super) struct Stand {
    /// Updates made.
    pub(super) step: u32,
    /// Updates made when this process took the run up.
    pub(super) first: u32,
    /// Micro-batches of a step.
    pub(super) parts: u32,
}

impl Stand {
    /// The number of a step's micro-batch among those of the whole run.
    pub(super) fn number(self, step: u32, part: u32) -> u64 {
        u64::from(step) * u64::from(self.parts) + u64::from(part)
    }
}

/// The first micro-batch of a step whose own gradient is not finite; the last one where only their sum is not.
///
/// # Errors
/// candle's.
pub(super) fn find(trainee: &Trainee, dealer: &mut Dealer<'_>, stand: Stand, factor: f64) -> Result<u32> {
    for part in 0..stand.parts {
        let batch = dealer.deal(stand.number(stand.step, part))?;
        let (forward, loss) = trainee.run(&batch)?;
        let mut alone = Gradients::default();
        forward.backward(&(loss.loss * factor)?, trainee.policy.variables(), &mut alone)?;
        if !alone.norm()?.is_finite() {
            return Ok(part);
        }
    }
    Ok(stand.parts - 1)
}

/// The error to end with. Weights under which the micro-batch before still has a finite loss are sound, and the fault
/// is this micro-batch's: they are saved. Otherwise the last update has broken them, and the last checkpoint on disk
/// stays the last good one.
///
/// # Errors
/// What went wrong on the way.
pub(super) fn stop(
    what: &str,
    part: u32,
    stand: Stand,
    spec: &TrainSpec,
    places: &Places,
    (trainee, dealer, state): (&Trainee, &mut Dealer<'_>, &State<'_>),
    watcher: &mut dyn Watcher,
) -> Result<anyhow::Error> {
    let Stand { step, first, .. } = stand;
    let batch = dealer.deal(stand.number(step, part))?;
    let problem = format!("{what} at step {step}, micro-batch {part}: {}", dealer.describe(&batch)?);
    if step == first {
        return Ok(anyhow!("{problem}; no update was made since the run was taken up, so nothing is lost"));
    }
    let before = dealer.deal(stand.number(step - 1, 0))?;
    let (loss, _) = trainee.validate(trainee.policy.unet(), &[before])?;
    if !loss.is_finite() {
        return Ok(anyhow!(
            "{problem}; the update before broke the weights (lower learning_rate.rate): the checkpoint in {} before step \
             {step} is the last good one",
            places.run.display()
        ));
    }
    let model = save(spec, places, trainee, state, step)?;
    watcher.model(&model)?;
    save_state(&places.run, spec, step, state)?;
    Ok(anyhow!("{problem}; the weights before it are sound and saved in {}", model.folder.display()))
}
