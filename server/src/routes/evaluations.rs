//! Evaluations: their list, and one with its figures and images.

use crate::error::ApiError;
use crate::extract::{Id, Query};
use crate::routes::list_limit::limit;
use crate::routes::withheld::refuse_judged;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{ErrorBody, EvaluatedModel, EvaluationDetail, Page, path};
use domain::evaluate::{EvaluationReport, ReportFile};
use domain::id::JobId;
use domain::job::{Job, JobSpec};
use process::ambient;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Prompts whose images are returned beside the largest wins and losses.
const FIRST_PROMPTS: usize = 12;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EvaluationQuery {
    /// Only evaluations older than the one with this id; use the last id of a page to get the next one.
    #[param(value_type = Option<Uuid>)]
    before: Option<JobId>,
    /// Most items to return.
    #[param(default = 100, minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// List evaluations
#[utoipa::path(get, path = path::EVALUATIONS, tag = "training", operation_id = "list_evaluations", params(EvaluationQuery), responses(
    (status = 200, description = "Evaluation jobs, newest first.", body = Page<Job>),
    (status = 422, description = "`limit` is out of range.", body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<EvaluationQuery>,
) -> Result<Json<Page<Job>>, ApiError> {
    Ok(Json(Page { items: state.store.list_evaluations(query.before, limit(query.limit)?).await? }))
}

/// Get an evaluation
///
/// Its job, its figures as in `report.json`, and the images of the first prompts and of the largest wins and losses.
#[utoipa::path(get, path = path::EVALUATION, tag = "training", operation_id = "get_evaluation",
    params(("id" = Uuid, Path, description = "Id of the evaluation job.")), responses(
    (status = 200, description = "The evaluation; without figures until it has succeeded.", body = EvaluationDetail),
    (status = 403, description = "A campaign judges one of its models, and is not closed.", body = ErrorBody),
    (status = 404, description = "There is no such evaluation.", body = ErrorBody)))]
pub(crate) async fn one(
    State(state): State<AppState>,
    Id(id): Id<JobId>,
) -> Result<Json<EvaluationDetail>, ApiError> {
    let job = state.store.get_job(id).await?.ok_or_else(|| ApiError::not_found("evaluation"))?;
    let JobSpec::Evaluate(spec) = &job.spec else { return Err(ApiError::not_found("evaluation")) };
    refuse_judged(&state, &spec.all_models()).await?;
    let stored = state.artifacts.get(&ReportFile::Figures.artifact(id)).await?;
    let report = stored.and_then(|bytes| readable(id, &bytes));
    let mut models = Vec::new();
    if let Some(report) = &report {
        let until = job.finished_at.unwrap_or_else(ambient::now);
        let indices = shown(report);
        for scored in &report.models {
            let Some(model) = state.store.get_model_by_name(&scored.model).await? else { continue };
            let images = state.store.images_of_evaluation(spec, model.id, &indices, until).await?;
            let is_unchanged = model.sha256.is_empty() || model.sha256 == scored.sha256;
            models.push(EvaluatedModel { id: model.id, name: model.name, is_unchanged, images });
        }
    }
    Ok(Json(EvaluationDetail { job, report, models }))
}

/// The figures; none, with a line in the log, if another version wrote them in a form that this one does not know.
fn readable(id: JobId, bytes: &[u8]) -> Option<EvaluationReport> {
    let read = serde_json::from_slice(bytes);
    read.inspect_err(|error| tracing::warn!("the figures of evaluation {id} cannot be read: {error}")).ok()
}

/// The indices of the prompts whose images the page shows.
fn shown(report: &EvaluationReport) -> Vec<usize> {
    let extremes = report.comparisons.iter().flat_map(|of| of.won_most.iter().chain(&of.lost_most));
    let indices: BTreeSet<usize> =
        extremes.map(|extreme| extreme.index).chain(0..report.prompts.min(FIRST_PROMPTS)).collect();
    indices.into_iter().collect()
}
