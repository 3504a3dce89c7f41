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
    /// Only pairs whose label the bundled world's rule disputes.
    disputed: bool,
}

impl Search {
    /// The query of the same search from another index on.
    fn fields(&self, from: u64) -> String {
        let Self { prompt, model, disputed, .. } = self;
        let disputed = if *disputed { "&disputed=true" } else { "" };
        format!("from={from}&prompt={}&model={}{disputed}", query(prompt), query(model))
    }

    /// The address of its page.
    fn address(&self, from: u64) -> String {
        format!("/datasets/{}?{}", query(&self.name), self.fields(from))
    }

    /// Whether every pair matches.
    fn is_all(&self) -> bool {
        self.prompt.is_empty() && self.model.is_empty() && !self.disputed
    }
}

/// Pairs of a page.
const PER_PAGE: u64 = 24;

#[component]
pub(crate) fn DatasetPage() -> impl IntoView {
    let name = use_params_map().with_untracked(|params| params.get("name").unwrap_or_default());
    let search = use_query_map().with_untracked(|fields| {
        let text = |field: &str| fields.get(field).unwrap_or_default();
        Search {
            name,
            from: text("from").trim().parse().unwrap_or(0),
            prompt: text("prompt"),
            model: text("model"),
            disputed: text("disputed") == "true",
        }
    });
    let call = {
        let search = search.clone();
        async move { api::dataset_pairs(&search.name, &search.fields(search.from)).await }
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
    let previous = (search.from > 0 && search.is_all()).then(|| {
        let from = search.from.saturating_sub(PER_PAGE);
        view! { <a class="button" rel="prev" href=search.address(from)>"Previous page"</a> }
    });
    let next =
        next.map(|next| view! { <a class="button" rel="next" href=search.address(next)>"Next page"</a> });
    let found = (!search.is_all()).then(|| {
        let text =
            format!("{} of the {} pairs read from pair {} on match.", cards.len(), report.pairs, search.from);
        view! { <p class="soft" role="status">{text}</p> }
    });
    let statistics = (search.name != "votes")
        .then(|| view! { " · "<a href=format!("/datasets/{}/report", query(&search.name))>"Statistics of its labels and images"</a> });
    let (title, description) = (dataset.name, dataset.description);
    view! {
        <Head title>
            <p class="lead"><a href="/datasets">"Datasets"</a>" · "{description}{rows}{statistics}</p>
        </Head>
        <form class="filter" method="get" action=format!("/datasets/{}", query(&search.name))>
            <label>"Prompt contains"<input name="prompt" value=search.prompt.clone() /></label>
            <label>"Model name contains"<input name="model" value=search.model.clone() /></label>
            <label>"From pair"<input name="from" inputmode="numeric" pattern="[0-9]*" value=search.from.to_string() /></label>
            <label class="check"><input type="checkbox" name="disputed" value="true" checked=search.disputed />"The rule prefers the loser"</label>
            <button class="primary">"Show"</button>
        </form>
        {found}
        {if is_empty { empty.into_any() } else { view! { <div class="pair-cards">{cards}</div> }.into_any() }}
        <nav class="pager" aria-label="Pages">{first}{previous}{next}</nav>
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
