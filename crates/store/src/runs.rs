//! Runs and their curves. A run's row holds only its step; spec, state, error and times are read from its job.

use crate::db::{Store, in_transaction, micros, with_db, write_db};
use crate::error::{Conflict, StoreError, missing};
use crate::jobs::{Claim, insert_ended, require_final, require_lease, spec_text, worked};
use crate::points::{not_finite_text, pack, unpack_from};
use crate::run_rows::{RunRow, select_runs};
use domain::id::RunId;
use domain::job::{Job, JobSpec, JobState};
use domain::problem::Problems;
use domain::run::{MetricPoint, Run};
use domain::train::TrainSpec;
use sqlx::QueryBuilder;

/// Points in one statement: four values each, below the limits of both databases.
const POINTS_PER_QUERY: usize = 1000;

/// The spec of a training job.
fn training(job: &Job) -> Result<&TrainSpec, StoreError> {
    match &job.spec {
        JobSpec::Train(spec) => Ok(spec),
        JobSpec::Evaluate(_) => Err(Problems::one("spec.kind", "only a training job has a run").into()),
    }
}

/// Inserts the run of a job unless the job has one.
macro_rules! insert_run {
    ($tx:ident, $id:expr, $job:expr, $spec:expr, $step:expr) => {
        sqlx::query(
            "INSERT INTO runs (id, job_id, step, name, objective, base) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (job_id) DO NOTHING",
        )
        .bind($id.0)
        .bind($job.id.0)
        .bind($step)
        .bind(&$spec.name)
        .bind($spec.objective.kind())
        .bind(&$spec.base)
        .execute(&mut *$tx)
        .await?;
    };
}

/// Sets the last finished step of the claim's run. Returns `Missing` from the enclosing function if the run belongs
/// to another job.
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

/// Inserts or replaces a point. `replaced`: whether the run has points that are not finite.
macro_rules! insert_point {
    ($tx:ident, $run:expr, $point:expr, $replaced:expr) => {
        let (finite, other) = if $point.value.is_finite() {
            (
                "INSERT INTO metrics (run_id, name, step, value) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (run_id, name, step) DO UPDATE SET value = EXCLUDED.value",
                $replaced.then_some(
                    "DELETE FROM metrics_not_finite WHERE run_id = $1 AND name = $2 AND step = $3",
                ),
            )
        } else {
            (
                "INSERT INTO metrics_not_finite (run_id, name, step, value) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (run_id, name, step) DO UPDATE SET value = EXCLUDED.value",
                Some("DELETE FROM metrics WHERE run_id = $1 AND name = $2 AND step = $3"),
            )
        };
        let insert = sqlx::query(finite).bind($run.0).bind(&$point.name).bind($point.step);
        let insert = if $point.value.is_finite() {
            insert.bind($point.value)
        } else {
            insert.bind(not_finite_text($point.value))
        };
        insert.execute(&mut *$tx).await?;
        if let Some(delete) = other {
            sqlx::query(delete).bind($run.0).bind(&$point.name).bind($point.step).execute(&mut *$tx).await?;
        }
    };
}

impl Store {
    /// Returns the run of a claimed training job, and inserts it with this id if an earlier attempt has not.
    ///
    /// # Errors
    /// Fails with `LeaseLost`; with `Invalid` if it is not a training job.
    pub async fn begin_run(&self, claim: &Claim, id: RunId) -> Result<Run, StoreError> {
        let spec = training(&claim.job)?;
        let row: RunRow = in_transaction!(self, tx => {
            require_lease!(tx, claim);
            insert_run!(tx, id, &claim.job, spec, 0_i64);
            sqlx::query_as(select_runs!("WHERE r.job_id = $1")).bind(claim.job.id.0).fetch_one(&mut *tx).await?
        });
        row.try_into()
    }

    /// Inserts a run that was made outside the queue, and its job in its final state. If the run exists, its job, spec and
    /// step advance to these: a run that has done as many steps stays as it is, and so does one that has succeeded unless
    /// it was prolonged.
    ///
    /// # Errors
    /// Fails with `Invalid` if it is not a training job in a final state; with `Conflict::JobNotEnded` if the run
    /// exists and a worker may still work on it.
    pub async fn register_run(&self, job: &Job, id: RunId, step: i64) -> Result<Run, StoreError> {
        require_final(job)?;
        let train = training(job)?;
        let spec = spec_text(&job.spec)?;
        let row: RunRow = in_transaction!(self, tx => {
            let existing: Option<RunRow> = sqlx::query_as(select_runs!("WHERE r.id = $1"))
                .bind(id.0)
                .fetch_optional(&mut *tx)
                .await?;
            match existing.map(Run::try_from).transpose()? {
                None => {
                    insert_ended!(tx, job);
                    insert_run!(tx, id, job, train, step);
                }
                Some(run) if !run.state.is_final() => return Err(Conflict::JobNotEnded.into()),
                Some(run) if run.state == JobState::Succeeded && step <= run.step => {}
                Some(run) if step <= run.step && job.state != JobState::Succeeded => {}
                Some(run) => {
                    // A run that was renamed here keeps that name.
                    let name = if run.name == run.spec.name { &train.name } else { &run.name };
                    sqlx::query("UPDATE runs SET step = $2, name = $3, objective = $4, base = $5 WHERE id = $1")
                        .bind(id.0)
                        .bind(step)
                        .bind(name)
                        .bind(train.objective.kind())
                        .bind(&train.base)
                        .execute(&mut *tx)
                        .await?;
                    // The ended job has no token, so no worker writes to it.
                    sqlx::query(
                        "UPDATE jobs SET state = $2, progress = $3, total = $4, error = $5, finished_at = $6, \
                         spec = $7, worked_ms = $8 WHERE id = $1")
                        .bind(run.job_id.0)
                        .bind(job.state.as_str())
                        .bind(job.progress)
                        .bind(job.total)
                        .bind(&job.error)
                        .bind(job.finished_at.map(micros))
                        .bind(&spec)
                        .bind(worked(job.started_at, job.finished_at))
                        .execute(&mut *tx)
                        .await?;
                }
            }
            sqlx::query_as(select_runs!("WHERE r.id = $1")).bind(id.0).fetch_one(&mut *tx).await?
        });
        row.try_into()
    }

