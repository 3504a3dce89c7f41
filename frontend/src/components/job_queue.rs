//! Jobs that have no run to show them, and queued runs: in the order in which workers claim them. Then evaluations that
//! failed.

use crate::components::badge::StateBadge;
use crate::components::progress::Progress;
use crate::format::moment;
use domain::job::{Job, JobState};
use leptos::prelude::*;

/// Selects these jobs from a list, and sorts them: what a worker holds, what is queued by its place, what failed.
pub(crate) fn without_run(mut jobs: Vec<Job>) -> Vec<Job> {
    jobs.retain(|job| {
        job.state == JobState::Queued
            || (job.run_id.is_none() && (!job.state.is_final() || job.state == JobState::Failed))
    });
    jobs.sort_by_key(|job| (job.state.is_final(), job.position, job.id));
    jobs
}

/// The table of these jobs; nothing if there are none.
pub(crate) fn job_queue(jobs: Vec<Job>) -> impl IntoView {
    let rows: Vec<_> = jobs.into_iter().map(row).collect();
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
                            <th class="figure">"Place"</th>
                            <th>"Priority"</th>
                            <th class="figure">"Queued"</th>
                            <th>"Stop"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </section>
        }
    })
}

fn row(job: Job) -> impl IntoView {
    let kind = match job.spec.kind() {
        "evaluate" => "Evaluation",
        _ => "Training",
    };
    let progress = (job.total > 0).then(|| view! { <Progress step=job.progress steps=job.total /> });
    let stop = (!job.state.is_final()).then(|| {
        view! {
            <form method="post" action=format!("/jobs/{}/cancel", job.id)>
                <button class="quiet danger" disabled=job.cancel_requested>"Cancel"</button>
            </form>
        }
    });
    view! {
        <tr data-key=job.id.to_string()>
            <td class="lead">
                <div>
                    {job.spec.name().to_owned()} " " <span class="badge">{kind}</span>
                    {job.error.clone().map(|error| view! { <p class="job-error">{error}</p> })}
                </div>
            </td>
            <td data-label="Status"><StateBadge state=job.state /></td>
            <td data-label="Progress">{progress}</td>
            <td data-label="Place" class="figure">{job.position}</td>
            <td data-label="Priority">{priority(&job)}</td>
            <td data-label="Queued" class="figure soft">{moment(job.queued_at)}</td>
            <td data-label="Stop">{stop}</td>
        </tr>
    }
}

/// The priority of a queued job, with buttons that raise and lower it.
fn priority(job: &Job) -> Option<impl IntoView + use<>> {
    let (name, now) = (job.spec.name().to_owned(), job.priority);
    let change = |by: i64| (now + by).to_string();
    (job.state == JobState::Queued).then(|| {
        view! {
            <form method="post" action=format!("/jobs/{}/priority", job.id) class="priority">
                <button class="quiet" name="priority" value=change(-1) aria-label=format!("Lower the priority of {name}")>"−"</button>
                <span>{now}</span>
                <button class="quiet" name="priority" value=change(1) aria-label=format!("Raise the priority of {name}")>"+"</button>
            </form>
        }
    })
}
