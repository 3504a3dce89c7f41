//! A new run: a form with the fields of a training spec, beside its TOML. It works without JavaScript.

use crate::api::{self, ApiResult};
use crate::format::{left, query};
use crate::pages::bundle::static_file;
use crate::pages::docs_schema::inline_markdown;
use crate::pages::layout::{Head, loaded};
use crate::pages::run_address::run_id;
use domain::api::{FieldGroup, FieldKind, FormField, RunDraft, RunDraftRequest};
use domain::data_check::{CostEstimate, size_text};
use domain::problem::Problem;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use leptos_router::params::ParamsMap;

/// A form that was entered and not submitted. The server provides it in the context of the page.
#[derive(Clone, Debug)]
pub struct EnteredRun {
    /// The draft to show.
    pub request: RunDraftRequest,
    /// The priority as entered.
    pub priority: String,
    /// Why it was not submitted.
    pub refused: Vec<Problem>,
}

#[component]
pub(crate) fn NewRun() -> impl IntoView {
    let entered = use_context::<EnteredRun>();
    let query = use_query_map().get_untracked();
    let is_entered = entered.is_some();
    let (priority, refused) = entered
        .as_ref()
        .map_or_else(|| ("0".to_owned(), Vec::new()), |of| (of.priority.clone(), of.refused.clone()));
    loaded(load(entered, query), move |mut draft| {
        // What the draft does not check: the queue's settings.
        draft.problems.extend(refused.into_iter().filter(|problem| problem.field == "priority"));
        page(draft, &priority, is_entered)
    })
}

async fn load(entered: Option<EnteredRun>, query: ParamsMap) -> ApiResult<RunDraft> {
    let given = |name: &str| query.get(name).filter(|value| !value.is_empty());
    let request = match entered {
        Some(entered) => entered.request,
        None => RunDraftRequest {
            from: given("from").map(|id| run_id(&id)).transpose()?,
            preset: given("preset"),
            ..RunDraftRequest::default()
        },
    };
    api::draft_run(&request).await
}

fn page(draft: RunDraft, priority: &str, is_entered: bool) -> impl IntoView + use<> {
    let RunDraft { groups, toml, problems, cost, presets } = draft;
    let preview = format!("/datasets/check?spec={}", query(&toml));
    let options = presets
        .into_iter()
        .map(|name| view! { <option value=name.clone()>{name.clone()}</option> })
        .collect_view();
    let note = summary(&problems, is_entered);
    let groups = groups.into_iter().map(|of| group(of, &problems)).collect_view();
    view! {
        <Head title="New run">
            <p class="lead">
                "The settings of a training run, as "<a href="/help/training.html">"the documentation"</a>
                " describes them. A field that is left empty has its default."
            </p>
        </Head>
        <form class="filter presets" method="get" action="/runs/new">
            <label><span>"Begin with a config of the repository"</span><select name="preset">{options}</select></label>
            <button class="quiet">"Load"</button>
        </form>
        <form class="spec-form" method="post" action="/runs/new">
            <div class="spec-fields">
                // The first button is that of the Enter key.
                <p class="actions">
                    <button name="action" value="check">"Check"</button>
                    <button name="action" value="submit" class="primary">"Start run"</button>
                </p>
                <p class="live-lost" role="status" data-check></p>
                <div data-part="summary">{note}{cost.map(estimate)}</div>
                <p data-part="preview"><a href=preview>"Preview the data"</a><span class="soft">": its first examples, prompts, duplicates and size on disk"</span></p>
                {groups}
                <fieldset class="spec-group">
                    <legend>"Queue"</legend>
                    <label class="field narrow">
                        <span>"Priority, -100 to 100"</span>
                        <input id="priority" name="priority" inputmode="numeric" autocomplete="off" value=priority.to_owned() />
                        <small class="soft">"Workers claim jobs of a higher priority first."</small>
                    </label>
                </fieldset>
                <p class="actions"><button name="action" value="submit" class="primary">"Start run"</button></p>
            </div>
            <div class="spec-toml">
                <label class="field">
                    <span>"The same as TOML, for the command line"</span>
                    <textarea id="toml" name="toml" rows="28" spellcheck="false" class="code">{toml}</textarea>
                </label>
                <p class="soft">"Paste a config or the JSON of a run here to fill in the fields."</p>
                <p class="actions"><button name="action" value="toml">"Read into the fields"</button></p>
            </div>
        </form>
        <script type="module" src=static_file("check.js")></script>
    }
}

/// What the run would take.
fn estimate(cost: CostEstimate) -> impl IntoView {
    let time = match cost.seconds {
        Some(seconds) => {
            format!("{} of one worker, at the speed of the latest run from this base", left(seconds))
        }
        None => "not known: no run from this base has reported its speed".to_owned(),
    };
    let facts = [
        ("Time", time),
        ("Memory without activations", size_text(cost.memory_bytes)),
        ("Trained values", cost.trained.to_string()),
        ("Images", format!("{} in {} steps", cost.images, cost.steps)),
    ];
    let facts = facts.map(|(name, value)| view! { <div><dt>{name}</dt><dd>{value}</dd></div> });
    view! { <dl class="facts">{facts}</dl> }
}

