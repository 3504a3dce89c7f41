//! The list of campaigns.

use crate::api;
use crate::components::note::Empty;
use crate::format::moment;
use crate::pages::layout::{Head, loaded};
use domain::api::{CampaignSummary, Page, campaign_desk_page, campaign_page};
use domain::campaign::CampaignState;
use leptos::prelude::*;

#[component]
pub(crate) fn Campaigns() -> impl IntoView {
    view! {
        <Head title="Campaigns" lead="Blind judging of chosen models, by rules of its own: questions, raters per pair, end, and what raters may learn.">
            <p class="actions"><a class="button primary" href="/campaigns/new">"New campaign"</a></p>
        </Head>
        {loaded(api::campaigns(), campaigns)}
    }
}

fn campaigns(page: Page<CampaignSummary>) -> impl IntoView {
    if page.items.is_empty() {
        return view! {
            <Empty title="No campaigns yet">
                <p>
                    "A campaign asks raters about images of two or more models. "<a href="/campaigns/new">"Make one"</a>
                    ", or choose "<b>"Judge against"</b>" on a model's card under "<a href="/models">"Models"</a>" for one of two models."
                </p>
            </Empty>
        }
        .into_any();
    }
    let rows = page.items.into_iter().map(row).collect_view();
    view! {
        <table class="cards-on-phone">
            <thead>
                <tr>
                    <th>"Campaign"</th>
                    <th>"Status"</th>
                    <th>"Models"</th>
                    <th class="figure">"Votes"</th>
                    <th class="figure">"Raters"</th>
                    <th class="figure">"Made"</th>
                    <th><span class="visually-hidden">"Actions"</span></th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
    .into_any()
}

fn row(summary: CampaignSummary) -> impl IntoView {
    let CampaignSummary { campaign, votes, wanted, raters, .. } = summary;
    let judge = (campaign.state == CampaignState::Open)
        .then(|| view! { <a class="button" href=campaign_desk_page(campaign.id)>"Judge"</a> });
    view! {
        <tr>
            <td class="lead"><a href=campaign_page(campaign.id)>{campaign.spec.name.clone()}</a></td>
            <td data-label="Status"><CampaignBadge state=campaign.state /></td>
            <td data-label="Models">{campaign.spec.models.join(", ")}</td>
            <td data-label="Votes" class="figure">{format!("{votes} of {wanted}")}</td>
            <td data-label="Raters" class="figure">{raters}</td>
            <td data-label="Made" class="figure soft">
                <time datetime=campaign.created_at.to_rfc3339()>{moment(campaign.created_at)}</time>
            </td>
            <td>{judge}</td>
        </tr>
    }
}

/// The state of a campaign, in the colours of a job's.
#[component]
pub(crate) fn CampaignBadge(state: CampaignState) -> impl IntoView {
    let colour = match state {
        CampaignState::Open => "running",
        CampaignState::Paused => "queued",
        CampaignState::Closed => "succeeded",
    };
    view! { <span class=format!("badge state-{colour}")>{state.as_str()}</span> }
}
