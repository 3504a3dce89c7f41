//! Workers: who computes what, on which device.

use crate::api;
use crate::components::copy_line::CopyLine;
use crate::components::note::Empty;
use crate::components::progress::Progress;
use crate::format::{bytes, count, moment};
use crate::pages::layout::{Head, loaded};
use domain::api::{Page, run_page};
use domain::worker::{SILENCE_SECONDS, Worker, WorkerState};
use leptos::prelude::*;

#[component]
pub(crate) fn Workers() -> impl IntoView {
    view! {
        <Head title="Workers" lead="The processes that train and evaluate, one per GPU or CPU host. Any number of them shares the queue." />
        {loaded(api::workers(), workers)}
    }
}

fn workers(workers: Page<Worker>) -> impl IntoView {
    if workers.items.is_empty() {
        return view! {
            <Empty title="No worker has reported yet">
                <p>"Jobs wait in the queue until one starts. Start one with the server's database and folders:"</p>
                <CopyLine text="diff-contrast-trainer worker".to_owned() />
                <p>"Its options are in " <a href="/help/deploy">"Deploy"</a> "."</p>
            </Empty>
        }
        .into_any();
    }
    let silent = workers.items.iter().filter(|worker| worker.state == WorkerState::Silent).count();
    let silent = (silent > 0).then(|| {
        let number = count(silent as i64, "worker", "workers");
        view! {
            <p class="note">
                {format!("{number} did not report for {SILENCE_SECONDS} seconds: killed, or the host or its network is down. Others take over the jobs when the leases end.")}
            </p>
        }
    });
    let rows = workers.items.into_iter().map(row).collect_view();
    view! {
        {silent}
        <table class="cards-on-phone">
            <thead>
                <tr>
                    <th>"Worker"</th>
                    <th>"Status"</th>
                    <th>"Job"</th>
                    <th>"Device"</th>
                    <th class="figure">"Memory, peak of total"</th>
                    <th class="figure">"Version"</th>
                    <th class="figure">"Started"</th>
                    <th class="figure">"Last report"</th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
    .into_any()
}

fn row(worker: Worker) -> impl IntoView {
    let Worker { info, state, peak_memory, last_seen_at, job } = worker;
    let colour = match state {
        WorkerState::Working => "running",
        WorkerState::Idle => "succeeded",
        WorkerState::Stopped => "cancelled",
        WorkerState::Silent => "failed",
    };
    let job = job.map(|job| {
        let name = match job.run_id {
            Some(run) => view! { <a href=run_page(run)>{job.name}</a> }.into_any(),
            None => job.name.into_any(),
        };
        let progress = (job.total > 0).then(|| view! { <Progress step=job.progress steps=job.total /> });
        view! { {name} {progress} }
    });
    let memory = match info.memory {
        0 => bytes(peak_memory),
        total => format!("{} of {}", bytes(peak_memory), bytes(total)),
    };
    let device = format!("{}, {}", info.device, count(i64::from(info.threads), "thread", "threads"));
    view! {
        <tr>
            <td class="lead">{info.name}</td>
            <td data-label="Status"><span class=format!("badge state-{colour}")>{state.label()}</span></td>
            <td data-label="Job">{job}</td>
            <td data-label="Device">{device}</td>
            <td data-label="Memory" class="figure">{memory}</td>
            <td data-label="Version" class="figure">{info.version}</td>
            <td data-label="Started" class="figure soft">
                <time datetime=info.started_at.to_rfc3339()>{moment(info.started_at)}</time>
            </td>
            <td data-label="Last report" class="figure soft">
                <time datetime=last_seen_at.to_rfc3339()>{moment(last_seen_at)}</time>
            </td>
        </tr>
    }
}
