//! What depends on a model, and its removal.

use crate::db::{Store, in_transaction, parsed, with_db};
use crate::error::{Conflict, StoreError};
use domain::id::ModelId;
use domain::preference::Choice;
use serde_json::Value;
use uuid::Uuid;

/// Votes on images of a model against images of others, on every question. Images drawn with adapters do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelVotes {
    /// Votes for the model.
    pub wins: i64,
    /// Votes for the other model.
    pub losses: i64,
    /// Votes "tie".
    pub ties: i64,
    /// Votes "both bad".
    pub both_bad: i64,
}

/// What is going on: counts for the front page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Jobs that a worker holds.
    pub running: i64,
    /// Jobs that wait for a worker.
    pub queued: i64,
    /// Models with a row.
    pub models: i64,
}

/// The names or ids of models that a spec mentions are strings in it, at whatever depth.
fn mentions(spec: &Value, names: &[&str]) -> bool {
    match spec {
        Value::String(text) => names.contains(&text.as_str()),
        Value::Array(items) => items.iter().any(|item| mentions(item, names)),
        Value::Object(fields) => fields.values().any(|value| mentions(value, names)),
        _ => false,
    }
}

impl Store {
    /// Counts what is going on.
    pub async fn activity(&self) -> Result<Activity, StoreError> {
        let (running, queued, models): (i64, i64, i64) = with_db!(self, pool => sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM jobs WHERE state = 'running'), \
             (SELECT COUNT(*) FROM jobs WHERE state = 'queued'), (SELECT COUNT(*) FROM models)")
            .fetch_one(pool)
            .await?);
        Ok(Activity { running, queued, models })
    }

    /// Counts the votes on images of a model.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    pub async fn model_votes(&self, model: ModelId) -> Result<ModelVotes, StoreError> {
        let rows: Vec<(String, i64, i64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT judged.choice, judged.is_left, COUNT(*) FROM \
             (SELECT v.choice, CAST(1 AS BIGINT) AS is_left FROM images i JOIN matchups m ON m.left_image = i.id \
              JOIN images o ON o.id = m.right_image JOIN votes v ON v.matchup_id = m.id \
              WHERE i.model_id = $1 AND i.contestant_id IS NULL AND (o.model_id <> $1 OR o.contestant_id IS NOT NULL) \
              AND (m.campaign_id IS NULL OR m.campaign_id IN (SELECT id FROM campaigns WHERE state = 'closed')) \
              UNION ALL \
              SELECT v.choice, CAST(0 AS BIGINT) AS is_left FROM images i JOIN matchups m ON m.right_image = i.id \
              JOIN images o ON o.id = m.left_image JOIN votes v ON v.matchup_id = m.id \
              WHERE i.model_id = $1 AND i.contestant_id IS NULL AND (o.model_id <> $1 OR o.contestant_id IS NOT NULL) \
              AND (m.campaign_id IS NULL OR m.campaign_id IN (SELECT id FROM campaigns WHERE state = 'closed'))) \
             AS judged GROUP BY judged.choice, judged.is_left")
            .bind(model.0)
            .fetch_all(pool)
            .await?);
        let mut votes = ModelVotes::default();
        for (choice, is_left, count) in rows {
            match (parsed(choice.parse(), "votes", "choice", model)?, is_left) {
                (Choice::Left, 1) | (Choice::Right, 0) => votes.wins += count,
                (Choice::Left | Choice::Right, _) => votes.losses += count,
                (Choice::Tie, _) => votes.ties += count,
                (Choice::BothBad, _) => votes.both_bad += count,
            }
        }
        Ok(votes)
    }

    /// Whether an image of a model can be judged against one of another model.
    pub async fn is_comparable(&self, model: ModelId) -> Result<bool, StoreError> {
        let pairs: i64 = with_db!(self, pool =>
            sqlx::query_scalar("SELECT COUNT(*) FROM comparable_models WHERE model_a = $1 OR model_b = $1")
                .bind(model.0)
                .fetch_one(pool)
                .await?);
        Ok(pairs > 0)
    }

    /// Counts the images that are lost with a model: all of it but the samples of its run.
    pub async fn count_model_images(&self, model: ModelId) -> Result<i64, StoreError> {
        Ok(with_db!(self, pool => sqlx::query_scalar(
            "SELECT COUNT(*) FROM images WHERE model_id = $1 AND purpose <> 'sample'")
            .bind(model.0)
            .fetch_one(pool)
            .await?))
    }

    /// Names of the queued and running jobs and of the running studies whose specs name a model, and of the models that
    /// are trained from it or share its folder: what breaks without it.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    pub async fn dependants(&self, id: ModelId, name: &str) -> Result<Vec<String>, StoreError> {
        let derived: Vec<String> = with_db!(self, pool =>
            sqlx::query_scalar("SELECT name FROM models WHERE base_id = $1 ORDER BY id").bind(id.0).fetch_all(pool).await?);
        let sharing: Vec<String> = with_db!(self, pool => sqlx::query_scalar(
            "SELECT o.name FROM models o JOIN models m ON m.folder = o.folder \
             WHERE m.id = $1 AND o.id <> $1 AND (o.base_id IS NULL OR o.base_id <> $1) ORDER BY o.id")
            .bind(id.0)
            .fetch_all(pool)
            .await?);
        let models = derived.into_iter().chain(sharing);
        let mut found: Vec<String> = models.map(|name| format!("model {name}")).collect();
        let specs: Vec<(Uuid, String)> = with_db!(self, pool => sqlx::query_as(
            "SELECT id, spec FROM jobs WHERE state IN ('queued', 'running') ORDER BY id").fetch_all(pool).await?);
        let studies: Vec<(Uuid, String)> = with_db!(self, pool => sqlx::query_as(
            "SELECT id, spec FROM studies WHERE state = 'running' ORDER BY id").fetch_all(pool).await?);
        let text = id.to_string();
        for (kind, table, rows) in [("job", "jobs", specs), ("study", "studies", studies)] {
            for (row, spec) in rows {
                let spec: Value = parsed(serde_json::from_str(&spec), table, "spec", row)?;
                if mentions(&spec, &[name, &text]) {
                    let named = spec["name"].as_str().map_or_else(|| row.to_string(), str::to_owned);
                    found.push(format!("{kind} {named}"));
                }
            }
        }
        Ok(found)
    }

    /// Deletes a model with its images and the matchups that nobody has judged; the samples of its run stay. Returns the
    /// artifacts of the deleted images: the caller deletes them, and the model's folder, afterwards. No effect if the model
    /// does not exist.
    ///
    /// # Errors
    /// Fails with `Conflict::ModelInUse` if another model is trained from it, or an image of it was judged.
    pub async fn remove_model(&self, id: ModelId) -> Result<Vec<String>, StoreError> {
        let artifacts = in_transaction!(self, tx => {
            let uses: i64 = sqlx::query_scalar(
                "SELECT (SELECT COUNT(*) FROM models WHERE base_id = $1) + \
                 (SELECT COUNT(*) FROM images i JOIN matchups m ON m.left_image = i.id \
                  JOIN votes v ON v.matchup_id = m.id WHERE i.model_id = $1) + \
                 (SELECT COUNT(*) FROM images i JOIN matchups m ON m.right_image = i.id \
                  JOIN votes v ON v.matchup_id = m.id WHERE i.model_id = $1)")
                .bind(id.0)
                .fetch_one(&mut *tx)
                .await?;
            if uses > 0 {
                return Err(Conflict::ModelInUse.into());
            }
            let artifacts: Vec<String> = sqlx::query_scalar(
                "SELECT artifact FROM images WHERE model_id = $1 AND purpose <> 'sample' ORDER BY id")
                .bind(id.0)
                .fetch_all(&mut *tx)
                .await?;
            for change in [
                "DELETE FROM matchups WHERE left_image IN (SELECT id FROM images WHERE model_id = $1) \
                 OR right_image IN (SELECT id FROM images WHERE model_id = $1)",
                "UPDATE images SET model_id = NULL, contestant_id = NULL WHERE model_id = $1 AND purpose = 'sample'",
                "DELETE FROM images WHERE model_id = $1",
                "DELETE FROM contestants WHERE model_id = $1",
                "DELETE FROM model_score_sums WHERE model_id = $1",
                "DELETE FROM comparable_models WHERE model_a = $1 OR model_b = $1",
                "DELETE FROM models WHERE id = $1",
            ] {
                sqlx::query(change).bind(id.0).execute(&mut *tx).await.map_err(|e| match &e {
                    sqlx::Error::Database(error) if error.is_foreign_key_violation() => Conflict::ModelInUse.into(),
                    _ => StoreError::from(e),
                })?;
            }
            artifacts
        });
        Ok(artifacts)
    }
}

#[cfg(test)]
mod tests {
    use super::mentions;
    use serde_json::json;

    #[test]
    fn a_model_is_found_at_any_depth_of_a_spec() {
        let spec = json!({"base": "a", "objective": {"reference": "b"}, "models": [{"lora": [{"model": "c"}]}], "steps": 5});
        for name in ["a", "b", "c"] {
            assert!(mentions(&spec, &[name]), "{name}");
        }
        assert!(!mentions(&spec, &["base", "d", "5"]));
    }
}
