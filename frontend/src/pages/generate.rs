//! The page that generates images: the form, the images of this visit, and below them all that were requested before. The form is
//! sent by `static/generate.js`; without JavaScript it leads to an image.

use crate::api::{self, ApiResult};
use crate::components::note::Empty;
use crate::pages::bundle::static_file;
use crate::pages::generation_form::{Entered, form};
use crate::pages::generation_history::{PER_PAGE, Search, history};
use crate::pages::layout::{Head, loaded};
use domain::api::{ModelSummary, Page};
use domain::image::Image;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

/// The address may set every field of the form: `?prompt=..&seed=..&model=..`, with `model` once per model, or several separated by
/// commas. `search` and `before` select what is shown of the history.
#[component]
pub(crate) fn Generate() -> impl IntoView {
    let (entered, search) =
        use_query_map().with_untracked(|fields| (Entered::of(fields), Search::of(fields)));
    let call = {
        let search = search.clone();
        async move { load(&search).await }
    };
    view! {
        <Head title="Generate" lead="Run prompts and seeds through several models and compare the images." />
        {loaded(call, move |(models, images)| workbench(models, images, &entered, &search))}
    }
}

async fn load(search: &Search) -> ApiResult<(Page<ModelSummary>, Page<Image>)> {
    let models = api::models().await?;
    let images = api::requested_images(&search.text, &search.before, PER_PAGE).await?;
    Ok((models, images))
}

fn workbench(
    models: Page<ModelSummary>,
    images: Page<Image>,
    entered: &Entered,
    search: &Search,
) -> impl IntoView + use<> {
    if models.items.is_empty() {
        return view! {
            <Empty title="No models">
                <p>"Add a model in diffusers layout to the server's models folder and restart the server."</p>
            </Empty>
        }
        .into_any();
    }
    view! {
        <div class="playground">
            {form(&models.items, entered)}
            <div class="results" aria-live="polite">
                <p class="placeholder">
                    "Images appear here: one row per prompt and seed, one column per model. All models of a row use the same seed."
                </p>
            </div>
        </div>
        {history(&models.items, images.items, search)}
        <script type="module" src=static_file("generate.js")></script>
        <script type="module" src=static_file("lightbox.js")></script>
    }
    .into_any()
}
