//! Workers as they describe themselves.

use crate::db::{Store, in_transaction, micros, parsed, with_db, write_db};
use crate::error::StoreError;
use chrono::TimeDelta;
use domain::Timestamp;
use domain::id::{JobId, RunId};
use domain::job::JobSpec;
use domain::worker::{Worker, WorkerInfo, WorkerJob, WorkerState};
use uuid::Uuid;

/// Days after its last report that a worker is forgotten. Without a name of its own every start of a worker makes a row.
const KEPT_DAYS: i64 = 14;
/// Most workers that are listed.
const LISTED: i64 = 500;

#[derive(sqlx::FromRow)]
struct WorkerRow {
    name: String,
    device: String,
    version: String,
    threads: i64,
    memory: i64,
    peak_memory: i64,
    started_at: Timestamp,
    last_seen_at: Timestamp,
    stopped_at: Option<Timestamp>,
    job_id: Option<Uuid>,
    spec: Option<String>,
    run_id: Option<Uuid>,
    progress: Option<i64>,
    total: Option<i64>,
}

impl WorkerRow {
    fn worker(self, now: Timestamp) -> Result<Worker, StoreError> {
        let job = match (self.job_id, self.spec) {
            (Some(id), Some(spec)) => {
                let spec: JobSpec = parsed(serde_json::from_str(&spec), "jobs", "spec", id)?;
                Some(WorkerJob {
                    id: JobId(id),
                    name: spec.name().to_owned(),
                    run_id: self.run_id.map(RunId),
                    progress: self.progress.unwrap_or(0),
                    total: self.total.unwrap_or(0),
                })
            }
            _ => None,
        };
        let state = WorkerState::at(now, self.last_seen_at, self.stopped_at.is_some(), job.is_some());
        Ok(Worker {
            state,
            // The job of a worker that is gone is another's, or will be.
            job: job.filter(|_| state == WorkerState::Working),
            peak_memory: self.peak_memory.unsigned_abs(),
            last_seen_at: self.last_seen_at,
            info: WorkerInfo {
                threads: parsed(u32::try_from(self.threads), "workers", "threads", &self.name)?,
                memory: self.memory.unsigned_abs(),
                name: self.name,
                device: self.device,
                version: self.version,
                started_at: self.started_at,
            },
        })
    }
}

/// A size as the column holds it.
fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

impl Store {
    /// Inserts a worker that starts, or replaces the one of its name. Workers that last reported two weeks ago are forgotten.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn put_worker(&self, worker: &WorkerInfo) -> Result<(), StoreError> {
        let now = micros(worker.started_at);
        in_transaction!(self, tx => {
            sqlx::query("DELETE FROM workers WHERE last_seen_at < $1")
                .bind(now - TimeDelta::days(KEPT_DAYS))
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                "INSERT INTO workers (name, device, version, threads, memory, peak_memory, started_at, last_seen_at) \
                 VALUES ($1, $2, $3, $4, $5, 0, $6, $6) \
                 ON CONFLICT (name) DO UPDATE SET device = EXCLUDED.device, version = EXCLUDED.version, \
                 threads = EXCLUDED.threads, memory = EXCLUDED.memory, peak_memory = 0, \
                 started_at = EXCLUDED.started_at, last_seen_at = EXCLUDED.last_seen_at, stopped_at = NULL")
                .bind(&worker.name)
                .bind(&worker.device)
                .bind(&worker.version)
                .bind(i64::from(worker.threads))
                .bind(bytes(worker.memory))
                .bind(now)
                .execute(&mut *tx)
                .await?;
        });
        Ok(())
    }

    /// Records that a worker is there, or, with `is_last`, that it ends.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn see_worker(
        &self,
        name: &str,
        now: Timestamp,
        peak_memory: u64,
        is_last: bool,
    ) -> Result<(), StoreError> {
        let stopped_at = is_last.then(|| micros(now));
        write_db!(self, pool => sqlx::query(
            "UPDATE workers SET last_seen_at = $2, peak_memory = $3, stopped_at = $4 WHERE name = $1")
            .bind(name)
            .bind(micros(now))
            .bind(bytes(peak_memory))
            .bind(stopped_at)
            .execute(pool)
            .await
            .map(drop)?);
        Ok(())
    }

    /// Lists workers with their jobs, those that reported last first.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    pub async fn list_workers(&self, now: Timestamp) -> Result<Vec<Worker>, StoreError> {
        let rows: Vec<WorkerRow> = with_db!(self, pool => sqlx::query_as(
            "SELECT w.name, w.device, w.version, w.threads, w.memory, w.peak_memory, w.started_at, w.last_seen_at, \
             w.stopped_at, j.id AS job_id, j.spec, r.id AS run_id, j.progress, j.total \
             FROM workers w LEFT JOIN jobs j ON j.id = \
                (SELECT o.id FROM jobs o WHERE o.worker = w.name AND o.state = 'running' ORDER BY o.id DESC LIMIT 1) \
             LEFT JOIN runs r ON r.job_id = j.id \
             ORDER BY CASE WHEN w.stopped_at IS NULL THEN 0 ELSE 1 END, w.last_seen_at DESC, w.name LIMIT $1")
            .bind(LISTED)
            .fetch_all(pool)
            .await?);
        rows.into_iter().map(|row| row.worker(now)).collect()
    }
}
