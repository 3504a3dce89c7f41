//! One set of pairs, and one pair of it.

use crate::api::{self, Answer};
use crate::components::note::Empty;
use crate::format::query;
use crate::pages::{Head, loaded};
use domain::api::{DatasetPair, DatasetPairs};
use domain::dataset::ReadReport;
use leptos::prelude::*;
use leptos_router::hooks::{use_params_map, use_query_map};

/// What the address asks for.
#[derive(Clone)]
struct Asked {
    name: String,
    from: u64,
    prompt: String,
    model: String,
}

impl Asked {
    fn address(&self, from: u64) -> String {
        let Self { name, prompt, model, .. } = self;
        format!("/datasets/{}?from={from}&prompt={}&model={}", query(name), query(prompt), query(model))
    }
}

/// The set that the path names: its pairs as images, a search, and what was left out.
#[component]
pub(crate) fn DatasetPage() -> impl IntoView {
    let name = use_params_map().with_untracked(|params| params.get("name").unwrap_or_default());
    let asked = use_query_map().with_untracked(|fields| {
        let text = |field: &str| fields.get(field).unwrap_or_default();
        Asked { name, from: text("from").parse().unwrap_or(0), prompt: text("prompt"), model: text("model") }
    });
    let loading = asked.clone();
    loaded(
        async move { api::dataset_pairs(&loading.name, loading.from, &loading.prompt, &loading.model).await },
        move |pairs| draw(pairs, &asked),
    )
}

fn draw(pairs: DatasetPairs, asked: &Asked) -> impl IntoView + use<> {
    let DatasetPairs { dataset, items, next, report } = pairs;
    let rows = dataset.rows.map(|rows| format!(", {rows} rows"));
    let cards = items.into_iter().map(|pair| card(&asked.name, pair)).collect_view();
    let empty = next.is_none().then(|| {
        view! {
            <Empty title="No pair">
                <p>"No pair of the set has what you look for, or every row was left out."</p>
            </Empty>
        }
    });
    let is_empty = cards.is_empty();
    let back =
        (asked.from > 0).then(|| view! { <a class="button" href=asked.address(0)>"From the beginning"</a> });
    let on =
        next.map(|next| view! { <a class="button" rel="next" href=asked.address(next)>"Further pairs"</a> });
    let (title, description) = (dataset.name, dataset.description);
    view! {
        <Head title>
            <p class="lead"><a href="/datasets">"Data"</a>" · "{description}{rows}</p>
        </Head>
        <form class="filter" method="get" action=format!("/datasets/{}", query(&asked.name))>
            <label>"Prompt contains"<input name="prompt" value=asked.prompt.clone() /></label>
            <label>"Model contains"<input name="model" value=asked.model.clone() /></label>
            <button class="primary">"Search"</button>
        </form>
        {if is_empty { empty.into_any() } else { view! { <div class="pair-cards">{cards}</div> }.into_any() }}
        <nav class="pager" aria-label="Pages">{back}{on}</nav>
        {left_out(report)}
    }
}

fn card(set: &str, pair: DatasetPair) -> impl IntoView + use<> {
    let address = format!("/datasets/{}/{}", query(set), pair.index);
    let [winner, loser] = images(&pair, false);
    let alone = loser.is_none();
    view! {
        <a class="pair-card" href=address>
            <div class="versus" class:alone=alone>{winner}{loser}</div>
            <p>{pair.prompt}</p>
            <small>{pair.source}</small>
        </a>
    }
}

/// Winner and loser, with their words.
fn images(pair: &DatasetPair, named: bool) -> [Option<AnyView>; 2] {
    let figure = |url: &String, what: &'static str, model: &Option<String>, won: bool| {
        let model = model.clone().filter(|_| named).map(|model| format!(" · {model}"));
        view! {
            <figure class:won=won>
                <img src=url.clone() alt=format!("{what}: {}", pair.prompt) loading="lazy" />
                <figcaption>{what}{model}</figcaption>
            </figure>
        }
        .into_any()
    };
    let has_loser = pair.loser_url.is_some();
    let first = if has_loser { "Winner" } else { "Image" };
    [
        Some(figure(&pair.winner_url, first, &pair.models[0], has_loser)),
        pair.loser_url.as_ref().map(|url| figure(url, "Loser", &pair.models[1], false)),
    ]
}

/// What gave no pair, and why.
fn left_out(report: ReadReport) -> Option<impl IntoView> {
    if report.dropped.is_empty() {
        return None;
    }
    let counts = report
        .dropped
        .iter()
        .map(|(reason, rows)| view! { <div><dt>{reason.label()}</dt><dd>{*rows}</dd></div> })
        .collect_view();
    let named = report.named.iter().map(|dropped| view! { <li>{dropped.to_string()}</li> }).collect_view();
    Some(view! {
        <section aria-labelledby="left-out">
            <h2 id="left-out">"Left out"</h2>
            <p class="soft">{format!("Of {} rows read so far, {} are pairs.", report.rows, report.pairs)}</p>
            <dl class="facts">{counts}</dl>
            <details class="more"><summary>"The first of each, by row"</summary><ul>{named}</ul></details>
        </section>
    })
}

/// The pair that the path names, as large as there is room.
#[component]
pub(crate) fn PairPage() -> impl IntoView {
    let (name, index) = use_params_map().with_untracked(|params| {
        (params.get("name").unwrap_or_default(), params.get("index").unwrap_or_default())
    });
    // What is no number is no place of a pair.
    let place = index.parse().unwrap_or(u64::MAX);
    let set = name.clone();
    loaded(load(name, place), move |pair| large(&set, &pair))
}

async fn load(name: String, index: u64) -> Answer<DatasetPair> {
    api::dataset_pair(&name, index).await
}

fn large(set: &str, pair: &DatasetPair) -> impl IntoView + use<> {
    let [winner, loser] = images(pair, true);
    let around = |index: Option<u64>, word: &'static str| {
        index.map(
            |index| view! { <a class="button" href=format!("/datasets/{}/{index}", query(set))>{word}</a> },
        )
    };
    let before = around(pair.index.checked_sub(1), "The pair before");
    let after = around(pair.index.checked_add(1), "The next pair");
    let alone = loser.is_none();
    let (above, set, source) = (format!("/datasets/{}", query(set)), set.to_owned(), pair.source.clone());
    view! {
        <Head title=pair.prompt.clone()>
            <p class="lead">
                <a href="/datasets">"Data"</a>" · "<a href=above>{set}</a>" · "{source}
            </p>
        </Head>
        <div class="versus large" class:alone=alone>{winner}{loser}</div>
        <nav class="pager" aria-label="Pairs">
            {before}
            {after}
        </nav>
    }
}
