//! A line chart in SVG: raw values faint, smoothed values strong. All charts of a page share one cursor.

use crate::curve::{Curve, MOST_POINTS, at, downsample, range, smooth, ticks};
use crate::format::number;
use leptos::prelude::*;
use leptos::web_sys::PointerEvent;
use std::fmt::Write;
use wasm_bindgen::JsCast;

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 22.0;

/// Title, description and metrics of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panel {
    pub(crate) title: String,
    /// Tooltip of the title.
    pub(crate) description: &'static str,
    /// Metric and legend label of each line.
    pub(crate) curves: Vec<(String, String)>,
}

/// The data ranges of both axes, and the mapping between data and SVG coordinates.
#[derive(Clone, Copy, PartialEq)]
struct Scales {
    x: (f64, f64),
    y: (f64, f64),
}

impl Scales {
    fn x(&self, step: f64) -> f64 {
        LEFT + (step - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value - self.y.0) / (self.y.1 - self.y.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn step(&self, x: f64) -> f64 {
        self.x.0 + (x - LEFT) / (WIDTH - LEFT - RIGHT) * (self.x.1 - self.x.0)
    }
}

#[derive(Clone, PartialEq)]
struct Line {
    label: String,
    raw: Vec<(f64, f64)>,
    smoothed: Vec<(f64, f64)>,
}

#[derive(Clone, PartialEq)]
struct ChartData {
    scales: Scales,
    lines: Vec<Line>,
    smoothing: bool,
}

impl ChartData {
    fn new(panel: &Panel, curves: &[Curve], steps: f64, weight: f64) -> Self {
        let lines: Vec<Line> = panel
            .curves
            .iter()
            .filter_map(|(name, label)| {
                let curve = curves.iter().find(|curve| curve.name == *name)?;
                let smoothed = downsample(&smooth(&curve.points, weight), MOST_POINTS);
                Some(Line { label: label.clone(), raw: downsample(&curve.points, MOST_POINTS), smoothed })
            })
            .collect();
        let last =
            lines.iter().filter_map(|line| line.raw.last()).fold(1.0, |last: f64, point| last.max(point.0));
        let y = range(lines.iter().flat_map(|line| line.raw.iter().map(|point| point.1)));
        Self { scales: Scales { x: (0.0, last.max(steps)), y }, lines, smoothing: weight > 0.0 }
    }

    /// The SVG path of a line. Non-finite values leave a gap.
    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        let mut pen_down = false;
        for &(step, value) in points {
            if value.is_finite() {
                let command = if pen_down { 'L' } else { 'M' };
                // Writing to a string cannot fail.
                let _ = write!(path, "{command}{:.1} {:.1}", self.scales.x(step), self.scales.y(value));
            }
            pen_down = value.is_finite();
        }
        path
    }

    /// The text alternative of the chart: the last smoothed value of each line.
    fn describe(&self, title: &str) -> String {
        let mut text = format!("{title}.");
        for line in &self.lines {
            if let Some((step, value)) = line.smoothed.last() {
                let _ = write!(text, " {}: {} at step {step}.", line.label, number(*value));
            }
        }
        text
    }
}

/// A chart of one panel. `cursor` is the step under the pointer.
#[component]
pub(crate) fn Chart(
    panel: Panel,
    curves: RwSignal<Vec<Curve>>,
    steps: f64,
    smoothing: RwSignal<f64>,
    cursor: RwSignal<Option<f64>>,
) -> impl IntoView {
    let Panel { title, description, .. } = panel.clone();
    let data =
        Memo::new(move |_| curves.with(|curves| ChartData::new(&panel, curves, steps, smoothing.get())));
    let name = title.clone();
    view! {
        <figure class="chart">
            <figcaption>
                <h3 title=description>{title}</h3>
                {move || data.with(|data| legend(data, cursor.get()))}
            </figcaption>
            <svg
                viewBox=format!("0 0 {WIDTH} {HEIGHT}")
                role="img"
                aria-label=move || data.with(|data| data.describe(&name))
                on:pointermove=move |event| cursor.set(step_under(&event, data.get_untracked().scales))
                on:pointerleave=move |_| cursor.set(None)
            >
                {move || data.with(axes)}
                {move || data.with(lines)}
                {move || data.with(|data| cursor_marks(data, cursor.get()))}
            </svg>
        </figure>
    }
}

fn step_under(event: &PointerEvent, scales: Scales) -> Option<f64> {
    let area =
        event.current_target()?.dyn_into::<leptos::web_sys::Element>().ok()?.get_bounding_client_rect();
    let x = (f64::from(event.client_x()) - area.left()) / area.width() * WIDTH;
    Some(scales.step(x.clamp(LEFT, WIDTH - RIGHT)).round())
}

fn legend(data: &ChartData, cursor: Option<f64>) -> impl IntoView + use<> {
    data.lines
        .iter()
        .enumerate()
        .map(|(index, line)| {
            let value = match cursor {
                Some(step) => at(&line.smoothed, step),
                None => line.smoothed.last().copied(),
            };
            view! {
                <span class=format!("key hue-{index}")>
                    <span class="label">{line.label.clone()}</span>
                    <b>{value.map_or_else(|| "–".to_owned(), |(_, value)| number(value))}</b>
                </span>
            }
        })
        .collect_view()
}

fn axes(data: &ChartData) -> impl IntoView + use<> {
    let scales = data.scales;
    let rows = ticks(scales.y.0, scales.y.1, 4)
        .into_iter()
        .map(|value| {
            let y = scales.y(value);
            view! {
                <line class="grid" x1=LEFT x2=WIDTH - RIGHT y1=y y2=y />
                <text class="tick" x=LEFT - 6.0 y=y + 3.5 text-anchor="end">{number(value)}</text>
            }
        })
        .collect_view();
    let columns = ticks(scales.x.0, scales.x.1, 5)
        .into_iter()
        .map(|step| {
            view! {
                <text class="tick" x=scales.x(step) y=HEIGHT - 6.0 text-anchor="middle">{number(step)}</text>
            }
        })
        .collect_view();
    view! { <g>{rows}{columns}</g> }
}

fn lines(data: &ChartData) -> impl IntoView + use<> {
    let paths = data
        .lines
        .iter()
        .enumerate()
        .map(|(index, line)| {
            let raw = if data.smoothing { data.path(&line.raw) } else { String::new() };
            view! {
                <path class=format!("raw hue-{index}") d=raw />
                <path class=format!("line hue-{index}") d=data.path(&line.smoothed) />
            }
        })
        .collect_view();
    view! { <g>{paths}</g> }
}

fn cursor_marks(data: &ChartData, cursor: Option<f64>) -> impl IntoView + use<> {
    let scales = data.scales;
    let step = cursor.filter(|step| *step <= scales.x.1)?;
    let x = scales.x(step);
    let dots = data
        .lines
        .iter()
        .enumerate()
        .filter_map(|(index, line)| {
            let (step, value) = at(&line.smoothed, step)?;
            value.is_finite().then(|| {
                view! { <circle class=format!("dot hue-{index}") cx=scales.x(step) cy=scales.y(value) r=3.5 /> }
            })
        })
        .collect_view();
    let (anchor, text_x) = if x > WIDTH - 80.0 { ("end", x - 5.0) } else { ("start", x + 5.0) };
    Some(view! {
        <g>
            <line class="cursor" x1=x x2=x y1=TOP y2=HEIGHT - BOTTOM />
            <text class="tick" x=text_x y=TOP + 9.0 text-anchor=anchor>{format!("step {step}")}</text>
            {dots}
        </g>
    })
}
