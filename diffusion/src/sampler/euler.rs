//! Euler's method (Karras et al. 2022, Algorithm 2 without churn), as diffusers' `EulerDiscreteScheduler`.
//! Latents are kept at unit signal: clean + sigma noise.

use super::{spaced, split};
use crate::Result;
use crate::config::{Prediction, Spacing};
use crate::schedule::Schedule;
use candle_core::Tensor;

/// Euler's method set up for a number of steps.
#[derive(Debug)]
pub struct Euler {
    timesteps: Vec<f64>,
    /// Noise per signal at each step, and 0 after the last.
    sigmas: Vec<f64>,
    prediction: Prediction,
    initial_deviation: f64,
}

impl Euler {
    pub(super) fn new(schedule: &Schedule, steps: usize) -> Self {
        let spacing = schedule.config().timestep_spacing.unwrap_or(Spacing::Linspace);
        let timesteps = spaced(schedule, spacing, steps);
        let sigma = |t: usize| (1.0 / schedule.signal_to_noise(t)).sqrt();
        let mut sigmas: Vec<f64> = timesteps
            .iter()
            .map(|&t| {
                let (below, share) = (t.floor() as usize, t.fract());
                let above = (below + 1).min(schedule.timesteps() - 1);
                sigma(below) * (1.0 - share) + sigma(above) * share
            })
            .collect();
        let largest = sigmas.iter().copied().fold(0.0, f64::max);
        sigmas.push(0.0);
        let initial_deviation = match spacing {
            Spacing::Linspace | Spacing::Trailing => largest,
            Spacing::Leading => (largest * largest + 1.0).sqrt(),
        };
        Self { timesteps, sigmas, prediction: schedule.prediction(), initial_deviation }
    }

    pub(super) fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    pub(super) fn initial_deviation(&self) -> f64 {
        self.initial_deviation
    }

    pub(super) fn scale_input(&self, latents: &Tensor, i: usize) -> Result<Tensor> {
        Ok((latents * (1.0 / (self.sigmas[i] * self.sigmas[i] + 1.0).sqrt()))?)
    }

    pub(super) fn step(&self, prediction: &Tensor, latents: &Tensor, i: usize) -> Result<Tensor> {
        let (now, next) = (self.sigmas[i], self.sigmas[i + 1]);
        // In variance-preserving terms the latents are latents / sqrt(1 + sigma^2), with abar = 1 / (1 + sigma^2).
        let alpha_bar = 1.0 / (1.0 + now * now);
        let (clean, _) = split(self.prediction, prediction, &(latents * alpha_bar.sqrt())?, alpha_bar)?;
        let slope = ((latents - clean)? * (1.0 / now))?;
        Ok((latents + (slope * (next - now))?)?)
    }
}
