//! What a chart draws: axes, lines and marks of a panel in a view. Pure functions.

use crate::chart_view::{Axis, View};
use crate::curve::{Curve, Spot, range};
use crate::format::number;
use std::fmt::Write;

/// Margins of the plot, in units of the drawing.
pub(crate) const LEFT: f64 = 46.0;
pub(crate) const RIGHT: f64 = 10.0;
pub(crate) const TOP: f64 = 12.0;
pub(crate) const BOTTOM: f64 = 22.0;

/// One line of a chart: a metric of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LineOf {
    /// Index of the run.
    pub(crate) run: usize,
    pub(crate) metric: String,
    pub(crate) label: String,
    /// Number of its colour.
    pub(crate) colour: u8,
    /// How many lines of the chart already have this colour.
    pub(crate) dash: usize,
    /// Images of a step of the run.
    pub(crate) images_per_step: f64,
}

/// Title, meaning and lines of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) meaning: &'static str,
    pub(crate) lines: Vec<LineOf>,
}

/// The size of a drawing and the ranges of its axes: the mapping between data and SVG coordinates.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Scales {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) x: (f64, f64),
    /// Of the logarithms on a logarithmic axis.
    pub(crate) y: (f64, f64),
    pub(crate) log: bool,
}

impl Scales {
    pub(crate) fn x(&self, place: f64) -> f64 {
        LEFT + (place - self.x.0) / (self.x.1 - self.x.0) * (self.width - LEFT - RIGHT)
    }

    /// None for a value that a logarithmic axis cannot show.
    pub(crate) fn y(&self, value: f64) -> Option<f64> {
        let value = if self.log { value.log10() } else { value };
        let y =
            self.height - BOTTOM - (value - self.y.0) / (self.y.1 - self.y.0) * (self.height - TOP - BOTTOM);
        y.is_finite().then_some(y)
    }

    /// The place on the horizontal axis of an SVG coordinate.
    pub(crate) fn place(&self, x: f64) -> f64 {
        self.x.0 + (x - LEFT) / (self.width - LEFT - RIGHT) * (self.x.1 - self.x.0)
    }
}

#[derive(Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) class: String,
    /// Places and smoothed values.
    pub(crate) means: Vec<(f64, f64)>,
    pub(crate) path: String,
    /// From minimum to maximum of each bucket.
    pub(crate) extremes: String,
    /// Places of values that are not finite, with their number.
    pub(crate) not_finite: Vec<(f64, u32)>,
}

#[derive(Clone, PartialEq)]
pub(crate) struct Drawing {
    pub(crate) scales: Scales,
    pub(crate) lines: Vec<Line>,
    pub(crate) axis: Axis,
    /// Buckets with values that a logarithmic axis cannot show.
    pub(crate) below_zero: usize,
}

/// The place of a bucket on the horizontal axis.
fn place(spot: &Spot, axis: Axis, images_per_step: f64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
    let step = spot.step as f64;
    match axis {
        Axis::Steps => Some(step),
        Axis::Images => Some(step * images_per_step),
        Axis::Time => spot.seconds,
    }
}

impl Drawing {
    /// `end`: the end of the horizontal axis when no range is chosen.
    pub(crate) fn new(panel: &Panel, curves: &[Curve], view: &View, end: f64, is_large: bool) -> Self {
        let (width, height) = if is_large { (1140.0, 440.0) } else { (380.0, 200.0) };
        let curve_of =
            |line: &LineOf| curves.iter().find(|curve| curve.run == line.run && curve.metric == line.metric);
        let placed: Vec<(&LineOf, Vec<(f64, Spot)>)> = panel
            .lines
            .iter()
            .filter_map(|line| {
                let spots = curve_of(line)?.spots.iter();
                let placed = spots.filter_map(|s| Some((place(s, view.axis, line.images_per_step)?, *s)));
                Some((line, placed.collect()))
            })
            .collect();
        let last = placed.iter().filter_map(|(_, spots)| spots.last()).fold(0.0_f64, |last, s| last.max(s.0));
        #[expect(clippy::cast_precision_loss, reason = "steps, images and seconds are far below 2^52")]
        let x = match view.range {
            Some((from, to)) => (from as f64, if to == i64::MAX { last.max(end) } else { to as f64 }),
            None => (0.0, last.max(end)),
        };
        let x = if x.1 > x.0 { x } else { (x.0, x.0 + 1.0) };
        let in_range = |spot: &&(f64, Spot)| spot.0 >= x.0 && spot.0 <= x.1;
        let ends = placed.iter().flat_map(|(_, spots)| spots.iter().filter(in_range));
        let ends = ends.flat_map(|(_, spot)| [spot.min, spot.max]).flatten();
        let below_zero = if view.log { ends.clone().filter(|value| *value <= 0.0).count() } else { 0 };
        let y = if view.log { range(ends.filter(|value| *value > 0.0).map(f64::log10)) } else { range(ends) };
        let scales = Scales { width, height, x, y, log: view.log };
        let lines = placed.into_iter().map(|(line, spots)| Line::new(line, &spots, scales)).collect();
        Self { scales, lines, axis: view.axis, below_zero }
    }

