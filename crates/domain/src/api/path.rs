//! Paths of the API and of pages.

use crate::evaluate::ReportFile;
use crate::id::{CampaignId, JobId, ModelId, RunId};
use crate::preference::Question;

/// Generates images (GET with a query, POST with a body).
pub const GENERATE: &str = "/generate";
/// The progress of a generation request (GET), or its cancellation (DELETE).
pub const GENERATION: &str = "/api/v1/generations/{ticket}";
/// Lists jobs (GET) or submits one (POST).
pub const JOBS: &str = "/api/v1/jobs";
/// A job; changes its priority (PATCH).
pub const JOB: &str = "/api/v1/jobs/{id}";
/// A file of an evaluation's report; `{file}` is `report.html`, `report.json` or `scores.csv`.
pub const JOB_REPORT: &str = "/api/v1/jobs/{id}/report/{file}";
/// Requests that a job stops (POST).
pub const JOB_CANCEL: &str = "/api/v1/jobs/{id}/cancel";
/// Lists studies (GET) or submits one (POST).
pub const STUDIES: &str = "/api/v1/studies";
/// A study with its cells.
pub const STUDY: &str = "/api/v1/studies/{id}";
/// The runs of a study.
pub const STUDY_RUNS: &str = "/api/v1/studies/{id}/runs";
/// Requests that a study stops (POST).
pub const STUDY_CANCEL: &str = "/api/v1/studies/{id}/cancel";
/// Submits failed cells of a study again (POST).
pub const STUDY_RETRY: &str = "/api/v1/studies/{id}/retry";
/// A file of a study's report; `{file}` is `report.html`, `report.json` or `scores.csv`.
pub const STUDY_REPORT: &str = "/api/v1/studies/{id}/report/{file}";
/// Lists runs.
pub const RUNS: &str = "/api/v1/runs";
/// Values to filter the list of runs by.
pub const RUN_CHOICES: &str = "/api/v1/run-choices";
/// Drafts a training run (POST).
pub const RUN_DRAFT: &str = "/api/v1/run-drafts";
/// Puts an ended run into the queue again (POST).
pub const RUN_RESUME: &str = "/api/v1/runs/{id}/resume";
/// A run with its job and models; changes (PATCH) or deletes (DELETE) it.
pub const RUN: &str = "/api/v1/runs/{id}";
/// The curves of a run.
pub const RUN_METRICS: &str = "/api/v1/runs/{id}/metrics";
/// The curves of a run in buckets, for charts.
pub const RUN_SERIES: &str = "/api/v1/runs/{id}/series";
/// The points of a run's curves as CSV.
pub const RUN_SERIES_CSV: &str = "/api/v1/runs/{id}/series.csv";
/// What a run started from, what started from it, and how its model scores against its base.
pub const RUN_LINEAGE: &str = "/api/v1/runs/{id}/lineage";
/// The log of a run.
pub const RUN_LOG: &str = "/api/v1/runs/{id}/log";
/// The log of a run as a file.
pub const RUN_LOG_TEXT: &str = "/api/v1/runs/{id}/log.txt";
/// What a run takes of its worker.
pub const RUN_USAGE: &str = "/api/v1/runs/{id}/usage";
/// The sample images of a run.
pub const RUN_SAMPLES: &str = "/api/v1/runs/{id}/samples";
/// Lists models.
pub const MODELS: &str = "/api/v1/models";
/// A model.
pub const MODEL: &str = "/api/v1/models/{id}";
/// A model with its lineage, votes and files.
pub const MODEL_DETAIL: &str = "/api/v1/models/{id}/detail";
/// A file of a model.
pub const MODEL_FILE: &str = "/api/v1/models/{id}/file";
/// Counts and lists of what is going on.
pub const OVERVIEW: &str = "/api/v1/overview";
/// Lists images.
pub const IMAGES: &str = "/api/v1/images";
/// The record of an image; deletes it (DELETE).
pub const IMAGE: &str = "/api/v1/images/{id}";
/// The PNG of an image.
pub const IMAGE_FILE: &str = "/api/v1/images/{id}/file";
/// Prepares the comparison of two models, or of one model's images (POST).
pub const COMPARISONS: &str = "/api/v1/comparisons";
/// Creates a matchup of two images (POST).
pub const MATCHUPS: &str = "/api/v1/matchups";
/// The next matchup of the requesting rater.
pub const MATCHUP_NEXT: &str = "/api/v1/matchups/next";
/// The PNG of one side of a matchup, without anything that identifies its model; `{side}` is `left` or `right`.
pub const MATCHUP_SIDE: &str = "/api/v1/matchups/{id}/{side}";
/// Votes on a matchup (POST).
pub const MATCHUP_VOTE: &str = "/api/v1/matchups/{id}/vote";
/// Skips a matchup (POST).
pub const MATCHUP_SKIP: &str = "/api/v1/matchups/{id}/skip";
/// Takes back the last vote or skip (POST).
pub const MATCHUP_UNDO: &str = "/api/v1/matchups/{id}/undo";
/// Lists campaigns (GET) or makes one (POST).
pub const CAMPAIGNS: &str = "/api/v1/campaigns";
/// A campaign with its progress.
pub const CAMPAIGN: &str = "/api/v1/campaigns/{id}";
/// Opens, pauses or closes a campaign (POST).
pub const CAMPAIGN_STATE: &str = "/api/v1/campaigns/{id}/state";
/// Pairs of images that a metric proposes as pairs with a known answer.
pub const GOLD_CANDIDATES: &str = "/api/v1/gold-candidates";
/// The judged images of a campaign with the split of their votes.
pub const CAMPAIGN_ITEMS: &str = "/api/v1/campaigns/{id}/items";
/// Makes an invitation to a campaign's desk (POST).
pub const CAMPAIGN_INVITATIONS: &str = "/api/v1/campaigns/{id}/invitations";
/// Revokes an invitation (POST).
pub const CAMPAIGN_REVOKE: &str = "/api/v1/campaigns/{id}/invitations/{invitation}/revoke";
/// What the rater gets next at a campaign's desk. With everything below it, all that an invitation opens.
pub const CAMPAIGN_DESK: &str = "/api/v1/campaigns/{id}/desk";
/// Agrees to take part (POST).
pub const CAMPAIGN_CONSENT: &str = "/api/v1/campaigns/{id}/desk/consent";
/// What the rater has answered.
pub const CAMPAIGN_HISTORY: &str = "/api/v1/campaigns/{id}/desk/history";
/// Erases the rater from the campaign (POST).
pub const CAMPAIGN_ERASE: &str = "/api/v1/campaigns/{id}/desk/erase";
/// The PNG of one side of a pair; `{side}` is `left` or `right`.
pub const DESK_SIDE: &str = "/api/v1/campaigns/{id}/desk/{item}/{side}";
/// Votes on a pair (POST).
pub const DESK_VOTE: &str = "/api/v1/campaigns/{id}/desk/{item}/vote";
/// Picks the best image of a set, or ranks several (POST).
pub const DESK_RANK: &str = "/api/v1/campaigns/{id}/desk/{item}/rank";
/// Skips a pair (POST).
pub const DESK_SKIP: &str = "/api/v1/campaigns/{id}/desk/{item}/skip";
/// Takes back the last answer (POST).
pub const DESK_UNDO: &str = "/api/v1/campaigns/{id}/desk/{item}/undo";
/// Lists votes.
pub const VOTES: &str = "/api/v1/votes";
/// The votes as a set to train on.
pub const VOTES_EXPORT: &str = "/api/v1/votes/export";
/// Lists sets of pairs.
pub const DATASETS: &str = "/api/v1/datasets";
/// Checks a set (POST).
pub const DATA_CHECK: &str = "/api/v1/datasets/check";
/// What a set holds.
pub const DATASET_REPORT: &str = "/api/v1/datasets/{name}/report";
/// Lists pairs of a set.
pub const DATASET_PAIRS: &str = "/api/v1/datasets/{name}/pairs";
/// A pair of a set.
pub const DATASET_PAIR: &str = "/api/v1/datasets/{name}/pairs/{index}";
/// An image of a pair; `{side}` is `winner` or `loser`.
pub const DATASET_IMAGE: &str = "/api/v1/datasets/{name}/pairs/{index}/{side}";
/// Ratings and scores of all models.
pub const LEADERBOARD: &str = "/api/v1/leaderboard";
/// Win rates of pairs of models, and agreement of raters and metrics.
pub const AGREEMENT: &str = "/api/v1/leaderboard/agreement";
/// Evaluations.
pub const EVALUATIONS: &str = "/api/v1/evaluations";
/// An evaluation with its figures.
pub const EVALUATION: &str = "/api/v1/evaluations/{id}";
/// Workers.
pub const WORKERS: &str = "/api/v1/workers";
/// What the server is configured with.
pub const SETTINGS: &str = "/api/v1/settings";
/// Changes of jobs and runs, as server-sent events.
pub const EVENTS: &str = "/api/v1/events";
/// Where the events of now begin.
pub const EVENT_CURSOR: &str = "/api/v1/events/cursor";
/// The OpenAPI document.
pub const OPENAPI: &str = "/api/openapi.json";

