//! One prompt and one seed through several models, side by side.

use crate::api::{self, Answer, image_url};
use crate::components::badge::ObjectiveBadge;
use crate::components::note::FailureNote;
use crate::components::poll::{awake, ticked, typed};
use domain::api::{GenerateRequest, GenerateResponse};
use domain::image::Sampler;
use domain::limits::MAX_SEED;
use domain::lora::{LoraUse, parse_uses};
use domain::problem::Problem;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos::web_sys::SubmitEvent;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A model that may be chosen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Choosable {
    pub(crate) name: String,
    pub(crate) objective: Option<String>,
    /// Why it cannot generate.
    pub(crate) problem: Option<String>,
    /// Whether it is chosen to begin with.
    pub(crate) chosen: bool,
}

/// What the fields begin with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Preset {
    pub(crate) prompt: String,
    pub(crate) seed: String,
}

/// The text of every field.
#[derive(Clone, Copy)]
struct Fields {
    prompt: RwSignal<String>,
    negative_prompt: RwSignal<String>,
    seed: RwSignal<String>,
    steps: RwSignal<String>,
    guidance_scale: RwSignal<String>,
    width: RwSignal<String>,
    height: RwSignal<String>,
    sampler: RwSignal<String>,
    lora: RwSignal<String>,
}

/// One press of the button: the same prompt and seed for several models.
#[derive(Clone)]
struct Round {
    number: usize,
    prompt: String,
    seed: u64,
    images: Vec<(String, RwSignal<Option<Answer<GenerateResponse>>>)>,
}

/// Rounds kept on the page.
const KEPT: usize = 12;

