//! Curves for charts: smoothing over steps, and buckets that keep every spike and every value that is not finite.
//!
//! Smoothing comes first and buckets second. A chart that smoothed buckets would show another value after a reload than
//! while it was followed.

use serde::{Deserialize, Serialize};

/// Steps over which a figure such as "mean of the last 50 steps" is averaged.
pub const RECENT_STEPS: i64 = 50;

/// Most steps that smoothing averages.
pub const MAX_SMOOTHING: i64 = 1_000_000;

/// A point of a known curve.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesPoint {
    /// Number of the optimiser update.
    pub step: i64,
    /// The value; null if it was not finite.
    pub value: Option<f64>,
}

/// The points of a curve between two steps.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// The last step of the bucket that has a point.
    pub step: i64,
    /// The smallest finite value; null if there is none.
    pub min: Option<f64>,
    /// The largest finite value; null if there is none.
    pub max: Option<f64>,
    /// The last finite value; null if there is none.
    pub last: Option<f64>,
    /// Mean of the finite values of the last `smoothing` steps up to `step`; null if there is none.
    pub mean: Option<f64>,
    /// Number of points, those that are not finite included.
    pub count: u32,
    /// Number of values that are NaN or infinite.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    pub not_finite: u32,
    /// Seconds of training up to `step`, without pauses, validation, samples and checkpoints; null if the run does not
    /// report its speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// A mean over the last steps of a curve.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecentMean {
    /// The mean of the finite values.
    pub mean: f64,
    /// Number of steps that it covers, up to the last point: 50, or fewer at the beginning.
    pub steps: i64,
    /// Number of values.
    pub count: u32,
}

/// Which steps a bucket covers: `width` of them, the first bucket from `from` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// The first step of the first bucket.
    pub from: i64,
    /// Steps of a bucket, at least 1.
    pub width: i64,
}

impl Grid {
    /// The grid of at most `buckets` buckets from one step to another, both included.
    #[must_use]
    pub fn new(from: i64, to: i64, buckets: u32) -> Self {
        let steps = to.saturating_sub(from).saturating_add(1).max(1);
        let buckets = i64::from(buckets.max(1));
        Self { from, width: steps / buckets + i64::from(steps % buckets != 0) }
    }

    /// The first step of the bucket that a step lies in.
    #[must_use]
    pub fn start(self, step: i64) -> i64 {
        step - step.saturating_sub(self.from).rem_euclid(self.width)
    }
}

/// For each point the mean of the finite values of the last `window` steps up to it; none without such a value. A window
/// of 1 gives the values themselves. The points must be in order of step.
///
/// Each mean is a sum of the values in its window alone: an early spike leaves no rounding error behind.
#[must_use]
pub fn trailing_means(points: &[(i64, f64)], window: i64) -> Vec<Option<f64>> {
    // The sums of a queue made of two stacks: `newer` grows by a value, and when `older` is empty it takes all of `newer`.
    let mut older: Vec<f64> = Vec::new();
    let (mut newer, mut newer_start) = (0.0, 0);
    let mut first = 0;
    let finite: Vec<(i64, f64)> = points.iter().copied().filter(|point| point.1.is_finite()).collect();
    let mut next = 0;
    let mut means = Vec::with_capacity(points.len());
    for &(step, _) in points {
        while let Some(&(at, value)) = finite.get(next).filter(|point| point.0 <= step) {
            newer += value;
            next += 1;
            debug_assert!(at <= step);
        }
        while finite.get(first).is_some_and(|point| first < next && point.0 <= step.saturating_sub(window)) {
            if older.is_empty() {
                let mut sum = 0.0;
                older.extend(finite[newer_start..next].iter().rev().map(|point| {
                    sum += point.1;
                    sum
                }));
                (newer, newer_start) = (0.0, next);
            }
            older.pop();
            first += 1;
        }
        let count = next - first;
        means.push((count > 0).then(|| (older.last().unwrap_or(&0.0) + newer) / count as f64));
    }
    means
}

