//! Answers to matchups: votes, one per rater and matchup, skips, and taking back the last of them.

use crate::error::ApiError;
use crate::extract::{Body, Form, Id, Query};
use crate::rater::Rater;
use crate::routes::list_limit::{Limit, limit};
use crate::routes::matchups::{PRELOADED, blind, next_of};
use crate::routes::question::named_models;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use domain::api::{
    BlindMatchup, DeskRequest, ErrorBody, NextMatchup, Page, VoteRecord, VoteRequest, VoteResponse,
    judge_page, path,
};
use domain::id::{MatchupId, RaterId, VoteId};
use domain::preference::{Choice, Matchup, Question, Vote};
use process::ambient;

/// Vote on a matchup
///
/// The response has the next matchup, restricted to `models` of the body, and names the models of this one if the body has
/// `reveal` and no campaign judges them. The cookie `rater` identifies the rater. A request that got no response can be repeated: the vote counts once.
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
    Body(VoteRequest { choice, models, reveal }): Body<VoteRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let models = named_models(&state, models.iter().map(String::as_str)).await?;
    let question = question_of(&state, matchup).await?;
    let vote_id = store_vote(&state, rater.id, matchup, choice).await?;
    let names = if reveal { revealed(&state, matchup).await? } else { None };
    let (left_model, right_model) = names.unzip();
    let next = next_of(&state, rater.id, question, &models).await?;
    let response = VoteResponse { vote_id, choice, left_model, right_model, next };
    Ok((StatusCode::CREATED, rater, Json(response)))
}

/// Skip a matchup
///
/// The rater does not get it again. Skipping twice is no error.
#[utoipa::path(post, path = path::MATCHUP_SKIP, tag = "judging", operation_id = "skip_matchup",
    params(("id" = Uuid, Path, description = "Id of the matchup.")),
    request_body = DeskRequest, responses(
    (status = 200, description = "The rater's next matchup.", body = NextMatchup),
    (status = 404, description = "There is no such matchup.", body = ErrorBody),
    (status = 409, description = "The rater has already voted on this matchup.", body = ErrorBody),
    (status = 422, description = "A model of `models` does not exist.", body = ErrorBody)))]
pub(crate) async fn skip(
    State(state): State<AppState>,
    rater: Rater,
    Id(matchup): Id<MatchupId>,
    Body(DeskRequest { models }): Body<DeskRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let models = named_models(&state, models.iter().map(String::as_str)).await?;
    let question = question_of(&state, matchup).await?;
    state.store.skip_matchup(matchup, rater.id, ambient::now()).await?;
    Ok((rater, Json(next_of(&state, rater.id, question, &models).await?)))
}

/// Take back the last answer
///
/// Only the rater's last vote or skip can be taken back; the matchup is then the next one again. A vote that was taken back is
/// kept on record and counts nowhere.
#[utoipa::path(post, path = path::MATCHUP_UNDO, tag = "judging", operation_id = "undo_answer",
    params(("id" = Uuid, Path, description = "Id of the matchup.")),
    request_body = DeskRequest, responses(
    (status = 200, description = "The matchup, open again.", body = NextMatchup),
    (status = 404, description = "The rater has not answered such a matchup.", body = ErrorBody),
    (status = 409, description = "The rater has answered another matchup since.", body = ErrorBody),
    (status = 422, description = "A model of `models` does not exist.", body = ErrorBody)))]
pub(crate) async fn undo(
    State(state): State<AppState>,
    rater: Rater,
    Id(matchup): Id<MatchupId>,
    Body(DeskRequest { models }): Body<DeskRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let models = named_models(&state, models.iter().map(String::as_str)).await?;
    state.store.undo_answer(matchup, rater.id, None, ambient::now()).await?;
    let reopened = state.store.get_matchup(matchup).await?.ok_or_else(|| ApiError::not_found("matchup"))?;
    let next = next_of(&state, rater.id, reopened.question, &models).await?;
    Ok((rater, Json(first(next, blind(reopened)))))
}

/// Votes, skips or takes back by the form of the Judge page, for browsers without JavaScript.
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
    let models = named_models(&state, form.text("models").split(',')).await?;
    let question = question_of(&state, matchup).await?;
    match form.get("choice") {
        Some("skip") => state.store.skip_matchup(matchup, rater.id, ambient::now()).await?,
        Some("undo") => state.store.undo_answer(matchup, rater.id, None, ambient::now()).await?,
        choice => {
            let choice: Choice = choice
                .ok_or_else(|| "is missing; press one of the buttons".to_owned())
                .and_then(|choice| choice.parse())
                .map_err(|message| ApiError::field("choice", message))?;
            store_vote(&state, rater.id, matchup, choice).await?;
        }
    }
    let names: Vec<String> = models.into_iter().map(|model| model.name).collect();
    Ok((rater, Redirect::to(&judge_page(question, &names))))
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

/// The names of a matchup's models; none if a campaign judges one of them, which raters of the campaign may have seen here.
async fn revealed(state: &AppState, matchup: MatchupId) -> Result<Option<(String, String)>, ApiError> {
    let judged = state.store.models_being_judged().await?;
    let Some(Matchup { left, right, .. }) = state.store.get_matchup(matchup).await? else { return Ok(None) };
    for image in [left, right] {
        let model = state.store.get_image(image).await?.and_then(|image| image.model_id);
        if model.is_none_or(|model| judged.contains(&model)) {
            return Ok(None);
        }
    }
    Ok(state.store.matchup_model_names(matchup).await?)
}

/// The same matchups with this one first.
fn first(mut next: NextMatchup, matchup: BlindMatchup) -> NextMatchup {
    let id = matchup.id;
    let others = next.matchup.replace(matchup).into_iter().chain(std::mem::take(&mut next.upcoming));
    next.upcoming = others.filter(|other| other.id != id).take(PRELOADED).collect();
    next
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
