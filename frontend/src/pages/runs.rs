//! All runs.

use crate::api::{self, Answer};
use crate::components::copy_line::CopyLine;
use crate::components::note::Empty;
use crate::components::run_table::RunTable;
use crate::pages::{Head, loaded, origin};
use domain::api::{Page, RunSummary};
use domain::job::Job;
use leptos::prelude::*;

/// A small one that can be pasted.
const SPEC: &str = r#"{"kind":"train","name":"my-first","base":"shapes","objective":{"kind":"diff_contrast","beta":2000,"tau":0.1},"data":{"source":"shapes","set":"quality","count":512},"steps":100,"batch_size":8,"learning_rate":{"rate":1e-5},"sample_every":25,"sample_prompts":["a large red circle on a blue background"]}"#;

/// The table, or how to start the first run.
#[component]
pub(crate) fn Runs() -> impl IntoView {
    view! {
        <Head title="Runs" lead="Every training run with its live state. Open one for curves and samples." />
        {loaded(load(), runs)}
    }
}

async fn load() -> Answer<(Page<RunSummary>, Page<Job>)> {
    Ok((api::runs().await?, api::jobs().await?))
}

fn runs((runs, jobs): (Page<RunSummary>, Page<Job>)) -> impl IntoView {
    if runs.items.is_empty() && jobs.items.is_empty() {
        let submit = format!("curl {}/api/v1/jobs -H 'Content-Type: application/json' -d '{SPEC}'", origin());
        return view! {
            <Empty title="No runs yet">
                <p>"Submit a training job; a worker picks it up and its run appears here."</p>
                <CopyLine text=submit />
            </Empty>
        }
        .into_any();
    }
    view! { <RunTable runs jobs /> }.into_any()
}
