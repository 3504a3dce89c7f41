//! The queue: what waits, what runs, what has ended.

use crate::error::ApiError;
use crate::extract::{Id, JobBody, Query};
use crate::routes::limit;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::api::{ErrorBody, JobAccepted, Page, path};
use domain::evaluate::ReportFile;
use domain::id::JobId;
use domain::job::{Job, JobSpec, JobState};
use domain::name::is_name;
use domain::problem::Problems;
use process::ambient;
use serde::Deserialize;

/// Which jobs.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Of this state only.
    state: Option<JobState>,
    /// At most this many, 1 to 500; 100 when absent.
    limit: Option<u32>,
}

/// Jobs, newest first
#[utoipa::path(get, path = path::JOBS, tag = "training", params(Which), responses(
    (status = 200, body = Page<Job>), (status = 400, body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(which): Query<Which>,
) -> Result<Json<Page<Job>>, ApiError> {
    Ok(Json(Page { items: state.store.list_jobs(which.state, limit(which.limit)?).await? }))
}

/// Put a job into the queue
///
/// A worker takes it. A training job makes a run with curves and a model; an evaluation makes images and scores.
#[utoipa::path(post, path = path::JOBS, tag = "training", request_body = JobSpec, responses(
    (status = 202, body = JobAccepted),
    (status = 422, description = "A field cannot be accepted", body = ErrorBody)))]
pub(crate) async fn submit(
    State(state): State<AppState>,
    JobBody(spec): JobBody,
) -> Result<impl IntoResponse, ApiError> {
    spec.validate()?;
    check_names(&state, &spec).await?;
    let now = ambient::now();
    let job = state.store.enqueue_job(JobId::new(now, ambient::entropy()), &spec, now).await?;
    let url = path::JOB.replace("{id}", &job.id.to_string());
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, url.clone())], Json(JobAccepted { id: job.id, url })))
}

/// One job
#[utoipa::path(get, path = path::JOB, tag = "training", params(("id" = Uuid, Path)), responses(
    (status = 200, body = Job), (status = 404, body = ErrorBody)))]
pub(crate) async fn one(State(state): State<AppState>, Id(id): Id<JobId>) -> Result<Json<Job>, ApiError> {
    state.store.get_job(id).await?.map(Json).ok_or_else(|| ApiError::not_found("job"))
}

/// Ask a job to stop
///
/// One that waits is cancelled at once, a running one at its next step.
#[utoipa::path(post, path = path::JOB_CANCEL, tag = "training", params(("id" = Uuid, Path)), responses(
    (status = 200, body = Job), (status = 404, body = ErrorBody),
    (status = 409, description = "It has ended", body = ErrorBody)))]
pub(crate) async fn cancel(State(state): State<AppState>, Id(id): Id<JobId>) -> Result<Json<Job>, ApiError> {
    let job = state.store.request_cancel(id, ambient::now()).await?;
    job.map(Json).ok_or_else(|| ApiError::not_found("job"))
}

/// The report is made of prompts and names that others wrote: should one ever escape its quoting, no script runs, nothing is
/// fetched or sent, and the page is a stranger to this site.
const REPORT_POLICY: &str = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// A file of an evaluation's report
///
/// `report.html` is one page with everything in it, `report.json` the same figures, `scores.csv` every score.
#[utoipa::path(get, path = path::JOB_REPORT, tag = "training",
    params(("id" = Uuid, Path), ("file" = String, Path, description = "`report.html`, `report.json` or `scores.csv`")),
    responses((status = 200, content_type = "text/html", body = Vec<u8>), (status = 404, body = ErrorBody)))]
pub(crate) async fn report(
    State(state): State<AppState>,
    Path((id, file)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let missing = || ApiError::not_found("report: a job has one when it is an evaluation and has succeeded");
    let id: JobId = id.parse().map_err(|_| missing())?;
    let file: ReportFile = file.parse().map_err(|_| missing())?;
    let bytes = state.artifacts.get(&file.artifact(id)).await?.ok_or_else(missing)?;
    let disposition = match file {
        ReportFile::Page => "inline".to_owned(),
        ReportFile::Figures | ReportFile::Scores => {
            format!("attachment; filename=\"evaluation-{id}-{}\"", file.name())
        }
    };
    let headers = [
        (header::CONTENT_TYPE, file.media_type().to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CONTENT_SECURITY_POLICY, REPORT_POLICY.to_owned()),
        // A job that is claimed again writes it again.
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}

/// Tells now what would fail the job later. A base or reference that is no name is a folder on the worker.
async fn check_names(state: &AppState, spec: &JobSpec) -> Result<(), ApiError> {
    let named: Vec<(&str, &str)> = match spec {
        JobSpec::Train(spec) => [("base", Some(&spec.base)), ("reference", spec.reference.as_ref())]
            .into_iter()
            .filter_map(|(field, name)| name.filter(|name| is_name(name)).map(|name| (field, name.as_str())))
            .collect(),
        JobSpec::Evaluate(spec) => {
            let field = |name: &str| if name == spec.model { "model" } else { "models" };
            spec.all_models().into_iter().map(|name| (field(name), name)).collect()
        }
    };
    let mut problems = Problems::default();
    for (field, name) in named {
        let known = state.store.find_model(name).await?.is_some();
        problems.require(
            known,
            field,
            format!("no model is called {name:?}: {} lists those there are", path::MODELS),
        );
    }
    Ok(problems.into_result()?)
}