/// The buckets of points in order of step, with the mean of each bucket's last point. Buckets without points are left out.
#[must_use]
pub fn buckets(points: &[(i64, f64)], means: &[Option<f64>], grid: Grid) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut end = i64::MIN;
    for (&(step, value), &mean) in points.iter().zip(means).filter(|(point, _)| point.0 >= grid.from) {
        if step >= end || buckets.is_empty() {
            end = grid.start(step).saturating_add(grid.width);
            buckets.push(Bucket {
                step,
                min: None,
                max: None,
                last: None,
                mean,
                count: 0,
                not_finite: 0,
                seconds: None,
            });
        }
        let Some(bucket) = buckets.last_mut() else { continue };
        bucket.step = step;
        bucket.mean = mean;
        bucket.count += 1;
        if value.is_finite() {
            bucket.min = Some(bucket.min.map_or(value, |min| min.min(value)));
            bucket.max = Some(bucket.max.map_or(value, |max| max.max(value)));
            bucket.last = Some(value);
        } else {
            bucket.not_finite += 1;
        }
    }
    buckets
}

/// The mean of the finite values of the last [`RECENT_STEPS`] steps; none without such a value.
#[must_use]
pub fn recent(points: &[(i64, f64)]) -> Option<RecentMean> {
    let last = points.last()?.0;
    let within = points.iter().rev().take_while(|point| point.0 > last - RECENT_STEPS);
    let (sum, count) = within
        .filter(|point| point.1.is_finite())
        .fold((0.0, 0u32), |(sum, count), point| (sum + point.1, count + 1));
    let steps = RECENT_STEPS.min(last - points.first()?.0 + 1);
    (count > 0).then(|| RecentMean { mean: sum / f64::from(count), steps, count })
}

/// A point as a body holds it.
#[must_use]
pub fn point((step, value): (i64, f64)) -> SeriesPoint {
    SeriesPoint { step, value: value.is_finite().then_some(value) }
}

/// Seconds of training up to each point of the curve of images per second: the time of each step is its images over its
/// speed. Steps without a point count with the speed of the next one. The points must be in order of step.
#[must_use]
pub fn seconds(speeds: &[(i64, f64)], images_per_step: f64) -> Vec<(i64, f64)> {
    let (mut before, mut total) = (0, 0.0);
    let valid = speeds.iter().filter(|(step, speed)| *step > 0 && speed.is_finite() && *speed > 0.0);
    valid
        .map(|&(step, speed)| {
            total += (step - before) as f64 * images_per_step / speed;
            before = step;
            (step, total)
        })
        .collect()
}

/// The value of the last point at or before a step.
#[must_use]
pub fn at_or_before(points: &[(i64, f64)], step: i64) -> Option<f64> {
    let after = points.partition_point(|point| point.0 <= step);
    points.get(after.checked_sub(1)?).map(|point| point.1)
}

#[cfg(test)]
mod tests {
    use super::{Grid, at_or_before, buckets, recent, seconds, trailing_means};

    fn curve(values: &[f64]) -> Vec<(i64, f64)> {
        (1..).zip(values.iter().copied()).collect()
    }

    #[test]
    fn a_mean_covers_the_last_steps_and_skips_what_is_not_finite() {
        let points = curve(&[4.0, f64::NAN, 2.0, 6.0, f64::INFINITY]);
        let means = trailing_means(&points, 2);
        assert_eq!(means, [Some(4.0), Some(4.0), Some(2.0), Some(4.0), Some(6.0)]);
        assert_eq!(trailing_means(&points, 1), [Some(4.0), None, Some(2.0), Some(6.0), None]);
        // Steps count, not points: at step 30 the point of step 10 is outside of a window of 20.
        let sparse = [(10, 1.0), (20, 3.0), (30, 5.0)];
        assert_eq!(trailing_means(&sparse, 20), [Some(1.0), Some(2.0), Some(4.0)]);
        assert_eq!(trailing_means(&[], 5), []);
    }

