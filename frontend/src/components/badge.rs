//! Small marks: a job's state, a model's objective.

use crate::format;
use domain::job::JobState;
use leptos::prelude::*;

/// Where a job stands.
#[component]
pub(crate) fn StateBadge(#[prop(into)] state: Signal<JobState>) -> impl IntoView {
    view! { <span class=move || format!("badge state-{}", state.get())>{move || state.get().to_string()}</span> }
}

/// How a model was trained.
#[component]
pub(crate) fn ObjectiveBadge(#[prop(into)] kind: String) -> impl IntoView {
    view! { <span class="badge objective">{format::objective(&kind).to_owned()}</span> }
}
