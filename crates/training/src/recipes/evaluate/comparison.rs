//! A model against the baseline by one metric: win rate, difference, extremes.

use super::prompts::Task;
use super::scored::ScorePair;
use diffusion::noise::Noise;
use domain::evaluate::{Extreme, Metric, MetricComparison, Wins};
use domain::ranking::{paired_bootstrap, win_rate};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2000;
/// Number of prompts in each list of extremes.
const EXTREMES: usize = 4;

/// Compares a model with the baseline; `None` without pairs. `noise` draws the bootstrap's resamples.
pub(super) fn compare(
    tasks: &[Task],
    model: &str,
    metric: Metric,
    pairs: &[ScorePair],
    mut noise: Noise,
) -> Option<MetricComparison> {
    let scores: Vec<(f64, f64)> = pairs.iter().map(|pair| (pair.ours, pair.theirs)).collect();
    let interval = paired_bootstrap(&scores, RESAMPLES, |n| noise.below(n))?;
    let mut categories: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for &ScorePair { index, ours, theirs } in pairs {
        let category = &tasks[index].category;
        if !category.is_empty() {
            categories.entry(category.clone()).or_default().push((ours, theirs));
        }
    }
    let mut order: Vec<ScorePair> = pairs.to_vec();
    order.sort_by(|a, b| b.difference().total_cmp(&a.difference()).then(a.index.cmp(&b.index)));
    let extreme = |&ScorePair { index, ours, theirs }: &ScorePair| Extreme {
        index,
        prompt: tasks[index].prompt.clone(),
        score: ours,
        baseline: theirs,
    };
    let won = order.iter().filter(|pair| pair.ours > pair.theirs).take(EXTREMES).map(extreme);
    let lost = order.iter().rev().filter(|pair| pair.ours < pair.theirs).take(EXTREMES).map(extreme);
    Some(MetricComparison {
        model: model.to_owned(),
        metric,
        overall: wins(&scores)?,
        categories: categories.into_iter().filter_map(|(name, pairs)| Some((name, wins(&pairs)?))).collect(),
        difference: [interval.mean, interval.low, interval.high],
        won_most: won.collect(),
        lost_most: lost.collect(),
    })
}

fn wins(pairs: &[(f64, f64)]) -> Option<Wins> {
    let count = |wanted: Ordering| pairs.iter().filter(|(a, b)| a.total_cmp(b) == wanted).count() as i64;
    let (wins, losses, ties) = (count(Ordering::Greater), count(Ordering::Less), count(Ordering::Equal));
    Some(Wins { wins, losses, ties, win_rate: win_rate(wins, losses, ties)? })
}
