//! Queued work: its spec, state and progress.

use crate::Timestamp;
use crate::evaluate::EvaluateSpec;
use crate::id::{JobId, RunId};
use crate::problem::Problems;
use crate::train::TrainSpec;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a job does, with its settings.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
    "kind": "train", "name": "winter-contrast", "base": "shapes",
    "objective": { "kind": "diff_contrast", "beta": 2000.0, "tau": 0.1 },
    "data": { "source": "shapes", "set": "winter", "count": 256 },
    "steps": 50, "batch_size": 8, "learning_rate": { "rate": 1e-5 }, "evaluate_prompts": 16
})))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobSpec {
    /// Trains a model: a run with curves, samples and checkpoints.
    Train(TrainSpec),
    /// Generates images of the same prompts with one or more models, and scores them.
    Evaluate(EvaluateSpec),
}

impl JobSpec {
    /// Names or ids of the models that the job needs.
    #[must_use]
    pub fn models(&self) -> Vec<&str> {
        match self {
            Self::Train(spec) => {
                std::iter::once(&spec.base).chain(&spec.reference).map(String::as_str).collect()
            }
            Self::Evaluate(spec) => spec.all_models(),
        }
    }

    /// The value of `kind` in bodies: `train` or `evaluate`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Train(_) => "train",
            Self::Evaluate(_) => "evaluate",
        }
    }

    /// The name on pages: the run's, or the first evaluated model's.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Train(spec) => &spec.name,
            Self::Evaluate(spec) => spec.all_models().first().copied().unwrap_or_default(),
        }
    }

    /// # Errors
    /// Returns every field that is invalid.
    pub fn validate(&self) -> Result<(), Problems> {
        match self {
            Self::Train(spec) => spec.validate_job(),
            Self::Evaluate(spec) => spec.validate_job(),
        }
    }
}

/// State of a job. `queued` becomes `running`; `running` becomes a final state, or `queued` again if its worker
/// stops; `queued` can become `cancelled`.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for a worker.
    Queued,
    /// A worker holds its lease.
    Running,
    /// Finished.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended on request.
    Cancelled,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The value in bodies and columns.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the job has ended.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|state| state.as_str() == s).ok_or_else(|| {
            format!("{s:?} is not a job state: use queued, running, succeeded, failed or cancelled")
        })
    }
}

/// A job of the queue.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Id of the job.
    pub id: JobId,
    /// What it does.
    pub spec: JobSpec,
    /// Its state.
    pub state: JobState,
    /// How many times a worker has claimed it.
    pub attempt: i32,
    /// Whether it has been requested to stop.
    pub cancel_requested: bool,
    /// The worker that holds it, or held it last.
    pub worker: Option<String>,
    /// Steps or images done.
    pub progress: i64,
    /// Steps or images in total; 0 until known.
    pub total: i64,
    /// Error message of a failed job.
    pub error: Option<String>,
    /// The run of a training job, once a worker has claimed it.
    pub run_id: Option<RunId>,
    /// Workers claim queued jobs of a higher priority first, and those of one priority in the order in which they were
    /// queued.
    #[serde(default)]
    pub priority: i64,
    /// Place of a queued job in the order in which workers claim them, from 1.
    #[serde(default)]
    pub position: Option<i64>,
    /// When it was submitted.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When it was queued last: submitted, or resumed.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub queued_at: Timestamp,
    /// When a worker first claimed it after that.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub finished_at: Option<Timestamp>,
}
