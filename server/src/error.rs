//! `ApiError`, the body of every error response. Server errors are logged here, once, with their cause; the response
//! carries no internals.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use catalogue::study::StudyError;
use domain::api::{ErrorBody, ErrorDetail};
use domain::problem::{Problem, Problems};
use std::error::Error;
use std::fmt::Display;
use store::{ArtifactError, StoreError, Unavailable};

/// `Retry-After` of a full queue and of other causes that pass, in seconds.
const RETRY_AFTER: u32 = 2;

/// An error response.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    detail: ErrorDetail,
    /// The cause, which is logged and not sent.
    source: Option<Box<dyn Error + Send + Sync>>,
    /// Seconds of the `Retry-After` header.
    retry_after: Option<u32>,
}

impl ApiError {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let detail = ErrorDetail { code: code.to_owned(), message: message.into(), fields: Vec::new() };
        Self { status, detail, source: None, retry_after: None }
    }

    fn with_fields(mut self, fields: Vec<Problem>) -> Self {
        self.detail.fields = fields;
        self
    }

    /// 400: the body or query cannot be parsed, at `field` if it is known.
    pub(crate) fn malformed(message: impl Into<String>, field: Option<String>) -> Self {
        let message = message.into();
        let fields = field.map(|field| Problem { field, message: message.clone() });
        Self::new(StatusCode::BAD_REQUEST, "invalid", message).with_fields(fields.into_iter().collect())
    }

    /// 422: the input was parsed, but fields have values that are not accepted.
    pub(crate) fn invalid(problems: Problems) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", problems.to_string()).with_fields(problems.0)
    }

    /// 422 for one field.
    pub(crate) fn field(field: &str, message: impl Into<String>) -> Self {
        let mut problems = Problems::default();
        problems.add(field, message);
        Self::invalid(problems)
    }

    /// 404. `what` is a noun, and may go on with a colon and the remedy.
    pub(crate) fn not_found(what: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("There is no such {what}."))
    }

    /// 405. `allowed` lists the methods of the route.
    pub(crate) fn method_not_allowed(allowed: &str) -> Self {
        let message = format!("Method not allowed; use {allowed}.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid", message)
    }

    /// A request whose head cannot be parsed. The status is hyper's.
    pub(crate) fn unparsable(status: StatusCode) -> Self {
        let message = match status {
            StatusCode::URI_TOO_LONG => "The address is too long. Send a prompt in the body of a POST.",
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                "The headers are too large. Send at most 100 headers, and at most 64 KiB."
            }
            _ => "The request line or a header cannot be parsed. Percent-encode the address as UTF-8.",
        };
        Self::new(status, "invalid", message)
    }

    /// The body of the response.
    pub(crate) fn body(&self) -> ErrorBody {
        ErrorBody { error: self.detail.clone() }
    }

    /// The message that the client gets.
    pub(crate) fn message(&self) -> &str {
        &self.detail.message
    }

    /// The status of the response.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The error as the client sees it; none for a server error, which is logged when it becomes a response.
    pub(crate) fn client_error(&self) -> Option<ErrorDetail> {
        (!self.status.is_server_error()).then(|| self.detail.clone())
    }

    /// 413. `limit` is in bytes.
    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("The request body is larger than {} KiB.", limit / 1024);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// 422: the safety checker flagged all images of a request.
    pub(crate) fn flagged(seeds: &[u64]) -> Self {
        let seeds = seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let message = format!(
            "The safety checker flagged every image of this request (seed {seeds}), so none is returned. Use another \
             seed or change the prompt."
        );
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "flagged", message)
    }

    /// 429.
    pub(crate) fn queue_full() -> Self {
        let message = format!("The generation queue is full. Retry in {RETRY_AFTER} seconds.");
        Self {
            retry_after: Some(RETRY_AFTER),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", message)
        }
    }

    /// 409: a model that something depends on is not deleted.
    pub(crate) fn in_use(model: &str, uses: &[String]) -> Self {
        let message =
            format!("Model {model:?} is in use and is not deleted. Needed by: {}.", uses.join(", "));
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// 409: a run that something depends on is not deleted.
    pub(crate) fn run_in_use(run: &str, uses: &[String]) -> Self {
        Self::conflict(format!("Run {run:?} is in use and is not deleted. Needed by: {}.", uses.join("; ")))
    }

    /// 409. `message` says what contradicts the request, and the remedy.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        let message = "Unauthorized: the access token is missing or wrong. Send `Authorization: Bearer TOKEN`, or \
                       enter the token as the password in a browser.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 403.
    pub(crate) fn cross_site() -> Self {
        let message = "Requests from pages of other sites are not allowed. Open this site directly.";
        Self::new(StatusCode::FORBIDDEN, "unauthorized", message)
    }

    /// 503 for a cause that passes, with `Retry-After` in seconds. `message` says what is wrong; when to retry is added.
    pub(crate) fn try_later(message: &str, seconds: u32) -> Self {
        let message = format!("{message} Retry in {seconds} seconds.");
        Self { retry_after: Some(seconds), ..Self::unavailable(message) }
    }

    /// 503: other requests of the same kind take all that the server spends on them.
    pub(crate) fn occupied(message: &str) -> Self {
        Self::try_later(message, RETRY_AFTER)
    }

    /// 403: what the request asks for would tell raters which model made an image that they are judging.
    pub(crate) fn withheld(what: &str) -> Self {
        let message = format!(
            "{what} is withheld while a campaign judges images of this model: it would tell raters which model made which image. \
             /campaigns lists the campaigns; closing one shows it again."
        );
        Self::new(StatusCode::FORBIDDEN, "withheld", message)
    }

    /// 403: the host of the request is not this server.
    pub(crate) fn unknown_host(host: &str) -> Self {
        let shown: String = host.chars().take(100).collect();
        let message = format!(
            "This server does not answer to the host {shown:?}. Use a loopback name such as localhost, or set ALLOWED_HOSTS or \
             ACCESS_TOKEN on the server."
        );
        Self::new(StatusCode::FORBIDDEN, "unauthorized", message)
    }

    /// 415. `message` says what to send.
    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", message)
    }

    /// 408: the client sends its body too slowly.
    pub(crate) fn too_slow(seconds: u64) -> Self {
        let message = format!("The request body did not arrive within {seconds} s. Send it again.");
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid", message)
    }

    /// An error of a library, which says nothing but its status.
    pub(crate) fn other(status: StatusCode) -> Self {
        let code = if status.is_server_error() { "internal" } else { "invalid" };
        let reason = status.canonical_reason().unwrap_or("The request failed");
        Self::new(status, code, format!("{reason}. /docs describes all routes."))
    }

    /// 503: the server stops before the request is answered.
    pub(crate) fn stopping() -> Self {
        let error = Self::unavailable("The server is stopping. Retry once it has restarted.");
        Self { retry_after: Some(RETRY_AFTER), ..error }
    }

    /// 503.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// 500: a model computes values that are not finite, which no retry changes.
    pub(crate) fn not_finite(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "not_finite", message)
    }

    /// 500. The cause is logged.
    pub(crate) fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let message = "Internal server error. Retry; if it persists, send the operator the `x-request-id` header of \
                       this response.";
        Self {
            source: Some(source.into()),
            ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            let cause = self.source.as_deref().map(chain).unwrap_or_default();
            tracing::error!(status = self.status.as_u16(), cause, "{}", self.detail.message);
        }
        let mut response = (self.status, Json(ErrorBody { error: self.detail })).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"Diff-contrast\", charset=\"UTF-8\""),
            );
        }
        response
    }
}

