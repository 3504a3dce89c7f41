//! What a stream of events tells.

use crate::id::{JobId, RunId};
use serde::{Deserialize, Serialize};

/// The jobs and runs that have changed since the previous event: their state, progress, place in the queue, or lines of the log.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Whether any job and run may have changed: the server no longer knows what did since the cursor.
    pub all: bool,
    /// The jobs. One that is neither queued nor running any more has ended.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<uuid::Uuid>))]
    pub jobs: Vec<JobId>,
    /// The runs of these jobs.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<uuid::Uuid>))]
    pub runs: Vec<RunId>,
}

/// A place in the events.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCursor {
    /// The `cursor` of a stream that begins here.
    pub cursor: String,
}
