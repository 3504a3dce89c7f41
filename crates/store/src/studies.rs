//! Studies, and the jobs of their cells.

use crate::db::{Store, in_transaction, micros, parsed, with_db, write_db};
use crate::error::StoreError;
use domain::Timestamp;
use domain::id::{JobId, RunId, StudyId};
use domain::job::{JobSpec, JobState};
use domain::problem::Problems;
use domain::study::{Study, StudySpec};
use sqlx::QueryBuilder;
use uuid::Uuid;

/// The job of a cell of a study.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyJob {
    /// Key of the cell.
    pub cell: String,
    /// The job.
    pub job: JobId,
    /// State of the job.
    pub state: JobState,
    /// Steps or images done.
    pub progress: i64,
    /// Steps or images in total; 0 until known.
    pub total: i64,
    /// Error message of a failed job.
    pub error: Option<String>,
    /// When a worker first claimed it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Name of the last model of its run.
    pub model: Option<String>,
}

#[derive(sqlx::FromRow)]
struct StudyRow {
    id: Uuid,
    spec: String,
    state: String,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
}

impl TryFrom<StudyRow> for Study {
    type Error = StoreError;
    fn try_from(row: StudyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: StudyId(row.id),
            spec: parsed(serde_json::from_str(&row.spec), "studies", "spec", row.id)?,
            state: parsed(row.state.parse(), "studies", "state", row.id)?,
            created_at: row.created_at,
            finished_at: row.finished_at,
        })
    }
}

#[derive(sqlx::FromRow)]
struct StudyJobRow {
    cell: String,
    id: Uuid,
    state: String,
    progress: i64,
    total: i64,
    error: Option<String>,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    model: Option<String>,
}

impl TryFrom<StudyJobRow> for StudyJob {
    type Error = StoreError;
    fn try_from(row: StudyJobRow) -> Result<Self, StoreError> {
        Ok(Self {
            cell: row.cell,
            job: JobId(row.id),
            state: parsed(row.state.parse(), "jobs", "state", row.id)?,
            progress: row.progress,
            total: row.total,
            error: row.error,
            started_at: row.started_at,
            finished_at: row.finished_at,
            model: row.model,
        })
    }
}

/// Keys in one `IN (...)`: below the limits of both databases.
const KEYS_PER_QUERY: usize = 500;

macro_rules! select_studies {
    ($rest:literal) => {
        concat!("SELECT id, spec, state, created_at, finished_at FROM studies ", $rest)
    };
}

impl Store {
    /// Inserts a study and returns it; if one of this name exists, returns that one unchanged.
    ///
    /// # Errors
    /// Fails with `Invalid` if the spec cannot be written as JSON.
    pub async fn submit_study(
        &self,
        id: StudyId,
        spec: &StudySpec,
        now: Timestamp,
    ) -> Result<Study, StoreError> {
        let text = serde_json::to_string(spec)
            .map_err(|e| Problems::one("spec", format!("cannot be written as JSON: {e}")))?;
        write_db!(self, pool => sqlx::query(
            "INSERT INTO studies (id, name, spec, state, created_at) VALUES ($1, $2, $3, 'running', $4) \
             ON CONFLICT (name) DO NOTHING")
            .bind(id.0)
            .bind(&spec.name)
            .bind(text)
            .bind(micros(now))
            .execute(pool)
            .await
            .map(drop)?);
        self.get_study_by_name(&spec.name).await?.ok_or(StoreError::Missing("study"))
    }

    /// Looks up a study.
    pub async fn get_study(&self, id: StudyId) -> Result<Option<Study>, StoreError> {
        let row: Option<StudyRow> = with_db!(self, pool =>
            sqlx::query_as(select_studies!("WHERE id = $1")).bind(id.0).fetch_optional(pool).await?);
        row.map(Study::try_from).transpose()
    }

    /// Looks up a study by its name.
    pub async fn get_study_by_name(&self, name: &str) -> Result<Option<Study>, StoreError> {
        let row: Option<StudyRow> = with_db!(self, pool =>
            sqlx::query_as(select_studies!("WHERE name = $1")).bind(name).fetch_optional(pool).await?);
        row.map(Study::try_from).transpose()
    }

    /// Lists studies, newest first.
    pub async fn list_studies(&self, at_most: u32) -> Result<Vec<Study>, StoreError> {
        let rows: Vec<StudyRow> = with_db!(self, pool =>
            sqlx::query_as(select_studies!("ORDER BY id DESC LIMIT $1"))
                .bind(i64::from(at_most))
                .fetch_all(pool)
                .await?);
        rows.into_iter().map(Study::try_from).collect()
    }

    /// The running studies of which no job is queued or running: a new one, and those whose last worker stopped before it
    /// submitted what was due. Oldest first.
    pub async fn list_idle_studies(&self) -> Result<Vec<Study>, StoreError> {
        let rows: Vec<StudyRow> = with_db!(self, pool => sqlx::query_as(select_studies!(
            "WHERE state = 'running' AND NOT EXISTS (SELECT 1 FROM study_jobs s JOIN jobs j ON j.id = s.job_id \
             WHERE s.study_id = studies.id AND j.state IN ('queued', 'running')) ORDER BY id"))
            .fetch_all(pool)
            .await?);
        rows.into_iter().map(Study::try_from).collect()
    }

    /// The study that a job belongs to.
    pub async fn get_study_of_job(&self, job: JobId) -> Result<Option<StudyId>, StoreError> {
        let row: Option<(Uuid,)> = with_db!(self, pool =>
            sqlx::query_as("SELECT study_id FROM study_jobs WHERE job_id = $1")
                .bind(job.0)
                .fetch_optional(pool)
                .await?);
        Ok(row.map(|(id,)| StudyId(id)))
    }

