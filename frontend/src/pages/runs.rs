//! The list of training runs.

use crate::api::{self, ApiResult};
use crate::components::copy_line::CopyLine;
use crate::components::note::Empty;
use crate::components::run_table::RunTable;
use crate::pages::layout::{Head, loaded, origin};
use domain::api::{Page, RunSummary};
use domain::job::Job;
use leptos::prelude::*;

/// A short training job to paste.
const EXAMPLE_JOB: &str = r#"{"kind":"train","name":"my-first","base":"shapes","objective":{"kind":"diff_contrast","beta":2000,"tau":0.1},"data":{"source":"shapes","set":"quality","count":512},"steps":100,"batch_size":8,"learning_rate":{"rate":1e-5},"sample_every":25,"sample_prompts":["a large red circle on a blue background"]}"#;

#[component]
pub(crate) fn Runs() -> impl IntoView {
    view! {
        <Head title="Runs" lead="Training runs and their status. Open a run for its metrics and sample images." />
        {loaded(load(), runs)}
    }
}

async fn load() -> ApiResult<(Page<RunSummary>, Page<Job>)> {
    Ok((api::runs().await?, api::jobs().await?))
}

/// The table; without runs and jobs, how to submit one.
fn runs((runs, jobs): (Page<RunSummary>, Page<Job>)) -> impl IntoView {
    if runs.items.is_empty() && jobs.items.is_empty() {
        let submit =
            format!("curl {}/api/v1/jobs -H 'Content-Type: application/json' -d '{EXAMPLE_JOB}'", origin());
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
