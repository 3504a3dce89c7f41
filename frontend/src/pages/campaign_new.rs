//! The form that makes a campaign. A plain form, without JavaScript; the address fills it in, from a campaign that is copied or
//! from a form that was refused.

use crate::api::{self, ApiResult};
use crate::pages::campaign_checks::{self, Checks};
use crate::pages::layout::{Head, loaded};
use domain::api::{GoldCandidate, ModelSummary, Page};
use domain::campaign::{CampaignSpec, Reveal};
use domain::id::CampaignId;
use domain::preference::Question;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use leptos_router::params::ParamsMap;

/// What the fields hold at first.
struct Entered {
    name: String,
    models: Vec<String>,
    questions: Vec<Question>,
    raters: String,
    votes: String,
    ends_at: String,
    session: String,
    reveal: String,
    instructions: String,
    prompts: String,
    language: String,
    form: String,
    checks: Checks,
}

impl Entered {
    fn of_copy(spec: CampaignSpec) -> Self {
        let reveal = match spec.reveal {
            Reveal::Never => "never",
            Reveal::AtEnd => "at_end",
            Reveal::AfterSession => "after_session",
        };
        Self {
            checks: Checks::of_copy(&spec),
            form: spec.form.as_str().to_owned(),
            name: format!("{} (copy)", spec.name),
            models: spec.models,
            questions: spec.questions,
            raters: spec.raters_per_item.to_string(),
            votes: spec.votes.map(|votes| votes.to_string()).unwrap_or_default(),
            ends_at: String::new(),
            session: spec.session.to_string(),
            reveal: reveal.to_owned(),
            instructions: spec.instructions,
            prompts: spec.prompts.join("\n"),
            language: spec.language.unwrap_or_default(),
        }
    }

    fn of_address(fields: &ParamsMap) -> Self {
        let text = |name: &str| fields.get(name).unwrap_or_default();
        let or = |name: &str, default: &str| {
            Some(text(name)).filter(|x| !x.is_empty()).unwrap_or_else(|| default.to_owned())
        };
        let list = |name: &str| -> Vec<String> {
            let text = text(name);
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
        };
        let mut questions: Vec<Question> =
            list("questions").iter().filter_map(|word| word.parse().ok()).collect();
        if questions.is_empty() {
            questions.push(Question::Overall);
        }
        Self {
            name: text("name"),
            models: list("models"),
            questions,
            raters: or("raters_per_item", "1"),
            votes: text("votes"),
            ends_at: text("ends_at"),
            session: or("session", "20"),
            reveal: or("reveal", "never"),
            instructions: text("instructions"),
            prompts: text("prompts"),
            language: text("language"),
            form: or("form", "pair"),
            checks: Checks::of_address(fields),
        }
    }
}

#[component]
pub(crate) fn CampaignNew() -> impl IntoView {
    let fields = use_query_map().get_untracked();
    let problem = fields.get("problem");
    let copied = fields.get("copy").and_then(|id| id.parse::<CampaignId>().ok());
    let (key, picks) = (fields.get("key").unwrap_or_default(), fields.get("pick").is_some());
    let load = async move {
        let models = api::models().await?;
        let entered = match copied {
            Some(id) => Entered::of_copy(api::campaign(&id.to_string(), &key).await?.campaign.spec),
            None => Entered::of_address(&fields),
        };
        let candidates = if picks && !entered.models.is_empty() {
            Some(api::gold_candidates(&entered.models.join(","), entered.checks.metric()).await?.items)
        } else {
            picks.then(Vec::new)
        };
        ApiResult::Ok((models, entered, candidates))
    };
    loaded(load, move |(models, entered, candidates)| {
        view! {
            <Head title="New campaign" lead="Raters see images of one prompt, and not which model made which." />
            {problem.map(|problem| view! { <div class="note bad" role="alert"><p>{problem}</p></div> })}
            {form(models, entered, candidates)}
        }
    })
}

