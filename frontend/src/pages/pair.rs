//! One pair of a dataset.

use crate::api;
use crate::format::query;
use crate::pages::layout::{Head, loaded};
use domain::api::DatasetPair;
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;

#[component]
pub(crate) fn PairPage() -> impl IntoView {
    let (name, index) = use_params_map().with_untracked(|params| {
        (params.get("name").unwrap_or_default(), params.get("index").unwrap_or_default())
    });
    // An index that is not a number is answered like one beyond the end: not found.
    let index = index.parse().unwrap_or(u64::MAX);
    let dataset = name.clone();
    loaded(async move { api::dataset_pair(&name, index).await }, move |pair| page(&dataset, &pair))
}

fn page(dataset: &str, pair: &DatasetPair) -> impl IntoView + use<> {
    let [winner, loser] = figures(pair, true);
    let link = |index: Option<u64>, label: &'static str| {
        index.map(|index| {
            view! { <a class="button" href=format!("/datasets/{}/{index}", query(dataset))>{label}</a> }
        })
    };
    let previous = link(pair.index.checked_sub(1), "Previous");
    let next = link(pair.index.checked_add(1), "Next");
    let alone = loser.is_none();
    let (address, name) = (format!("/datasets/{}", query(dataset)), dataset.to_owned());
    let source = pair.source.clone();
    view! {
        <Head title=pair.prompt.clone()>
            <p class="lead">
                <a href="/datasets">"Datasets"</a>" · "<a href=address>{name}</a>" · "{source}
            </p>
        </Head>
        <div class="versus large" class:alone=alone>{winner}{loser}</div>
        <nav class="pager" aria-label="Pairs">{previous}{next}</nav>
    }
}

/// Winner and loser with captions, or the only image. `with_models` adds the models that made them.
pub(crate) fn figures(pair: &DatasetPair, with_models: bool) -> [Option<AnyView>; 2] {
    let figure = |url: &String, role: &'static str, model: &Option<String>, won: bool| {
        let model = model.clone().filter(|_| with_models).map(|model| format!(" · {model}"));
        view! {
            <figure class:won=won>
                <img src=url.clone() alt=format!("{role}: {}", pair.prompt) loading="lazy" />
                <figcaption>{role}{model}</figcaption>
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
