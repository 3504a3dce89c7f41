//! The queue is a table. A claim sets worker, attempt, fencing token and lease in one statement; every later write of
//! that worker carries the token, so that one who was taken for dead cannot write over the one who took over.

use crate::db::{Store, later, limit, micros, read, with_db};
use crate::error::{Conflict, StoreError};
use domain::Timestamp;
use domain::id::{JobId, RunId};
use domain::job::{Job, JobSpec, JobState};
use domain::problem::Problems;
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

/// A worker's hold on a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The job as it was when claimed.
    pub job: Job,
    /// What every write must carry.
    pub token: Uuid,
    /// Which claim of this job it is, from 1: more than 1 means that there may be something to resume.
    pub attempt: i32,
}

/// What a worker learns when it renews its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Whether somebody asked the job to stop.
    pub cancel_requested: bool,
}

/// How a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Succeeded,
    /// With an error, for people.
    Failed(String),
    /// Because somebody asked.
    Cancelled,
}

impl Ending {
    /// The state it leaves the job in.
    #[must_use]
    pub fn state(&self) -> JobState {
        match self {
            Self::Succeeded => JobState::Succeeded,
            Self::Failed(_) => JobState::Failed,
            Self::Cancelled => JobState::Cancelled,
        }
    }
}

/// Leaves the transaction with `LeaseLost` unless the claim still holds its job, whose row stays locked until the end
/// of the transaction: nobody can take the job over between this check and the writes that follow it.
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
struct JobRow {
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
            spec: read(serde_json::from_str(&row.spec), "jobs", "spec", row.id)?,
            state: read(row.state.parse(), "jobs", "state", row.id)?,
            attempt: read(i32::try_from(row.attempt), "jobs", "attempt", row.id)?,
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

impl Store {
    /// Puts a job at the end of the queue.
    ///
    /// # Errors
    /// The database's.
    pub async fn enqueue_job(&self, id: JobId, spec: &JobSpec, now: Timestamp) -> Result<Job, StoreError> {
        let text = serde_json::to_string(spec).map_err(|e| {
            let mut problems = Problems::default();
            problems.add("spec", format!("cannot be written as JSON: {e}"));
            problems
        })?;
        with_db!(self, pool => sqlx::query(
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

    /// One job.
    ///
    /// # Errors
    /// The database's.
    pub async fn get_job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let row: Option<JobRow> = with_db!(self, pool =>
            sqlx::query_as(select_jobs!("WHERE j.id = $1")).bind(id.0).fetch_optional(pool).await?);
        row.map(Job::try_from).transpose()
    }

    /// Jobs, newest first; of one state if given.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_jobs(&self, state: Option<JobState>, at_most: u32) -> Result<Vec<Job>, StoreError> {
        let rows: Vec<JobRow> = with_db!(self, pool =>
            sqlx::query_as(select_jobs!("WHERE $1 IS NULL OR j.state = $1 ORDER BY j.id DESC LIMIT $2"))
                .bind(state.map(JobState::as_str))
                .bind(limit(at_most))
                .fetch_all(pool)
                .await?);
        rows.into_iter().map(Job::try_from).collect()
    }

    /// How many jobs are in each state; states without jobs are absent.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_jobs(&self) -> Result<HashMap<JobState, i64>, StoreError> {
        let rows: Vec<(String, i64)> = with_db!(self, pool =>
            sqlx::query_as("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetch_all(pool).await?);
        rows.into_iter().map(|(state, n)| Ok((read(state.parse(), "jobs", "state", "(any)")?, n))).collect()
    }

    /// Takes the oldest job that waits, or whose worker let its lease lapse. `token` must be fresh.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_job(
        &self,
        worker: &str,
        token: Uuid,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        loop {
            // The outer condition repeats the inner one: on Postgres two claimers may choose the same row, and the
            // second, having waited for the first, must see that it is taken.
            let taken: Option<(Uuid,)> = with_db!(self, pool => sqlx::query_as(
                "UPDATE jobs SET state = 'running', worker = $1, token = $2, lease_until = $4, attempt = attempt + 1, \
                 started_at = COALESCE(started_at, $3) \
                 WHERE id = (SELECT id FROM jobs WHERE state = 'queued' OR (state = 'running' AND lease_until < $3) \
                             ORDER BY id LIMIT 1) \
                 AND (state = 'queued' OR (state = 'running' AND lease_until < $3)) \
                 RETURNING id")
                .bind(worker)
                .bind(token)
                .bind(micros(now))
                .bind(later(now, lease))
                .fetch_optional(pool)
                .await?);
            if let Some((id,)) = taken {
                let job = self.get_job(JobId(id)).await?.ok_or(StoreError::Missing("job"))?;
                return Ok(Some(Claim { token, attempt: job.attempt, job }));
            }
            // Nothing was taken because there is nothing, or because another claimer took it: then look again.
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

    /// Renews the lease and tells how far the job is; learns whether it is to stop.
    ///
    /// # Errors
    /// `LeaseLost` if another worker holds the job or it has ended.
    pub async fn heartbeat(
        &self,
        claim: &Claim,
        now: Timestamp,
        lease: Duration,
        progress: i64,
        total: i64,
    ) -> Result<Heartbeat, StoreError> {
        let row: Option<(bool,)> = with_db!(self, pool => sqlx::query_as(
            "UPDATE jobs SET lease_until = $3, progress = $4, total = $5 WHERE id = $1 AND token = $2 \
             RETURNING cancel_requested")
            .bind(claim.job.id.0)
            .bind(claim.token)
            .bind(later(now, lease))
            .bind(progress)
            .bind(total)
            .fetch_optional(pool)
            .await?);
        row.map(|(cancel_requested,)| Heartbeat { cancel_requested }).ok_or(StoreError::LeaseLost)
    }

    /// Ends a job.
    ///
    /// # Errors
    /// `LeaseLost` if another worker holds the job or it has ended.
    pub async fn finish_job(&self, claim: &Claim, now: Timestamp, ending: &Ending) -> Result<(), StoreError> {
        let error = if let Ending::Failed(error) = ending { Some(error.as_str()) } else { None };
        let changed = with_db!(self, pool => sqlx::query(
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

    /// Puts a job back for another worker: a clean stop. One that was asked to stop ends as cancelled.
    ///
    /// # Errors
    /// `LeaseLost` if another worker holds the job or it has ended.
    pub async fn release_job(&self, claim: &Claim, now: Timestamp) -> Result<(), StoreError> {
        let changed = with_db!(self, pool => sqlx::query(
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

    /// Asks a job to stop. One that waits (or whose worker is lost) is cancelled at once; a running one is told at its
    /// next heartbeat. None if there is no such job, else the job as it is now.
    ///
    /// # Errors
    /// `Conflict::JobEnded` if it has ended.
    pub async fn request_cancel(&self, id: JobId, now: Timestamp) -> Result<Option<Job>, StoreError> {
        let changed = with_db!(self, pool => sqlx::query(
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
