//! Runs and their curves. A run adds to its job only what the job lacks: its step, its curves, its images. State,
//! error and times are the job's and are read from there.

use crate::db::{Store, in_transaction, limit, read, with_db};
use crate::error::StoreError;
use crate::jobs::{Claim, require_lease};
use domain::Timestamp;
use domain::id::{JobId, ModelId, RunId};
use domain::job::JobSpec;
use domain::problem::Problems;
use domain::run::{MetricPoint, Run};
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct RunRow {
    id: Uuid,
    job_id: Uuid,
    step: i64,
    spec: String,
    state: String,
    error: Option<String>,
    model_id: Option<Uuid>,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
}

impl TryFrom<RunRow> for Run {
    type Error = StoreError;
    fn try_from(row: RunRow) -> Result<Self, StoreError> {
        let spec = match serde_json::from_str(&row.spec) {
            Ok(JobSpec::Train(spec)) => Ok(spec),
            Ok(JobSpec::Evaluate(_)) | Err(_) => Err(()),
        };
        let spec = read(spec, "jobs", "spec", row.job_id)?;
        Ok(Self {
            id: RunId(row.id),
            job_id: JobId(row.job_id),
            name: spec.name.clone(),
            spec,
            state: read(row.state.parse(), "jobs", "state", row.job_id)?,
            step: row.step,
            error: row.error,
            model_id: row.model_id.map(ModelId),
            created_at: row.created_at,
            finished_at: row.finished_at,
        })
    }
}

macro_rules! select_runs {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.job_id, r.step, j.spec, j.state, j.error, j.created_at, j.finished_at, ",
            "(SELECT m.id FROM models m WHERE m.run_id = r.id ORDER BY m.id DESC LIMIT 1) AS model_id ",
            "FROM runs r JOIN jobs j ON j.id = r.job_id ",
            $rest
        )
    };
}

/// Notes the last finished step of the claim's run; leaves the transaction with `Missing` if the run is another job's.
macro_rules! set_step {
    ($tx:ident, $claim:expr, $run:expr, $step:expr) => {
        let runs = sqlx::query("UPDATE runs SET step = $3 WHERE id = $1 AND job_id = $2")
            .bind($run.0)
            .bind($claim.job.id.0)
            .bind($step)
            .execute(&mut *$tx)
            .await?
            .rows_affected();
        if runs == 0 {
            return Err(StoreError::Missing("run of this job"));
        }
    };
}

impl Store {
    /// The run of a claimed training job: a new one under the given id, or the one a former attempt began.
    ///
    /// # Errors
    /// `LeaseLost`; `Invalid` if the job does not train.
    pub async fn begin_run(&self, claim: &Claim, id: RunId) -> Result<Run, StoreError> {
        if !matches!(claim.job.spec, JobSpec::Train(_)) {
            let mut problems = Problems::default();
            problems.add("spec.kind", "only a training job has a run");
            return Err(problems.into());
        }
        let row: RunRow = in_transaction!(self, tx => {
            require_lease!(tx, claim);
            sqlx::query("INSERT INTO runs (id, job_id, step) VALUES ($1, $2, 0) ON CONFLICT (job_id) DO NOTHING")
                .bind(id.0)
                .bind(claim.job.id.0)
                .execute(&mut *tx)
                .await?;
            sqlx::query_as(select_runs!("WHERE r.job_id = $1")).bind(claim.job.id.0).fetch_one(&mut *tx).await?
        });
        row.try_into()
    }

    /// One run.
    ///
    /// # Errors
    /// The database's.
    pub async fn get_run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        let row: Option<RunRow> = with_db!(self, pool =>
            sqlx::query_as(select_runs!("WHERE r.id = $1")).bind(id.0).fetch_optional(pool).await?);
        row.map(Run::try_from).transpose()
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_runs(&self, at_most: u32) -> Result<Vec<Run>, StoreError> {
        let rows: Vec<RunRow> = with_db!(self, pool =>
            sqlx::query_as(select_runs!("ORDER BY r.id DESC LIMIT $1"))
                .bind(limit(at_most))
                .fetch_all(pool)
                .await?);
        rows.into_iter().map(Run::try_from).collect()
    }

    /// Notes the last finished step of the claim's run and the points of its curves since. A point that is there
    /// already is overwritten: a resumed run repeats steps. Values that are not finite are left out: neither JSON nor
    /// SQLite can hold them.
    ///
    /// # Errors
    /// `LeaseLost`; `Missing` if the run is not the claim's.
    pub async fn append_metrics(
        &self,
        claim: &Claim,
        run: RunId,
        step: i64,
        points: &[MetricPoint],
    ) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            require_lease!(tx, claim);
            set_step!(tx, claim, run, step);
            for point in points.iter().filter(|point| point.value.is_finite()) {
                sqlx::query(
                    "INSERT INTO metrics (run_id, name, step, value) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (run_id, name, step) DO UPDATE SET value = EXCLUDED.value")
                    .bind(run.0)
                    .bind(&point.name)
                    .bind(point.step)
                    .bind(point.value)
                    .execute(&mut *tx)
                    .await?;
            }
        });
        Ok(())
    }

    /// Takes the claim's run back to a saved step: forgets the points and samples of later ones, which the resumed run
    /// makes again.
    ///
    /// # Errors
    /// `LeaseLost`; `Missing` if the run is not the claim's.
    pub async fn rewind_run(&self, claim: &Claim, run: RunId, step: i64) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            require_lease!(tx, claim);
            set_step!(tx, claim, run, step);
            sqlx::query("DELETE FROM metrics WHERE run_id = $1 AND step > $2")
                .bind(run.0)
                .bind(step)
                .execute(&mut *tx)
                .await?;
            sqlx::query("DELETE FROM images WHERE run_id = $1 AND purpose = 'sample' AND step > $2")
                .bind(run.0)
                .bind(step)
                .execute(&mut *tx)
                .await?;
        });
        Ok(())
    }

    /// The points of a run's curves later than a step, in order of step (-1 for all).
    ///
    /// # Errors
    /// The database's.
    pub async fn metrics(&self, run: RunId, after_step: i64) -> Result<Vec<MetricPoint>, StoreError> {
        let rows: Vec<(String, i64, f64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT name, step, value FROM metrics WHERE run_id = $1 AND step > $2 ORDER BY step, name")
            .bind(run.0)
            .bind(after_step)
            .fetch_all(pool)
            .await?);
        Ok(rows.into_iter().map(|(name, step, value)| MetricPoint { name, step, value }).collect())
    }

    /// The last point of each named curve of a run; curves without points are absent.
    ///
    /// # Errors
    /// The database's.
    pub async fn latest_metrics(&self, run: RunId, names: &[&str]) -> Result<Vec<MetricPoint>, StoreError> {
        let mut latest = Vec::with_capacity(names.len());
        for &name in names {
            let row: Option<(i64, f64)> = with_db!(self, pool => sqlx::query_as(
                "SELECT step, value FROM metrics WHERE run_id = $1 AND name = $2 ORDER BY step DESC LIMIT 1")
                .bind(run.0)
                .bind(name)
                .fetch_optional(pool)
                .await?);
            latest.extend(row.map(|(step, value)| MetricPoint { name: name.to_owned(), step, value }));
        }
        Ok(latest)
    }
}
