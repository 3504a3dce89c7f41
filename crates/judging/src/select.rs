//! Which images to show next: those whose answer is expected to shrink the widest interval that is still open most, per
//! second of the rater's time.
//!
//! A share of the items is drawn evenly from all instead. So no item starves, and the answers to these alone are a sample
//! against which the estimate of all can be checked. The estimate itself is by likelihood, which stays valid when the
//! choice of an item depends on earlier answers.

use crate::answers::MOST_SHOWN;
use crate::choice::{choice_probabilities, pair_information, pair_probabilities};
use crate::fit::Fit;

/// Differences, in r, below this are treated as this: 17 points.
const SMALLEST_DIFFERENCE: f64 = 0.1;

/// Something a rater can be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The models of its images: 2 to [`MOST_SHOWN`], all different.
    pub models: Vec<usize>,
    /// Expected time of an answer in any unit, the same for all items.
    pub seconds: f64,
}

/// What the answers are to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Which model is the best.
    Best,
    /// The order of all models.
    Order,
}

/// An item that was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chosen {
    /// Its index.
    pub item: usize,
    /// Whether it was drawn evenly from all.
    pub random: bool,
    /// The probability with which this item was chosen at this moment.
    pub propensity: f64,
}

/// The pairs of models, better one first, whose order the goal needs and the interval for any number of looks leaves
/// open. None left: the question is answered.
#[must_use]
pub fn open_contrasts(fit: &Fit, goal: Goal) -> Vec<(usize, usize)> {
    let order = fit.order();
    let pairs: Vec<(usize, usize)> = match goal {
        Goal::Best => order.iter().skip(1).map(|&other| (order[0], other)).collect(),
        Goal::Order => order.windows(2).map(|pair| (pair[0], pair[1])).collect(),
    };
    let is_open = |&(a, b): &(usize, usize)| !fit.difference(a, b).anytime().excludes_zero();
    pairs.into_iter().filter(is_open).collect()
}

/// Chooses one of the items. `draw` returns uniform numbers from 0 to 1; with probability `random_share` the item is drawn
/// evenly, and also when the goal is reached. None without items.
pub fn choose(
    fit: &Fit,
    items: &[Item],
    goal: Goal,
    random_share: f64,
    mut draw: impl FnMut() -> f64,
) -> Option<Chosen> {
    let even = 1.0 / items.len() as f64;
    let gains = gains(fit, items, goal);
    let best = gains.iter().copied().fold(0.0_f64, f64::max);
    let winners: Vec<usize> = (0..items.len()).filter(|&item| best > 0.0 && gains[item] >= best).collect();
    let share = if winners.is_empty() { 1.0 } else { random_share.clamp(0.0, 1.0) };
    let random = draw() < share;
    let any = |n: usize, draw: f64| ((draw * n as f64) as usize).min(n.saturating_sub(1));
    let item = if random { any(items.len(), draw()) } else { *winners.get(any(winners.len(), draw()))? };
    items.get(item)?;
    let chosen = if winners.contains(&item) { (1.0 - share) / winners.len() as f64 } else { 0.0 };
    Some(Chosen { item, random, propensity: chosen + share * even })
}

/// An open contrast: how much a fall of its variance counts, and its covariance with every parameter.
struct Open {
    weight: f64,
    covariance: Vec<f64>,
}

/// For each item, how much an answer is expected to shrink the open contrasts, per second; 0 if none is open.
///
/// A contrast's interval is as wide as variance / difference^2, for that is what has to fall. The fall of the sum of
/// squares of these widths counts, in which the widest dominates.
#[must_use]
pub fn gains(fit: &Fit, items: &[Item], goal: Goal) -> Vec<f64> {
    let inverse = &fit.clusters.inverse;
    let open = |(a, b): (usize, usize)| {
        let estimate = fit.difference(a, b);
        let needed = estimate.value.max(SMALLEST_DIFFERENCE).powi(2);
        let covariance: Vec<f64> = inverse[a].iter().zip(&inverse[b]).map(|(x, y)| x - y).collect();
        Open { weight: estimate.standard_error.powi(2) / needed.powi(2), covariance }
    };
    let open: Vec<Open> = open_contrasts(fit, goal).into_iter().map(open).collect();
    items.iter().map(|item| gain(fit, item, &open)).collect()
}

fn gain(fit: &Fit, item: &Item, open: &[Open]) -> f64 {
    let models = &item.models;
    let count = models.len();
    if !(2..=MOST_SHOWN).contains(&count) || models.iter().any(|&m| m >= fit.models()) {
        return 0.0;
    }
    let information = expected_information(fit, models);
    let (mut fall, mut trace) = (0.0, 0.0);
    for a in 0..count {
        for b in 0..count {
            let weight = information[a][b];
            trace += weight * fit.clusters.inverse[models[a]][models[b]];
            for Open { weight: counts, covariance } in open {
                fall += counts * weight * covariance[models[a]] * covariance[models[b]];
            }
        }
    }
    // Exact for two images; for more it is at least this.
    fall / (1.0 + trace) / item.seconds.max(f64::MIN_POSITIVE)
}

/// The information of an answer about the models of an item, averaged over the order of its images.
fn expected_information(fit: &Fit, models: &[usize]) -> [[f64; MOST_SHOWN]; MOST_SHOWN] {
    let ratings = fit.ratings();
    let mut information = [[0.0; MOST_SHOWN]; MOST_SHOWN];
    if let [a, b] = *models {
        let p = pair_probabilities(ratings[a] - ratings[b], fit.parameters[fit.models() + 1]);
        let (about_d, ..) = pair_information(p);
        information[0][..2].copy_from_slice(&[about_d, -about_d]);
        information[1][..2].copy_from_slice(&[-about_d, about_d]);
        return information;
    }
    let mut strengths = [0.0; MOST_SHOWN];
    for (strength, &model) in strengths.iter_mut().zip(models) {
        *strength = ratings[model];
    }
    let p = choice_probabilities(&strengths, models.len());
    for a in 0..models.len() {
        information[a][a] = p[a];
        for b in 0..models.len() {
            information[a][b] -= p[a] * p[b];
        }
    }
    information
}
