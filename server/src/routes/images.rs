//! Images: their records and their bytes.

use crate::error::ApiError;
use crate::extract::{Id, Query};
use crate::routes::limit;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use domain::api::{ErrorBody, Page, path};
use domain::id::{ImageId, ModelId, RunId};
use domain::image::{Image, Purpose};
use serde::Deserialize;
use store::ImageFilter;

/// Which images.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Made by this model.
    #[param(value_type = Option<Uuid>)]
    model: Option<ModelId>,
    /// Samples of this run.
    #[param(value_type = Option<Uuid>)]
    run: Option<RunId>,
    /// `generation`, `evaluation` or `sample`.
    purpose: Option<Purpose>,
    /// Whose prompt contains this.
    prompt: Option<String>,
    /// Older than this image.
    #[param(value_type = Option<Uuid>)]
    before: Option<ImageId>,
    /// At most this many, 1 to 500; 100 when absent.
    limit: Option<u32>,
}

/// Images, newest first
#[utoipa::path(get, path = path::IMAGES, tag = "generation", params(Which), responses(
    (status = 200, body = Page<Image>), (status = 400, body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(which): Query<Which>,
) -> Result<Json<Page<Image>>, ApiError> {
    let at_most = limit(which.limit)?;
    let filter = ImageFilter {
        model_id: which.model,
        run_id: which.run,
        purpose: which.purpose,
        prompt_contains: which.prompt.filter(|text| !text.is_empty()),
        before: which.before,
    };
    Ok(Json(Page { items: state.store.list_images(&filter, at_most).await? }))
}

/// One image's record
#[utoipa::path(get, path = path::IMAGE, tag = "generation", params(("id" = Uuid, Path)), responses(
    (status = 200, body = Image), (status = 404, body = ErrorBody)))]
pub(crate) async fn one(State(state): State<AppState>, Id(id): Id<ImageId>) -> Result<Json<Image>, ApiError> {
    find(&state, id).await.map(Json)
}

/// One image's bytes
#[utoipa::path(get, path = path::IMAGE_FILE, tag = "generation", params(("id" = Uuid, Path)), responses(
    (status = 200, content_type = "image/png", body = Vec<u8>), (status = 404, body = ErrorBody)))]
pub(crate) async fn file(State(state): State<AppState>, Id(id): Id<ImageId>) -> Result<Response, ApiError> {
    let image = find(&state, id).await?;
    // An image never changes under its id.
    bytes(&state, &image, "private, max-age=31536000, immutable").await
}

async fn find(state: &AppState, id: ImageId) -> Result<Image, ApiError> {
    state.store.get_image(id).await?.ok_or_else(|| ApiError::not_found("image"))
}

/// An image's bytes and nothing that tells where they come from.
pub(crate) async fn bytes(
    state: &AppState,
    image: &Image,
    cache: &'static str,
) -> Result<Response, ApiError> {
    let bytes = state.artifacts.get(&image.artifact).await?;
    let bytes = bytes.ok_or_else(|| ApiError::internal(format!("artifact {} is missing", image.artifact)))?;
    Ok(([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, cache)], bytes).into_response())
}
