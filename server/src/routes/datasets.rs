//! Data sets and their pairs, for browsing.

use crate::error::ApiError;
use crate::extract::Query;
use crate::routes::limit;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use catalogue::dataset::{Dataset, PairPage, PairQuery};
use datasets::pair::PreferencePair;
use domain::api::{DatasetPair, DatasetPairs, DatasetSummary, ErrorBody, Page, path};
use serde::Deserialize;

/// Default number of pairs on a page.
const DEFAULT_LIMIT: u32 = 24;

/// The query of a page of pairs.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PairsQuery {
    /// Index of the first pair; 0 when absent.
    from: Option<u64>,
    /// Only pairs whose prompt contains this text, whatever its case.
    prompt: Option<String>,
    /// Only pairs of a model whose name contains this text.
    model: Option<String>,
    /// Pairs on a page, 1 to 500; 24 when absent.
    limit: Option<u32>,
}

/// Data sets
#[utoipa::path(get, path = path::DATASETS, tag = "data", responses((status = 200, body = Page<DatasetSummary>)))]
pub(crate) async fn list(State(state): State<AppState>) -> Result<Json<Page<DatasetSummary>>, ApiError> {
    let sets = state.datasets.all(&state.store).await?;
    let items = blocking(move || sets.iter().map(|(name, set)| set.summary(name)).collect()).await?;
    Ok(Json(Page { items }))
}

/// Pairs of a set
///
/// In the order of training. A request reads at most 5000 pairs; `next` is the index at which the next page starts.
#[utoipa::path(get, path = path::DATASET_PAIRS, tag = "data", params(("name" = String, Path), PairsQuery), responses(
    (status = 200, body = DatasetPairs), (status = 404, body = ErrorBody),
    (status = 503, description = "The set cannot be read", body = ErrorBody)))]
pub(crate) async fn pairs(
    State(state): State<AppState>,
    Path(name): Path<String>,
    Query(which): Query<PairsQuery>,
) -> Result<Json<DatasetPairs>, ApiError> {
    let query = PairQuery {
        from: which.from.unwrap_or(0),
        at_most: limit(Some(which.limit.unwrap_or(DEFAULT_LIMIT)))? as usize,
        prompt: which.prompt.filter(|text| !text.is_empty()),
        model: which.model,
    };
    let set = find(&state, &name).await?;
    let (set, found) = read(set, query).await?;
    let (pairs, next, report) = found.map_err(ApiError::unavailable)?;
    state.datasets.cache(&name, &pairs);
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
    let index = parse_index(&index)?;
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
    let index = parse_index(&index)?;
    let pair = pair(&state, &name, index).await?;
    let mut bytes = match side.as_str() {
        "winner" => pair.winner,
        "loser" => pair.loser,
        _ => return Err(ApiError::not_found("side of a pair")),
    };
    if name == "votes" {
        // A pair of votes holds artifact keys in place of image bytes.
        let artifact = std::str::from_utf8(&bytes).map_err(ApiError::internal)?;
        bytes = state.artifacts.get(artifact).await?.map(Bytes::from).unwrap_or_default();
    }
    // Only images are sent to a browser, whatever the set holds.
    let kind = match &bytes[..] {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xFF, 0xD8, 0xFF, ..] => "image/jpeg",
        _ => return Err(ApiError::not_found("PNG or JPEG image on this side of the pair")),
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "private, max-age=60")];
    Ok((headers, bytes).into_response())
}

fn parse_index(index: &str) -> Result<u64, ApiError> {
    index.parse().map_err(|_| ApiError::not_found("pair (indices start at 0)"))
}

async fn find(state: &AppState, name: &str) -> Result<Dataset, ApiError> {
    state.datasets.find(&state.store, name).await?.ok_or_else(|| ApiError::not_found("set"))
}

async fn read(set: Dataset, query: PairQuery) -> Result<(Dataset, Result<PairPage, String>), ApiError> {
    blocking(move || {
        let found = set.pairs(&query);
        (set, found)
    })
    .await
}

async fn pair(state: &AppState, name: &str, index: u64) -> Result<PreferencePair, ApiError> {
    if let Some(pair) = state.datasets.cached(name, index) {
        return Ok(pair);
    }
    let query = PairQuery { from: index, at_most: 1, ..PairQuery::default() };
    let (_, found) = read(find(state, name).await?, query).await?;
    let (pairs, ..) = found.map_err(ApiError::unavailable)?;
    state.datasets.cache(name, &pairs);
    let found = pairs.into_iter().find(|(at, _)| *at == index);
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
