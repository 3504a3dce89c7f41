//! The table of runs, with the queue and the evaluations around it, kept fresh.

use crate::api;
use crate::components::badge::{ObjectiveBadge, StateBadge};
use crate::components::evaluations::{Evaluations, reported};
use crate::components::job_queue::{JobQueue, queue};
use crate::components::poll::poll;
use crate::format::{duration, moment, number, percent};
use domain::api::{Page, RunSummary, run_page};
use domain::job::Job;
use domain::run::metric;
use leptos::prelude::*;
use std::ops::ControlFlow;
use std::time::Duration;

/// All runs, the queue and the evaluations. Asks often while there is work and now and then otherwise, since more may come.
#[island]
pub(crate) fn RunTable(runs: Page<RunSummary>, jobs: Page<Job>) -> impl IntoView {
    let runs = RwSignal::new(runs.items);
    let evaluations = RwSignal::new(reported(&jobs.items));
    let jobs = RwSignal::new(queue(jobs.items));
    let asked = StoredValue::new(0u32);
    poll(Duration::from_millis(1500), move || async move {
        asked.update_value(|asked| *asked += 1);
        let busy = runs.with_untracked(|runs| runs.iter().any(|summary| !summary.run.state.is_final()))
            || jobs.with_untracked(|jobs| jobs.iter().any(|job| !job.state.is_final()));
        if busy || asked.get_value().is_multiple_of(6) {
            if let Ok(page) = api::runs().await {
                runs.set(page.items);
            }
            if let Ok(page) = api::jobs().await {
                evaluations.set(reported(&page.items));
                jobs.set(queue(page.items));
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
                        <th>"State"</th>
                        <th>"Progress"</th>
                        <th class="figure">"Loss"</th>
                        <th class="figure">"Accuracy"</th>
                        <th class="figure">"Images/s"</th>
                        <th class="figure">"Asked for"</th>
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
    let taken = run.finished_at.map(|end| format!("took {}", duration(run.created_at, end)));
    view! {
        <tr>
            <td class="lead">
                <a href=run_page(run.id)>{run.name.clone()}</a>
                <ObjectiveBadge kind=run.spec.objective.kind() />
            </td>
            <td data-label="State"><StateBadge state=run.state /></td>
            <td data-label="Progress"><Progress step=run.step steps=i64::from(run.spec.steps) /></td>
            <td data-label="Loss" class="figure">{loss}</td>
            <td data-label="Accuracy" class="figure">{accuracy}</td>
            <td data-label="Images/s" class="figure">{speed}</td>
            <td data-label="Asked for" class="figure soft">
                <time datetime=run.created_at.to_rfc3339()>{moment(run.created_at)}</time>
                {taken.map(|taken| view! { <br /><small>{taken}</small> })}
            </td>
        </tr>
    }
}

/// How far a run has come.
#[component]
pub(crate) fn Progress(#[prop(into)] step: Signal<i64>, #[prop(into)] steps: Signal<i64>) -> impl IntoView {
    view! {
        <span class="progress">
            <progress max=move || steps.get().max(1).to_string() value=move || step.get().to_string()></progress>
            <span>{move || format!("{} / {}", step.get(), steps.get())}</span>
        </span>
    }
}