    /// Inserts points of the curves of a run without a claim. Existing points are kept.
    ///
    /// # Errors
    /// Fails with `Missing` if the run does not exist.
    pub async fn add_points(&self, run: RunId, points: &[MetricPoint]) -> Result<(), StoreError> {
        let (finite, others): (Vec<&MetricPoint>, Vec<&MetricPoint>) =
            points.iter().partition(|point| point.value.is_finite());
        for points in finite.chunks(POINTS_PER_QUERY) {
            write_db!(self, pool => {
                let mut query = QueryBuilder::new("INSERT INTO metrics (run_id, name, step, value) ");
                query.push_values(points, |mut row, point| {
                    row.push_bind(run.0).push_bind(&point.name).push_bind(point.step).push_bind(point.value);
                });
                query.push(" ON CONFLICT (run_id, name, step) DO NOTHING");
                query.build().execute(pool).await.map(drop).map_err(|e| missing(e, "run"))?;
            });
        }
        for points in others.chunks(POINTS_PER_QUERY) {
            write_db!(self, pool => {
                let mut query = QueryBuilder::new("INSERT INTO metrics_not_finite (run_id, name, step, value) ");
                query.push_values(points, |mut row, point| {
                    row.push_bind(run.0)
                        .push_bind(&point.name)
                        .push_bind(point.step)
                        .push_bind(not_finite_text(point.value));
                });
                query.push(" ON CONFLICT (run_id, name, step) DO NOTHING");
                query.build().execute(pool).await.map(drop).map_err(|e| missing(e, "run"))?;
            });
        }
        if let Some(first) = points.iter().map(|point| point.step).min() {
            in_transaction!(self, tx => { unpack_from!(tx, run, first); });
            while self.pack_points(run).await? {}
        }
        Ok(())
    }

    /// Looks up a run.
    pub async fn get_run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        let row: Option<RunRow> = with_db!(self, pool =>
            sqlx::query_as(select_runs!("WHERE r.id = $1")).bind(id.0).fetch_optional(pool).await?);
        row.map(Run::try_from).transpose()
    }

    /// Lists runs, newest first.
    pub async fn list_runs(&self, at_most: u32) -> Result<Vec<Run>, StoreError> {
        let rows: Vec<RunRow> = with_db!(self, pool =>
            sqlx::query_as(select_runs!("ORDER BY r.id DESC LIMIT $1"))
                .bind(i64::from(at_most))
                .fetch_all(pool)
                .await?);
        rows.into_iter().map(Run::try_from).collect()
    }

    /// Sets the last finished step of the claim's run, and inserts points of its curves. Existing points are
    /// replaced, because a resumed run repeats steps. Values that are not finite have a table of their own, because
    /// SQLite cannot hold NaN: [`Store::curves`] lists them, [`Store::metrics`] does not.
    ///
    /// # Errors
    /// Fails with `LeaseLost`; with `Missing` if the run belongs to another job.
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
            let replaced: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM metrics_not_finite WHERE run_id = $1")
                .bind(run.0)
                .fetch_one(&mut *tx)
                .await?;
            for point in points {
                insert_point!(tx, run, point, replaced > 0);
            }
            let first = points.iter().map(|point| point.step).min().unwrap_or(step);
            unpack_from!(tx, run, first);
            pack!(tx, run, step);
        });
        Ok(())
    }

    /// Resets the claim's run to a saved step: deletes the points and samples of later steps, which the resumed run
    /// makes again. A run that begins at step 0 draws the samples of step 0 again too.
    ///
    /// # Errors
    /// Fails with `LeaseLost`; with `Missing` if the run belongs to another job.
    pub async fn rewind_run(&self, claim: &Claim, run: RunId, step: i64) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            require_lease!(tx, claim);
            set_step!(tx, claim, run, step);
            for delete in [
                "DELETE FROM metrics WHERE run_id = $1 AND step > $2",
                "DELETE FROM metrics_not_finite WHERE run_id = $1 AND step > $2",
            ] {
                sqlx::query(delete).bind(run.0).bind(step).execute(&mut *tx).await?;
            }
            unpack_from!(tx, run, step + 1);
            sqlx::query(
                "DELETE FROM images WHERE run_id = $1 AND purpose = 'sample' AND (step > $2 OR $2 = 0)")
                .bind(run.0)
                .bind(step)
                .execute(&mut *tx)
                .await?;
        });
        Ok(())
    }

    /// Lists the points of a run's curves after a step, in order of step. -1 lists all. Values that are not finite are
    /// left out, because JSON cannot hold them.
    pub async fn metrics(&self, run: RunId, after_step: i64) -> Result<Vec<MetricPoint>, StoreError> {
        let rows: Vec<(String, i64, f64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT name, step, value FROM metrics WHERE run_id = $1 AND step > $2 ORDER BY step, name")
            .bind(run.0)
            .bind(after_step)
            .fetch_all(pool)
            .await?);
        Ok(rows.into_iter().map(|(name, step, value)| MetricPoint { name, step, value }).collect())
    }

    /// Lists the last point of each named curve of a run. Curves without points are left out.
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
