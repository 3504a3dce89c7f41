//! What is going on: the data of the front page, in a bounded number of queries.

use crate::error::ApiError;
use crate::extract::Query;
use crate::routes::list_limit::Limit;
use crate::routes::model_detail::record;
use crate::routes::models;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{ModelLink, ModelSummary, Overview, Page, path};
use domain::job::JobState;

/// Jobs and runs returned.
const LISTED: u32 = 5;
/// Models looked at.
const MODELS: u32 = 12;
/// Models with an image returned.
const NEWEST: usize = 4;
/// A model with fewer votes than this needs votes: the 95% interval of its win rate is wider than 40 points.
const ENOUGH_VOTES: i64 = 20;

/// What is going on
///
/// Counts of unfinished jobs, the newest of them, the newest runs, the newest models with an image, and the new models that
/// few votes were cast on.
#[utoipa::path(get, path = path::OVERVIEW, tag = "training", operation_id = "get_overview", responses(
    (status = 200, description = "Counts and short lists.", body = Overview)))]
pub(crate) async fn overview(state: State<AppState>) -> Result<Json<Overview>, ApiError> {
    let activity = state.store.activity().await?;
    let mut jobs = state.store.list_jobs(Some(JobState::Running), LISTED).await?;
    jobs.extend(state.store.list_jobs(Some(JobState::Queued), LISTED).await?);
    jobs.truncate(LISTED as usize);
    let runs = state.store.list_runs(LISTED).await?;
    let Json(Page { items }) = models::list(state.clone(), Query(Limit { limit: Some(MODELS) })).await?;
    let drawn: Vec<ModelSummary> = items
        .into_iter()
        .filter(|summary| summary.problem.is_none() && !summary.samples.is_empty())
        .collect();
    let mut unjudged = Vec::new();
    for ModelSummary { model, .. } in &drawn {
        let counted = record(state.store.model_votes(model.id).await?);
        let votes = counted.wins + counted.losses + counted.ties + counted.both_bad;
        if votes < ENOUGH_VOTES && state.store.is_comparable(model.id).await? {
            let (name, objective) = (model.name.clone(), model.objective.clone());
            unjudged.push((ModelLink { id: model.id, name, objective, step: model.step }, votes));
        }
    }
    Ok(Json(Overview {
        running: activity.running,
        queued: activity.queued,
        models: activity.models,
        jobs,
        runs,
        newest: drawn.into_iter().take(NEWEST).collect(),
        unjudged,
    }))
}