/// The form and its images.
#[island]
pub(crate) fn Playground(models: Vec<Choosable>, preset: Preset) -> impl IntoView {
    let text = |name: &str, written: &str| RwSignal::new(typed(name, written));
    let fields = Fields {
        prompt: text("prompt", &preset.prompt),
        negative_prompt: text("negative_prompt", ""),
        seed: text("seed", &preset.seed),
        steps: text("steps", ""),
        guidance_scale: text("guidance_scale", ""),
        width: text("width", ""),
        height: text("height", ""),
        sampler: text("sampler", ""),
        lora: text("lora", ""),
    };
    let begins = |model: &&Choosable| ticked(&model.name, model.chosen && model.problem.is_none());
    let chosen =
        RwSignal::new(models.iter().filter(begins).map(|model| model.name.clone()).collect::<Vec<_>>());
    let problems = RwSignal::new(Vec::<Problem>::new());
    let rounds = RwSignal::new(Vec::<Round>::new());
    let order: Vec<String> = models.iter().map(|model| model.name.clone()).collect();

    let generate = move |event: SubmitEvent| {
        event.prevent_default();
        if fields.seed.get_untracked().trim().is_empty() {
            fields.seed.set(random_seed().to_string());
        }
        let request = match fields.read() {
            Ok(request) => request,
            Err(wrong) => return problems.set(wrong),
        };
        let names: Vec<String> =
            order.iter().filter(|name| chosen.read_untracked().contains(name)).cloned().collect();
        if names.is_empty() {
            let message = "choose at least one".to_owned();
            return problems.set(vec![Problem { field: "model".into(), message }]);
        }
        problems.set(Vec::new());
        let images = names.into_iter().map(|name| (name, RwSignal::new(None))).collect::<Vec<_>>();
        let number = rounds.with_untracked(|rounds| rounds.first().map_or(1, |round| round.number + 1));
        for (name, outcome) in images.clone() {
            let request = GenerateRequest { model: Some(name.clone()), ..request.clone() };
            spawn_local(async move {
                match api::generate(&request).await {
                    // Told beside the field instead.
                    Err(failure) if !failure.detail.fields.is_empty() => {
                        problems.set(failure.detail.fields);
                        rounds.update(|rounds| withdraw(rounds, number, &name));
                    }
                    answer => outcome.set(Some(answer)),
                }
            });
        }
        rounds.update(|rounds| {
            let seed = request.seed.unwrap_or_default();
            rounds.insert(0, Round { number, prompt: request.prompt, seed, images });
            rounds.truncate(KEPT);
        });
    };

    let problem = move |field: &'static str| {
        move || {
            let message = problems
                .with(|problems| problems.iter().find(|p| is_of(p, field)).map(|p| p.message.clone()));
            message.map(|message| view! { <span class="field-problem" role="alert">{message}</span> })
        }
    };
    let number =
        move |label: &'static str, name: &'static str, value: RwSignal<String>, hint: &'static str| {
            view! {
                <label class="field">
                    <span>{label}</span>
                    <input
                        name=name inputmode="decimal" autocomplete="off" placeholder=hint
                        prop:value=move || value.get()
                        on:input=move |event| value.set(event_target_value(&event))
                    />
                    {problem(name)}
                </label>
            }
        };
    let awake = awake();
    let choices = models.into_iter().map(|model| model_choice(model, chosen)).collect_view();
    view! {
        <div class="playground">
            <form class="panel" action="/generate" method="get" data-awake=awake on:submit=generate>
                <label class="field">
                    <span>"Prompt"</span>
                    <textarea
                        name="prompt" rows="3" required
                        placeholder="a large red circle on a blue background"
                        prop:value=move || fields.prompt.get()
                        on:input=move |event| fields.prompt.set(event_target_value(&event))
                    >{preset.prompt}</textarea>
                    {problem("prompt")}
                </label>
                <fieldset class="field">
                    <legend>"Models"</legend>
                    <div class="chips">{choices}</div>
                    {problem("model")}
                </fieldset>
                <div class="field">
                    <label for="seed">"Seed"</label>
                    <span class="with-button">
                        <input
                            id="seed" name="seed" inputmode="numeric" autocomplete="off" placeholder="random"
                            prop:value=move || fields.seed.get()
                            on:input=move |event| fields.seed.set(event_target_value(&event))
                        />
                        <button type="button" class="quiet" on:click=move |_| fields.seed.set(random_seed().to_string())>
                            "New seed"
                        </button>
                    </span>
                    {problem("seed")}
                </div>
                <details class="more">
                    <summary>"More settings"</summary>
                    <label class="field">
                        <span>"Negative prompt"</span>
                        <input
                            name="negative_prompt" autocomplete="off" placeholder="what to steer away from"
                            prop:value=move || fields.negative_prompt.get()
                            on:input=move |event| fields.negative_prompt.set(event_target_value(&event))
                        />
                        {problem("negative_prompt")}
                    </label>
                    <div class="field-grid">
                        {number("Steps", "steps", fields.steps, "model's own")}
                        {number("Guidance scale", "guidance_scale", fields.guidance_scale, "model's own")}
                        {number("Width", "width", fields.width, "model's own")}
                        {number("Height", "height", fields.height, "model's own")}
                    </div>
                    <label class="field">
                        <span>"Sampler"</span>
                        <select name="sampler" on:change=move |event| fields.sampler.set(event_target_value(&event))>
                            <option value="">"model's own"</option>
                            {Sampler::ALL.map(|s| view! { <option value=s.as_str()>{s.label()}</option> }).into_iter().collect_view()}
                        </select>
                        {problem("sampler")}
                    </label>
                    <label class="field">
                        <span>"LoRA adapters"</span>
                        <input
                            name="lora" autocomplete="off" placeholder="NAME:0.8, NAME"
                            prop:value=move || fields.lora.get()
                            on:input=move |event| fields.lora.set(event_target_value(&event))
                        />
                        {problem("lora")}
                    </label>
                </details>
                <button type="submit" class="primary">"Generate"</button>
            </form>
            <div class="rounds" aria-live="polite">
                <Show when=move || rounds.with(Vec::is_empty) fallback=|| ()>
                    <p class="placeholder">"Images appear here: one row per press, one column per model, the same seed for all."</p>
                </Show>
                <For each=move || rounds.get() key=|round| (round.number, round.images.len()) let:round>
                    <RoundRow round fields />
                </For>
            </div>
        </div>
    }
}

/// Takes a refused image out of its round, and the round away with its last one.
fn withdraw(rounds: &mut Vec<Round>, number: usize, model: &str) {
    for round in rounds.iter_mut().filter(|round| round.number == number) {
        round.images.retain(|(name, _)| name != model);
    }
    rounds.retain(|round| !round.images.is_empty());
}

