//! A sweep: one setting against a metric as a scatter, and all settings that differ with the metric in parallel.

use crate::curve::{log_ticks, range, ticks};
use crate::format::number;
use crate::meaning::title;
use crate::pages::run_compared::{Compared, figure, hidden_fields};
use crate::pages::run_facts::{differing, settings};
use domain::api::run_page;
use leptos::prelude::*;
use leptos_router::params::ParamsMap;
use std::collections::BTreeMap;
use std::fmt::Write;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 40.0;
/// Settings that do not make a run better or worse.
const NOT_SWEPT: [&str; 8] = [
    "name",
    "sample_prompts",
    "sample_every",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_best",
    "validation_examples",
    "evaluate_prompts",
];
/// Most axes of the parallel view.
const MOST_AXES: usize = 7;

/// The values of one setting, as places from 0 to 1: by size if all are numbers, else in order of text.
struct Scale {
    name: String,
    places: Vec<f64>,
    marks: Vec<(f64, String)>,
}

impl Scale {
    fn of(name: &str, values: &[String]) -> Self {
        let numbers: Option<Vec<f64>> = values.iter().map(|value| value.parse().ok()).collect();
        match numbers.filter(|numbers| numbers.iter().all(|n| n.is_finite())) {
            Some(numbers) => Self::of_numbers(name, &numbers, 6),
            None => {
                let mut words = values.to_vec();
                words.sort();
                words.dedup();
                let last = words.len().saturating_sub(1).max(1) as f64;
                let place =
                    |value: &String| words.iter().position(|word| word == value).unwrap_or(0) as f64 / last;
                let marks = words.iter().map(|word| (place(word), word.clone())).collect();
                Self { name: name.to_owned(), places: values.iter().map(place).collect(), marks }
            }
        }
    }

    /// Logarithmic if the positive numbers span more than a factor of 20, as those of rates and betas do.
    /// Up to `most_marks` distinct numbers are marked each, more are not.
    fn of_numbers(name: &str, numbers: &[f64], most_marks: usize) -> Self {
        let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let is_log = low > 0.0 && high / low > 20.0;
        let map = |value: f64| if is_log { value.log10() } else { value };
        let (low, high) = range(numbers.iter().map(|value| map(*value)));
        let place = |value: f64| (map(value) - low) / (high - low);
        let mut distinct = numbers.to_vec();
        distinct.sort_by(f64::total_cmp);
        distinct.dedup();
        if distinct.len() > most_marks {
            distinct =
                if is_log { log_ticks(10f64.powf(low), 10f64.powf(high), 4) } else { ticks(low, high, 4) };
        }
        let marks = distinct.into_iter().map(|value| (place(value), number(value))).collect();
        Self { name: name.to_owned(), places: numbers.iter().map(|value| place(*value)).collect(), marks }
    }
}

/// The sweep of runs that have the metric; none if no setting differs or fewer than two runs have it.
pub(crate) fn sweep_section(
    runs: &[Compared],
    metrics: &[String],
    query: &ParamsMap,
    fixed: &[(String, String)],
) -> Option<impl IntoView + use<>> {
    let score =
        query.get("score").filter(|name| metrics.contains(name)).or_else(|| metrics.first().cloned())?;
    let measured: Vec<(&Compared, f64)> =
        runs.iter().filter_map(|compared| Some((compared, figure(compared, &score)?))).collect();
    if measured.len() < 2 {
        return None;
    }
    let specs: Vec<BTreeMap<String, String>> =
        measured.iter().map(|(compared, _)| settings(&compared.run.spec)).collect();
    let keys: Vec<String> = differing(&specs)
        .into_iter()
        .filter(|key| !NOT_SWEPT.contains(&key.as_str()))
        .take(MOST_AXES - 1)
        .collect();
    let setting =
        query.get("setting").filter(|name| keys.contains(name)).or_else(|| keys.first().cloned())?;
    let values = |key: &String| -> Vec<String> {
        specs.iter().map(|spec| spec.get(key).cloned().unwrap_or_else(|| "not set".to_owned())).collect()
    };
    let scores: Vec<f64> = measured.iter().map(|(_, value)| *value).collect();
    let result = Scale::of_numbers(&title(&score), &scores, 0);
    let scatter = scatter(&measured, &Scale::of(&setting, &values(&setting)), &result);
    let mut axes: Vec<Scale> = keys.iter().map(|key| Scale::of(key, &values(key))).collect();
    axes.push(result);
    let option = |value: &String, label: String, chosen: &String| {
        let is_chosen = value == chosen;
        view! { <option value=value.clone() selected=is_chosen>{label}</option> }
    };
    let setting_options = keys.iter().map(|key| option(key, key.clone(), &setting)).collect_view();
    let score_options = metrics.iter().map(|name| option(name, title(name), &score)).collect_view();
    Some(view! {
        <section aria-labelledby="sweep">
            <header class="section-head">
                <h2 id="sweep">"Sweep"</h2>
                <form method="get" action="/runs/compare" class="chart-controls">
                    {hidden_fields(fixed, &["setting", "score"])}
                    <label>"Setting " <select name="setting">{setting_options}</select></label>
                    <label>"Metric " <select name="score">{score_options}</select></label>
                    <button class="quiet">"Show"</button>
                </form>
            </header>
            <p class="soft">"Each point and line is a run; the metric is the mean of its last 50 steps in the range. Click one to open the run."</p>
            <div class="sweep">{scatter} {parallel(&measured, &axes)}</div>
        </section>
    })
}

