//! The `limit` of lists.

use crate::error::ApiError;
use serde::Deserialize;

/// Most items of a list.
pub(crate) const LONGEST_LIST: u32 = 500;

/// Items of a list whose request has no `limit`.
const DEFAULT: u32 = 100;

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
/// Fails unless `requested` is between 1 and `LONGEST_LIST`.
pub(crate) fn limit(requested: Option<u32>) -> Result<u32, ApiError> {
    match requested.unwrap_or(DEFAULT) {
        limit @ 1..=LONGEST_LIST => Ok(limit),
        other => Err(ApiError::field("limit", format!("{other} is not between 1 and {LONGEST_LIST}"))),
    }
}
