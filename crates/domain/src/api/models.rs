//! A model in full, and what is going on.

use crate::api::ModelSummary;
use crate::id::{ModelId, RunId};
use crate::job::Job;
use crate::ranking::WinRate;
use crate::run::Run;
use serde::{Deserialize, Serialize};

/// A model that another one is related to.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelLink {
    /// Id of the model.
    pub id: ModelId,
    /// Name of the model.
    pub name: String,
    /// The objective of the run that made it.
    pub objective: Option<String>,
    /// The step of the run.
    pub step: Option<i64>,
}

/// A file of a model's own folder.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Its path in the folder, with `/` between the parts.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// Votes on images of a model against images of others, on every question.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Votes for the model.
    pub wins: i64,
    /// Votes for the other model.
    pub losses: i64,
    /// Votes "tie".
    pub ties: i64,
    /// Votes "both bad".
    pub both_bad: i64,
    /// Wins plus half the ties, over all votes; none without votes.
    pub win_rate: Option<WinRate>,
}

/// What the deletion of a model would do.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelDeletion {
    /// What breaks without the model: models that are trained from it, unfinished jobs, running studies, votes. It can be
    /// deleted only if there is nothing.
    pub blocked_by: Vec<String>,
    /// Images that are deleted with it.
    pub images: i64,
    /// Bytes of its own files.
    pub bytes: u64,
}

/// A model with everything that its page shows.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelDetail {
    /// The model, some of its images, and its scores.
    pub summary: ModelSummary,
    /// Whether it is a LoRA adapter, which is applied to its base.
    pub is_adapter: bool,
    /// Id and name of the run that made it.
    pub run: Option<(RunId, String)>,
    /// What it was trained from: its base, the base's base, and so on.
    pub ancestors: Vec<ModelLink>,
    /// The models that are trained from it, oldest first.
    pub derived: Vec<ModelLink>,
    /// All models of its run, in the order of their steps.
    pub checkpoints: Vec<ModelLink>,
    /// Votes on its images.
    pub record: ModelRecord,
    /// The files of its own folder. What it lacks is in the folders of its ancestors.
    pub files: Vec<ModelFile>,
    /// What its deletion would do.
    pub deletion: ModelDeletion,
}

/// What is going on.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// Number of jobs that a worker holds.
    pub running: i64,
    /// Number of jobs that wait for a worker.
    pub queued: i64,
    /// Number of models.
    pub models: i64,
    /// Some of the jobs that a worker holds or that wait for one, newest first.
    pub jobs: Vec<Job>,
    /// The newest runs.
    pub runs: Vec<Run>,
    /// The newest models that have an image.
    pub newest: Vec<ModelSummary>,
    /// Those of the newest models whose win rate is uncertain, with the votes on their images: they need votes.
    pub unjudged: Vec<(ModelLink, i64)>,
}
