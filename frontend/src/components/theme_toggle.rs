//! The button that switches between the light and the dark theme. The script of every page (`pages/page.js`) handles the
//! click, stores the choice in the browser, and applies it before the first paint.

use leptos::prelude::*;

#[component]
pub(crate) fn ThemeToggle() -> impl IntoView {
    view! {
        <button type="button" class="icon-button" data-theme-toggle="" aria-label="Switch between light and dark theme" title="Light or dark theme">
            <svg viewBox="0 0 20 20" aria-hidden="true">
                <circle cx="10" cy="10" r="7" fill="none" stroke="currentColor" stroke-width="1.6" />
                <path d="M10 3a7 7 0 0 1 0 14z" fill="currentColor" />
            </svg>
        </button>
    }
}
