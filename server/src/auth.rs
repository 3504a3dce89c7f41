//! Access control: the access token or the host, and protection against cross-site requests.

use crate::error::ApiError;
use crate::invited;
use crate::state::AppState;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// Rejects requests without the access token, if the server has one, except for what an invitation opens. `/livez` is always
/// open.
pub(crate) async fn require_token(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if let Some(token) = &state.access_token
        && request.uri().path() != "/livez"
        && !has_token(request.headers(), token)
    {
        // A request is not shared with another thread while the database answers; its parts can be.
        let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
        if !invited::opens(&state, &path, &headers).await {
            return ApiError::unauthorized().into_response();
        }
    }
    next.run(request).await
}

/// Without an access token, rejects requests to a host that is not this server. With one, a page of another site lacks the
/// token whatever the host. `/livez` is always open.
pub(crate) async fn require_known_host(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    if state.access_token.is_none()
        && request.uri().path() != "/livez"
        && let Some(host) = state.hosts.foreign(request.headers(), request.uri())
    {
        return ApiError::unknown_host(&host).into_response();
    }
    next.run(request).await
}

/// Whether the request carries the token, as a bearer token or as the password of HTTP Basic.
fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let Some((scheme, given)) = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|v| v.split_once(' '))
    else {
        return false;
    };
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => equal(given.trim(), token),
        "basic" => STANDARD
            .decode(given.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| text.split_once(':').map(|(_, password)| equal(password, token)))
            .unwrap_or(false),
        _ => false,
    }
}

/// Compares hashes in constant time, so that response times reveal nothing about the token.
fn equal(given: &str, token: &str) -> bool {
    let (given, token) = (Sha256::digest(given), Sha256::digest(token));
    given.iter().zip(token.iter()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Rejects requests that a page of another site makes a visitor's browser send (CSRF). Scripts send neither
/// `Sec-Fetch-Site` nor `Origin` and pass.
pub(crate) async fn refuse_cross_site(request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    // `/generate` generates on GET: an image tag on another site must not trigger it, but following a link may.
    let generates = request.uri().path() == domain::api::path::GENERATE
        && request.headers().get("sec-fetch-mode").is_none_or(|mode| mode != "navigate");
    if (changes || generates) && is_cross_site(request.headers(), request.uri()) {
        return ApiError::cross_site().into_response();
    }
    next.run(request).await
}

fn is_cross_site(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host =
        headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(uri.authority().map(|a| a.as_str()));
    let Some((scheme, origin)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else {
        return true;
    };
    // Browsers leave out the port that the scheme implies; proxies and scripts may not.
    let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let without_port = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    host.map(without_port) != Some(without_port(origin))
}
