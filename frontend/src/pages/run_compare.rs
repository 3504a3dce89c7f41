//! Several runs beside each other: curves, settings that differ, samples, scores, and a study's sweep. The address says all
//! that is shown.

use crate::api::{self, ApiResult};
use crate::chart_view::{View, default_smoothing};
use crate::components::badge::{ObjectiveBadge, StateBadge};
use crate::components::compare_board::CompareBoard;
use crate::components::run_charts::{ChartsSnapshot, fetch};
use crate::curve::curves;
use crate::pages::layout::{Head, loaded};
use crate::pages::run::chart_run;
use crate::pages::run_address::run_id;
use crate::pages::run_compare_choice::{metric_choice, run_choice};
use crate::pages::run_compare_samples::samples_section;
use crate::pages::run_compared::Compared;
use crate::pages::run_facts::{differing, settings, shown};
use crate::pages::run_sweep::sweep_section;
use domain::api::{RunSummary, run_page};
use domain::evaluate::Metric;
use domain::run::metric;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use leptos_router::params::ParamsMap;

/// Most runs in one comparison.
const MOST_RUNS: usize = 24;
/// Runs whose samples and scores are shown.
const MOST_IN_DETAIL: usize = 8;
/// Runs that can be chosen.
const MOST_CHOICES: usize = 60;
/// What is drawn when the address names no metric.
const USUAL: [&str; 4] =
    [metric::LOSS, metric::REWARDS_ACCURACIES, metric::VALIDATION_LOSS, metric::VALIDATION_ACCURACY];

#[component]
pub(crate) fn RunComparePage() -> impl IntoView {
    loaded(load(use_query_map().get_untracked()), page)
}

struct Loaded {
    runs: Vec<Compared>,
    metrics: Vec<String>,
    choices: Vec<RunSummary>,
    view: View,
    /// Number of runs that the address names beyond `MOST_RUNS`.
    left_out: usize,
    query: ParamsMap,
}

async fn load(query: ParamsMap) -> ApiResult<Loaded> {
    let mut ids = query.get_all("run").unwrap_or_default();
    if let Some(study) = query.get("study").filter(|study| !study.is_empty()) {
        ids.extend(api::study_runs(&study).await?.into_iter().map(|id| id.to_string()));
    }
    let mut known = std::collections::HashSet::new();
    ids.retain(|id| !id.is_empty() && known.insert(id.clone()));
    let left_out = ids.len().saturating_sub(MOST_RUNS);
    ids.truncate(MOST_RUNS);
    let mut metrics = query.get_all("metric").unwrap_or_default();
    metrics.retain(|name| !name.is_empty());
    if metrics.is_empty() {
        metrics = USUAL.map(str::to_owned).to_vec();
    }
    let mut details = Vec::new();
    for id in &ids {
        details.push(api::run(run_id(id)?).await?);
    }
    let steps = details.iter().map(|detail| i64::from(detail.run.spec.steps)).max().unwrap_or(1);
    let view = View::read(|name| query.get(name), default_smoothing(steps));
    let mut runs = Vec::new();
    for (index, detail) in details.into_iter().enumerate() {
        let run = detail.run;
        let images = f64::from(run.spec.images_per_step());
        let series = fetch(run.id, images, &metrics.join(","), &view, None).await?;
        let in_detail = index < MOST_IN_DETAIL;
        let samples = if in_detail { api::run_samples(run.id).await?.items } else { Vec::new() };
        let lineage = if in_detail { Some(api::run_lineage(run.id).await?) } else { None };
        runs.push(Compared { chart: chart_run(&run, &series), run, series, samples, lineage });
    }
    let mut choices = api::runs().await?.items;
    choices.truncate(MOST_CHOICES);
    Ok(Loaded { runs, metrics, choices, view, left_out, query })
}

fn page(loaded: Loaded) -> impl IntoView {
    let Loaded { runs, metrics, choices, view, left_out, query } = loaded;
    let chosen: Vec<String> = runs.iter().map(|compared| compared.run.id.to_string()).collect();
    let lead = match runs.len() {
        0 => "Choose runs, then compare their curves, settings, samples and scores.".to_owned(),
        1 => "One run. Choose more to compare.".to_owned(),
        n => format!("{n} runs. The address of this page brings back exactly what it shows."),
    };
    let fixed = fixed_fields(&query, &metrics);
    let snapshot = ChartsSnapshot {
        runs: runs.iter().map(|compared| compared.chart.clone()).collect(),
        curves: runs
            .iter()
            .enumerate()
            .flat_map(|(index, compared)| curves(index, &compared.series))
            .collect(),
        view,
        metrics: metrics.join(","),
        path: "/runs/compare".to_owned(),
        fixed: fixed.clone(),
    };
    let is_running =
        |(index, compared): (usize, &Compared)| (!compared.run.state.is_final()).then_some(index);
    let running: Vec<usize> = runs.iter().enumerate().filter_map(is_running).collect();
    let some = !runs.is_empty();
    let several = runs.len() > 1;
    let note = (left_out > 0).then(|| {
        view! { <p class="note bad">{format!("{left_out} more runs are not shown: at most {MOST_RUNS} are compared.")}</p> }
    });
    view! {
        <Head title="Compare runs" lead=lead />
        {note}
        {run_choice(&choices, &chosen, &fixed, !some)}
        {some.then(|| legend(&runs))}
        {some.then(|| metric_choice(&metrics, &fixed))}
        {some.then(|| view! { <CompareBoard snapshot running /> })}
        {several.then(|| settings_section(&runs))}
        {(runs.len() > 2).then(|| sweep_section(&runs, &metrics, &query, &fixed)).flatten()}
        {samples_section(&runs, &query, &fixed)}
        {scores_section(&runs)}
    }
}

