//! The controls of a view of charts.

use crate::chart_view::{Axis, SMOOTHINGS, View};
use leptos::prelude::*;

/// The form of the view. Without JavaScript it is submitted; the fields are those of the address.
#[component]
pub(crate) fn Controls(
    view: RwSignal<View>,
    address: Callback<View, String>,
    fixed: Vec<(String, String)>,
) -> impl IntoView {
    let hidden = fixed
        .into_iter()
        .map(|(name, value)| view! { <input type="hidden" name=name value=value /> })
        .collect_view();
    let set = move |change: fn(&mut View, &str), value: String| view.update(|view| change(view, &value));
    let axes = Axis::ALL.map(|axis| {
        let chosen = view.get_untracked().axis == axis;
        view! { <option value=axis.value() selected=chosen>{axis.label()}</option> }
    });
    let smoothing = view.get_untracked().smoothing;
    let mut steps = SMOOTHINGS.to_vec();
    if !steps.contains(&smoothing) {
        steps.push(smoothing);
        steps.sort_unstable();
    }
    let smoothings = steps
        .into_iter()
        .map(|steps| {
            let label = if steps == 1 { "None".to_owned() } else { format!("{steps} steps") };
            let chosen = steps == smoothing;
            view! { <option value=steps.to_string() selected=chosen>{label}</option> }
        })
        .collect_view();
    let end_of = |view: &View, end: fn((i64, i64)) -> i64| {
        view.range
            .map(end)
            .filter(|value| *value < i64::MAX)
            .map(|value| value.to_string())
            .unwrap_or_default()
    };
    let end = move |end: fn((i64, i64)) -> i64| move || view.with(|view| end_of(view, end));
    let (first, last) =
        view.with_untracked(|view| (end_of(view, |range| range.0), end_of(view, |range| range.1)));
    let large = move || view.with(|view| view.large.clone().unwrap_or_default());
    let (is_log, first_large) =
        view.with_untracked(|view| (view.log, view.large.clone().unwrap_or_default()));
    view! {
        <form class="chart-controls" method="get">
            {hidden}
            <label>"From" <input name="from" inputmode="numeric" pattern="[0-9]*" placeholder="start" prop:value=end(|r| r.0) value=first
                on:change=move |event| set(|view, text| set_range(view, Some(text), None), event_target_value(&event)) /></label>
            <label>"To" <input name="to" inputmode="numeric" pattern="[0-9]*" placeholder="end" prop:value=end(|r| r.1) value=last
                on:change=move |event| set(|view, text| set_range(view, None, Some(text)), event_target_value(&event)) /></label>
            <label>"Axis" <select name="x" on:change=move |event| set(
                |view, text| {
                    view.axis = Axis::ALL.into_iter().find(|axis| axis.value() == text).unwrap_or_default();
                    view.range = None;
                },
                event_target_value(&event),
            )>{axes}</select></label>
            <label>"Smoothing" <select name="smoothing" on:change=move |event| set(
                |view, text| view.smoothing = text.parse().unwrap_or(1),
                event_target_value(&event),
            )>{smoothings}</select></label>
            <label class="check"><input type="checkbox" name="scale" value="log" checked=is_log
                prop:checked=move || view.with(|view| view.log)
                on:change=move |event| view.update(|view| view.log = event_target_checked(&event)) />"Log scale"</label>
            <input type="hidden" name="large" prop:value=large value=first_large />
            <button class="quiet">"Apply"</button>
            <a class="button quiet" class:gone=move || view.with(|view| view.range.is_none())
                href=move || address.run(View { range: None, ..view.get() })
                on:click=move |event| {
                    event.prevent_default();
                    view.update(|view| view.range = None);
                }>"Reset zoom"</a>
        </form>
    }
}

/// Sets one end of the range; an empty text frees it.
fn set_range(view: &mut View, from: Option<&str>, to: Option<&str>) {
    let (mut first, mut last) = view.range.unwrap_or((0, i64::MAX));
    if let Some(text) = from {
        first = text.parse().unwrap_or(0);
    }
    if let Some(text) = to {
        last = text.parse().unwrap_or(i64::MAX);
    }
    let is_whole = first <= 0 && last == i64::MAX;
    view.range = Some((first.max(0), last)).filter(|(first, last)| first < last && !is_whole);
}
