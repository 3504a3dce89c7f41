//! The stream of changes, and its cursor.

use crate::error::ApiError;
use crate::extract::Query;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{KeepAlive, Sse};
use domain::api::{ErrorBody, EventCursor, path};
use domain::id::RunId;
use serde::Deserialize;
use std::time::Duration;
use tokio_stream::wrappers::ReceiverStream;

/// Time after which a silent stream sends a comment, so that proxies do not close it.
const COMMENT: Duration = Duration::from_secs(20);

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Only changes of this run.
    #[param(value_type = Option<Uuid>)]
    run: Option<RunId>,
    /// Only changes after this event: its `id`. Without it, the header `Last-Event-ID`, else changes from now on.
    cursor: Option<String>,
}

/// Follow jobs and runs
///
/// Server-sent events, of the type `change`: which jobs and runs are no longer as they were. `data` is a `Changes` in JSON, `id`
/// the cursor of the rest. A stream that was interrupted goes on after the last event that it got; if the server no longer
/// knows what has changed since, the first event says so with `all`.
#[utoipa::path(get, path = path::EVENTS, tag = "training", operation_id = "follow_events", params(EventQuery), responses(
    (status = 200, description = "Events, until the client leaves or the server stops. Nothing is sent while nothing changes, but for a comment now and then.",
        content((domain::api::Changes = "text/event-stream"))),
    (status = 422, description = "`cursor` is not the id of an event.", body = ErrorBody)))]
pub(crate) async fn follow(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(query): Query<EventQuery>,
) -> Result<impl IntoResponse, ApiError> {
    // A browser that reconnects by itself repeats the address with its old cursor, and sends the last id beside it.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let events = state.events.follow(last.or(query.cursor.as_deref()), query.run)?;
    Ok(Sse::new(ReceiverStream::new(events)).keep_alive(KeepAlive::new().interval(COMMENT)))
}

/// Get the cursor of now
///
/// A client that asks for it first, then reads jobs and runs, and then follows the events after it misses no change.
#[utoipa::path(get, path = path::EVENT_CURSOR, tag = "training", operation_id = "get_event_cursor", responses(
    (status = 200, description = "Where the next events begin.", body = EventCursor)))]
pub(crate) async fn cursor(State(state): State<AppState>) -> Result<Json<EventCursor>, ApiError> {
    Ok(Json(EventCursor { cursor: state.events.cursor().await? }))
}
