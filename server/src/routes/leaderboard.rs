//! The leaderboard: ratings computed from tallies of votes, beside mean scores. Ratings are not stored.

use crate::error::ApiError;
use crate::extract::Query;
use crate::routes::question::QuestionQuery;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{Leaderboard, LeaderboardRow, path};
use domain::id::ContestantId;
use domain::ranking::{Standing, Tally, standings};
use std::collections::HashMap;
use store::PairVotes;

/// Ratings and scores
///
/// Models with votes come first, ordered by rating, then models with scores only. Models without votes and scores are
/// left out. A model with LoRA adapters is ranked by itself, beside the model without.
#[utoipa::path(get, path = path::LEADERBOARD, tag = "judging", operation_id = "get_leaderboard", params(QuestionQuery), responses(
    (status = 200, description = "The leaderboard of one question.", body = Leaderboard)))]
pub(crate) async fn leaderboard(
    State(state): State<AppState>,
    Query(QuestionQuery { question }): Query<QuestionQuery>,
) -> Result<Json<Leaderboard>, ApiError> {
    let tallies = state.store.tallies(question).await?;
    let votes = tallies.iter().map(PairVotes::total).sum();
    let tallies: Vec<Tally> = tallies.into_iter().map(Tally::from).collect();
    let standings: HashMap<ContestantId, Standing> =
        standings(&tallies).into_iter().map(|standing| (standing.model, standing)).collect();
    let mut scores = state.store.all_model_scores().await?;
    let mut rows = Vec::new();
    for contestant in state.store.list_contestants().await? {
        let standing = standings.get(&contestant.id);
        // Evaluations score models without adapters.
        let is_model = contestant.lora.is_empty();
        let scores = is_model.then(|| scores.remove(&contestant.model_id)).flatten().unwrap_or_default();
        if standing.is_some() || !scores.is_empty() {
            rows.push(LeaderboardRow {
                rank: standing.map_or(0, |standing| standing.rank),
                model_id: contestant.model_id,
                model: contestant.name,
                lora: contestant.lora,
                objective: contestant.objective,
                rating: standing.map(|standing| standing.rating),
                win_rate: standing.map(|Standing { win_rate, .. }| *win_rate),
                scores,
            });
        }
    }
    let best_first = |row: &LeaderboardRow| -row.rating.map_or(f64::NEG_INFINITY, |rating| rating.value);
    rows.sort_by(|a, b| best_first(a).total_cmp(&best_first(b)));
    // Models without votes rank after all models with votes.
    let next_rank = u32::try_from(standings.len() + 1).unwrap_or(u32::MAX);
    for row in rows.iter_mut().filter(|row| row.rating.is_none()) {
        row.rank = next_rank;
    }
    Ok(Json(Leaderboard { question, rows, votes, raters: state.store.count_raters(question).await? }))
}
