//! How many more answers would tell two models apart.

use crate::fit::Fit;

/// The 80% quantile of the standard normal distribution.
const POWER: f64 = 0.841_621_233_572_914_3;
/// Beyond this many times the present answers, the estimate says nothing.
const MOST_TIMES: f64 = 1000.0;

/// About how many answers more, of the present kind, until the interval for any number of looks leaves out 0 with a
/// probability of 80%, if the difference is what it seems. 0 if it does already; none if the difference is too small to
/// say.
#[must_use]
pub fn votes_to_separate(fit: &Fit, a: usize, b: usize) -> Option<usize> {
    let estimate = fit.difference(a, b);
    if estimate.anytime().excludes_zero() {
        return Some(0);
    }
    let is_enough = |times: f64| {
        let standard_error = estimate.standard_error / times.sqrt();
        estimate.anytime_reach(standard_error) + POWER * standard_error < estimate.value.abs()
    };
    if !is_enough(MOST_TIMES) {
        return None;
    }
    let (mut low, mut high) = (1.0, MOST_TIMES);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if is_enough(middle) { high = middle } else { low = middle }
    }
    Some((fit.answers() as f64 * (high - 1.0)).ceil() as usize)
}
