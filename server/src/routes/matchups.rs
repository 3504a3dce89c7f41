//! What a rater sees: two images of a prompt, and nothing of the models.

use crate::error::ApiError;
use crate::extract::{Body, Query};
use crate::rater::Rater;
use crate::routes::{Asked, images};
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::api::{BlindMatchup, ErrorBody, MatchupRequest, NextMatchup, path};
use domain::id::{MatchupId, RaterId};
use domain::preference::{Matchup, Question};
use process::ambient;

/// Make a matchup of two images
///
/// Of one prompt by two models. The server decides at random who is on the left; anybody may judge it.
#[utoipa::path(post, path = path::MATCHUPS, tag = "judging", request_body = MatchupRequest, responses(
    (status = 201, body = BlindMatchup), (status = 422, body = ErrorBody)))]
pub(crate) async fn create(
    State(state): State<AppState>,
    Body(request): Body<MatchupRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let (now, mut generator) = (ambient::now(), ambient::generator());
    let matchup = state
        .store
        .create_matchup(request.image_a, request.image_b, request.question, now, &mut generator)
        .await?;
    Ok((StatusCode::CREATED, Json(blind(matchup))))
}

/// What to judge next
///
/// The same until it is judged. The cookie `rater` tells who asks.
#[utoipa::path(get, path = path::MATCHUP_NEXT, tag = "judging", params(Asked),
    responses((status = 200, body = NextMatchup)))]
pub(crate) async fn next(
    State(state): State<AppState>,
    rater: Rater,
    Query(Asked { question }): Query<Asked>,
) -> Result<(Rater, Json<NextMatchup>), ApiError> {
    Ok((rater, Json(next_of(&state, rater.id, question).await?)))
}

/// One side's bytes
#[utoipa::path(get, path = path::MATCHUP_SIDE, tag = "judging",
    params(("id" = Uuid, Path), ("side" = String, Path, description = "`left` or `right`")),
    responses((status = 200, content_type = "image/png", body = Vec<u8>), (status = 404, body = ErrorBody)))]
pub(crate) async fn side(
    State(state): State<AppState>,
    Path((id, side)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let missing = || ApiError::not_found("side of a matchup");
    let id: MatchupId = id.parse().map_err(|_| missing())?;
    let matchup = state.store.get_matchup(id).await?.ok_or_else(missing)?;
    let image = match side.as_str() {
        "left" => matchup.left,
        "right" => matchup.right,
        _ => return Err(missing()),
    };
    let image = state.store.get_image(image).await?.ok_or_else(missing)?;
    images::bytes(&state, &image, "private, max-age=3600").await
}

/// What a rater judges next, and how much they have judged.
pub(crate) async fn next_of(
    state: &AppState,
    rater: RaterId,
    question: Question,
) -> Result<NextMatchup, ApiError> {
    let mut generator = ambient::generator();
    let matchup = state.store.next_matchup(rater, question, &[], ambient::now(), &mut generator).await?;
    Ok(NextMatchup {
        matchup: matchup.map(blind),
        question,
        votes_cast: state.store.count_votes(rater).await?,
    })
}

fn blind(matchup: Matchup) -> BlindMatchup {
    let side =
        |side: &str| path::MATCHUP_SIDE.replace("{id}", &matchup.id.to_string()).replace("{side}", side);
    BlindMatchup {
        id: matchup.id,
        question: matchup.question,
        left_url: side("left"),
        right_url: side("right"),
        prompt: matchup.prompt,
    }
}
