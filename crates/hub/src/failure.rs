//! Error messages of the hub, with cause and remedy.

use crate::stall::Stalled;
use anyhow::anyhow;
use hf_hub::api::sync::ApiError;
use std::time::Duration;

/// The error of a request for `what`, a repository or a file of one, at a revision.
pub(crate) fn request_failed(error: &ApiError, what: &str, revision: &str) -> anyhow::Error {
    let status = match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    };
    match status {
        Some(401 | 403) => anyhow!(
            "{what}: the hub denies access ({error}): set HF_TOKEN to a token that may read it, accept its terms on its \
             page, or check the name"
        ),
        Some(404) => anyhow!(
            "{what}: the hub has no such repository or file at revision {revision}: check the name and the revision"
        ),
        Some(416) => anyhow!(
            "{what}: the partial download in the cache (*.part) belongs to another version: remove that file"
        ),
        _ => anyhow!("{what}: {error}. The partial download is kept; HF_HUB_OFFLINE=1 uses the cache alone"),
    }
}

/// The error of a download of `what` that timed out.
pub(crate) fn timed_out(_: Stalled, what: &str, timeout: Duration) -> anyhow::Error {
    anyhow!(
        "{what}: the download stalled: no data for {} s. Rerun the command to resume; HF_HUB_DOWNLOAD_TIMEOUT sets the \
         timeout, HF_ENDPOINT names a mirror, and HF_HUB_OFFLINE=1 uses the cache alone",
        timeout.as_secs()
    )
}
