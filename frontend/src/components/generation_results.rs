//! The images of the Generate page: one row per request, one column per model.

use crate::api::{ApiResult, image_url};
use crate::components::generation_form::Fields;
use crate::components::note::FailureNote;
use crate::format::count;
use domain::api::{CutText, GenerateResponse};
use leptos::prelude::*;

/// Rows kept on the page; older ones are removed.
const MOST_ROWS: usize = 12;

/// The response of one model: none while it generates.
pub(crate) type Outcome = RwSignal<Option<ApiResult<GenerateResponse>>>;

/// The images of one prompt and seed, by model.
#[derive(Clone)]
pub(crate) struct ResultRow {
    pub(crate) number: usize,
    pub(crate) prompt: String,
    pub(crate) seed: u64,
    pub(crate) images: Vec<(String, Outcome)>,
}

/// Puts a row on top.
pub(crate) fn push(rows: &mut Vec<ResultRow>, row: ResultRow) {
    rows.insert(0, row);
    rows.truncate(MOST_ROWS);
}

/// Removes the image of a refused request, and its row if no image remains.
pub(crate) fn remove_image(rows: &mut Vec<ResultRow>, number: usize, model: &str) {
    for row in rows.iter_mut().filter(|row| row.number == number) {
        row.images.retain(|(name, _)| name != model);
    }
    rows.retain(|row| !row.images.is_empty());
}

/// All rows, newest first. The button of a row copies its prompt and seed into `fields`.
#[component]
pub(crate) fn Results(rows: RwSignal<Vec<ResultRow>>, fields: Fields) -> impl IntoView {
    view! {
        <div class="results" aria-live="polite">
            <Show when=move || rows.with(Vec::is_empty) fallback=|| ()>
                <p class="placeholder">
                    "Images appear here: one row per request, one column per model. All models of a row use the same seed."
                </p>
            </Show>
            <For each=move || rows.get() key=|row| (row.number, row.images.len()) let:row>
                <Row row fields />
            </For>
        </div>
    }
}

#[component]
fn Row(row: ResultRow, fields: Fields) -> impl IntoView {
    let ResultRow { prompt, seed, images, .. } = row;
    let reuse = {
        let prompt = prompt.clone();
        move |_| {
            fields.prompt.set(prompt.clone());
            fields.seed.set(seed.to_string());
        }
    };
    let images = images
        .into_iter()
        .map(|(model, outcome)| {
            view! {
                <figure class="image">
                    {move || image(outcome.get())}
                    <figcaption><a href=format!("/models#{model}")>{model.clone()}</a></figcaption>
                </figure>
            }
        })
        .collect_view();
    view! {
        <article class="result-row">
            <header>
                <p class="prompt">{prompt}</p>
                <p class="soft">
                    "seed " <span class="figure">{seed.to_string()}</span> " "
                    <button type="button" class="link" on:click=reuse>"Reuse"</button>
                </p>
            </header>
            <div class="images">{images}</div>
        </article>
    }
}

fn image(outcome: Option<ApiResult<GenerateResponse>>) -> AnyView {
    match outcome {
        None => view! { <div class="waiting" role="status"><span class="visually-hidden">"Generating"</span></div> }
            .into_any(),
        Some(Err(failure)) => view! { <FailureNote failure /> }.into_any(),
        Some(Ok(response)) => {
            let GenerateResponse { images, params, seconds, cut, .. } = response;
            let adapters: String =
                params.lora.iter().map(|used| format!(", {} at {}", used.model, used.scale)).collect();
            let settings = format!(
                "{} steps, {}, guidance {}{adapters}, {seconds:.1} s",
                params.steps, params.sampler, params.guidance_scale
            );
            let images = images
                .into_iter()
                .map(|image| {
                    view! {
                        <a href=image_url(image.id) title=settings.clone()>
                            <img src=format!("data:image/png;base64,{}", image.b64) alt=params.prompt.clone() />
                        </a>
                    }
                })
                .collect_view();
            view! { {images}{cut.iter().map(cut_note).collect_view()} }.into_any()
        }
    }
}

/// Which end of a text the model did not read.
fn cut_note(cut: &CutText) -> impl IntoView + use<> {
    let field = if cut.field == "prompt" { "prompt" } else { "negative prompt" };
    let tokens = count(i64::try_from(cut.tokens).unwrap_or(i64::MAX), "token", "tokens");
    let text =
        format!("The model did not read the end of the {field} ({tokens}): \u{201c}{}\u{201d}", cut.text);
    view! { <p class="soft" role="status">{text}</p> }
}
