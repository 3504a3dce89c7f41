//! Workers: the processes that run jobs.

use crate::Timestamp;
use crate::id::{JobId, RunId};
use serde::{Deserialize, Serialize};

/// What a worker says of itself when it starts.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its name: `--name`, or host name and process id.
    pub name: String,
    /// What it computes on: `CPU`, or the name of a GPU.
    pub device: String,
    /// Version of the program.
    pub version: String,
    /// Threads that it computes with.
    pub threads: u32,
    /// Memory of the GPU, or of the host, in bytes; 0 if unknown.
    pub memory: u64,
    /// When it started.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub started_at: Timestamp,
}

/// A worker as others see it.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// What it said of itself.
    #[serde(flatten)]
    pub info: WorkerInfo,
    /// What it does.
    pub state: WorkerState,
    /// The largest memory that it has used on its device, in bytes.
    pub peak_memory: u64,
    /// When it last reported.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub last_seen_at: Timestamp,
    /// The job that it runs.
    pub job: Option<WorkerJob>,
}

/// The job that a worker runs.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerJob {
    /// Id of the job, for `/api/v1/jobs/{id}`.
    pub id: JobId,
    /// Name of the run that it trains, or of the first model that it evaluates.
    pub name: String,
    /// The run of a training job.
    pub run_id: Option<RunId>,
    /// Steps or images done.
    pub progress: i64,
    /// Steps or images in total; 0 until known.
    pub total: i64,
}

/// What a worker does.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Runs a job.
    Working,
    /// Waits for a job.
    Idle,
    /// Ended on request.
    Stopped,
    /// Has not reported for [`SILENCE_SECONDS`]: it was killed, or its host or network is down.
    Silent,
}

/// Seconds between two reports of a worker.
pub const REPORT_SECONDS: u64 = 10;
/// Seconds without a report after which a worker counts as silent: several reports may be late.
pub const SILENCE_SECONDS: i64 = 45;

impl WorkerState {
    /// The state of a worker at a time.
    #[must_use]
    pub fn at(now: Timestamp, last_seen_at: Timestamp, is_stopped: bool, has_job: bool) -> Self {
        if is_stopped {
            Self::Stopped
        } else if (now - last_seen_at).num_seconds() > SILENCE_SECONDS {
            Self::Silent
        } else if has_job {
            Self::Working
        } else {
            Self::Idle
        }
    }

    /// The word on pages.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Idle => "idle",
            Self::Stopped => "stopped",
            Self::Silent => "no sign of life",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SILENCE_SECONDS, WorkerState};
    use crate::Timestamp;
    use chrono::TimeDelta;

    #[test]
    fn a_worker_that_stops_reporting_is_silent_unless_it_said_goodbye() {
        let seen = Timestamp::UNIX_EPOCH;
        let soon = seen + TimeDelta::seconds(SILENCE_SECONDS);
        let late = soon + TimeDelta::seconds(1);
        assert_eq!(WorkerState::at(soon, seen, false, true), WorkerState::Working);
        assert_eq!(WorkerState::at(soon, seen, false, false), WorkerState::Idle);
        assert_eq!(WorkerState::at(late, seen, false, true), WorkerState::Silent);
        assert_eq!(WorkerState::at(late, seen, true, false), WorkerState::Stopped);
    }
}
