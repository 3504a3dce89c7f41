//! The averages of one model.

use super::prompts::Task;
use super::scored::Scored;
use domain::evaluate::{MetricSummary, ScoredModel};
use std::collections::BTreeMap;

/// The averages of a model. Metrics without a score are omitted.
pub(super) fn summary(tasks: &[Task], scored: &Scored) -> ScoredModel {
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
    ScoredModel {
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
