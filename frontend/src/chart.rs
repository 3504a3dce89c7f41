//! A line chart in SVG: raw values faint, smoothed ones strong, one cursor shared by all charts of a page.

use crate::curve::{Curve, SHOWN, at, range, smooth, thin, ticks};
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

/// What a chart shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panel {
    /// Above it.
    pub(crate) title: String,
    /// One line that says what it means.
    pub(crate) meaning: &'static str,
    /// Names of its curves and their labels.
    pub(crate) curves: Vec<(String, String)>,
}

/// Where data lie on the paper.
#[derive(Clone, Copy, PartialEq)]
struct Frame {
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
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

/// One line: what was measured and its smoothed course.
#[derive(Clone, PartialEq)]
struct Line {
    label: String,
    raw: Vec<(f64, f64)>,
    smoothed: Vec<(f64, f64)>,
}

#[derive(Clone, PartialEq)]
struct Drawing {
    frame: Frame,
    lines: Vec<Line>,
    smoothing: bool,
}

impl Drawing {
    fn new(panel: &Panel, curves: &[Curve], steps: f64, weight: f64) -> Self {
        let lines: Vec<Line> = panel
            .curves
            .iter()
            .filter_map(|(name, label)| {
                let curve = curves.iter().find(|curve| curve.name == *name)?;
                let smoothed = thin(&smooth(&curve.points, weight), SHOWN);
                Some(Line { label: label.clone(), raw: thin(&curve.points, SHOWN), smoothed })
            })
            .collect();
        let last =
            lines.iter().filter_map(|line| line.raw.last()).fold(1.0, |last: f64, point| last.max(point.0));
        let y = range(lines.iter().flat_map(|line| line.raw.iter().map(|point| point.1)));
        Self { frame: Frame { x: (0.0, last.max(steps)), y }, lines, smoothing: weight > 0.0 }
    }

    /// The SVG path of a line; values that are no numbers leave a gap.
    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        let mut pen_down = false;
        for &(step, value) in points {
            if value.is_finite() {
                let command = if pen_down { 'L' } else { 'M' };
                // Writing to a string cannot fail.
                let _ = write!(path, "{command}{:.1} {:.1}", self.frame.x(step), self.frame.y(value));
            }
            pen_down = value.is_finite();
        }
        path
    }

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

/// The chart. `cursor` is the step under the pointer, shared by all charts.
#[component]
pub(crate) fn Chart(
    panel: Panel,
    curves: RwSignal<Vec<Curve>>,
    steps: f64,
    smoothing: RwSignal<f64>,
    cursor: RwSignal<Option<f64>>,
) -> impl IntoView {
    let Panel { title, meaning, .. } = panel.clone();
    let drawing =
        Memo::new(move |_| curves.with(|curves| Drawing::new(&panel, curves, steps, smoothing.get())));
    let name = title.clone();
    view! {
        <figure class="chart">
            <figcaption>
                <h3 title=meaning>{title}</h3>
                {move || drawing.with(|drawing| legend(drawing, cursor.get()))}
            </figcaption>
            <svg
                viewBox=format!("0 0 {WIDTH} {HEIGHT}")
                role="img"
                aria-label=move || drawing.with(|drawing| drawing.describe(&name))
                on:pointermove=move |event| cursor.set(step_under(&event, drawing.get_untracked().frame))
                on:pointerleave=move |_| cursor.set(None)
            >
                {move || drawing.with(axes)}
                {move || drawing.with(lines)}
                {move || drawing.with(|drawing| cursor_marks(drawing, cursor.get()))}
            </svg>
        </figure>
    }
}

fn step_under(event: &PointerEvent, frame: Frame) -> Option<f64> {
    let paper =
        event.current_target()?.dyn_into::<leptos::web_sys::Element>().ok()?.get_bounding_client_rect();
    let x = (f64::from(event.client_x()) - paper.left()) / paper.width() * WIDTH;
    Some(frame.step(x.clamp(LEFT, WIDTH - RIGHT)).round())
}

fn legend(drawing: &Drawing, cursor: Option<f64>) -> impl IntoView + use<> {
    drawing
        .lines
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

fn axes(drawing: &Drawing) -> impl IntoView + use<> {
    let frame = drawing.frame;
    let rows = ticks(frame.y.0, frame.y.1, 4)
        .into_iter()
        .map(|value| {
            let y = frame.y(value);
            view! {
                <line class="grid" x1=LEFT x2=WIDTH - RIGHT y1=y y2=y />
                <text class="tick" x=LEFT - 6.0 y=y + 3.5 text-anchor="end">{number(value)}</text>
            }
        })
        .collect_view();
    let columns = ticks(frame.x.0, frame.x.1, 5)
        .into_iter()
        .map(|step| {
            view! {
                <text class="tick" x=frame.x(step) y=HEIGHT - 6.0 text-anchor="middle">{number(step)}</text>
            }
        })
        .collect_view();
    view! { <g>{rows}{columns}</g> }
}

fn lines(drawing: &Drawing) -> impl IntoView + use<> {
    let paths = drawing
        .lines
        .iter()
        .enumerate()
        .map(|(index, line)| {
            let raw = if drawing.smoothing { drawing.path(&line.raw) } else { String::new() };
            view! {
                <path class=format!("raw hue-{index}") d=raw />
                <path class=format!("line hue-{index}") d=drawing.path(&line.smoothed) />
            }
        })
        .collect_view();
    view! { <g>{paths}</g> }
}

fn cursor_marks(drawing: &Drawing, cursor: Option<f64>) -> impl IntoView + use<> {
    let frame = drawing.frame;
    let step = cursor.filter(|step| *step <= frame.x.1)?;
    let x = frame.x(step);
    let dots = drawing
        .lines
        .iter()
        .enumerate()
        .filter_map(|(index, line)| {
            let (step, value) = at(&line.smoothed, step)?;
            value.is_finite().then(|| {
                view! { <circle class=format!("dot hue-{index}") cx=frame.x(step) cy=frame.y(value) r=3.5 /> }
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
