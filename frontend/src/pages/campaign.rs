//! A campaign: how far it is, its rules, and what may be done with it. With the owner's key also results, raters and invitations.

use crate::api::{self, ApiResult};
use crate::components::copy_line::CopyLine;
use crate::format::{moment, percent, query};
use crate::pages::campaign_items;
use crate::pages::campaign_raters;
use crate::pages::campaigns::CampaignBadge;
use crate::pages::layout::{Head, loaded, origin};
use domain::api::{CampaignItem, CampaignResult, CampaignSummary, Invitation, campaign_desk_page};
use domain::campaign::{Campaign, CampaignState, Form, Reveal};
use leptos::prelude::*;
use leptos_router::hooks::{use_params_map, use_query_map};

#[component]
pub(crate) fn CampaignPage() -> impl IntoView {
    let id = use_params_map().with_untracked(|params| params.get("id").unwrap_or_default());
    let (key, link) = use_query_map().with_untracked(|fields| {
        (fields.get("key").unwrap_or_default(), fields.get("link").unwrap_or_default())
    });
    let call = {
        let key = key.clone();
        async move {
            let summary = api::campaign(&id, &key).await?;
            // Before, the images themselves are withheld.
            let is_closed = summary.campaign.state == CampaignState::Closed;
            let items = if is_closed { api::campaign_items(&id).await?.items } else { Vec::new() };
            ApiResult::Ok((summary, items))
        }
    };
    loaded(call, move |(summary, items)| page(summary, items, &key, &link))
}

/// `link`: a link that was just made, which no other page shows again.
fn page(summary: CampaignSummary, judged: Vec<CampaignItem>, key: &str, link: &str) -> impl IntoView + use<> {
    let CampaignSummary { campaign, votes, wanted, items, raters, results, people, pace, invitations } =
        summary;
    let spec = &campaign.spec;
    let is_owner = !key.is_empty();
    let title = spec.name.clone();
    let desk = format!("{}{}", origin(), campaign_desk_page(campaign.id));
    let is_closed = campaign.state == CampaignState::Closed;
    let empty = (items == 0 && !is_closed).then(|| {
        let (a, b) = (spec.models.first().cloned().unwrap_or_default(), spec.models.get(1).cloned());
        let address = format!("/judge/compare?prompts=&model={}", query(&a));
        view! {
            <div class="note wait"><p>
                "These models have no evaluation images of equal prompts and settings yet. "
                <a href=address>{format!("Draw images of {a} and {}", b.unwrap_or_default())}</a>", or run an evaluation."
            </p></div>
        }
    });
    view! {
        <Head title>
            <p class="lead">
                <CampaignBadge state=campaign.state />
                {format!(" {votes} of {wanted} votes · {raters} raters · made ")}
                <time datetime=campaign.created_at.to_rfc3339()>{moment(campaign.created_at)}</time>
            </p>
        </Head>
        <p><progress aria-label="Votes" max=wanted.max(1).to_string() value=votes.to_string()></progress></p>
        {empty}
        {actions(&campaign, key)}
        {(!is_closed).then(|| view! {
            <section aria-labelledby="judge">
                <h2 id="judge">"Link for raters with access to this site"</h2>
                <CopyLine text=desk />
            </section>
        })}
        {is_owner.then(|| invitation_section(&campaign, invitations, key, link))}
        {(is_owner || is_closed).then(|| results_section(results))}
        {campaign_items::pace(&pace)}
        {is_owner.then(|| campaign_raters::section(people))}
        {is_closed.then(|| campaign_items::gallery(judged))}
        {rules(&campaign)}
    }
}

fn actions(campaign: &Campaign, key: &str) -> impl IntoView + use<> {
    let address = format!("/campaigns/{}/state", campaign.id);
    let button =
        |state: &'static str, text: &'static str| view! { <button name="state" value=state>{text}</button> };
    let buttons = match campaign.state {
        CampaignState::Open => {
            view! { {button("paused", "Pause")} {button("closed", "Close for good")} }.into_any()
        }
        CampaignState::Paused => {
            view! { {button("open", "Go on")} {button("closed", "Close for good")} }.into_any()
        }
        CampaignState::Closed => ().into_any(),
    };
    // With the key, also pairs with known answers and codes are copied.
    let copy = format!("/campaigns/new?copy={}&key={}", campaign.id, query(key));
    let judge = (campaign.state == CampaignState::Open)
        .then(|| view! { <a class="button primary" href=campaign_desk_page(campaign.id)>"Judge"</a> });
    view! {
        <form class="actions" method="post" action=address>
            <input type="hidden" name="key" value=key.to_owned() />
            {judge}
            {buttons}
            <a class="button" href=copy>"Copy"</a>
        </form>
    }
}

