//! The job queue. One statement claims a job: it sets worker, attempt, fencing token and lease. Every later write of
//! that worker carries the token, so a worker whose lease expired cannot overwrite the work of its successor.

use crate::db::{Store, in_transaction, lease_end, micros, parsed, with_db, write_db};
use crate::error::{Conflict, StoreError};
use domain::Timestamp;
use domain::id::{JobId, RunId};
use domain::job::{Job, JobSpec, JobState};
use domain::problem::Problems;
use std::time::Duration;
use uuid::Uuid;

/// A job that a worker has claimed.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The job when it was claimed.
    pub job: Job,
    /// The fencing token.
    pub token: Uuid,
    /// Number of this claim of the job, from 1. After the first there may be a checkpoint to resume from.
    pub attempt: i32,
}

/// Result of renewing a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Whether the job has been requested to stop.
    pub cancel_requested: bool,
}

/// How a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It finished.
    Succeeded,
    /// It failed, with this error message.
    Failed(String),
    /// It stopped on request.
    Cancelled,
}

impl Ending {
    /// State of the job afterwards.
    #[must_use]
    pub fn state(&self) -> JobState {
        match self {
            Self::Succeeded => JobState::Succeeded,
            Self::Failed(_) => JobState::Failed,
            Self::Cancelled => JobState::Cancelled,
        }
    }
}

/// Inserts a job in its final state inside a transaction, unless it exists.
macro_rules! insert_ended {
    ($tx:ident, $job:expr) => {{
        let job: &domain::job::Job = $job;
        let spec = serde_json::to_string(&job.spec)
            .map_err(|e| domain::problem::Problems::one("spec", format!("cannot be written as JSON: {e}")))?;
        sqlx::query(
            "INSERT INTO jobs (id, spec, state, attempt, cancel_requested, worker, progress, total, error, \
             created_at, started_at, finished_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(job.id.0)
        .bind(spec)
        .bind(job.state.as_str())
        .bind(job.attempt)
        .bind(job.cancel_requested)
        .bind(&job.worker)
        .bind(job.progress)
        .bind(job.total)
        .bind(&job.error)
        .bind($crate::db::micros(job.created_at))
        .bind(job.started_at.map($crate::db::micros))
        .bind(job.finished_at.map($crate::db::micros))
        .execute(&mut *$tx)
        .await?;
    }};
}
pub(crate) use insert_ended;

/// Returns `LeaseLost` from the enclosing function unless the claim still holds its job. The job's row stays locked
/// until the end of the transaction, so no other worker can claim the job between this check and the writes that
/// follow.
macro_rules! require_lease {
    ($tx:ident, $claim:expr) => {{
        let claim: &$crate::jobs::Claim = $claim;
        let held = sqlx::query("UPDATE jobs SET token = token WHERE id = $1 AND token = $2")
            .bind(claim.job.id.0)
            .bind(claim.token)
            .execute(&mut *$tx)
            .await?
            .rows_affected();
        if held == 0 {
            return Err($crate::error::StoreError::LeaseLost);
        }
    }};
}
pub(crate) use require_lease;

#[derive(sqlx::FromRow)]
pub(crate) struct JobRow {
    id: Uuid,
    spec: String,
    state: String,
    attempt: i64,
    cancel_requested: bool,
    worker: Option<String>,
    progress: i64,
    total: i64,
    error: Option<String>,
    run_id: Option<Uuid>,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

impl TryFrom<JobRow> for Job {
    type Error = StoreError;
    fn try_from(row: JobRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: JobId(row.id),
            spec: parsed(serde_json::from_str(&row.spec), "jobs", "spec", row.id)?,
            state: parsed(row.state.parse(), "jobs", "state", row.id)?,
            attempt: parsed(i32::try_from(row.attempt), "jobs", "attempt", row.id)?,
            cancel_requested: row.cancel_requested,
            worker: row.worker,
            progress: row.progress,
            total: row.total,
            error: row.error,
            run_id: row.run_id.map(RunId),
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        })
    }
}

macro_rules! select_jobs {
    ($rest:literal) => {
        concat!(
            "SELECT j.id, j.spec, j.state, j.attempt, j.cancel_requested, j.worker, j.progress, j.total, j.error, ",
            "r.id AS run_id, j.created_at, j.started_at, j.finished_at ",
            "FROM jobs j LEFT JOIN runs r ON r.job_id = j.id ",
            $rest
        )
    };
}
pub(crate) use select_jobs;

