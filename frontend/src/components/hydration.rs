//! Hydration of islands: when it has happened, and what the visitor entered before.

use leptos::prelude::{Effect, RwSignal, Set, document};
use wasm_bindgen::JsValue;

/// True once the browser has hydrated the island. Until then its forms submit as without JavaScript.
pub(crate) fn is_hydrated() -> RwSignal<bool> {
    let hydrated = RwSignal::new(false);
    // Effects do not run on the server.
    Effect::new(move |_| hydrated.set(true));
    hydrated
}

/// The text in the field with this name: what the visitor typed before hydration, or `rendered`, the server's value.
/// Hydrating with the server's value would overwrite what was typed.
pub(crate) fn entered_text(name: &str, rendered: &str) -> String {
    let value = property(&format!("[name=\"{name}\"]"), "value").and_then(|value| value.as_string());
    value.unwrap_or_else(|| rendered.to_owned())
}

/// Whether the checkbox with this `data-box` is checked, in the browser or as the server rendered it.
pub(crate) fn is_checked(data_box: &str, rendered: bool) -> bool {
    property(&format!("[data-box=\"{data_box}\"]"), "checked")
        .and_then(|value| value.as_bool())
        .unwrap_or(rendered)
}

/// A property of the first element that matches a selector; none on the server, which has no document.
pub(crate) fn property(selector: &str, name: &str) -> Option<JsValue> {
    if cfg!(not(feature = "hydrate")) {
        return None;
    }
    let element = document().query_selector(selector).ok()??;
    js_sys::Reflect::get(&element, &name.into()).ok()
}
