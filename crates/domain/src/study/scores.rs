//! The stored scores of a study, from which its report is made: lines of `scores.csv` and `curves.csv`.

use super::measure::Measure;
use serde::{Deserialize, Serialize};

/// A score of an image, or the distance of all images of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreRow {
    /// Name of the set.
    pub data: String,
    /// Name of the evaluation.
    pub evaluation: String,
    /// `base`, `final/METHOD`, `trial/METHOD/NUMBER` or `ablation/NAME/VALUE`.
    pub model: String,
    /// Seed of the run; none for the base.
    pub seed: Option<u64>,
    /// Index of the image; none for a distance.
    pub image: Option<usize>,
    /// What was measured.
    pub measure: Measure,
    /// The score.
    pub score: f64,
}

/// A point of a run's curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurveRow {
    /// Name of the set.
    pub data: String,
    /// `final/METHOD` or `ablation/NAME/VALUE`.
    pub model: String,
    /// Seed of the run.
    pub seed: u64,
    /// Name of the curve.
    pub curve: String,
    /// The step.
    pub step: i64,
    /// The value.
    pub value: f64,
}
