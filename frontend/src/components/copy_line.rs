//! A command line with a copy button.

use leptos::prelude::*;
use std::time::Duration;

#[island]
pub(crate) fn CopyLine(text: String) -> impl IntoView {
    let copied = RwSignal::new(false);
    let line = text.clone();
    let copy = move |_| {
        // The promise is not awaited: if the browser refuses, the line can still be selected by hand.
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
