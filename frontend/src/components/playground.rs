//! The Generate page: one prompt and seed through several models, side by side.

use crate::api;
use crate::components::generation_form::{
    AdvancedSettings, FieldProblem, Fields, InitialFields, PromptField, SeedField, random_seed,
};
use crate::components::generation_results::{ResultRow, Results, push, remove_image};
use crate::components::hydration::is_hydrated;
use crate::components::model_picker::{ModelOption, ModelPicker, initially_selected};
use domain::api::GenerateRequest;
use domain::problem::Problem;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos::web_sys::SubmitEvent;

/// The form and its results.
#[island(lazy)]
pub(crate) fn Playground(models: Vec<ModelOption>, initial: InitialFields) -> impl IntoView {
    let fields = Fields::new(&initial);
    let selected = RwSignal::new(initially_selected(&models));
    let problems = RwSignal::new(Vec::<Problem>::new());
    let rows = RwSignal::new(Vec::<ResultRow>::new());
    let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();

    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        // Drawn here, so that all models of the row use it.
        if matches!(fields.seed.get_untracked().trim(), "" | "-1") {
            fields.seed.set(random_seed().to_string());
        }
        let request = match fields.request() {
            Ok(request) => request,
            Err(invalid) => return problems.set(invalid),
        };
        // In the order of the page, whatever the order of selection.
        let models = names.iter().filter(|name| selected.read_untracked().contains(name));
        let models: Vec<String> = models.cloned().collect();
        if models.is_empty() {
            let message = "Select at least one model.".to_owned();
            return problems.set(vec![Problem { field: "model".into(), message }]);
        }
        problems.set(Vec::new());
        generate(&request, models, rows, problems);
    };

    let hydrated = is_hydrated();
    view! {
        <div class="playground">
            <form class="panel" action="/generate" method="get" data-hydrated=hydrated on:submit=submit>
                <PromptField prompt=fields.prompt initial=initial.prompt problems />
                <fieldset class="field">
                    <legend>"Models"</legend>
                    <ModelPicker options=models selected />
                    <FieldProblem field="model" problems />
                </fieldset>
                <SeedField seed=fields.seed problems />
                <AdvancedSettings fields problems />
                <button type="submit" class="primary">"Generate"</button>
            </form>
            <Results rows fields />
        </div>
    }
}

/// Adds a row and sends the request to each model. Problems of fields appear beside the fields, and the image that was
/// refused is removed from the row.
fn generate(
    request: &GenerateRequest,
    models: Vec<String>,
    rows: RwSignal<Vec<ResultRow>>,
    problems: RwSignal<Vec<Problem>>,
) {
    let number = rows.with_untracked(|rows| rows.first().map_or(1, |row| row.number + 1));
    let images: Vec<_> = models.into_iter().map(|name| (name, RwSignal::new(None))).collect();
    for (name, outcome) in images.clone() {
        let request = GenerateRequest { model: Some(name.clone()), ..request.clone() };
        spawn_local(async move {
            match api::generate(&request).await {
                Err(failure) if !failure.detail.fields.is_empty() => {
                    problems.set(failure.detail.fields);
                    rows.update(|rows| remove_image(rows, number, &name));
                }
                result => outcome.set(Some(result)),
            }
        });
    }
    let (prompt, seed) =
        (request.prompt.clone(), request.seed.and_then(|seed| u64::try_from(seed).ok()).unwrap_or_default());
    rows.update(|rows| push(rows, ResultRow { number, prompt, seed, images }));
}
