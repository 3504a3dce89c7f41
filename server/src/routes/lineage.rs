//! A run's place among models: what it started from, what started from it, and how its model scores against its base.

use crate::error::ApiError;
use crate::extract::Id;
use crate::routes::runs::find;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{ErrorBody, RunLineage, ScoreAgainstBase, path};
use domain::id::RunId;
use domain::model::Model;
use domain::ranking::win_rate;

/// Models without scores that are passed over in search of one with scores.
const MODELS_LOOKED_AT: usize = 8;

/// Get the lineage of a run
///
/// The model that it started from, the models that other runs made from its models, and the scores of its last evaluated
/// model against its base on images of equal prompts and seeds.
#[utoipa::path(get, path = path::RUN_LINEAGE, tag = "training", operation_id = "get_run_lineage",
    params(("id" = Uuid, Path, description = "Id of the run.")), responses(
    (status = 200, description = "The models around the run.", body = RunLineage),
    (status = 404, description = "There is no such run.", body = ErrorBody)))]
pub(crate) async fn lineage(
    State(state): State<AppState>,
    Id(id): Id<RunId>,
) -> Result<Json<RunLineage>, ApiError> {
    let run = find(&state, id).await?;
    let base = state.store.find_model(&run.spec.base).await?;
    let models = state.store.list_models_of_run(id).await?;
    let descendants = state.store.list_models_from_run(id).await?;
    let scores = match &base {
        Some(base) => scores(&state, id, &models, base).await?,
        None => Vec::new(),
    };
    Ok(Json(RunLineage { base, model: models.into_iter().next_back(), descendants, scores }))
}

async fn scores(
    state: &AppState,
    run: RunId,
    models: &[Model],
    base: &Model,
) -> Result<Vec<ScoreAgainstBase>, ApiError> {
    for model in models.iter().rev().take(MODELS_LOOKED_AT) {
        let paired = state.store.paired_scores(model.id, base.id).await?;
        let scores: Vec<ScoreAgainstBase> = paired
            .into_iter()
            .filter_map(|paired| {
                Some(ScoreAgainstBase {
                    run_id: run,
                    model: model.name.clone(),
                    metric: paired.metric,
                    mean: paired.mean,
                    base_mean: paired.other_mean,
                    win_rate: win_rate(
                        paired.wins,
                        paired.losses,
                        paired.count - paired.wins - paired.losses,
                    )?,
                })
            })
            .collect();
        if !scores.is_empty() {
            return Ok(scores);
        }
    }
    Ok(Vec::new())
}
