//! The learning-rate schedule.

use crate::problem::Problems;
use serde::{Deserialize, Serialize};

/// The learning rate over a run: a linear warm-up to `rate`, then `schedule`.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(
    example = json!({ "rate": 1e-5, "schedule": "cosine", "warmup_steps": 100 })
))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningRateSpec {
    /// The rate after warm-up, greater than 0. Lower it if the loss diverges.
    pub rate: f64,
    /// Multiplies `rate` by `batch_size` times `gradient_accumulation`, as `--scale_lr` of Diffusion-DPO does.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub scale: bool,
    /// How the rate changes after warm-up.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = LearningRateSchedule::default))]
    pub schedule: LearningRateSchedule,
    /// Steps over which the rate rises linearly from 0; 0 to `steps`.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = 0))]
    pub warmup_steps: u32,
}

/// How the learning rate changes after warm-up.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearningRateSchedule {
    /// Constant.
    #[default]
    Constant,
    /// Falls linearly to 0 at the last step.
    Linear,
    /// Falls to 0 at the last step along half a cosine.
    Cosine,
}

impl LearningRateSpec {
    /// `steps`: those of the run.
    pub(super) fn validate(&self, steps: u32, p: &mut Problems) {
        p.require_positive(self.rate, "learning_rate.rate");
        p.require(self.warmup_steps <= steps, "learning_rate.warmup_steps", "use at most `steps`");
    }
}
