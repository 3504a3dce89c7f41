//! Curves of runs as charts draw them, and a run's place among models.

use crate::evaluate::Metric;
use crate::id::RunId;
use crate::job::JobState;
use crate::model::Model;
use crate::ranking::WinRate;
use crate::series::{Bucket, RecentMean, SeriesPoint};
use serde::{Deserialize, Serialize};

/// The curves of a run in buckets.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSeries {
    /// State of the run's job: a client can stop polling when it is final.
    pub state: JobState,
    /// The last finished step. To follow the run, pass it as `after`.
    pub step: i64,
    /// Steps of the spec.
    pub steps: i64,
    /// The first step of the range.
    pub from: i64,
    /// The last step of the range.
    pub to: i64,
    /// Steps of each bucket.
    pub bucket_steps: i64,
    /// Steps of each mean.
    pub smoothing: i64,
    /// Images of one step.
    pub images_per_step: u32,
    /// The curves, in order of name. A curve without points in the range has no buckets.
    pub series: Vec<Series>,
}

/// A curve in buckets.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Name of the curve.
    #[cfg_attr(feature = "openapi", schema(example = "loss"))]
    pub metric: String,
    /// The buckets with points, in order of step. With `after`, the first of them replaces the last one of the previous
    /// response if both lie in one range of `bucket_steps`.
    pub buckets: Vec<Bucket>,
    /// The first point of the run; absent if the range begins later, and with `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<SeriesPoint>,
    /// The last point of the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<SeriesPoint>,
    /// The mean of the last 50 steps of the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent: Option<RecentMean>,
}

/// Where a run comes from, and what came from it.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunLineage {
    /// The model that it started from; absent if it is not in the database any more.
    pub base: Option<Model>,
    /// The last model that it has made.
    pub model: Option<Model>,
    /// Models that other runs have made from its models, the first 100.
    pub descendants: Vec<Model>,
    /// Scores of its last evaluated model and of the base on images of equal prompts and seeds.
    pub scores: Vec<ScoreAgainstBase>,
}

/// Scores of a run's model and of its base by one metric, on images of equal prompts and seeds.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreAgainstBase {
    /// Id of the run that made the model.
    pub run_id: RunId,
    /// The evaluated model.
    pub model: String,
    /// The metric of both means.
    pub metric: Metric,
    /// Mean score of the model.
    pub mean: f64,
    /// Mean score of the base.
    pub base_mean: f64,
    /// Share of image pairs in which the model's image scores higher; equal scores count half.
    pub win_rate: WinRate,
}
