//! All sets of pairs.

use crate::api;
use crate::format::query;
use crate::pages::{Head, loaded};
use domain::api::{DatasetSummary, Page};
use leptos::prelude::*;

/// A card for each.
#[component]
pub(crate) fn Datasets() -> impl IntoView {
    view! {
        <Head title="Data" lead="What models learn from: the bundled world, the team's votes, and the sets in the server's datasets folder." />
        {loaded(api::datasets(), sets)}
    }
}

fn sets(page: Page<DatasetSummary>) -> impl IntoView {
    view! { <div class="pair-cards">{page.items.into_iter().map(card).collect_view()}</div> }
}

fn card(set: DatasetSummary) -> impl IntoView {
    let rows = set.rows.map(|rows| format!("{rows} rows"));
    let address = format!("/datasets/{}", query(&set.name));
    view! {
        <a class="pair-card" href=address>
            <h2>{set.name}</h2>
            <p class="soft">{set.description}</p>
            {rows.map(|rows| view! { <small>{rows}</small> })}
            {set.problem.map(|problem| view! { <div class="note bad"><p>{problem}</p></div> })}
        </a>
    }
}
