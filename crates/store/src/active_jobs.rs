//! What jobs are doing, for those who follow them.

use crate::db::{Store, parsed, with_db};
use crate::error::StoreError;
use domain::id::{JobId, RunId};
use domain::job::JobState;
use uuid::Uuid;

/// A job that waits or runs. Two that are equal look the same to those who follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveJob {
    /// Its id.
    pub id: JobId,
    /// Its run, once it has one.
    pub run: Option<RunId>,
    /// Queued or running.
    pub state: JobState,
    /// Whether it was requested to stop.
    pub cancel_requested: bool,
    /// Its priority.
    pub priority: i64,
    /// Number of the attempt.
    pub attempt: i64,
    /// Steps or images done, and in total.
    pub progress: (i64, i64),
    /// Last step whose points are stored.
    pub step: Option<i64>,
    /// Last line of the log.
    pub line: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    run_id: Option<Uuid>,
    state: String,
    cancel_requested: bool,
    priority: i64,
    attempt: i64,
    progress: i64,
    total: i64,
    step: Option<i64>,
    line: Option<i64>,
}

impl Store {
    /// The jobs that wait or run.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    pub async fn active_jobs(&self) -> Result<Vec<ActiveJob>, StoreError> {
        let rows: Vec<Row> = with_db!(self, pool => sqlx::query_as(
            "SELECT j.id, r.id AS run_id, j.state, j.cancel_requested, j.priority, j.attempt, \
             j.progress, j.total, r.step, (SELECT MAX(l.line) FROM run_log l WHERE l.run_id = r.id) AS line FROM jobs j LEFT JOIN runs r ON r.job_id = j.id \
             WHERE j.state IN ('queued', 'running')")
            .fetch_all(pool)
            .await?);
        let job = |row: Row| {
            Ok(ActiveJob {
                id: JobId(row.id),
                run: row.run_id.map(RunId),
                state: parsed(row.state.parse(), "jobs", "state", row.id)?,
                cancel_requested: row.cancel_requested,
                priority: row.priority,
                attempt: row.attempt,
                progress: (row.progress, row.total),
                step: row.step,
                line: row.line,
            })
        };
        rows.into_iter().map(job).collect()
    }
}
