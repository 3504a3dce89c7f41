//! Runs: executions of training jobs, and their curves.

use crate::Timestamp;
use crate::id::{JobId, ModelId, RunId};
use crate::job::JobState;
use crate::train::TrainSpec;
use serde::{Deserialize, Serialize};

/// Names of the curves. Where TRL logs the same quantity, its name is used.
///
/// a and b are the gaps of winners and losers: how much larger the policy's denoising error is than the reference's
/// ([`crate::train::Objective`]).
pub mod metric {
    /// Value of the objective.
    pub const LOSS: &str = "loss";
    /// Norm of the gradient before clipping.
    pub const GRAD_NORM: &str = "grad_norm";
    /// Learning rate of the update.
    pub const LEARNING_RATE: &str = "learning_rate";
    /// Value of the objective on the validation examples.
    pub const VALIDATION_LOSS: &str = "validation/loss";
    /// Implicit accuracy on the validation examples: share of pairs whose winner has the higher implicit reward; a
    /// tie counts half.
    pub const VALIDATION_ACCURACY: &str = "validation/accuracy";
    /// Factor of the loss in the backward pass, with precision f16.
    pub const LOSS_SCALE: &str = "loss_scale";
    /// 1 if gradients overflowed in f16 and the update was skipped, else 0.
    pub const OVERFLOWED: &str = "overflowed";
    /// Images (two per pair) per second.
    pub const SAMPLES_PER_SECOND: &str = "samples_per_second";
    /// Seconds of a step in which batches are read and assembled.
    pub const SECONDS_DATA: &str = "seconds/data";
    /// Seconds of a step in which the networks and the objective are computed. On a GPU, work counts where the program
    /// waits for it.
    pub const SECONDS_FORWARD: &str = "seconds/forward";
    /// Seconds of a step in which gradients are computed.
    pub const SECONDS_BACKWARD: &str = "seconds/backward";
    /// The remaining seconds of a step: gradients summed over processes, clipped and applied.
    pub const SECONDS_UPDATE: &str = "seconds/update";
    /// Seconds of the validation after a step.
    pub const SECONDS_VALIDATION: &str = "seconds/validation";
    /// Seconds in which samples are drawn after a step.
    pub const SECONDS_SAMPLES: &str = "seconds/samples";
    /// Seconds in which the model and the state are saved after a step.
    pub const SECONDS_CHECKPOINT: &str = "seconds/checkpoint";
    /// Mean implicit reward of winners, -beta / 2 times the mean of a.
    pub const REWARDS_CHOSEN: &str = "rewards/chosen";
    /// Mean implicit reward of losers, -beta / 2 times the mean of b.
    pub const REWARDS_REJECTED: &str = "rewards/rejected";
    /// Mean difference of the implicit rewards of winner and loser.
    pub const REWARDS_MARGINS: &str = "rewards/margins";
    /// Implicit accuracy: share of pairs whose winner has the higher implicit reward; a tie counts half.
    pub const REWARDS_ACCURACIES: &str = "rewards/accuracies";
    /// Implicit accuracy over all combinations of a winner and a loser, weighted by W.
    pub const REWARDS_ACCURACIES_WEIGHTED: &str = "rewards/accuracies_weighted";
    /// Denoising error of the policy on winners.
    pub const MSE_WINNER: &str = "mse/policy_winner";
    /// Denoising error of the policy on losers.
    pub const MSE_LOSER: &str = "mse/policy_loser";
    /// Denoising error of the reference on winners.
    pub const MSE_REFERENCE_WINNER: &str = "mse/reference_winner";
    /// Denoising error of the reference on losers.
    pub const MSE_REFERENCE_LOSER: &str = "mse/reference_loser";
    /// Mean of a.
    pub const MEAN_A: &str = "error_gap/winner";
    /// Mean of b.
    pub const MEAN_B: &str = "error_gap/loser";
    /// Mean diagonal of W: 1 is Diffusion-DPO, 1/M a uniform mean over all losers.
    pub const WEIGHT_DIAGONAL: &str = "weights/diagonal";
    /// Mean entropy of the rows of W, in nats.
    pub const WEIGHT_ENTROPY: &str = "weights/entropy";
}

/// An execution of a training job.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Id of the run.
    pub id: RunId,
    /// The job that it executes.
    pub job_id: JobId,
    /// Name from the spec, unless the run was renamed.
    pub name: String,
    /// The spec of the job.
    pub spec: TrainSpec,
    /// State of the job.
    pub state: JobState,
    /// The last finished step.
    pub step: i64,
    /// Error message of a failed job.
    pub error: Option<String>,
    /// The last model that it made.
    pub model_id: Option<ModelId>,
    /// Tags, sorted.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What people wrote about it.
    #[serde(default)]
    pub notes: String,
    /// Whether lists show it first.
    #[serde(default)]
    pub pinned: bool,
    /// Whether lists leave it out unless they are asked for archived runs.
    #[serde(default)]
    pub archived: bool,
    /// When the job was submitted.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When the job was queued last: submitted, or resumed.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub queued_at: Timestamp,
    /// When a worker first claimed the job after that.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub started_at: Option<Timestamp>,
    /// Milliseconds between the claim of the job and its end, with those of the times before it was resumed. 0 before the
    /// first end.
    #[serde(default)]
    pub worked_ms: i64,
    /// When the job ended.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub finished_at: Option<Timestamp>,
}

/// A point of a curve.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    /// Name of the curve.
    #[cfg_attr(feature = "openapi", schema(example = "loss"))]
    pub name: String,
    /// The step.
    pub step: i64,
    /// The value.
    pub value: f64,
}