/// The messages of an error and of its sources, without repetitions.
fn chain(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        source = cause.source();
    }
    text
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(conflict) => {
                Self::new(StatusCode::CONFLICT, "conflict", conflict.to_string())
            }
            StoreError::Missing(what) => Self::not_found(what),
            StoreError::Invalid(problems) => Self::invalid(problems),
            StoreError::NoAnswer(_) | StoreError::Database(_) => {
                let message = match error.unavailable() {
                    Some(Unavailable::Locked) => "Another program holds a lock of the database.",
                    Some(Unavailable::Unreachable) => {
                        "The database does not respond, or all connections to it are in use."
                    }
                    None => return Self::internal(error),
                };
                Self { source: Some(error.into()), ..Self::try_later(message, RETRY_AFTER) }
            }
            StoreError::LeaseLost
            | StoreError::Inconsistent { .. }
            | StoreError::Address(_)
            | StoreError::Migrate(_) => Self::internal(error),
        }
    }
}

impl From<StudyError> for ApiError {
    fn from(error: StudyError) -> Self {
        match error {
            StudyError::Differs { .. } => Self::new(StatusCode::CONFLICT, "conflict", error.to_string()),
            StudyError::Invalid(problems) => Self::invalid(problems),
            StudyError::Store(error) => error.into(),
        }
    }
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> Self {
        Self::internal(error)
    }
}

impl From<Problems> for ApiError {
    fn from(problems: Problems) -> Self {
        Self::invalid(problems)
    }
}
