//! The pages. `pages` are drawn on the server alone; `components` hold what both sides draw, among it the
//! islands: the living parts that the browser takes over. Nothing here knows a database.

#![expect(unreachable_pub, reason = "the component macros write `pub`, whatever visibility is asked for")]
// A page is one deeply nested type, and generating its code on the server asks deeper than the default.
#![recursion_limit = "256"]

#[cfg(not(any(feature = "ssr", feature = "hydrate")))]
compile_error!(
    "build the pages with --features ssr (the server's half) or --features hydrate (the browser's)"
);

mod api;
mod chart;
mod components;
mod curve;
mod format;
#[cfg(feature = "ssr")]
mod pages;

#[cfg(feature = "ssr")]
pub use api::Api;
#[cfg(feature = "ssr")]
pub use pages::{App, shell};

/// Called by the page once the bundle has loaded: wakes the islands.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_islands();
}
