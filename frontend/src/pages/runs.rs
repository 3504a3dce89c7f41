//! All runs.

use crate::api;
use crate::components::copy_line::CopyLine;
use crate::components::note::Empty;
use crate::components::run_table::RunTable;
use crate::pages::{Head, loaded};
use domain::api::{Page, RunSummary};
use leptos::prelude::*;

const SUBMIT: &str = "curl http://127.0.0.1:8080/api/v1/jobs -H 'Content-Type: application/json' -d '{\"kind\":\"train\",\"name\":\"my-first\",\"base\":\"shapes\",\"objective\":{\"kind\":\"diff_contrast\",\"beta\":2000,\"tau\":0.1},\"data\":{\"source\":\"shapes\",\"set\":\"quality\",\"count\":512},\"steps\":100,\"batch_size\":8,\"learning_rate\":{\"rate\":1e-5}}'";

/// The table, or how to start the first run.
#[component]
pub(crate) fn Runs() -> impl IntoView {
    view! {
        <Head title="Runs" lead="Every training run with its live state. Open one for curves and samples." />
        {loaded(api::runs(), runs)}
    }
}

fn runs(page: Page<RunSummary>) -> impl IntoView {
    if page.items.is_empty() {
        return view! {
            <Empty title="No runs yet">
                <p>"Submit a training job; a worker picks it up and its run appears here."</p>
                <CopyLine text=SUBMIT.to_owned() />
            </Empty>
        }
        .into_any();
    }
    view! { <RunTable initial=page /> }.into_any()
}
