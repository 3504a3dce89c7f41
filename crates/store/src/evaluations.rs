//! Evaluations: their jobs, and the images behind their figures.

use crate::db::{Store, micros, parsed, with_db};
use crate::error::StoreError;
use crate::jobs::{JobRow, select_jobs};
use domain::Timestamp;
use domain::evaluate::EvaluateSpec;
use domain::id::{ImageId, JobId, ModelId};
use domain::job::Job;
use sqlx::QueryBuilder;
use std::collections::BTreeMap;
use uuid::Uuid;

impl Store {
    /// Lists evaluation jobs older than `before`, newest first.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    pub async fn list_evaluations(
        &self,
        before: Option<JobId>,
        at_most: u32,
    ) -> Result<Vec<Job>, StoreError> {
        // The tag comes first in the text of a spec.
        let rows: Vec<JobRow> = with_db!(self, pool => sqlx::query_as(select_jobs!(
            "WHERE j.id < $1 AND j.spec LIKE '{\"kind\":\"evaluate\"%' ORDER BY j.id DESC LIMIT $2"))
            .bind(before.map_or(Uuid::max(), |id| id.0))
            .bind(i64::from(at_most))
            .fetch_all(pool)
            .await?);
        rows.into_iter().map(Job::try_from).collect()
    }

    /// A model's evaluation images of some prompts, by the prompts' indices. Image i has the spec's seed plus i. Of several,
    /// the newest that existed at `until` with the spec's settings.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn images_of_evaluation(
        &self,
        spec: &EvaluateSpec,
        model: ModelId,
        indices: &[usize],
        until: Timestamp,
    ) -> Result<BTreeMap<usize, ImageId>, StoreError> {
        let mut found = BTreeMap::new();
        if indices.is_empty() {
            return Ok(found);
        }
        let seed_of =
            |index: usize| i64::try_from(spec.seed.saturating_add(index as u64)).unwrap_or(i64::MAX);
        let rows: Vec<(i64, Uuid)> = with_db!(self, pool => {
            let mut query = QueryBuilder::new("SELECT seed, id FROM images WHERE purpose = 'evaluation' AND model_id = ");
            query.push_bind(model.0).push(" AND created_at <= ").push_bind(micros(until));
            if let Some(steps) = spec.steps {
                query.push(" AND steps = ").push_bind(i64::from(steps));
            }
            if let Some(scale) = spec.guidance_scale {
                query.push(" AND guidance_scale = ").push_bind(scale);
            }
            if let Some(sampler) = spec.sampler {
                query.push(" AND sampler = ").push_bind(sampler.as_str());
            }
            query.push(" AND seed IN (");
            let mut list = query.separated(", ");
            indices.iter().for_each(|&index| { list.push_bind(seed_of(index)); });
            query.push(") ORDER BY id").build_query_as().fetch_all(pool).await?
        });
        for (seed, id) in rows {
            let index = seed - seed_of(0);
            found.insert(parsed(usize::try_from(index), "images", "seed", id)?, ImageId(id));
        }
        Ok(found)
    }
}
