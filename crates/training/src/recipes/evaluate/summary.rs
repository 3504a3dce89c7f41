//! The averages of one model.

use super::prompts::Task;
use super::scored::Scored;
use crate::recipes::fid::FidReport;
use domain::evaluate::Metric;
use serde::Serialize;
use std::collections::BTreeMap;

/// The averages of one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelSummary {
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
#[derive(Clone, Debug, PartialEq, Serialize)]
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

/// The averages of a model. Metrics without a score are omitted.
pub(super) fn summary(tasks: &[Task], scored: &Scored) -> ModelSummary {
    let metrics = scored.scores.iter().filter_map(|(&metric, scores)| {
        let known: Vec<f64> = scores.iter().copied().flatten().collect();
        let mut categories: BTreeMap<String, (f64, usize)> = BTreeMap::new();
        for (task, score) in tasks.iter().zip(scores) {
            if let (false, Some(score)) = (task.category.is_empty(), score) {
                let (sum, count) = categories.entry(task.category.clone()).or_default();
                *sum += score;
                *count += 1;
            }
        }
        categories.values_mut().for_each(|(sum, count)| *sum /= *count as f64);
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        Some(MetricSummary { metric, count: known.len(), mean, median: median(known)?, categories })
    });
    ModelSummary {
        model: scored.model.clone(),
        sha256: scored.sha256.clone(),
        metrics: metrics.collect(),
        fid: scored.fid.clone(),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}
