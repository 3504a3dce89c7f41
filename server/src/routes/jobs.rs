//! Jobs: submission, status, cancellation, and the reports of evaluations.

use crate::error::ApiError;
use crate::extract::{Body, Id, JobBody, Query};
use crate::routes::list_limit::limit;
use crate::routes::models::{unknown, without_paths};
use crate::routes::report_file::report_file;
use crate::routes::taken::taken;
use crate::routes::withheld::refuse_judged;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use catalogue::clip::{find_clip, require_clip};
use catalogue::world::{belongs_to_bundled_world, require_world};
use datasets::votes::{JudgedPair, judged_pairs};
use diffusion::part_folders::PartFolders;
use domain::api::{ErrorBody, JobAccepted, JobChange, Page, path};
use domain::data::DataSpec;
use domain::evaluate::{EvaluateSpec, ReportFile};
use domain::id::JobId;
use domain::job::{Job, JobSpec, JobState};
use domain::name::is_name;
use domain::problem::Problems;
use domain::train::TrainSpec;
use process::ambient;
use serde::Deserialize;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobQuery {
    /// Only jobs in this state.
    state: Option<JobState>,
    /// Most items to return.
    #[param(default = 100, minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// List jobs
#[utoipa::path(get, path = path::JOBS, tag = "training", operation_id = "list_jobs", params(JobQuery), responses(
    (status = 200, description = "Jobs, newest first.", body = Page<Job>),
    (status = 422, description = "`limit` is out of range.", body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<JobQuery>,
) -> Result<Json<Page<Job>>, ApiError> {
    Ok(Json(Page { items: state.store.list_jobs(query.state, limit(query.limit)?).await? }))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SubmitQuery {
    /// Workers claim jobs of a higher priority first.
    #[serde(default)]
    #[param(default = 0, minimum = -100, maximum = 100)]
    priority: i64,
}

/// Submit a job
///
/// Adds the job to the queue, where a worker claims it. A training job creates a run with metrics, and models. An
/// evaluation creates images, scores and a report.
#[utoipa::path(post, path = path::JOBS, tag = "training", operation_id = "submit_job", params(SubmitQuery),
    request_body(content = JobSpec, examples(
        ("train" = (summary = "Fine-tune the bundled model with Diff-contrast", value = json!({
            "kind": "train", "name": "my-first", "base": "shapes",
            "objective": {"kind": "diff_contrast", "beta": 2000.0, "tau": 0.1},
            "data": {"source": "shapes", "set": "quality", "count": 512},
            "steps": 100, "batch_size": 8, "learning_rate": {"rate": 1e-5}
        }))),
        ("evaluate" = (summary = "Compare two models on held-out prompts", value = json!({
            "kind": "evaluate", "models": ["shapes", "my-first"],
            "prompts": {"source": "shapes_held_out", "count": 64}
        })))
    )),
    responses(
    (status = 202, description = "The job is queued. The `Location` header is its address.", body = JobAccepted),
    (status = 422, description = "A field has a value that is not accepted, a named model does not exist, or another run has the name: the message suggests a free one.", body = ErrorBody)))]
pub(crate) async fn submit(
    State(state): State<AppState>,
    Query(SubmitQuery { priority }): Query<SubmitQuery>,
    JobBody(spec): JobBody,
) -> Result<impl IntoResponse, ApiError> {
    let accepted = enqueue(&state, &spec, priority).await?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, accepted.url.clone())], Json(accepted)))
}

/// Checks a job and adds it to the queue.
pub(crate) async fn enqueue(
    state: &AppState,
    spec: &JobSpec,
    priority: i64,
) -> Result<JobAccepted, ApiError> {
    JobChange { priority }.validate()?;
    check(state, spec).await?;
    let now = ambient::now();
    let job = state.store.enqueue_job_with(JobId::new(now, ambient::entropy()), spec, priority, now).await?;
    Ok(JobAccepted { id: job.id, url: path::JOB.replace("{id}", &job.id.to_string()) })
}

