//! Means over seeds of training and prompts at once: every model of a method is measured on the same prompts, so the two
//! are crossed, and both are samples of what the method could have been run with.
//!
//! The variance of the mean is that of a two-way random-effects model (S. Searle, G. Casella, C. McCulloch, Variance
//! Components, 1992), its degrees of freedom are Satterthwaite's (An Approximate Distribution of Estimates of Variance
//! Components, 1946). Three seeds are too few for a bootstrap over seeds, whose intervals would be too narrow.

use super::win_rate::Z;
use serde::{Deserialize, Serialize};

/// A mean over seeds and prompts, with its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrossedMean {
    /// The mean.
    pub mean: f64,
    /// Ends of the interval; none for a single value.
    pub interval: Option<[f64; 2]>,
    /// Number of seeds.
    pub seeds: usize,
    /// Number of prompts; 1 for a measure of all images together.
    pub prompts: usize,
}

/// Squared standard error of a mean, and its degrees of freedom.
#[derive(Clone, Copy, Debug)]
struct Uncertainty {
    variance: f64,
    freedom: f64,
}

/// The mean of a table with one row per seed and one column per prompt, with the interval of Student's distribution. With
/// one seed it covers the prompts only, with one column the seeds only. None without values, if the rows differ in
/// length, or if a value is not finite.
#[must_use]
pub fn crossed_mean(rows: &[Vec<f64>]) -> Option<CrossedMean> {
    let (mean, seeds, prompts) = mean(rows)?;
    let interval = uncertainty(rows, mean).map(|Uncertainty { variance, freedom }| {
        let half_width = student(freedom) * variance.sqrt();
        [mean - half_width, mean + half_width]
    });
    Some(CrossedMean { mean, interval, seeds, prompts })
}

/// As [`crossed_mean`] for values from 0 to 1 that are shares, such as wins: Wilson's interval of the effective number of
/// trials, p (1 - p) / variance (E. Korn and B. Graubard, 1998). If all values are equal, the number of prompts is taken
/// for it, as if the seeds repeated one another. With values between 0 and 1, such as ties, p (1 - p) overstates the spread, and
/// the interval is that of [`crossed_mean`], cut at 0 and 1.
#[must_use]
pub fn crossed_share(rows: &[Vec<f64>]) -> Option<CrossedMean> {
    let (mean, seeds, prompts) = mean(rows)?;
    let mean = mean.clamp(0.0, 1.0);
    let spread = mean * (1.0 - mean);
    let has_ties = rows.iter().flatten().any(|&value| value > 0.0 && value < 1.0);
    let (n, z) = match uncertainty(rows, mean) {
        Some(Uncertainty { variance, freedom }) if variance > 0.0 && has_ties => {
            let half_width = student(freedom) * variance.sqrt();
            let interval = Some([(mean - half_width).max(0.0), (mean + half_width).min(1.0)]);
            return Some(CrossedMean { mean, interval, seeds, prompts });
        }
        Some(Uncertainty { variance, freedom }) if variance > 0.0 && spread > 0.0 => {
            ((spread / variance).min((seeds * prompts) as f64), student(freedom))
        }
        _ => (prompts as f64, Z),
    };
    let shrink = 1.0 + z * z / n;
    let centre = (mean + z * z / (2.0 * n)) / shrink;
    let half_width = z * (spread / n + z * z / (4.0 * n * n)).sqrt() / shrink;
    // Rounding must not move an end beyond the value.
    let interval = Some([(centre - half_width).clamp(0.0, mean), (centre + half_width).clamp(mean, 1.0)]);
    Some(CrossedMean { mean, interval, seeds, prompts })
}

fn mean(rows: &[Vec<f64>]) -> Option<(f64, usize, usize)> {
    let prompts = rows.first()?.len();
    let is_valid = |row: &Vec<f64>| row.len() == prompts && row.iter().all(|value| value.is_finite());
    if prompts == 0 || !rows.iter().all(is_valid) {
        return None;
    }
    let sum: f64 = rows.iter().flatten().sum();
    Some((sum / (rows.len() * prompts) as f64, rows.len(), prompts))
}

