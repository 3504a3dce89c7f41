//! The tracing span of an HTTP request. Log lines of a request carry its id, which the response repeats as `x-request-id`.

use axum::extract::Request;
use tower_http::request_id::RequestId;
use tracing::Span;

/// Most characters of an id that a client sends along.
const LONGEST_ID: usize = 64;

/// Records id, method and path. The query is left out: it may hold a prompt, and prompts are not logged.
pub(crate) fn request_span(request: &Request) -> Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    let id: String = id.unwrap_or_default().chars().take(LONGEST_ID).collect();
    tracing::info_span!("request", id, method = %request.method(), path = request.uri().path())
}
