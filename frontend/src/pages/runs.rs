//! The list of training runs.

use crate::api::{self, ApiResult};
use crate::components::copy_line::CopyLine;
use crate::components::note::Empty;
use crate::components::run_row::RowPage;
use crate::components::run_table::run_table;
use crate::pages::layout::{Head, loaded, origin};
use crate::pages::live_stream::live_stream;
use crate::pages::run_filter::{chosen_columns, filter_form, is_filtered, page_address, request_query};
use domain::api::{ModelSummary, Page, RunChoices, path};
use domain::job::Job;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use leptos_router::params::ParamsMap;

/// A short training job to paste, for the model that is there: on pairs of the bundled world for a model that draws it, on a
/// folder of pairs for any other.
fn example_job(models: &[ModelSummary]) -> String {
    // Oldest first: newer ones are checkpoints.
    let usable = || models.iter().rev().filter(|summary| summary.problem.is_none());
    let bundled = usable().find(|summary| summary.bundled_world);
    let base = bundled.or_else(|| usable().next()).map_or("MODEL", |summary| summary.model.name.as_str());
    let (data, prompt) = if bundled.is_some() {
        (r#"{"source":"shapes","set":"quality","count":512}"#, "a large red circle on a blue background")
    } else {
        (r#"{"source":"folder","folder":"data/my-pairs"}"#, "YOUR PROMPT")
    };
    format!(
        r#"{{"kind":"train","name":"my-first","base":"{base}","objective":{{"kind":"diff_contrast","beta":2000,"tau":0.1}},"data":{data},"steps":100,"batch_size":8,"learning_rate":{{"rate":1e-5}},"sample_every":25,"sample_prompts":["{prompt}"]}}"#
    )
}

/// Runs of a page.
const LIMIT: u32 = 50;

#[component]
pub(crate) fn Runs() -> impl IntoView {
    let fields = use_query_map().get_untracked();
    let query = request_query(&fields, LIMIT);
    view! {
        <Head title="Runs">
            <p class="lead">
                "Training runs and their status. Open a run for its metrics and sample images. "
                <a href="/studies">"Studies"</a> " compare methods over many runs."
            </p>
            <p class="actions">
                <a class="button primary" href="/runs/new">"New run"</a>
                <a class="button" href="/runs/compare">"Compare runs"</a>
            </p>
        </Head>
        {loaded(load(query), move |loaded| runs(loaded, &fields))}
    }
}

struct Loaded {
    /// Where the events after this page begin.
    cursor: String,
    page: RowPage,
    choices: RunChoices,
    jobs: Page<Job>,
    /// The models, if there is neither run nor job.
    models: Vec<ModelSummary>,
}

async fn load(query: String) -> ApiResult<Loaded> {
    // Before the rows: a change between the two is told again rather than missed.
    let cursor = api::event_cursor().await?;
    let (page, jobs, choices) = (api::run_rows(&query).await?, api::jobs().await?, api::run_choices().await?);
    let is_empty = choices.bases.is_empty() && jobs.items.is_empty();
    let models = if is_empty { api::models().await?.items } else { Vec::new() };
    Ok(Loaded { cursor, page, choices, jobs, models })
}

/// What the page shows, kept up to date.
fn runs(loaded: Loaded, fields: &ParamsMap) -> impl IntoView + use<> {
    let address = page_address(fields, fields.get("cursor").as_deref());
    let stream = live_stream(path::EVENTS.to_owned(), loaded.cursor.clone(), Some(address));
    view! { {stream} <div data-part="runs">{content(loaded, fields)}</div> }
}

/// The form and the table; without runs and jobs, how to submit one.
fn content(loaded: Loaded, fields: &ParamsMap) -> AnyView {
    let Loaded { page, choices, jobs, models, .. } = loaded;
    if choices.bases.is_empty() && jobs.items.is_empty() {
        let submit = format!(
            "curl {}/api/v1/jobs -H 'Content-Type: application/json' -d '{}'",
            origin(),
            example_job(&models)
        );
        return view! {
            <Empty title="No runs yet">
                <p><a href="/runs/new">"Start one in a form"</a>", or submit a training job with this command. The run appears here once a worker has started it."</p>
                <CopyLine text=submit />
            </Empty>
        }
        .into_any();
    }
    let is_first = fields.get("cursor").is_none_or(|cursor| cursor.is_empty());
    let none = page.items.is_empty().then(|| {
        let text = if is_filtered(fields) { "No run matches." } else { "No run has started yet." };
        view! { <p class="soft">{text}</p> }
    });
    let first =
        (!is_first).then(|| view! { <a class="button" href=page_address(fields, None)>"First page"</a> });
    let next = page.next.as_deref().map(|next| {
        view! { <a class="button" rel="next" href=page_address(fields, Some(next))>"Next page"</a> }
    });
    let turns = (first.is_some() || next.is_some())
        .then(|| view! { <nav class="actions" aria-label="Pages of runs">{first}{next}</nav> });
    view! {
        {filter_form(fields, choices)}
        {none}
        {run_table(page.items, &chosen_columns(fields), jobs.items)}
        {turns}
    }
    .into_any()
}
