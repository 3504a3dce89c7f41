//! Empty states and error notes.

use crate::api::Failure;
use leptos::prelude::*;

/// An empty state. `children` say how to fill it.
#[component]
pub(crate) fn Empty(#[prop(into)] title: String, children: Children) -> impl IntoView {
    view! {
        <div class="empty">
            <svg viewBox="0 0 64 40" aria-hidden="true">
                <rect x="3" y="7" width="26" height="26" rx="4" class="mark-full" />
                <rect x="35" y="7" width="26" height="26" rx="4" class="mark-open" />
            </svg>
            <h2>{title}</h2>
            {children()}
        </div>
    }
}

/// The message of a failed call, with its problems by field.
#[component]
pub(crate) fn FailureNote(failure: Failure) -> impl IntoView {
    let fields = failure
        .detail
        .fields
        .into_iter()
        .map(|problem| view! { <li><code>{problem.field}</code>" "{problem.message}</li> })
        .collect_view();
    view! {
        <div class="note bad" role="alert">
            <p>{failure.detail.message}</p>
            <ul>{fields}</ul>
        </div>
    }
}
