//! The fields of the Generate page and the request that they describe.

use crate::components::hydration::entered_text;
use domain::api::GenerateRequest;
use domain::image::Sampler;
use domain::limits::MAX_SEED;
use domain::lora::{LoraUse, parse_uses};
use domain::problem::Problem;
use leptos::prelude::*;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Values of fields that the page's URL sets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct InitialFields {
    pub(crate) prompt: String,
    pub(crate) seed: String,
}

/// The text of every field.
#[derive(Clone, Copy)]
pub(crate) struct Fields {
    pub(crate) prompt: RwSignal<String>,
    pub(crate) negative_prompt: RwSignal<String>,
    pub(crate) seed: RwSignal<String>,
    pub(crate) steps: RwSignal<String>,
    pub(crate) guidance_scale: RwSignal<String>,
    pub(crate) width: RwSignal<String>,
    pub(crate) height: RwSignal<String>,
    pub(crate) sampler: RwSignal<String>,
    pub(crate) lora: RwSignal<String>,
}

impl Fields {
    /// The initial values, or what the visitor entered before the page was hydrated.
    pub(crate) fn new(initial: &InitialFields) -> Self {
        let field = |name: &str, rendered: &str| RwSignal::new(entered_text(name, rendered));
        Self {
            prompt: field("prompt", &initial.prompt),
            negative_prompt: field("negative_prompt", ""),
            seed: field("seed", &initial.seed),
            steps: field("steps", ""),
            guidance_scale: field("guidance_scale", ""),
            width: field("width", ""),
            height: field("height", ""),
            sampler: field("sampler", ""),
            lora: field("lora", ""),
        }
    }

    /// The request without a model; or every field that cannot be parsed.
    pub(crate) fn request(self) -> Result<GenerateRequest, Vec<Problem>> {
        let mut problems = Vec::new();
        let negative_prompt = self.negative_prompt.get_untracked();
        let request = GenerateRequest {
            prompt: self.prompt.get_untracked(),
            negative_prompt: Some(negative_prompt).filter(|text| !text.trim().is_empty()),
            model: None,
            seed: parse("seed", self.seed, "a whole number from 0 on, or -1 for a random one", &mut problems),
            steps: parse("steps", self.steps, "a whole number", &mut problems),
            guidance_scale: parse("guidance_scale", self.guidance_scale, "a number", &mut problems),
            width: parse("width", self.width, "a whole number", &mut problems),
            height: parse("height", self.height, "a whole number", &mut problems),
            sampler: parse("sampler", self.sampler, "a sampler", &mut problems),
            lora: adapters(self.lora, &mut problems),
            num_images: None,
        };
        if problems.is_empty() { Ok(request) } else { Err(problems) }
    }
}

fn parse<T: FromStr>(
    field: &str,
    text: RwSignal<String>,
    expected: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let text = text.get_untracked();
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let value = text.parse().ok();
    if value.is_none() {
        problems.push(Problem { field: field.to_owned(), message: format!("{text:?} is not {expected}.") });
    }
    value
}

/// The adapters of the field, written `NAME:SCALE` and separated by commas.
fn adapters(text: RwSignal<String>, problems: &mut Vec<Problem>) -> Vec<LoraUse> {
    let text = text.get_untracked();
    if text.trim().is_empty() {
        return Vec::new();
    }
    parse_uses(&text).unwrap_or_else(|message| {
        problems.push(Problem { field: "lora".to_owned(), message });
        Vec::new()
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 2^32")]
pub(crate) fn random_seed() -> u64 {
    ((js_sys::Math::random() * 4_294_967_296.0) as u64).min(MAX_SEED)
}

#[component]
pub(crate) fn PromptField(
    prompt: RwSignal<String>,
    initial: String,
    problems: RwSignal<Vec<Problem>>,
) -> impl IntoView {
    view! {
        <label class="field">
            <span>"Prompt"</span>
            <textarea
                name="prompt" rows="3" required
                placeholder="what the image shall show"
                prop:value=move || prompt.get()
                on:input=move |event| prompt.set(event_target_value(&event))
            >{initial}</textarea>
            <FieldProblem field="prompt" problems />
        </label>
    }
}

/// The seed with a button that draws a random one.
#[component]
pub(crate) fn SeedField(seed: RwSignal<String>, problems: RwSignal<Vec<Problem>>) -> impl IntoView {
    view! {
        <div class="field">
            <label for="seed">"Seed"</label>
            <span class="with-button">
                <input
                    id="seed" name="seed" inputmode="numeric" autocomplete="off" placeholder="random"
                    prop:value=move || seed.get()
                    on:input=move |event| seed.set(event_target_value(&event))
                />
                <button type="button" class="quiet" on:click=move |_| seed.set(random_seed().to_string())>
                    "New seed"
                </button>
            </span>
            <FieldProblem field="seed" problems />
        </div>
    }
}

/// Everything besides prompt, models and seed, folded away at first.
#[component]
pub(crate) fn AdvancedSettings(fields: Fields, problems: RwSignal<Vec<Problem>>) -> impl IntoView {
    let samplers =
        Sampler::ALL.map(|sampler| view! { <option value=sampler.as_str()>{sampler.label()}</option> });
    let Fields { negative_prompt, steps, guidance_scale, width, height, sampler, lora, .. } = fields;
    view! {
        <details class="more">
            <summary>"Advanced settings"</summary>
            <TextField label="Negative prompt" name="negative_prompt" value=negative_prompt placeholder="what to avoid" problems />
            <div class="field-grid">
                <TextField label="Steps" name="steps" value=steps placeholder="model default" numeric=true problems />
                <TextField label="Guidance scale" name="guidance_scale" value=guidance_scale placeholder="model default" numeric=true problems />
                <TextField label="Width" name="width" value=width placeholder="model default" numeric=true problems />
                <TextField label="Height" name="height" value=height placeholder="model default" numeric=true problems />
            </div>
            <label class="field">
                <span>"Sampler"</span>
                <select name="sampler" on:change=move |event| sampler.set(event_target_value(&event))>
                    <option value="">"model default"</option>
                    {samplers.into_iter().collect_view()}
                </select>
                <FieldProblem field="sampler" problems />
            </label>
            <TextField label="LoRA adapters" name="lora" value=lora placeholder="NAME:0.8, NAME" problems />
        </details>
    }
}

#[component]
fn TextField(
    label: &'static str,
    name: &'static str,
    value: RwSignal<String>,
    placeholder: &'static str,
    #[prop(optional)] numeric: bool,
    problems: RwSignal<Vec<Problem>>,
) -> impl IntoView {
    view! {
        <label class="field">
            <span>{label}</span>
            <input
                name=name inputmode=numeric.then_some("decimal") autocomplete="off" placeholder=placeholder
                prop:value=move || value.get()
                on:input=move |event| value.set(event_target_value(&event))
            />
            <FieldProblem field=name problems />
        </label>
    }
}

/// The first problem of a field, if there is one. A problem of a list item (`lora[0].scale`) belongs to its list (`lora`).
#[component]
pub(crate) fn FieldProblem(field: &'static str, problems: RwSignal<Vec<Problem>>) -> impl IntoView {
    let belongs = move |problem: &Problem| {
        let rest = problem.field.strip_prefix(field);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
    };
    move || {
        let message = problems.with(|problems| {
            problems.iter().find(|problem| belongs(problem)).map(|problem| problem.message.clone())
        });
        message.map(|message| view! { <span class="field-problem" role="alert">{message}</span> })
    }
}
