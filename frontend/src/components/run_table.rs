//! The table of runs with the queue and the evaluations below it, refreshed by polling.

use crate::api;
use crate::components::evaluations::{Evaluations, with_report};
use crate::components::job_queue::{JobQueue, without_run};
use crate::components::poll::poll;
use crate::components::run_row::{RunRow, heads, row};
use domain::api::Page;
use domain::job::Job;
use leptos::prelude::*;
use std::ops::ControlFlow;
use std::time::Duration;

/// Refreshes every 1.5 s while a run or job is unfinished, and every 9 s otherwise. `query`: of the request for these runs.
#[island(lazy)]
pub(crate) fn RunTable(runs: Vec<RunRow>, jobs: Page<Job>, query: String) -> impl IntoView {
    let runs = RwSignal::new(runs);
    let evaluations = RwSignal::new(with_report(&jobs.items));
    let jobs = RwSignal::new(without_run(jobs.items));
    let query = StoredValue::new(query);
    let polls = StoredValue::new(0u32);
    poll(Duration::from_millis(1500), move || async move {
        polls.update_value(|polls| *polls += 1);
        let busy = runs.with_untracked(|runs| runs.iter().any(|row| !row.run.state.is_final()))
            || jobs.with_untracked(|jobs| jobs.iter().any(|job| !job.state.is_final()));
        if busy || polls.get_value().is_multiple_of(6) {
            if let Ok(page) = api::run_rows(&query.get_value()).await {
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
            <table class="cards-on-phone runs-table">{heads()}<tbody>{rows}</tbody></table>
        </Show>
        <JobQueue jobs />
        <Evaluations jobs=evaluations />
    }
}
