//! One training run.

use crate::api::{self, ApiResult, Failure};
use crate::components::badge::ObjectiveBadge;
use crate::components::run_live::{RunLive, RunSnapshot};
use crate::curve::curves;
use crate::format::{duration, moment, number};
use crate::pages::layout::{Head, loaded};
use domain::api::{ErrorDetail, Page, RunDetail, RunMetrics, RunSample};
use domain::data::{DataSpec, PickAPicSpec};
use domain::id::RunId;
use domain::model::Model;
use domain::train::TrainSpec;
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;

#[component]
pub(crate) fn RunPage() -> impl IntoView {
    let id = use_params_map().with_untracked(|params| params.get("id").unwrap_or_default());
    loaded(load(id), page)
}

type Loaded = (RunDetail, RunMetrics, Page<RunSample>);

async fn load(id: String) -> ApiResult<Loaded> {
    let id: RunId = id.parse().map_err(|_| Failure {
        status: 404,
        detail: ErrorDetail {
            code: "not_found".into(),
            message: format!("{id:?} is not the id of a run. Open the run from the Runs page."),
            fields: Vec::new(),
        },
    })?;
    Ok((api::run(id).await?, api::run_metrics(id, -1).await?, api::run_samples(id).await?))
}

fn page((detail, metrics, samples): Loaded) -> impl IntoView {
    let RunDetail { run, job, models } = detail;
    let spec = run.spec.clone();
    let images_per_example = if spec.objective.is_preference() { 2.0 } else { 1.0 };
    let snapshot = RunSnapshot {
        id: run.id,
        job: run.job_id,
        state: run.state,
        cancel_requested: job.cancel_requested,
        error: run.error.clone(),
        step: metrics.step,
        steps: i64::from(spec.steps),
        images_per_step: images_per_example
            * f64::from(spec.batch_size)
            * f64::from(spec.gradient_accumulation),
        curves: curves(&metrics),
        samples: samples.items,
    };
    let (objective, base) = (spec.objective.kind(), spec.base.clone());
    let took = run.finished_at.map(|end| format!(" · took {}", duration(run.created_at, end)));
    view! {
        <Head title=run.name.clone()>
            <p class="lead">
                <ObjectiveBadge kind=objective />
                " base model " <a href=format!("/models#{base}")>{base.clone()}</a>
                " · submitted " <time datetime=run.created_at.to_rfc3339()>{moment(run.created_at)}</time>
                {took}
            </p>
        </Head>
        <RunLive run=snapshot />
        {(!models.is_empty()).then(|| checkpoints(models))}
        {spec_section(&spec)}
    }
}

fn checkpoints(models: Vec<Model>) -> impl IntoView {
    let models = models
        .into_iter()
        .map(|model| {
            view! {
                <li>
                    <a href=format!("/models#{}", model.name)>{model.name.clone()}</a>
                    {model.step.map(|step| view! { <span class="soft">" step " {step}</span> })}
                    " " <a class="soft" href=format!("/playground?model={}", model.name)>"Generate"</a>
                </li>
            }
        })
        .collect_view();
    view! {
        <section aria-labelledby="checkpoints">
            <h2 id="checkpoints">"Checkpoints"</h2>
            <ul class="plain">{models}</ul>
        </section>
    }
}

/// The dataset of a run in a few words.
fn dataset(spec: &DataSpec) -> String {
    match spec {
        DataSpec::Shapes { set, count, .. } => {
            let set = serde_json::to_value(set).ok().and_then(|v| v.as_str().map(str::to_owned));
            format!("shapes-{}, {count} examples", set.unwrap_or_default())
        }
        DataSpec::PickAPic(PickAPicSpec { hub: Some(hub), .. }) => hub.clone(),
        other => other.folder().unwrap_or_else(|| other.source()).to_owned(),
    }
}

/// The most important settings, and the whole spec as JSON.
fn spec_section(spec: &TrainSpec) -> impl IntoView + use<> {
    let mut facts: Vec<(&str, String)> = vec![
        ("Dataset", dataset(&spec.data)),
        ("Steps", spec.steps.to_string()),
        ("Batch size", spec.batch_size.to_string()),
        ("Gradient accumulation", spec.gradient_accumulation.to_string()),
        ("Learning rate", number(spec.effective_rate())),
        ("Seed", spec.seed.to_string()),
    ];
    facts.extend(spec.objective.beta().map(|beta| ("Beta", number(beta))));
    facts.extend(spec.objective.weighting().map(|weighting| ("Tau", number(weighting.tau))));
    let facts = facts
        .into_iter()
        .map(|(name, value)| view! { <div><dt>{name}</dt><dd>{value}</dd></div> })
        .collect_view();
    let json = serde_json::to_string_pretty(spec).unwrap_or_default();
    view! {
        <section aria-labelledby="spec">
            <h2 id="spec">"Spec"</h2>
            <dl class="facts">{facts}</dl>
            <details class="more"><summary>"Show JSON"</summary><pre>{json}</pre></details>
        </section>
    }
}
