//! A progress bar with its numbers.

use leptos::prelude::*;

/// `step` of `steps`, as a bar and as text.
#[component]
pub(crate) fn Progress(#[prop(into)] step: Signal<i64>, #[prop(into)] steps: Signal<i64>) -> impl IntoView {
    view! {
        <span class="progress">
            <progress max=move || steps.get().max(1).to_string() value=move || step.get().to_string()></progress>
            <span>{move || format!("{} / {}", step.get(), steps.get())}</span>
        </span>
    }
}
