//! Every error that leaves the server: what, which fields, what to do. Logged once, here; internals stay here too.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::api::{ErrorBody, ErrorDetail};
use domain::problem::{Problem, Problems};
use std::error::Error;
use std::fmt::Display;
use store::{ArtifactError, StoreError};

/// An answer that is an error.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    detail: ErrorDetail,
    /// For the log alone.
    source: Option<Box<dyn Error + Send + Sync>>,
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

    /// A body that is not what it claims to be.
    pub(crate) fn malformed(message: impl Into<String>, field: Option<String>) -> Self {
        let message = message.into();
        let fields = field.map(|field| Problem { field, message: message.clone() });
        Self::new(StatusCode::BAD_REQUEST, "invalid", message).with_fields(fields.into_iter().collect())
    }

    /// Fields that can be read and not be accepted.
    pub(crate) fn invalid(problems: Problems) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", problems.to_string()).with_fields(problems.0)
    }

    /// One field that cannot be accepted.
    pub(crate) fn field(field: &str, message: impl Into<String>) -> Self {
        let mut problems = Problems::default();
        problems.add(field, message);
        Self::invalid(problems)
    }

    pub(crate) fn not_found(what: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("There is no such {what}."))
    }

    pub(crate) fn method() -> Self {
        let message = "This address knows other methods only: /docs lists them.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid", message)
    }

    /// What it says to people.
    pub(crate) fn message(&self) -> &str {
        &self.detail.message
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("The body is larger than {} KiB: send less.", limit / 1024);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// The safety checker holds back all that was drawn.
    pub(crate) fn flagged(seeds: &[u64]) -> Self {
        let seeds = seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let message = format!(
            "The safety checker of this server flags what was drawn (seed {seeds}), and it is not sent: take another \
             seed, or say it otherwise."
        );
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "flagged", message)
    }

    pub(crate) fn queue_full() -> Self {
        let message = "Too many images wait already: try again in a moment.";
        Self { retry_after: Some(2), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", message) }
    }

    pub(crate) fn unauthorized() -> Self {
        let message =
            "Send the access token: `Authorization: Bearer TOKEN`, or as the password in a browser.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(crate) fn cross_site() -> Self {
        let message = "Requests from other sites' pages are refused: open this site itself.";
        Self::new(StatusCode::FORBIDDEN, "unauthorized", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    pub(crate) fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let message = "The server failed; its log says how. Try again, and tell the operator if it persists.";
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

/// An error and what lies under it.
fn chain(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        below = cause.source();
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
            StoreError::LeaseLost
            | StoreError::Inconsistent { .. }
            | StoreError::Address(_)
            | StoreError::Migrate(_)
            | StoreError::Database(_) => Self::internal(error),
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
