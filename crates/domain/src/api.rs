//! Bodies and paths of the HTTP API, shared by the server that answers and the pages that ask.

use crate::Timestamp;
use crate::evaluate::{Metric, ReportFile};
use crate::id::{ImageId, JobId, MatchupId, ModelId, RunId, VoteId};
use crate::image::{GenerationParams, Sampler};
use crate::job::{Job, JobSpec, JobState};
use crate::lora::LoraUse;
use crate::model::Model;
use crate::preference::{Choice, Question};
use crate::problem::Problem;
use crate::run::{MetricPoint, Run};
use serde::{Deserialize, Serialize};

/// Where things are.
pub mod path {
    /// An image from a prompt (GET, POST).
    pub const GENERATE: &str = "/generate";
    /// Jobs (GET lists, POST enqueues).
    pub const JOBS: &str = "/api/v1/jobs";
    /// One job.
    pub const JOB: &str = "/api/v1/jobs/{id}";
    /// A file of an evaluation's report; `{file}` is `report.html`, `report.json` or `scores.csv`.
    pub const JOB_REPORT: &str = "/api/v1/jobs/{id}/report/{file}";
    /// Ask a job to stop (POST).
    pub const JOB_CANCEL: &str = "/api/v1/jobs/{id}/cancel";
    /// Runs, newest first.
    pub const RUNS: &str = "/api/v1/runs";
    /// One run.
    pub const RUN: &str = "/api/v1/runs/{id}";
    /// A run's curves.
    pub const RUN_METRICS: &str = "/api/v1/runs/{id}/metrics";
    /// A run's sample images.
    pub const RUN_SAMPLES: &str = "/api/v1/runs/{id}/samples";
    /// Models, newest first.
    pub const MODELS: &str = "/api/v1/models";
    /// One model.
    pub const MODEL: &str = "/api/v1/models/{id}";
    /// Images, newest first.
    pub const IMAGES: &str = "/api/v1/images";
    /// One image's record.
    pub const IMAGE: &str = "/api/v1/images/{id}";
    /// One image's bytes.
    pub const IMAGE_FILE: &str = "/api/v1/images/{id}/file";
    /// Make a matchup of two images (POST).
    pub const MATCHUPS: &str = "/api/v1/matchups";
    /// The next matchup of this rater.
    pub const MATCHUP_NEXT: &str = "/api/v1/matchups/next";
    /// One side's bytes, without a hint of its model; `{side}` is `left` or `right`.
    pub const MATCHUP_SIDE: &str = "/api/v1/matchups/{id}/{side}";
    /// Vote (POST).
    pub const MATCHUP_VOTE: &str = "/api/v1/matchups/{id}/vote";
    /// Votes, newest first.
    pub const VOTES: &str = "/api/v1/votes";
    /// Votes as a set to train on.
    pub const VOTES_EXPORT: &str = "/api/v1/votes/export";
    /// Sets of pairs.
    pub const DATASETS: &str = "/api/v1/datasets";
    /// Pairs of a set.
    pub const DATASET_PAIRS: &str = "/api/v1/datasets/{name}/pairs";
    /// One pair.
    pub const DATASET_PAIR: &str = "/api/v1/datasets/{name}/pairs/{index}";
    /// One image of a pair; `{side}` is `winner` or `loser`.
    pub const DATASET_IMAGE: &str = "/api/v1/datasets/{name}/pairs/{index}/{side}";
    /// Ratings and scores.
    pub const LEADERBOARD: &str = "/api/v1/leaderboard";
    /// Who beats whom, and who agrees with whom.
    pub const AGREEMENT: &str = "/api/v1/leaderboard/agreement";
    /// The OpenAPI document.
    pub const OPENAPI: &str = "/api/openapi.json";
}

/// Every error: what, which fields, and what to do.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// It.
    pub error: ErrorDetail,
}

/// What went wrong.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// A fixed word for programs: `invalid`, `not_found`, `conflict`, `queue_full`, `unauthorized`, `too_large`, `flagged`, `unavailable`, `internal`.
    pub code: String,
    /// A sentence for people, with the remedy.
    pub message: String,
    /// The fields at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Problem>,
}

/// Body (POST) or query (GET) of /generate. What is absent takes the model's default.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateRequest {
    /// What to image.
    pub prompt: String,
    /// What to steer away from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    /// A model's name or id; the server's default model when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Of the starting noise; random when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Denoising steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Guidance scale; 1 is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance_scale: Option<f64>,
    /// Pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// `ddim` or `euler`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<Sampler>,
    /// Adapters over the model, each at its strength: a list, or in a query `NAME:SCALE` with commas between several.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::lora::list_or_text")]
    pub lora: Vec<LoraUse>,
    /// 1 to 4 (image i uses seed + i). More than 1 needs `Accept: application/json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_images: Option<u32>,
}

