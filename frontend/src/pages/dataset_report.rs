//! What a dataset holds: sizes, prompts, labels by model, duplicates, dropped rows with reasons.

use crate::api;
use crate::format::query;
use crate::pages::data_check::report;
use crate::pages::layout::{Head, loaded};
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;

#[component]
pub(crate) fn DatasetReportPage() -> impl IntoView {
    let name = use_params_map().with_untracked(|params| params.get("name").unwrap_or_default());
    let (address, title) = (format!("/datasets/{}", query(&name)), format!("Statistics of {name}"));
    let call = async move { api::dataset_report(&name).await };
    view! {
        <Head title>
            <p class="lead"><a href="/datasets">"Datasets"</a>" · "<a href=address>"Its pairs"</a>" · of the first 500 examples"</p>
        </Head>
        {loaded(call, report)}
    }
}