fn form(
    models: Page<ModelSummary>,
    entered: Entered,
    candidates: Option<Vec<GoldCandidate>>,
) -> impl IntoView {
    let Entered {
        name,
        models: chosen,
        questions,
        raters,
        votes,
        ends_at,
        session,
        reveal,
        instructions,
        prompts,
        language,
        form,
        checks,
    } = entered;
    let models = model_boxes(models, &chosen);
    let questions = question_boxes(&questions);
    let forms = [
        ("pair", "two images: which is better, or a tie"),
        ("best_of_four", "up to four images of three models and more: which is the best"),
    ]
    .map(|(value, text)| view! { <option value=value selected={value == form}>{text}</option> });
    let reveals = [
        ("never", "never"),
        ("at_end", "when the campaign is closed"),
        ("after_session", "to each rater after a session, which is then the rater's last"),
    ]
    .map(|(value, text)| view! { <option value=value selected={value == reveal}>{text}</option> });
    view! {
        <form class="compare" method="post" action="/campaigns/new">
            // The first button of a form is the one that the Enter key presses; it must not be the one that shows pairs.
            <button class="visually-hidden" tabindex="-1" aria-hidden="true">"Make the campaign"</button>
            <label class="field"><span>"Name"</span><input name="name" required maxlength="100" value=name /></label>
            <fieldset class="field"><legend>"Models, at least two"</legend><div class="chips">{models}</div></fieldset>
            <fieldset class="field"><legend>"Questions"</legend><div class="chips">{questions}</div></fieldset>
            <label class="field"><span>"Raters see"</span><select name="form">{forms}</select></label>
            <label class="field narrow"><span>"Raters per pair"</span><input name="raters_per_item" inputmode="numeric" value=raters /></label>
            <label class="field narrow"><span>"Pairs in a session"</span><input name="session" inputmode="numeric" value=session /></label>
            <label class="field"><span>"Raters learn the models"</span><select name="reveal">{reveals}</select></label>
            <label class="field"><span>"Instructions for raters"</span><textarea name="instructions" rows="5">{instructions}</textarea></label>
            <details class="more">
                <summary>"Prompts and end"</summary>
                <label class="field">
                    <span>"Only these prompts, one per line"</span>
                    <textarea name="prompts" rows="5" placeholder="all prompts of evaluation images">{prompts}</textarea>
                </label>
                <label class="field narrow">
                    <span>"Language of the prompts"</span><input name="language" maxlength="35" placeholder="such as de" value=language />
                </label>
                <label class="field narrow"><span>"Close after this many votes"</span><input name="votes" inputmode="numeric" value=votes /></label>
                <label class="field narrow"><span>"Close at this time (UTC)"</span><input name="ends_at" type="datetime-local" value=ends_at /></label>
            </details>
            {campaign_checks::fields(checks, candidates)}
            <p><button class="primary">"Make the campaign"</button></p>
            <p class="soft">
                "It is open at once. Until it is closed, the site withholds these models' evaluation images, and votes on them, from "
                "everybody. "<a href="/help/judging.html">"More about judging"</a>"."
            </p>
        </form>
    }
}

fn model_boxes(models: Page<ModelSummary>, chosen: &[String]) -> impl IntoView + use<> {
    let usable = models.items.into_iter().filter(|summary| summary.problem.is_none());
    let boxes = usable.map(|summary| {
        let name = summary.model.name;
        let is_chosen = chosen.contains(&name);
        view! {
            <label class="chip">
                <input type="checkbox" name=format!("model:{name}") value="1" checked=is_chosen />
                <span>{name}</span>
            </label>
        }
    });
    boxes.collect_view()
}

fn question_boxes(chosen: &[Question]) -> impl IntoView + use<> {
    let boxes = Question::ALL.into_iter().map(|question| {
        let is_chosen = chosen.contains(&question);
        view! {
            <label class="chip">
                <input type="checkbox" name=format!("question:{}", question.as_str()) value="1" checked=is_chosen />
                <span>{question.label()}": "{question.text()}</span>
            </label>
        }
    });
    boxes.collect_view()
}
