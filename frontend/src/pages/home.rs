//! The front page: what this is, what is going on, and what to do first.

use crate::api::{self, image_url};
use crate::components::badge::{ObjectiveBadge, StateBadge};
use crate::components::progress::Progress;
use crate::format::count;
use crate::pages::evidence::evidence;
use crate::pages::layout::loaded;
use crate::pages::weights_figure::WeightsFigure;
use domain::api::{ModelLink, ModelSummary, Overview, model_page, run_page};
use domain::job::Job;
use domain::run::Run;
use leptos::prelude::*;
use leptos_meta::Title;

/// The loss of Diff-contrast (docs/method.md) in MathML.
const LOSS: &str = "<math display=\"block\" aria-label=\"L is minus the mean over winners i of the sum over losers j of W i j times log sigmoid of minus beta half times a i minus b j\"><mrow><mi>L</mi><mo>=</mo><mo form=\"prefix\">−</mo><mfrac><mn>1</mn><mi>M</mi></mfrac><munder><mo>∑</mo><mrow><mi>i</mi><mo>,</mo><mi>j</mi></mrow></munder><msub><mi class=\"hot\">W</mi><mrow><mi>i</mi><mi>j</mi></mrow></msub><mspace width=\"0.2em\"/><mi>log</mi><mspace width=\"0.15em\"/><mi>σ</mi><mrow><mo>(</mo><mo form=\"prefix\">−</mo><mfrac><mi>β</mi><mn>2</mn></mfrac><mo>(</mo><msub><mi>a</mi><mi>i</mi></msub><mo>−</mo><msub><mi>b</mi><mi>j</mi></msub><mo>)</mo><mo>)</mo></mrow></mrow></math>";

#[component]
pub(crate) fn Home() -> impl IntoView {
    view! {
        <Title text="Train on what people prefer" />
        <div class="hero">
            <div class="hero-text">
                <h1>"Train image models on what people prefer"</h1>
                <p class="lead">
                    "Fine-tune Stable Diffusion on pairs of a better and a worse image, look at what every checkpoint draws, and let people judge \
                     blind. Their votes rank the models and are the next training data."
                </p>
                <p class="actions">
                    <a class="button primary" href="/runs">"Start a run"</a>
                    <a class="button" href="/playground">"Try generation"</a>
                    <a class="button" href="/judge">"Judge images"</a>
                </p>
                <div class="formula" inner_html=LOSS></div>
                <p class="soft">
                    <b>"Diff-contrast"</b>
                    " compares each winner i with every loser j of the batch, weighted by how similar they are (W). a and b say how much worse the \
                     trained model denoises an image than its frozen start. "
                    <a href="/help/method.html">"The method"</a>
                </p>
            </div>
            <WeightsFigure />
        </div>
        {loaded(api::overview(), activity)}
        {evidence()}
    }
}

fn activity(overview: Overview) -> impl IntoView {
    let Overview { running, queued, models, jobs, runs, newest, unjudged } = overview;
    view! {
        <section aria-labelledby="newest">
            <header class="section-head">
                <h2 id="newest">"Newest models"</h2>
                <a href="/models">{format!("All {}", count(models, "model", "models"))}</a>
            </header>
            {newest_models(newest)}
        </section>
        <div class="columns">
            <section aria-labelledby="work">
                <header class="section-head">
                    <h2 id="work">"Work"</h2>
                    <a class="soft" href="/workers">{format!("{running} running, {queued} queued")}</a>
                </header>
                {work(jobs, runs)}
            </section>
            <section aria-labelledby="votes-needed">
                <header class="section-head">
                    <h2 id="votes-needed">"Votes needed"</h2>
                    <a href="/leaderboard">"Leaderboard"</a>
                </header>
                {votes_needed(unjudged)}
            </section>
        </div>
    }
}

fn newest_models(models: Vec<ModelSummary>) -> impl IntoView {
    if models.is_empty() {
        return view! {
            <p class="soft">
                "No model has drawn an image yet. " <a href="/playground">"Generate one"</a> ", or start a run."
            </p>
        }
        .into_any();
    }
    let cards = models
        .into_iter()
        .filter_map(|ModelSummary { model, samples, prompt, .. }| {
            let image = samples.first().copied()?;
            Some(view! {
                <a class="model-tile" href=model_page(model.id)>
                    <img src=image_url(image) alt=prompt.unwrap_or_default() width="512" height="512" />
                    <span class="name">{model.name}</span>
                    {model.objective.map(|kind| view! { <ObjectiveBadge kind /> })}
                </a>
            })
        })
        .collect_view();
    view! { <div class="model-tiles">{cards}</div> }.into_any()
}

/// Unfinished jobs, each with its run if it has one; without any, the newest runs.
fn work(jobs: Vec<Job>, runs: Vec<Run>) -> impl IntoView {
    if jobs.is_empty() && runs.is_empty() {
        return view! {
            <p class="soft">
                "Nothing has been trained yet. " <a href="/runs">"Start a run"</a> ", or follow the "
                <a href="/help/your-own-data.html">"tutorial"</a> "."
            </p>
        }
        .into_any();
    }
    let unfinished = jobs.iter().map(|job| {
        let run = runs.iter().find(|run| run.job_id == job.id);
        let name = job.spec.name().to_owned();
        let name = match run {
            Some(run) => view! { <a href=run_page(run.id)>{name}</a> }.into_any(),
            None => view! { <span>{name}" "<span class="soft">{job.spec.kind()}</span></span> }.into_any(),
        };
        view! {
            <li><span class="name">{name}</span><StateBadge state=job.state /><Progress step=job.progress steps=job.total /></li>
        }
        .into_any()
    });
    let ended = runs.iter().filter(|run| run.state.is_final()).map(|run| {
        let progress = view! { <Progress step=run.step steps=i64::from(run.spec.steps) /> };
        view! {
            <li>
                <span class="name"><a href=run_page(run.id)>{run.name.clone()}</a></span>
                <StateBadge state=run.state />{progress}
            </li>
        }
        .into_any()
    });
    let rows = unfinished.chain(ended).take(5).collect_view();
    view! { <ul class="rows">{rows}</ul> }.into_any()
}

fn votes_needed(models: Vec<(ModelLink, i64)>) -> impl IntoView {
    if models.is_empty() {
        return view! {
            <p class="soft">
                "No new model waits for votes. " <a href="/judge/compare">"Judge two models"</a> " draws the images that are missing."
            </p>
        }
        .into_any();
    }
    let rows = models
        .into_iter()
        .take(5)
        .map(|(model, votes)| {
            view! {
                <li>
                    <span class="name"><a href=model_page(model.id)>{model.name.clone()}</a></span>
                    <span class="soft">{count(votes, "vote", "votes")}</span>
                </li>
            }
        })
        .collect_view();
    view! {
        <ul class="rows">{rows}</ul>
        <p><a class="button" href="/judge">"Judge images"</a></p>
    }
    .into_any()
}
