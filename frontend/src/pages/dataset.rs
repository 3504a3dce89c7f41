//! One dataset: its pairs, a search, and the rows that were skipped.

use crate::api;
use crate::components::note::Empty;
use crate::format::query;
use crate::pages::layout::{Head, loaded};
use crate::pages::pair::figures;
use domain::api::{DatasetPair, DatasetPairs};
use domain::dataset::{LISTED_PER_REASON, ReadReport};
use leptos::prelude::*;
use leptos_router::hooks::{use_params_map, use_query_map};

/// The dataset and the filters in the URL.
#[derive(Clone)]
struct Search {
    name: String,
    /// Index of the first pair.
    from: u64,
    prompt: String,
    model: String,
}

impl Search {
    /// The URL of the same search from another index on.
    fn address(&self, from: u64) -> String {
        let Self { name, prompt, model, .. } = self;
        format!("/datasets/{}?from={from}&prompt={}&model={}", query(name), query(prompt), query(model))
    }
}

#[component]
pub(crate) fn DatasetPage() -> impl IntoView {
    let name = use_params_map().with_untracked(|params| params.get("name").unwrap_or_default());
    let search = use_query_map().with_untracked(|fields| {
        let text = |field: &str| fields.get(field).unwrap_or_default();
        Search { name, from: text("from").parse().unwrap_or(0), prompt: text("prompt"), model: text("model") }
    });
    let call = {
        let Search { name, from, prompt, model } = search.clone();
        async move { api::dataset_pairs(&name, from, &prompt, &model).await }
    };
    loaded(call, move |pairs| page(pairs, &search))
}

fn page(pairs: DatasetPairs, search: &Search) -> impl IntoView + use<> {
    let DatasetPairs { dataset, items, next, report } = pairs;
    let rows = dataset.rows.map(|rows| format!(", {rows} rows"));
    let cards = items.into_iter().map(|pair| card(&search.name, pair)).collect_view();
    let empty = next.is_none().then(|| {
        view! {
            <Empty title="No pairs found">
                <p>"No pair matches the search, or every row of the dataset was skipped."</p>
            </Empty>
        }
    });
    let is_empty = cards.is_empty();
    let first =
        (search.from > 0).then(|| view! { <a class="button" href=search.address(0)>"First page"</a> });
    let next =
        next.map(|next| view! { <a class="button" rel="next" href=search.address(next)>"Next page"</a> });
    let (title, description) = (dataset.name, dataset.description);
    view! {
        <Head title>
            <p class="lead"><a href="/datasets">"Datasets"</a>" · "{description}{rows}</p>
        </Head>
        <form class="filter" method="get" action=format!("/datasets/{}", query(&search.name))>
            <label>"Prompt contains"<input name="prompt" value=search.prompt.clone() /></label>
            <label>"Model name contains"<input name="model" value=search.model.clone() /></label>
            <button class="primary">"Search"</button>
        </form>
        {if is_empty { empty.into_any() } else { view! { <div class="pair-cards">{cards}</div> }.into_any() }}
        <nav class="pager" aria-label="Pages">{first}{next}</nav>
        {skipped_rows(report)}
    }
}

fn card(dataset: &str, pair: DatasetPair) -> impl IntoView + use<> {
    let address = format!("/datasets/{}/{}", query(dataset), pair.index);
    let [winner, loser] = figures(&pair, false);
    let alone = loser.is_none();
    view! {
        <a class="pair-card" href=address>
            <div class="versus" class:alone=alone>{winner}{loser}</div>
            <p>{pair.prompt}</p>
            <small>{pair.source}</small>
        </a>
    }
}

/// How many rows were skipped for which reason; nothing if none were.
fn skipped_rows(report: ReadReport) -> Option<impl IntoView> {
    if report.dropped.is_empty() && report.left_out.is_empty() {
        return None;
    }
    let counts = report
        .dropped
        .iter()
        .map(|(reason, rows)| view! { <div><dt>{reason.label()}</dt><dd>{*rows}</dd></div> })
        .collect_view();
    let named = report.named.iter().map(|dropped| view! { <li>{dropped.to_string()}</li> }).collect_view();
    let left_out = report.left_out.iter().map(|of| view! { <li>{of.to_string()}</li> }).collect_view();
    let summary = format!("{} of the {} rows read so far are usable pairs.", report.pairs, report.rows);
    Some(view! {
        <section aria-labelledby="skipped">
            <h2 id="skipped">"Skipped rows"</h2>
            <p class="soft">{summary}</p>
            <dl class="facts">{counts}</dl>
            <details class="more">
                <summary>{format!("Show rows (the first {LISTED_PER_REASON} per reason)")}</summary>
                <ul>{named}{left_out}</ul>
            </details>
        </section>
    })
}
