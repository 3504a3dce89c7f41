//! The list of evaluations.

use crate::api::{self, ApiResult, Failure};
use crate::components::badge::StateBadge;
use crate::components::evaluations::evaluated_models;
use crate::components::note::Empty;
use crate::components::progress::Progress;
use crate::format::moment;
use crate::pages::layout::{Head, loaded};
use domain::api::Page;
use domain::evaluate::{EvaluateSpec, PromptSpec};
use domain::id::JobId;
use domain::job::{Job, JobSpec};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

/// Evaluations on one page.
const LISTED: u32 = 50;

#[component]
pub(crate) fn EvaluationsPage() -> impl IntoView {
    let before = use_query_map().with_untracked(|fields| fields.get("before"));
    view! {
        <Head title="Evaluations" lead="Models compared on the same prompts and noise: scores, win rates with intervals, and the images behind them." />
        {loaded(load(before), list)}
    }
}

async fn load(before: Option<String>) -> ApiResult<Page<Job>> {
    let parsed = before.as_deref().map(str::parse::<JobId>).transpose();
    let before = parsed.map_err(|_| {
        Failure::not_found("before: not the id of an evaluation. Go back to /evaluations.".to_owned())
    })?;
    api::evaluations(before, LISTED).await
}

fn list(jobs: Page<Job>) -> impl IntoView {
    let is_full = jobs.items.len() == LISTED as usize;
    let older = jobs.items.last().filter(|_| is_full).map(|job| {
        view! { <p><a href=format!("/evaluations?before={}", job.id)>"Older evaluations"</a></p> }
    });
    let rows = jobs.items.iter().filter_map(row).collect_view();
    if rows.is_empty() {
        return view! {
            <Empty title="No evaluations here">
                <p>"Runs evaluate their last checkpoint by themselves (" <code>"evaluate_prompts"</code> "). Models are compared by a job of the kind "
                <code>"evaluate"</code> ": " <a href="/help/evaluate.html">"Comparing models"</a> "."</p>
            </Empty>
        }
        .into_any();
    }
    view! {
        <table class="cards-on-phone">
            <thead>
                <tr>
                    <th>"Models"</th>
                    <th>"Status"</th>
                    <th>"Prompts"</th>
                    <th class="figure">"Images"</th>
                    <th class="figure">"Submitted"</th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
        {older}
    }
    .into_any()
}

fn row(job: &Job) -> Option<impl IntoView + use<>> {
    let JobSpec::Evaluate(spec) = &job.spec else { return None };
    let progress = (!job.state.is_final() && job.total > 0)
        .then(|| view! { <Progress step=job.progress steps=job.total /> });
    Some(view! {
        <tr>
            <td class="lead">
                <a href=format!("/evaluations/{}", job.id)>{evaluated_models(spec)}</a>
                {job.error.clone().map(|error| view! { <p class="job-error">{error}</p> })}
            </td>
            <td data-label="Status"><StateBadge state=job.state /> {progress}</td>
            <td data-label="Prompts">{prompts(spec)}</td>
            <td data-label="Images" class="figure">{job.total}</td>
            <td data-label="Submitted" class="figure soft">
                <time datetime=job.created_at.to_rfc3339()>{moment(job.created_at)}</time>
            </td>
        </tr>
    })
}

/// Where the prompts of an evaluation come from, in a few words.
pub(crate) fn prompts(spec: &EvaluateSpec) -> String {
    match &spec.prompts {
        PromptSpec::List { prompts } => format!("{} of its own", prompts.len()),
        other => serde_json::to_value(other)
            .ok()
            .and_then(|value| value["source"].as_str().map(|source| source.replace('_', " ")))
            .unwrap_or_default(),
    }
}
