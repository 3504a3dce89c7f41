//! What people change of a run: its name, notes and tags, and its deletion.

use crate::db::{Store, in_transaction, parsed, with_db};
use crate::error::{Conflict, StoreError};
use domain::api::RunChange;
use domain::id::{RunId, StudyId};
use domain::job::JobSpec;
use domain::limits::MAX_NAME_BYTES;
use std::collections::{BTreeSet, HashSet};
use uuid::Uuid;

impl Store {
    /// Changes the fields that are present. No effect if the run does not exist.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn change_run(&self, id: RunId, change: &RunChange) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            let found = sqlx::query(
                "UPDATE runs SET name = COALESCE($2, name), notes = COALESCE($3, notes), \
                 pinned = COALESCE($4, pinned), archived = COALESCE($5, archived) WHERE id = $1")
                .bind(id.0)
                .bind(&change.name)
                .bind(&change.notes)
                .bind(change.pinned)
                .bind(change.archived)
                .execute(&mut *tx)
                .await?
                .rows_affected();
            if let Some(tags) = change.tags.as_ref().filter(|_| found > 0) {
                sqlx::query("DELETE FROM run_tags WHERE run_id = $1").bind(id.0).execute(&mut *tx).await?;
                for tag in tags.iter().collect::<BTreeSet<_>>() {
                    sqlx::query("INSERT INTO run_tags (run_id, tag) VALUES ($1, $2)")
                        .bind(id.0)
                        .bind(tag)
                        .execute(&mut *tx)
                        .await?;
                }
            }
        });
        Ok(())
    }

    /// A free name instead of one that another run has, or will have once a worker claims its job: the name with the first
    /// number from 2 that is free. None if the name is free. `except`: the run that gets the name.
    ///
    /// # Errors
    /// Fails if the database does not answer, or if the spec of a job cannot be read.
    pub async fn name_instead(
        &self,
        name: &str,
        except: Option<RunId>,
    ) -> Result<Option<String>, StoreError> {
        let runs: Vec<(Uuid, String)> = with_db!(self, pool =>
            sqlx::query_as("SELECT id, name FROM runs").fetch_all(pool).await?);
        let runs = runs.into_iter().filter(|(id, _)| except.is_none_or(|run| run.0 != *id));
        let mut taken: HashSet<String> = runs.map(|(_, name)| name).collect();
        let waiting: Vec<(Uuid, String)> = with_db!(self, pool => sqlx::query_as(
            "SELECT j.id, j.spec FROM jobs j LEFT JOIN runs r ON r.job_id = j.id \
             WHERE j.state IN ('queued', 'running') AND r.id IS NULL")
            .fetch_all(pool)
            .await?);
        for (job, spec) in waiting {
            if let JobSpec::Train(spec) = parsed(serde_json::from_str(&spec), "jobs", "spec", job)? {
                taken.insert(spec.name);
            }
        }
        Ok(free_name(name, &taken))
    }

    /// The study that the run's job is a cell of.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn study_of_run(&self, id: RunId) -> Result<Option<(StudyId, String)>, StoreError> {
        let row: Option<(Uuid, String)> = with_db!(self, pool => sqlx::query_as(
            "SELECT s.id, s.name FROM runs r JOIN study_jobs c ON c.job_id = r.job_id \
             JOIN studies s ON s.id = c.study_id WHERE r.id = $1")
            .bind(id.0)
            .fetch_optional(pool)
            .await?);
        Ok(row.map(|(id, name)| (StudyId(id), name)))
    }

    /// Counts the votes on the samples of a run, and the samples.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn count_samples(&self, id: RunId) -> Result<(i64, i64), StoreError> {
        Ok(with_db!(self, pool => sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             WHERE m.left_image IN (SELECT id FROM images WHERE run_id = $1 AND purpose = 'sample') \
             OR m.right_image IN (SELECT id FROM images WHERE run_id = $1 AND purpose = 'sample')), \
             (SELECT COUNT(*) FROM images WHERE run_id = $1 AND purpose = 'sample')")
            .bind(id.0)
            .fetch_one(pool)
            .await?))
    }

    /// Deletes a run with its job, curves, tags and samples, and the matchups of samples that nobody has judged. Its models
    /// stay. Returns the artifacts of the samples: the caller deletes them afterwards. No effect if the run does not exist.
    ///
    /// # Errors
    /// Fails with `Conflict::JobNotEnded` if a worker may still work on it; with `Conflict::RunInUse` if a study or a vote
    /// refers to it.
    pub async fn remove_run(&self, id: RunId) -> Result<Vec<String>, StoreError> {
        let artifacts = in_transaction!(self, tx => {
            let job: Option<Uuid> = sqlx::query_scalar("SELECT job_id FROM runs WHERE id = $1")
                .bind(id.0)
                .fetch_optional(&mut *tx)
                .await?;
            let Some(job) = job else { return Ok(Vec::new()) };
            // Locks the job's row, so that nobody resumes it meanwhile.
            let ended = sqlx::query(
                "UPDATE jobs SET state = state WHERE id = $1 AND state IN ('succeeded', 'failed', 'cancelled')")
                .bind(job)
                .execute(&mut *tx)
                .await?
                .rows_affected();
            if ended == 0 {
                return Err(Conflict::JobNotEnded.into());
            }
            let artifacts: Vec<String> = sqlx::query_scalar(
                "SELECT artifact FROM images WHERE run_id = $1 AND purpose = 'sample' ORDER BY id")
                .bind(id.0)
                .fetch_all(&mut *tx)
                .await?;
            for change in [
                "DELETE FROM matchups WHERE id NOT IN (SELECT matchup_id FROM votes) \
                 AND (left_image IN (SELECT id FROM images WHERE run_id = $1 AND purpose = 'sample') \
                 OR right_image IN (SELECT id FROM images WHERE run_id = $1 AND purpose = 'sample'))",
                "DELETE FROM images WHERE run_id = $1 AND purpose = 'sample'",
                "UPDATE images SET run_id = NULL WHERE run_id = $1",
                "UPDATE models SET run_id = NULL WHERE run_id = $1",
                "DELETE FROM metrics WHERE run_id = $1",
                "DELETE FROM metrics_not_finite WHERE run_id = $1",
                "DELETE FROM metric_chunks WHERE run_id = $1",
                "DELETE FROM run_tags WHERE run_id = $1",
                "DELETE FROM run_log WHERE run_id = $1",
                "DELETE FROM run_usage WHERE run_id = $1",
                "DELETE FROM runs WHERE id = $1",
            ] {
                sqlx::query(change).bind(id.0).execute(&mut *tx).await.map_err(in_use)?;
            }
            sqlx::query("DELETE FROM jobs WHERE id = $1").bind(job).execute(&mut *tx).await.map_err(in_use)?;
            artifacts
        });
        Ok(artifacts)
    }
}

