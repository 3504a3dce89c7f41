//! Votes: one per rater and matchup.

use crate::error::ApiError;
use crate::extract::{Body, Form, Id, Query};
use crate::rater::Rater;
use crate::routes::list_limit::{Limit, limit};
use crate::routes::matchups::next_of;
use crate::routes::question::named_models;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use domain::api::{ErrorBody, Page, VoteRecord, VoteRequest, VoteResponse, judge_page, path};
use domain::id::{MatchupId, RaterId, VoteId};
use domain::preference::{Choice, Question, Vote};
use process::ambient;

/// Vote on a matchup
///
/// The response names the models and has the next matchup, restricted to `models` of the body. The cookie `rater` identifies the rater.
#[utoipa::path(post, path = path::MATCHUP_VOTE, tag = "judging", operation_id = "vote",
    params(("id" = Uuid, Path, description = "Id of the matchup.")),
    request_body = VoteRequest, responses(
    (status = 201, description = "The vote is counted.", body = VoteResponse),
    (status = 404, description = "There is no such matchup.", body = ErrorBody),
    (status = 409, description = "The rater has already voted on this matchup; the first vote counts.", body = ErrorBody),
    (status = 422, description = "A model of `models` does not exist.", body = ErrorBody)))]
pub(crate) async fn cast(
    State(state): State<AppState>,
    rater: Rater,
    Id(matchup): Id<MatchupId>,
    Body(VoteRequest { choice, models }): Body<VoteRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let models = named_models(&state, models.iter().map(String::as_str)).await?;
    let vote_id = store_vote(&state, rater.id, matchup, choice).await?;
    let names = state.store.matchup_model_names(matchup).await?;
    let (left_model, right_model) = names.ok_or_else(|| ApiError::not_found("matchup"))?;
    let question = question_of(&state, matchup).await?;
    let next = next_of(&state, rater.id, question, &models).await?;
    let response = VoteResponse { vote_id, choice, left_model, right_model, next };
    Ok((StatusCode::CREATED, rater, Json(response)))
}

/// Votes by the form of the Judge page, for browsers without JavaScript.
pub(crate) async fn by_form(
    State(state): State<AppState>,
    rater: Rater,
    request: Request,
) -> Result<impl IntoResponse, ApiError> {
    let form = Form::read(request, &state).await?;
    let matchup: MatchupId = form
        .get("matchup")
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| ApiError::field("matchup", "is not the id of a matchup; open /judge again"))?;
    let choice: Choice = form
        .get("choice")
        .ok_or_else(|| "is missing; press one of the buttons".to_owned())
        .and_then(|choice| choice.parse())
        .map_err(|message| ApiError::field("choice", message))?;
    let models = named_models(&state, form.get("models").unwrap_or_default().split(',')).await?;
    store_vote(&state, rater.id, matchup, choice).await?;
    let names: Vec<String> = models.into_iter().map(|model| model.name).collect();
    Ok((rater, Redirect::to(&judge_page(question_of(&state, matchup).await?, &names))))
}

/// List votes
#[utoipa::path(get, path = path::VOTES, tag = "judging", operation_id = "list_votes", params(Limit), responses(
    (status = 200, description = "Votes, newest first.", body = Page<VoteRecord>),
    (status = 422, description = "`limit` is out of range.", body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<Limit>,
) -> Result<Json<Page<VoteRecord>>, ApiError> {
    Ok(Json(Page { items: state.store.list_votes(limit(query.limit)?).await? }))
}

async fn question_of(state: &AppState, matchup: MatchupId) -> Result<Question, ApiError> {
    let matchup = state.store.get_matchup(matchup).await?;
    Ok(matchup.ok_or_else(|| ApiError::not_found("matchup"))?.question)
}

async fn store_vote(
    state: &AppState,
    rater_id: RaterId,
    matchup_id: MatchupId,
    choice: Choice,
) -> Result<VoteId, ApiError> {
    let created_at = ambient::now();
    let id = VoteId::new(created_at, ambient::entropy());
    state.store.cast_vote(&Vote { id, matchup_id, rater_id, choice, created_at }).await?;
    Ok(id)
}
