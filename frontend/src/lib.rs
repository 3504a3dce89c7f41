//! The pages. `pages` holds the routes, which only the server renders. `components` holds what both sides compile,
//! including the islands: components that the browser hydrates and keeps up to date.

#![expect(unreachable_pub, reason = "the component macros write `pub`, even for private components")]
// A page is one deeply nested type, and the server's code generation exceeds the default limit.
#![recursion_limit = "256"]

#[cfg(not(any(feature = "ssr", feature = "hydrate")))]
compile_error!(
    "select a feature: `ssr` builds the pages for the server, `hydrate` the bundle for the browser"
);

mod api;
mod chart;
mod chart_drawing;
mod chart_view;
mod components;
mod curve;
mod format;
mod meaning;
#[cfg(feature = "ssr")]
mod pages;
mod run_colour;

#[cfg(feature = "ssr")]
pub use api::Api;
#[cfg(feature = "ssr")]
pub use pages::{App, Bundle, EnteredRun, Help, HelpPage, RefusedFields, RefusedForm, shell};

/// Entry point of the browser bundle: hydrates every island of the page.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_islands();
}
