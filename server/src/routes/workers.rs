//! Workers, and what they do.

use crate::error::ApiError;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{Page, path};
use domain::worker::Worker;
use process::ambient;

/// List workers
///
/// Workers report every ten seconds. One that has stopped or been silent for two weeks is no longer listed.
#[utoipa::path(get, path = path::WORKERS, tag = "training", operation_id = "list_workers", responses(
    (status = 200, description = "Workers with their jobs, those that reported last first.", body = Page<Worker>)))]
pub(crate) async fn list(State(state): State<AppState>) -> Result<Json<Page<Worker>>, ApiError> {
    Ok(Json(Page { items: state.store.list_workers(ambient::now()).await? }))
}