impl Store {
    /// Adds a job to the end of the queue.
    ///
    /// # Errors
    /// Fails with `Invalid` if the spec cannot be written as JSON.
    pub async fn enqueue_job(&self, id: JobId, spec: &JobSpec, now: Timestamp) -> Result<Job, StoreError> {
        let text = serde_json::to_string(spec)
            .map_err(|e| Problems::one("spec", format!("cannot be written as JSON: {e}")))?;
        write_db!(self, pool => sqlx::query(
            "INSERT INTO jobs (id, spec, state, attempt, cancel_requested, progress, total, created_at) \
             VALUES ($1, $2, 'queued', 0, FALSE, 0, 0, $3)")
            .bind(id.0)
            .bind(text)
            .bind(micros(now))
            .execute(pool)
            .await
            .map(drop)?);
        Ok(Job {
            id,
            spec: spec.clone(),
            state: JobState::Queued,
            attempt: 0,
            cancel_requested: false,
            worker: None,
            progress: 0,
            total: 0,
            error: None,
            run_id: None,
            created_at: micros(now),
            started_at: None,
            finished_at: None,
        })
    }

    /// Inserts a job that was done outside the queue, in its final state. No effect if a job of this id exists.
    ///
    /// # Errors
    /// Fails with `Invalid` if its state is not final, or if its spec cannot be written as JSON.
    pub async fn insert_ended_job(&self, job: &Job) -> Result<(), StoreError> {
        require_final(job)?;
        in_transaction!(self, tx => insert_ended!(tx, job));
        Ok(())
    }

