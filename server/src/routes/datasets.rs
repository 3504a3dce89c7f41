//! Datasets and their pairs, for browsing.

use crate::error::ApiError;
use crate::extract::Query;
use crate::routes::file_schema::File;
use crate::routes::list_limit::limit;
use crate::routes::withheld::shown;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use catalogue::dataset::{Dataset, PairPage, PairQuery};
use catalogue::dataset_catalogue::VOTES;
use catalogue::images::png;
use datasets::decode::{decode, media_type};
use datasets::pair::PreferencePair;
use domain::api::{DatasetPair, DatasetPairs, DatasetSummary, ErrorBody, Page, path};
use serde::Deserialize;
use std::sync::Arc;

/// Pairs of a request without `limit`.
const DEFAULT_LIMIT: u32 = 24;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PairsQuery {
    /// Index of the first pair.
    #[param(default = 0)]
    from: Option<u64>,
    /// Only pairs whose prompt contains this text, ignoring case.
    prompt: Option<String>,
    /// Only pairs where the name of one of the models contains this text, ignoring case.
    model: Option<String>,
    /// Most items to return.
    #[param(default = 24, minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Only pairs whose label the bundled world's rule disputes: the loser shows what the prompt states, and the winner does not.
    #[serde(default)]
    #[param(default = false)]
    disputed: bool,
}

/// Pairs that the list of sets shows of each.
const EXAMPLES: usize = 3;

/// List datasets
#[utoipa::path(get, path = path::DATASETS, tag = "data", operation_id = "list_datasets", responses(
    (status = 200, description = "The bundled datasets, the votes, and the folders of the datasets folder.", body = Page<DatasetSummary>),
    (status = 503, description = "Too many requests read data sets. `Retry-After` says when to retry.", body = ErrorBody)))]
pub(crate) async fn list(State(state): State<AppState>) -> Result<Json<Page<DatasetSummary>>, ApiError> {
    let datasets = state.datasets.all(&state.store).await?;
    let cache = Arc::clone(&state.datasets);
    let items = state
        .browsing
        .run(move |wanted| {
            let of = |(name, dataset): &(String, Dataset)| {
                let query = PairQuery { at_most: EXAMPLES, ..PairQuery::default() };
                // A set that cannot be read has its problem in the summary.
                let first = dataset.pairs(&query, wanted).map(|(pairs, ..)| pairs).unwrap_or_default();
                cache.cache(name, &first);
                let examples = first.iter().map(|(index, pair)| summary(name, *index, pair)).collect();
                DatasetSummary { examples, ..dataset.summary(name) }
            };
            datasets.iter().take_while(|_| wanted()).map(of).collect()
        })
        .await?;
    Ok(Json(Page { items }))
}

/// List the pairs of a dataset
///
/// A request searches at most 5000 pairs, and 1 GB of images. `next` is the index at which the next page starts.
#[utoipa::path(get, path = path::DATASET_PAIRS, tag = "data", operation_id = "list_pairs",
    params(("name" = String, Path, description = "Name of the dataset."), PairsQuery), responses(
    (status = 200, description = "Pairs in the order of training, and counts of skipped rows.", body = DatasetPairs),
    (status = 404, description = "There is no such dataset.", body = ErrorBody),
    (status = 422, description = "`limit` is out of range.", body = ErrorBody),
    (status = 503, description = "The dataset cannot be read, or too many requests read data sets.", body = ErrorBody)))]
pub(crate) async fn pairs(
    State(state): State<AppState>,
    Path(name): Path<String>,
    Query(fields): Query<PairsQuery>,
) -> Result<Json<DatasetPairs>, ApiError> {
    let query = PairQuery {
        from: fields.from.unwrap_or(0),
        at_most: limit(Some(fields.limit.unwrap_or(DEFAULT_LIMIT)))? as usize,
        prompt: fields.prompt.filter(|text| !text.is_empty()),
        model: fields.model,
        disputed: fields.disputed.then(|| state.artifacts.clone()),
    };
    let dataset = find(&state, &name).await?;
    let (dataset, found) = read(&state, dataset, query).await?;
    let (pairs, next, report) = found.map_err(ApiError::unavailable)?;
    state.datasets.cache(&name, &pairs);
    let items = pairs.iter().map(|(index, pair)| summary(&name, *index, pair)).collect();
    Ok(Json(DatasetPairs { dataset: dataset.summary(&name), items, next, report }))
}

