//! Error responses that libraries make, without a body or with plain text, get the JSON body of all errors.

use crate::error::ApiError;
use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Replaces the body of an error that is neither JSON nor a page. Headers such as `Allow` are kept.
pub(crate) async fn to_json(request: Request, next: Next) -> Response {
    let is_head = request.method() == Method::HEAD;
    let response = next.run(request).await;
    let status = response.status();
    if is_head || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_ours = kind.is_some_and(|kind| !kind.starts_with("text/plain"));
    if is_ours && !response.body().is_end_stream() {
        return response;
    }
    let error = match status {
        StatusCode::NOT_FOUND => ApiError::not_found("address; /docs lists all routes"),
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = response.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok());
            ApiError::method_not_allowed(&allowed.unwrap_or("GET").replace(',', " or "))
        }
        _ => ApiError::other(status),
    };
    let mut replaced = error.into_response();
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            replaced.headers_mut().insert(name, value.clone());
        }
    }
    replaced
}