/// Checks a job, so that it does not fail later.
pub(crate) async fn check(state: &AppState, spec: &JobSpec) -> Result<(), ApiError> {
    spec.validate()?;
    check_names(state, spec).await?;
    match spec {
        JobSpec::Train(spec) => {
            check_base(state, spec).await?;
            match state.store.name_instead(&spec.name, None).await? {
                Some(free) => Err(taken(&spec.name, &free)),
                None => Ok(()),
            }
        }
        JobSpec::Evaluate(spec) => check_prompts(state, spec).await,
    }
}

/// Change the priority of a job
///
/// Only of a queued job. `position` of a job is its place in the queue.
#[utoipa::path(patch, path = path::JOB, tag = "training", operation_id = "change_job",
    params(("id" = Uuid, Path, description = "Id of the job.")), request_body = JobChange, responses(
    (status = 200, description = "The changed job.", body = Job),
    (status = 404, description = "There is no such job.", body = ErrorBody),
    (status = 409, description = "The job is not queued.", body = ErrorBody),
    (status = 422, description = "`priority` is out of range.", body = ErrorBody)))]
pub(crate) async fn change(
    State(state): State<AppState>,
    Id(id): Id<JobId>,
    Body(change): Body<JobChange>,
) -> Result<Json<Job>, ApiError> {
    change.validate()?;
    let job = state.store.set_priority(id, change.priority).await?;
    job.map(Json).ok_or_else(|| ApiError::not_found("job"))
}

/// Get a job
#[utoipa::path(get, path = path::JOB, tag = "training", operation_id = "get_job",
    params(("id" = Uuid, Path, description = "Id of the job.")), responses(
    (status = 200, description = "The job with its state and progress.", body = Job),
    (status = 404, description = "There is no such job.", body = ErrorBody)))]
pub(crate) async fn one(State(state): State<AppState>, Id(id): Id<JobId>) -> Result<Json<Job>, ApiError> {
    state.store.get_job(id).await?.map(Json).ok_or_else(|| ApiError::not_found("job"))
}

/// Cancel a job
///
/// A queued job is cancelled at once, a running job at its next step.
#[utoipa::path(post, path = path::JOB_CANCEL, tag = "training", operation_id = "cancel_job",
    params(("id" = Uuid, Path, description = "Id of the job.")), responses(
    (status = 200, description = "The job, cancelled or about to be.", body = Job),
    (status = 404, description = "There is no such job.", body = ErrorBody),
    (status = 409, description = "The job has already ended.", body = ErrorBody)))]
pub(crate) async fn cancel(State(state): State<AppState>, Id(id): Id<JobId>) -> Result<Json<Job>, ApiError> {
    let job = state.store.request_cancel(id, ambient::now()).await?;
    job.map(Json).ok_or_else(|| ApiError::not_found("job"))
}

/// Get a file of an evaluation's report
///
/// `report.html` is a page of its own, `report.json` has the same figures, and `scores.csv` has every score.
#[utoipa::path(get, path = path::JOB_REPORT, tag = "training", operation_id = "get_job_report",
    params(
        ("id" = Uuid, Path, description = "Id of the evaluation job."),
        ("file" = String, Path, description = "`report.html`, `report.json` or `scores.csv`.",
            pattern = "^(report\\.html|report\\.json|scores\\.csv)$"),
    ),
    responses(
        (status = 200, description = "The file.",
            content((String = "text/html"), (String = "application/json"), (String = "text/csv"))),
        (status = 404, description = "The job is not a succeeded evaluation, or the report has no such file.", body = ErrorBody)))]
