//! One model: its images, scores, votes, lineage and files.

use crate::api::{self, ApiResult, Failure, image_url};
use crate::components::badge::ObjectiveBadge;
use crate::components::copy_line::CopyLine;
use crate::format::{bytes, count, moment, percent, query, score};
use crate::pages::compare::compare_page;
use crate::pages::layout::{Head, loaded, origin};
use crate::pages::model_lineage::Lineage;
use domain::api::{ModelDeletion, ModelDetail, ModelRecord, RunSample, path, run_page};
use domain::evaluate::ModelScore;
use domain::id::{ImageId, ModelId};
use domain::image::{Image, Purpose};
use domain::model::Model;
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;

/// Images shown of each kind.
const SHOWN: u32 = 12;

#[component]
pub(crate) fn ModelPage() -> impl IntoView {
    let id = use_params_map().with_untracked(|params| params.get("id").unwrap_or_default());
    loaded(load(id), page)
}

/// The model with its images by their origin.
struct Loaded {
    detail: ModelDetail,
    evaluated: Vec<Image>,
    generated: Vec<Image>,
    samples: Vec<RunSample>,
}

async fn load(id: String) -> ApiResult<Loaded> {
    let id: ModelId = id.parse().map_err(|_| {
        Failure::not_found(format!("{id:?} is not the id of a model. Open the model from the Models page."))
    })?;
    let detail = api::model_detail(id).await?;
    let samples = match (&detail.run, detail.summary.model.step) {
        (Some((run, _)), Some(step)) => {
            let page = api::run_samples(*run).await?;
            page.items.into_iter().filter(|sample| sample.step == step).take(SHOWN as usize).collect()
        }
        _ => Vec::new(),
    };
    let evaluated = api::images_of_model(id, Purpose::Evaluation, SHOWN).await?.items;
    let generated = api::images_of_model(id, Purpose::Generation, SHOWN).await?.items;
    Ok(Loaded { detail, evaluated, generated, samples })
}

fn page(loaded: Loaded) -> impl IntoView {
    let Loaded { detail, evaluated, generated, samples } = loaded;
    let ModelDetail { summary, is_adapter, record, deletion: consequences, .. } = detail.clone();
    let model = summary.model;
    let has_images = !(evaluated.is_empty() && generated.is_empty() && samples.is_empty());
    let samples = samples.into_iter().map(|sample| (sample.image_id, sample.prompt)).collect();
    let by_prompt = |images: Vec<Image>| -> Vec<(ImageId, String)> {
        images.into_iter().map(|image| (image.id, image.params.prompt)).collect()
    };
    let (origin, model_files) = (origin_line(&detail), files(&detail));
    view! {
        <Head title=model.name.clone()>{origin}</Head>
        {(!model.description.is_empty()).then(|| view! { <p class="prose">{model.description.clone()}</p> })}
        {summary.problem.clone().map(|problem| view! { <div class="note bad"><p>{problem}</p></div> })}
        {(summary.problem.is_none() && !is_adapter).then(|| ways_to_use(&model.name, &detail))}
        {gallery("evaluation-images", "Evaluation images", by_prompt(evaluated))}
        {gallery("samples", "Samples of its run at this step", samples)}
        {gallery("generated", "Generated images", by_prompt(generated))}
        {(!has_images && !is_adapter).then(|| view! {
            <p class="soft">"It has drawn no image yet. "<a href=format!("/playground?model={}", query(&model.name))>"Generate one"</a>"."</p>
        })}
        <div class="columns">
            {scores(summary.scores)}
            {votes(&model, record)}
        </div>
        <Lineage detail=detail.clone() />
        {model_files}
        {deletion(&model, consequences)}
    }
}

/// What it is, from what, and by which run.
fn origin_line(detail: &ModelDetail) -> impl IntoView + use<> {
    let model = &detail.summary.model;
    let what = match (&model.objective, detail.is_adapter) {
        (Some(kind), _) => view! { <ObjectiveBadge kind=kind.clone() /> }.into_any(),
        (None, true) => view! { <span class="badge">"LoRA adapter"</span> }.into_any(),
        (None, false) => view! { <span class="badge">"Pretrained"</span> }.into_any(),
    };
    let adapter = (detail.is_adapter && model.objective.is_some())
        .then(|| view! { " " <span class="badge">"LoRA adapter"</span> });
    let base = detail.ancestors.first().map(|base| {
        view! { " of " <a href=domain::api::model_page(base.id)>{base.name.clone()}</a> }
    });
    let run = detail.run.clone().map(|(run, name)| {
        let step = model.step.map(|step| format!(", step {step}"));
        view! { " by run " <a href=run_page(run)>{name}</a>{step} }
    });
    let added = (!model.sha256.is_empty()).then(|| format!(" · added {}", moment(model.created_at)));
    view! { <p class="lead">{what}{adapter}{base}{run}{added}</p> }
}

/// Links to the pages that use the model, and a command to copy.
fn ways_to_use(name: &str, detail: &ModelDetail) -> impl IntoView + use<> {
    let prompt = query(detail.summary.prompt.as_deref().unwrap_or("YOUR PROMPT"));
    let curl =
        format!("curl -sf '{}/generate?model={}&prompt={prompt}&seed=1' -o out.png", origin(), query(name));
    let base = detail.ancestors.first().map(|base| {
        let address = format!("/playground?model={},{}", query(name), query(&base.name));
        view! { <a class="button" href=address>"Compare with its base"</a> }
    });
    view! {
        <div class="stacked wide">
            <p class="actions">
                <a class="button primary" href=format!("/playground?model={}", query(name))>"Generate"</a>
                {base}
                <a class="button" href=compare_page(name)>"Judge against …"</a>
            </p>
            <CopyLine text=curl />
        </div>
    }
}

