//! The refusal of a name that another run has.

use crate::error::ApiError;

/// An error of the field `name`, which suggests a name that is free.
pub(crate) fn taken(name: &str, free: &str) -> ApiError {
    ApiError::field("name", format!("{name:?} is taken: {free:?} is free"))
}
