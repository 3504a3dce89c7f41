//! The page where raters compare images.

use crate::api;
use crate::components::judge::Judge;
use crate::pages::layout::loaded;
use crate::pages::questions::{Questions, selected};
use leptos::prelude::*;
use leptos_meta::Title;

/// The visitor's next matchup for the selected question.
#[component]
pub(crate) fn JudgePage() -> impl IntoView {
    let question = selected();
    view! {
        <Title text="Judge" />
        <h1 class="visually-hidden">"Judge"</h1>
        <Questions page="/judge" current=question />
        {loaded(api::next_matchup(question), |initial| view! { <Judge initial /> })}
    }
}
