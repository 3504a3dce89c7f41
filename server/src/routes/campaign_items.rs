//! What raters of a campaign said of each pair of images.

use crate::error::ApiError;
use crate::extract::{Id, Query};
use crate::routes::campaigns::{find, require_owner};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use domain::api::{CampaignItem, ErrorBody, Page, path};
use domain::campaign::CampaignState;
use domain::id::CampaignId;
use process::ambient;
use serde::Deserialize;
use store::SplitItem;

/// Items that a list has unless it is asked for another number.
const USUAL: usize = 24;

/// Most items of a list.
const MOST: usize = 500;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ItemsQuery {
    /// The key that the response to `create_campaign` told, while the campaign is not closed.
    key: Option<String>,
    /// Most items: 1 to 500; 24 if absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// List the judged pairs of a campaign
///
/// With the split of their votes and the models, the most disputed first. The answer to a set is a vote on each pair that it decides.
/// While the campaign is not closed, only its owner gets them, and the images themselves are withheld.
#[utoipa::path(get, path = path::CAMPAIGN_ITEMS, tag = "judging", operation_id = "list_campaign_items",
    params(("id" = Uuid, Path, description = "Id of the campaign."), ItemsQuery), responses(
    (status = 200, description = "The pairs that have votes.", body = Page<CampaignItem>),
    (status = 403, description = "The campaign is not closed, and `key` is absent.", body = ErrorBody),
    (status = 404, description = "There is no such campaign.", body = ErrorBody),
    (status = 422, description = "`key` is not the key of this campaign, or `limit` is out of range.", body = ErrorBody)))]
pub(crate) async fn list(
    State(state): State<AppState>,
    Id(id): Id<CampaignId>,
    Query(query): Query<ItemsQuery>,
) -> Result<Json<Page<CampaignItem>>, ApiError> {
    let limit = query.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(ApiError::field("limit", format!("use 1 to {MOST}")));
    }
    state.store.close_ended_campaigns(ambient::now()).await?;
    let campaign = find(&state, id).await?;
    match query.key {
        Some(key) => require_owner(&state, id, &key).await?,
        None if campaign.state == CampaignState::Closed => {}
        None => return Err(ApiError::withheld("This list")),
    }
    let items = state.store.split_items(id).await?.into_iter().take(limit).map(item).collect();
    Ok(Json(Page { items }))
}

fn item(split: SplitItem) -> CampaignItem {
    let dispute = split.dispute();
    let SplitItem { question, prompt, a, model_a, b, model_b, votes_a, votes_b, ties, both_bad } = split;
    CampaignItem {
        question,
        prompt,
        image: a,
        model: model_a,
        against_image: b,
        against: model_b,
        wins: votes_a,
        losses: votes_b,
        ties,
        both_bad,
        dispute,
    }
}
