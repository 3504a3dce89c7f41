//! The page that starts a comparison: a model, and what its images are judged against. A plain form, without JavaScript.

use crate::api::{self, Failure};
use crate::components::badge::ObjectiveBadge;
use crate::components::note::{Empty, FailureNote};
use crate::format::query;
use crate::pages::layout::{Head, loaded};
use domain::api::{ErrorDetail, ModelSummary, Page};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

/// A form that the server refused: its page shows the error and what was entered. The server provides it in the context of
/// the page.
#[derive(Clone, Debug)]
pub struct RefusedForm {
    /// The error.
    pub detail: ErrorDetail,
    /// The prompts as entered.
    pub prompts: String,
    /// Images per prompt as entered.
    pub images_per_prompt: String,
}

/// The address of the page for a model.
pub(crate) fn compare_page(model: &str) -> String {
    format!("/judge/compare?model={}", query(model))
}

#[component]
pub(crate) fn ComparePage() -> impl IntoView {
    let (model, asks_for_prompts) = use_query_map()
        .with_untracked(|fields| (fields.get("model").unwrap_or_default(), fields.get("prompts").is_some()));
    let refused = use_context::<RefusedForm>();
    loaded(api::models(), move |page| content(page, &model, refused, asks_for_prompts))
}

/// `asks_for_prompts`: whether the fields for prompts are unfolded.
fn content(
    page: Page<ModelSummary>,
    named: &str,
    refused: Option<RefusedForm>,
    asks_for_prompts: bool,
) -> AnyView {
    let models: Vec<ModelSummary> =
        page.items.into_iter().filter(|summary| summary.problem.is_none()).collect();
    if models.is_empty() {
        return view! {
            <Head title="Judge two models" />
            <Empty title="No models yet">
                <p>"Add a model or finish a training run. "<a href="/models">"Models"</a></p>
            </Empty>
        }
        .into_any();
    }
    let model = models.iter().find(|summary| summary.model.name == named).cloned();
    match model {
        Some(model) => against(model, models, refused, asks_for_prompts).into_any(),
        None => first_model(models, refused).into_any(),
    }
}

/// Why the form was refused.
fn problem(refused: Option<&RefusedForm>) -> impl IntoView + use<> {
    let failure = refused.map(|refused| Failure { status: 422, detail: refused.detail.clone() });
    failure.map(|failure| view! { <FailureNote failure /> })
}

/// The choice of the first model, for a page that names none.
fn first_model(models: Vec<ModelSummary>, refused: Option<RefusedForm>) -> impl IntoView {
    let links = models
        .into_iter()
        .map(|summary| {
            let ModelSummary { model, .. } = summary;
            view! {
                <a class="button" href=compare_page(&model.name)>
                    <span class="name">{model.name.clone()}</span>
                    {model.objective.map(|kind| view! { <ObjectiveBadge kind /> })}
                </a>
            }
        })
        .collect_view();
    view! {
        <Head title="Judge two models" lead="Select the first model." />
        {problem(refused.as_ref())}
        <div class="choices">{links}</div>
    }
}

/// The choice of the second model: the base first, then all others, then the model's own images.
fn against(
    model: ModelSummary,
    models: Vec<ModelSummary>,
    refused: Option<RefusedForm>,
    asks_for_prompts: bool,
) -> impl IntoView {
    let ModelSummary { model, base_name, .. } = model;
    let mut others: Vec<ModelSummary> =
        models.into_iter().filter(|summary| summary.model.id != model.id).collect();
    // A stable sort: the others stay newest first.
    others.sort_by_key(|summary| Some(&summary.model.name) != base_name.as_ref());
    let names: Vec<String> = others.iter().map(|summary| summary.model.name.clone()).collect();
    let choices = others
        .into_iter()
        .map(|summary| {
            let is_base = Some(&summary.model.name) == base_name.as_ref();
            let ModelSummary { model, .. } = summary;
            view! {
                <button name="against" value=model.name.clone()>
                    <span class="name">{model.name.clone()}</span>
                    {is_base.then(|| view! { <span class="badge">"base model"</span> })}
                    {model.objective.map(|kind| view! { <ObjectiveBadge kind /> })}
                </button>
            }
        })
        .collect_view();
    let name = model.name.clone();
    let campaigns = names
        .into_iter()
        .map(|name| {
            view! {
                <button name="campaign_against" value=name.clone() formaction="/campaigns/quick">
                    <span class="name">{name.clone()}</span>
                </button>
            }
        })
        .collect_view();
    view! {
        <Head
            title=format!("Judge {}", model.name)
            lead="Select what to judge it against. Raters see two images of one prompt, and not which model made which."
        />
        {problem(refused.as_ref())}
        <form class="compare" method="post" action="/judge/compare">
            <input type="hidden" name="model" value=model.name.clone() />
            <fieldset class="field">
                <legend>"Against another model"</legend>
                <div class="choices">{choices}</div>
            </fieldset>
            <fieldset class="field">
                <legend>"As a campaign against"</legend>
                <div class="choices">{campaigns}</div>
                <p class="soft">
                    "Blind for everybody: until it is closed, these models' evaluation images are shown at its desk only. "
                    <a href=format!("/campaigns/new?models={}", query(&model.name))>"With rules of its own"</a>
                </p>
            </fieldset>
            <fieldset class="field">
                <legend>"Against itself"</legend>
                <div class="choices">
                    <button name="against" value=name>
                        <span class="name">"Several images per prompt"</span>
                    </button>
                </div>
                <p class="soft">"The votes rank no model, but are training data."</p>
            </fieldset>
            {options(refused, asks_for_prompts)}
        </form>
    }
}

/// The prompts and the number of images, folded away unless the form was refused or the address asks for prompts.
fn options(refused: Option<RefusedForm>, asks_for_prompts: bool) -> impl IntoView {
    let is_open = asks_for_prompts || refused.is_some();
    let (prompts, images) =
        refused.map(|refused| (refused.prompts, refused.images_per_prompt)).unwrap_or_default();
    view! {
        <details class="more" open=is_open>
            <summary>"Prompts and number of images"</summary>
            <label class="field">
                <span>"Prompts, one per line"</span>
                <textarea name="prompts" rows="6" placeholder="prompts of existing evaluation images">{prompts}</textarea>
            </label>
            <label class="field narrow">
                <span>"Images per prompt"</span>
                <input name="images_per_prompt" inputmode="numeric" autocomplete="off" placeholder="1, or 4 against itself" value=images />
            </label>
        </details>
    }
}