fn invitation_section(
    campaign: &Campaign,
    invitations: Vec<Invitation>,
    key: &str,
    link: &str,
) -> impl IntoView + use<> {
    let address = format!("/campaigns/{}/invite", campaign.id);
    let new = (!link.is_empty()).then(|| {
        view! {
            <p>"The new link. It is shown here only, so copy it now:"</p>
            <CopyLine text=format!("{}{link}", origin()) />
        }
    });
    let rows = invitations
        .into_iter()
        .map(|invitation| {
            let Invitation { id, label, created_at, ends_at, revoked_at } = invitation;
            let label = if label.is_empty() { "no label".to_owned() } else { label };
            let end = match (revoked_at, ends_at) {
                (Some(at), _) => format!("revoked {}", moment(at)),
                (None, Some(at)) => format!("until {}", moment(at)),
                (None, None) => "until it is revoked".to_owned(),
            };
            let revoke = revoked_at.is_none().then(|| view! {
                <button class="quiet" name="revoke" value=id.to_string()>{format!("Revoke {label}")}</button>
            });
            view! { <li>{label.clone()}", made "{moment(created_at)}", "{end}" "{revoke}</li> }
        })
        .collect_view();
    view! {
        <section aria-labelledby="invitations">
            <h2 id="invitations">"Invitations"</h2>
            <p class="soft">"A link opens only this campaign's desk, also where the rest of the site needs the access token."</p>
            {new}
            <form method="post" action=address>
                <input type="hidden" name="key" value=key.to_owned() />
                // The first button of a form is the one that the Enter key presses.
                <p class="with-button narrow">
                    <input name="label" maxlength="100" placeholder="for whom" aria-label="For whom" />
                    <button>"New invitation"</button>
                </p>
                <ul class="plain">{rows}</ul>
            </form>
        </section>
    }
}

fn results_section(results: Vec<CampaignResult>) -> impl IntoView {
    let rows = results
        .into_iter()
        .map(|result| {
            let rate = result.win_rate.map(|rate| {
                format!("{} [{}, {}]", percent(rate.value), percent(rate.low), percent(rate.high))
            });
            view! {
                <tr>
                    <td class="lead">{result.model}" against "{result.against}</td>
                    <td data-label="Question">{result.question.label()}</td>
                    <td data-label="Win rate" class="figure">{rate}</td>
                    <td data-label="Wins" class="figure">{result.wins}</td>
                    <td data-label="Losses" class="figure">{result.losses}</td>
                    <td data-label="Ties" class="figure">{result.ties}</td>
                    <td data-label="Both bad" class="figure">{result.both_bad}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <section aria-labelledby="results">
            <h2 id="results">"Results"</h2>
            <table class="cards-on-phone">
                <thead>
                    <tr>
                        <th>"Models"</th>
                        <th>"Question"</th>
                        <th class="figure">"Win rate, 95%"</th>
                        <th class="figure">"Wins"</th>
                        <th class="figure">"Losses"</th>
                        <th class="figure">"Ties"</th>
                        <th class="figure">"Both bad"</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </section>
    }
}

fn rules(campaign: &Campaign) -> impl IntoView + use<> {
    let spec = &campaign.spec;
    let questions: Vec<&str> = spec.questions.iter().map(|question| question.label()).collect();
    let prompts = match spec.prompts.len() {
        0 => "all of evaluation images".to_owned(),
        count => format!("{count} of them"),
    };
    let mut ends = vec!["when every pair has its raters".to_owned()];
    ends.extend(spec.votes.map(|votes| format!("closes after {votes} votes")));
    ends.extend(spec.ends_at.map(|at| format!("closes {}", moment(at))));
    let reveal = match spec.reveal {
        Reveal::Never => "never",
        Reveal::AtEnd => "when it is closed",
        Reveal::AfterSession => "after a session",
    };
    let facts = [
        ("Models", spec.models.join(", ")),
        (
            "Raters see",
            match spec.form {
                Form::Pair => "two images".to_owned(),
                Form::BestOfFour => "up to four images".to_owned(),
            },
        ),
        ("Questions", questions.join(", ")),
        ("Prompts", prompts),
        ("Raters per pair", spec.raters_per_item.to_string()),
        ("Session", format!("{} pairs", spec.session)),
        ("End", ends.join(", ")),
        ("Raters learn the models", reveal.to_owned()),
        (
            "Exam",
            if spec.exam == 0 { "none".to_owned() } else { format!("{} pairs, 75% to pass", spec.exam) },
        ),
    ]
    .map(|(term, value)| view! { <div><dt>{term}</dt><dd>{value}</dd></div> });
    let instructions = (!spec.instructions.is_empty())
        .then(|| view! { <p class="instructions">{spec.instructions.clone()}</p> });
    view! {
        <section aria-labelledby="rules">
            <h2 id="rules">"Rules"</h2>
            <dl class="facts">{facts}</dl>
            {instructions}
        </section>
    }
}
