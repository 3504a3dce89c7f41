//! Curves of runs: buckets for charts, points as CSV.

use crate::error::ApiError;
use crate::extract::{Id, Query};
use crate::routes::file_schema::File;
use crate::routes::runs::find;
use crate::state::AppState;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::api::{ErrorBody, RunSeries, Series, path};
use domain::id::RunId;
use domain::problem::Problems;
use domain::run::{Run, metric};
use domain::series::{
    Grid, MAX_SMOOTHING, RECENT_STEPS, at_or_before, buckets, point, recent, seconds, trailing_means,
};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use store::{Curves, Store, StoreError};
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

const DEFAULT_BUCKETS: u32 = 240;
const MAX_BUCKETS: u32 = 2000;
/// Most curves in one response.
const MAX_METRICS: usize = 64;
/// Steps that are read at once for a CSV file.
const CSV_STEPS: i64 = 4096;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SeriesQuery {
    /// Names of curves, separated by commas, such as `loss,grad_norm`; all curves when absent.
    metric: Option<String>,
    /// The first step of the range.
    #[param(default = 0, minimum = 0)]
    from: Option<i64>,
    /// The last step of the range; the last step of the run when absent.
    #[param(minimum = 0)]
    to: Option<i64>,
    /// Most buckets of a curve.
    #[param(default = 240, minimum = 1, maximum = 2000)]
    buckets: Option<u32>,
    /// Steps over which `mean` averages; 1 for no smoothing. Means come from all points, before they are put into buckets.
    #[param(default = 1, minimum = 1, maximum = 1000000)]
    smoothing: Option<i64>,
    /// Only buckets from the one of this step on: to follow a run, the `step` of the previous response.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// Whether buckets have the seconds of training up to their last step.
    #[serde(default)]
    #[param(default = false)]
    seconds: bool,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CsvQuery {
    /// Names of curves, separated by commas; all curves when absent.
    metric: Option<String>,
    /// The first step.
    #[param(default = 0, minimum = 0)]
    from: Option<i64>,
    /// The last step; the last step of the run when absent.
    #[param(minimum = 0)]
    to: Option<i64>,
}

/// Get the curves of a run for charts
///
/// Each curve in buckets of equal numbers of steps, with minimum, maximum, last value and count: spikes and values that are
/// not finite stay visible however long the run is.
#[utoipa::path(get, path = path::RUN_SERIES, tag = "training", operation_id = "get_run_series",
    params(("id" = Uuid, Path, description = "Id of the run."), SeriesQuery), responses(
    (status = 200, description = "The curves, in order of name.", body = RunSeries),
    (status = 404, description = "There is no such run.", body = ErrorBody),
    (status = 422, description = "A parameter is out of range.", body = ErrorBody)))]
pub(crate) async fn series(
    State(state): State<AppState>,
    Id(id): Id<RunId>,
    Query(query): Query<SeriesQuery>,
) -> Result<Json<RunSeries>, ApiError> {
    let names = names(query.metric.as_deref())?;
    // The run is read first, so that points written between the two reads are sent again later, never missed.
    let run = find(&state, id).await?;
    let range = Range::new(&query, &run)?;
    let grid = range.grid;
    let before = grid.from.saturating_sub(range.smoothing.max(RECENT_STEPS)).saturating_add(1).max(0);
    let mut curves = state.store.curves(id, &names, before, range.to).await?;
    let times = if query.seconds { times(&state.store, &run, range.to).await? } else { Vec::new() };
    pack_later(&state.store, &run);
    let is_whole = grid.from == 0 && query.after.is_none();
    for name in names {
        // A chart of this curve is empty, not absent.
        curves.entry(name).or_default();
    }
    let smoothing = range.smoothing;
    let convert = move || {
        curves
            .into_iter()
            .map(|(name, points)| bucketed(name, &points, grid, smoothing, &times, is_whole))
            .collect()
    };
    let series: Vec<Series> = tokio::task::spawn_blocking(convert).await.map_err(ApiError::internal)?;
    Ok(Json(RunSeries {
        state: run.state,
        step: run.step,
        steps: run.spec.steps.into(),
        from: range.from,
        to: range.to,
        bucket_steps: grid.width,
        smoothing,
        images_per_step: run.spec.images_per_step(),
        series,
    }))
}

/// Download the curves of a run as CSV
///
/// One line per step that has a point, with a column for the step and one for each curve. Values that are not finite are
/// `nan`, `inf` or `-inf`.
#[utoipa::path(get, path = path::RUN_SERIES_CSV, tag = "training", operation_id = "get_run_series_csv",
    params(("id" = Uuid, Path, description = "Id of the run."), CsvQuery), responses(
    (status = 200, description = "The points.", content((File = "text/csv"))),
    (status = 404, description = "There is no such run.", body = ErrorBody),
    (status = 422, description = "A parameter is out of range.", body = ErrorBody)))]
