//! The list of datasets.

use crate::api;
use crate::format::query;
use crate::pages::layout::{Head, loaded};
use domain::api::{DatasetSummary, Page};
use leptos::prelude::*;

#[component]
pub(crate) fn Datasets() -> impl IntoView {
    view! {
        <Head
            title="Datasets"
            lead="Training data: the bundled shapes world, your team's votes, and the folders in the server's datasets folder."
        />
        <p><a class="button" href="/datasets/check">"Check a dataset"</a></p>
        {loaded(api::datasets(), cards)}
    }
}

fn cards(page: Page<DatasetSummary>) -> impl IntoView {
    view! { <div class="pair-cards">{page.items.into_iter().map(card).collect_view()}</div> }
}

fn card(dataset: DatasetSummary) -> impl IntoView {
    let rows = dataset.rows.map(|rows| format!("{rows} rows"));
    let address = format!("/datasets/{}", query(&dataset.name));
    let thumbnails = dataset
        .examples
        .into_iter()
        .flat_map(|pair| [Some(pair.winner_url), pair.loser_url])
        .flatten()
        .map(|url| view! { <img src=url alt="" loading="lazy" width="64" height="64" /> })
        .collect_view();
    view! {
        <a class="pair-card" href=address>
            <h2>{dataset.name}</h2>
            <div class="thumbnails">{thumbnails}</div>
            <p class="soft">{dataset.description}</p>
            {rows.map(|rows| view! { <small>{rows}</small> })}
            {dataset.problem.map(|problem| view! { <div class="note bad"><p>{problem}</p></div> })}
        </a>
    }
}
