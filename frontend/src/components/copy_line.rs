//! A command line with a button that copies it.

use leptos::prelude::*;
use std::time::Duration;

/// The line and its button.
#[island]
pub(crate) fn CopyLine(text: String) -> impl IntoView {
    let copied = RwSignal::new(false);
    let line = text.clone();
    let copy = move |_| {
        // The promise needs no waiting: a browser that refuses leaves the line there to select.
        let _ = window().navigator().clipboard().write_text(&text);
        copied.set(true);
        set_timeout(move || copied.set(false), Duration::from_millis(1500));
    };
    view! {
        <div class="copy-line">
            <code tabindex="0">{line}</code>
            <button type="button" class="quiet" on:click=copy>
                {move || if copied.get() { "Copied" } else { "Copy" }}
            </button>
        </div>
    }
}
