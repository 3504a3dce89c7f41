//! What workers log for runs.

use crate::db::{Store, in_transaction, micros, parsed, with_db};
use crate::error::StoreError;
use crate::jobs::{Claim, require_lease};
use domain::Timestamp;
use domain::id::RunId;
use domain::log::LogLine;
use uuid::Uuid;

/// Lines of a run that are kept.
const KEPT: i64 = 5000;

#[derive(sqlx::FromRow)]
struct Row {
    line: i64,
    logged_at: Timestamp,
    level: String,
    message: String,
}

impl Store {
    /// Appends lines to the log of the claim's run; their own numbers do not matter. Returns false, and appends nothing, if
    /// the job has no run yet.
    ///
    /// # Errors
    /// Fails with `LeaseLost` if another worker holds the job or it has ended.
    pub async fn append_log(&self, claim: &Claim, lines: &[LogLine]) -> Result<bool, StoreError> {
        let written = in_transaction!(self, tx => {
            require_lease!(tx, claim);
            let run: Option<(Uuid, i64)> = sqlx::query_as(
                "SELECT r.id, COALESCE((SELECT MAX(l.line) FROM run_log l WHERE l.run_id = r.id), 0) \
                 FROM runs r WHERE r.job_id = $1")
                .bind(claim.job.id.0)
                .fetch_optional(&mut *tx)
                .await?;
            let Some((run, mut last)) = run else { return Ok(false) };
            for line in lines {
                last += 1;
                sqlx::query(
                    "INSERT INTO run_log (run_id, line, logged_at, level, message) VALUES ($1, $2, $3, $4, $5)")
                    .bind(run)
                    .bind(last)
                    .bind(micros(line.at))
                    .bind(line.level.as_str())
                    .bind(&line.message)
                    .execute(&mut *tx)
                    .await?;
            }
            sqlx::query("DELETE FROM run_log WHERE run_id = $1 AND line <= $2")
                .bind(run)
                .bind(last - KEPT)
                .execute(&mut *tx)
                .await?;
            true
        });
        Ok(written)
    }

    /// Lines of a run's log, oldest first: those after line `after`, or without it the last ones.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    pub async fn run_log(
        &self,
        run: RunId,
        after: Option<i64>,
        at_most: u32,
    ) -> Result<Vec<LogLine>, StoreError> {
        let sql = match after {
            Some(_) => {
                "SELECT line, logged_at, level, message FROM run_log WHERE run_id = $1 AND line > $2 \
                 ORDER BY line LIMIT $3"
            }
            None => {
                "SELECT line, logged_at, level, message FROM run_log WHERE run_id = $1 AND line > $2 \
                 ORDER BY line DESC LIMIT $3"
            }
        };
        let rows: Vec<Row> = with_db!(self, pool => sqlx::query_as(sql)
            .bind(run.0)
            .bind(after.unwrap_or(0))
            .bind(i64::from(at_most))
            .fetch_all(pool)
            .await?);
        let line = |row: Row| {
            Ok(LogLine {
                line: row.line,
                at: row.logged_at,
                level: parsed(row.level.parse(), "run_log", "level", run)?,
                message: row.message,
            })
        };
        let mut lines = rows.into_iter().map(line).collect::<Result<Vec<_>, StoreError>>()?;
        if after.is_none() {
            lines.reverse();
        }
        Ok(lines)
    }
}
