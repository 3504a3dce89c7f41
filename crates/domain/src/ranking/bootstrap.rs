//! Intervals by drawing the data again, with replacement (B. Efron, Bootstrap Methods, 1979): no formula is believed
//! but that the data look like the world. Chance is an argument: `draw(n)` gives a number below n.

use super::{ModelVote, Rating, clustered::by_cluster, standings, tallies};
use crate::id::ModelId;
use std::collections::BTreeMap;

/// A mean with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanInterval {
    /// The mean of what was given.
    pub mean: f64,
    /// The 2.5% quantile of the means of the resamples.
    pub low: f64,
    /// The 97.5% quantile.
    pub high: f64,
}

/// The mean difference of two models' scores on the same prompts, with its 95% percentile interval: pairs are drawn
/// whole, so that what makes a prompt hard falls out. None without pairs, without resamples, or where a score is no
/// finite number. One pair gives an interval of no width.
#[must_use]
pub fn paired_bootstrap(
    pairs: &[(f64, f64)],
    resamples: usize,
    mut draw: impl FnMut(usize) -> usize,
) -> Option<MeanInterval> {
    let differences: Vec<f64> = pairs.iter().map(|(a, b)| a - b).collect();
    if differences.is_empty() || differences.iter().any(|d| !d.is_finite()) {
        return None;
    }
    let n = differences.len();
    let mut means: Vec<f64> = (0..resamples)
        .map(|_| (0..n).map(|_| differences[draw(n).min(n - 1)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    let mean = differences.iter().sum::<f64>() / n as f64;
    Some(MeanInterval { mean, low: quantile(&means, 0.025)?, high: quantile(&means, 0.975)? })
}

/// Ratings with 95% percentile intervals from drawing clusters (raters, or prompts) again, whole: the votes of one
/// rater are not independent. A resample that leaves a model out says nothing of it. Empty without votes or resamples.
#[must_use]
pub fn bootstrap_ratings(
    votes: &[(ModelVote, u64)],
    resamples: usize,
    mut draw: impl FnMut(usize) -> usize,
) -> BTreeMap<ModelId, Rating> {
    let clusters = by_cluster(votes);
    let mut drawn: BTreeMap<ModelId, Vec<f64>> = BTreeMap::new();
    for _ in 0..resamples {
        let sample =
            (0..clusters.len()).flat_map(|_| clusters[draw(clusters.len()).min(clusters.len() - 1)].iter());
        for standing in standings(&tallies(sample.copied())) {
            drawn.entry(standing.model).or_default().push(standing.rating.value);
        }
    }
    let all = standings(&tallies(votes.iter().map(|(vote, _)| *vote)));
    let mut rating = |model, value: f64| {
        let values = drawn.get_mut(&model)?;
        values.sort_by(f64::total_cmp);
        let (low, high) = (quantile(values, 0.025)?, quantile(values, 0.975)?);
        Some((model, Rating { value, low: low.min(value), high: high.max(value) }))
    };
    all.iter().filter_map(|standing| rating(standing.model, standing.rating.value)).collect()
}

/// Of sorted values, with a straight line between neighbours (numpy's default).
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * (sorted.len().checked_sub(1)?) as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let low = *sorted.get(below)?;
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    Some(low + part * (high - low))
}
