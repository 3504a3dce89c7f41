//! Images: records and files.

use crate::error::ApiError;
use crate::extract::{Id, Query};
use crate::routes::file_schema::File;
use crate::routes::list_limit::limit;
use crate::routes::withheld::{is_judged, without_metadata};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::api::{ErrorBody, Page, path};
use domain::id::{ImageId, ModelId, RunId};
use domain::image::{Image, Purpose};
use serde::Deserialize;
use store::ImageFilter;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImageQuery {
    /// Only images of this model.
    #[param(value_type = Option<Uuid>)]
    model: Option<ModelId>,
    /// Only sample images of this run.
    #[param(value_type = Option<Uuid>)]
    run: Option<RunId>,
    /// Only images generated for this purpose.
    purpose: Option<Purpose>,
    /// Only images whose prompt contains this text, ignoring case.
    prompt: Option<String>,
    /// Only images older than the one with this id; use the last id of a page to get the next one.
    #[param(value_type = Option<Uuid>)]
    before: Option<ImageId>,
    /// Most items to return.
    #[param(default = 100, minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// List images
///
/// Without those that would tell raters of a campaign, while it is not closed, which model made what they judge.
#[utoipa::path(get, path = path::IMAGES, tag = "generation", operation_id = "list_images", params(ImageQuery), responses(
    (status = 200, description = "Records of images, newest first.", body = Page<Image>),
    (status = 422, description = "`limit` is out of range.", body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<ImageQuery>,
) -> Result<Json<Page<Image>>, ApiError> {
    let at_most = limit(query.limit)?;
    let filter = ImageFilter {
        model_id: query.model,
        run_id: query.run,
        purpose: query.purpose,
        prompt_contains: query.prompt.filter(|text| !text.is_empty()),
        before: query.before,
        without_judged: true,
    };
    Ok(Json(Page { items: state.store.list_images(&filter, at_most).await? }))
}

/// Get the record of an image
#[utoipa::path(get, path = path::IMAGE, tag = "generation", operation_id = "get_image",
    params(("id" = Uuid, Path, description = "Id of the image.")), responses(
    (status = 200, description = "How the image was generated.", body = Image),
    (status = 404, description = "There is no such image.", body = ErrorBody)))]
pub(crate) async fn one(State(state): State<AppState>, Id(id): Id<ImageId>) -> Result<Json<Image>, ApiError> {
    find(&state, id).await.map(Json)
}

/// Delete an image
///
/// Of those that were requested: samples of runs and images of evaluations stay. A matchup of it that nobody has judged goes with
/// it.
#[utoipa::path(delete, path = path::IMAGE, tag = "generation", operation_id = "delete_image",
    params(("id" = Uuid, Path, description = "Id of the image.")), responses(
    (status = 204, description = "The image is deleted."),
    (status = 404, description = "There is no such image.", body = ErrorBody),
    (status = 409, description = "The image is in use, or was not requested.", body = ErrorBody)))]
pub(crate) async fn delete(
    State(state): State<AppState>,
    Id(id): Id<ImageId>,
) -> Result<StatusCode, ApiError> {
    find(&state, id).await?;
    if state.catalogue.delete_requested_image(id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("image"))
    }
}

/// Get the file of an image
#[utoipa::path(get, path = path::IMAGE_FILE, tag = "generation", operation_id = "get_image_file",
    params(("id" = Uuid, Path, description = "Id of the image.")), responses(
    (status = 200, description = "The PNG file.", content_type = "image/png", body = File),
    (status = 404, description = "There is no such image.", body = ErrorBody)))]
pub(crate) async fn file(State(state): State<AppState>, Id(id): Id<ImageId>) -> Result<Response, ApiError> {
    let image = find(&state, id).await?;
    // Clients may cache the file forever: the image of an id never changes.
    bytes(&state, &image, "private, max-age=31536000, immutable").await
}

async fn find(state: &AppState, id: ImageId) -> Result<Image, ApiError> {
    let image = state.store.get_image(id).await?.ok_or_else(|| ApiError::not_found("image"))?;
    match image.model_id {
        Some(model) if is_judged(state, model, &image.params.prompt).await? => {
            Err(ApiError::withheld("This image"))
        }
        _ => Ok(image),
    }
}

/// The PNG file of an image without its metadata and without headers that identify its model: for raters.
pub(crate) async fn blind_bytes(state: &AppState, image: &Image) -> Result<Response, ApiError> {
    let bytes = state.artifacts.get(&image.artifact).await?;
    let bytes = bytes.ok_or_else(|| ApiError::internal(format!("artifact {} is missing", image.artifact)))?;
    let headers = [(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "private, max-age=3600")];
    Ok((headers, without_metadata(&bytes)).into_response())
}

/// The PNG file of an image. `cache` is the value of `Cache-Control`.
pub(crate) async fn bytes(
    state: &AppState,
    image: &Image,
    cache: &'static str,
) -> Result<Response, ApiError> {
    let bytes = state.artifacts.get(&image.artifact).await?;
    let bytes = bytes.ok_or_else(|| ApiError::internal(format!("artifact {} is missing", image.artifact)))?;
    Ok(([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, cache)], bytes).into_response())
}
