//! Whether two rankings of the same things agree, such as a score's and people's ranking of models. None for fewer than
//! two things, where one side does not tell any apart, or where a number is not one.

/// Spearman's rho: Pearson's correlation of ranks, equal values sharing the mean of theirs.
#[must_use]
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    comparable(x, y)?;
    let (x, y) = (mean_ranks(x), mean_ranks(y));
    // Ranks have the same mean on both sides.
    let mean = (x.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let spread = product(&x, &x) * product(&y, &y);
    (spread > 0.0).then(|| (product(&x, &y) / spread.sqrt()).clamp(-1.0, 1.0))
}

/// Kendall's tau-b: (C - D) / sqrt((C + D + T_x)(C + D + T_y)), with C and D the pairs in the same and in opposite
/// order, T_x and T_y those tied on one side only. M. Kendall, The Treatment of Ties in Ranking Problems (1945).
#[must_use]
pub fn kendall_tau_b(x: &[f64], y: &[f64]) -> Option<f64> {
    comparable(x, y)?;
    let (mut difference, mut apart_x, mut apart_y) = (0_i64, 0_i64, 0_i64);
    for i in 0..x.len() {
        for j in 0..i {
            let (dx, dy) = (sign(x[i], x[j]), sign(y[i], y[j]));
            difference += dx * dy;
            apart_x += dx * dx;
            apart_y += dy * dy;
        }
    }
    let spread = apart_x as f64 * apart_y as f64;
    (spread > 0.0).then(|| (difference as f64 / spread.sqrt()).clamp(-1.0, 1.0))
}

fn comparable(x: &[f64], y: &[f64]) -> Option<()> {
    let numbers = !x.iter().chain(y).any(|value| value.is_nan());
    (x.len() == y.len() && x.len() > 1 && numbers).then_some(())
}

fn sign(a: f64, b: f64) -> i64 {
    i64::from(a > b) - i64::from(a < b)
}

fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    // Not `total_cmp`: 0 and -0 are one value.
    for group in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let end = start + group.len();
        group.iter().for_each(|&i| ranks[i] = (start + 1 + end) as f64 / 2.0);
        start = end;
    }
    ranks
}