    /// Lists the runs that the cells of a study have begun, oldest first.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn list_study_runs(&self, study: StudyId) -> Result<Vec<RunId>, StoreError> {
        let ids: Vec<Uuid> = with_db!(self, pool => sqlx::query_scalar(
            "SELECT r.id FROM study_jobs s JOIN runs r ON r.job_id = s.job_id WHERE s.study_id = $1 ORDER BY r.id")
            .bind(study.0)
            .fetch_all(pool)
            .await?);
        Ok(ids.into_iter().map(RunId).collect())
    }

    /// The submitted cells of a study, in the order of their keys.
    pub async fn list_study_jobs(&self, study: StudyId) -> Result<Vec<StudyJob>, StoreError> {
        let rows: Vec<StudyJobRow> = with_db!(self, pool => sqlx::query_as(
            "SELECT s.cell, j.id, j.state, j.progress, j.total, j.error, j.started_at, j.finished_at, \
             (SELECT m.name FROM models m JOIN runs r ON r.id = m.run_id WHERE r.job_id = j.id \
              ORDER BY m.step DESC, m.id DESC LIMIT 1) AS model \
             FROM study_jobs s JOIN jobs j ON j.id = s.job_id WHERE s.study_id = $1 ORDER BY s.cell")
            .bind(study.0)
            .fetch_all(pool)
            .await?);
        rows.into_iter().map(StudyJob::try_from).collect()
    }

    /// Adds the jobs of cells to the queue, except those of cells that have one. Nothing if the study is not running. Returns
    /// how many were added. Workers that call it at the same time add each cell once.
    ///
    /// # Errors
    /// Fails with `Invalid` if a spec cannot be written as JSON.
    pub async fn enqueue_study_jobs(
        &self,
        study: StudyId,
        jobs: &[(String, JobId, JobSpec)],
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let mut added = 0;
        let texts = jobs
            .iter()
            .map(|(_, _, spec)| serde_json::to_string(spec))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| Problems::one("spec", format!("cannot be written as JSON: {e}")))?;
        in_transaction!(self, tx => {
            // Locks the study's row, so that another worker's cells are seen.
            let running = sqlx::query("UPDATE studies SET state = state WHERE id = $1 AND state = 'running'")
                .bind(study.0)
                .execute(&mut *tx)
                .await?
                .rows_affected();
            for ((cell, id, _), text) in jobs.iter().zip(&texts).filter(|_| running > 0) {
                let inserted = sqlx::query(
                    "INSERT INTO jobs (id, spec, state, attempt, cancel_requested, progress, total, created_at) \
                     SELECT $1, $2, 'queued', 0, FALSE, 0, 0, $3 \
                     WHERE NOT EXISTS (SELECT 1 FROM study_jobs WHERE study_id = $4 AND cell = $5)")
                    .bind(id.0)
                    .bind(text)
                    .bind(micros(now))
                    .bind(study.0)
                    .bind(cell)
                    .execute(&mut *tx)
                    .await?
                    .rows_affected();
                if inserted > 0 {
                    sqlx::query("INSERT INTO study_jobs (study_id, cell, job_id) VALUES ($1, $2, $3)")
                        .bind(study.0)
                        .bind(cell)
                        .bind(id.0)
                        .execute(&mut *tx)
                        .await?;
                    added += 1;
                }
            }
        });
        Ok(added)
    }

    /// Ends a running study, unless one of its jobs is queued or running. Returns whether it ended now.
    pub async fn finish_study(&self, study: StudyId, now: Timestamp) -> Result<bool, StoreError> {
        let changed = write_db!(self, pool => sqlx::query(
            "UPDATE studies SET state = 'finished', finished_at = $2 WHERE id = $1 AND state = 'running' \
             AND NOT EXISTS (SELECT 1 FROM study_jobs s JOIN jobs j ON j.id = s.job_id \
             WHERE s.study_id = studies.id AND j.state IN ('queued', 'running'))")
            .bind(study.0)
            .bind(micros(now))
            .execute(pool)
            .await?
            .rows_affected());
        Ok(changed > 0)
    }

    /// Stops a running study: no further cell is submitted. The caller cancels the jobs that are queued or running. Returns
    /// whether it was running.
    pub async fn cancel_study(&self, study: StudyId, now: Timestamp) -> Result<bool, StoreError> {
        let changed = write_db!(self, pool => sqlx::query(
            "UPDATE studies SET state = 'cancelled', finished_at = $2 WHERE id = $1 AND state = 'running'")
            .bind(study.0)
            .bind(micros(now))
            .execute(pool)
            .await?
            .rows_affected());
        Ok(changed > 0)
    }

    /// Forgets the jobs of cells, so that they are submitted again, and sets the study to running. The jobs themselves stay.
    ///
    /// # Errors
    /// Fails with `Missing` if there is no such study.
    pub async fn retry_study_cells(&self, study: StudyId, cells: &[String]) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            let found = sqlx::query("UPDATE studies SET state = 'running', finished_at = NULL WHERE id = $1")
                .bind(study.0)
                .execute(&mut *tx)
                .await?
                .rows_affected();
            if found == 0 {
                return Err(StoreError::Missing("study"));
            }
            for cells in cells.chunks(KEYS_PER_QUERY) {
                let mut query = QueryBuilder::new("DELETE FROM study_jobs WHERE study_id = ");
                query.push_bind(study.0).push(" AND cell IN (");
                let mut list = query.separated(", ");
                cells.iter().for_each(|cell| { list.push_bind(cell.as_str()); });
                query.push(")").build().execute(&mut *tx).await?;
            }
        });
        Ok(())
    }
}
