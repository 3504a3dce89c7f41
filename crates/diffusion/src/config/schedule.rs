//! `scheduler/scheduler_config.json`: the noise schedule of training and the settings of the sampler, in one file.

use super::{neutral, read_neutral};
use crate::Result;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// What the UNet's output means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise.
    #[default]
    Epsilon,
    /// sqrt(abar) noise - sqrt(1 - abar) latents.
    VPrediction,
}

/// `scheduler/scheduler_config.json`: the noise schedule, whatever sampler class it names. A setting that is absent
/// has the default of the sampler that is asked for, whichever class the file names, as with diffusers' `from_config`.
#[derive(Clone, Debug, Deserialize)]
pub struct ScheduleConfig {
    /// Timesteps.
    #[serde(default = "thousand")]
    pub num_train_timesteps: usize,
    /// First beta.
    pub beta_start: f64,
    /// Last beta.
    pub beta_end: f64,
    /// How beta goes from one to the other.
    pub beta_schedule: String,
    /// What the UNet's output means.
    #[serde(default)]
    pub prediction_type: Prediction,
    /// Which timesteps a sampler visits.
    pub timestep_spacing: Option<Spacing>,
    /// Added to the timesteps of leading spacing.
    #[serde(default)]
    pub steps_offset: usize,
    /// Whether the last step of DDIM and PNDM ends at a noise level of exactly zero, or at the first timestep's.
    pub set_alpha_to_one: Option<bool>,
    /// Whether Euler, DPM++ and UniPC space their noise levels as Karras et al. 2022 do.
    pub use_karras_sigmas: Option<bool>,
    /// Whether PNDM starts without Runge-Kutta steps; ours always does.
    pub skip_prk_steps: Option<bool>,
    /// Steps of the schedule that an LCM was distilled from, of which it visits some.
    pub original_inference_steps: Option<usize>,
    /// How soon an LCM's boundary condition lets go of the latents.
    pub timestep_scaling: Option<f64>,
    /// The sampler class that the model's authors chose.
    #[serde(rename = "_class_name", default)]
    pub class_name: String,
    /// All other settings, for samplers to check that they need not obey them.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl ScheduleConfig {
    /// Reads a `scheduler_config.json`.
    ///
    /// # Errors
    /// It cannot be read, or the first setting of the noise schedule that is not supported.
    pub fn read(file: &Path) -> Result<Self> {
        read_neutral(file, neutral::SCHEDULE)
    }
}

/// Which of the training timesteps a sampler visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// From 0 up by whole strides.
    Leading,
    /// From the last timestep down.
    Trailing,
    /// Evenly from first to last.
    Linspace,
}

fn thousand() -> usize {
    1000
}
