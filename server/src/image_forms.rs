//! The form of the history on the Generate page: deletes an image, or makes a pair to judge.

use crate::error::ApiError;
use crate::extract::{Form, Id};
use crate::routes::{create_matchup, delete_image};
use crate::state::AppState;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use domain::api::{MatchupRequest, judge_page};
use domain::id::ImageId;
use domain::preference::Question;

/// The routes of the form.
pub(crate) fn image_forms(state: &AppState) -> Router {
    Router::new()
        .route("/images/{id}/delete", post(delete))
        .route("/playground/pair", post(pair))
        .with_state(state.clone())
}

/// The history, with what was wrong.
fn refused(error: ApiError) -> Result<Response, ApiError> {
    let Some(detail) = error.client_error() else { return Err(error) };
    let query =
        form_urlencoded::Serializer::new(String::new()).append_pair("problem", &detail.message).finish();
    Ok(Redirect::to(&format!("/playground?{query}#history")).into_response())
}

/// Deletes an image and goes back to the history.
async fn delete(State(state): State<AppState>, Id(id): Id<ImageId>) -> Result<Response, ApiError> {
    match delete_image(State(state), Id(id)).await {
        Ok(_) => Ok(Redirect::to("/playground#history").into_response()),
        Err(error) => refused(error),
    }
}

/// Makes a pair of the two selected images and goes to the desk of their models.
async fn pair(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let form = Form::read_repeating(request, &state, "image").await?;
    match pair_of(&state, &form).await {
        Ok(address) => Ok(Redirect::to(&address).into_response()),
        Err(error) => refused(error),
    }
}

async fn pair_of(state: &AppState, form: &Form) -> Result<String, ApiError> {
    let chosen: Vec<&str> = form.all("image").collect();
    let [a, b] = chosen[..] else {
        let message = format!("select two images, not {}: a pair has two", chosen.len());
        return Err(ApiError::field("image", message));
    };
    let unknown = || ApiError::field("image", "is not the id of an image: open the page again");
    let ids: [ImageId; 2] = [a.parse().map_err(|_| unknown())?, b.parse().map_err(|_| unknown())?];
    let mut models = Vec::new();
    for id in ids {
        let image = state.store.get_image(id).await?.ok_or_else(unknown)?;
        let model = match image.model_id {
            Some(model) => state.store.get_model(model).await?,
            None => None,
        };
        let name = model.ok_or_else(|| ApiError::field("image", "was drawn by a model that is gone"))?.name;
        if !models.contains(&name) {
            models.push(name);
        }
    }
    let request = MatchupRequest { image_a: ids[0], image_b: ids[1], question: Question::Overall };
    create_matchup(state, &request).await?;
    Ok(judge_page(Question::Overall, &models))
}
