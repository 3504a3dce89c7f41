//! Curves as charts hold them, and the arithmetic of axes. Pure functions: buckets and smoothing come from the server, so
//! that a followed chart equals a reloaded one.

use domain::api::{RunSeries, Series};
use domain::series::{Bucket, Grid};
use serde::{Deserialize, Serialize};

/// Most buckets of a curve, about one for each two pixels of a chart.
pub(crate) const BUCKETS: u32 = 240;

/// A bucket of a curve. In JSON a list, because a page has thousands of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Packed", into = "Packed")]
pub(crate) struct Spot {
    pub(crate) step: i64,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) mean: Option<f64>,
    pub(crate) not_finite: u32,
    pub(crate) seconds: Option<f64>,
}

type Packed = (i64, Option<f64>, Option<f64>, Option<f64>, u32, Option<f64>);

impl From<Packed> for Spot {
    fn from((step, min, max, mean, not_finite, seconds): Packed) -> Self {
        Self { step, min, max, mean, not_finite, seconds }
    }
}

impl From<Spot> for Packed {
    fn from(spot: Spot) -> Self {
        (spot.step, spot.min, spot.max, spot.mean, spot.not_finite, spot.seconds)
    }
}

impl From<&Bucket> for Spot {
    fn from(bucket: &Bucket) -> Self {
        Self {
            step: bucket.step,
            min: bucket.min.map(six_digits),
            max: bucket.max.map(six_digits),
            mean: bucket.mean.map(six_digits),
            not_finite: bucket.not_finite,
            seconds: bucket.seconds.map(six_digits),
        }
    }
}

/// A curve of one of the runs of a page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Curve {
    /// Index of the run.
    pub(crate) run: usize,
    /// The metric, as in `domain::run::metric`.
    pub(crate) metric: String,
    pub(crate) spots: Vec<Spot>,
}

/// What decides whether newer buckets continue older ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Extent {
    pub(crate) step: i64,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) bucket_steps: i64,
}

impl From<&RunSeries> for Extent {
    fn from(reply: &RunSeries) -> Self {
        Self { step: reply.step, from: reply.from, to: reply.to, bucket_steps: reply.bucket_steps }
    }
}

impl Extent {
    /// Whether buckets after `self.step` continue those of `self`: the range is the same and the run has not gone back.
    pub(crate) fn is_continued_by(self, newer: Self) -> bool {
        (self.from, self.to, self.bucket_steps) == (newer.from, newer.to, newer.bucket_steps)
            && newer.step >= self.step
    }
}

/// The curves of a response.
pub(crate) fn curves(run: usize, reply: &RunSeries) -> Vec<Curve> {
    let curve = |series: &Series| Curve {
        run,
        metric: series.metric.clone(),
        spots: series.buckets.iter().map(Spot::from).collect(),
    };
    reply.series.iter().filter(|series| !series.buckets.is_empty()).map(curve).collect()
}

/// Replaces the last bucket of each curve and appends newer ones; a new metric starts a new curve.
pub(crate) fn extend(curves: &mut Vec<Curve>, run: usize, reply: &RunSeries) {
    let grid = Grid { from: reply.from, width: reply.bucket_steps.max(1) };
    for series in reply.series.iter().filter(|series| !series.buckets.is_empty()) {
        let known = curves.iter().position(|curve| curve.run == run && curve.metric == series.metric);
        let index = known.unwrap_or_else(|| {
            curves.push(Curve { run, metric: series.metric.clone(), spots: Vec::new() });
            curves.len() - 1
        });
        let spots = &mut curves[index].spots;
        let start = grid.start(series.buckets[0].step);
        spots.truncate(spots.partition_point(|spot| spot.step < start));
        spots.extend(series.buckets.iter().map(Spot::from));
    }
}

/// A value with six significant digits: enough to draw, and short in a page.
fn six_digits(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    #[expect(clippy::cast_possible_truncation, reason = "between -324 and 309")]
    let places = 5 - value.abs().log10().floor() as i32;
    if places > 300 {
        return value;
    }
    if places >= 0 {
        let scale = 10f64.powi(places);
        (value * scale).round() / scale
    } else {
        let scale = 10f64.powi(-places);
        (value / scale).round() * scale
    }
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

/// Ticks of a logarithmic axis: powers of ten, or round numbers if the range has fewer than two powers.
pub(crate) fn log_ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let (first, last) = (low.log10().ceil(), high.log10().floor());
    let decades = last - first;
    if !decades.is_finite() || decades < 1.0 {
        return ticks(low, high, count).into_iter().filter(|tick| *tick > 0.0).collect();
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let every = (decades / count as f64).ceil().max(1.0);
    let mut ticks = Vec::new();
    let mut power = first;
    while power <= last && ticks.len() < 20 {
        ticks.push(10f64.powf(power));
        power += every;
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

/// The last point at or before a place; the first point if there is none before it.
pub(crate) fn at(points: &[(f64, f64)], place: f64) -> Option<(f64, f64)> {
    let after = points.partition_point(|point| point.0 <= place);
    points.get(after.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::{Curve, Spot, at, extend, log_ticks, range, six_digits, ticks};
    use domain::api::{RunSeries, Series};
    use domain::job::JobState;
    use domain::series::{Bucket, Grid, buckets, trailing_means};

    fn reply(points: &[(i64, f64)], after: Option<i64>) -> RunSeries {
        let mut grid = Grid::new(0, 100, 20);
        grid.from = after.map_or(0, |after| grid.start(after));
        let buckets: Vec<Bucket> = buckets(points, &trailing_means(points, 7), grid);
        let series = vec![Series { metric: "loss".into(), buckets, first: None, last: None, recent: None }];
        let step = points.last().expect("a point").0;
        RunSeries {
            state: JobState::Running,
            step,
            steps: 100,
            from: 0,
            to: 100,
            bucket_steps: grid.width,
            smoothing: 7,
            images_per_step: 8,
            series,
        }
    }

    #[test]
    fn a_followed_curve_equals_a_reloaded_one() {
        let points: Vec<(i64, f64)> = (1..=83).map(|i| (i, ((i * 37) % 11) as f64)).collect();
        let mut followed = Vec::new();
        extend(&mut followed, 0, &reply(&points[..10], None));
        for end in [11, 12, 30, 31, 57, 83] {
            let after = followed[0].spots.last().map(|spot: &Spot| spot.step);
            extend(&mut followed, 0, &reply(&points[..end], after));
        }
        assert_eq!(followed, super::curves(0, &reply(&points, None)));
        let text = serde_json::to_string(&followed).expect("JSON");
        assert_eq!(serde_json::from_str::<Vec<Curve>>(&text).expect("curves"), followed);
    }

    #[test]
    fn values_are_rounded_to_six_digits() {
        for (value, short) in [
            (0.123_456_789, 0.123_457),
            (-98_765_432.1, -98_765_400.0),
            (1.0, 1.0),
            (2.5e-9, 2.5e-9),
            (0.0, 0.0),
            (1e-320, 1e-320),
        ] {
            assert_eq!(six_digits(value), short);
        }
    }

    #[test]
    fn ticks_are_round_and_within_the_range() {
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(3.0, 97.0, 4), [25.0, 50.0, 75.0]);
        assert_eq!(ticks(1.0, 1.0, 4), [1.0]);
        assert_eq!(log_ticks(0.5, 2000.0, 4), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(log_ticks(2.0, 9.0, 4), [2.0, 4.0, 6.0, 8.0]);
        assert!(log_ticks(1e-300, 1e300, 4).len() <= 5);
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
