//! The playground.

use crate::api;
use crate::components::note::Empty;
use crate::components::playground::{Choosable, Playground, Preset};
use crate::pages::{Head, loaded};
use domain::api::{ModelSummary, Page};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

/// How many models are chosen when the address names none.
const CHOSEN_AT_FIRST: usize = 4;

/// A form prefilled from the address: `?prompt=..&seed=..&model=..`.
#[component]
pub(crate) fn Generate() -> impl IntoView {
    let (preset, named) = use_query_map().with_untracked(|asked| {
        let text = |name: &str| asked.get(name).unwrap_or_default();
        (Preset { prompt: text("prompt"), seed: text("seed") }, asked.get_all("model").unwrap_or_default())
    });
    view! {
        <Head title="Generate" lead="One prompt and one seed through several models, side by side." />
        {loaded(api::models(), move |page| playground(page, preset, &named))}
    }
}

fn playground(page: Page<ModelSummary>, preset: Preset, named: &[String]) -> impl IntoView + use<> {
    if page.items.is_empty() {
        return view! {
            <Empty title="No models to generate with">
                <p>"Put a model in diffusers layout into the server's models folder and restart the server."</p>
            </Empty>
        }
        .into_any();
    }
    let models = page
        .items
        .into_iter()
        .enumerate()
        .map(|(index, ModelSummary { model, problem, .. })| {
            let wanted = if named.is_empty() { index < CHOSEN_AT_FIRST } else { named.contains(&model.name) };
            Choosable {
                chosen: wanted && problem.is_none(),
                name: model.name,
                objective: model.objective,
                problem,
            }
        })
        .collect();
    view! { <Playground models preset /> }.into_any()
}
