//! All models.

use crate::api::{self, Answer, image_url};
use crate::components::badge::ObjectiveBadge;
use crate::components::copy_line::CopyLine;
use crate::components::evaluations::{ReportLink, reported};
use crate::components::note::Empty;
use crate::format::{moment, query};
use crate::pages::leaderboard::score_text;
use crate::pages::{Head, loaded, origin};
use domain::api::{ModelSummary, Page, run_page};
use domain::evaluate::ReportFile;
use domain::job::{Job, JobSpec};
use domain::model::Model;
use leptos::prelude::*;

/// Reports that a card links.
const MOST_REPORTS: usize = 5;

/// A card for each.
#[component]
pub(crate) fn Models() -> impl IntoView {
    view! {
        <Head title="Models" lead="Checkpoints that can generate: the bundled one and those that runs have made." />
        {loaded(load(), models)}
    }
}

async fn load() -> Answer<(Page<ModelSummary>, Page<Job>)> {
    Ok((api::models().await?, api::jobs().await?))
}

fn models((page, jobs): (Page<ModelSummary>, Page<Job>)) -> impl IntoView {
    if page.items.is_empty() {
        return view! {
            <Empty title="No models yet">
                <p>"Put a model in diffusers layout into the server's models folder and restart, or finish a training run."</p>
            </Empty>
        }
        .into_any();
    }
    let evaluations = reported(&jobs.items);
    let cards = page.items.into_iter().map(|summary| card(summary, &evaluations)).collect_view();
    view! { <div class="model-cards">{cards}</div> }.into_any()
}

fn card(summary: ModelSummary, evaluations: &[Job]) -> impl IntoView + use<> {
    let ModelSummary { model, base_name, samples, scores, problem } = summary;
    let usable = problem.is_none();
    // Whole rows of four, if there is one.
    let shown = if samples.len() > 4 { samples.len() / 4 * 4 } else { samples.len() };
    let images = samples
        .into_iter()
        .take(shown)
        .map(|id| view! { <img src=image_url(id) alt="" loading="lazy" width="64" height="64" /> })
        .collect_view();
    let scores = scores
        .into_iter()
        .map(|score| {
            view! { <div><dt>{score.metric.label()}</dt><dd>{score_text(&score)}" "<small>{format!("n = {}", score.count)}</small></dd></div> }
        })
        .collect_view();
    let prompt = query("a large red circle on a blue background");
    let curl =
        format!("curl -sf '{}/generate?model={}&prompt={prompt}&seed=1' -o out.png", origin(), model.name);
    let origin = base_name.map(|base| view! { " from " <a href=format!("#{base}")>{base.clone()}</a> });
    let run = model.run_id.map(|run| {
        view! { ", " <a href=run_page(run)>{model.step.map_or_else(|| "its run".to_owned(), |step| format!("step {step}"))}</a> }
    });
    let reports = reports(&model, evaluations);
    view! {
        <article class="model-card" id=model.name.clone()>
            <div class="mosaic" aria-hidden="true">{images}</div>
            <div class="body">
                <h2>{model.name.clone()}</h2>
                <p class="soft">
                    {match &model.objective {
                        Some(kind) => view! { <ObjectiveBadge kind=kind.clone() /> }.into_any(),
                        None => view! { <span class="badge">"Bundled"</span> }.into_any(),
                    }}
                    {origin}{run}
                </p>
                {(!model.description.is_empty()).then(|| view! { <p>{model.description.clone()}</p> })}
                {problem.map(|problem| view! { <div class="note bad"><p>{problem}</p></div> })}
                <dl class="facts">{scores}{identity(&model)}{reports}</dl>
                {usable.then(|| view! {
                    <CopyLine text=curl />
                    <p><a class="button" href=format!("/playground?model={}", query(&model.name))>"Generate with it"</a></p>
                })}
            </div>
        </article>
    }
}

/// Evaluations that name the model, newest first; nothing if there is none.
fn reports(model: &Model, evaluations: &[Job]) -> impl IntoView + use<> {
    let id = model.id.to_string();
    let names_it = |job: &&Job| match &job.spec {
        JobSpec::Evaluate(spec) => spec.all_models().iter().any(|name| *name == model.name || *name == id),
        JobSpec::Train(_) => false,
    };
    let links: Vec<_> = evaluations
        .iter()
        .filter(names_it)
        .take(MOST_REPORTS)
        .map(|job| {
            let when = job.finished_at.map_or_else(|| "report".to_owned(), moment);
            view! { <div><ReportLink job=job.id file=ReportFile::Page text=when /></div> }
        })
        .collect();
    (!links.is_empty()).then(|| view! { <div><dt>"Evaluations"</dt><dd>{links}</dd></div> })
}

/// Which weights these are; nothing for a folder that could not become a model.
fn identity(model: &Model) -> impl IntoView + use<> {
    let short = model.sha256.get(..12)?.to_owned();
    Some(view! {
        <div><dt>"SHA-256"</dt><dd><code title=model.sha256.clone()>{short}</code></dd></div>
        <div><dt>"Since"</dt><dd>{moment(model.created_at)}</dd></div>
    })
}
