//! Changes of the queue: the priority of a job, and jobs that go on.

use crate::db::{Store, micros, write_db};
use crate::error::{Conflict, StoreError};
use crate::jobs::spec_text;
use domain::Timestamp;
use domain::id::JobId;
use domain::job::{Job, JobSpec};

impl Store {
    /// Sets the priority of a queued job. Returns the job; none if it does not exist.
    ///
    /// # Errors
    /// Fails with `Conflict::JobNotQueued` if a worker holds it or it has ended.
    pub async fn set_priority(&self, id: JobId, priority: i64) -> Result<Option<Job>, StoreError> {
        let changed = write_db!(self, pool =>
            sqlx::query("UPDATE jobs SET priority = $2 WHERE id = $1 AND state = 'queued'")
                .bind(id.0)
                .bind(priority)
                .execute(pool)
                .await?
                .rows_affected());
        let job = self.get_job(id).await?;
        if changed == 0 && job.is_some() {
            return Err(Conflict::JobNotQueued.into());
        }
        Ok(job)
    }

    /// Puts an ended job at the end of the queue again, with this spec. Its run goes on from its saved state. Returns the
    /// job; none if it does not exist.
    ///
    /// # Errors
    /// Fails with `Conflict::JobNotEnded` if it has not ended; with `Invalid` if the spec cannot be written as JSON.
    pub async fn requeue_job(
        &self,
        id: JobId,
        spec: &JobSpec,
        now: Timestamp,
    ) -> Result<Option<Job>, StoreError> {
        let text = spec_text(spec)?;
        let changed = write_db!(self, pool => sqlx::query(
            "UPDATE jobs SET state = 'queued', spec = $2, queued_at = $3, cancel_requested = FALSE, worker = NULL, \
             error = NULL, started_at = NULL, finished_at = NULL \
             WHERE id = $1 AND state IN ('succeeded', 'failed', 'cancelled')")
            .bind(id.0)
            .bind(text)
            .bind(micros(now))
            .execute(pool)
            .await?
            .rows_affected());
        let job = self.get_job(id).await?;
        if changed == 0 && job.is_some() {
            return Err(Conflict::JobNotEnded.into());
        }
        Ok(job)
    }
}
