//! DDIM (Song et al. 2021) with eta 0, as diffusers' `DDIMScheduler` without clipping.

use super::{spaced, split};
use crate::Result;
use crate::config::{Prediction, Spacing};
use crate::schedule::Schedule;
use candle_core::Tensor;

/// DDIM set up for a number of steps.
#[derive(Debug)]
pub struct Ddim {
    timesteps: Vec<f64>,
    /// abar before and after each step.
    levels: Vec<(f64, f64)>,
    prediction: Prediction,
}

impl Ddim {
    pub(super) fn new(schedule: &Schedule, steps: usize) -> Self {
        let spacing = schedule.config().timestep_spacing.unwrap_or(Spacing::Leading);
        // DDIM visits whole timesteps; numpy rounds those of linspace.
        let timesteps: Vec<f64> =
            spaced(schedule, spacing, steps).into_iter().map(f64::round_ties_even).collect();
        let stride = (schedule.timesteps() / steps) as f64;
        let last = if schedule.config().set_alpha_to_one { 1.0 } else { schedule.alpha_bar(0) };
        let level = |t: f64| if t < 0.0 { last } else { schedule.alpha_bar(t as usize) };
        let levels = timesteps.iter().map(|&t| (level(t), level(t - stride))).collect();
        Self { timesteps, levels, prediction: schedule.prediction() }
    }

    pub(super) fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    pub(super) fn step(&self, prediction: &Tensor, latents: &Tensor, i: usize) -> Result<Tensor> {
        let (now, next) = self.levels[i];
        let (clean, noise) = split(self.prediction, prediction, latents, now)?;
        Ok(((clean * next.sqrt())? + (noise * (1.0 - next).sqrt())?)?)
    }
}
