//! A line chart in SVG: the range of each bucket faint, smoothed values strong, marks where values are not finite. All
//! charts of a page share one cursor, and dragging over one selects a range for all.

use crate::chart_drawing::{BOTTOM, Drawing, LEFT, Panel, RIGHT, Scales, TOP};
use crate::chart_view::View;
use crate::curve::{Curve, at, log_ticks, ticks};
use crate::format::number;
use leptos::prelude::*;
use leptos::web_sys::{Element, MouseEvent, PointerEvent};
use std::fmt::Write;
use wasm_bindgen::JsCast;

/// Shortest drag that selects a range, in units of the drawing.
const SHORTEST_DRAG: f64 = 6.0;

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

/// A chart of one panel. `csv`: the address of its points.
#[component]
pub(crate) fn Chart(panel: Panel, shared: Shared, csv: Option<String>) -> impl IntoView {
    let Shared { curves, view, cursor, end } = shared;
    let Panel { title, meaning, .. } = panel.clone();
    let is_large = {
        let title = title.clone();
        Memo::new(move |_| view.with(|view| view.large.as_deref() == Some(title.as_str())))
    };
    let data = Memo::new(move |_| {
        curves.with(|curves| view.with(|view| Drawing::new(&panel, curves, view, end.get(), is_large.get())))
    });
    view! {
        <figure class="chart" class:large=move || is_large.get()>
            <figcaption>
                <h3>{title.clone()}</h3>
                <Tools title=title.clone() view is_large csv />
                {(!meaning.is_empty()).then(|| view! { <p>{meaning}</p> })}
                <span class="keys-of-chart">{move || data.with(|data| legend(data, cursor.get()))}</span>
            </figcaption>
            <Plot title data view cursor />
            {move || {
                let count = data.with(|data| data.below_zero);
                (count > 0).then(|| view! {
                    <p class="chart-note">"Values of zero and below are not on a logarithmic axis."</p>
                })
            }}
        </figure>
    }
}

/// Enlargement and downloads.
#[component]
fn Tools(title: String, view: RwSignal<View>, is_large: Memo<bool>, csv: Option<String>) -> impl IntoView {
    let csv = csv.map(|address| {
        let label = format!("{title} as CSV");
        view! { <a download="" href=address aria-label=label>"CSV"</a> }
    });
    let (file, label) = (format!("{}.svg", id_of(&title)), format!("{title} as SVG"));
    let toggle = move |_| view.update(|view| view.large = (!is_large.get_untracked()).then(|| title.clone()));
    view! {
        <span class="chart-tools">
            <button type="button" class="link" on:click=toggle>
                {move || if is_large.get() { "Reduce" } else { "Enlarge" }}
            </button>
            {csv}
            <a download=file href="#" role="button" aria-label=label on:click=svg_download>"SVG"</a>
        </span>
    }
}

/// A title as part of an id or a file's name.
fn id_of(title: &str) -> String {
    title.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// The drawing. Dragging selects a range, a double click the whole.
#[component]
fn Plot(
    title: String,
    data: Memo<Drawing>,
    view: RwSignal<View>,
    cursor: RwSignal<Option<f64>>,
) -> impl IntoView {
    let clip = format!("plot-{}", id_of(&title));
    let clip_url = format!("url(#{clip})");
    let drag = RwSignal::new(None::<(f64, f64)>);
    let scales = move || data.with_untracked(|data| data.scales);
    let begin = move |event: PointerEvent| {
        // A finger scrolls the page.
        if event.button() == 0 && event.pointer_type() != "touch" {
            if let Some(area) = area(&event) {
                // Without capture a drag ends at the chart's edge.
                let _ = area.set_pointer_capture(event.pointer_id());
            }
            drag.set(x_under(&event, scales()).map(|x| (x, x)));
        }
    };
    let follow = move |event: PointerEvent| {
        let x = x_under(&event, scales());
        cursor.set(x.map(|x| scales().place(x)));
        if let (Some(x), Some((start, _))) = (x, drag.get_untracked()) {
            drag.set(Some((start, x)));
        }
    };
    let select = move |_: PointerEvent| {
        let Some((a, b)) = drag.get_untracked() else { return };
        drag.set(None);
        if let Some(range) = selected(scales(), a, b) {
            view.update(|view| view.range = Some(range));
        }
    };
    view! {
        <svg
            viewBox=move || data.with(|data| format!("0 0 {} {}", data.scales.width, data.scales.height))
            role="img"
            aria-label=move || data.with(|data| data.describe(&title))
            on:pointerdown=begin
            on:pointermove=follow
            on:pointerup=select
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
    }
}

/// The range between two coordinates; none if they are so near that the drag was a click.
fn selected(scales: Scales, a: f64, b: f64) -> Option<(i64, i64)> {
    let (from, to) = (scales.place(a.min(b)), scales.place(a.max(b)));
    #[expect(clippy::cast_possible_truncation, reason = "within the axis")]
    let range = (from.max(0.0).round() as i64, to.round() as i64);
    ((a - b).abs() >= SHORTEST_DRAG && range.0 < range.1).then_some(range)
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
