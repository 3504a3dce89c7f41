//! Sets of pairs, to be looked at before anybody trains on them.

use crate::error::ApiError;
use crate::extract::Query;
use crate::routes::limit;
use crate::shelf::{Found, Shelved, Wanted};
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use datasets::pair::PreferencePair;
use domain::api::{DatasetPair, DatasetPairs, DatasetSummary, ErrorBody, Page, path};
use serde::Deserialize;

/// Pairs on a page when nobody says how many.
const USUAL: u32 = 24;

/// Which pairs.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// From this place on; 0 when absent.
    from: Option<u64>,
    /// Whose prompt contains this; the case of letters is ignored.
    prompt: Option<String>,
    /// One of whose models has this in its name.
    model: Option<String>,
    /// At most this many, 1 to 500; 24 when absent.
    limit: Option<u32>,
}

/// Sets of pairs
#[utoipa::path(get, path = path::DATASETS, tag = "data", responses((status = 200, body = Page<DatasetSummary>)))]
pub(crate) async fn list(State(state): State<AppState>) -> Result<Json<Page<DatasetSummary>>, ApiError> {
    let sets = state.shelf.all(&state.store).await?;
    let items = blocking(move || sets.iter().map(|(name, set)| set.summary(name)).collect()).await?;
    Ok(Json(Page { items }))
}

/// Pairs of a set
///
/// In the order in which they are trained on. At most 5000 pairs are read through for one answer; `next` says where to
/// go on.
#[utoipa::path(get, path = path::DATASET_PAIRS, tag = "data", params(("name" = String, Path), Which), responses(
    (status = 200, body = DatasetPairs), (status = 404, body = ErrorBody),
    (status = 503, description = "The set cannot be read", body = ErrorBody)))]
pub(crate) async fn pairs(
    State(state): State<AppState>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<DatasetPairs>, ApiError> {
    let wanted = Wanted {
        from: which.from.unwrap_or(0),
        at_most: limit(Some(which.limit.unwrap_or(USUAL)))? as usize,
        prompt: which.prompt.filter(|text| !text.is_empty()),
        model: which.model,
    };
    let set = find(&state, &name).await?;
    let (set, found) = read(set, wanted).await?;
    let (pairs, next, report) = found.map_err(ApiError::unavailable)?;
    state.shelf.keep(&name, &pairs);
    let items = pairs.iter().map(|(index, pair)| described(&name, *index, pair)).collect();
    Ok(Json(DatasetPairs { dataset: set.summary(&name), items, next, report }))
}

/// One pair
#[utoipa::path(get, path = path::DATASET_PAIR, tag = "data", params(("name" = String, Path), ("index" = u64, Path)),
    responses((status = 200, body = DatasetPair), (status = 404, body = ErrorBody)))]
pub(crate) async fn one(
    State(state): State<AppState>,
    Path((name, index)): Path<(String, String)>,
) -> Result<Json<DatasetPair>, ApiError> {
    let index = place(&index)?;
    let pair = pair(&state, &name, index).await?;
    Ok(Json(described(&name, index, &pair)))
}

/// One image of a pair
#[utoipa::path(get, path = path::DATASET_IMAGE, tag = "data",
    params(("name" = String, Path), ("index" = u64, Path), ("side" = String, Path, description = "`winner` or `loser`")),
    responses((status = 200, description = "PNG or JPEG", body = Vec<u8>), (status = 404, body = ErrorBody)))]
pub(crate) async fn image(
    State(state): State<AppState>,
    Path((name, index, side)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let index = place(&index)?;
    let pair = pair(&state, &name, index).await?;
    let mut bytes = match side.as_str() {
        "winner" => pair.winner,
        "loser" => pair.loser,
        _ => return Err(ApiError::not_found("side of a pair")),
    };
    if name == "votes" {
        // What stands for a vote's image is its artifact.
        let artifact = std::str::from_utf8(&bytes).map_err(ApiError::internal)?;
        bytes = state.artifacts.get(artifact).await?.map(Bytes::from).unwrap_or_default();
    }
    // Whatever else a set holds is not handed to a browser.
    let kind = match &bytes[..] {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xFF, 0xD8, 0xFF, ..] => "image/jpeg",
        _ => return Err(ApiError::not_found("PNG or JPEG image on this side of the pair")),
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "private, max-age=60")];
    Ok((headers, bytes).into_response())
}

fn place(index: &str) -> Result<u64, ApiError> {
    index.parse().map_err(|_| ApiError::not_found("pair: pairs are counted from 0"))
}

async fn find(state: &AppState, name: &str) -> Result<Shelved, ApiError> {
    state.shelf.find(&state.store, name).await?.ok_or_else(|| ApiError::not_found("set"))
}

async fn read(set: Shelved, wanted: Wanted) -> Result<(Shelved, Result<Found, String>), ApiError> {
    blocking(move || {
        let found = set.pairs(&wanted);
        (set, found)
    })
    .await
}

async fn pair(state: &AppState, name: &str, index: u64) -> Result<PreferencePair, ApiError> {
    if let Some(pair) = state.shelf.kept(name, index) {
        return Ok(pair);
    }
    let wanted = Wanted { from: index, at_most: 1, ..Wanted::default() };
    let (_, found) = read(find(state, name).await?, wanted).await?;
    let (pairs, ..) = found.map_err(ApiError::unavailable)?;
    state.shelf.keep(name, &pairs);
    let found = pairs.into_iter().find(|(place, _)| *place == index);
    found.map(|(_, pair)| pair).ok_or_else(|| ApiError::not_found("pair"))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)
}

fn described(name: &str, index: u64, pair: &PreferencePair) -> DatasetPair {
    let url = |side: &str| {
        let address = path::DATASET_IMAGE.replace("{name}", name).replace("{index}", &index.to_string());
        address.replace("{side}", side)
    };
    DatasetPair {
        index,
        prompt: pair.prompt.clone(),
        source: pair.source.to_string(),
        models: pair.models.clone(),
        winner_url: url("winner"),
        loser_url: (!pair.loser.is_empty()).then(|| url("loser")),
    }
}
