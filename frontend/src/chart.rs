//! A line chart in SVG: the range of each bucket faint, smoothed values strong, marks where values are not finite. All
//! charts of a page share one cursor, and dragging over one selects a range for all.

use crate::chart_view::{Axis, View};
use crate::curve::{Curve, Spot, at, log_ticks, range, ticks};
use crate::format::number;
use leptos::prelude::*;
use leptos::web_sys::{Element, MouseEvent, PointerEvent};
use std::fmt::Write;
use wasm_bindgen::JsCast;

const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 22.0;
/// Shortest drag that selects a range, in units of the drawing.
const SHORTEST_DRAG: f64 = 6.0;

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
struct Scales {
    width: f64,
    height: f64,
    x: (f64, f64),
    /// Of the logarithms on a logarithmic axis.
    y: (f64, f64),
    log: bool,
}

impl Scales {
    fn x(&self, place: f64) -> f64 {
        LEFT + (place - self.x.0) / (self.x.1 - self.x.0) * (self.width - LEFT - RIGHT)
    }

    /// None for a value that a logarithmic axis cannot show.
    fn y(&self, value: f64) -> Option<f64> {
        let value = if self.log { value.log10() } else { value };
        let y =
            self.height - BOTTOM - (value - self.y.0) / (self.y.1 - self.y.0) * (self.height - TOP - BOTTOM);
        y.is_finite().then_some(y)
    }

    /// The place on the horizontal axis of an SVG coordinate.
    fn place(&self, x: f64) -> f64 {
        self.x.0 + (x - LEFT) / (self.width - LEFT - RIGHT) * (self.x.1 - self.x.0)
    }
}

#[derive(Clone, PartialEq)]
struct Line {
    label: String,
    class: String,
    /// Places and smoothed values.
    means: Vec<(f64, f64)>,
    path: String,
    /// From minimum to maximum of each bucket.
    extremes: String,
    /// Places of values that are not finite, with their number.
    not_finite: Vec<(f64, u32)>,
}