    /// Looks up a job.
    pub async fn get_job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let row: Option<JobRow> = with_db!(self, pool =>
            sqlx::query_as(select_jobs!("WHERE j.id = $1")).bind(id.0).fetch_optional(pool).await?);
        row.map(Job::try_from).transpose()
    }

    /// Lists jobs, newest first. `state`: only jobs in this state.
    pub async fn list_jobs(&self, state: Option<JobState>, at_most: u32) -> Result<Vec<Job>, StoreError> {
        let rows: Vec<JobRow> = with_db!(self, pool =>
            sqlx::query_as(select_jobs!("WHERE $1 IS NULL OR j.state = $1 ORDER BY j.id DESC LIMIT $2"))
                .bind(state.map(JobState::as_str))
                .bind(i64::from(at_most))
                .fetch_all(pool)
                .await?);
        rows.into_iter().map(Job::try_from).collect()
    }

    /// Claims the oldest job that is queued or whose lease has expired. `token`: fresh random bytes as a UUID.
    pub async fn claim_job(
        &self,
        worker: &str,
        token: Uuid,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        loop {
            // The outer condition repeats the inner one: on Postgres two workers may select the same row, and the
            // second, after waiting for the first's lock, must find it claimed.
            let taken: Option<(Uuid,)> = write_db!(self, pool => sqlx::query_as(
                "UPDATE jobs SET state = 'running', worker = $1, token = $2, lease_until = $4, attempt = attempt + 1, \
                 started_at = COALESCE(started_at, $3) \
                 WHERE id = (SELECT id FROM jobs WHERE state = 'queued' OR (state = 'running' AND lease_until < $3) \
                             ORDER BY id LIMIT 1) \
                 AND (state = 'queued' OR (state = 'running' AND lease_until < $3)) \
                 RETURNING id")
                .bind(worker)
                .bind(token)
                .bind(micros(now))
                .bind(lease_end(now, lease))
                .fetch_optional(pool)
                .await?);
            if let Some((id,)) = taken {
                let job = self.get_job(JobId(id)).await?.ok_or(StoreError::Missing("job"))?;
                return Ok(Some(Claim { token, attempt: job.attempt, job }));
            }
            // Either no job is waiting, or another worker claimed it first: then try again.
            let waiting: Option<(i64,)> = with_db!(self, pool => sqlx::query_as(
                "SELECT CAST(1 AS BIGINT) FROM jobs \
                 WHERE state = 'queued' OR (state = 'running' AND lease_until < $1) LIMIT 1")
                .bind(micros(now))
                .fetch_optional(pool)
                .await?);
            if waiting.is_none() {
                return Ok(None);
            }
        }
    }

    /// Renews the lease and reports progress.
    ///
    /// # Errors
    /// Fails with `LeaseLost` if another worker holds the job or it has ended.
    pub async fn heartbeat(
        &self,
        claim: &Claim,
        now: Timestamp,
        lease: Duration,
        progress: i64,
        total: i64,
    ) -> Result<Heartbeat, StoreError> {
        let row: Option<(bool,)> = write_db!(self, pool => sqlx::query_as(
            "UPDATE jobs SET lease_until = $3, progress = $4, total = $5 WHERE id = $1 AND token = $2 \
             RETURNING cancel_requested")
            .bind(claim.job.id.0)
            .bind(claim.token)
            .bind(lease_end(now, lease))
            .bind(progress)
            .bind(total)
            .fetch_optional(pool)
            .await?);
        row.map(|(cancel_requested,)| Heartbeat { cancel_requested }).ok_or(StoreError::LeaseLost)
    }

    /// Ends a job.
    ///
    /// # Errors
    /// Fails with `LeaseLost` if another worker holds the job or it has ended.
    pub async fn finish_job(&self, claim: &Claim, now: Timestamp, ending: &Ending) -> Result<(), StoreError> {
        let error = if let Ending::Failed(error) = ending { Some(error.as_str()) } else { None };
        let changed = write_db!(self, pool => sqlx::query(
            "UPDATE jobs SET state = $3, error = $4, finished_at = $5, token = NULL, lease_until = NULL \
             WHERE id = $1 AND token = $2")
            .bind(claim.job.id.0)
            .bind(claim.token)
            .bind(ending.state().as_str())
            .bind(error)
            .bind(micros(now))
            .execute(pool)
            .await?
            .rows_affected());
        if changed == 0 { Err(StoreError::LeaseLost) } else { Ok(()) }
    }

    /// Returns a job to the queue, for a worker that shuts down. A job that was requested to stop becomes cancelled.
    ///
    /// # Errors
    /// Fails with `LeaseLost` if another worker holds the job or it has ended.
    pub async fn release_job(&self, claim: &Claim, now: Timestamp) -> Result<(), StoreError> {
        let changed = write_db!(self, pool => sqlx::query(
            "UPDATE jobs SET state = CASE WHEN cancel_requested = TRUE THEN 'cancelled' ELSE 'queued' END, \
             finished_at = CASE WHEN cancel_requested = TRUE THEN $3 ELSE NULL END, \
             worker = NULL, token = NULL, lease_until = NULL \
             WHERE id = $1 AND token = $2")
            .bind(claim.job.id.0)
            .bind(claim.token)
            .bind(micros(now))
            .execute(pool)
            .await?
            .rows_affected());
        if changed == 0 { Err(StoreError::LeaseLost) } else { Ok(()) }
    }

    /// Requests that a job stops. A queued job, or one whose lease has expired, is cancelled at once; the worker of a
    /// running one sees the request at its next heartbeat. Returns the updated job; none if it does not exist.
    ///
    /// # Errors
    /// Fails with `Conflict::JobEnded` if it has ended.
    pub async fn request_cancel(&self, id: JobId, now: Timestamp) -> Result<Option<Job>, StoreError> {
        let changed = write_db!(self, pool => sqlx::query(
            "UPDATE jobs SET cancel_requested = TRUE, \
             state = CASE WHEN state = 'queued' OR lease_until < $2 THEN 'cancelled' ELSE state END, \
             finished_at = CASE WHEN state = 'queued' OR lease_until < $2 THEN $2 ELSE NULL END, \
             token = CASE WHEN state = 'queued' OR lease_until < $2 THEN NULL ELSE token END, \
             lease_until = CASE WHEN state = 'queued' OR lease_until < $2 THEN NULL ELSE lease_until END \
             WHERE id = $1 AND state IN ('queued', 'running')")
            .bind(id.0)
            .bind(micros(now))
            .execute(pool)
            .await?
            .rows_affected());
        let job = self.get_job(id).await?;
        if changed == 0 && job.is_some() {
            return Err(Conflict::JobEnded.into());
        }
        Ok(job)
    }
}

/// Fails with `Invalid` unless the job has ended.
pub(crate) fn require_final(job: &Job) -> Result<(), StoreError> {
    if job.state.is_final() {
        return Ok(());
    }
    let problem = format!("is {}: use succeeded, failed or cancelled", job.state);
    Err(Problems::one("state", problem).into())
}
