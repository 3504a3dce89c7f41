//! Matchups: two images of one prompt, shown to a rater without naming the models.

use crate::error::ApiError;
use crate::extract::{Body, Query};
use crate::judged::draw_order;
use crate::rater::Rater;
use crate::routes::comparisons::drawing_of;
use crate::routes::file_schema::File;
use crate::routes::images;
use crate::routes::question::{DeskQuery, named_models};
use crate::routes::withheld::is_judged;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::api::{BlindMatchup, ErrorBody, MatchupRequest, NextMatchup, path};
use domain::id::{MatchupId, ModelId, RaterId};
use domain::model::Model;
use domain::preference::{Matchup, Question};
use process::ambient;
use rand::Rng;

/// Matchups after the next one that a response announces, so that their images are loaded when they are shown.
pub(crate) const PRELOADED: usize = 2;

/// Create a matchup of two images
///
/// The images must have the same prompt. The server draws at random which one is on the left. Every
/// rater may judge the matchup.
#[utoipa::path(post, path = path::MATCHUPS, tag = "judging", operation_id = "create_matchup",
    request_body = MatchupRequest,
    responses(
    (status = 201, description = "The matchup.", body = BlindMatchup),
    (status = 422, description = "An image does not exist, or the images cannot be compared.", body = ErrorBody)))]
pub(crate) async fn create(
    State(state): State<AppState>,
    Body(request): Body<MatchupRequest>,
) -> Result<impl IntoResponse, ApiError> {
    Ok((StatusCode::CREATED, Json(blind(make(&state, &request).await?))))
}

/// Creates a matchup of two images of which none is judged in a campaign.
pub(crate) async fn make(state: &AppState, request: &MatchupRequest) -> Result<Matchup, ApiError> {
    for id in [request.image_a, request.image_b] {
        if let Some(image) = state.store.get_image(id).await?
            && let Some(model) = image.model_id
            && is_judged(state, model, &image.params.prompt).await?
        {
            return Err(ApiError::withheld("This image"));
        }
    }
    let (now, mut generator) = (ambient::now(), ambient::generator());
    let made =
        state.store.create_matchup(request.image_a, request.image_b, request.question, now, &mut generator);
    Ok(made.await?)
}

/// Get the next matchup
///
/// The same matchup until the rater has judged it. `models` restricts it to these models, and the response then has the
/// progress of the job that draws their images. The cookie `rater` identifies the rater; a response to a request
/// without it sets it.
#[utoipa::path(get, path = path::MATCHUP_NEXT, tag = "judging", operation_id = "get_next_matchup", params(DeskQuery), responses(
    (status = 200, description = "The matchup, or none if the rater has judged all of them.", body = NextMatchup),
    (status = 422, description = "A model does not exist.", body = ErrorBody)))]
pub(crate) async fn next(
    State(state): State<AppState>,
    rater: Rater,
    Query(DeskQuery { question, models }): Query<DeskQuery>,
) -> Result<(Rater, Json<NextMatchup>), ApiError> {
    let models = named_models(&state, models.split(',')).await?;
    Ok((rater, Json(next_of(&state, rater.id, question, &models).await?)))
}

/// Get an image of a matchup
///
/// Neither the address nor the response identifies the model.
#[utoipa::path(get, path = path::MATCHUP_SIDE, tag = "judging", operation_id = "get_matchup_image",
    params(
        ("id" = Uuid, Path, description = "Id of the matchup."),
        ("side" = String, Path, description = "`left` or `right`.", pattern = "^(left|right)$"),
    ),
    responses(
        (status = 200, description = "The PNG file.", content_type = "image/png", body = File),
        (status = 403, description = "A campaign judges images of its model.", body = ErrorBody),
        (status = 404, description = "There is no such matchup or side.", body = ErrorBody)))]
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
    // A list of earlier votes may name the models of an earlier matchup.
    if let Some(model) = image.model_id
        && is_judged(&state, model, &image.params.prompt).await?
    {
        return Err(ApiError::withheld("This image"));
    }
    images::blind_bytes(&state, &image).await
}

/// The next matchup of a rater, of these models unless there are none, and the number of votes the rater has cast.
pub(crate) async fn next_of(
    state: &AppState,
    rater: RaterId,
    question: Question,
    models: &[Model],
) -> Result<NextMatchup, ApiError> {
    let mut generator = ambient::generator();
    // Read before the images: if the job ends in between, the images of its end are found.
    let drawing = drawing_of(state, models).await?;
    let only: Vec<ModelId> = models.iter().map(|model| model.id).collect();
    let order = draw_order(state, question, only.len(), generator.random()).await?;
    let (store, now) = (&state.store, ambient::now());
    let matchups =
        store.upcoming_matchups(&order, rater, question, &only, 1 + PRELOADED, now, &mut generator).await?;
    let mut matchups = matchups.into_iter().map(blind);
    Ok(NextMatchup {
        matchup: matchups.next(),
        upcoming: matchups.collect(),
        last: store.last_answered(rater, None).await?,
        question,
        models: models.iter().map(|model| model.name.clone()).collect(),
        drawing,
        votes_cast: state.store.count_votes(rater).await?,
        campaign: None,
    })
}

/// A matchup without anything that identifies its models.
pub(crate) fn blind(matchup: Matchup) -> BlindMatchup {
    let side =
        |side: &str| path::MATCHUP_SIDE.replace("{id}", &matchup.id.to_string()).replace("{side}", side);
    BlindMatchup {
        more_urls: Vec::new(),
        id: matchup.id,
        question: matchup.question,
        left_url: side("left"),
        right_url: side("right"),
        prompt: matchup.prompt,
    }
}