pub(crate) async fn csv(
    State(state): State<AppState>,
    Id(id): Id<RunId>,
    Query(CsvQuery { metric, from, to }): Query<CsvQuery>,
) -> Result<Response, ApiError> {
    let mut names = names(metric.as_deref())?;
    let run = find(&state, id).await?;
    let (from, to) = ends(from, to, &run)?;
    if names.is_empty() {
        names = state.store.curve_names(id).await?;
    }
    let (sender, receiver) = channel::<Result<Bytes, io::Error>>(2);
    let store = state.store.clone();
    let to = to.min(run.step);
    tokio::spawn(async move {
        if let Err(error) = write_csv(&store, id, &names, from, to, &sender).await {
            tracing::warn!("the curves of run {id} cannot be sent: {error}");
            // The body ends with an error, so that no client takes a part for the whole.
            drop(sender.send(Err(io::Error::other("the database does not answer"))).await);
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}-curves.csv\"", run.name)),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

async fn write_csv(
    store: &Store,
    run: RunId,
    names: &[String],
    from: i64,
    to: i64,
    sender: &Sender<Result<Bytes, io::Error>>,
) -> Result<(), StoreError> {
    let header = format!("step,{}\n", names.join(","));
    let mut start = from;
    let mut text = header;
    while start <= to {
        let end = start.saturating_add(CSV_STEPS - 1).min(to);
        lines(&mut text, names, &store.curves(run, names, start, end).await?);
        if sender.send(Ok(std::mem::take(&mut text).into())).await.is_err() {
            // The client has left.
            return Ok(());
        }
        start = end.saturating_add(1);
    }
    if !text.is_empty() {
        drop(sender.send(Ok(text.into())).await);
    }
    Ok(())
}

/// Adds a line for each step with a point.
fn lines(text: &mut String, names: &[String], curves: &Curves) {
    let steps: BTreeSet<i64> = curves.values().flatten().map(|point| point.0).collect();
    let mut columns: Vec<_> =
        names.iter().map(|name| curves.get(name).into_iter().flatten().peekable()).collect();
    for step in steps {
        // Writing to a string cannot fail.
        let _ = write!(text, "{step}");
        for column in &mut columns {
            text.push(',');
            if let Some((_, value)) = column.next_if(|point| point.0 == step) {
                let _ = match value {
                    value if value.is_nan() => text.write_str("nan"),
                    value => write!(text, "{value}"),
                };
            }
        }
        text.push('\n');
    }
}

/// The checked range of a request.
struct Range {
    from: i64,
    to: i64,
    smoothing: i64,
    /// Its buckets; with `after`, from that step's bucket on.
    grid: Grid,
}

impl Range {
    fn new(query: &SeriesQuery, run: &Run) -> Result<Self, ApiError> {
        let (from, to) = ends(query.from, query.to, run)?;
        let (buckets, smoothing) = (query.buckets.unwrap_or(DEFAULT_BUCKETS), query.smoothing.unwrap_or(1));
        let mut problems = Problems::default();
        problems.require((1..=MAX_BUCKETS).contains(&buckets), "buckets", format!("use 1 to {MAX_BUCKETS}"));
        problems.require(
            (1..=MAX_SMOOTHING).contains(&smoothing),
            "smoothing",
            format!("use 1 (no smoothing) to {MAX_SMOOTHING} steps"),
        );
        problems.require(query.after.is_none_or(|after| after >= 0), "after", "use 0 or more");
        problems.into_result().map_err(ApiError::invalid)?;
        let mut grid = Grid::new(from, to, buckets);
        if let Some(after) = query.after {
            grid.from = grid.start(after.max(from));
        }
        Ok(Self { from, to, smoothing, grid })
    }
}

/// The first and last step of a request.
fn ends(from: Option<i64>, to: Option<i64>, run: &Run) -> Result<(i64, i64), ApiError> {
    let from = from.unwrap_or(0);
    let to = to.unwrap_or_else(|| run.step.max(run.spec.steps.into()).max(from));
    let mut problems = Problems::default();
    problems.require(from >= 0, "from", "use 0 or more");
    problems.require(to >= from, "to", format!("use {from} or more: `from` is {from}"));
    problems.into_result().map_err(ApiError::invalid)?;
    Ok((from, to))
}

fn names(metric: Option<&str>) -> Result<Vec<String>, ApiError> {
    let list = metric.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut names: Vec<String> = list.map(str::to_owned).collect();
    names.sort();
    names.dedup();
    if names.len() > MAX_METRICS {
        return Err(ApiError::field("metric", format!("name at most {MAX_METRICS} curves")));
    }
    Ok(names)
}

/// The points before the grid's first bucket only count in means.
fn bucketed(
    metric: String,
    points: &[(i64, f64)],
    grid: Grid,
    smoothing: i64,
    times: &[(i64, f64)],
    is_whole: bool,
) -> Series {
    let mut buckets = buckets(points, &trailing_means(points, smoothing), grid);
    for bucket in &mut buckets {
        bucket.seconds = at_or_before(times, bucket.step);
    }
    let last = points.last().copied().filter(|_| !buckets.is_empty());
    Series {
        metric,
        first: points.first().copied().filter(|_| is_whole).map(point),
        last: last.map(point),
        recent: last.and_then(|_| recent(points)),
        buckets,
    }
}

async fn times(store: &Store, run: &Run, to: i64) -> Result<Vec<(i64, f64)>, StoreError> {
    let name = metric::SAMPLES_PER_SECOND.to_owned();
    let curves = store.curves(run.id, std::slice::from_ref(&name), 0, to).await?;
    let speeds = curves.get(&name).map(Vec::as_slice).unwrap_or_default();
    Ok(seconds(speeds, run.spec.images_per_step().into()))
}

/// Packs the points of an ended run that was written by an earlier version, after the response: its next chart is fast. A
/// worker packs those of a run that it works on.
fn pack_later(store: &Store, run: &Run) {
    if !run.state.is_final() || run.step < CSV_STEPS {
        return;
    }
    let (store, id) = (store.clone(), run.id);
    tokio::spawn(async move {
        loop {
            match store.is_packed(id).await {
                Ok(false) => {}
                Ok(true) => return,
                Err(error) => return tracing::warn!("cannot tell whether run {id} is packed: {error}"),
            }
            if let Err(error) = store.pack_points(id).await {
                return tracing::warn!("the points of run {id} cannot be packed: {error}");
            }
        }
    });
}
