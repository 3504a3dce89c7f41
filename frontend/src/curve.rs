//! Arithmetic of curves: downsampling that keeps spikes, smoothing, axis ranges and ticks. Pure functions.

use domain::api::RunMetrics;
use serde::{Deserialize, Serialize};

/// Most points of a drawn line, about one per pixel of a chart.
pub(crate) const MOST_POINTS: usize = 400;

/// One curve of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Curve {
    /// The metric, as in `domain::run::metric`.
    pub(crate) name: String,
    /// (step, value), in order of step.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Groups metric points by metric, in order of first appearance.
#[cfg(feature = "ssr")]
pub(crate) fn curves(metrics: &RunMetrics) -> Vec<Curve> {
    let mut curves = Vec::new();
    extend(&mut curves, metrics);
    for curve in &mut curves {
        curve.points = downsample(&curve.points, MOST_POINTS);
    }
    curves
}

/// Appends newer points to their curves; a new metric starts a new curve.
#[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
pub(crate) fn extend(curves: &mut Vec<Curve>, metrics: &RunMetrics) {
    for point in &metrics.points {
        let curve = match curves.iter_mut().position(|curve| curve.name == point.name) {
            Some(index) => &mut curves[index],
            None => {
                curves.push(Curve { name: point.name.clone(), points: Vec::new() });
                curves.last_mut().expect("just pushed")
            }
        };
        curve.points.push((point.step as f64, point.value));
    }
}

/// At most about `limit` points: the first, the last, and the minimum and maximum of each bucket in between, in order of
/// step. A random or strided sample would hide spikes.
pub(crate) fn downsample(points: &[(f64, f64)], limit: usize) -> Vec<(f64, f64)> {
    if points.len() <= limit || limit < 4 {
        return points.to_vec();
    }
    let inner = &points[1..points.len() - 1];
    let bucket_size = inner.len().div_ceil(limit / 2 - 1);
    let mut kept = vec![points[0]];
    for bucket in inner.chunks(bucket_size) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        if let (Some(low), Some(high)) = (bucket.iter().min_by(by_value), bucket.iter().max_by(by_value)) {
            kept.push(if low.0 <= high.0 { *low } else { *high });
            if low.0 != high.0 {
                kept.push(if low.0 <= high.0 { *high } else { *low });
            }
        }
    }
    kept.push(points[points.len() - 1]);
    kept
}

/// An exponential moving average with bias correction. A `weight` of 0 returns the values unchanged; non-finite values do
/// not contribute.
pub(crate) fn smooth(points: &[(f64, f64)], weight: f64) -> Vec<(f64, f64)> {
    let (mut mean, mut norm) = (0.0, 0.0);
    points
        .iter()
        .map(|&(step, value)| {
            if value.is_finite() {
                mean = weight * mean + (1.0 - weight) * value;
                norm = weight * norm + (1.0 - weight);
            }
            (step, if norm > 0.0 { mean / norm } else { value })
        })
        .collect()
}

/// About `count` round numbers from `low` to `high`, spaced by 1, 2, 2.5 or 5 times a power of ten.
pub(crate) fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 || count == 0 {
        return vec![low];
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let rough = span / count as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|s| *s >= rough)
        .unwrap_or(10.0 * power);
    let first = (low / step).ceil();
    let mut ticks = Vec::new();
    let mut at = first;
    while at * step <= high + step * 1e-9 && ticks.len() < 20 {
        ticks.push(at * step);
        at += 1.0;
    }
    ticks
}

/// The range of the finite values plus a margin of 6% on either side; never empty.
pub(crate) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    let margin = if high > low { (high - low) * 0.06 } else { (high.abs() * 0.1).max(1e-9) };
    (low - margin, high + margin)
}

/// The last point at or before a step; the first point if there is none before it.
pub(crate) fn at(points: &[(f64, f64)], step: f64) -> Option<(f64, f64)> {
    let after = points.partition_point(|point| point.0 <= step);
    points.get(after.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::{at, downsample, range, smooth, ticks};

    #[test]
    fn downsampling_keeps_ends_spikes_and_order() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 1.0)).collect();
        points[7_777].1 = 50.0;
        points[1_234].1 = -50.0;
        let kept = downsample(&points, 100);
        assert!(kept.len() <= 100, "{}", kept.len());
        assert_eq!((kept[0].0, kept[kept.len() - 1].0), (0.0, 9_999.0));
        assert!(kept.contains(&(7_777.0, 50.0)) && kept.contains(&(1_234.0, -50.0)));
        assert!(kept.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn few_points_are_not_downsampled() {
        let points = [(0.0, 3.0), (1.0, 2.0)];
        assert_eq!(downsample(&points, 100), points);
    }

    #[test]
    fn smoothing_starts_at_the_first_value_and_skips_non_finite_values() {
        let points = [(0.0, 4.0), (1.0, f64::NAN), (2.0, 2.0)];
        let smoothed = smooth(&points, 0.5);
        assert_eq!(smoothed[0].1, 4.0);
        assert_eq!(smoothed[1].1, 4.0);
        // mean = 0.5 * 2 + 0.5 * 2 = 2, norm = 0.75
        assert!((smoothed[2].1 - 2.0 / 0.75).abs() < 1e-12);
        assert_eq!(smooth(&[(0.0, 1.0), (1.0, 5.0)], 0.0), [(0.0, 1.0), (1.0, 5.0)]);
    }

    #[test]
    fn ticks_are_round_and_within_the_range() {
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(3.0, 97.0, 4), [25.0, 50.0, 75.0]);
        assert_eq!(ticks(1.0, 1.0, 4), [1.0]);
    }

    #[test]
    fn ranges_ignore_non_finite_values() {
        assert_eq!(range([f64::NAN, f64::INFINITY].into_iter()), (0.0, 1.0));
        let (low, high) = range([2.0, 4.0, f64::NAN].into_iter());
        assert!(low < 2.0 && high > 4.0 && high < 4.5);
    }

    #[test]
    fn lookup_returns_the_last_point_at_or_before_the_step() {
        let points = [(0.0, 1.0), (10.0, 2.0), (20.0, 3.0)];
        assert_eq!(at(&points, 15.0), Some((10.0, 2.0)));
        assert_eq!(at(&points, -1.0), Some((0.0, 1.0)));
        assert_eq!(at(&[], 1.0), None);
    }
}
