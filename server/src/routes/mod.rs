//! One file per resource. A route and its documentation are registered together, so that neither is without the other.

mod agreement;
mod datasets;
mod generate;
mod health;
mod images;
mod jobs;
mod leaderboard;
mod matchups;
mod models;
mod runs;
mod votes;
mod votes_export;

use crate::error::ApiError;
use crate::state::AppState;
use axum::routing::get;
use axum::{Json, Router};
use domain::api::{ErrorBody, path};
use domain::data::VotesPer;
use domain::limits::{DEFAULT_LIST_LENGTH, MAX_LIST_LENGTH};
use domain::preference::Question;
use serde::Deserialize;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use votes::by_form as vote_by_form;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Diff-contrast",
        description = "Train text-to-image models on human preferences, generate with them, judge and rank them."
    ),
    components(schemas(ErrorBody, Question, VotesPer, votes_export::Format, votes_export::Ties)),
    tags(
        (name = "generation", description = "Images from prompts"),
        (name = "training", description = "Jobs, runs and the models they make"),
        (name = "data", description = "Sets of preference pairs"),
        (name = "judging", description = "Matchups, votes and ratings"),
        (name = "operation", description = "Is it up?"),
    )
)]
struct Document;

/// The whole API. Pages ask this very router, without a socket.
pub(crate) fn api(state: AppState) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(generate::by_query, generate::by_body))
        .routes(routes!(jobs::list, jobs::submit))
        .routes(routes!(jobs::one))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::report))
        .routes(routes!(runs::list))
        .routes(routes!(runs::one))
        .routes(routes!(runs::metrics))
        .routes(routes!(runs::samples))
        .routes(routes!(models::list))
        .routes(routes!(models::one))
        .routes(routes!(images::list))
        .routes(routes!(images::one))
        .routes(routes!(images::file))
        .routes(routes!(matchups::create))
        .routes(routes!(matchups::next))
        .routes(routes!(matchups::side))
        .routes(routes!(votes::cast))
        .routes(routes!(votes::list))
        .routes(routes!(votes_export::export))
        .routes(routes!(datasets::list))
        .routes(routes!(datasets::pairs))
        .routes(routes!(datasets::one))
        .routes(routes!(datasets::image))
        .routes(routes!(leaderboard::leaderboard))
        .routes(routes!(agreement::agreement))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .split_for_parts();
    router
        .route(path::OPENAPI, get(move || async move { Json(document) }))
        .method_not_allowed_fallback(|| async { ApiError::method() })
        .with_state(state)
}

/// `?limit=`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Limit {
    /// At most this many, 1 to 500; 100 when absent.
    limit: Option<u32>,
}

/// `?question=`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// What raters are asked: `overall` (the default), `appeal` or `alignment`.
    #[serde(default)]
    question: Question,
}

/// The limit asked for, if it can be accepted.
fn limit(asked: Option<u32>) -> Result<u32, ApiError> {
    match asked.unwrap_or(DEFAULT_LIST_LENGTH) {
        limit @ 1..=MAX_LIST_LENGTH => Ok(limit),
        other => Err(ApiError::field("limit", format!("{other} is not between 1 and {MAX_LIST_LENGTH}"))),
    }
}