pub(crate) async fn report(
    State(state): State<AppState>,
    Path((id, file)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let missing = || {
        ApiError::not_found("report file: a succeeded evaluation has report.html, report.json and scores.csv")
    };
    let id: JobId = id.parse().map_err(|_| missing())?;
    let file: ReportFile = file.parse().map_err(|_| missing())?;
    let job = state.store.get_job(id).await?.ok_or_else(missing)?;
    if let JobSpec::Evaluate(spec) = &job.spec {
        refuse_judged(&state, &spec.all_models()).await?;
    }
    let bytes = state.artifacts.get(&file.artifact(id)).await?.ok_or_else(missing)?;
    Ok(report_file(file, &format!("evaluation-{id}"), bytes))
}

/// Newest votes among which a request looks for a pair with a winner.
const CHECKED_VOTES: u32 = 20_000;

/// Checks what a run needs of its base and of the votes: a CLIP, prompts to evaluate it on, and a pair with a winner.
pub(crate) async fn check_base(state: &AppState, spec: &TrainSpec) -> Result<(), ApiError> {
    if let Some(clip) = spec.clip.as_deref().filter(|clip| is_name(clip)) {
        find_clip(state.catalogue.models.root(), clip).map_err(|problem| ApiError::field("clip", problem))?;
    }
    if let DataSpec::Votes(votes) = &spec.data {
        let newest = state.store.newest_judged_votes(votes.question, CHECKED_VOTES).await?;
        let pairs = judged_pairs(&newest, votes);
        // The run checks again, with all votes.
        let are_all = newest.len() < CHECKED_VOTES as usize;
        if are_all && pairs.iter().all(JudgedPair::is_tie) {
            let problem = format!(
                "none of the {} judged pairs that match has a winner: collect votes first",
                pairs.len()
            );
            return Err(ApiError::field("data", problem));
        }
    }
    let (_, base) = state.catalogue.find(&spec.base).await?;
    let fits = |field: &str, name: &str, folders: &PartFolders, outcome: diffusion::Result<()>| {
        outcome.map_err(|problem| ApiError::field(field, without_paths(&problem.to_string(), name, folders)))
    };
    fits("base", &spec.base, &base, base.check_fit())?;
    if let Some(name) = spec.reference.as_deref().filter(|name| is_name(name)) {
        let (_, reference) = state.catalogue.find(name).await?;
        fits("reference", name, &reference, base.check_reference(&reference))?;
    }
    require_clip(spec, &base)?;
    if spec.evaluate_prompts > 0 && spec.validation_examples == 0 && !belongs_to_bundled_world(&base) {
        let problem = format!(
            "{:?} is not a model of the bundled world, so the captions of validation examples are the prompts: set \
             validation_examples, or set evaluate_prompts to 0",
            spec.base
        );
        return Err(ApiError::field("evaluate_prompts", problem));
    }
    Ok(())
}

/// Checks that the models of an evaluation can draw its prompts.
async fn check_prompts(state: &AppState, spec: &EvaluateSpec) -> Result<(), ApiError> {
    for name in spec.all_models() {
        let (model, folders) = state.catalogue.find(name).await?;
        require_world(&spec.prompts, &model.name, &folders)?;
        let field = if name == spec.model { "model" } else { "models" };
        folders
            .check_fit()
            .map_err(|problem| ApiError::field(field, without_paths(&problem.to_string(), name, &folders)))?;
    }
    Ok(())
}

/// Checks that the named models exist, so that the job does not fail later.
async fn check_names(state: &AppState, spec: &JobSpec) -> Result<(), ApiError> {
    let named: Vec<(&str, &str)> = match spec {
        JobSpec::Train(spec) => [("base", Some(&spec.base)), ("reference", spec.reference.as_ref())]
            .into_iter()
            .filter_map(|(field, name)| Some((field, name?.as_str())))
            .collect(),
        JobSpec::Evaluate(spec) => {
            let field = |name: &str| if name == spec.model { "model" } else { "models" };
            spec.all_models().into_iter().map(|name| (field(name), name)).collect()
        }
    };
    let mut problems = Problems::default();
    for (field, name) in named {
        let known = state.store.find_model(name).await?.is_some();
        problems.require(known, field, unknown(state, name));
    }
    Ok(problems.into_result()?)
}
