//! Sample images of a run: the same prompts and seeds, generated with its weights at several steps. Each prompt has a
//! slider over steps; another step or another run can be laid over it.

use crate::api::image_url;
use crate::components::keyboard::shortcut_key;
use crate::components::poll::poll;
use domain::api::RunSample;
use domain::id::ImageId;
use leptos::ev;
use leptos::prelude::*;
use leptos::web_sys::{Element, PointerEvent};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::time::Duration;
use wasm_bindgen::JsCast;

/// Samples of another run, to compare with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OtherSamples {
    pub(crate) name: String,
    pub(crate) samples: Vec<RunSample>,
}

/// The images of one prompt, in order of step.
#[derive(Clone, Debug, PartialEq)]
struct Strip {
    prompt: String,
    frames: Vec<(i64, ImageId)>,
}

/// The strips of all prompts, in the order in which each step draws them.
fn strips(samples: &[RunSample]) -> Vec<Strip> {
    let mut strips: Vec<Strip> = Vec::new();
    for sample in samples {
        // A prompt may be given twice: each of its places is a strip.
        let free = |strip: &&mut Strip| {
            strip.prompt == sample.prompt && strip.frames.last().is_none_or(|(step, _)| *step < sample.step)
        };
        let frame = (sample.step, sample.image_id);
        match strips.iter_mut().find(free) {
            Some(strip) => strip.frames.push(frame),
            None => strips.push(Strip { prompt: sample.prompt.clone(), frames: vec![frame] }),
        }
    }
    strips
}

/// The last frame at or before a step; the first one if there is none.
fn frame_at(frames: &[(i64, ImageId)], step: i64) -> Option<(i64, ImageId)> {
    let after = frames.partition_point(|frame| frame.0 <= step);
    frames.get(after.max(1) - 1).copied()
}

/// What is laid over each image.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Over {
    Nothing,
    /// The image of the same prompt at this step.
    Step(i64),
    /// The image of the other run at the same step.
    Run,
}

/// What all strips share.
#[derive(Clone, Copy)]
struct Gallery {
    strips: Memo<Vec<Strip>>,
    other: StoredValue<Option<(String, Vec<Strip>)>>,
    /// The chosen step of each strip; the newest one without a choice.
    chosen: RwSignal<Vec<Option<i64>>>,
    playing: RwSignal<Option<usize>>,
    over: RwSignal<Over>,
    flicker: RwSignal<bool>,
    actual_size: RwSignal<bool>,
    /// How much of each image is covered, in percent.
    cut: RwSignal<f64>,
}

impl Gallery {
    /// The shown frame of a strip, with its index.
    fn shown(self, strip: usize) -> Option<(usize, i64, ImageId)> {
        self.strips.with(|strips| {
            let frames = &strips.get(strip)?.frames;
            let chosen = self.chosen.with(|chosen| chosen.get(strip).copied().flatten());
            let index = match chosen {
                Some(step) => frames.partition_point(|frame| frame.0 <= step).max(1) - 1,
                None => frames.len().checked_sub(1)?,
            };
            frames.get(index).map(|(step, image)| (index, *step, *image))
        })
    }

    /// The frame that is laid over a strip, with its label.
    fn covering(self, strip: usize) -> Option<(String, ImageId)> {
        let (_, step, _) = self.shown(strip)?;
        match self.over.get() {
            Over::Nothing => None,
            Over::Step(step) => {
                let frame = self.strips.with(|strips| frame_at(&strips.get(strip)?.frames, step))?;
                Some((format!("step {}", frame.0), frame.1))
            }
            Over::Run => self.other.with_value(|other| {
                let (name, others) = other.as_ref()?;
                let prompt =
                    self.strips.with(|strips| strips.get(strip).map(|strip| strip.prompt.clone()))?;
                let same = others.iter().find(|strip| strip.prompt == prompt)?;
                let frame = frame_at(&same.frames, step)?;
                Some((format!("{name}, step {}", frame.0), frame.1))
            }),
        }
    }

    fn choose(self, strip: usize, step: Option<i64>) {
        self.chosen.update(|chosen| {
            if chosen.len() <= strip {
                chosen.resize(strip + 1, None);
            }
            chosen[strip] = step;
        });
    }