/// Get a pair
#[utoipa::path(get, path = path::DATASET_PAIR, tag = "data", operation_id = "get_pair",
    params(
        ("name" = String, Path, description = "Name of the dataset."),
        ("index" = u64, Path, description = "Index of the pair, from 0 on."),
    ),
    responses(
        (status = 200, description = "The pair with the addresses of its images.", body = DatasetPair),
        (status = 404, description = "There is no such dataset or pair.", body = ErrorBody),
        (status = 503, description = "The dataset cannot be read, or too many requests read data sets.", body = ErrorBody)))]
pub(crate) async fn one(
    State(state): State<AppState>,
    Path((name, index)): Path<(String, String)>,
) -> Result<Json<DatasetPair>, ApiError> {
    let index = parse_index(&index)?;
    let pair = pair(&state, &name, index).await?;
    Ok(Json(summary(&name, index, &pair)))
}

/// Get an image of a pair
#[utoipa::path(get, path = path::DATASET_IMAGE, tag = "data", operation_id = "get_pair_image",
    params(
        ("name" = String, Path, description = "Name of the dataset."),
        ("index" = u64, Path, description = "Index of the pair, from 0 on."),
        ("side" = String, Path, description = "`winner` or `loser`.", pattern = "^(winner|loser)$"),
    ),
    responses(
        (status = 200, description = "The image file.",
            content((File = "image/png"), (File = "image/jpeg"), (File = "image/webp"), (File = "image/gif"), (File = "image/bmp"))),
        (status = 404, description = "There is no such dataset, pair or image.", body = ErrorBody),
        (status = 503, description = "The dataset cannot be read, or too many requests read data sets.", body = ErrorBody)))]
pub(crate) async fn image(
    State(state): State<AppState>,
    Path((name, index, side)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let index = parse_index(&index)?;
    let pair = pair(&state, &name, index).await?;
    let mut bytes = match side.as_str() {
        "winner" => Some(pair.winner),
        "loser" => pair.loser,
        _ => None,
    }
    .ok_or_else(|| ApiError::not_found("image on this side of the pair"))?;
    let mut caching = "private, max-age=60";
    if name == VOTES {
        // The next vote may change which image this address means.
        caching = "no-store";
        // A pair of votes holds artifact keys in place of image bytes.
        let artifact = std::str::from_utf8(&bytes).map_err(ApiError::internal)?;
        bytes = state.artifacts.get(artifact).await?.map(Bytes::from).unwrap_or_default();
    }
    // Other files of a dataset are not sent to a browser; images that it does not show are converted.
    let unfit =
        |problem: String| ApiError::not_found(format!("image on this side of the pair: it {problem}"));
    let kind = match media_type(&bytes).map_err(unfit)? {
        Some(kind) => kind,
        None => {
            let converted = state.browsing.run(move |_| decode(&bytes).map(|image| png(&image))).await?;
            bytes = converted.map_err(unfit)?.map_err(ApiError::internal)?.into();
            "image/png"
        }
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, caching)];
    Ok((headers, bytes).into_response())
}

fn parse_index(index: &str) -> Result<u64, ApiError> {
    index.parse().map_err(|_| ApiError::not_found("pair: an index is a whole number from 0 on"))
}

pub(crate) async fn find(state: &AppState, name: &str) -> Result<Dataset, ApiError> {
    let dataset = state.datasets.find(&state.store, name).await?;
    match dataset.ok_or_else(|| ApiError::not_found("dataset"))? {
        Dataset::Votes(pairs) => Ok(Dataset::Votes(shown(state, pairs).await?)),
        other => Ok(other),
    }
}

async fn read(
    state: &AppState,
    dataset: Dataset,
    query: PairQuery,
) -> Result<(Dataset, Result<PairPage, String>), ApiError> {
    let read = move |wanted: &dyn Fn() -> bool| {
        let found = dataset.pairs(&query, wanted);
        (dataset, found)
    };
    state.browsing.run(read).await
}

async fn pair(state: &AppState, name: &str, index: u64) -> Result<PreferencePair, ApiError> {
    if let Some(pair) = state.datasets.cached(name, index) {
        return Ok(pair);
    }
    let query = PairQuery { from: index, at_most: 1, ..PairQuery::default() };
    let (_, found) = read(state, find(state, name).await?, query).await?;
    let (pairs, ..) = found.map_err(ApiError::unavailable)?;
    state.datasets.cache(name, &pairs);
    let found = pairs.into_iter().find(|(at, _)| *at == index);
    found.map(|(_, pair)| pair).ok_or_else(|| ApiError::not_found("pair"))
}

fn summary(name: &str, index: u64, pair: &PreferencePair) -> DatasetPair {
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
        loser_url: pair.loser.is_some().then(|| url("loser")),
    }
}