/// URL of a file of an evaluation job's report.
#[must_use]
pub fn report_url(job: JobId, file: ReportFile) -> String {
    JOB_REPORT.replace("{id}", &job.to_string()).replace("{file}", file.name())
}

/// URL of the Judge page for a question, restricted to these models unless there are none. The names of models need no
/// escapes.
#[must_use]
pub fn judge_page(question: Question, models: &[String]) -> String {
    let mut fields = Vec::new();
    if question != Question::default() {
        fields.push(format!("question={}", question.as_str()));
    }
    if !models.is_empty() {
        fields.push(format!("models={}", models.join(",")));
    }
    if fields.is_empty() { "/judge".to_owned() } else { format!("/judge?{}", fields.join("&")) }
}

/// URL of a campaign's page.
#[must_use]
pub fn campaign_page(id: CampaignId) -> String {
    format!("/campaigns/{id}")
}

/// URL of the page where raters judge for a campaign.
#[must_use]
pub fn campaign_desk_page(id: CampaignId) -> String {
    format!("/campaigns/{id}/judge")
}

/// URL of a model's page.
#[must_use]
pub fn model_page(id: ModelId) -> String {
    format!("/models/{id}")
}

/// URL of a run's page.
#[must_use]
pub fn run_page(id: RunId) -> String {
    format!("/runs/{id}")
}
