//! The `limit` of lists.

use crate::error::ApiError;
use domain::limits::{DEFAULT_LIST_LENGTH, MAX_LIST_LENGTH};
use serde::Deserialize;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Limit {
    /// Most items to return.
    #[param(default = 100, minimum = 1, maximum = 500)]
    pub(crate) limit: Option<u32>,
}

/// The limit to use.
///
/// # Errors
/// Fails unless `requested` is between 1 and `MAX_LIST_LENGTH`.
pub(crate) fn limit(requested: Option<u32>) -> Result<u32, ApiError> {
    match requested.unwrap_or(DEFAULT_LIST_LENGTH) {
        limit @ 1..=MAX_LIST_LENGTH => Ok(limit),
        other => Err(ApiError::field("limit", format!("{other} is not between 1 and {MAX_LIST_LENGTH}"))),
    }
}
