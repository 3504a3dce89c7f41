//! How scorers agree with raters: by category of prompts, over time, in a blend, and where they part.

use crate::evaluate::Metric;
use crate::ranking::Rating;
use serde::{Deserialize, Serialize};

/// Agreement of a metric with the votes on prompts of one category.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryAccuracy {
    /// The category, as an evaluation named it.
    pub category: String,
    /// Votes on two images of its prompts that both have a score.
    pub votes: i64,
    /// Share of these votes that the scores agree with; 1/2 where only the scores or only the rater find a tie.
    pub accuracy: f64,
}

/// The agreement of a metric with the newest quarter of the votes against that with the votes before.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScorerDrift {
    /// Votes before the newest.
    pub earlier_votes: i64,
    /// Agreement with them.
    pub earlier_accuracy: f64,
    /// The newest votes: a quarter of all, at least 50.
    pub newest_votes: i64,
    /// Agreement with them.
    pub newest_accuracy: f64,
    /// Lower end of the 95% interval of the newest agreement minus the earlier one.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Whether the interval is below 0: the metric agrees less with the raters than it did.
    pub has_drifted: bool,
}

/// A logistic regression of votes with a winner on the differences of several metrics' scores.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScorerBlend {
    /// The weight of each metric.
    pub weights: Vec<BlendWeight>,
    /// Votes with a winner whose images have a score by each of these metrics.
    pub votes: i64,
    /// Their prompts.
    pub prompts: i64,
    /// Share of the votes whose winner the blend names, each predicted by a blend that was fitted to other prompts (five folds).
    pub accuracy: f64,
    /// Mean of -ln of the probability of the winner, predicted likewise; 0.693 for a coin.
    pub log_loss: f64,
    /// The best agreement of a single metric with the same votes.
    pub best_single: f64,
    /// Predictions in groups: the closer `predicted` and `observed`, the better the probabilities.
    pub calibration: Vec<CalibrationGroup>,
}

/// A metric in a blend.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlendWeight {
    /// The metric.
    pub metric: Metric,
    /// Log-odds that an image wins per standard deviation of the difference of its scores.
    pub weight: f64,
}

/// Votes that a blend predicts with about the same probability.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationGroup {
    /// Number of votes.
    pub votes: i64,
    /// Mean predicted probability of the likelier image.
    pub predicted: f64,
    /// Share of the votes that it won.
    pub observed: f64,
}

/// Two images of which raters prefer one and a metric the other.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartedPair {
    /// The metric.
    pub metric: Metric,
    /// The prompt of both images.
    pub prompt: String,
    /// URL of the image that raters prefer.
    pub preferred_url: String,
    /// URL of the image that the metric prefers.
    pub scored_url: String,
    /// Score of the image that raters prefer.
    pub preferred_score: f64,
    /// Score of the image that the metric prefers.
    pub scored_score: f64,
    /// Votes for the image that raters prefer, among the newest.
    pub votes_for: i64,
    /// Votes for the other image.
    pub votes_against: i64,
}

/// Ratings from the votes on prompts of one category.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryRatings {
    /// The category, as an evaluation named it.
    pub category: String,
    /// Its votes, among the newest.
    pub votes: i64,
    /// The models with votes on its prompts, best first.
    pub ratings: Vec<CategoryRating>,
}

/// A model's rating in a category.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryRating {
    /// Name of the model, as on the leaderboard.
    pub model: String,
    /// The rating with the 95% interval for one look.
    pub rating: Rating,
}
