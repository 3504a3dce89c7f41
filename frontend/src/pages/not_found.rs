//! No such page.

use crate::pages::Head;
use axum::http::StatusCode;
use leptos::prelude::*;

/// Says so, under the right status.
#[component]
pub(crate) fn NotFound() -> impl IntoView {
    if let Some(page) = use_context::<leptos_axum::ResponseOptions>() {
        page.set_status(StatusCode::NOT_FOUND);
    }
    view! {
        <Head title="No such page" lead="The address leads nowhere. The pages there are stand above." />
        <p><a href="/runs">"See the runs"</a></p>
    }
}
