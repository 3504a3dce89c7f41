//! `scheduler/scheduler_config.json`: the noise schedule of training and the settings of the sampler.

use super::read::read_supported;
use super::unsupported;
use crate::Result;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// The quantity that the UNet predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise that was added.
    #[default]
    Epsilon,
    /// The velocity v = sqrt(abar) noise - sqrt(1 - abar) latents (Salimans and Ho 2022).
    VPrediction,
}

/// `scheduler/scheduler_config.json`. An absent setting has the default of the sampler that is used, whichever class the
/// file names, as with diffusers' `from_config`.
#[derive(Clone, Debug, Deserialize)]
pub struct ScheduleConfig {
    /// The number of timesteps.
    #[serde(default = "thousand")]
    pub num_train_timesteps: usize,
    /// Beta at the first timestep.
    pub beta_start: f64,
    /// Beta at the last timestep.
    pub beta_end: f64,
    /// How beta is interpolated: `linear` or `scaled_linear`.
    pub beta_schedule: String,
    /// Whether the betas are rescaled so that the last timestep has no signal (Lin et al. 2023, Algorithm 1).
    pub rescale_betas_zero_snr: Option<bool>,
    /// The quantity that the UNet predicts.
    #[serde(default)]
    pub prediction_type: Prediction,
    /// The timesteps that a sampler visits.
    pub timestep_spacing: Option<Spacing>,
    /// Added to the timesteps of leading spacing.
    #[serde(default)]
    pub steps_offset: usize,
    /// Whether the last step of DDIM and PNDM ends at a noise level of exactly zero instead of the first timestep's.
    pub set_alpha_to_one: Option<bool>,
    /// Whether Euler, DPM++ and UniPC use the noise levels of Karras et al. (2022).
    pub use_karras_sigmas: Option<bool>,
    /// Whether PNDM starts without Runge-Kutta steps; the only supported variant.
    pub skip_prk_steps: Option<bool>,
    /// The number of steps of the schedule that an LCM was distilled from.
    pub original_inference_steps: Option<usize>,
    /// Scales the timesteps in an LCM's boundary condition.
    pub timestep_scaling: Option<f64>,
    /// The name of diffusers' sampler class that the model's authors chose.
    #[serde(rename = "_class_name", default)]
    pub class_name: String,
    /// All other settings. Samplers check that they have no effect.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl ScheduleConfig {
    /// Whether the last timestep has no signal.
    #[must_use]
    pub fn ends_without_signal(&self) -> bool {
        self.rescale_betas_zero_snr == Some(true)
    }

    /// Reads a `scheduler_config.json`.
    ///
    /// # Errors
    /// Fails if the file cannot be read or has an unsupported setting of the noise schedule.
    pub fn read(file: &Path) -> Result<Self> {
        read_supported(file, unsupported::SCHEDULE)
    }
}

/// Which of the training timesteps a sampler visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Multiples of a whole stride, starting at 0.
    Leading,
    /// Equal strides down from the last timestep.
    Trailing,
    /// Evenly spaced from the first to the last timestep.
    Linspace,
}

fn thousand() -> usize {
    1000
}
