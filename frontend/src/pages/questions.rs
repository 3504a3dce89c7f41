//! Selection of the question that raters answer.

use domain::preference::Question;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

/// The question in the URL's query; the default if it names none.
pub(super) fn selected() -> Question {
    let named = use_query_map().with_untracked(|fields| fields.get("question"));
    named.and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Links to the same page for each question. `address` returns the address of a question.
#[component]
pub(super) fn Questions<Address>(address: Address, current: Question) -> impl IntoView
where
    Address: Fn(Question) -> String,
{
    let links = Question::ALL.into_iter().map(|question| {
        let current = (question == current).then_some("page");
        view! { <a class="button" href=address(question) aria-current=current>{question.label()}</a> }
    });
    view! { <nav class="pager questions" aria-label="Questions">{links.collect_view()}</nav> }
}
