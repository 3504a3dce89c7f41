//! How far two metrics agree on which image is better.

use super::scored::{ScorePair, Scored, pairs};
use domain::evaluate::{Metric, MetricsAgreement};
use domain::ranking::{cohen_kappa, spearman};
use std::collections::{BTreeMap, BTreeSet};

/// The agreement of every two metrics.
pub(super) fn agreements(models: &[Scored], baseline: &Scored) -> Vec<MetricsAgreement> {
    let metrics: BTreeSet<Metric> = models.iter().flat_map(|scored| scored.scores.keys().copied()).collect();
    let metrics: Vec<Metric> = metrics.into_iter().collect();
    let mut found = Vec::new();
    for (i, &first) in metrics.iter().enumerate() {
        for &second in &metrics[i + 1..] {
            found.push(agreement(first, second, models, baseline));
        }
    }
    found
}

fn agreement(first: Metric, second: Metric, models: &[Scored], baseline: &Scored) -> MetricsAgreement {
    // Differences by the first and the second metric of every prompt that both scored.
    let mut differences = Vec::new();
    for scored in models.iter().filter(|scored| scored.model != baseline.model) {
        let by_index = |pair: ScorePair| (pair.index, pair.difference());
        let others: BTreeMap<usize, f64> =
            pairs(scored, baseline, second).into_iter().map(by_index).collect();
        let ours = pairs(scored, baseline, first).into_iter();
        differences.extend(ours.filter_map(|pair| Some((pair.difference(), *others.get(&pair.index)?))));
    }
    let signs: Vec<(i8, i8)> = differences.iter().map(|&(x, y)| (sign(x), sign(y))).collect();
    let decided = signs.iter().filter(|(x, y)| *x != 0 && *y != 0);
    let (x, y): (Vec<f64>, Vec<f64>) = differences.iter().copied().unzip();
    MetricsAgreement {
        first,
        second,
        decided: decided.clone().count(),
        same: decided.filter(|(x, y)| x == y).count(),
        kappa: cohen_kappa(&signs),
        spearman: spearman(&x, &y),
    }
}

fn sign(x: f64) -> i8 {
    i8::from(x > 0.0) - i8::from(x < 0.0)
}
