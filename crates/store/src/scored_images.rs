//! Evaluation images with their scores by one metric.

use crate::db::{Store, with_db};
use crate::error::StoreError;
use domain::evaluate::Metric;
use domain::id::{ImageId, ModelId};
use uuid::Uuid;

/// An evaluation image with its score.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredEvaluation {
    /// Id of the image.
    pub image: ImageId,
    /// Key of its generation parameters; comparable images have equal keys.
    pub params: String,
    /// Its prompt.
    pub prompt: String,
    /// The score.
    pub value: f64,
}

impl Store {
    /// The evaluation images of a model that a metric has scored, in the order of their parameters' keys.
    pub async fn scored_evaluations(
        &self,
        model: ModelId,
        metric: Metric,
    ) -> Result<Vec<ScoredEvaluation>, StoreError> {
        let rows: Vec<(Uuid, String, String, f64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT i.id, i.params_sha256, i.prompt, s.value FROM images i \
             JOIN image_scores s ON s.image_id = i.id AND s.metric = $2 \
             WHERE i.model_id = $1 AND i.purpose = 'evaluation' ORDER BY i.params_sha256, i.id")
            .bind(model.0)
            .bind(metric.as_str())
            .fetch_all(pool)
            .await?);
        let scored = |(image, params, prompt, value)| ScoredEvaluation {
            image: ImageId(image),
            params,
            prompt,
            value,
        };
        Ok(rows.into_iter().map(scored).collect())
    }
}