fn uncertainty(rows: &[Vec<f64>], mean: f64) -> Option<Uncertainty> {
    let (seeds, prompts) = (rows.len(), rows.first()?.len());
    let square = |x: f64| x * x;
    let of_row: Vec<f64> = rows.iter().map(|row| row.iter().sum::<f64>() / prompts as f64).collect();
    let of_column: Vec<f64> =
        (0..prompts).map(|j| rows.iter().map(|row| row[j]).sum::<f64>() / seeds as f64).collect();
    let sum_of = |means: &[f64]| means.iter().map(|of| square(of - mean)).sum::<f64>();
    let (s, p) = (seeds as f64, prompts as f64);
    match (seeds, prompts) {
        (1, 1) => None,
        (1, _) => Some(Uncertainty { variance: sum_of(&of_column) / (p * (p - 1.0)), freedom: p - 1.0 }),
        (_, 1) => Some(Uncertainty { variance: sum_of(&of_row) / (s * (s - 1.0)), freedom: s - 1.0 }),
        _ => {
            let residuals = rows.iter().zip(&of_row).flat_map(|(row, of)| {
                row.iter().zip(&of_column).map(move |(value, column)| square(value - of - column + mean))
            });
            let by_seed = p * sum_of(&of_row) / (s - 1.0);
            let by_prompt = s * sum_of(&of_column) / (p - 1.0);
            let rest = residuals.sum::<f64>() / ((s - 1.0) * (p - 1.0));
            // In expectation the sum exceeds both parts; a sample's need not.
            let total = (by_seed + by_prompt - rest).max(by_seed).max(by_prompt);
            let spread = square(by_seed) / (s - 1.0)
                + square(by_prompt) / (p - 1.0)
                + square(rest) / ((s - 1.0) * (p - 1.0));
            // Satterthwaite's formula never gives fewer than the scarcer source has; with the larger of two parts in place of
            // the sum it could, and rounded down to 1 instead of 2 it would make intervals three times as wide.
            let freedom = if spread > 0.0 { square(total) / spread } else { p - 1.0 };
            let freedom = freedom.max(s.min(p) - 1.0);
            Some(Uncertainty { variance: total / (s * p), freedom })
        }
    }
}

