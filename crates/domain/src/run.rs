//! Runs: one execution of a training job, and its curves.

use crate::Timestamp;
use crate::id::{JobId, ModelId, RunId};
use crate::job::JobState;
use crate::train::TrainSpec;
use serde::{Deserialize, Serialize};

/// Names of the curves. They follow TRL where TRL has a name (method.md section 4).
pub mod metric {
    /// The objective's value.
    pub const LOSS: &str = "loss";
    /// Norm of the gradient before clipping.
    pub const GRAD_NORM: &str = "grad_norm";
    /// The rate the optimiser used.
    pub const LEARNING_RATE: &str = "learning_rate";
    /// The objective's value on examples held out of training.
    pub const VALIDATION_LOSS: &str = "validation/loss";
    /// Share of held-out pairs whose winner has the higher implicit reward; a tie counts half.
    pub const VALIDATION_ACCURACY: &str = "validation/accuracy";
    /// What the loss was multiplied by on the way back, in f16.
    pub const LOSS_SCALE: &str = "loss_scale";
    /// 1 where gradients overflowed in f16 and the update was skipped, else 0.
    pub const OVERFLOWED: &str = "overflowed";
    /// Images (two per pair) per second.
    pub const SAMPLES_PER_SECOND: &str = "samples_per_second";
    /// Implicit reward of winners: -beta/2 times the mean of a.
    pub const REWARDS_CHOSEN: &str = "rewards/chosen";
    /// Implicit reward of losers.
    pub const REWARDS_REJECTED: &str = "rewards/rejected";
    /// Mean difference of the two.
    pub const REWARDS_MARGINS: &str = "rewards/margins";
    /// Share of pairs whose winner has the higher implicit reward; a tie counts half.
    pub const REWARDS_ACCURACIES: &str = "rewards/accuracies";
    /// The same over the whole matrix, weighted by W.
    pub const REWARDS_ACCURACIES_WEIGHTED: &str = "rewards/accuracies_weighted";
    /// Denoising error of the policy on winners.
    pub const MSE_WINNER: &str = "mse/policy_winner";
    /// Denoising error of the policy on losers.
    pub const MSE_LOSER: &str = "mse/policy_loser";
    /// Denoising error of the reference on winners.
    pub const MSE_REFERENCE_WINNER: &str = "mse/reference_winner";
    /// Denoising error of the reference on losers.
    pub const MSE_REFERENCE_LOSER: &str = "mse/reference_loser";
    /// Mean of a: how much worse than the reference the policy denoises winners.
    pub const MEAN_A: &str = "error_gap/winner";
    /// Mean of b: the same for losers.
    pub const MEAN_B: &str = "error_gap/loser";
    /// Mean weight of a winner's own loser: 1 is Diffusion-DPO, 1/M a uniform mean.
    pub const WEIGHT_DIAGONAL: &str = "weights/diagonal";
    /// Mean entropy of the rows of W, in nats.
    pub const WEIGHT_ENTROPY: &str = "weights/entropy";
}

/// One execution of a training job.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The job it executes.
    pub job_id: JobId,
    /// The spec's name.
    pub name: String,
    /// What was asked.
    pub spec: TrainSpec,
    /// The job's state.
    pub state: JobState,
    /// The last finished step.
    pub step: i64,
    /// Why it failed.
    pub error: Option<String>,
    /// The model it made last.
    pub model_id: Option<ModelId>,
    /// When it was asked for.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When it last ended.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub finished_at: Option<Timestamp>,
}

/// One value of one curve.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    /// The curve.
    pub name: String,
    /// The step it belongs to.
    pub step: i64,
    /// Its value.
    pub value: f64,
}
