//! Is it up, and can it work?

use crate::error::ApiError;
use crate::routes::models;
use crate::state::AppState;
use axum::extract::State;

/// The process is up
///
/// Asks nobody and needs no token.
#[utoipa::path(get, path = "/livez", tag = "operation", responses((status = 200, description = "It is")))]
pub(crate) async fn live() -> &'static str {
    "live\n"
}

/// It can work
///
/// The database answers and the default model's files can be read.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses(
    (status = 200, description = "It can"), (status = 503, description = "It cannot", body = domain::api::ErrorBody)))]
pub(crate) async fn ready(State(state): State<AppState>) -> Result<&'static str, ApiError> {
    state.store.ping().await.map_err(|error| {
        tracing::warn!("{error}");
        ApiError::unavailable("The database does not answer.")
    })?;
    let name = state.default_model.as_ref();
    let model = state.store.find_model(name).await?.ok_or_else(|| {
        ApiError::unavailable(format!(
            "The default model {name:?} is not there: put it into the models folder and restart."
        ))
    })?;
    let files = state.catalogue.files(&model).await?;
    models::check(&files).await.map_err(ApiError::unavailable)?;
    Ok("ready\n")
}
