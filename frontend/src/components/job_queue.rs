//! Jobs that no run shows: those that wait, and evaluations.

use crate::components::badge::StateBadge;
use crate::components::run_table::Progress;
use crate::format::moment;
use domain::job::{Job, JobState};
use leptos::prelude::*;

/// Those of a list that belong here, in the order in which they are taken.
pub(crate) fn queue(jobs: Vec<Job>) -> Vec<Job> {
    let mut jobs = jobs;
    jobs.retain(|job| job.run_id.is_none() && (!job.state.is_final() || job.state == JobState::Failed));
    jobs.reverse();
    jobs
}

/// A list of them; nothing if there is none.
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
                                <th>"State"</th>
                                <th>"Progress"</th>
                                <th class="figure">"Asked for"</th>
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
    let what = match job.spec.kind() {
        "evaluate" => "Evaluation",
        _ => "Training",
    };
    let progress = (job.total > 0).then(|| view! { <Progress step=job.progress steps=job.total /> });
    view! {
        <tr>
            <td class="lead">
                {job.spec.name().to_owned()} " " <span class="badge">{what}</span>
                {job.error.map(|error| view! { <p class="job-error">{error}</p> })}
            </td>
            <td data-label="State"><StateBadge state=job.state /></td>
            <td data-label="Progress">{progress}</td>
            <td data-label="Asked for" class="figure soft">{moment(job.created_at)}</td>
        </tr>
    }
}
