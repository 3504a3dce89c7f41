//! Jobs that have no run to show them: queued jobs, and evaluations that are unfinished or failed.

use crate::components::badge::StateBadge;
use crate::components::progress::Progress;
use crate::format::moment;
use domain::job::{Job, JobState};
use leptos::prelude::*;

/// Selects these jobs from a list that is newest first, and sorts them in the order in which workers claim them.
pub(crate) fn without_run(mut jobs: Vec<Job>) -> Vec<Job> {
    jobs.retain(|job| job.run_id.is_none() && (!job.state.is_final() || job.state == JobState::Failed));
    jobs.reverse();
    jobs
}

/// The table of these jobs; nothing if there are none.
#[component]
pub(crate) fn JobQueue(jobs: RwSignal<Vec<Job>>) -> impl IntoView {
    move || {
        let rows = jobs.get().into_iter().map(row).collect_view();
        (!rows.is_empty()).then(|| {
            view! {
                <section aria-labelledby="queue">
                    <h2 id="queue">"Queue"</h2>
                    <table class="cards-on-phone">
                        <thead>
                            <tr>
                                <th>"Job"</th>
                                <th>"Status"</th>
                                <th>"Progress"</th>
                                <th class="figure">"Submitted"</th>
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </table>
                </section>
            }
        })
    }
}

fn row(job: Job) -> impl IntoView {
    let kind = match job.spec.kind() {
        "evaluate" => "Evaluation",
        _ => "Training",
    };
    let progress = (job.total > 0).then(|| view! { <Progress step=job.progress steps=job.total /> });
    view! {
        <tr>
            <td class="lead">
                {job.spec.name().to_owned()} " " <span class="badge">{kind}</span>
                {job.error.map(|error| view! { <p class="job-error">{error}</p> })}
            </td>
            <td data-label="Status"><StateBadge state=job.state /></td>
            <td data-label="Progress">{progress}</td>
            <td data-label="Submitted" class="figure soft">{moment(job.created_at)}</td>
        </tr>
    }
}
