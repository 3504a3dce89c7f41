//! What a worker records of a run: its log, and what the run takes.

use crate::error::ApiError;
use crate::extract::{Id, Query};
use crate::routes::list_limit::limit;
use crate::routes::runs::find;
use crate::state::AppState;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use domain::api::{ErrorBody, Page, path};
use domain::id::RunId;
use domain::limits::MAX_LIST_LENGTH;
use domain::log::LogLine;
use domain::usage::RunUsage;
use serde::Deserialize;
use std::io;
use tokio::sync::mpsc::channel;
use tokio_stream::wrappers::ReceiverStream;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// Only lines after this one; without it the last ones.
    after: Option<i64>,
    /// Most items to return.
    #[param(default = 100, minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// Read the log of a run
///
/// What the worker has logged at the levels info, warn and error, oldest first. To follow it, ask again with `after` set to the
/// last `line` received. The last 5000 lines are kept.
#[utoipa::path(get, path = path::RUN_LOG, tag = "training", operation_id = "read_run_log",
    params(("id" = Uuid, Path, description = "Id of the run."), LogQuery), responses(
    (status = 200, description = "Lines. A run of the terminal has none.", body = Page<LogLine>),
    (status = 404, description = "There is no such run.", body = ErrorBody),
    (status = 422, description = "`limit` is out of range.", body = ErrorBody)))]
pub(crate) async fn log(
    State(state): State<AppState>,
    Id(id): Id<RunId>,
    Query(query): Query<LogQuery>,
) -> Result<Json<Page<LogLine>>, ApiError> {
    let at_most = limit(query.limit)?;
    find(&state, id).await?;
    Ok(Json(Page { items: state.store.run_log(id, query.after, at_most).await? }))
}

/// Download the log of a run
#[utoipa::path(get, path = path::RUN_LOG_TEXT, tag = "training", operation_id = "download_run_log",
    params(("id" = Uuid, Path, description = "Id of the run.")), responses(
    (status = 200, description = "A line of text for each line: time, level, message.", content((String = "text/plain"))),
    (status = 404, description = "There is no such run.", body = ErrorBody)))]
pub(crate) async fn text(State(state): State<AppState>, Id(id): Id<RunId>) -> Result<Response, ApiError> {
    let run = find(&state, id).await?;
    let (sender, receiver) = channel::<Result<Bytes, io::Error>>(2);
    tokio::spawn(async move {
        let mut after = 0;
        loop {
            let lines = match state.store.run_log(id, Some(after), MAX_LIST_LENGTH).await {
                Ok(lines) => lines,
                Err(error) => {
                    tracing::warn!("the log of run {id} cannot be sent: {error}");
                    // The body ends with an error, so that no client takes a part for the whole.
                    drop(sender.send(Err(io::Error::other("the database does not answer"))).await);
                    return;
                }
            };
            let Some(last) = lines.last() else { return };
            after = last.line;
            let text: String = lines.iter().map(text_of).collect();
            if sender.send(Ok(text.into())).await.is_err() {
                return;
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.log\"", run.name)),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

/// A line of the file. A message of several lines stays one line.
fn text_of(line: &LogLine) -> String {
    let time = line.at.format("%Y-%m-%dT%H:%M:%S%.3fZ");
    format!("{time} {:5} {}\n", line.level.as_str().to_uppercase(), line.message.replace('\n', "\\n"))
}

/// Get what a run takes of its worker
///
/// Processor and memory, measured by the worker every ten seconds, and where the time of a step goes.
#[utoipa::path(get, path = path::RUN_USAGE, tag = "training", operation_id = "get_run_usage",
    params(("id" = Uuid, Path, description = "Id of the run.")), responses(
    (status = 200, description = "Measurements and times. A run of the terminal has no measurements.", body = RunUsage),
    (status = 404, description = "There is no such run.", body = ErrorBody)))]
pub(crate) async fn usage(
    State(state): State<AppState>,
    Id(id): Id<RunId>,
) -> Result<Json<RunUsage>, ApiError> {
    find(&state, id).await?;
    Ok(Json(state.store.run_usage(id).await?))
}
