//! Training runs: records, metrics and sample images.

use crate::error::ApiError;
use crate::extract::{Id, Query};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{ErrorBody, Page, RunDetail, RunMetrics, RunSample, path};
use domain::id::RunId;
use domain::run::Run;
use serde::Deserialize;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct After {
    /// Only points of later steps; all points when absent.
    after: Option<i64>,
}

/// Get a run
#[utoipa::path(get, path = path::RUN, tag = "training", operation_id = "get_run",
    params(("id" = Uuid, Path, description = "Id of the run.")), responses(
    (status = 200, description = "The run with its job and models.", body = RunDetail),
    (status = 404, description = "There is no such run.", body = ErrorBody)))]
pub(crate) async fn one(
    State(state): State<AppState>,
    Id(id): Id<RunId>,
) -> Result<Json<RunDetail>, ApiError> {
    let run = find(&state, id).await?;
    let job = state.store.get_job(run.job_id).await?.ok_or_else(|| ApiError::not_found("job"))?;
    let models = state.store.list_models_of_run(id).await?;
    let study = state.store.study_of_run(id).await?;
    let deletion = state.catalogue.deletion_of(&run).await?;
    Ok(Json(RunDetail { run, job, models, study, deletion }))
}

/// Get the metrics of a run
///
/// To follow a run, poll with `after` set to the last step received.
#[utoipa::path(get, path = path::RUN_METRICS, tag = "training", operation_id = "get_run_metrics",
    params(("id" = Uuid, Path, description = "Id of the run."), After), responses(
    (status = 200, description = "Points of all metrics, in order of step.", body = RunMetrics),
    (status = 404, description = "There is no such run.", body = ErrorBody)))]
pub(crate) async fn metrics(
    State(state): State<AppState>,
    Id(id): Id<RunId>,
    Query(After { after }): Query<After>,
) -> Result<Json<RunMetrics>, ApiError> {
    // The state is read first, so that points written between the two reads are sent again later, never missed.
    let run = find(&state, id).await?;
    let points = state.store.metrics(id, after.unwrap_or(-1)).await?;
    Ok(Json(RunMetrics { state: run.state, step: run.step, steps: run.spec.steps.into(), points }))
}

/// List the sample images of a run
#[utoipa::path(get, path = path::RUN_SAMPLES, tag = "training", operation_id = "list_run_samples",
    params(("id" = Uuid, Path, description = "Id of the run.")), responses(
    (status = 200, description = "Sample images, in order of step.", body = Page<RunSample>),
    (status = 404, description = "There is no such run.", body = ErrorBody)))]
pub(crate) async fn samples(
    State(state): State<AppState>,
    Id(id): Id<RunId>,
) -> Result<Json<Page<RunSample>>, ApiError> {
    find(&state, id).await?;
    let samples = state.store.list_samples(id).await?.into_iter().map(|image| RunSample {
        image_id: image.id,
        step: image.step.unwrap_or_default(),
        prompt: image.params.prompt,
    });
    Ok(Json(Page { items: samples.collect() }))
}

/// Looks up a run.
pub(super) async fn find(state: &AppState, id: RunId) -> Result<Run, ApiError> {
    state.store.get_run(id).await?.ok_or_else(|| ApiError::not_found("run"))
}
