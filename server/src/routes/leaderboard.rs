//! Ratings by people beside scores by machines: one query of tallies, then arithmetic. Nothing is stored that can be recomputed.

use crate::error::ApiError;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{Leaderboard, path};

/// Ratings and scores
#[utoipa::path(get, path = path::LEADERBOARD, tag = "judging", responses((status = 200, body = Leaderboard)))]
pub(crate) async fn leaderboard(State(state): State<AppState>) -> Result<Json<Leaderboard>, ApiError> {
    let tallies = state.store.tallies().await?;
    drop(tallies);
    Err(ApiError::unavailable("pending"))
}
