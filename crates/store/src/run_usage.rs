//! What runs take of their workers: measurements, and the time of the parts of a step.

use crate::db::{Store, in_transaction, micros, with_db};
use crate::error::StoreError;
use crate::jobs::{Claim, require_lease};
use domain::Timestamp;
use domain::id::RunId;
use domain::usage::{PartTime, RunUsage, Usage};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Most measurements of a run that are kept.
const KEPT: i64 = 720;
/// Steps over which the parts of every step are averaged: reading those of all steps would take long.
const STEPS: i64 = 200;
/// Parts of steps of which only some have them, with their curves.
const SPREAD: [&str; 3] = ["seconds/validation", "seconds/samples", "seconds/checkpoint"];

#[derive(sqlx::FromRow)]
struct Row {
    measured_at: Timestamp,
    cores: f64,
    memory: i64,
    host_memory: i64,
    device_memory: Option<i64>,
}

/// A size as the column holds it.
fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The distance of the ticks that are kept at a tick: a power of two.
fn stride(tick: i64) -> i64 {
    let mut stride = 1;
    while tick / stride >= KEPT {
        stride *= 2;
    }
    stride
}

impl Store {
    /// Appends a measurement to those of the claim's run; no effect if the job has no run yet. Of a run with many, every
    /// second one is removed again, then every fourth that is left, and so on.
    ///
    /// # Errors
    /// Fails with `LeaseLost` if another worker holds the job or it has ended.
    pub async fn append_usage(&self, claim: &Claim, usage: &Usage) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            require_lease!(tx, claim);
            // The newest measurement stays until the next one, so that the number of the next follows from it.
            let run: Option<(Uuid, i64)> = sqlx::query_as(
                "SELECT r.id, COALESCE((SELECT MAX(u.tick) FROM run_usage u WHERE u.run_id = r.id), -1) \
                 FROM runs r WHERE r.job_id = $1")
                .bind(claim.job.id.0)
                .fetch_optional(&mut *tx)
                .await?;
            let Some((run, last)) = run else { return Ok(()) };
            sqlx::query("DELETE FROM run_usage WHERE run_id = $1 AND tick % $2 <> 0")
                .bind(run)
                .bind(stride(last + 1))
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                "INSERT INTO run_usage (run_id, tick, measured_at, cores, memory, host_memory, device_memory) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)")
                .bind(run)
                .bind(last + 1)
                .bind(micros(usage.at))
                .bind(usage.cores)
                .bind(bytes(usage.memory))
                .bind(bytes(usage.host_memory))
                .bind(usage.device_memory.map(bytes))
                .execute(&mut *tx)
                .await?;
        });
        Ok(())
    }

    /// What a run takes of its worker.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn run_usage(&self, run: RunId) -> Result<RunUsage, StoreError> {
        let rows: Vec<Row> = with_db!(self, pool => sqlx::query_as(
            "SELECT measured_at, cores, memory, host_memory, device_memory FROM run_usage WHERE run_id = $1 ORDER BY tick")
            .bind(run.0)
            .fetch_all(pool)
            .await?);
        let measurements = rows
            .into_iter()
            .map(|row| Usage {
                at: row.measured_at,
                cores: row.cores,
                memory: row.memory.unsigned_abs(),
                host_memory: row.host_memory.unsigned_abs(),
                device_memory: row.device_memory.map(i64::unsigned_abs),
            })
            .collect();
        Ok(RunUsage { measurements, time: self.part_times(run).await? })
    }

    async fn part_times(&self, run: RunId) -> Result<Vec<PartTime>, StoreError> {
        let steps: Option<i64> = with_db!(self, pool =>
            sqlx::query_scalar("SELECT step FROM runs WHERE id = $1").bind(run.0).fetch_optional(pool).await?);
        let Some(steps) = steps.filter(|steps| *steps > 0) else { return Ok(Vec::new()) };
        let means: Vec<(String, f64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT name, AVG(value) FROM metrics WHERE run_id = $1 AND step > $2 AND name LIKE 'seconds/%' GROUP BY name")
            .bind(run.0)
            .bind(steps - STEPS)
            .fetch_all(pool)
            .await?);
        let mut parts: BTreeMap<String, f64> = means.into_iter().collect();
        for name in SPREAD {
            let sum: Option<f64> = with_db!(self, pool =>
                sqlx::query_scalar("SELECT SUM(value) FROM metrics WHERE run_id = $1 AND name = $2")
                    .bind(run.0)
                    .bind(name)
                    .fetch_one(pool)
                    .await?);
            #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
            let spread = sum.map(|sum| sum / steps as f64);
            parts.remove(name);
            parts.extend(spread.map(|seconds| (name.to_owned(), seconds)));
        }
        let part = |(name, seconds): (String, f64)| PartTime {
            part: name.trim_start_matches("seconds/").to_owned(),
            seconds,
        };
        let mut time: Vec<PartTime> = parts.into_iter().map(part).collect();
        time.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Ok(time)
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, stride};

    #[test]
    fn the_number_of_kept_ticks_is_bounded() {
        assert_eq!((stride(0), stride(719), stride(720), stride(1439), stride(1440)), (1, 1, 2, 2, 4));
        for tick in [0, 719, 720, 5000, 1_000_000] {
            assert!(tick / stride(tick) < KEPT, "{tick}");
        }
    }
}
