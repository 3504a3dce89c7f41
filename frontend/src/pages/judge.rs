//! The judging desk.

use crate::api;
use crate::components::judge::Judge;
use crate::pages::loaded;
use crate::pages::questions::{Questions, asked};
use leptos::prelude::*;
use leptos_meta::Title;

/// The next pair of this visitor, by the question that the address names.
#[component]
pub(crate) fn JudgePage() -> impl IntoView {
    let question = asked();
    view! {
        <Title text="Judge" />
        <h1 class="visually-hidden">"Judge"</h1>
        <Questions page="/judge" current=question />
        {loaded(api::next_matchup(question), |initial| view! { <Judge initial /> })}
    }
}
