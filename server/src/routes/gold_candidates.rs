//! Pairs of images that could become pairs with a known answer, proposed by the scores of a metric.

use crate::error::ApiError;
use crate::extract::Query;
use crate::routes::question::named_models;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{ErrorBody, GoldCandidate, Page, path};
use domain::campaign::{GoldPair, MAX_GOLD};
use domain::evaluate::Metric;
use domain::gold::{ScoredImage, clearest};
use domain::id::ModelId;
use serde::Deserialize;
use std::collections::HashMap;

/// Pairs that a list has unless it is asked for another number.
const USUAL: usize = 24;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CandidatesQuery {
    /// Names or ids of models, separated by commas.
    models: String,
    /// The metric whose scores are compared.
    metric: Metric,
    /// Most pairs: 1 to 500; 24 if absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// Propose pairs with a known answer
///
/// Of the evaluation images of these models with equal prompt, seed and settings, the pairs whose scores differ most. Images of
/// models that are being judged are left out.
#[utoipa::path(get, path = path::GOLD_CANDIDATES, tag = "judging", operation_id = "list_gold_candidates",
    params(CandidatesQuery), responses(
    (status = 200, description = "The pairs, the largest difference first.", body = Page<GoldCandidate>),
    (status = 422, description = "A model does not exist, or a field has a value that is not accepted.", body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<CandidatesQuery>,
) -> Result<Json<Page<GoldCandidate>>, ApiError> {
    let limit = query.limit.unwrap_or(USUAL);
    if !(1..=MAX_GOLD).contains(&limit) {
        return Err(ApiError::field("limit", format!("use 1 to {MAX_GOLD}")));
    }
    let judged = state.store.models_being_judged().await?;
    let models = named_models(&state, query.models.split(',')).await?;
    let models: Vec<ModelId> =
        models.into_iter().map(|model| model.id).filter(|model| !judged.contains(model)).collect();
    let items = proposed(&state, &models, query.metric, limit).await?;
    Ok(Json(Page { items }))
}

/// The pairs of these models' images whose scores differ most.
pub(crate) async fn proposed(
    state: &AppState,
    models: &[ModelId],
    metric: Metric,
    count: usize,
) -> Result<Vec<GoldCandidate>, ApiError> {
    let (mut images, mut prompts) = (Vec::new(), HashMap::new());
    for &model in models {
        for scored in state.store.scored_evaluations(model, metric).await? {
            prompts.insert(scored.image, scored.prompt);
            images.push(ScoredImage { params: scored.params, image: scored.image, score: scored.value });
        }
    }
    let candidate = |(difference, GoldPair { better, worse })| GoldCandidate {
        prompt: prompts.get(&better).cloned().unwrap_or_default(),
        better,
        worse,
        difference,
    };
    Ok(clearest(&images, count).into_iter().map(candidate).collect())
}
