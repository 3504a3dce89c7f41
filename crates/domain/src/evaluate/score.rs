//! Mean scores of a model.

use super::metric::Metric;
use serde::{Deserialize, Serialize};

/// The mean score of a model's evaluation images by one metric.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelScore {
    /// The metric.
    pub metric: Metric,
    /// Mean score.
    pub mean: f64,
    /// Half the width of the mean's 95% interval (1.96 standard errors).
    pub half_width: f64,
    /// Number of images.
    pub count: i64,
}