/// Answer of /generate to `Accept: application/json`.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerateResponse {
    /// The images.
    pub images: Vec<GeneratedImage>,
    /// Seeds of the images that the server's safety checker holds back; absent for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flagged: Vec<u64>,
    /// The model's name.
    pub model: String,
    /// SHA-256 of its weights, in hex.
    pub model_sha256: String,
    /// Everything else that decided them (`seed` is the first image's).
    pub params: GenerationParams,
    /// Seconds from the start of denoising to the last PNG byte.
    pub seconds: f64,
}

/// One image.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeneratedImage {
    /// Its record.
    pub id: ImageId,
    /// The PNG, in base64.
    pub b64: String,
    /// Of its starting noise.
    pub seed: u64,
}

/// A page of things, newest first.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// Them.
    pub items: Vec<T>,
}

/// Answer to a submitted job (202).
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobAccepted {
    /// The job.
    pub id: JobId,
    /// Where to look at it.
    pub url: String,
}

/// Body of POST jobs: the spec, nothing else.
pub type JobRequest = JobSpec;

/// A row of the Runs page.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run.
    pub run: Run,
    /// The last value of each of a few curves (loss, rewards/accuracies, samples_per_second).
    pub latest: Vec<MetricPoint>,
}

/// Curves of a run. `GET ...?after=STEP` sends what is newer.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunMetrics {
    /// The run's state, so that a watcher knows when to stop asking.
    pub state: JobState,
    /// The last finished step.
    pub step: i64,
    /// Steps asked for.
    pub steps: i64,
    /// Points in order of step.
    pub points: Vec<MetricPoint>,
}

/// A sample image of a run.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSample {
    /// The image.
    pub image_id: ImageId,
    /// The step of the weights.
    pub step: i64,
    /// Its prompt.
    pub prompt: String,
}

/// A model and where it came from.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// The model.
    pub model: Model,
    /// Name of the model it was trained from.
    pub base_name: Option<String>,
    /// Images it made for evaluation: a few to show.
    pub samples: Vec<ImageId>,
    /// Mean scores.
    pub scores: Vec<ModelScore>,
    /// Why it cannot generate, if its files cannot be read.
    pub problem: Option<String>,
}

/// A mean score over a model's evaluation images.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelScore {
    /// By what.
    pub metric: Metric,
    /// Mean.
    pub mean: f64,
    /// Half the width of the mean's 95% interval (1.96 standard errors).
    pub half_width: f64,
    /// Images.
    pub count: i64,
}

/// What a rater sees: nothing of the models.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlindMatchup {
    /// The matchup.
    pub id: MatchupId,
    /// What is asked of the images.
    #[serde(default)]
    pub question: Question,
    /// What both images were to show.
    pub prompt: String,
    /// Address of the left image.
    pub left_url: String,
    /// Address of the right image.
    pub right_url: String,
}

/// Answer to "what next?".
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NextMatchup {
    /// It, or none when this rater has judged everything there is.
    pub matchup: Option<BlindMatchup>,
    /// What was asked for.
    #[serde(default)]
    pub question: Question,
    /// Votes of this rater so far.
    pub votes_cast: i64,
}

/// Body of POST matchups.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchupRequest {
    /// An image.
    pub image_a: ImageId,
    /// Another of the same prompt by another model.
    pub image_b: ImageId,
    /// What raters are asked of them.
    #[serde(default)]
    pub question: Question,
}

/// Body of a vote.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoteRequest {
    /// The answer.
    pub choice: Choice,
}

/// Answer to a vote: who was who, and what is next.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VoteResponse {
    /// The vote.
    pub vote_id: VoteId,
    /// What was chosen.
    pub choice: Choice,
    /// Name of the left image's model.
    pub left_model: String,
    /// Name of the right image's model.
    pub right_model: String,
    /// What to judge next.
    pub next: NextMatchup,
}

/// A vote as listed.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VoteRecord {
    /// The vote.
    pub id: VoteId,
    /// Its matchup.
    pub matchup_id: MatchupId,
    /// The prompt judged.
    pub prompt: String,
    /// What was asked.
    #[serde(default)]
    pub question: Question,
    /// Name of the left model.
    pub left_model: String,
    /// Name of the right model.
    pub right_model: String,
    /// The answer.
    pub choice: Choice,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}

