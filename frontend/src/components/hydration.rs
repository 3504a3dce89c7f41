//! Hydration of islands: when it has happened, and what the document has then.

use leptos::prelude::{Effect, RwSignal, Set, document};
use wasm_bindgen::JsValue;

/// True once the browser has hydrated the island. Until then its forms submit as without JavaScript.
pub(crate) fn is_hydrated() -> RwSignal<bool> {
    let hydrated = RwSignal::new(false);
    // Effects do not run on the server.
    Effect::new(move |_| hydrated.set(true));
    hydrated
}

/// A property of the first element that matches a selector; none on the server, which has no document.
pub(crate) fn property(selector: &str, name: &str) -> Option<JsValue> {
    if cfg!(not(feature = "hydrate")) {
        return None;
    }
    let element = document().query_selector(selector).ok()??;
    js_sys::Reflect::get(&element, &name.into()).ok()
}