fn model_choice(model: Choosable, chosen: RwSignal<Vec<String>>) -> impl IntoView {
    let Choosable { name, objective, problem, chosen: initially } = model;
    let (value, box_name) = (name.clone(), name.clone());
    let toggle = move |event| {
        let on = event_target_checked(&event);
        chosen.update(|chosen| {
            chosen.retain(|other| *other != value);
            if on {
                chosen.push(value.clone());
            }
        });
    };
    let broken = problem.is_some();
    view! {
        <label class="chip" title=problem>
            <input type="checkbox" data-box=box_name checked=initially && !broken disabled=broken on:change=toggle />
            <span>{name}</span>
            {objective.map(|kind| view! { <ObjectiveBadge kind /> })}
        </label>
    }
}

/// A row of images.
#[component]
fn RoundRow(round: Round, fields: Fields) -> impl IntoView {
    let Round { prompt, seed, images, .. } = round;
    let again = {
        let prompt = prompt.clone();
        move |_| {
            fields.prompt.set(prompt.clone());
            fields.seed.set(seed.to_string());
        }
    };
    let images = images
        .into_iter()
        .map(|(model, outcome)| {
            view! {
                <figure class="image">
                    {move || drawn(outcome.get())}
                    <figcaption><a href=format!("/models#{model}")>{model.clone()}</a></figcaption>
                </figure>
            }
        })
        .collect_view();
    view! {
        <article class="round">
            <header>
                <p class="prompt">{prompt}</p>
                <p class="soft">
                    "seed " <span class="figure">{seed.to_string()}</span> " "
                    <button type="button" class="link" on:click=again>"use again"</button>
                </p>
            </header>
            <div class="images">{images}</div>
        </article>
    }
}

fn drawn(outcome: Option<Answer<GenerateResponse>>) -> AnyView {
    match outcome {
        None => view! { <div class="waiting" role="status"><span class="visually-hidden">"Generating"</span></div> }.into_any(),
        Some(Err(failure)) => view! { <FailureNote failure /> }.into_any(),
        Some(Ok(answer)) => {
            let GenerateResponse { images, params, seconds, .. } = answer;
            let adapters: String =
                params.lora.iter().map(|used| format!(", {} at {}", used.model, used.scale)).collect();
            let facts = format!(
                "{} steps, {}, guidance {}{adapters}, {seconds:.1} s",
                params.steps, params.sampler, params.guidance_scale
            );
            images
                .into_iter()
                .map(|image| {
                    view! {
                        <a href=image_url(image.id) title=facts.clone()>
                            <img src=format!("data:image/png;base64,{}", image.b64) alt=params.prompt.clone() />
                        </a>
                    }
                })
                .collect_view()
                .into_any()
        }
    }
}

impl Fields {
    /// The request they spell, or what is wrong with them.
    fn read(self) -> Result<GenerateRequest, Vec<Problem>> {
        let mut problems = Vec::new();
        let request = GenerateRequest {
            prompt: self.prompt.get_untracked(),
            negative_prompt: Some(self.negative_prompt.get_untracked())
                .filter(|text| !text.trim().is_empty()),
            model: None,
            seed: parse("seed", self.seed, "is no whole number of 0 or more", &mut problems),
            steps: parse("steps", self.steps, "is no whole number", &mut problems),
            guidance_scale: parse("guidance_scale", self.guidance_scale, "is no number", &mut problems),
            width: parse("width", self.width, "is no whole number", &mut problems),
            height: parse("height", self.height, "is no whole number", &mut problems),
            sampler: parse("sampler", self.sampler, "is no sampler", &mut problems),
            lora: lora(self.lora, &mut problems),
            num_images: None,
        };
        if problems.is_empty() { Ok(request) } else { Err(problems) }
    }
}

/// Whether a problem is told beside a field: its own, or one of an item of its list.
fn is_of(problem: &Problem, field: &str) -> bool {
    problem.field.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
}

/// Adapters, as a query has them.
fn lora(text: RwSignal<String>, problems: &mut Vec<Problem>) -> Vec<LoraUse> {
    let text = text.get_untracked();
    if text.trim().is_empty() {
        return Vec::new();
    }
    parse_uses(&text).unwrap_or_else(|message| {
        problems.push(Problem { field: "lora".to_owned(), message });
        Vec::new()
    })
}

fn parse<T: FromStr>(
    field: &str,
    text: RwSignal<String>,
    wrong: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let text = text.get_untracked();
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let value = text.parse().ok();
    if value.is_none() {
        problems.push(Problem { field: field.to_owned(), message: format!("{text:?} {wrong}") });
    }
    value
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 2^32")]
fn random_seed() -> u64 {
    ((js_sys::Math::random() * 4_294_967_296.0) as u64).min(MAX_SEED)
}
