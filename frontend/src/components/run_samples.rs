//! The same prompts and seeds, imaged by the run's weights as they change.

use crate::api::image_url;
use domain::api::RunSample;
use leptos::ev;
use leptos::prelude::*;
use leptos::web_sys::{HtmlElement, KeyboardEvent};
use wasm_bindgen::JsCast;

fn steps(samples: &[RunSample]) -> Vec<i64> {
    let mut steps: Vec<i64> = samples.iter().map(|sample| sample.step).collect();
    steps.sort_unstable();
    steps.dedup();
    steps
}

/// Sample images with a slider over steps. Follows the newest until somebody moves it.
#[component]
pub(crate) fn RunSamples(samples: RwSignal<Vec<RunSample>>) -> impl IntoView {
    let chosen = RwSignal::new(None::<usize>);
    let steps = Memo::new(move |_| samples.with(|samples| steps(samples)));
    let index = Memo::new(move |_| {
        let last = steps.with(Vec::len).saturating_sub(1);
        chosen.get().map_or(last, |chosen| chosen.min(last))
    });
    let shown = move || {
        let step = steps.with(|steps| steps.get(index.get()).copied());
        samples.with(|samples| {
            samples.iter().filter(|sample| Some(sample.step) == step).cloned().map(image).collect_view()
        })
    };
    let move_by = move |by: isize| {
        let last = steps.with_untracked(Vec::len).saturating_sub(1);
        chosen.set(Some(index.get_untracked().saturating_add_signed(by).min(last)));
    };
    Effect::new(move |_| {
        let listener =
            window_event_listener(ev::keydown, move |event| match key_for_page(&event).as_deref() {
                Some("ArrowLeft") => move_by(-1),
                Some("ArrowRight") => move_by(1),
                _ => {}
            });
        on_cleanup(move || listener.remove());
    });
    let when_some = move || samples.with(|samples| !samples.is_empty());
    view! {
        <Show when=when_some fallback=|| ()>
            <section aria-labelledby="samples">
                <header class="section-head">
                    <h2 id="samples">"Samples"</h2>
                    <label class="slider wide">
                        <span>"Step " <b>{move || steps.with(|steps| steps.get(index.get()).copied())}</b></span>
                        <input
                            type="range" min="0" step="1"
                            max=move || steps.with(Vec::len).saturating_sub(1).to_string()
                            prop:value=move || index.get().to_string()
                            aria-label="Step of the sample images"
                            on:input=move |event| chosen.set(event_target_value(&event).parse().ok())
                        />
                        <span class="keys"><kbd>"←"</kbd><kbd>"→"</kbd></span>
                    </label>
                </header>
                <div class="images">{shown}</div>
            </section>
        </Show>
    }
}

fn image(sample: RunSample) -> impl IntoView {
    let address = image_url(sample.image_id);
    view! {
        <figure class="image">
            <img src=address alt=sample.prompt.clone() width="64" height="64" />
            <figcaption>{sample.prompt.clone()}</figcaption>
        </figure>
    }
}

/// The key, unless it is meant for a field or the browser.
pub(crate) fn key_for_page(event: &KeyboardEvent) -> Option<String> {
    let in_field = event
        .target()
        .and_then(|target| target.dyn_into::<HtmlElement>().ok())
        .is_some_and(|element| matches!(element.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT"));
    let modified = event.ctrl_key() || event.alt_key() || event.meta_key();
    (!in_field && !modified && !event.repeat()).then(|| event.key())
}
