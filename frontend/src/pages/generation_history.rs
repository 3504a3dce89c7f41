//! The history of the Generate page: images that were requested, with everything to make them again.

use crate::api::image_url;
use crate::components::copy_line::CopyLine;
use crate::format::{moment, query};
use crate::pages::layout::origin;
use domain::api::ModelSummary;
use domain::id::ModelId;
use domain::image::Image;
use leptos::prelude::*;
use leptos_router::params::ParamsMap;
use std::collections::HashMap;

/// Images of a page.
pub(crate) const PER_PAGE: usize = 24;

/// What of the history is shown.
#[derive(Clone)]
pub(crate) struct Search {
    /// Part of the prompt.
    pub(crate) text: String,
    /// Only images older than the one with this id.
    pub(crate) before: String,
    /// Why the form of the history was refused.
    problem: String,
}

impl Search {
    pub(crate) fn of(fields: &ParamsMap) -> Self {
        let text = |name: &str| fields.get(name).unwrap_or_default();
        Self { text: text("search"), before: text("before"), problem: text("problem") }
    }
}

/// What a query repeats of an image: each field with its text.
fn fields(image: &Image, model: &str) -> Vec<(&'static str, String)> {
    let params = &image.params;
    let lora: Vec<String> = params.lora.iter().map(|used| format!("{}:{}", used.model, used.scale)).collect();
    let all = [
        ("prompt", params.prompt.clone()),
        ("negative_prompt", params.negative_prompt.clone()),
        ("model", model.to_owned()),
        ("seed", params.seed.to_string()),
        ("steps", params.steps.to_string()),
        ("guidance_scale", params.guidance_scale.to_string()),
        ("width", params.width.to_string()),
        ("height", params.height.to_string()),
        ("sampler", params.sampler.to_string()),
        ("lora", lora.join(",")),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn query_of(fields: &[(&'static str, String)]) -> String {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", query(value))).collect();
    pairs.join("&")
}

/// A page of the history, newest first; nothing if nothing was ever requested. Its form makes a pair to judge, and deletes.
pub(crate) fn history(
    models: &[ModelSummary],
    images: Vec<Image>,
    search: &Search,
) -> Option<impl IntoView + use<>> {
    let is_all = search.text.is_empty() && search.before.is_empty();
    if images.is_empty() && is_all {
        return Some(view! { <section id="history" aria-label="History"></section> }.into_any());
    }
    let names: HashMap<ModelId, &str> =
        models.iter().map(|summary| (summary.model.id, summary.model.name.as_str())).collect();
    let address = |before: Option<String>| {
        let before = before.map(|id| format!("&before={id}")).unwrap_or_default();
        format!("/playground?search={}{before}#history", query(&search.text))
    };
    let last = images.last().filter(|_| images.len() == PER_PAGE).map(|image| image.id.to_string());
    let older =
        last.map(|id| view! { <a class="button" rel="next" href=address(Some(id))>"Older images"</a> });
    let newest = (!search.before.is_empty())
        .then(|| view! { <a class="button" href=address(None)>"Newest images"</a> });
    let none = images.is_empty().then(|| view! { <p class="soft">"No image matches."</p> });
    let origin = origin();
    let cards = images
        .iter()
        .map(|image| card(image, image.model_id.and_then(|id| names.get(&id).copied()), &origin))
        .collect_view();
    let problem = (!search.problem.is_empty())
        .then(|| view! { <div class="note bad" role="alert"><p>{search.problem.clone()}</p></div> });
    let section = view! {
        <section id="history" aria-labelledby="history-title">
            <header class="section-head"><h2 id="history-title">"History"</h2></header>
            <form class="filter" method="get" action="/playground#history" role="search" aria-label="History">
                <label>"Prompt contains"<input type="search" name="search" value=search.text.clone() /></label>
                <button class="quiet">"Search"</button>
            </form>
            {problem}
            {none}
            <form method="post" action="/playground/pair">
                <div class="history">{cards}</div>
                <nav class="pager" aria-label="Pages of the history">{newest}{older}</nav>
                <p class="actions">
                    <button class="button">"Judge the two selected images"</button>
                    <span class="soft">"Two images of one prompt become a pair that every rater may judge."</span>
                </p>
            </form>
        </section>
    };
    Some(section.into_any())
}

fn card(image: &Image, model: Option<&str>, origin: &str) -> impl IntoView + use<> {
    let (id, params) = (image.id, &image.params);
    let fields = fields(image, model.unwrap_or_default());
    let again = query_of(&fields);
    let command = format!("curl -sf '{origin}/generate?{again}' -o image.png");
    let link = format!("{origin}/playground?{again}");
    let title = format!(
        "{}, seed {}, {} steps, {}, guidance {}",
        model.unwrap_or("a model that is gone"),
        params.seed,
        params.steps,
        params.sampler,
        params.guidance_scale
    );
    let file = image_url(id);
    let by = match model {
        Some(name) => view! { <a href=format!("/models#{name}")>{name.to_owned()}</a> }.into_any(),
        None => view! { "a model that is gone" }.into_any(),
    };
    view! {
        <article class="history-card">
            <a href=file.clone() data-zoom="" title=title.clone()>
                <img src=file.clone() alt=params.prompt.clone() loading="lazy" width=params.width height=params.height />
            </a>
            <label class="check"><input type="checkbox" name="image" value=id.to_string() aria-label=format!("Select: {}, {title}", params.prompt) />"Select"</label>
            <p class="history-prompt" title=params.prompt.clone()>{params.prompt.clone()}</p>
            <small class="soft">{by}", seed "{params.seed}", "{moment(image.created_at)}</small>
            <p class="history-actions">
                <a href=format!("/playground?{again}") aria-label=format!("Use again: {}", params.prompt)>"Use again"</a>
                <a href=file download=format!("{id}.png")>"Download"</a>
                <button class="link" formaction=format!("/images/{id}/delete") aria-label=format!("Delete: {}, {title}", params.prompt)>"Delete"</button>
            </p>
            <details class="more">
                <summary>"Copy"</summary>
                <small>"As a link"</small>
                <CopyLine text=link />
                <small>"As a command"</small>
                <CopyLine text=command />
            </details>
        </article>
    }
}
