//! Studies: submission, progress, cancellation, failed cells again, and reports.

use crate::error::ApiError;
use crate::extract::{Body, Id, Query};
use crate::routes::jobs::check_base;
use crate::routes::list_limit::{Limit, limit};
use crate::routes::models::unknown;
use crate::routes::report_file::report_file;
use crate::routes::withheld::refuse_judged;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use catalogue::study::folder;
use domain::api::{ErrorBody, Page, StudyAccepted, path};
use domain::evaluate::ReportFile;
use domain::id::{RunId, StudyId};
use domain::job::JobSpec;
use domain::study::{Planned, Study, StudyOverview, StudySpec, StudySummary, plan};
use domain::train::TrainSpec;
use serde::Deserialize;
use std::collections::BTreeMap;

/// List studies
#[utoipa::path(get, path = path::STUDIES, tag = "training", operation_id = "list_studies", params(Limit), responses(
    (status = 200, description = "Studies, newest first.", body = Page<StudyOverview>),
    (status = 422, description = "`limit` is out of range.", body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<Limit>,
) -> Result<Json<Page<StudyOverview>>, ApiError> {
    let mut items = Vec::new();
    for study in state.store.list_studies(limit(query.limit)?).await? {
        items.push(state.catalogue.study_summary(study).await?.overview());
    }
    Ok(Json(Page { items }))
}

/// Submit a study
///
/// Expands methods, data sets, settings and seeds into training and evaluation jobs, which any number of workers share. A study
/// of the same name and spec is returned as it is.
#[utoipa::path(post, path = path::STUDIES, tag = "training", operation_id = "submit_study",
    request_body(content = StudySpec), responses(
    (status = 202, description = "The study is submitted. The `Location` header is its address.", body = StudyAccepted),
    (status = 409, description = "A study of this name has another spec.", body = ErrorBody),
    (status = 422, description = "A field has a value that is not accepted, or the base does not exist.", body = ErrorBody)))]
pub(crate) async fn submit(
    State(state): State<AppState>,
    Body(spec): Body<StudySpec>,
) -> Result<impl IntoResponse, ApiError> {
    spec.validate()?;
    if state.store.find_model(&spec.base).await?.is_none() {
        return Err(ApiError::field("base", unknown(&state, &spec.base)));
    }
    for first in first_runs(&spec) {
        check_base(&state, &first).await?;
    }
    let study = state.catalogue.submit_study(&spec).await?;
    let url = path::STUDY.replace("{id}", &study.id.to_string());
    let accepted = StudyAccepted { id: study.id, url: url.clone() };
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, url)], Json(accepted)))
}

/// Get a study
///
/// With the state of every cell, and an estimate of the time left.
#[utoipa::path(get, path = path::STUDY, tag = "training", operation_id = "get_study",
    params(("id" = Uuid, Path, description = "Id of the study.")), responses(
    (status = 200, description = "The study and its cells.", body = StudySummary),
    (status = 404, description = "There is no such study.", body = ErrorBody)))]
pub(crate) async fn one(
    State(state): State<AppState>,
    Id(id): Id<StudyId>,
) -> Result<Json<StudySummary>, ApiError> {
    summary(&state, id).await
}

/// List the runs of a study
///
/// The ids of all runs that its cells have begun: of the search, the final ones, and those of ablations.
#[utoipa::path(get, path = path::STUDY_RUNS, tag = "training", operation_id = "list_study_runs",
    params(("id" = Uuid, Path, description = "Id of the study.")), responses(
    (status = 200, description = "Ids of the runs, in the order in which they began.", body = Vec<RunId>),
    (status = 404, description = "There is no such study.", body = ErrorBody)))]
pub(crate) async fn runs(
    State(state): State<AppState>,
    Id(id): Id<StudyId>,
) -> Result<Json<Vec<RunId>>, ApiError> {
    find(&state, id).await?;
    Ok(Json(state.store.list_study_runs(id).await?))
}