    /// Moves a strip by one frame. `wraps`: from the last to the first.
    fn move_by(self, strip: usize, by: isize, wraps: bool) {
        let Some((index, _, _)) = untrack(|| self.shown(strip)) else { return };
        let frames = self.strips.with_untracked(|strips| strips[strip].frames.clone());
        let next = match index.saturating_add_signed(by) {
            next if next >= frames.len() && wraps => 0,
            next => next.min(frames.len() - 1),
        };
        self.choose(strip, Some(frames[next].0));
    }
}

/// Sample images, large, each with a slider over steps. Shows the newest step until a slider is moved.
#[component]
pub(crate) fn RunSamples(samples: RwSignal<Vec<RunSample>>, other: Option<OtherSamples>) -> impl IntoView {
    let has_other = other.is_some();
    let gallery = Gallery {
        strips: Memo::new(move |_| samples.with(|samples| strips(samples))),
        other: StoredValue::new(other.map(|other| (other.name, strips(&other.samples)))),
        chosen: RwSignal::new(Vec::new()),
        playing: RwSignal::new(None),
        over: RwSignal::new(if has_other { Over::Run } else { Over::Nothing }),
        flicker: RwSignal::new(false),
        actual_size: RwSignal::new(false),
        cut: RwSignal::new(50.0),
    };
    let count = Memo::new(move |_| gallery.strips.with(Vec::len));
    let move_all = move |by: isize| {
        for strip in 0..count.get_untracked() {
            gallery.move_by(strip, by, false);
        }
    };
    Effect::new(move |_| {
        let listener =
            window_event_listener(ev::keydown, move |event| match shortcut_key(&event).as_deref() {
                Some("ArrowLeft") => move_all(-1),
                Some("ArrowRight") => move_all(1),
                _ => {}
            });
        on_cleanup(move || listener.remove());
    });
    poll(Duration::from_millis(600), move || async move {
        if let Some(strip) = gallery.playing.get_untracked() {
            gallery.move_by(strip, 1, true);
        }
        ControlFlow::Continue(())
    });
    view! {
        <Show when=move || count.get() != 0 fallback=|| ()>
            <section aria-labelledby="samples">
                <header class="section-head">
                    <h2 id="samples">"Sample images"</h2>
                    <Tools gallery />
                </header>
                <div class="gallery" class:actual=move || gallery.actual_size.get()>
                    {move || (0..count.get()).map(|strip| view! { <StripView strip gallery /> }.into_any()).collect_view()}
                </div>
            </section>
        </Show>
    }
}

/// What is laid over the images, and how.
#[component]
fn Tools(gallery: Gallery) -> impl IntoView {
    let steps = Memo::new(move |_| {
        gallery.strips.with(|strips| {
            let mut steps: Vec<i64> =
                strips.iter().flat_map(|strip| &strip.frames).map(|frame| frame.0).collect();
            steps.sort_unstable();
            steps.dedup();
            steps
        })
    });
    let other = gallery.other.with_value(|other| other.as_ref().map(|(name, _)| name.clone()));
    let choose = move |text: String| {
        gallery.over.set(match text.as_str() {
            "" => Over::Nothing,
            "run" => Over::Run,
            step => step.parse().map_or(Over::Nothing, Over::Step),
        });
    };
    let is_over = Memo::new(move |_| gallery.over.get() != Over::Nothing);
    let chosen_run = gallery.over.get_untracked() == Over::Run;
    view! {
        <div class="gallery-tools">
            <label>"Lay over " <select on:change=move |event| choose(event_target_value(&event))>
                <option value="">"nothing"</option>
                {other.map(|name| view! { <option value="run" selected=chosen_run>{format!("{name}, same step")}</option> })}
                {move || steps.get().into_iter().map(|step| view! { <option value=step.to_string()>{format!("step {step}")}</option> }).collect_view()}
            </select></label>
            <Show when=move || is_over.get() fallback=|| ()>
                <label class="slider">"Wipe" <input type="range" min="0" max="100" aria-label="Wipe position"
                    prop:value=move || gallery.cut.get().to_string()
                    disabled=move || gallery.flicker.get()
                    on:input=move |event| gallery.cut.set(event_target_value(&event).parse().unwrap_or(50.0)) /></label>
                <label class="check"><input type="checkbox" prop:checked=move || gallery.flicker.get()
                    on:change=move |event| gallery.flicker.set(event_target_checked(&event)) />"Flicker"</label>
            </Show>
            <label class="check"><input type="checkbox" prop:checked=move || gallery.actual_size.get()
                on:change=move |event| gallery.actual_size.set(event_target_checked(&event)) />"1:1"</label>
            <span class="keys"><kbd>"←"</kbd><kbd>"→"</kbd></span>
        </div>
    }
}

