//! The list of models.

use crate::api::{self, ApiResult, image_url};
use crate::components::badge::ObjectiveBadge;
use crate::components::evaluations::{ReportLink, with_report};
use crate::components::note::Empty;
use crate::format::{count, moment, query, score};
use crate::pages::compare::compare_page;
use crate::pages::layout::{Head, loaded};
use domain::api::{ModelSummary, Page, model_page, run_page};
use domain::evaluate::ReportFile;
use domain::job::{Job, JobSpec};
use domain::model::Model;
use leptos::prelude::*;

/// Report links on a card.
const MOST_REPORTS: usize = 5;

#[component]
pub(crate) fn Models() -> impl IntoView {
    view! {
        <Head title="Models" lead="Models that generate images: bundled, imported, and checkpoints of runs." />
        {loaded(load(), cards)}
    }
}

async fn load() -> ApiResult<(Page<ModelSummary>, Page<Job>)> {
    Ok((api::models().await?, api::jobs().await?))
}

fn cards((page, jobs): (Page<ModelSummary>, Page<Job>)) -> impl IntoView {
    if page.items.is_empty() {
        return view! {
            <Empty title="No models yet">
                <p>
                    "Add a model in diffusers layout to the server's models folder and restart the server, or finish a training run."
                </p>
            </Empty>
        }
        .into_any();
    }
    let evaluations = with_report(&jobs.items);
    let cards = by_run(page.items)
        .into_iter()
        .map(|(newest, earlier)| card(newest, &earlier, &evaluations))
        .collect_view();
    view! { <div class="model-cards">{cards}</div> }.into_any()
}

/// The models in their order, each run's as one entry: its newest model, and the earlier ones.
fn by_run(models: Vec<ModelSummary>) -> Vec<(ModelSummary, Vec<Model>)> {
    let mut entries: Vec<(ModelSummary, Vec<Model>)> = Vec::new();
    for summary in models {
        let run = summary.model.run_id;
        let entry = entries.iter_mut().find(|(newest, _)| run.is_some() && newest.model.run_id == run);
        match entry {
            Some((_, earlier)) => earlier.push(summary.model),
            None => entries.push((summary, Vec::new())),
        }
    }
    entries
}

/// The earlier models of a run, folded away.
fn checkpoints(earlier: &[Model]) -> impl IntoView + use<> {
    let links: Vec<_> = earlier
        .iter()
        .map(|model| {
            let step = model.step.map(|step| format!(" step {step}"));
            view! { <li id=model.name.clone()><a href=model_page(model.id)>{model.name.clone()}</a><span class="soft">{step}</span></li> }
        })
        .collect();
    let title =
        count(i64::try_from(links.len()).unwrap_or(i64::MAX), "earlier checkpoint", "earlier checkpoints");
    (!links.is_empty()).then(|| {
        view! {
            <details class="more"><summary>{title}</summary><ul class="plain">{links}</ul></details>
        }
    })
}

fn card(summary: ModelSummary, earlier: &[Model], evaluations: &[Job]) -> impl IntoView + use<> {
    let ModelSummary { model, base_name, samples, scores, problem, .. } = summary;
    let usable = problem.is_none();
    // The mosaic has four columns; beyond the first row, only full rows are shown.
    let shown = if samples.len() > 4 { samples.len() / 4 * 4 } else { samples.len() };
    let images = samples
        .into_iter()
        .take(shown)
        .map(|id| view! { <img src=image_url(id) alt="" loading="lazy" /> })
        .collect_view();
    let scores = scores
        .into_iter()
        .map(|mean| {
            let count = format!("n = {}", mean.count);
            view! { <div><dt>{mean.metric.label()}</dt><dd>{score(&mean)}" "<small>{count}</small></dd></div> }
        })
        .collect_view();
    let reports = reports(&model, evaluations);
    // A folder that is no model has no page.
    let title = if model.sha256.is_empty() {
        model.name.clone().into_any()
    } else {
        view! { <a href=model_page(model.id)>{model.name.clone()}</a> }.into_any()
    };
    view! {
        <article class="model-card" id=model.name.clone()>
            <div class="mosaic" aria-hidden="true">{images}</div>
            <div class="body">
                <h2>{title}</h2>
                {lineage(&model, base_name)}
                {(!model.description.is_empty()).then(|| view! { <p>{model.description.clone()}</p> })}
                {problem.map(|problem| view! { <div class="note bad"><p>{problem}</p></div> })}
                <dl class="facts">{scores}{identity(&model)}{reports}</dl>
                {checkpoints(earlier)}
                {usable.then(|| ways_to_use(&model.name))}
            </div>
        </article>
    }
}

/// The objective of the model, its base model, and the run that trained it.
fn lineage(model: &Model, base_name: Option<String>) -> impl IntoView + use<> {
    let badge = match &model.objective {
        Some(kind) => view! { <ObjectiveBadge kind=kind.clone() /> }.into_any(),
        None => view! { <span class="badge">"Pretrained"</span> }.into_any(),
    };
    let base = base_name.zip(model.base_id).map(|(name, id)| {
        view! { " base model " <a href=model_page(id)>{name}</a> }
    });
    let run = model.run_id.map(|run| {
        let label = model.step.map_or_else(|| "training run".to_owned(), |step| format!("step {step}"));
        view! { " · " <a href=run_page(run)>{label}</a> }
    });
    view! { <p class="soft">{badge}{base}{run}</p> }
}

/// Links to the pages that use the model.
fn ways_to_use(model: &str) -> impl IntoView + use<> {
    view! {
        <p class="actions">
            <a class="button" href=format!("/playground?model={}", query(model))>"Generate"</a>
            <a class="button" href=compare_page(model)>"Judge against …"</a>
        </p>
    }
}

/// Reports of evaluations that include the model, newest first; nothing if there are none.
fn reports(model: &Model, evaluations: &[Job]) -> impl IntoView + use<> {
    let id = model.id.to_string();
    let includes_model = |job: &&Job| match &job.spec {
        JobSpec::Evaluate(spec) => spec.all_models().iter().any(|name| *name == model.name || *name == id),
        JobSpec::Train(_) => false,
    };
    let links: Vec<_> = evaluations
        .iter()
        .filter(includes_model)
        .take(MOST_REPORTS)
        .map(|job| {
            let when = job.finished_at.map_or_else(|| "report".to_owned(), moment);
            view! { <div><ReportLink job=job.id file=ReportFile::Page text=when /></div> }
        })
        .collect();
    (!links.is_empty()).then(|| view! { <div><dt>"Evaluation reports"</dt><dd>{links}</dd></div> })
}

/// Hash of the weights and date of registration; nothing for a folder that could not be registered as a model.
fn identity(model: &Model) -> impl IntoView + use<> {
    let short = model.sha256.get(..12)?.to_owned();
    Some(view! {
        <div><dt>"Weights SHA-256"</dt><dd><code title=model.sha256.clone()>{short}</code></dd></div>
        <div><dt>"Added"</dt><dd>{moment(model.created_at)}</dd></div>
    })
}
