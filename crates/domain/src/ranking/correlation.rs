//! Correlation of two rankings of the same items, for example of models by raters and by a metric.

/// Spearman's rho: Pearson's correlation of ranks, where equal values share their mean rank. None for fewer than two
/// items, if all values of one side are equal, or if a value is NaN.
#[must_use]
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    comparable(x, y)?;
    let (x, y) = (mean_ranks(x), mean_ranks(y));
    // The mean of ranks is the same on both sides.
    let mean = (x.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let spread = product(&x, &x) * product(&y, &y);
    (spread > 0.0).then(|| (product(&x, &y) / spread.sqrt()).clamp(-1.0, 1.0))
}

fn comparable(x: &[f64], y: &[f64]) -> Option<()> {
    let numbers = !x.iter().chain(y).any(|value| value.is_nan());
    (x.len() == y.len() && x.len() > 1 && numbers).then_some(())
}

fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    // Equality, not `total_cmp`: 0 and -0 are equal values.
    for group in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let end = start + group.len();
        group.iter().for_each(|&i| ranks[i] = (start + 1 + end) as f64 / 2.0);
        start = end;
    }
    ranks
}