/// The samples of a prompt, with a slider over their steps.
#[component]
fn StripView(strip: usize, gallery: Gallery) -> impl IntoView {
    let prompt = gallery.strips.with_untracked(|strips| strips[strip].prompt.clone());
    let shown = Memo::new(move |_| gallery.shown(strip));
    let covering = Memo::new(move |_| gallery.covering(strip));
    let last = move || {
        gallery.strips.with(|strips| strips.get(strip).map_or(0, |strip| strip.frames.len())).max(1) - 1
    };
    let step = move || shown.get().map(|shown| shown.1);
    let is_playing = move || gallery.playing.get() == Some(strip);
    let wipe = move |event: PointerEvent| {
        let area = event.current_target().and_then(|target| target.dyn_into::<Element>().ok());
        if let Some(area) = area.filter(|_| !gallery.flicker.get_untracked()) {
            let area = area.get_bounding_client_rect();
            let cut = (f64::from(event.client_x()) - area.left()) / area.width() * 100.0;
            gallery.cut.set(cut.clamp(0.0, 100.0).round());
        }
    };
    let description = format!("{prompt}, at the chosen step");
    let label = format!("Step of the image of: {prompt}");
    let play = format!("Play the steps of: {prompt}");
    // What the server renders, before the browser sets properties.
    let (first_index, first_last) = (untrack(|| shown.get().map_or(0, |shown| shown.0)), untrack(last));
    view! {
        <figure class="strip">
            <div class="stage" on:pointermove=wipe>
                <img src=move || shown.get().map(|shown| image_url(shown.2)) alt=description />
                {move || covering.get().map(|(label, image)| view! {
                    <img class="over" class:flicker=move || gallery.flicker.get() src=image_url(image) alt=label.clone()
                        style=move || format!("--cut: {}%", if gallery.flicker.get() { 100.0 } else { gallery.cut.get() }) />
                    <span class="tag">{label}</span>
                })}
            </div>
            <div class="strip-tools">
                <button type="button" class="quiet" aria-pressed=move || is_playing().to_string()
                    aria-label=play
                    on:click=move |_| gallery.playing.set((!is_playing()).then_some(strip))>
                    {move || if is_playing() { "❚❚" } else { "▶" }}
                </button>
                <input type="range" min="0" step="1" aria-label=label
                    max=move || last().max(first_last).to_string()
                    value=first_index.to_string()
                    prop:value=move || shown.get().map_or(0, |shown| shown.0).to_string()
                    aria-valuetext=move || step().map(|step| format!("step {step}"))
                    on:input=move |event| {
                        let index: usize = event_target_value(&event).parse().unwrap_or(0);
                        let frame = gallery.strips.with_untracked(|strips| strips[strip].frames.get(index).copied());
                        gallery.choose(strip, frame.map(|frame| frame.0));
                    } />
                <span>"Step " <b>{step}</b></span>
            </div>
            <figcaption>{prompt}</figcaption>
        </figure>
    }
}

#[cfg(test)]
mod tests {
    use super::{frame_at, strips};
    use domain::api::RunSample;

    #[test]
    fn each_place_of_a_prompt_is_a_strip() {
        let sample = |n: u128, step: i64, prompt: &str| RunSample {
            image_id: format!("{n:032x}").parse().expect("an id"),
            step,
            prompt: prompt.to_owned(),
        };
        let samples = [
            sample(1, 0, "a"),
            sample(2, 0, "b"),
            sample(3, 0, "a"),
            sample(4, 10, "a"),
            sample(5, 10, "b"),
            sample(6, 10, "a"),
        ];
        let strips = strips(&samples);
        let seen: Vec<(&str, Vec<u128>)> = strips
            .iter()
            .map(|strip| {
                (strip.prompt.as_str(), strip.frames.iter().map(|frame| frame.1.0.as_u128()).collect())
            })
            .collect();
        assert_eq!(seen, [("a", vec![1, 4]), ("b", vec![2, 5]), ("a", vec![3, 6])]);
        let at = |step| frame_at(&strips[0].frames, step).map(|frame| frame.0);
        assert_eq!((at(-1), at(9), at(10), frame_at(&[], 1)), (Some(0), Some(0), Some(10), None));
    }
}
