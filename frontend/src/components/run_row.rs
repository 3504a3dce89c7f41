//! A row of the list of runs. The browser reads these parts of a run only: whole specs are most of the code that reads JSON.

use crate::components::badge::{ObjectiveBadge, StateBadge};
use crate::components::progress::Progress;
use crate::format::{duration, moment, number, percent, query, seconds};
use domain::Timestamp;
use domain::api::run_page;
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

/// The heads of the columns.
pub(crate) fn heads() -> impl IntoView {
    view! {
        <thead>
            <tr>
                <th>"Run"</th>
                <th>"Base"</th>
                <th>"Status"</th>
                <th>"Progress"</th>
                <th class="figure">"Loss"</th>
                <th class="figure">"Accuracy"</th>
                <th class="figure">"Validation"</th>
                <th class="figure">"Started"</th>
                <th class="figure">"Waited"</th>
                <th class="figure">"Took"</th>
            </tr>
        </thead>
    }
}

pub(crate) fn row(row: RunRow) -> impl IntoView {
    let RunRow { run, latest } = row;
    let last = |name: &str| latest.iter().find(|point| point.name == name).map(|point| point.value);
    let dash = || "–".to_owned();
    let loss = last(metric::LOSS).map_or_else(dash, number);
    let accuracy = last(metric::REWARDS_ACCURACIES).map_or_else(dash, percent);
    let validation = match (last(metric::VALIDATION_LOSS), last(metric::VALIDATION_ACCURACY)) {
        (None, None) => dash(),
        (loss, accuracy) => {
            loss.map(number).into_iter().chain(accuracy.map(percent)).collect::<Vec<_>>().join(", ")
        }
    };
    let waited = run.started_at.map_or_else(dash, |start| duration(run.queued_at, start));
    let took = if run.worked_ms > 0 { seconds(run.worked_ms) } else { dash() };
    let started = run.started_at.map(|start| {
        view! { <time datetime=start.to_rfc3339()>{moment(start)}</time> }
    });
    let tags = run.tags.iter().map(|name| tag(name)).collect_view();
    let pin = run.pinned.then(|| view! { <span class="badge">"pinned"</span> });
    view! {
        <tr>
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
            <td data-label="Loss" class="figure">{loss}</td>
            <td data-label="Accuracy" class="figure">{accuracy}</td>
            <td data-label="Validation" class="figure">{validation}</td>
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
