//! The table of runs, with the queue and the evaluations below it.

use crate::components::evaluations::{evaluations, with_report};
use crate::components::job_queue::{job_queue, without_run};
use crate::components::run_row::{RunRow, heads, row};
use domain::api::RunColumn;
use domain::job::Job;
use leptos::prelude::*;

/// The three tables, as far as they have rows. `columns`: those that were chosen instead of the usual ones.
pub(crate) fn run_table(runs: Vec<RunRow>, columns: &[RunColumn], jobs: Vec<Job>) -> impl IntoView + use<> {
    let (heads, reports) = (heads(columns), with_report(&jobs));
    let rows: Vec<_> = runs.into_iter().map(|run| row(run, columns)).collect();
    let table = (!rows.is_empty()).then(|| {
        // Many columns are wider than a page.
        let label = (!columns.is_empty()).then_some("Runs");
        view! {
            <div class:scrolls=label.is_some() role=label.map(|_| "region") aria-label=label tabindex=label.map(|_| "0")>
                <table class="cards-on-phone runs-table">{heads}<tbody>{rows}</tbody></table>
            </div>
        }
    });
    view! { {table} {job_queue(without_run(jobs))} {evaluations(&reports)} }
}
