//! The list of training runs.

use crate::api::{self, ApiResult};
use crate::components::copy_line::CopyLine;
use crate::components::note::Empty;
use crate::components::run_table::RunTable;
use crate::pages::layout::{Head, loaded, origin};
use domain::api::{ModelSummary, Page, RunSummary};
use domain::job::Job;
use leptos::prelude::*;

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

#[component]
pub(crate) fn Runs() -> impl IntoView {
    view! {
        <Head title="Runs">
            <p class="lead">
                "Training runs and their status. Open a run for its metrics and sample images. "
                <a href="/studies">"Studies"</a> " compare methods over many runs."
            </p>
        </Head>
        {loaded(load(), runs)}
    }
}

/// Runs, jobs, and the models if there is neither run nor job.
type Loaded = (Page<RunSummary>, Page<Job>, Vec<ModelSummary>);

async fn load() -> ApiResult<Loaded> {
    let (runs, jobs) = (api::runs().await?, api::jobs().await?);
    let is_empty = runs.items.is_empty() && jobs.items.is_empty();
    let models = if is_empty { api::models().await?.items } else { Vec::new() };
    Ok((runs, jobs, models))
}

/// The table; without runs and jobs, how to submit one.
fn runs((runs, jobs, models): Loaded) -> impl IntoView {
    if runs.items.is_empty() && jobs.items.is_empty() {
        let submit = format!(
            "curl {}/api/v1/jobs -H 'Content-Type: application/json' -d '{}'",
            origin(),
            example_job(&models)
        );
        return view! {
            <Empty title="No runs yet">
                <p>"Submit a training job with this command. The run appears here once a worker has started it."</p>
                <CopyLine text=submit />
            </Empty>
        }
        .into_any();
    }
    view! { <RunTable runs jobs /> }.into_any()
}
