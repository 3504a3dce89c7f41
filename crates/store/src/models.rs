//! Models. Callers write a model's files first and its row second, so that no row lacks its files.

use crate::db::{Store, in_transaction, micros, with_db, write_db};
use crate::error::{Conflict, StoreError, missing};
use crate::jobs::{Claim, require_lease};
use domain::Timestamp;
use domain::id::{ModelId, RunId};
use domain::model::Model;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct ModelRow {
    id: Uuid,
    name: String,
    folder: String,
    sha256: String,
    base_id: Option<Uuid>,
    run_id: Option<Uuid>,
    step: Option<i64>,
    objective: Option<String>,
    description: String,
    created_at: Timestamp,
}

impl From<ModelRow> for Model {
    fn from(row: ModelRow) -> Self {
        Self {
            id: ModelId(row.id),
            name: row.name,
            folder: row.folder,
            sha256: row.sha256,
            base_id: row.base_id.map(ModelId),
            run_id: row.run_id.map(RunId),
            step: row.step,
            objective: row.objective,
            description: row.description,
            created_at: row.created_at,
        }
    }
}

macro_rules! select_models {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, folder, sha256, base_id, run_id, step, objective, description, created_at FROM models ",
            $rest
        )
    };
}

impl Store {
    /// Inserts a model. `claim`: the worker's, checked in the same transaction; none for imports.
    ///
    /// # Errors
    /// Fails with `Conflict::ModelName` or `LeaseLost`; with `Missing` if its base or run does not exist.
    pub async fn insert_model(&self, model: &Model, claim: Option<&Claim>) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            if let Some(claim) = claim {
                require_lease!(tx, claim);
            }
            let inserted = sqlx::query(
                "INSERT INTO models (id, name, folder, sha256, base_id, run_id, step, objective, description, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (name) DO NOTHING")
                .bind(model.id.0)
                .bind(&model.name)
                .bind(&model.folder)
                .bind(&model.sha256)
                .bind(model.base_id.map(|id| id.0))
                .bind(model.run_id.map(|id| id.0))
                .bind(model.step)
                .bind(&model.objective)
                .bind(&model.description)
                .bind(micros(model.created_at))
                .execute(&mut *tx)
                .await
                .map_err(|e| missing(e, "base model or run"))?
                .rows_affected();
            if inserted == 0 {
                return Err(Conflict::ModelName.into());
            }
        });
        Ok(())
    }

    /// Changes where a model's folder is. No effect if the model does not exist.
    pub async fn move_model(&self, id: ModelId, folder: &str) -> Result<(), StoreError> {
        write_db!(self, pool =>
            sqlx::query("UPDATE models SET folder = $1 WHERE id = $2").bind(folder).bind(id.0).execute(pool).await?.rows_affected());
        Ok(())
    }

    /// Deletes a model that no image, vote or other model refers to. The caller deletes its files afterwards. No
    /// effect if the model does not exist.
    ///
    /// # Errors
    /// Fails with `Conflict::ModelInUse` or `LeaseLost`.
    pub async fn delete_model(&self, id: ModelId, claim: &Claim) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            require_lease!(tx, claim);
            sqlx::query("DELETE FROM models WHERE id = $1").bind(id.0).execute(&mut *tx).await.map_err(|e| {
                match &e {
                    sqlx::Error::Database(error) if error.is_foreign_key_violation() => {
                        Conflict::ModelInUse.into()
                    }
                    _ => StoreError::from(e),
                }
            })?;
        });
        Ok(())
    }

    /// Records the fingerprint of a model, as JSON, unless it has one. Returns the one that is recorded.
    ///
    /// # Errors
    /// Fails with `Missing` if the model does not exist.
    pub async fn record_fingerprint(&self, id: ModelId, parts: &str) -> Result<String, StoreError> {
        write_db!(self, pool =>
            sqlx::query(
                "INSERT INTO model_fingerprints (model_id, parts) VALUES ($1, $2) ON CONFLICT (model_id) DO NOTHING")
                .bind(id.0)
                .bind(parts)
                .execute(pool)
                .await
                .map(drop)
                .map_err(|e| missing(e, "model"))?);
        Ok(with_db!(self, pool =>
            sqlx::query_scalar("SELECT parts FROM model_fingerprints WHERE model_id = $1")
                .bind(id.0)
                .fetch_one(pool)
                .await?))
    }

    /// Looks up a model by id.
    pub async fn get_model(&self, id: ModelId) -> Result<Option<Model>, StoreError> {
        let row: Option<ModelRow> = with_db!(self, pool =>
            sqlx::query_as(select_models!("WHERE id = $1")).bind(id.0).fetch_optional(pool).await?);
        Ok(row.map(Model::from))
    }

    /// Looks up a model by name.
    pub async fn get_model_by_name(&self, name: &str) -> Result<Option<Model>, StoreError> {
        let row: Option<ModelRow> = with_db!(self, pool =>
            sqlx::query_as(select_models!("WHERE name = $1")).bind(name).fetch_optional(pool).await?);
        Ok(row.map(Model::from))
    }

    /// Looks up the first model with these weights.
    pub async fn get_model_by_sha256(&self, sha256: &str) -> Result<Option<Model>, StoreError> {
        let row: Option<ModelRow> = with_db!(self, pool =>
            sqlx::query_as(select_models!("WHERE sha256 = $1 ORDER BY id LIMIT 1"))
                .bind(sha256)
                .fetch_optional(pool)
                .await?);
        Ok(row.map(Model::from))
    }

    /// Looks up a model by name, or else by id.
    pub async fn find_model(&self, name_or_id: &str) -> Result<Option<Model>, StoreError> {
        match (self.get_model_by_name(name_or_id).await?, name_or_id.parse()) {
            (None, Ok(id)) => self.get_model(id).await,
            (found, _) => Ok(found),
        }
    }

    /// Lists a model's base, the base's base, and so on.
    ///
    /// # Errors
    /// Fails with `Missing` if one of them does not exist.
    pub async fn list_ancestors(&self, model: &Model) -> Result<Vec<Model>, StoreError> {
        let mut ancestors: Vec<Model> = Vec::new();
        let mut next = model.base_id;
        while let Some(id) = next {
            // A cycle, which only manual edits can create, ends the list.
            if id == model.id || ancestors.iter().any(|known| known.id == id) {
                break;
            }
            let base = self.get_model(id).await?.ok_or(StoreError::Missing("base model"))?;
            next = base.base_id;
            ancestors.push(base);
        }
        Ok(ancestors)
    }

    /// Lists models, newest first.
    pub async fn list_models(&self, at_most: u32) -> Result<Vec<Model>, StoreError> {
        let rows: Vec<ModelRow> = with_db!(self, pool =>
            sqlx::query_as(select_models!("ORDER BY id DESC LIMIT $1"))
                .bind(i64::from(at_most))
                .fetch_all(pool)
                .await?);
        Ok(rows.into_iter().map(Model::from).collect())
    }

    /// Lists the models that other runs have made from the models of a run, oldest first, at most 100.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn list_models_from_run(&self, run: RunId) -> Result<Vec<Model>, StoreError> {
        let rows: Vec<ModelRow> = with_db!(self, pool =>
            sqlx::query_as(select_models!(
                "WHERE base_id IN (SELECT made.id FROM models made WHERE made.run_id = $1) \
                 AND run_id <> $1 ORDER BY id LIMIT 100"))
                .bind(run.0)
                .fetch_all(pool)
                .await?);
        Ok(rows.into_iter().map(Model::from).collect())
    }

    /// Lists the models that a run has made, oldest first.
    pub async fn list_models_of_run(&self, run: RunId) -> Result<Vec<Model>, StoreError> {
        let rows: Vec<ModelRow> = with_db!(self, pool =>
            sqlx::query_as(select_models!("WHERE run_id = $1 ORDER BY id")).bind(run.0).fetch_all(pool).await?);
        Ok(rows.into_iter().map(Model::from).collect())
    }

    /// Lists the models whose base is a model, oldest first.
    pub async fn list_derived(&self, base: ModelId) -> Result<Vec<Model>, StoreError> {
        let rows: Vec<ModelRow> = with_db!(self, pool =>
            sqlx::query_as(select_models!("WHERE base_id = $1 ORDER BY id")).bind(base.0).fetch_all(pool).await?);
        Ok(rows.into_iter().map(Model::from).collect())
    }
}