#[derive(Clone, PartialEq)]
struct Drawing {
    scales: Scales,
    lines: Vec<Line>,
    axis: Axis,
    /// Buckets with values that a logarithmic axis cannot show.
    below_zero: usize,
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
    fn new(panel: &Panel, curves: &[Curve], view: &View, end: f64, is_large: bool) -> Self {
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
    fn describe(&self, title: &str) -> String {
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

    fn place(&self, place: f64) -> String {
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

/// What the charts of a page share.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    pub(crate) curves: RwSignal<Vec<Curve>>,
    pub(crate) view: RwSignal<View>,
    /// The place under the pointer.
    pub(crate) cursor: RwSignal<Option<f64>>,
    /// The end of the horizontal axis when no range is chosen.
    pub(crate) end: Signal<f64>,
}

/// A chart of one panel. `links`: downloads.
#[component]
pub(crate) fn Chart(panel: Panel, shared: Shared, csv: Option<String>) -> impl IntoView {
    let Shared { curves, view, cursor, end } = shared;
    let Panel { title, meaning, .. } = panel.clone();
    let clip = format!("plot-{}", title.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    let is_large = {
        let title = title.clone();
        Memo::new(move |_| view.with(|view| view.large.as_deref() == Some(title.as_str())))
    };
    let data = Memo::new(move |_| {
        curves.with(|curves| view.with(|view| Drawing::new(&panel, curves, view, end.get(), is_large.get())))
    });
    let drag = RwSignal::new(None::<(f64, f64)>);
    let select = move || {
        let Some((a, b)) = drag.get_untracked() else { return };
        drag.set(None);
        let scales = data.with_untracked(|data| data.scales);
        if (a - b).abs() >= SHORTEST_DRAG {
            let (from, to) = (scales.place(a.min(b)), scales.place(a.max(b)));
            #[expect(clippy::cast_possible_truncation, reason = "within the axis")]
            let range = (from.max(0.0).round() as i64, to.round() as i64);
            if range.0 < range.1 {
                view.update(|view| view.range = Some(range));
            }
        }
    };
    let name = title.clone();
    let toggle = {
        let title = title.clone();
        move |_| view.update(|view| view.large = (!is_large.get_untracked()).then(|| title.clone()))
    };
    let clip_url = format!("url(#{clip})");
    view! {
        <figure class="chart" class:large=move || is_large.get()>
            <figcaption>
                <h3>{title.clone()}</h3>
                <span class="chart-tools">
                    <button type="button" class="link" aria-pressed=move || is_large.get().to_string() on:click=toggle>
                        {move || if is_large.get() { "Reduce" } else { "Enlarge" }}
                    </button>
                    {csv.map(|address| view! { <a download="" href=address aria-label=format!("{title} as CSV")>"CSV"</a> })}
                    <a download=format!("{clip}.svg") href="#" role="button" aria-label=format!("{title} as SVG")
                        on:click=svg_download>"SVG"</a>
                </span>
                {(!meaning.is_empty()).then(|| view! { <p>{meaning}</p> })}
                <span class="keys-of-chart">{move || data.with(|data| legend(data, cursor.get()))}</span>
            </figcaption>
            <svg
                viewBox=move || data.with(|data| format!("0 0 {} {}", data.scales.width, data.scales.height))
                role="img"
                aria-label=move || data.with(|data| data.describe(&name))
                on:pointerdown=move |event| {
                    if event.button() == 0 && event.pointer_type() != "touch" {
                        if let Some(area) = area(&event) {
                            // Without capture a drag ends at the chart's edge.
                            let _ = area.set_pointer_capture(event.pointer_id());
                        }
                        drag.set(x_under(&event, data.with_untracked(|data| data.scales)).map(|x| (x, x)));
                    }
                }
                on:pointermove=move |event| {
                    let scales = data.with_untracked(|data| data.scales);
                    let x = x_under(&event, scales);
                    cursor.set(x.map(|x| scales.place(x)));
                    if let (Some(x), Some((start, _))) = (x, drag.get_untracked()) {
                        drag.set(Some((start, x)));
                    }
                }
                on:pointerup=move |_| select()
                on:pointercancel=move |_| drag.set(None)
                on:pointerleave=move |_| cursor.set(None)
                on:dblclick=move |_| view.update(|view| view.range = None)
            >
                {move || data.with(|data| axes(data, &clip))}
                <g clip-path=clip_url>
                    {move || data.with(lines)}
                    {move || data.with(|data| cursor_marks(data, cursor.get()))}
                    {move || drag.get().map(|(a, b)| {
                        let height = data.with(|data| data.scales.height) - TOP - BOTTOM;
                        view! { <rect class="selection" x=a.min(b) y=TOP width=(a - b).abs() height=height /> }
                    })}
                </g>
            </svg>
            {move || {
                let count = data.with(|data| data.below_zero);
                (count > 0).then(|| view! {
                    <p class="chart-note">"Values of zero and below are not on a logarithmic axis."</p>
                })
            }}
        </figure>
    }
}

fn area(event: &MouseEvent) -> Option<Element> {
    event.current_target()?.dyn_into::<Element>().ok()
}

/// The coordinate under the pointer, in units of the drawing.
fn x_under(event: &PointerEvent, scales: Scales) -> Option<f64> {
    let area = area(event)?.get_bounding_client_rect();
    let x = (f64::from(event.client_x()) - area.left()) / area.width() * scales.width;
    Some(x.clamp(LEFT, scales.width - RIGHT))
}

fn legend(data: &Drawing, cursor: Option<f64>) -> impl IntoView + use<> {
    data.lines
        .iter()
        .map(|line| {
            let value = match cursor {
                Some(place) => at(&line.means, place),
                None => line.means.last().copied(),
            };
            view! {
                <span class=format!("key {}", line.class)>
                    <span class="label">{line.label.clone()}</span>
                    <b>{value.map_or_else(|| "–".to_owned(), |(_, value)| number(value))}</b>
                </span>
            }
        })
        .collect_view()
}

fn axes(data: &Drawing, clip: &str) -> impl IntoView + use<> {
    let scales = data.scales;
    let values = if scales.log {
        log_ticks(10f64.powf(scales.y.0), 10f64.powf(scales.y.1), 4)
    } else {
        ticks(scales.y.0, scales.y.1, 4)
    };
    let rows = values
        .into_iter()
        .filter_map(|value| {
            let y = scales.y(value)?;
            Some(view! {
                <line class="grid" x1=LEFT x2=scales.width - RIGHT y1=y y2=y />
                <text class="tick" x=LEFT - 6.0 y=y + 3.5 text-anchor="end">{number(value)}</text>
            })
        })
        .collect_view();
    let columns = ticks(scales.x.0, scales.x.1, if scales.width > 400.0 { 10 } else { 5 })
        .into_iter()
        .map(|place| {
            let y = scales.height - 6.0;
            view! { <text class="tick" x=scales.x(place) y=y text-anchor="middle">{number(place)}</text> }
        })
        .collect_view();
    let (width, height) = (scales.width - LEFT - RIGHT, scales.height - TOP - BOTTOM);
    view! {
        <defs>
            <clipPath id=clip.to_owned()>
                <rect x=LEFT - 2.0 y=TOP - 8.0 width=width + 4.0 height=height + 10.0 />
            </clipPath>
        </defs>
        <g>{rows}{columns}</g>
    }
}

fn lines(data: &Drawing) -> impl IntoView + use<> {
    let scales = data.scales;
    let paths = data
        .lines
        .iter()
        .map(|line| {
            let marks = line
                .not_finite
                .iter()
                .map(|(place, count)| {
                    let d = format!("M{:.1} {:.1}l6 6m0 -6l-6 6", scales.x(*place) - 3.0, TOP - 6.0);
                    let text = format!("{count} not finite at {}", data.place(*place));
                    view! { <path class="not-finite" d=d><title>{text}</title></path> }
                })
                .collect_view();
            view! {
                <path class=format!("raw {}", line.class) d=line.extremes.clone() />
                <path class=format!("line {}", line.class) d=line.path.clone() />
                {marks}
            }
        })
        .collect_view();
    view! { <g>{paths}</g> }
}

fn cursor_marks(data: &Drawing, cursor: Option<f64>) -> impl IntoView + use<> {
    let scales = data.scales;
    let place = cursor.filter(|place| (scales.x.0..=scales.x.1).contains(place))?;
    let x = scales.x(place);
    let mut shown = place;
    let dots = data
        .lines
        .iter()
        .filter_map(|line| {
            let (place, value) = at(&line.means, place)?;
            shown = place;
            let y = scales.y(value)?;
            Some(view! { <circle class=format!("dot {}", line.class) cx=scales.x(place) cy=y r=3.5 /> })
        })
        .collect_view();
    let (anchor, text_x) = if x > scales.width - 90.0 { ("end", x - 5.0) } else { ("start", x + 5.0) };
    Some(view! {
        <g>
            <line class="cursor" x1=x x2=x y1=TOP y2=scales.height - BOTTOM />
            <text class="tick" x=text_x y=TOP + 9.0 text-anchor=anchor>{data.place(shown)}</text>
            {dots}
        </g>
    })
}

/// Makes the link's address the drawing as a file of its own: without the page's stylesheet, so with its colours resolved.
fn svg_download(event: MouseEvent) {
    let address = area(&event).and_then(|link| {
        let svg = link.closest("figure").ok()??.query_selector("svg").ok()??;
        let text = standalone_svg(&svg)?;
        let encoded = js_sys::encode_uri_component(&text).as_string()?;
        link.set_attribute("href", &format!("data:image/svg+xml,{encoded}")).ok()
    });
    if address.is_none() {
        event.prevent_default();
    }
}

fn standalone_svg(svg: &Element) -> Option<String> {
    let style = window().get_computed_style(svg).ok()??;
    let colour = |name: &str| style.get_property_value(name).unwrap_or_default();
    let mut rules = format!(
        "svg{{background:{}}}text{{font:10.5px sans-serif;fill:{}}}.grid{{stroke:{}}}path{{fill:none;stroke-linejoin:round}}\
         .raw{{opacity:.3}}.line{{stroke-width:1.8}}.not-finite{{stroke:{}}}.dash-1{{stroke-dasharray:6 3}}.dash-2{{stroke-dasharray:2 3}}",
        colour("--surface"),
        colour("--ink-soft"),
        colour("--line"),
        colour("--bad"),
    );
    for number in 0..12 {
        let _ = write!(rules, ".run-{number}{{stroke:{}}}", colour(&format!("--run-{number}")));
    }
    let markup = svg.outer_html();
    let (start, rest) = markup.split_once('>')?;
    let start = if start.contains("xmlns=") {
        start.to_owned()
    } else {
        start.replacen("<svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"", 1)
    };
    // Comments of the framework.
    let mut body = String::new();
    for (index, part) in rest.split("<!").enumerate() {
        body.push_str(if index == 0 { part } else { part.split_once('>').map_or("", |(_, after)| after) });
    }
    Some(format!("{start}><style>{rules}</style>{body}"))
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
