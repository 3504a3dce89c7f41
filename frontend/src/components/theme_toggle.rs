//! The button that switches between the light and the dark theme. The choice is stored in the browser; a script in the
//! page's head applies it before the first paint.

use leptos::prelude::*;

/// The key in the browser's local storage.
pub(crate) const STORAGE_KEY: &str = "theme";

#[island]
pub(crate) fn ThemeToggle() -> impl IntoView {
    let toggle = move |_| {
        let Some(root) = document().document_element() else { return };
        let dark = match root.get_attribute("data-theme") {
            Some(theme) => theme == "dark",
            None => window()
                .match_media("(prefers-color-scheme: dark)")
                .ok()
                .flatten()
                .is_some_and(|query| query.matches()),
        };
        let theme = if dark { "light" } else { "dark" };
        // Local storage may be unavailable, as in private windows: the choice then lasts as long as the page.
        let _ = root.set_attribute("data-theme", theme);
        if let Ok(Some(storage)) = window().local_storage() {
            let _ = storage.set_item(STORAGE_KEY, theme);
        }
    };
    view! {
        <button type="button" class="icon-button" on:click=toggle aria-label="Switch between light and dark theme" title="Light or dark theme">
            <svg viewBox="0 0 20 20" aria-hidden="true">
                <circle cx="10" cy="10" r="7" fill="none" stroke="currentColor" stroke-width="1.6" />
                <path d="M10 3a7 7 0 0 1 0 14z" fill="currentColor" />
            </svg>
        </button>
    }
}