fn gallery(id: &'static str, title: &'static str, images: Vec<(ImageId, String)>) -> impl IntoView {
    (!images.is_empty()).then(|| {
        let images = images
            .into_iter()
            .map(|(image, prompt)| {
                view! {
                    <figure class="image">
                        <a href=image_url(image)><img src=image_url(image) alt=prompt.clone() loading="lazy" width="512" height="512" /></a>
                        <figcaption>{prompt.clone()}</figcaption>
                    </figure>
                }
            })
            .collect_view();
        view! {
            <section aria-labelledby=id>
                <h2 id=id>{title}</h2>
                <div class="images large">{images}</div>
            </section>
        }
    })
}

fn scores(scores: Vec<ModelScore>) -> impl IntoView {
    let rows = scores
        .iter()
        .map(|mean| {
            view! {
                <tr>
                    <th scope="row">{mean.metric.label()}</th>
                    <td class="figure">{score(mean)}</td>
                    <td class="figure soft">{mean.count}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <section aria-labelledby="scores">
            <h2 id="scores">"Scores"</h2>
            {if scores.is_empty() {
                view! { <p class="soft">"No evaluation has scored it yet. "<a href="/help/evaluate.html">"How to evaluate"</a></p> }.into_any()
            } else {
                view! {
                    <table>
                        <thead><tr><th>"Metric"</th><th class="figure">"Mean ± half the 95% interval"</th><th class="figure">"Images"</th></tr></thead>
                        <tbody>{rows}</tbody>
                    </table>
                    <p class="soft">"For every metric, higher is better."</p>
                }.into_any()
            }}
        </section>
    }
}

fn votes(model: &Model, record: ModelRecord) -> impl IntoView + use<> {
    let ModelRecord { wins, losses, ties, both_bad, win_rate } = record;
    let judge = compare_page(&model.name);
    view! {
        <section aria-labelledby="votes">
            <h2 id="votes">"Votes"</h2>
            {match win_rate {
                None => view! { <p class="soft">"Nobody has judged its images yet. "<a href=judge>"Judge them"</a></p> }.into_any(),
                Some(rate) => view! {
                    <dl class="facts">
                        <div><dt>"Win rate"</dt><dd>{percent(rate.value)}" "<small>{format!("{} to {}", percent(rate.low), percent(rate.high))}</small></dd></div>
                        <div><dt>"Won"</dt><dd>{wins}</dd></div>
                        <div><dt>"Lost"</dt><dd>{losses}</dd></div>
                        <div><dt>"Tied"</dt><dd>{ties}</dd></div>
                        <div><dt>"Both bad"</dt><dd>{both_bad}</dd></div>
                    </dl>
                    <p class="soft">"Over all questions; ties and “both bad” count as half a win. "<a href="/leaderboard">"Leaderboard"</a></p>
                }.into_any(),
            }}
        </section>
    }
}

fn files(detail: &ModelDetail) -> impl IntoView + use<> {
    let model = &detail.summary.model;
    let id = model.id.to_string();
    let rows = detail
        .files
        .iter()
        .map(|file| {
            let address = format!("{}?path={}", path::MODEL_FILE.replace("{id}", &id), query(&file.path));
            view! {
                <tr>
                    <td class="lead"><a href=address download="">{file.path.clone()}</a></td>
                    <td class="figure">{bytes(file.bytes)}</td>
                </tr>
            }
        })
        .collect_view();
    let name = model.name.clone();
    let export = format!("diff-contrast-trainer export {name} {name}-diffusers");
    view! {
        <section aria-labelledby="files">
            <h2 id="files">"Files"</h2>
            <p class="soft">
                {format!("{}, {}. ", count(i64::try_from(detail.files.len()).unwrap_or(i64::MAX), "file", "files"), bytes(detail.deletion.bytes))}
                "Parts that its folder lacks are its base's. To export all parts for diffusers:"
            </p>
            <CopyLine text=export />
            <details class="more">
                <summary>"Download single files"</summary>
                <table class="plain-table"><thead><tr><th>"File"</th><th class="figure">"Size"</th></tr></thead><tbody>{rows}</tbody></table>
            </details>
            {(!model.sha256.is_empty()).then(|| view! { <p class="soft">"SHA-256 of the weights: "<code class="hash">{model.sha256.clone()}</code></p> })}
        </section>
    }
}

/// The form that deletes the model, or what would break.
fn deletion(model: &Model, deletion: ModelDeletion) -> impl IntoView + use<> {
    let ModelDeletion { blocked_by, images, bytes: size } = deletion;
    if model.sha256.is_empty() {
        return ().into_any();
    }
    let body = if blocked_by.is_empty() {
        view! {
            <form method="post" action=format!("{}/delete", domain::api::model_page(model.id)) class="stacked">
                <p>
                    {format!("Deletes its files ({}) and {} drawn with it. ", bytes(size), count(images, "image", "images"))}
                    "The samples of its run stay. This cannot be undone."
                </p>
                <button type="submit" class="danger">"Delete model"</button>
            </form>
        }
        .into_any()
    } else {
        let uses = blocked_by.into_iter().map(|what| view! { <li>{what}</li> }).collect_view();
        view! { <p>"It cannot be deleted, because these depend on it:"</p><ul class="inside">{uses}</ul> }
            .into_any()
    };
    view! {
        <section aria-label="Deletion">
            <details class="more"><summary>"Delete this model"</summary>{body}</details>
        </section>
    }
    .into_any()
}
