//! Where raters judge for a campaign: agreement first, then the desk. An invited rater sees no other page.

use crate::api::{self, ApiResult};
use crate::components::judge::Judge;
use crate::components::note::Empty;
use crate::pages::judge::keys;
use crate::pages::layout::{Head, loaded};
use domain::api::{CampaignDesk, NextMatchup, OwnVote, Page};
use domain::campaign::CampaignState;
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::{use_params_map, use_query_map};

/// Names that panels give the query field of a rater.
const EXTERNAL_IDS: [&str; 3] = ["PROLIFIC_PID", "external_id", "workerId"];

#[component]
pub(crate) fn CampaignDeskPage() -> impl IntoView {
    let id = use_params_map().with_untracked(|params| params.get("id").unwrap_or_default());
    let external_id =
        use_query_map().with_untracked(|fields| EXTERNAL_IDS.into_iter().find_map(|name| fields.get(name)));
    let goes_on = use_query_map().with_untracked(|fields| fields.get("on").is_some());
    let call = async move {
        let next = api::campaign_desk(&id).await?;
        // A visitor without a cookie would get one from each call.
        let has_agreed = next.campaign.as_ref().is_some_and(|campaign| campaign.has_agreed);
        let own = if has_agreed { api::own_votes(&id).await? } else { Page { items: Vec::new() } };
        ApiResult::Ok((next, own))
    };
    loaded(call, move |(next, own)| page(next, own, external_id.unwrap_or_default(), goes_on))
}

fn page(next: NextMatchup, own: Page<OwnVote>, external_id: String, goes_on: bool) -> AnyView {
    let Some(campaign) = next.campaign.clone() else {
        return view! { <Empty title="No campaign"><p>"This address is not that of a campaign's desk."</p></Empty> }.into_any();
    };
    if !campaign.has_agreed && campaign.state != CampaignState::Closed {
        return agreement(campaign, external_id).into_any();
    }
    let (name, instructions) = (campaign.name.clone(), campaign.instructions.clone());
    view! {
        <Title text=name.clone() />
        <h1 class="visually-hidden">{name}</h1>
        <Judge initial=next goes_on />
        <details class="more how-to-judge">
            <summary>"Instructions and keys"</summary>
            <p class="instructions">{instructions}</p>
            {keys()}
            <p>
                "Of three or four images, "<kbd>"1"</kbd>" to "<kbd>"4"</kbd>" picks the best. "<kbd>"R"</kbd>" lets you rank all of them: press "
                "them in their order, or "<kbd>"Enter"</kbd>" when the others are equal to you."
            </p>
        </details>
        {about(&campaign, own)}
    }
    .into_any()
}

fn agreement(campaign: CampaignDesk, external_id: String) -> impl IntoView {
    let decline = withdrawal(&campaign);
    let CampaignDesk { id, name, instructions, session, exam_left, .. } = campaign;
    let exam = (exam_left > 0).then(|| {
        format!(
            "It begins with {exam_left} pairs whose answers are known. Who answers fewer than three of four as expected gets no others."
        )
    });
    view! {
        <Head title=name lead=format!("You are asked to compare pairs of images, {session} in a session.") />
        <div class="prose">
            <p class="instructions">{instructions}</p>
            {exam.map(|exam| view! { <p>{exam}</p> })}
            <p>
                "What is kept: your answers and their times, under a random number in a cookie of this browser, and the name that a panel
                gave you, if one sent you. It is used to compare image models, and may be used to train them. You can stop at any time, and
                delete everything that is kept of you here."
            </p>
            <form method="post" action=format!("/campaigns/{id}/judge/agree")>
                <input type="hidden" name="external_id" value=external_id />
                <button class="primary">"I agree and begin"</button>
            </form>
            <details class="more">
                <summary>"I do not want to take part"</summary>
                <p>"Nothing is kept of you. Close this page."{decline}</p>
            </details>
        </div>
    }
}

/// What a rater who does not take part, or stops, takes back to the panel.
fn withdrawal(campaign: &CampaignDesk) -> impl IntoView + use<> {
    let code = campaign.withdrawn_code.clone();
    let address = campaign.withdrawn_url.clone();
    view! {
        {code.map(|code| view! { " Code for the panel: "<code class="completion withdrawn">{code}</code>"." })}
        {address.map(|address| view! { " "<a href=address rel="noreferrer">"Return to the panel"</a>"." })}
    }
}

/// The rater's own answers, and the way to have them deleted.
fn about(campaign: &CampaignDesk, own: Page<OwnVote>) -> impl IntoView + use<> {
    let total = own.items.len();
    let has_panel = campaign.withdrawn_code.is_some() || campaign.withdrawn_url.is_some();
    let stops =
        has_panel.then(|| view! { <p>"To stop before the session is done:"{withdrawal(campaign)}</p> });
    let rows = own
        .items
        .into_iter()
        .map(|vote| {
            let OwnVote { matchup, choice, left_model, right_model, .. } = vote;
            let answer = match choice {
                domain::preference::Choice::Left => "1 is better",
                domain::preference::Choice::Right => "2 is better",
                domain::preference::Choice::Tie => "tie",
                domain::preference::Choice::BothBad => "both bad",
            };
            let models =
                left_model.zip(right_model).map(|(left, right)| format!(" (1 by {left}, 2 by {right})"));
            view! {
                <li>
                    <img src=matchup.left_url alt="Image 1" loading="lazy" width="48" />
                    <img src=matchup.right_url alt="Image 2" loading="lazy" width="48" />
                    <span>{matchup.prompt}": "<b>{answer}</b>{models}</span>
                </li>
            }
        })
        .collect_view();
    view! {
        <details class="more how-to-judge">
            <summary>{format!("You are {} in this campaign; your {total} votes", campaign.pseudonym)}</summary>
            <ul class="plain own-votes">{rows}</ul>
            <form method="post" action=format!("/campaigns/{}/judge/erase", campaign.id)>
                <p>
                    <button>"Delete my answers"</button>
                    " Deletes all that this campaign keeps of you. It cannot be undone."
                </p>
            </form>
            {stops}
        </details>
    }
}
