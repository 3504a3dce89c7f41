//! The table of runs with the queue and the evaluations below it, refreshed by polling.

use crate::api;
use crate::components::badge::{ObjectiveBadge, StateBadge};
use crate::components::evaluations::{Evaluations, with_report};
use crate::components::job_queue::{JobQueue, without_run};
use crate::components::poll::poll;
use crate::components::progress::Progress;
use crate::format::{duration, moment, number, percent};
use domain::api::{Page, RunSummary, run_page};
use domain::job::Job;
use domain::run::metric;
use leptos::prelude::*;
use std::ops::ControlFlow;
use std::time::Duration;

/// Refreshes every 1.5 s while a run or job is unfinished, and every 9 s otherwise.
#[island(lazy)]
pub(crate) fn RunTable(runs: Page<RunSummary>, jobs: Page<Job>) -> impl IntoView {
    let runs = RwSignal::new(runs.items);
    let evaluations = RwSignal::new(with_report(&jobs.items));
    let jobs = RwSignal::new(without_run(jobs.items));
    let polls = StoredValue::new(0u32);
    poll(Duration::from_millis(1500), move || async move {
        polls.update_value(|polls| *polls += 1);
        let busy = runs.with_untracked(|runs| runs.iter().any(|summary| !summary.run.state.is_final()))
            || jobs.with_untracked(|jobs| jobs.iter().any(|job| !job.state.is_final()));
        if busy || polls.get_value().is_multiple_of(6) {
            if let Ok(page) = api::runs().await {
                runs.set(page.items);
            }
            if let Ok(page) = api::jobs().await {
                evaluations.set(with_report(&page.items));
                jobs.set(without_run(page.items));
            }
        }
        ControlFlow::Continue(())
    });
    let rows = move || runs.get().into_iter().map(row).collect_view();
    view! {
        <Show when=move || !runs.read().is_empty() fallback=|| ()>
            <table class="cards-on-phone">
                <thead>
                    <tr>
                        <th>"Run"</th>
                        <th>"Status"</th>
                        <th>"Progress"</th>
                        <th class="figure">"Loss"</th>
                        <th class="figure">"Accuracy"</th>
                        <th class="figure">"Images/s"</th>
                        <th class="figure">"Submitted"</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </Show>
        <JobQueue jobs />
        <Evaluations jobs=evaluations />
    }
}

fn row(summary: RunSummary) -> impl IntoView {
    let RunSummary { run, latest } = summary;
    let last = |name: &str| latest.iter().find(|point| point.name == name).map(|point| point.value);
    let dash = || "–".to_owned();
    let loss = last(metric::LOSS).map_or_else(dash, number);
    let accuracy = last(metric::REWARDS_ACCURACIES).map_or_else(dash, percent);
    let speed = last(metric::SAMPLES_PER_SECOND).map_or_else(dash, number);
    let took = run.finished_at.map(|end| format!("took {}", duration(run.created_at, end)));
    view! {
        <tr>
            <td class="lead">
                <a href=run_page(run.id)>{run.name.clone()}</a>
                <ObjectiveBadge kind=run.spec.objective.kind() />
            </td>
            <td data-label="Status"><StateBadge state=run.state /></td>
            <td data-label="Progress"><Progress step=run.step steps=i64::from(run.spec.steps) /></td>
            <td data-label="Loss" class="figure">{loss}</td>
            <td data-label="Accuracy" class="figure">{accuracy}</td>
            <td data-label="Images/s" class="figure">{speed}</td>
            <td data-label="Submitted" class="figure soft">
                <time datetime=run.created_at.to_rfc3339()>{moment(run.created_at)}</time>
                {took.map(|took| view! { <br /><small>{took}</small> })}
            </td>
        </tr>
    }
}
