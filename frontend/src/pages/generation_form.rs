//! The form of the Generate page.

use crate::components::badge::ObjectiveBadge;
use domain::api::ModelSummary;
use domain::image::Sampler;
use leptos::prelude::*;
use leptos_router::params::ParamsMap;

/// Models that are selected if the address names none.
const SELECTED_BY_DEFAULT: usize = 4;

/// What the address sets: the names of models, and the text of other fields.
pub(crate) struct Entered {
    models: Vec<String>,
    fields: ParamsMap,
}

impl Entered {
    pub(crate) fn of(fields: &ParamsMap) -> Self {
        let named = fields.get_all("model").unwrap_or_default();
        let models = named.iter().flat_map(|names| names.split(',')).map(str::to_owned).collect();
        Self { models, fields: fields.clone() }
    }

    fn text(&self, name: &str) -> String {
        self.fields.get(name).unwrap_or_default()
    }

    /// Whether one of the fields that are folded away is set.
    fn has_settings(&self) -> bool {
        ["negative_prompt", "steps", "guidance_scale", "width", "height", "sampler", "lora"]
            .iter()
            .any(|name| !self.text(name).is_empty())
    }
}

/// The form. Without JavaScript it gets an image from the default model.
pub(crate) fn form(models: &[ModelSummary], entered: &Entered) -> impl IntoView + use<> {
    let has_settings = entered.has_settings();
    let boxes = models
        .iter()
        .enumerate()
        .map(|(index, summary)| {
            let name = &summary.model.name;
            let wanted = if entered.models.is_empty() {
                index < SELECTED_BY_DEFAULT
            } else {
                entered.models.contains(name)
            };
            checkbox(summary, wanted)
        })
        .collect_view();
    view! {
        <form class="panel" action="/generate" method="get" data-generate="">
            <div class="field">
                <label for="prompt">"Prompt"</label>
                <textarea id="prompt" name="prompt" rows="3" required placeholder="what the image shall show">
                    {entered.text("prompt")}
                </textarea>
                {problem("prompt")}
                <label class="check needs-script"><input type="checkbox" data-lines="" />"Each line is a prompt of its own"</label>
            </div>
            <fieldset class="field">
                <legend>"Models"</legend>
                <div class="chips">{boxes}</div>
                {problem("model")}
            </fieldset>
            <div class="field-grid">
                <div class="field">
                    <label for="seed">"Seed"</label>
                    <input id="seed" name="seed" inputmode="numeric" autocomplete="off" placeholder="random" value=entered.text("seed") />
                    {problem("seed")}
                </div>
                <div class="field needs-script">
                    <label for="seeds">"Seeds, from it on"</label>
                    <input id="seeds" inputmode="numeric" autocomplete="off" value="1" />
                    {problem("seeds")}
                </div>
            </div>
            <button type="button" class="quiet needs-script" data-new-seed="">"New seed"</button>
            <details class="more" open=has_settings>
                <summary>"Advanced settings"</summary>
                {settings(entered)}
            </details>
            <p class="soft" role="status" data-progress=""></p>
            <div class="actions">
                <button type="submit" class="primary">"Generate"</button>
                <button type="button" class="quiet danger" data-cancel="" hidden>"Cancel"</button>
            </div>
        </form>
    }
}

fn settings(entered: &Entered) -> impl IntoView + use<> {
    let chosen = entered.text("sampler");
    let samplers = Sampler::ALL
        .map(|sampler| {
            let selected = sampler.as_str() == chosen;
            view! { <option value=sampler.as_str() selected=selected>{sampler.label()}</option> }
        })
        .into_iter()
        .collect_view();
    let text = |name, label, placeholder, numeric| text_field(entered, name, label, placeholder, numeric);
    view! {
        {text("negative_prompt", "Negative prompt", "what to avoid", false)}
        <div class="field-grid">
            {text("steps", "Steps", "model default", true)}
            {text("guidance_scale", "Guidance scale", "model default", true)}
            {text("width", "Width", "model default", true)}
            {text("height", "Height", "model default", true)}
        </div>
        <label class="field">
            <span>"Sampler"</span>
            <select name="sampler"><option value="">"model default"</option>{samplers}</select>
            {problem("sampler")}
        </label>
        {text("lora", "LoRA adapters", "NAME:0.8, NAME", false)}
    }
}

fn text_field(
    entered: &Entered,
    name: &'static str,
    label: &'static str,
    placeholder: &'static str,
    numeric: bool,
) -> impl IntoView + use<> {
    view! {
        <label class="field">
            <span>{label}</span>
            <input
                name=name inputmode=numeric.then_some("decimal") autocomplete="off" placeholder=placeholder
                value=entered.text(name)
            />
            {problem(name)}
        </label>
    }
}

/// Where the script writes what is wrong with a field.
fn problem(field: &'static str) -> impl IntoView {
    view! { <span class="field-problem" role="alert" data-problem=field></span> }
}

/// A model that can be selected, or the reason why not.
fn checkbox(summary: &ModelSummary, wanted: bool) -> impl IntoView + use<> {
    let name = summary.model.name.clone();
    let unusable = summary.problem.is_some();
    view! {
        <label class="chip" title=summary.problem.clone()>
            <input type="checkbox" data-model="" value=name.clone() checked=wanted && !unusable disabled=unusable />
            <span>{name}</span>
            {summary.model.objective.clone().map(|kind| view! { <ObjectiveBadge kind /> })}
        </label>
    }
}
