//! A model in full: lineage, votes, files, and its deletion.

use crate::error::ApiError;
use crate::extract::{Id, Query};
use crate::routes::models::{self, find};
use crate::state::AppState;
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use catalogue::model_files::{DeletionError, file_within, list_files};
use catalogue::models_folder::is_adapter;
use domain::api::{ErrorBody, ModelDeletion, ModelDetail, ModelLink, ModelRecord, model_page, path};
use domain::id::ModelId;
use domain::model::Model;
use domain::ranking::win_rate;
use serde::Deserialize;
use store::ModelVotes;
use tower_http::services::ServeFile;

fn link(model: Model) -> ModelLink {
    ModelLink { id: model.id, name: model.name, objective: model.objective, step: model.step }
}

pub(super) fn record(votes: ModelVotes) -> ModelRecord {
    let ModelVotes { wins, losses, ties, both_bad } = votes;
    ModelRecord { wins, losses, ties, both_bad, win_rate: win_rate(wins, losses, ties + both_bad) }
}

/// Get a model in full
///
/// Beside what `get_model` returns: the run that made it, what it was trained from and what is trained from it, the votes on
/// its images, its files, and what its deletion would do.
#[utoipa::path(get, path = path::MODEL_DETAIL, tag = "training", operation_id = "get_model_detail",
    params(("id" = Uuid, Path, description = "Id of the model.")), responses(
    (status = 200, description = "The model in full.", body = ModelDetail),
    (status = 404, description = "There is no such model.", body = ErrorBody)))]
pub(crate) async fn detail(
    state: State<AppState>,
    Id(id): Id<ModelId>,
) -> Result<Json<ModelDetail>, ApiError> {
    let model = find(&state, id).await?;
    let Json(summary) = models::one(state.clone(), Id(id)).await?;
    let store = &state.store;
    let (run, checkpoints) = match model.run_id {
        Some(run) => {
            (store.get_run(run).await?.map(|run| (run.id, run.name)), store.list_models_of_run(run).await?)
        }
        None => (None, Vec::new()),
    };
    let (files, is_adapter) = match state.catalogue.folder(&model) {
        Ok(folder) => {
            let listed = tokio::task::spawn_blocking(move || (list_files(&folder), is_adapter(&folder)));
            listed.await.map_err(ApiError::internal)?
        }
        // The summary says why.
        Err(_) => (Vec::new(), false),
    };
    // A base that was deleted by hand: the summary says so.
    let ancestors = store.list_ancestors(&model).await.unwrap_or_default();
    Ok(Json(ModelDetail {
        is_adapter,
        run,
        ancestors: ancestors.into_iter().map(link).collect(),
        derived: store.list_derived(id).await?.into_iter().map(link).collect(),
        checkpoints: checkpoints.into_iter().map(link).collect(),
        record: record(store.model_votes(id).await?),
        deletion: ModelDeletion {
            blocked_by: blocked_by(&state, &model).await?,
            images: store.count_model_images(id).await?,
            bytes: files.iter().map(|file| file.bytes).sum(),
        },
        files,
        summary,
    }))
}

/// What breaks without a model.
async fn blocked_by(state: &AppState, model: &Model) -> Result<Vec<String>, ApiError> {
    let mut uses = state.catalogue.uses_of(model).await?;
    if models::default_model(state).await?.is_some_and(|default| default.id == model.id) {
        uses.push("requests that name no model: it is the default".to_owned());
    }
    Ok(uses)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FileQuery {
    /// Path of the file in the model's folder, as the model's detail lists it.
    #[param(example = "unet/config.json")]
    path: String,
}

/// Get a file of a model
///
/// Files can be fetched in ranges. The files of a folder in diffusers layout, with the same paths, are the model; what it
/// lacks is in its base.
#[utoipa::path(get, path = path::MODEL_FILE, tag = "training", operation_id = "get_model_file",
    params(("id" = Uuid, Path, description = "Id of the model."), FileQuery), responses(
    (status = 200, description = "The file.", content_type = "application/octet-stream", body = super::file_schema::File),
    (status = 206, description = "The requested range of the file.", content_type = "application/octet-stream", body = super::file_schema::File),
    (status = 404, description = "There is no such model or file.", body = ErrorBody)))]
pub(crate) async fn file(
    State(state): State<AppState>,
    Id(id): Id<ModelId>,
    Query(FileQuery { path: file }): Query<FileQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let missing = || ApiError::not_found("file of this model; the model's detail lists its files");
    let model = find(&state, id).await?;
    let folder = state.catalogue.folder(&model)?;
    let path = file_within(&folder, &file).ok_or_else(missing)?;
    let mut response =
        ServeFile::new(path).try_call(request).await.map_err(ApiError::internal)?.map(Body::new);
    let name: String = format!("{}-{}", model.name, file.replace('/', "-"))
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .collect();
    let headers = response.headers_mut();
    let attachment =
        HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")).map_err(ApiError::internal)?;
    headers.insert(header::CONTENT_DISPOSITION, attachment);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// Delete a model
///
/// Deletes the model with its files and images. The samples of its run stay. A model that something depends on is not
/// deleted: a model that is trained from it, an unfinished job or running study that names it, or votes on its images.
#[utoipa::path(delete, path = path::MODEL, tag = "training", operation_id = "delete_model",
    params(("id" = Uuid, Path, description = "Id of the model.")), responses(
    (status = 200, description = "The model, which is deleted.", body = Model),
    (status = 404, description = "There is no such model.", body = ErrorBody),
    (status = 409, description = "Something depends on the model. The message names it.", body = ErrorBody)))]
pub(crate) async fn delete(
    State(state): State<AppState>,
    Id(id): Id<ModelId>,
) -> Result<Json<Model>, ApiError> {
    let model = find(&state, id).await?;
    let uses = blocked_by(&state, &model).await?;
    if !uses.is_empty() {
        return Err(ApiError::in_use(&model.name, &uses));
    }
    match state.catalogue.delete_model(&model).await {
        Ok(()) => Ok(Json(model)),
        Err(DeletionError::InUse(uses)) => Err(ApiError::in_use(&model.name, &uses)),
        Err(DeletionError::Model(error)) => Err(error.into()),
        Err(DeletionError::Store(error)) => Err(error.into()),
        Err(error @ DeletionError::Folder(_)) => Err(ApiError::internal(error)),
    }
}

/// Deletes a model by the form of its page. If something depends on it, its page says what.
pub(crate) async fn delete_by_form(
    state: State<AppState>,
    Id(id): Id<ModelId>,
) -> Result<Response, ApiError> {
    match delete(state, Id(id)).await {
        Ok(_) => Ok(Redirect::to("/models").into_response()),
        Err(error) if error.status() == StatusCode::CONFLICT => {
            Ok(Redirect::to(&model_page(id)).into_response())
        }
        Err(error) => Err(error),
    }
}
