//! Queued work: what is asked, and which states may follow which.

use crate::Timestamp;
use crate::evaluate::EvaluateSpec;
use crate::id::{JobId, RunId};
use crate::train::TrainSpec;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a job does.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobSpec {
    /// Train a model; its run has curves and ends in a model.
    Train(TrainSpec),
    /// Generate images from prompts with a model and score them.
    Evaluate(EvaluateSpec),
}

impl JobSpec {
    /// Models that the job will look for, by name or id.
    #[must_use]
    pub fn models(&self) -> Vec<&str> {
        match self {
            Self::Train(spec) => {
                std::iter::once(&spec.base).chain(&spec.reference).map(String::as_str).collect()
            }
            Self::Evaluate(spec) => spec.all_models(),
        }
    }

    /// `train` or `evaluate`, as in the body and the column.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Train(_) => "train",
            Self::Evaluate(_) => "evaluate",
        }
    }

    /// A name to show: the run's or the evaluated model's.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Train(spec) => &spec.name,
            Self::Evaluate(spec) => spec.all_models().first().copied().unwrap_or_default(),
        }
    }

    /// # Errors
    /// Every field that cannot be accepted.
    pub fn validate(&self) -> Result<(), crate::problem::Problems> {
        match self {
            Self::Train(spec) => spec.validate(),
            Self::Evaluate(spec) => spec.validate_job(),
        }
    }
}

/// Where a job stands.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for a worker.
    Queued,
    /// A worker holds its lease.
    Running,
    /// Done.
    Succeeded,
    /// Ended with an error, which it keeps.
    Failed,
    /// Ended because somebody asked.
    Cancelled,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The word in bodies and columns.
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

    /// Whether nothing will change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// Whether `next` may follow. A running job returns to the queue when its worker stops or is lost.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => matches!(next, Self::Running | Self::Cancelled),
            Self::Running => next != Self::Running,
            Self::Succeeded | Self::Failed | Self::Cancelled => false,
        }
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
            format!("{s:?} is no job state: use queued, running, succeeded, failed or cancelled")
        })
    }
}

/// A job as the queue knows it.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What is asked.
    pub spec: JobSpec,
    /// Where it stands.
    pub state: JobState,
    /// How often a worker has claimed it.
    pub attempt: i32,
    /// Whether somebody asked it to stop.
    pub cancel_requested: bool,
    /// The worker that holds or held it.
    pub worker: Option<String>,
    /// Units done (steps or images).
    pub progress: i64,
    /// Units in all; 0 until known.
    pub total: i64,
    /// Why it failed, for people.
    pub error: Option<String>,
    /// Its run, if it trains and has begun.
    pub run_id: Option<RunId>,
    /// When it was asked for.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When a worker first began.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub finished_at: Option<Timestamp>,
}
