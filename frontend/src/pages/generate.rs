//! The page that generates images.

use crate::api;
use crate::components::generation_form::InitialFields;
use crate::components::model_picker::ModelOption;
use crate::components::note::Empty;
use crate::components::playground::Playground;
use crate::pages::layout::{Head, loaded};
use domain::api::{ModelSummary, Page};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

/// Models that are selected if the URL names none.
const SELECTED_BY_DEFAULT: usize = 4;

/// The form. The URL may set its fields: `?prompt=..&seed=..&model=..`, with `model` once per model.
#[component]
pub(crate) fn Generate() -> impl IntoView {
    let (initial, named) = use_query_map().with_untracked(|query| {
        let text = |name: &str| query.get(name).unwrap_or_default();
        let initial = InitialFields { prompt: text("prompt"), seed: text("seed") };
        (initial, query.get_all("model").unwrap_or_default())
    });
    view! {
        <Head title="Generate" lead="Run one prompt and seed through several models and compare the images." />
        {loaded(api::models(), move |page| playground(page, initial, &named))}
    }
}

fn playground(page: Page<ModelSummary>, initial: InitialFields, named: &[String]) -> impl IntoView + use<> {
    if page.items.is_empty() {
        return view! {
            <Empty title="No models">
                <p>"Add a model in diffusers layout to the server's models folder and restart the server."</p>
            </Empty>
        }
        .into_any();
    }
    let models = page
        .items
        .into_iter()
        .enumerate()
        .map(|(index, ModelSummary { model, problem, .. })| {
            let wanted =
                if named.is_empty() { index < SELECTED_BY_DEFAULT } else { named.contains(&model.name) };
            ModelOption {
                selected: wanted && problem.is_none(),
                name: model.name,
                objective: model.objective,
                problem,
            }
        })
        .collect();
    view! { <Playground models initial /> }.into_any()
}
