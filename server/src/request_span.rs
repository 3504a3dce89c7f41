//! The tracing span of an HTTP request. Log lines of a request carry its id, which the response repeats as `x-request-id`.

use axum::extract::{MatchedPath, Request};
use tower_http::request_id::RequestId;
use tracing::Span;

/// Most characters of an id that a client sends along.
const LONGEST_ID: usize = 64;

/// Records id, method and route. The path and the query are left out: both may hold a prompt or a name, and those are not
/// logged. The route of an address that has none is `-`.
pub(crate) fn request_span(request: &Request) -> Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    let id: String = id.unwrap_or_default().chars().take(LONGEST_ID).collect();
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str);
    tracing::info_span!("request", id, method = %request.method(), route)
}
