//! The judging desk.

use crate::api;
use crate::components::judge::Judge;
use crate::pages::loaded;
use leptos::prelude::*;
use leptos_meta::Title;

/// The next pair of this visitor.
#[component]
pub(crate) fn JudgePage() -> impl IntoView {
    view! {
        <Title text="Judge" />
        <h1 class="visually-hidden">"Judge"</h1>
        {loaded(api::next_matchup(), |initial| view! { <Judge initial /> })}
    }
}
