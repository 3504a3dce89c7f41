//! A row of the list of runs.

use crate::components::badge::{ObjectiveBadge, StateBadge};
use crate::components::progress::Progress;
use crate::format::{duration, moment, number, percent, query, seconds};
use crate::meaning::title;
use domain::Timestamp;
use domain::api::{RunColumn, RunValue, run_page};
use domain::id::RunId;
use domain::job::JobState;
use domain::run::{MetricPoint, metric};
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// A page of the list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RowPage {
    pub(crate) items: Vec<RunRow>,
    pub(crate) next: Option<String>,
}

/// A run with the last points of its curves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunRow {
    pub(crate) run: RowRun,
    latest: Vec<MetricPoint>,
    /// The values of the chosen columns.
    #[serde(default)]
    columns: Vec<Option<f64>>,
}

/// The parts of a run that the list shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RowRun {
    id: RunId,
    name: String,
    spec: RowSpec,
    pub(crate) state: JobState,
    step: i64,
    error: Option<String>,
    tags: Vec<String>,
    pinned: bool,
    queued_at: Timestamp,
    started_at: Option<Timestamp>,
    worked_ms: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RowSpec {
    base: String,
    objective: RowObjective,
    steps: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RowObjective {
    kind: String,
}

/// The name of a chosen column.
pub(crate) fn column_title(column: &RunColumn) -> String {
    let value = match column.value {
        RunValue::Last => "last",
        RunValue::Lowest => "lowest",
        RunValue::Highest => "highest",
    };
    format!("{}, {value}", title(&column.metric))
}

/// The heads of the columns. `columns`: those that were chosen instead of the usual ones.
pub(crate) fn heads(columns: &[RunColumn]) -> impl IntoView + use<> {
    let usual = ["Loss", "Accuracy", "Validation"].map(str::to_owned).to_vec();
    let figures = if columns.is_empty() { usual } else { columns.iter().map(column_title).collect() };
    let figures: Vec<_> = figures.into_iter().map(|name| view! { <th class="figure">{name}</th> }).collect();
    view! {
        <thead>
            <tr>
                <th>"Run"</th>
                <th>"Base"</th>
                <th>"Status"</th>
                <th>"Progress"</th>
                {figures}
                <th class="figure">"Started"</th>
                <th class="figure">"Waited"</th>
                <th class="figure">"Took"</th>
            </tr>
        </thead>
    }
}

fn dash() -> String {
    "–".to_owned()
}

/// The usual figures with their names: last values.
fn usual(latest: &[MetricPoint]) -> Vec<(String, String)> {
    let last = |name: &str| latest.iter().find(|point| point.name == name).map(|point| point.value);
    let loss = last(metric::LOSS).map_or_else(dash, number);
    let accuracy = last(metric::REWARDS_ACCURACIES).map_or_else(dash, percent);
    let validation = match (last(metric::VALIDATION_LOSS), last(metric::VALIDATION_ACCURACY)) {
        (None, None) => dash(),
        (loss, accuracy) => {
            loss.map(number).into_iter().chain(accuracy.map(percent)).collect::<Vec<_>>().join(", ")
        }
    };
    [("Loss", loss), ("Accuracy", accuracy), ("Validation", validation)]
        .map(|(name, text)| (name.to_owned(), text))
        .into()
}

/// The chosen figures with their names.
fn chosen(columns: &[RunColumn], values: &[Option<f64>]) -> Vec<(String, String)> {
    let text = |column: &RunColumn, value: Option<f64>| match value {
        None => dash(),
        Some(value) if column.metric.contains("accurac") => percent(value),
        Some(value) => number(value),
    };
    columns.iter().zip(values).map(|(column, value)| (column_title(column), text(column, *value))).collect()
}

pub(crate) fn row(row: RunRow, columns: &[RunColumn]) -> impl IntoView + use<> {
    let RunRow { run, latest, columns: values } = row;
    let figures = if columns.is_empty() { usual(&latest) } else { chosen(columns, &values) };
    let figures: Vec<_> = figures
        .into_iter()
        .map(|(name, text)| view! { <td data-label=name class="figure">{text}</td> })
        .collect();
    let waited = run.started_at.map_or_else(dash, |start| duration(run.queued_at, start));
    let took = if run.worked_ms > 0 { seconds(run.worked_ms) } else { dash() };
    let started = run.started_at.map(|start| {
        view! { <time datetime=start.to_rfc3339()>{moment(start)}</time> }
    });
    let tags = run.tags.iter().map(|name| tag(name)).collect_view();
    let pin = run.pinned.then(|| view! { <span class="badge">"pinned"</span> });
    view! {
        <tr data-key=run.id.to_string()>
            <td class="lead">
                <div class="run-name">
                    <a href=run_page(run.id)>{run.name.clone()}</a>
                    <ObjectiveBadge kind=run.spec.objective.kind.clone() />
                    {pin}
                    {tags}
                    {run.error.clone().map(|error| view! { <p class="job-error">{error}</p> })}
                </div>
            </td>
            <td data-label="Base"><a href=format!("/models#{}", run.spec.base)>{run.spec.base.clone()}</a></td>
            <td data-label="Status"><StateBadge state=run.state /></td>
            <td data-label="Progress"><Progress step=run.step steps=run.spec.steps /></td>
            {figures}
            <td data-label="Started" class="figure soft">{started}</td>
            <td data-label="Waited" class="figure soft">{waited}</td>
            <td data-label="Took" class="figure soft">{took}</td>
        </tr>
    }
}

/// A tag as a link to the runs that have it.
pub(crate) fn tag(tag: &str) -> impl IntoView + use<> {
    view! { <a class="badge tag" href=format!("/runs?tag={}", query(tag))>{tag.to_owned()}</a> }
}
