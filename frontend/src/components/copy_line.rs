//! A command line with a copy button. The script of every page (`pages/page.js`) handles the click.

use leptos::prelude::*;

#[component]
pub(crate) fn CopyLine(text: String) -> impl IntoView {
    view! {
        <div class="copy-line">
            <code tabindex="0">{text}</code>
            <button type="button" class="quiet" data-copy="">"Copy"</button>
        </div>
    }
}
