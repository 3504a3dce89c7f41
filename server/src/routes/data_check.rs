//! The check of a set before a run is submitted.

use crate::error::ApiError;
use crate::extract::{Body, require_unique_keys};
use crate::routes::datasets::find;
use crate::routes::run_estimate::latest_speed;
use crate::state::AppState;
use anyhow::Context;
use axum::Json;
use axum::extract::{Path, State};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use catalogue::data_check::{DataCheck, Subject, check_data, jpeg};
use catalogue::run_cost::estimate;
use diffusion::part_folders::PartFolders;
use domain::api::{DataCheckRequest, DataCheckResponse, ErrorBody, path};
use domain::data_check::DataReport;
use domain::name::{OUTSIDE_WORKING_FOLDER, is_below_working_folder, is_name};

/// Most examples that a request reads.
const MAX_EXAMPLES: u64 = 500;

/// Check a dataset
///
/// Reads up to 500 examples of a set and reports sizes, prompts, labels, duplicates and dropped rows, and for a training
/// spec the memory, disk and time of the run. The set's folder must lie below the server's working folder.
#[utoipa::path(post, path = path::DATA_CHECK, tag = "data", operation_id = "check_dataset",
    request_body = DataCheckRequest,
    responses(
    (status = 200, description = "The report.", body = DataCheckResponse),
    (status = 422, description = "The spec is not valid, or the set cannot be read.", body = ErrorBody),
    (status = 503, description = "Another check is running.", body = ErrorBody)))]
pub(crate) async fn check(
    State(state): State<AppState>,
    Body(request): Body<DataCheckRequest>,
) -> Result<Json<DataCheckResponse>, ApiError> {
    let unreadable = |error: anyhow::Error| ApiError::field("spec", format!("{error:#}"));
    if request.spec.trim_start().starts_with('{') {
        require_unique_keys(&request.spec).map_err(|problem| ApiError::field("spec", problem))?;
    }
    let subject = Subject::parse(&request.spec).map_err(unreadable)?;
    for (field, folder) in subject.data.folders() {
        let inside = is_below_working_folder(folder);
        let outside = || ApiError::field(&field, OUTSIDE_WORKING_FOLDER.to_owned());
        inside.then_some(()).ok_or_else(outside)?;
    }
    let base = match subject.base.as_deref().filter(|base| is_name(base)) {
        Some(base) => Some(state.catalogue.find(base).await?.1),
        None => None,
    };
    let speed = match &subject.base {
        Some(base) => latest_speed(&state, base).await?,
        None => None,
    };
    let checked = state.data_checks.run(move |wanted| run(&subject, base.as_ref(), speed, wanted));
    let (report, sheet) = checked.await?.map_err(unreadable)?;
    Ok(Json(response(report, &sheet)))
}

/// Get what a dataset holds
///
/// As a check of it does: of up to 500 examples.
#[utoipa::path(get, path = path::DATASET_REPORT, tag = "data", operation_id = "get_dataset_report",
    params(("name" = String, Path, description = "Name of the dataset.")), responses(
    (status = 200, description = "The report.", body = DataCheckResponse),
    (status = 404, description = "There is no such dataset, or it has no report: the votes are on the leaderboard.", body = ErrorBody),
    (status = 503, description = "The dataset cannot be read, or another check is running.", body = ErrorBody)))]
pub(crate) async fn report(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Json<DataCheckResponse>, ApiError> {
    let dataset = find(&state, &name).await?;
    let none =
        || ApiError::not_found("report: only sets in files have one, and the leaderboard counts votes");
    let data = dataset.spec().ok_or_else(none)?;
    let subject = Subject { data, base: None, run: None };
    let checked = state.data_checks.run(move |wanted| run(&subject, None, None, wanted)).await?;
    let (report, sheet) = checked.map_err(|error| ApiError::unavailable(format!("{error:#}.")))?;
    Ok(Json(response(report, &sheet)))
}

fn response(report: DataReport, sheet: &[u8]) -> DataCheckResponse {
    let contact_sheet = format!("data:image/jpeg;base64,{}", STANDARD.encode(sheet));
    DataCheckResponse { report, contact_sheet }
}

/// The report and the contact sheet.
fn run(
    subject: &Subject,
    base: Option<&PartFolders>,
    images_per_second: Option<f64>,
    wanted: &dyn Fn() -> bool,
) -> anyhow::Result<(DataReport, Vec<u8>)> {
    let mut progress = |_| wanted().then_some(()).context("the client has left");
    let DataCheck { mut report, sheet } = check_data(&subject.data, base, MAX_EXAMPLES, &mut progress)?;
    report.warnings.extend(base.map(|base| subject.obstacles(base)).unwrap_or_default());
    if let (Some(run), Some(base)) = (&subject.run, base) {
        let mut cost = estimate(run, base, report.rows.pairs, report.prompts.different)?;
        cost.seconds = images_per_second.map(|speed| cost.images as f64 / speed);
        report.cost = Some(cost);
    }
    Ok((report, jpeg(&sheet).context("the contact sheet cannot be encoded")?))
}