    #[test]
    fn means_equal_direct_sums_and_forget_a_spike() {
        let mut points: Vec<(i64, f64)> =
            (0..3000).map(|i| (i * 3, ((i * 7919) % 101) as f64 / 7.0)).collect();
        points[500].1 = 1e300;
        let means = trailing_means(&points, 100);
        for (index, (step, _)) in points.iter().enumerate() {
            let window = points.iter().filter(|p| p.0 <= *step && p.0 > step - 100);
            let (sum, count) = window.fold((0.0, 0), |(sum, count), p| (sum + p.1, count + 1));
            let (expected, mean) = (sum / f64::from(count), means[index].expect("a mean"));
            assert!((mean - expected).abs() <= 1e-12 * expected.abs(), "{step}: {mean} {expected}");
        }
    }

    #[test]
    fn buckets_keep_spikes_ends_and_values_that_are_not_finite() {
        let mut points: Vec<(i64, f64)> = (0..100_000).map(|i| (i, 1.0)).collect();
        points[77_777].1 = 50.0;
        points[12_345].1 = -50.0;
        points[40_001].1 = f64::NAN;
        let grid = Grid::new(0, 99_999, 300);
        let all = buckets(&points, &trailing_means(&points, 1), grid);
        assert!(all.len() <= 300, "{}", all.len());
        assert_eq!(all.iter().map(|b| b.count).sum::<u32>(), 100_000);
        assert_eq!(all.iter().filter_map(|b| b.max).fold(0.0, f64::max), 50.0);
        assert_eq!(all.iter().filter_map(|b| b.min).fold(0.0, f64::min), -50.0);
        let bad: Vec<_> = all.iter().filter(|b| b.not_finite > 0).collect();
        assert!(
            bad.len() == 1 && (grid.start(40_001)..grid.start(40_001) + grid.width).contains(&bad[0].step)
        );
        assert_eq!(all.last().map(|b| b.step), Some(99_999));
    }

    /// What a live chart appends equals what a reload shows.
    #[test]
    fn the_tail_of_a_curve_has_the_buckets_of_the_whole() {
        let points: Vec<(i64, f64)> = (1..=5000).map(|i| (i, ((i * 7919) % 101) as f64)).collect();
        let (grid, window) = (Grid::new(0, 20_000, 240), 50);
        let whole = buckets(&points, &trailing_means(&points, window), grid);
        let start = grid.start(4321);
        let tail: Vec<_> = points.iter().copied().filter(|p| p.0 > start - window).collect();
        let tail = buckets(&tail, &trailing_means(&tail, window), Grid { from: start, ..grid });
        assert!(!tail.is_empty());
        assert_eq!(tail[..], whole[whole.len() - tail.len()..]);
    }

    #[test]
    fn a_grid_covers_its_steps_with_at_most_its_buckets() {
        assert_eq!(Grid::new(0, 399, 400), Grid { from: 0, width: 1 });
        assert_eq!(Grid::new(0, 400, 400).width, 2);
        assert_eq!(Grid::new(5, 5, 400).width, 1);
        assert_eq!(Grid::new(0, i64::MAX, 1).width, i64::MAX);
        assert_eq!(Grid { from: 10, width: 5 }.start(17), 15);
    }

    #[test]
    fn a_recent_mean_states_its_window() {
        let mean = recent(&curve(&[1.0, f64::NAN, 3.0])).expect("a mean");
        assert_eq!((mean.mean, mean.steps, mean.count), (2.0, 3, 2));
        let long: Vec<(i64, f64)> = (1..=1000).map(|i| (i, f64::from(i > 950))).collect();
        assert_eq!(recent(&long).map(|mean| (mean.mean, mean.steps)), Some((1.0, 50)));
        assert_eq!(recent(&curve(&[f64::NAN])), None);
    }

    #[test]
    fn time_adds_the_seconds_of_each_step() {
        let times = seconds(&[(1, 8.0), (2, 4.0), (4, 8.0)], 8.0);
        assert_eq!(times, [(1, 1.0), (2, 3.0), (4, 5.0)]);
        assert_eq!((at_or_before(&times, 3), at_or_before(&times, 0)), (Some(3.0), None));
    }
}
