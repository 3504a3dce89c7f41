//! How the denoising errors of a micro-batch are drawn and measured.

use serde::{Deserialize, Serialize};

/// Which members of a micro-batch share a timestep and a noise.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseSharing {
    /// One timestep and one noise for each pair, shared by winner and loser, as in Diffusion-DPO.
    #[default]
    PerPair,
    /// One timestep for the whole micro-batch (implied by the Diff-contrast paper, Eq. 2 and 3), one noise for each
    /// pair.
    BatchShared,
}

/// The space in which a preference objective measures the errors of a model that predicts v. No effect on a model
/// that predicts the noise.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorSpace {
    /// The error of the prediction itself, as in the reference scripts: all timesteps count alike.
    #[default]
    Prediction,
    /// The error of the noise that the prediction implies (Diff-contrast paper, Eq. 8): abar_t times the error of v,
    /// so late timesteps count little.
    Epsilon,
}
