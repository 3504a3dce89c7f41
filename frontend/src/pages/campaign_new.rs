//! The form that makes a campaign. A plain form, without JavaScript; the address fills it in, from a campaign that is copied or
//! from a form that was refused.

use crate::api::{self, ApiResult};
use crate::pages::layout::{Head, loaded};
use domain::api::{CampaignSummary, ModelSummary, Page};
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
}

impl Entered {
    fn of_copy(spec: CampaignSpec) -> Self {
        let reveal = match spec.reveal {
            Reveal::Never => "never",
            Reveal::AtEnd => "at_end",
            Reveal::AfterSession => "after_session",
        };
        Self {
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
        }
    }
}

#[component]
pub(crate) fn CampaignNew() -> impl IntoView {
    let fields = use_query_map().get_untracked();
    let problem = fields.get("problem");
    let copied = fields.get("copy").and_then(|id| id.parse::<CampaignId>().ok());
    let load = async move {
        let models = api::models().await?;
        let copied: Option<CampaignSummary> = match copied {
            Some(id) => Some(api::campaign(&id.to_string(), "").await?),
            None => None,
        };
        ApiResult::Ok((models, copied))
    };
    loaded(load, move |(models, copied): (Page<ModelSummary>, Option<CampaignSummary>)| {
        let entered = match copied {
            Some(summary) => Entered::of_copy(summary.campaign.spec),
            None => Entered::of_address(&fields),
        };
        view! {
            <Head title="New campaign" lead="Raters see two images of one prompt, and not which model made which." />
            {problem.map(|problem| view! { <div class="note bad" role="alert"><p>{problem}</p></div> })}
            {form(models, entered)}
        }
    })
}

fn form(models: Page<ModelSummary>, entered: Entered) -> impl IntoView {
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
    } = entered;
    let models = models
        .items
        .into_iter()
        .filter(|summary| summary.problem.is_none())
        .map(|summary| {
            let name = summary.model.name;
            let is_chosen = chosen.contains(&name);
            view! {
                <label class="chip">
                    <input type="checkbox" name=format!("model:{name}") value="1" checked=is_chosen />
                    <span>{name}</span>
                </label>
            }
        })
        .collect_view();
    let questions = Question::ALL
        .into_iter()
        .map(|question| {
            view! {
                <label class="chip">
                    <input type="checkbox" name=format!("question:{}", question.as_str()) value="1" checked=questions.contains(&question) />
                    <span>{question.label()}": "{question.text()}</span>
                </label>
            }
        })
        .collect_view();
    let reveals = [
        ("never", "never"),
        ("at_end", "when the campaign is closed"),
        ("after_session", "to each rater after a session, which is then the rater's last"),
    ]
    .map(|(value, text)| view! { <option value=value selected={value == reveal}>{text}</option> });
    view! {
        <form class="compare" method="post" action="/campaigns/new">
            <label class="field"><span>"Name"</span><input name="name" required maxlength="100" value=name /></label>
            <fieldset class="field"><legend>"Models, at least two"</legend><div class="chips">{models}</div></fieldset>
            <fieldset class="field"><legend>"Questions"</legend><div class="chips">{questions}</div></fieldset>
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
                <label class="field narrow"><span>"Close after this many votes"</span><input name="votes" inputmode="numeric" value=votes /></label>
                <label class="field narrow"><span>"Close at this time (UTC)"</span><input name="ends_at" type="datetime-local" value=ends_at /></label>
            </details>
            <p><button class="primary">"Make the campaign"</button></p>
            <p class="soft">
                "It is open at once. Until it is closed, the site withholds these models' evaluation images, and votes on them, from "
                "everybody. Exams, pairs with known answers and panels: "<a href="/help/judging.html">"Judging"</a>"."
            </p>
        </form>
    }
}
