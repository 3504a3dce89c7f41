//! Sample images of a run: the same prompts and seeds, generated with its weights at several steps.

use crate::api::image_url;
use crate::components::keyboard::shortcut_key;
use domain::api::RunSample;
use leptos::ev;
use leptos::prelude::*;

/// The steps that have samples, ascending.
fn steps(samples: &[RunSample]) -> Vec<i64> {
    let mut steps: Vec<i64> = samples.iter().map(|sample| sample.step).collect();
    steps.sort_unstable();
    steps.dedup();
    steps
}

/// Sample images with a slider over steps. Shows the newest step until the slider is moved.
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
            window_event_listener(ev::keydown, move |event| match shortcut_key(&event).as_deref() {
                Some("ArrowLeft") => move_by(-1),
                Some("ArrowRight") => move_by(1),
                _ => {}
            });
        on_cleanup(move || listener.remove());
    });
    let has_samples = move || samples.with(|samples| !samples.is_empty());
    view! {
        <Show when=has_samples fallback=|| ()>
            <section aria-labelledby="samples">
                <header class="section-head">
                    <h2 id="samples">"Sample images"</h2>
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
            <img src=address alt=sample.prompt.clone() />
            <figcaption>{sample.prompt.clone()}</figcaption>
        </figure>
    }
}
