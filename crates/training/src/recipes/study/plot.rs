//! Line plots as inline SVG, without scripts.

use std::fmt::Write;

/// A line of a plot.
pub(super) struct Series {
    /// Its name in the legend.
    pub(super) label: String,
    /// Its points in order of x.
    pub(super) points: Vec<Point>,
}

/// A point of a line.
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    /// Ends of the 95% interval.
    pub(super) interval: Option<[f64; 2]>,
}

/// The labels of the x axis.
pub(super) enum Ticks {
    /// The ends of the range of numbers.
    Numbers,
    /// The label of x = 0, 1, ...
    Names(Vec<String>),
}

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;
/// Readable on both backgrounds of the page.
const COLOURS: [&str; 8] =
    ["#3b7dd8", "#d9722b", "#2f9e62", "#b04fc4", "#c9a21a", "#d84a6b", "#3aa6a6", "#8a7350"];
/// Widest interval that is drawn, in ranges of the means: with two seeds it would flatten every line.
const MAX_INTERVAL: f64 = 3.0;

/// Maps values to the plot's coordinates.
struct Scale {
    x: [f64; 2],
    y: [f64; 2],
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        LEFT + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)
    }

    /// Values beyond the range lie on its border.
    fn y(&self, value: f64) -> f64 {
        let value = value.clamp(self.y[0], self.y[1]);
        HEIGHT - BOTTOM - (value - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)
    }
}

/// The plot; empty without points. `base`: a value that is drawn as a dashed line.
pub(super) fn plot(title: &str, series: &[Series], ticks: &Ticks, base: Option<f64>) -> String {
    let points = || series.iter().flat_map(|series| &series.points);
    let Some(scale) = scale(points, base) else { return String::new() };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\"><title>{0}</title>",
        escaped(title)
    );
    for value in [scale.y[0], f64::midpoint(scale.y[0], scale.y[1]), scale.y[1]] {
        let y = scale.y(value);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 5.0,
            y + 3.5,
            short(value)
        );
    }
    let labels: Vec<(f64, String)> = match ticks {
        Ticks::Numbers => scale.x.iter().map(|&x| (x, short(x))).collect(),
        Ticks::Names(names) => names.iter().enumerate().map(|(i, name)| (i as f64, name.clone())).collect(),
    };
    for (x, label) in labels {
        let (x, y) = (scale.x(x), HEIGHT - 8.0);
        let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>", escaped(&label));
    }
    if let Some(base) = base {
        let y = scale.y(base);
        let _ = write!(svg, "<path class=\"base\" d=\"M{LEFT} {y:.1}H{}\"/>", WIDTH - RIGHT);
    }
    for (i, series) in series.iter().enumerate() {
        line(&mut svg, &scale, series, COLOURS[i % COLOURS.len()]);
    }
    svg.push_str("</svg>");
    if series.len() > 1 {
        svg.push_str(&legend(series));
    }
    svg
}

fn line(svg: &mut String, scale: &Scale, series: &Series, colour: &str) {
    for point in &series.points {
        let x = scale.x(point.x);
        if let Some([low, high]) = point.interval {
            let (low, high) = (scale.y(low), scale.y(high));
            let _ = write!(
                svg,
                "<path d=\"M{x:.1} {low:.1}V{high:.1}\" stroke=\"{colour}\" stroke-opacity=\".35\" stroke-width=\"2\"/>"
            );
        }
    }
    let at = |point: &Point| format!("{:.1} {:.1}", scale.x(point.x), scale.y(point.y));
    let path: Vec<String> = series.points.iter().map(at).collect();
    let _ = write!(
        svg,
        "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
        path.join("L")
    );
    for point in &series.points {
        let (x, y) = (scale.x(point.x), scale.y(point.y));
        let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\" fill=\"{colour}\"/>");
    }
}

fn legend(series: &[Series]) -> String {
    let mut text = "<p class=\"legend\">".to_owned();
    for (i, series) in series.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let label = escaped(&series.label);
        let _ = write!(text, "<span style=\"color:{colour}\">&#9632;</span> {label} ");
    }
    text + "</p>"
}

fn scale<'a, I: Iterator<Item = &'a Point>>(points: impl Fn() -> I, base: Option<f64>) -> Option<Scale> {
    let x = range(points().map(|point| point.x))?;
    let means = range(points().map(|point| point.y).chain(base))?;
    let room = (means[1] - means[0]) * MAX_INTERVAL;
    let ends = points().filter_map(|point| point.interval).flatten();
    let ends = ends.filter(|end| *end > means[0] - room && *end < means[1] + room);
    let y = range(ends.chain(means))?;
    Some(Scale { x, y })
}

/// Smallest and largest value, apart even if all are equal.
fn range(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    let [low, high] = values
        .filter(|value| value.is_finite())
        .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)]);
    if low > high {
        return None;
    }
    let margin = if low < high { 0.0 } else { (low.abs() * 0.1).max(1e-6) };
    Some([low - margin, high + margin])
}

/// A number with three significant digits.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e5).contains(&size) {
        format!("{value:.1e}")
    } else {
        let digits = (2 - size.log10().floor() as i32).max(0) as usize;
        format!("{value:.digits$}")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::{Point, Series, Ticks, plot, short};

    fn series(label: &str, values: &[f64]) -> Series {
        let point = |(x, &y): (usize, &f64)| Point { x: x as f64, y, interval: Some([y - 0.1, y + 0.1]) };
        Series { label: label.to_owned(), points: values.iter().enumerate().map(point).collect() }
    }

    #[test]
    fn a_plot_has_every_point_in_its_frame_and_escapes_its_labels() {
        let names = Ticks::Names(vec!["<a>".to_owned(), "b".to_owned()]);
        let svg =
            plot("x & y", &[series("one", &[1.0, 2.0]), series("<two>", &[2.0, 2.5])], &names, Some(1.5));
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(svg.contains("&lt;a&gt;") && svg.contains("&lt;two&gt;") && svg.contains("x &amp; y"));
        for y in svg.split("cy=\"").skip(1) {
            let y: f64 = y.split('"').next().expect("a number").parse().expect("a number");
            assert!((0.0..=super::HEIGHT).contains(&y), "{y}");
        }
        assert!(svg.contains("class=\"base\"") && !svg.contains("NaN"));
    }

    #[test]
    fn a_plot_of_one_value_or_of_none_is_finite() {
        let one = plot("one", &[series("one", &[0.0])], &Ticks::Numbers, None);
        assert!(one.contains("<circle") && !one.contains("NaN") && !one.contains("inf"), "{one}");
        assert_eq!(plot("none", &[series("none", &[])], &Ticks::Numbers, None), "");
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.0, 0.25, 12.345, 123_456.0, 0.000_012].map(short);
        assert_eq!(shown, ["0", "0.250", "12.3", "1.2e5", "1.2e-5"]);
    }
}
