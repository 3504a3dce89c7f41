//! The run that the address of a page names.

use crate::api::{ApiResult, Failure};
use domain::id::RunId;

/// The id in an address.
pub(crate) fn run_id(text: &str) -> ApiResult<RunId> {
    text.parse().map_err(|_| {
        Failure::not_found(format!("{text:?} is not the id of a run. Open the run from the Runs page."))
    })
}