/// The 97.5% quantile of Student's distribution, with the degrees of freedom rounded down.
#[must_use]
pub fn student(freedom: f64) -> f64 {
    let freedom = freedom.clamp(1.0, 1000.0).floor() as u32;
    // The probability rises with t; 13 is beyond the quantile of one degree of freedom.
    let (mut low, mut high) = (1.0, 13.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if within(middle, freedom) < 0.95 {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The probability of a value from -t to t (M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 26.7.3 and
/// 26.7.4).
fn within(t: f64, freedom: u32) -> f64 {
    let angle = (t / f64::from(freedom).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let is_odd = freedom % 2 == 1;
    let mut term = if is_odd { cosine } else { 1.0 };
    let mut sum = if is_odd && freedom == 1 { 0.0 } else { term };
    // The exponents of the cosine rise by 2 up to freedom - 2.
    let mut exponent = if is_odd { 1 } else { 0 };
    while exponent + 2 <= freedom.saturating_sub(2) {
        exponent += 2;
        term *= cosine * cosine * f64::from(exponent - 1) / f64::from(exponent);
        sum += term;
    }
    if is_odd { std::f64::consts::FRAC_2_PI * (angle + sine * sum) } else { sine * sum }
}

#[cfg(test)]
mod tests {
    use super::{crossed_mean, crossed_share, student};

    fn close(actual: f64, expected: f64, within: f64) {
        assert!((actual - expected).abs() < within, "{actual} is not {expected} (within {within})");
    }

    /// Quantiles of scipy.stats.t.ppf(0.975, n).
    #[test]
    fn quantiles_are_students() {
        for (freedom, expected) in [
            (1.0, 12.706_204_7),
            (2.0, 4.302_652_7),
            (3.0, 3.182_446_3),
            (4.9, 2.776_445_1),
            (7.0, 2.364_624_3),
            (30.0, 2.042_272_5),
            (1000.0, 1.962_339_1),
        ] {
            close(student(freedom), expected, 1e-6);
        }
    }

    #[test]
    fn one_row_or_one_column_gives_students_interval() {
        // Mean 2, standard error sqrt(1 / 3), two degrees of freedom.
        let half_width = 4.302_652_7 / 3.0_f64.sqrt();
        for rows in [vec![vec![1.0, 2.0, 3.0]], vec![vec![1.0], vec![2.0], vec![3.0]]] {
            let mean = crossed_mean(&rows).expect("a mean");
            let [low, high] = mean.interval.expect("an interval");
            close(mean.mean, 2.0, 1e-12);
            close(low, 2.0 - half_width, 1e-6);
            close(high, 2.0 + half_width, 1e-6);
        }
        assert_eq!(crossed_mean(&[vec![1.0]]).expect("a mean").interval, None);
        assert_eq!(crossed_mean(&[]), None);
        assert_eq!(crossed_mean(&[vec![1.0, 2.0], vec![1.0]]), None);
        assert_eq!(crossed_mean(&[vec![f64::NAN]]), None);
    }

    /// If seeds shift all prompts alike, only the seeds count, however many prompts there are; and the reverse.
    #[test]
    fn the_scarcer_source_of_variation_sets_the_width() {
        let by_seed: Vec<Vec<f64>> = [0.0, 1.0, 2.0].iter().map(|&seed| vec![seed; 50]).collect();
        let [low, high] = crossed_mean(&by_seed).expect("a mean").interval.expect("an interval");
        close(high - low, 2.0 * 4.302_652_7 / 3.0_f64.sqrt(), 1e-6);
        let prompts: Vec<f64> = (0..50).map(f64::from).collect();
        let alone = crossed_mean(std::slice::from_ref(&prompts)).expect("a mean");
        let repeated = crossed_mean(&[prompts.clone(), prompts.clone(), prompts]).expect("a mean");
        // Repeating a row adds no knowledge.
        let [low, high] = repeated.interval.expect("an interval");
        let [low_alone, high_alone] = alone.interval.expect("an interval");
        close(low, low_alone, 1e-9);
        close(high, high_alone, 1e-9);
    }

    /// Seeds that differ more than prompts and chance explain have two degrees of freedom, not fewer.
    #[test]
    fn three_seeds_have_at_least_two_degrees_of_freedom() {
        let row = |seed: f64| (0..40).map(|prompt| seed + f64::from(prompt % 2) * 0.01).collect::<Vec<f64>>();
        let [low, high] =
            crossed_mean(&[row(-0.1), row(0.0), row(0.1)]).expect("a mean").interval.expect("an interval");
        // The standard error of the seeds is 0.1 / sqrt(3).
        close(high - low, 2.0 * 4.302_652_7 * 0.1 / 3.0_f64.sqrt(), 0.002);
    }

    /// Draws tables of a known model and counts how often the interval holds its mean.
    #[test]
    fn intervals_hold_the_mean_in_95_of_100_cases() {
        let mut state = 9_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        for (of_seed, of_prompt) in [(0.0, 1.0), (0.3, 1.0), (1.0, 0.2)] {
            let mut held = 0;
            for _ in 0..1000 {
                let prompts: Vec<f64> = (0..20).map(|_| of_prompt * normal()).collect();
                let rows: Vec<Vec<f64>> = (0..3)
                    .map(|_| {
                        let seed = of_seed * normal();
                        prompts.iter().map(|prompt| seed + prompt + 0.5 * normal()).collect()
                    })
                    .collect();
                let [low, high] = crossed_mean(&rows).expect("a mean").interval.expect("an interval");
                held += i32::from(low <= 0.0 && high >= 0.0);
            }
            assert!(held >= 930, "{held} of 1000 for {of_seed} and {of_prompt}");
        }
    }

    /// Rates of wins in which nine of ten images tie: the interval holds the true rate, and is little more than half as wide as
    /// that of a share without ties.
    #[test]
    fn ties_narrow_the_interval_of_a_rate() {
        let mut state = 4_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let (mut held, mut width) = (0, 0.0);
        for _ in 0..1000 {
            // 7% wins, 3% losses: a rate of 52%. A prompt's images tend to one outcome.
            let prompts: Vec<f64> = (0..100).map(|_| uniform()).collect();
            let outcome = |prompt: f64, own: f64| {
                let value = if own < 0.5 { prompt } else { (own - 0.5) * 2.0 };
                if value < 0.07 {
                    1.0
                } else if value < 0.1 {
                    0.0
                } else {
                    0.5
                }
            };
            let rows: Vec<Vec<f64>> =
                (0..3).map(|_| prompts.iter().map(|&prompt| outcome(prompt, uniform())).collect()).collect();
            let [low, high] = crossed_share(&rows).expect("a share").interval.expect("an interval");
            held += i32::from(low <= 0.52 && high >= 0.52);
            width += (high - low) / 1000.0;
        }
        assert!((930..=985).contains(&held), "{held} of 1000");
        // Wilson's interval of 300 trials is 0.113 wide.
        assert!(width < 0.065, "{width}");
    }

    #[test]
    fn shares_stay_between_0_and_1_and_keep_a_width_at_the_ends() {
        let all = crossed_share(&[vec![1.0; 20], vec![1.0; 20], vec![1.0; 20]]).expect("a share");
        let [low, high] = all.interval.expect("an interval");
        // Wilson's interval of 20 of 20.
        close(low, 20.0 / (20.0 + 3.841_458_8), 1e-6);
        close(high, 1.0, 1e-12);
        let rows = vec![vec![1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0]; 2];
        let [low, high] = crossed_share(&rows).expect("a share").interval.expect("an interval");
        assert!(low > 0.2 && low < 0.625 && high > 0.625 && high < 1.0, "{low} {high}");
    }
}