/// Ratings by people beside scores by machines.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leaderboard {
    /// What the votes answer.
    #[serde(default)]
    pub question: Question,
    /// Best first.
    pub rows: Vec<LeaderboardRow>,
    /// All votes counted.
    pub votes: i64,
    /// Raters who answered the question.
    pub raters: i64,
}

/// One model's standing.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeaderboardRow {
    /// 1 + the number of models whose interval lies wholly above this one's.
    pub rank: u32,
    /// The model.
    pub model_id: ModelId,
    /// Its name.
    pub model: String,
    /// How it was trained.
    pub objective: Option<String>,
    /// Rating by people; none without votes.
    pub rating: Option<Rating>,
    /// Share of votes won (ties and "both bad" count half); none without votes.
    pub win_rate: Option<WinRate>,
    /// Mean scores by machines.
    pub scores: Vec<ModelScore>,
}

/// Who beats whom, whether raters agree among themselves, and whether scores agree with them.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// What the votes answer.
    pub question: Question,
    /// The judged models, best rated first: rows and columns of `win_rates`.
    pub models: Vec<String>,
    /// `win_rates[i][j]`: that of model i against model j; none where they never met.
    pub win_rates: Vec<Vec<Option<WinRate>>>,
    /// Each model's Elo rating, which follows the votes in their order: a second view, without an interval.
    pub elo: Vec<f64>,
    /// Krippendorff's alpha of what raters said of the same two images, 1 for full agreement and 0 for chance; none
    /// where no two images were judged by two raters, or where all said the same.
    pub alpha: Option<f64>,
    /// Pairs of images that several raters judged.
    pub judged_by_several: i64,
    /// Each metric beside people.
    pub metrics: Vec<MetricAgreement>,
}

/// How well a metric says what people say.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricAgreement {
    /// It.
    pub metric: Metric,
    /// Votes on two images that both have this score.
    pub votes: i64,
    /// Share of these votes that the score agrees with; half a vote where one side alone finds them equal.
    pub accuracy: Option<f64>,
    /// Models with a rating and a mean score.
    pub models: i64,
    /// Spearman's correlation of these ratings and scores; none for fewer than two models.
    pub rank_correlation: Option<f64>,
}

/// A Bradley-Terry rating on the Elo scale (1000 is the mean of all).
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// The estimate.
    pub value: f64,
    /// Lower end of its 95% interval.
    pub low: f64,
    /// Upper end of its 95% interval.
    pub high: f64,
}

/// A win rate with its count.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WinRate {
    /// Wins plus half the ties, over all.
    pub value: f64,
    /// Lower end of its 95% Wilson interval.
    pub low: f64,
    /// Upper end of its 95% Wilson interval.
    pub high: f64,
    /// Votes it took part in.
    pub votes: i64,
}

/// A run with what is needed to show its page.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    /// The run.
    pub run: Run,
    /// Its job.
    pub job: Job,
    /// The models it has made, oldest first.
    pub models: Vec<Model>,
}

/// Where a file of an evaluation job's report is.
#[must_use]
pub fn report_url(job: JobId, file: ReportFile) -> String {
    path::JOB_REPORT.replace("{id}", &job.to_string()).replace("{file}", file.name())
}

/// The address of a run's page.
#[must_use]
pub fn run_page(id: RunId) -> String {
    format!("/runs/{id}")
}

/// A set of pairs, or of captioned images.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetSummary {
    /// Its name: of a set of the bundled world `shapes-` and the set, `votes`, or its folder's.
    pub name: String,
    /// What it is, in a few words.
    pub description: String,
    /// Rows, dropped ones included; none where only reading it all would tell.
    pub rows: Option<u64>,
    /// Why it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A pair of a set.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetPair {
    /// Its place among the set's pairs, counted from 0.
    pub index: u64,
    /// What the images were to show.
    pub prompt: String,
    /// The row it comes from.
    pub source: String,
    /// Who made winner and loser, where the set says so.
    pub models: [Option<String>; 2],
    /// Address of the winner, or of the only image.
    pub winner_url: String,
    /// Address of the loser.
    pub loser_url: Option<String>,
}

/// Some pairs of a set.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetPairs {
    /// The set.
    pub dataset: DatasetSummary,
    /// In the order of training.
    pub items: Vec<DatasetPair>,
    /// Where to go on; none at the end.
    pub next: Option<u64>,
    /// The rows read for this answer, and those left out.
    pub report: crate::dataset::ReadReport,
}