/// What refers to a run or its job.
fn in_use(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(e) if e.is_foreign_key_violation() => Conflict::RunInUse.into(),
        _ => error.into(),
    }
}

/// The name with the first number from 2 that is not taken; none if the name itself is not.
fn free_name(name: &str, taken: &HashSet<String>) -> Option<String> {
    if !taken.contains(name) {
        return None;
    }
    let stem = match name.rsplit_once('-') {
        Some((stem, number)) if !stem.is_empty() && number.parse::<u32>().is_ok_and(|n| n < 1_000_000) => {
            stem
        }
        _ => name,
    };
    // One of these is free, because there are more than taken names.
    (2..=taken.len() + 2)
        .map(|number| {
            let number = number.to_string();
            let room = MAX_NAME_BYTES.saturating_sub(number.len() + 1);
            let stem: String = stem.chars().take(room).collect();
            format!("{stem}-{number}")
        })
        .find(|name| !taken.contains(name))
}

#[cfg(test)]
mod tests {
    use super::free_name;

    #[test]
    fn a_taken_name_gets_the_first_free_number() {
        let taken = ["own-dpo", "own-dpo-2", "step-9", "b"].map(str::to_owned).into();
        for (name, free) in [
            ("free", None),
            ("own-dpo", Some("own-dpo-3")),
            ("own-dpo-2", Some("own-dpo-3")),
            ("step-9", Some("step-2")),
            ("b", Some("b-2")),
        ] {
            assert_eq!(free_name(name, &taken).as_deref(), free, "{name}");
        }
        let long = "a".repeat(100);
        let free = free_name(&long, &[long.clone()].into()).expect("a name");
        assert_eq!((free.len(), &free[98..]), (100, "-2"));
    }
}
