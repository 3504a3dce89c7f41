//! Errors.

use crate::problem::Problem;
use serde::{Deserialize, Serialize};

/// The body of every response with an error status.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "error": {
    "code": "invalid", "message": "steps: use 1 to 1000",
    "fields": [{ "field": "steps", "message": "use 1 to 1000" }]
} })))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// An error: a code for programs and a message for people.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// One of `invalid`, `not_found`, `conflict`, `queue_full`, `unauthorized`, `too_large`, `unsupported`,
    /// `flagged`, `unavailable`, `not_finite`, `internal`.
    pub code: String,
    /// What went wrong and what to do.
    pub message: String,
    /// The invalid fields, if the request has some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Problem>,
}
