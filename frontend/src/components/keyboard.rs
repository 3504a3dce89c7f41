//! Keyboard shortcuts of a page.

use leptos::web_sys::{HtmlElement, KeyboardEvent};
use wasm_bindgen::JsCast;

/// The pressed key, unless a form field that takes keys has the focus, a modifier is held, or the key repeats.
pub(crate) fn shortcut_key(event: &KeyboardEvent) -> Option<String> {
    let in_field =
        event.target().and_then(|target| target.dyn_into::<HtmlElement>().ok()).is_some_and(|element| {
            match element.tag_name().as_str() {
                "INPUT" => element.get_attribute("type").as_deref() != Some("checkbox"),
                name => matches!(name, "TEXTAREA" | "SELECT"),
            }
        });
    let modified = event.ctrl_key() || event.alt_key() || event.meta_key();
    (!in_field && !modified && !event.repeat()).then(|| event.key())
}
