//! The figures of an evaluation: what `report.json` holds. Computed by the trainer, shown by the site.

use super::metric::Metric;
use crate::prepare::CutTexts;
use crate::ranking::WinRate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The report of an evaluation.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// Number of prompts.
    pub prompts: usize,
    /// Seed of the first image; image i of every model uses seed + i.
    pub seed: u64,
    /// Name of the model that the others are compared with.
    pub baseline: String,
    /// The averages of each model.
    pub models: Vec<ScoredModel>,
    /// Each other model against the baseline, by each metric.
    pub comparisons: Vec<MetricComparison>,
    /// The agreement of every two metrics.
    pub agreements: Vec<MetricsAgreement>,
    /// What the numbers of each metric are: network, scale, weights.
    pub statements: BTreeMap<Metric, String>,
    /// Metrics without a score, with the files that they need.
    pub not_measured: BTreeMap<Metric, String>,
    /// Prompts that are longer than the text encoders of a model read. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<CutTexts>,
}

/// The averages of one model.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredModel {
    /// Name of the model.
    pub model: String,
    /// SHA-256 of its weights.
    pub sha256: String,
    /// One entry per metric that scored an image.
    pub metrics: Vec<MetricSummary>,
    /// Distance of its images from the reference set, if the spec names one.
    pub fid: Option<FidReport>,
}

/// The scores of one model by one metric.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// The metric.
    pub metric: Metric,
    /// Number of images that have a score.
    pub count: usize,
    /// Mean of the scores.
    pub mean: f64,
    /// Median of the scores.
    pub median: f64,
    /// Mean and number of scores per category of prompts.
    pub categories: BTreeMap<String, (f64, usize)>,
}

/// A model against the baseline by one metric.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricComparison {
    /// Name of the model.
    pub model: String,
    /// The metric.
    pub metric: Metric,
    /// Over all prompts.
    pub overall: Wins,
    /// Per category of prompts.
    pub categories: BTreeMap<String, Wins>,
    /// Mean of the model's score minus the baseline's, with the ends of its 95% interval by a bootstrap over prompts.
    pub difference: [f64; 3],
    /// Prompts where the score exceeds the baseline's most, the largest difference first.
    pub won_most: Vec<Extreme>,
    /// Prompts where the score is farthest below the baseline's, the largest difference first.
    pub lost_most: Vec<Extreme>,
}

/// How often the model's image scored higher than the baseline's of the same prompt and noise.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wins {
    /// Prompts with a higher score.
    pub wins: i64,
    /// Prompts with a lower score.
    pub losses: i64,
    /// Prompts with equal scores; they count as half a win.
    pub ties: i64,
    /// Wins plus half the ties over all, with Wilson's 95% interval.
    pub win_rate: WinRate,
}

/// A prompt where the scores differ most.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extreme {
    /// Index of the prompt, from 0.
    pub index: usize,
    /// The prompt.
    pub prompt: String,
    /// Score of the model's image.
    pub score: f64,
    /// Score of the baseline's image.
    pub baseline: f64,
}

/// How far two metrics agree on which image is better, over the comparisons of all models with the baseline.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricsAgreement {
    /// One metric.
    pub first: Metric,
    /// The other metric.
    pub second: Metric,
    /// Comparisons that both metrics decide: neither scores both images equally.
    pub decided: usize,
    /// Decided comparisons in which both prefer the same image.
    pub same: usize,
    /// Cohen's kappa of better, worse and equal; `None` where it is undefined.
    pub kappa: Option<f64>,
    /// Spearman's rank correlation of the score differences; `None` where it is undefined.
    pub spearman: Option<f64>,
}

/// The distances between two sides, and how they were computed.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FidReport {
    /// Name of the Frechet distance: FID with Inception's features, another with CLIP's.
    pub metric: String,
    /// The network of the features, and its file or folder.
    pub features: String,
    /// The implementation of FID that was reproduced; `None` with CLIP's features.
    pub mode: Option<String>,
    /// Number of images of each side; `None` for statistics without a count.
    pub images: [Option<usize>; 2],
    /// The Frechet distance.
    pub frechet: f64,
    /// The kernel distance over subsets, KID with Inception's features; `None` if a side is statistics.
    pub kernel: Option<KernelReport>,
    /// CMMD: 1000 times the kernel distance on CLIP's features; `None` with Inception's features.
    pub cmmd: Option<f64>,
    /// Warnings for the reader of the numbers.
    pub warnings: Vec<String>,
}

/// A kernel distance.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelReport {
    /// Name of the distance.
    pub metric: String,
    /// Mean over the subsets.
    pub mean: f64,
    /// Standard deviation over the subsets.
    pub deviation: f64,
    /// Number of subsets.
    pub subsets: usize,
    /// Images of each side in a subset.
    pub subset_size: usize,
}