/// Cancel a study
///
/// Its queued jobs are cancelled at once, its running jobs at their next step.
#[utoipa::path(post, path = path::STUDY_CANCEL, tag = "training", operation_id = "cancel_study",
    params(("id" = Uuid, Path, description = "Id of the study.")), responses(
    (status = 200, description = "The study, cancelled, or as it is if it had ended.", body = StudySummary),
    (status = 404, description = "There is no such study.", body = ErrorBody)))]
pub(crate) async fn cancel(
    State(state): State<AppState>,
    Id(id): Id<StudyId>,
) -> Result<Json<StudySummary>, ApiError> {
    find(&state, id).await?;
    state.catalogue.cancel_study(id).await?;
    summary(&state, id).await
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RetryQuery {
    /// Key of a cell that failed or was cancelled; all such cells when absent.
    cell: Option<String>,
}

/// Try failed cells again
///
/// Submits cells again that failed or were cancelled, and what was made from their results.
#[utoipa::path(post, path = path::STUDY_RETRY, tag = "training", operation_id = "retry_study",
    params(("id" = Uuid, Path, description = "Id of the study."), RetryQuery), responses(
    (status = 200, description = "The study.", body = StudySummary),
    (status = 404, description = "There is no such study.", body = ErrorBody),
    (status = 422, description = "There is no such cell, or it has not failed.", body = ErrorBody)))]
pub(crate) async fn retry(
    State(state): State<AppState>,
    Id(id): Id<StudyId>,
    Query(query): Query<RetryQuery>,
) -> Result<Json<StudySummary>, ApiError> {
    let study = find(&state, id).await?;
    state.catalogue.retry_study(&study, query.cell.as_deref()).await?;
    summary(&state, id).await
}

/// Get a file of a study's report
///
/// `report.html` is a page of its own, `report.json` has the same figures, and `scores.csv` has every score. They exist once the
/// study has finished.
#[utoipa::path(get, path = path::STUDY_REPORT, tag = "training", operation_id = "get_study_report",
    params(
        ("id" = Uuid, Path, description = "Id of the study."),
        ("file" = String, Path, description = "`report.html`, `report.json` or `scores.csv`."),
    ),
    responses(
        (status = 200, description = "The file.",
            content((String = "text/html"), (String = "application/json"), (String = "text/csv"))),
        (status = 404, description = "The study has not finished, or the report has no such file.", body = ErrorBody)))]
pub(crate) async fn report(
    State(state): State<AppState>,
    Path((id, file)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let missing =
        || ApiError::not_found("report file: a finished study has report.html, report.json and scores.csv");
    let id: StudyId = id.parse().map_err(|_| missing())?;
    let file: ReportFile = file.parse().map_err(|_| missing())?;
    if !state.store.models_being_judged().await?.is_empty() {
        let jobs = state.store.list_study_jobs(id).await?;
        let models: Vec<String> = jobs.into_iter().filter_map(|job| job.model).collect();
        refuse_judged(&state, &models).await?;
    }
    let key = format!("{}/{}", folder::key(id), file.name());
    let bytes = state.artifacts.get(&key).await?.ok_or_else(missing)?;
    Ok(report_file(file, &format!("study-{id}"), bytes))
}

/// The runs that start from the study's base, one of those that differ in their names and seeds alone.
fn first_runs(spec: &StudySpec) -> Vec<TrainSpec> {
    let mut seen: Vec<TrainSpec> = Vec::new();
    for planned in plan(spec, &BTreeMap::new()) {
        if let Planned::Due(job) = planned.state
            && let JobSpec::Train(run) = *job
        {
            let run = TrainSpec { name: spec.name.clone(), seed: 0, ..run };
            if !seen.contains(&run) {
                seen.push(run);
            }
        }
    }
    seen
}

async fn find(state: &AppState, id: StudyId) -> Result<Study, ApiError> {
    state.store.get_study(id).await?.ok_or_else(|| ApiError::not_found("study"))
}

async fn summary(state: &AppState, id: StudyId) -> Result<Json<StudySummary>, ApiError> {
    Ok(Json(state.catalogue.study_summary(find(state, id).await?).await?))
}
