//! What happens in the browser only: asking again and again, being awake, and what was typed before.

use leptos::prelude::{Effect, RwSignal, Set, document, set_timeout};
use leptos::task::spawn_local;
use std::ops::ControlFlow;
use std::time::Duration;
use wasm_bindgen::JsValue;

/// Calls `ask`, waits for it, waits `period`, and so on until it breaks. A hidden page asks nothing.
pub(crate) fn poll<Ask, Asking>(period: Duration, ask: Ask)
where
    Ask: Fn() -> Asking + Clone + 'static,
    Asking: Future<Output = ControlFlow<()>> + 'static,
{
    // Effects do not run on the server.
    Effect::new(move |_| again(period, ask.clone()));
}

fn again<Ask, Asking>(period: Duration, ask: Ask)
where
    Ask: Fn() -> Asking + Clone + 'static,
    Asking: Future<Output = ControlFlow<()>> + 'static,
{
    set_timeout(
        move || {
            spawn_local(async move {
                if document().hidden() || ask().await.is_continue() {
                    again(period, ask);
                }
            });
        },
        period,
    );
}

/// True once the browser has taken the island over: until then its forms post as without JavaScript.
pub(crate) fn awake() -> RwSignal<bool> {
    let awake = RwSignal::new(false);
    Effect::new(move |_| awake.set(true));
    awake
}

/// What stands in the field of this name: what a person typed before the island woke, or what the server wrote.
/// Without this the waking island would write its own idea over it.
pub(crate) fn typed(name: &str, written: &str) -> String {
    let value = property(&format!("[name=\"{name}\"]"), "value").and_then(|value| value.as_string());
    value.unwrap_or_else(|| written.to_owned())
}

/// Whether the box with this `data-box` is ticked, as `typed` tells of text.
pub(crate) fn ticked(box_name: &str, written: bool) -> bool {
    property(&format!("[data-box=\"{box_name}\"]"), "checked")
        .and_then(|value| value.as_bool())
        .unwrap_or(written)
}

/// A property of the first element that a selector finds; none on the server, which has no page.
fn property(selector: &str, name: &str) -> Option<JsValue> {
    if cfg!(not(feature = "hydrate")) {
        return None;
    }
    let element = document().query_selector(selector).ok()??;
    js_sys::Reflect::get(&element, &name.into()).ok()
}
