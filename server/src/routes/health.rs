//! Probes for monitoring.

use crate::error::ApiError;
use crate::routes::models;
use crate::state::AppState;
use axum::extract::State;

/// Liveness
///
/// Checks nothing beyond the process, and needs no access token.
#[utoipa::path(get, path = "/livez", tag = "operation", operation_id = "livez", responses(
    (status = 200, description = "The process is running.", content_type = "text/plain", body = String)))]
pub(crate) async fn live() -> &'static str {
    "live\n"
}

/// Readiness
///
/// Checks that the database responds, that the generator makes progress, and that the files of the default model can be
/// read.
#[utoipa::path(get, path = "/readyz", tag = "operation", operation_id = "readyz", responses(
    (status = 200, description = "The server can generate images.", content_type = "text/plain", body = String),
    (status = 503, description = "The database, the generator or the default model is unavailable.", body = domain::api::ErrorBody)))]
pub(crate) async fn ready(State(state): State<AppState>) -> Result<&'static str, ApiError> {
    state.store.ping().await.map_err(|error| {
        tracing::warn!("{error}");
        ApiError::unavailable("The database does not respond.")
    })?;
    if let Some(problem) = state.generator.problem(state.generator_stall) {
        tracing::warn!("{problem}");
        return Err(ApiError::unavailable(problem));
    }
    let model = models::default_model(&state).await?.ok_or_else(|| {
        ApiError::unavailable(match &state.default_model {
            Some(name) => {
                format!(
                    "There is no default model {name:?}. Add it to the models folder and restart the server."
                )
            }
            None => "There is no model. Add one to the models folder and restart the server.".to_owned(),
        })
    })?;
    let files = state.catalogue.files(&model).await?;
    models::check(&files).await.map_err(ApiError::unavailable)?;
    Ok("ready\n")
}
