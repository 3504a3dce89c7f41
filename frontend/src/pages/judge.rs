//! The page where raters compare images.

use crate::api;
use crate::components::judge::Judge;
use crate::pages::layout::loaded;
use crate::pages::questions::{Questions, selected};
use domain::api::{NextMatchup, judge_page};
use domain::preference::Question;
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;

/// The visitor's next matchup for the selected question and models.
#[component]
pub(crate) fn JudgePage() -> impl IntoView {
    let question = selected();
    let models = use_query_map().with_untracked(|fields| fields.get("models").unwrap_or_default());
    let call = async move { api::next_matchup(question, &models).await };
    view! {
        <Title text="Judge" />
        <h1 class="visually-hidden">"Judge"</h1>
        {loaded(call, move |initial| desk(question, initial))}
    }
}

fn desk(question: Question, initial: NextMatchup) -> impl IntoView {
    let models = initial.models.clone();
    let is_waiting = initial.matchup.is_none()
        && initial.drawing.as_ref().is_some_and(|drawing| !drawing.state.is_final());
    view! {
        <Questions address=move |question: Question| judge_page(question, &models) current=question />
        {scope(&initial.models)}
        // Outside the island, whose markup must be the same in the browser.
        {is_waiting.then(|| view! { <noscript><meta http-equiv="refresh" content="5" /></noscript> })}
        <Judge initial />
    }
}

/// Which models the page is restricted to, and the way to restrict it.
fn scope(models: &[String]) -> impl IntoView + use<> {
    match models {
        [] => view! { <p class="scope soft"><a href="/judge/compare">"Judge two models"</a></p> }.into_any(),
        [model] => view! {
            <p class="scope soft">"Only images of "<b>{model.clone()}</b>" · "<a href="/judge">"All models"</a></p>
        }
        .into_any(),
        models => view! {
            <p class="scope soft">
                "Only images of "<b>{models.join(", ")}</b>", sides at random · "<a href="/judge">"All models"</a>
            </p>
        }
        .into_any(),
    }
}
