//! The learning rate over a run.

use domain::train::{LearningRateSchedule, TrainSpec};

/// The rate of update `step` (the first is 0).
#[must_use]
pub fn learning_rate(spec: &TrainSpec, step: u32) -> f64 {
    let warmup = spec.learning_rate.warmup_steps;
    let full = spec.effective_rate();
    if step < warmup {
        return full * f64::from(step + 1) / f64::from(warmup);
    }
    // From 0 after warm-up to 1 after the last update.
    let progress = f64::from(step - warmup) / f64::from((spec.steps - warmup).max(1));
    match spec.learning_rate.schedule {
        LearningRateSchedule::Constant => full,
        LearningRateSchedule::Linear => full * (1.0 - progress),
        LearningRateSchedule::Cosine => full * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
    }
}