/// The fields that keep what is shown besides the view of the charts.
fn fixed_fields(query: &ParamsMap, metrics: &[String]) -> Vec<(String, String)> {
    let mut fixed = Vec::new();
    for name in ["run", "study"] {
        let values = query.get_all(name).unwrap_or_default();
        fixed.extend(values.into_iter().filter(|v| !v.is_empty()).map(|value| (name.to_owned(), value)));
    }
    if metrics != USUAL {
        fixed.extend(metrics.iter().map(|metric| ("metric".to_owned(), metric.clone())));
    }
    for name in ["sample", "setting", "score"] {
        let value = query.get(name).filter(|value| !value.is_empty());
        fixed.extend(value.map(|value| (name.to_owned(), value)));
    }
    fixed
}

/// The runs with their colours.
fn legend(runs: &[Compared]) -> impl IntoView + use<> {
    let rows = runs
        .iter()
        .map(|compared| {
            let run = &compared.run;
            view! {
                <li>
                    <span class=format!("swatch run-{}", compared.chart.colour) aria-hidden="true"></span>
                    <a href=run_page(run.id)>{run.name.clone()}</a>
                    <ObjectiveBadge kind=run.spec.objective.kind() />
                    <StateBadge state=run.state />
                    <span class="soft">{format!("step {} of {}", run.step, run.spec.steps)}</span>
                </li>
            }
        })
        .collect_view();
    view! { <ul class="plain compared">{rows}</ul> }
}

fn settings_section(runs: &[Compared]) -> impl IntoView + use<> {
    let all: Vec<_> = runs.iter().map(|compared| settings(&compared.run.spec)).collect();
    let keys: Vec<String> = differing(&all).into_iter().filter(|key| key != "name").collect();
    if keys.is_empty() {
        return view! {
            <section aria-labelledby="settings">
                <h2 id="settings">"Settings that differ"</h2>
                <p class="soft">"None besides the names: these runs have the same spec."</p>
            </section>
        }
        .into_any();
    }
    let heads = runs
        .iter()
        .map(|compared| {
            view! {
                <th>
                    <span class=format!("swatch run-{}", compared.chart.colour) aria-hidden="true"></span>
                    {compared.run.name.clone()}
                </th>
            }
        })
        .collect_view();
    let rows = keys
        .into_iter()
        .map(|key| {
            let cells = all
                .iter()
                .map(|settings| {
                    let value = settings.get(&key).cloned().unwrap_or_else(|| "not set".to_owned());
                    view! { <td>{value}</td> }
                })
                .collect_view();
            view! { <tr><th scope="row"><code>{key.clone()}</code></th>{cells}</tr> }
        })
        .collect_view();
    view! {
        <section aria-labelledby="settings">
            <h2 id="settings">"Settings that differ"</h2>
            <div class="scrolls" tabindex="0" role="region" aria-label="Settings that differ">
                <table class="spec-table"><thead><tr><th>"Setting"</th>{heads}</tr></thead><tbody>{rows}</tbody></table>
            </div>
        </section>
    }
    .into_any()
}

/// Scores and win rates against the base, a column for each run.
fn scores_section(runs: &[Compared]) -> Option<impl IntoView + use<>> {
    let scores = |compared: &Compared| {
        compared.lineage.as_ref().map(|lineage| lineage.scores.clone()).unwrap_or_default()
    };
    let columns: Vec<_> =
        runs.iter().map(|compared| (compared, scores(compared))).filter(|(_, s)| !s.is_empty()).collect();
    let metrics: Vec<Metric> = Metric::ALL
        .into_iter()
        .filter(|metric| columns.iter().any(|(_, scores)| scores.iter().any(|score| score.metric == *metric)))
        .collect();
    if metrics.is_empty() {
        return None;
    }
    let heads = columns
        .iter()
        .map(|(compared, scores)| {
            let model = scores.first().map(|score| score.model.clone());
            view! { <th class="figure">{compared.run.name.clone()}<br /><small>{model}</small></th> }
        })
        .collect_view();
    let rows = metrics
        .into_iter()
        .map(|metric| {
            let cells = columns
                .iter()
                .map(|(_, scores)| {
                    let score = scores.iter().find(|score| score.metric == metric);
                    let text = score.map(|score| {
                        let rate = score.win_rate;
                        let whole = |share: f64| format!("{:.0}", share * 100.0);
                        let wins = format!(
                            "wins {}% [{}, {}]",
                            whole(rate.value),
                            whole(rate.low),
                            whole(rate.high)
                        );
                        view! { <b>{shown(metric, score.mean)}</b> <br /> <small class="soft">{wins}</small> }
                    });
                    view! { <td class="figure">{text}</td> }
                })
                .collect_view();
            view! { <tr><th scope="row">{metric.label()}</th>{cells}</tr> }
        })
        .collect_view();
    Some(view! {
        <section aria-labelledby="scores">
            <h2 id="scores">"Evaluation"</h2>
            <p class="soft">"Mean score of each run's last evaluated model, and how often its image scores higher than its base's on an equal prompt and seed. Higher is better."</p>
            <div class="scrolls" tabindex="0" role="region" aria-label="Evaluation">
                <table><thead><tr><th>"Metric"</th>{heads}</tr></thead><tbody>{rows}</tbody></table>
            </div>
        </section>
    })
}
