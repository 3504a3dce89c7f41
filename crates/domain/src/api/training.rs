//! Jobs, runs and models.

use crate::api::RunDeletion;
use crate::evaluate::ModelScore;
use crate::id::{ImageId, JobId, StudyId};
use crate::job::{Job, JobState};
use crate::model::Model;
use crate::run::{MetricPoint, Run};
use serde::{Deserialize, Serialize};

/// Response to a submitted job (202).
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobAccepted {
    /// Id of the job.
    pub id: JobId,
    /// URL of the job, to poll its state.
    pub url: String,
}

/// Response to a submitted study (202).
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyAccepted {
    /// Id of the study.
    pub id: StudyId,
    /// URL of the study, to poll its progress.
    pub url: String,
}

/// A run in a list.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run.
    pub run: Run,
    /// The last points of the curves `loss`, `rewards/accuracies`, `validation/loss`, `validation/accuracy` and
    /// `samples_per_second`, as far as the run has them.
    pub latest: Vec<MetricPoint>,
    /// The values of the requested `columns`, in their order; null where the run has no finite value.
    #[serde(default)]
    pub columns: Vec<Option<f64>>,
}

/// One page of the list of runs. Pinned runs come first.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunPage {
    /// The runs.
    pub items: Vec<RunSummary>,
    /// The `cursor` of the next page; none on the last.
    pub next: Option<String>,
}

/// Response to a resumption (202).
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResumed {
    /// The job of the run, which is in the queue again.
    pub job: JobAccepted,
    /// Whether a saved state exists. Without one the run begins at step 0 again.
    pub has_state: bool,
}

/// A run with its job and models.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    /// The run.
    pub run: Run,
    /// The job that it executes.
    pub job: Job,
    /// The models that it has made, oldest first.
    pub models: Vec<Model>,
    /// Id and name of the study that it belongs to.
    #[serde(default)]
    pub study: Option<(StudyId, String)>,
    /// What its deletion would do.
    #[serde(default)]
    pub deletion: RunDeletion,
}

/// The curves of a run; with `?after=STEP` only the points of later steps.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunMetrics {
    /// State of the run's job: a client can stop polling when it is final.
    pub state: JobState,
    /// The last finished step.
    pub step: i64,
    /// Steps of the spec.
    pub steps: i64,
    /// The points in order of step.
    pub points: Vec<MetricPoint>,
}

/// A sample image of a run.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSample {
    /// Id of the image.
    pub image_id: ImageId,
    /// The step whose weights generated it.
    pub step: i64,
    /// Its prompt.
    pub prompt: String,
}

/// A model in a list.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// The model.
    pub model: Model,
    /// Name of the model that it was trained from.
    pub base_name: Option<String>,
    /// Some of its evaluation images.
    pub samples: Vec<ImageId>,
    /// The prompt of the first sample.
    #[serde(default)]
    pub prompt: Option<String>,
    /// Whether it is the bundled model or derived from it: then its images are those of the bundled world.
    #[serde(default)]
    pub bundled_world: bool,
    /// Its mean scores.
    pub scores: Vec<ModelScore>,
    /// Why it cannot generate, if its files cannot be read.
    pub problem: Option<String>,
}
