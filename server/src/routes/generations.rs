//! Generation requests that wait or run: where one is, and its cancellation.

use crate::error::ApiError;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::api::{ErrorBody, GenerationProgress, path};

fn unknown() -> ApiError {
    ApiError::not_found("request with this ticket: it has been answered, or was not sent")
}

/// Get the progress of a generation request
///
/// Of a request that waits or runs, by the `ticket` in its body.
#[utoipa::path(get, path = path::GENERATION, tag = "generation", operation_id = "get_generation",
    params(("ticket" = String, Path, description = "The ticket of the request.")), responses(
    (status = 200, description = "Its place in the queue, and its steps.", body = GenerationProgress),
    (status = 204, description = "No request with this ticket waits or runs: it has been answered, or has not arrived.")))]
pub(crate) async fn one(State(state): State<AppState>, Path(ticket): Path<String>) -> Response {
    match state.generator.places().progress(&ticket) {
        Some(progress) => Json(progress).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// Cancel a generation request
///
/// It stops before its next step, and is answered with 409. Images of it that exist are not kept.
#[utoipa::path(delete, path = path::GENERATION, tag = "generation", operation_id = "cancel_generation",
    params(("ticket" = String, Path, description = "The ticket of the request.")), responses(
    (status = 204, description = "It is cancelled."),
    (status = 404, description = "No request with this ticket waits or runs.", body = ErrorBody)))]
pub(crate) async fn cancel(
    State(state): State<AppState>,
    Path(ticket): Path<String>,
) -> Result<StatusCode, ApiError> {
    if state.generator.places().cancel(&ticket) { Ok(StatusCode::NO_CONTENT) } else { Err(unknown()) }
}