/// What is wrong, or that nothing is.
fn summary(problems: &[Problem], is_entered: bool) -> Option<AnyView> {
    if problems.is_empty() {
        let note = view! { <div class="note good" role="status"><p>"Nothing is wrong with these settings."</p></div> };
        return is_entered.then(|| note.into_any());
    }
    let items = problems
        .iter()
        .map(|problem| {
            let Problem { field, message } = problem.clone();
            view! { <li><a href=format!("#{field}")><code>{field.clone()}</code></a>" "{message}</li> }
        })
        .collect_view();
    let role = if is_entered { "alert" } else { "status" };
    Some(view! { <div class="note bad" role=role><p>"The run cannot start like this:"</p><ul>{items}</ul></div> }.into_any())
}

fn group(group: FieldGroup, problems: &[Problem]) -> impl IntoView + use<> {
    let (often, rest): (Vec<FormField>, Vec<FormField>) = group.fields.into_iter().partition(|field| {
        field.required || !field.value.is_empty() || field.kind == FieldKind::Tag || is_wrong(field, problems)
    });
    let has_rest = !rest.is_empty();
    let often = often.into_iter().map(|of| entry(of, problems)).collect_view();
    let rest = rest.into_iter().map(|of| entry(of, problems)).collect_view();
    view! {
        <fieldset class="spec-group">
            <legend>{group.title}</legend>
            <div class="spec-grid">{often}</div>
            {has_rest.then(|| view! { <details class="more"><summary>"Settings that have their defaults"</summary><div class="spec-grid">{rest}</div></details> })}
        </fieldset>
    }
}

fn is_wrong(field: &FormField, problems: &[Problem]) -> bool {
    problems.iter().any(|problem| concerns(problem, field))
}

/// Whether a problem is the field's, or lies below it.
fn concerns(problem: &Problem, field: &FormField) -> bool {
    let below = problem.field.strip_prefix(&field.path);
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A field with its meaning and its problems.
fn entry(field: FormField, problems: &[Problem]) -> impl IntoView + use<> {
    let wrong: Vec<String> = problems
        .iter()
        .filter(|problem| concerns(problem, &field))
        .map(|problem| problem.message.clone())
        .collect();
    let of = (!field.of.is_empty()).then(|| field.of.join(" "));
    let kinds = of.clone().map(|of| view! { <span class="badge">{of.replace(' ', ", ")}</span> });
    let (help, about) = (inline_markdown(&field.help), format!("about-{}", field.path));
    let is_wrong = !wrong.is_empty();
    let wrong = wrong.into_iter().map(|text| view! { <small class="problem">{text}</small> }).collect_view();
    let (id, path, part) = (field.path.clone(), field.path.clone(), format!("problems {}", field.path));
    view! {
        <div class="field spec-field" data-of=of>
            <label for=id><code>{path}</code>{kinds}</label>
            {input(&field, is_wrong, &about)}
            <div data-part=part class="problems">{wrong}</div>
            <small class="soft" id=about>{help}</small>
        </div>
    }
}

/// The control of a field.
fn input(field: &FormField, is_wrong: bool, about: &str) -> AnyView {
    let (id, name, value) = (field.path.clone(), field.path.clone(), field.value.clone());
    let (about, invalid) = (about.to_owned(), is_wrong.then_some("true"));
    let default = field.default.as_deref().map(|text| text.trim_matches('"').to_owned());
    match field.kind {
        FieldKind::Choice | FieldKind::Tag => {
            let is_tag = field.kind == FieldKind::Tag;
            let empty = match &default {
                Some(default) => format!("default: {default}"),
                None => "not set".to_owned(),
            };
            let known = field.options.contains(&value) || value.is_empty();
            let other = (!known)
                .then(|| view! { <option value=value.clone() selected=true>{value.clone()}</option> });
            let options = field
                .options
                .iter()
                .map(|option| {
                    let selected = *option == value;
                    view! { <option value=option.clone() selected=selected>{option.clone()}</option> }
                })
                .collect_view();
            view! {
                <select id=id name=name class:tag=is_tag aria-describedby=about aria-invalid=invalid>
                    <option value="">{empty}</option>
                    {other}
                    {options}
                </select>
            }
            .into_any()
        }
        FieldKind::Switch => {
            let checked = value == "true";
            view! { <input type="checkbox" id=id name=name value="true" checked=checked aria-describedby=about aria-invalid=invalid /> }.into_any()
        }
        FieldKind::Lines | FieldKind::Json => {
            let rows = if field.kind == FieldKind::Lines { "3" } else { "2" };
            view! {
                <textarea id=id name=name rows=rows spellcheck="false" placeholder=default aria-describedby=about aria-invalid=invalid>
                    {value}
                </textarea>
            }
            .into_any()
        }
        FieldKind::Text | FieldKind::Integer | FieldKind::Number => {
            let mode = match field.kind {
                FieldKind::Integer => Some("numeric"),
                FieldKind::Number => Some("decimal"),
                _ => None,
            };
            view! {
                <input id=id name=name inputmode=mode autocomplete="off" spellcheck="false" placeholder=default value=value
                    aria-describedby=about aria-invalid=invalid />
            }
            .into_any()
        }
    }
}