fn x(place: f64) -> f64 {
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

fn y(place: f64) -> f64 {
    HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
}

fn scatter(measured: &[(&Compared, f64)], setting: &Scale, result: &Scale) -> impl IntoView + use<> {
    let dots = measured
        .iter()
        .enumerate()
        .map(|(n, (compared, value))| {
            let name = format!("{}: {}", compared.run.name, number(*value));
            let label = name.clone();
            view! {
                <a href=run_page(compared.run.id) aria-label=label>
                    <circle class=format!("dot-of-run run-{}", compared.chart.colour) cx=x(setting.places[n]) cy=y(result.places[n]) r="6">
                        <title>{name}</title>
                    </circle>
                </a>
            }
        })
        .collect_view();
    let columns = setting
        .marks
        .iter()
        .map(|(place, text)| view! { <text class="tick" x=x(*place) y=HEIGHT - BOTTOM + 16.0 text-anchor="middle">{text.clone()}</text> })
        .collect_view();
    let rows = result
        .marks
        .iter()
        .map(|(place, text)| {
            view! {
                <line class="grid" x1=LEFT x2=WIDTH - RIGHT y1=y(*place) y2=y(*place) />
                <text class="tick" x=LEFT - 6.0 y=y(*place) + 3.5 text-anchor="end">{text.clone()}</text>
            }
        })
        .collect_view();
    let description = format!("{} against {} of {} runs", result.name, setting.name, measured.len());
    view! {
        <figure class="chart">
            <figcaption><h3>{format!("{} by {}", result.name, setting.name)}</h3></figcaption>
            <svg viewBox=format!("0 0 {WIDTH} {HEIGHT}") role="group" aria-label=description>
                {rows}{columns}
                <text class="tick" x=(LEFT + WIDTH - RIGHT) / 2.0 y=HEIGHT - 6.0 text-anchor="middle">{setting.name.clone()}</text>
                {dots}
            </svg>
        </figure>
    }
}

fn parallel(measured: &[(&Compared, f64)], axes: &[Scale]) -> impl IntoView + use<> {
    let last = axes.len().saturating_sub(1).max(1) as f64;
    let place_of = move |axis: usize| x(0.04 + 0.92 * axis as f64 / last);
    let lines = measured
        .iter()
        .enumerate()
        .map(|(n, (compared, value))| {
            let mut path = String::new();
            for (index, axis) in axes.iter().enumerate() {
                let command = if index == 0 { 'M' } else { 'L' };
                // Writing to a string cannot fail.
                let _ = write!(path, "{command}{:.1} {:.1}", place_of(index), y(axis.places[n]));
            }
            let name = format!("{}: {}", compared.run.name, number(*value));
            let label = name.clone();
            view! {
                <a href=run_page(compared.run.id) aria-label=label>
                    <path class=format!("line run-{}", compared.chart.colour) d=path><title>{name}</title></path>
                </a>
            }
        })
        .collect_view();
    let bars = axes
        .iter()
        .enumerate()
        .map(|(index, axis)| {
            let at = place_of(index);
            let marks = axis
                .marks
                .iter()
                .map(|(place, text)| view! { <text class="tick" x=at + 5.0 y=y(*place) + 3.5>{text.clone()}</text> })
                .collect_view();
            // Names of neighbours are on different lines, so that long ones do not overlap.
            let height = if index % 2 == 0 { HEIGHT - BOTTOM + 16.0 } else { HEIGHT - BOTTOM + 31.0 };
            view! {
                <line class="axis" x1=at x2=at y1=TOP y2=HEIGHT - BOTTOM />
                <text class="tick" x=at y=height text-anchor="middle">{axis.name.clone()}</text>
                {marks}
            }
        })
        .collect_view();
    view! {
        <figure class="chart parallel">
            <figcaption><h3>"All settings that differ"</h3></figcaption>
            <svg viewBox=format!("0 0 {WIDTH} {HEIGHT}") role="group" aria-label="Settings and metric of each run">{lines}{bars}</svg>
        </figure>
    }
}

#[cfg(test)]
mod tests {
    use super::Scale;

    #[test]
    fn settings_are_placed_by_size_logarithm_or_word() {
        let texts = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        let linear = Scale::of("tau", &texts(&["0.1", "0.2", "0.3"])).places;
        assert!((linear[1] - 0.5).abs() < 1e-9 && linear[0] < linear[1]);
        let log = Scale::of("beta", &texts(&["10", "100", "1000"])).places;
        assert!((log[1] - 0.5).abs() < 1e-9, "{log:?}");
        let words = Scale::of("objective.kind", &texts(&["sft", "diffusion_dpo", "sft"]));
        assert_eq!(words.places, [1.0, 0.0, 1.0]);
        assert_eq!(words.marks.len(), 2);
        let one = Scale::of("seed", &texts(&["3", "3"])).places;
        assert!(one.iter().all(|place| (place - 0.5).abs() < 1e-9));
    }
}
