//! Bootstrap intervals: resampling the data with replacement (B. Efron, Bootstrap Methods: Another Look at the
//! Jackknife, 1979).

/// A mean with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanInterval {
    /// The mean of the data.
    pub mean: f64,
    /// The 2.5% quantile of the means of the resamples.
    pub low: f64,
    /// The 97.5% quantile of the means of the resamples.
    pub high: f64,
}

/// The mean difference of two models' scores on the same prompts, with its 95% percentile interval. Pairs are
/// resampled whole, so that the difficulty of a prompt cancels. `draw(n)` must return a uniformly random number below
/// n. None without pairs, without resamples, or if a score is not finite. The interval of one pair has no width.
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

/// Quantile of sorted values with linear interpolation, numpy's default.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let position = share * (sorted.len().checked_sub(1)?) as f64;
    let (below, fraction) = (position.floor() as usize, position.fract());
    let low = *sorted.get(below)?;
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    Some(low + fraction * (high - low))
}
