//! Bodies of evaluations.

use crate::evaluate::EvaluationReport;
use crate::id::{ImageId, ModelId};
use crate::job::Job;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An evaluation with its figures.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationDetail {
    /// The job of kind `evaluate`, with its spec.
    pub job: Job,
    /// The figures; none until the job has succeeded.
    pub report: Option<EvaluationReport>,
    /// The evaluated models that still exist, in the order of the report.
    pub models: Vec<EvaluatedModel>,
}

/// An evaluated model.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluatedModel {
    /// Id of the model, for links to its page.
    pub id: ModelId,
    /// Name, as in the report.
    pub name: String,
    /// Whether its weights are still those that were evaluated.
    pub is_unchanged: bool,
    /// Its images of the first prompts and of the largest wins and losses, by the index of the prompt.
    pub images: BTreeMap<usize, ImageId>,
}