    /// The text alternative of the chart: the last value of each line.
    pub(crate) fn describe(&self, title: &str) -> String {
        let mut text = format!("{title}.");
        for line in &self.lines {
            if let Some((place, value)) = line.means.last() {
                let _ = write!(text, " {}: {} at {}.", line.label, number(*value), self.place(*place));
            }
            let count: u32 = line.not_finite.iter().map(|(_, count)| count).sum();
            if count > 0 {
                let _ = write!(text, " {count} values are not finite.");
            }
        }
        text
    }

    pub(crate) fn place(&self, place: f64) -> String {
        match self.axis {
            Axis::Steps => format!("step {place}"),
            Axis::Images => format!("{place} images"),
            Axis::Time => format!("{} s", number(place)),
        }
    }
}

impl Line {
    fn new(line: &LineOf, spots: &[(f64, Spot)], scales: Scales) -> Self {
        let mut path = String::new();
        let mut extremes = String::new();
        let (mut pen_down, mut is_range) = (false, false);
        let mut means = Vec::new();
        let mut not_finite = Vec::new();
        // Writing to a string cannot fail.
        for &(place, spot) in spots {
            let x = scales.x(place);
            if spot.not_finite > 0 {
                not_finite.push((place, spot.not_finite));
            }
            if let (Some(min), Some(max)) =
                (spot.min.and_then(|v| scales.y(v)), spot.max.and_then(|v| scales.y(v)))
            {
                is_range |= spot.min != spot.max || spot.max != spot.mean;
                let command = if extremes.is_empty() { 'M' } else { 'L' };
                let _ = write!(extremes, "{command}{x:.1} {min:.1}");
                if (min - max).abs() > 0.05 {
                    let _ = write!(extremes, "V{max:.1}");
                }
            }
            let y = spot.mean.and_then(|mean| scales.y(mean));
            if let Some(y) = y {
                let command = if pen_down { 'L' } else { 'M' };
                let _ = write!(path, "{command}{x:.1} {y:.1}");
            }
            if let Some(mean) = spot.mean {
                means.push((place, mean));
            }
            pen_down = y.is_some();
        }
        if means.len() == 1 {
            // A single point: a line without length, which round ends make a dot.
            path.push_str("h0.1");
        }
        if !is_range {
            extremes.clear();
        }
        let class = format!("run-{} dash-{}", line.colour, line.dash.min(3));
        Self { label: line.label.clone(), class, means, path, extremes, not_finite }
    }
}

#[cfg(test)]
mod tests {
    use super::{Drawing, LineOf, Panel};
    use crate::chart_view::{Axis, View};
    use crate::curve::{Curve, Spot};

    fn spot(step: i64, value: f64) -> Spot {
        Spot {
            step,
            min: Some(value),
            max: Some(value),
            mean: Some(value),
            not_finite: 0,
            seconds: Some(step as f64 / 2.0),
        }
    }

    fn drawing(spots: Vec<Spot>, view: &View) -> Drawing {
        let line = LineOf {
            run: 0,
            metric: "loss".into(),
            label: "loss".into(),
            colour: 3,
            dash: 0,
            images_per_step: 8.0,
        };
        let panel = Panel { title: "Loss".into(), meaning: "", lines: vec![line] };
        Drawing::new(&panel, &[Curve { run: 0, metric: "loss".into(), spots }], view, 100.0, false)
    }

    fn whole() -> View {
        View { range: None, axis: Axis::Steps, log: false, smoothing: 1, large: None }
    }

    #[test]
    fn spikes_and_values_that_are_not_finite_are_drawn() {
        let spike = Spot { max: Some(50.0), ..spot(20, 1.0) };
        let gap = Spot { step: 30, min: None, max: None, mean: None, not_finite: 2, seconds: None };
        let drawing = drawing(vec![spot(10, 1.0), spike, gap, spot(40, 2.0)], &whole());
        let line = &drawing.lines[0];
        assert_eq!(line.not_finite, [(30.0, 2)]);
        assert!(drawing.scales.y.1 > 50.0 && line.extremes.contains('V'), "{}", line.extremes);
        // The line has a gap at step 30.
        assert_eq!(line.path.matches('M').count(), 2);
        assert!(drawing.describe("Loss").contains("2 values are not finite"));
    }

    #[test]
    fn axes_are_steps_images_or_time() {
        let spots = || vec![spot(10, 1.0), spot(90, 2.0)];
        let end = |axis| drawing(spots(), &View { axis, ..whole() }).lines[0].means[1].0;
        assert_eq!((end(Axis::Steps), end(Axis::Images), end(Axis::Time)), (90.0, 720.0, 45.0));
        let part = drawing(spots(), &View { range: Some((50, i64::MAX)), ..whole() });
        assert_eq!(part.scales.x, (50.0, 100.0));
    }

    #[test]
    fn a_logarithmic_axis_says_what_it_cannot_show() {
        let log = View { log: true, ..whole() };
        let drawing = drawing(vec![spot(1, 0.001), spot(2, 1000.0), spot(3, -1.0)], &log);
        assert_eq!(drawing.below_zero, 2);
        let y = |value| drawing.scales.y(value).expect("a place");
        assert!(((y(0.001) - y(1.0)) - (y(1.0) - y(1000.0))).abs() < 1e-9);
        assert_eq!(drawing.scales.y(-1.0), None);
    }
}
