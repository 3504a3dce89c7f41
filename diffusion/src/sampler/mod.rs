//! Samplers: from noise to latents, a step at a time, by what the network predicts.

mod ddim;
mod euler;

use crate::config::{Prediction, Spacing};
use crate::schedule::Schedule;
use crate::{Error, Result};
use candle_core::Tensor;
pub use ddim::Ddim;
pub use euler::Euler;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Which sampler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SamplerKind {
    /// Deterministic DDIM.
    Ddim,
    /// Euler's method.
    Euler,
}

impl FromStr for SamplerKind {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "ddim" => Ok(Self::Ddim),
            "euler" => Ok(Self::Euler),
            other => Err(format!("{other:?} is no sampler: use ddim or euler")),
        }
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ddim => "ddim",
            Self::Euler => "euler",
        })
    }
}

/// A sampler set up for a number of steps.
#[derive(Debug)]
pub enum Sampler {
    /// DDIM.
    Ddim(Ddim),
    /// Euler.
    Euler(Euler),
}

impl Sampler {
    /// # Errors
    /// More steps than the schedule has timesteps, or none.
    pub fn new(kind: SamplerKind, schedule: &Schedule, steps: usize) -> Result<Self> {
        if steps == 0 || steps > schedule.timesteps() {
            let problem = format!("{steps} steps: use 1 to {}", schedule.timesteps());
            return Err(Error::format(Path::new("sampler"), problem));
        }
        Ok(match kind {
            SamplerKind::Ddim => Self::Ddim(Ddim::new(schedule, steps)),
            SamplerKind::Euler => Self::Euler(Euler::new(schedule, steps)),
        })
    }

    /// The timesteps that it visits, as the network is told them, first (noisiest) to last.
    #[must_use]
    pub fn timesteps(&self) -> &[f64] {
        match self {
            Self::Ddim(s) => s.timesteps(),
            Self::Euler(s) => s.timesteps(),
        }
    }

    /// Deviation of the noise that it starts from.
    #[must_use]
    pub fn initial_deviation(&self) -> f64 {
        match self {
            Self::Ddim(_) => 1.0,
            Self::Euler(s) => s.initial_deviation(),
        }
    }

    /// What the network is to see of `latents` at step `i`.
    ///
    /// # Errors
    /// candle's.
    pub fn scale_input(&self, latents: &Tensor, i: usize) -> Result<Tensor> {
        match self {
            Self::Ddim(_) => Ok(latents.clone()),
            Self::Euler(s) => s.scale_input(latents, i),
        }
    }

    /// The latents after step `i`, given what the network predicted for them.
    ///
    /// # Errors
    /// candle's.
    pub fn step(&self, prediction: &Tensor, latents: &Tensor, i: usize) -> Result<Tensor> {
        match self {
            Self::Ddim(s) => s.step(prediction, latents, i),
            Self::Euler(s) => s.step(prediction, latents, i),
        }
    }
}

/// The timesteps of a spacing, noisiest first. Products and sums stand in numpy's order, since its rounding
/// decides timesteps that fall half way between two. Always as many as asked: for 61, 103 and some more steps
/// diffusers' trailing spacing has one too many, at -1.
fn spaced(schedule: &Schedule, spacing: Spacing, steps: usize) -> Vec<f64> {
    let n = schedule.timesteps();
    let offset = schedule.config().steps_offset;
    match spacing {
        Spacing::Leading => {
            (0..steps).rev().map(|i| ((i * (n / steps)) + offset).min(n - 1) as f64).collect()
        }
        Spacing::Trailing => {
            let start = n as f64;
            let stride = (start - start / steps as f64) - start;
            (0..steps).map(|i| (start + i as f64 * stride).round_ties_even() - 1.0).collect()
        }
        Spacing::Linspace => {
            let last = (n - 1) as f64;
            let stride = last / (steps.max(2) - 1) as f64;
            let inner = (0..steps).map(|i| if i > 0 && i + 1 == steps { last } else { i as f64 * stride });
            inner.rev().collect()
        }
    }
}

/// The clean latents and the noise that a prediction implies, for `latents` with variance-preserving noise.
fn split(
    schedule: Prediction,
    prediction: &Tensor,
    latents: &Tensor,
    alpha_bar: f64,
) -> Result<(Tensor, Tensor)> {
    let (signal, level) = (alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt());
    match schedule {
        Prediction::Epsilon => {
            let clean = ((latents - (prediction * level)?)? * (1.0 / signal))?;
            Ok((clean, prediction.clone()))
        }
        Prediction::VPrediction => {
            let clean = ((latents * signal)? - (prediction * level)?)?;
            let noise = ((prediction * signal)? + (latents * level)?)?;
            Ok((clean, noise))
        }
    }
}
