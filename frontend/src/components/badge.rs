//! Badges: the state of a job, the objective of a model.

#[cfg(feature = "ssr")]
use crate::format;
use domain::job::JobState;
use leptos::prelude::*;

#[component]
pub(crate) fn StateBadge(#[prop(into)] state: Signal<JobState>) -> impl IntoView {
    view! { <span class=move || format!("badge state-{}", state.get())>{move || state.get().to_string()}</span> }
}

/// The objective that a model was trained with; `kind` is the word of `Objective::kind`.
#[cfg(feature = "ssr")]
#[component]
pub(crate) fn ObjectiveBadge(#[prop(into)] kind: String) -> impl IntoView {
    view! { <span class="badge objective">{format::objective(&kind).to_owned()}</span> }
}
