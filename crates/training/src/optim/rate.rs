//! The learning-rate schedule of a run.

use domain::train::{LearningRateSchedule, TrainSpec};

/// The learning rate of update `step`, counted from 0: linear warm-up, then the schedule of the spec.
#[must_use]
pub(crate) fn learning_rate(spec: &TrainSpec, step: u32) -> f64 {
    let warmup = spec.learning_rate.warmup_steps;
    let full = spec.effective_rate();
    if step < warmup {
        return full * f64::from(step + 1) / f64::from(warmup);
    }
    // 0 at the first update after warm-up, 1 after the last update.
    let progress = f64::from(step - warmup) / f64::from((spec.steps - warmup).max(1));
    match spec.learning_rate.schedule {
        LearningRateSchedule::Constant => full,
        LearningRateSchedule::Linear => full * (1.0 - progress),
        LearningRateSchedule::Cosine => full * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
    }
}
