//! What the server is configured with.

use crate::config::Config;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{ServerSettings, path};

/// Get the settings of the server
///
/// Without secrets: neither the access token nor the address of a Postgres.
#[utoipa::path(get, path = path::SETTINGS, tag = "operation", operation_id = "get_settings", responses(
    (status = 200, description = "What the server was started with.", body = ServerSettings)))]
pub(crate) async fn settings(State(state): State<AppState>) -> Json<ServerSettings> {
    Json(state.settings.as_ref().clone())
}

/// The settings that are shown, from a command line.
pub(crate) fn shown(config: &Config, is_cpu: bool, largest_request: f64) -> ServerSettings {
    let database = match config.database_url.strip_prefix("sqlite://") {
        Some(file) => format!("SQLite, {}", file.split('?').next().unwrap_or(file)),
        None => "Postgres".to_owned(),
    };
    ServerSettings {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        database,
        artifacts: config.artifacts.display().to_string(),
        models: config.models.display().to_string(),
        datasets: config.datasets.display().to_string(),
        device: config.device.to_string(),
        is_cpu,
        has_access_token: config.token().is_some(),
        default_model: config.default_model.clone().filter(|name| !name.is_empty()),
        queue_size: config.queue_size,
        loaded_models: config.loaded_models,
        batch_size: config.batch_size,
        largest_side: config.largest_side,
        largest_request,
        generation_timeout: config.generation_timeout,
        generator_stall: config.generator_stall,
        max_connections: config.max_connections,
        prompt_filter: config.prompt_filter,
        refused_terms: u32::try_from(config.refused_terms.len()).unwrap_or(u32::MAX),
        has_safety_checker: config.checker().is_some(),
    }
}
