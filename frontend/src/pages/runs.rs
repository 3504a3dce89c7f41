//! The list of training runs.

use crate::api::{self, ApiResult};
use crate::components::copy_line::CopyLine;
use crate::components::note::Empty;
use crate::components::run_row::RowPage;
use crate::components::run_table::RunTable;
use crate::pages::layout::{Head, loaded, origin};
use crate::pages::run_filter::{filter_form, is_filtered, page_address};
use axum::http::request::Parts;
use domain::api::{ModelSummary, Page, RunChoices};
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
    // The whole query, so that the API refuses what it does not know.
    let query = use_context::<Parts>().and_then(|parts| parts.uri.query().map(str::to_owned));
    let mut query: Vec<String> = query.filter(|query| !query.is_empty()).into_iter().collect();
    if fields.get("limit").is_none() {
        query.push(format!("limit={LIMIT}"));
    }
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
        {loaded(load(query.join("&")), move |loaded| runs(loaded, &fields))}
    }
}

struct Loaded {
    page: RowPage,
    /// The query of the request for the page.
    query: String,
    choices: RunChoices,
    jobs: Page<Job>,
    /// The models, if there is neither run nor job.
    models: Vec<ModelSummary>,
}

async fn load(query: String) -> ApiResult<Loaded> {
    let (page, jobs, choices) = (api::run_rows(&query).await?, api::jobs().await?, api::run_choices().await?);
    let is_empty = choices.bases.is_empty() && jobs.items.is_empty();
    let models = if is_empty { api::models().await?.items } else { Vec::new() };
    Ok(Loaded { page, query, choices, jobs, models })
}

/// The form and the table; without runs and jobs, how to submit one.
fn runs(loaded: Loaded, fields: &ParamsMap) -> AnyView {
    let Loaded { page, query, choices, jobs, models } = loaded;
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
        <RunTable runs=page.items jobs query />
        {turns}
    }
    .into_any()
}
