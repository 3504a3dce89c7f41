//! The page of unknown addresses.

use crate::pages::layout::Head;
use axum::http::StatusCode;
use leptos::prelude::*;
use leptos_axum::ResponseOptions;

/// Sets the status to 404.
#[component]
pub(crate) fn NotFound() -> impl IntoView {
    if let Some(page) = use_context::<ResponseOptions>() {
        page.set_status(StatusCode::NOT_FOUND);
    }
    view! {
        <Head title="Page not found" lead="There is no page at this address." />
        <p><a href="/runs">"Go to Runs"</a></p>
    }
}
